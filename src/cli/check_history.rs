//! `quorate check-history`: whether what clients saw is linearizable.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use bytes::Bytes;
use getopts::Options;
use indicatif::HumanCount;
use serde_json::{Value, json};

use super::args::parse;
use super::exit::{Exit, Failure, Outcome};
use super::output::print_line;
use crate::history::json_lines;
use crate::history::{self, Kind, Operation, Output, STATES_MAX, Status, Verdict};

pub const HELP: &str = "\
Checks whether a history is linearizable: whether some order of its operations,
each at one moment between its call and its answer, explains every answer.

Usage: quorate check-history FILE [--json]

FILE holds JSON Lines, one object for each operation, as 'quorate bench' writes
it: c (client), op (put, get, cas, delete, append, incr), k (key), v (value or
addend), e (value that cas expects), call and ret (nanoseconds), st (ok, fail,
unknown), out (the answer), idx (log index, optional). Comments begin with #.

Exit codes: 0 it is linearizable; 1 it is not, and the operation is named that
fits nowhere; 2 a line is malformed, or there is none; 3 undecided: too many
orders are possible.

Example: quorate check-history h.jsonl
";

/// Runs `quorate check-history`.
pub fn run(words: &[String]) -> Outcome {
    let mut options = Options::new();
    options.optflag("", "json", "");
    let words = parse(options, words)?;
    let [path] = words.expect_operands(["FILE"])?;
    let operations = read(&path)?;
    if operations.is_empty() {
        return Err(Failure::usage(format!("{path} holds no operation, so nothing is checked")));
    }
    let started = Instant::now();
    let verdict = history::check(&operations);
    let size = Size::of(&operations, started.elapsed());
    if words.has("json") {
        print_line(&to_json(&operations, &size, &verdict).to_string())?;
    } else {
        print_line(&format!("{path}: {size}"))?;
        print_line(&explain(&operations, &verdict))?;
    }
    Ok(match verdict {
        Verdict::Linearizable => Exit::Done,
        Verdict::NotLinearizable { .. } => Exit::Negative,
        Verdict::Undecided { .. } => Exit::NoAnswer,
    })
}

fn read(path: &str) -> Result<Vec<Operation>, Failure> {
    let bytes =
        fs::read(path).map_err(|error| Failure::usage(format!("cannot read {path}: {error}")))?;
    json_lines::read(&bytes).map_err(|malformed| Failure::usage(format!("{path}, {malformed}")))
}

/// What was checked.
struct Size {
    operations: usize,
    clients: usize,
    keys: usize,
    unknown: usize,
    failed: usize,
    took: Duration,
}

impl Size {
    fn of(operations: &[Operation], took: Duration) -> Self {
        let clients: BTreeSet<u64> = operations.iter().map(|operation| operation.client).collect();
        let keys: BTreeSet<&Bytes> = operations.iter().map(|operation| &operation.key).collect();
        let with = |status| operations.iter().filter(|it| it.status == status).count();
        Self {
            operations: operations.len(),
            clients: clients.len(),
            keys: keys.len(),
            unknown: with(Status::Unknown),
            failed: with(Status::Fail),
            took,
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = |number: usize| HumanCount(number as u64);
        write!(
            f,
            "{} operations of {} clients on {} keys\n{} unknown, {} without effect; checked in \
             {:.3} s",
            count(self.operations),
            count(self.clients),
            count(self.keys),
            count(self.unknown),
            count(self.failed),
            self.took.as_secs_f64()
        )
    }
}

fn explain(operations: &[Operation], verdict: &Verdict) -> String {
    match verdict {
        Verdict::Linearizable => "linearizable".to_owned(),
        Verdict::NotLinearizable { position, states } => {
            let misfit = &operations[*position];
            format!(
                "not linearizable: line {} fits nowhere\n  {}\n  wherever it could stand, the \
                 key {}",
                misfit.line,
                describe(misfit),
                describe_states(states)
            )
        }
        Verdict::Undecided { key } => format!(
            "undecided: too many orders of the operations on '{}' are possible",
            json_lines::text(key)
        ),
    }
}

fn describe(operation: &Operation) -> String {
    let quoted = |value: &Bytes| format!("'{}'", json_lines::text(value));
    let asked = match &operation.kind {
        Kind::Put { value } => format!("put {}", quoted(value)),
        Kind::Get => "get".to_owned(),
        Kind::CompareAndSwap { expected: None, value } => {
            format!("cas from absent to {}", quoted(value))
        }
        Kind::CompareAndSwap { expected: Some(expected), value } => {
            format!("cas from {} to {}", quoted(expected), quoted(value))
        }
        Kind::Delete => "delete".to_owned(),
        Kind::Append { value } => format!("append {}", quoted(value)),
        Kind::Increment { by } => format!("incr by {by}"),
    };
    let answered = match &operation.out {
        Output::None => "done".to_owned(),
        Output::Value(None) => "absent".to_owned(),
        Output::Value(Some(value)) => quoted(value),
        Output::Bool(out) => out.to_string(),
        Output::Total(total) => total.to_string(),
    };
    format!(
        "client {}, key {}: {asked}, answered {answered}, between {} and {} ns",
        operation.client,
        quoted(&operation.key),
        operation.call,
        operation.ret.map_or_else(|| "no known time".to_owned(), |ret| ret.to_string()),
    )
}

/// What the key had, as a part of a sentence.
fn describe_states(states: &[Option<Bytes>]) -> String {
    let describe = |state: &Option<Bytes>| match state {
        None => "was absent".to_owned(),
        Some(value) => format!("had '{}'", json_lines::text(value)),
    };
    let mut told: Vec<String> = states.iter().map(describe).collect();
    if told.len() == STATES_MAX {
        told.push("had still others".to_owned());
    }
    told.join(", or ")
}

fn to_json(operations: &[Operation], size: &Size, verdict: &Verdict) -> Value {
    let name = match verdict {
        Verdict::Linearizable => "linearizable",
        Verdict::NotLinearizable { .. } => "not linearizable",
        Verdict::Undecided { .. } => "undecided",
    };
    let mut object = json!({
        "verdict": name,
        "operations": size.operations,
        "clients": size.clients,
        "keys": size.keys,
        "unknown": size.unknown,
        "failed": size.failed,
        "seconds": size.took.as_secs_f64(),
    });
    match verdict {
        Verdict::Linearizable => {}
        Verdict::NotLinearizable { position, states } => {
            let misfit = &operations[*position];
            let states: Vec<Option<String>> =
                states.iter().map(|state| state.as_deref().map(json_lines::text)).collect();
            object["line"] = misfit.line.into();
            object["operation"] = json_lines::to_json(misfit);
            object["states"] = states.into();
        }
        Verdict::Undecided { key } => object["key"] = json_lines::text(key).into(),
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE: &str = r#"{"c":0,"op":"put","k":"k","v":"a","call":1,"ret":2,"st":"ok"}
{"c":0,"op":"put","k":"k","v":"b","call":3,"ret":4,"st":"ok"}
# the first value comes back
{"c":1,"op":"get","k":"k","call":5,"ret":6,"st":"ok","out":"a"}
"#;

    #[test]
    fn the_misfit_is_named_with_what_stood_there() {
        let operations = json_lines::read(STALE.as_bytes()).unwrap();
        let verdict = history::check(&operations);
        assert_eq!(
            explain(&operations, &verdict),
            "not linearizable: line 4 fits nowhere\n  client 1, key 'k': get, answered 'a', \
             between 5 and 6 ns\n  wherever it could stand, the key had 'b'"
        );
        let size = Size::of(&operations, Duration::from_millis(5));
        let object = to_json(&operations, &size, &verdict);
        assert_eq!(object["verdict"], "not linearizable");
        assert_eq!((&object["line"], &object["states"]), (&json!(4), &json!(["b"])));
        assert_eq!((&object["clients"], &object["keys"]), (&json!(2), &json!(1)));
    }

    #[test]
    fn many_states_are_not_passed_off_as_all() {
        let states = [Some(Bytes::from("a")), None];
        assert_eq!(describe_states(&states), "had 'a', or was absent");
        let full = vec![None; STATES_MAX];
        assert!(describe_states(&full).ends_with(", or had still others"));
    }
}
