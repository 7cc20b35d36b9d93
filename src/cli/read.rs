//! `quorate get`, `list` and `dump`.

use bytes::{Bytes, BytesMut};
use getopts::Options;
use serde_json::{Map, Value};

use super::args::{ClientFlags, Words, parse};
use super::asking::{ReadFrom, read};
use super::escape;
use super::exit::{Exit, Failure, Outcome};
use super::output::{is_terminal, note, print_bytes, print_line, put_bytes};
use crate::codec::Reader;
use crate::operation::check_key;
use crate::types::KEY_BYTES_MAX;
use crate::wire::{ListedValue, Query};

pub const GET_HELP: &str = "\
Prints the value of a key: its bytes, and a newline only on a terminal.

Usage: quorate get KEY [--stale] [flags]

  --stale   answered by the first server alone, from what it knows to be
            committed; says on standard error at which index and how old at most
  --key-base64   KEY is in base64, as --json prints a key that is no text

Exit code 1: the key is absent.

Example: quorate get motd
";

pub const LIST_HELP: &str = "\
Prints keys and values, in the order of the keys' bytes, at one index.

Usage: quorate list [PREFIX] [--limit N] [--stale] [flags]

Each line is key<TAB>value, with backslash, tab, newline and return written as
\\\\ \\t \\n \\r.

  --limit N   at most N keys
  --stale     answered by the first server alone, from what it knows to be
              committed; says on standard error how old that can be

Exit code 3 also when the node that answers is lost on the way: what was printed
is then not the whole; run it again.

Example: quorate list config/ --limit 10
";

pub const DUMP_HELP: &str = "\
Prints all keys and values at one index, as lines that 'quorate load' takes.

Usage: quorate dump [--stale] [flags]

  --stale   answered by the first server alone, from what it knows to be
            committed

Exit code 3 when the node that answers is lost on the way: what was printed is
then not the whole; run it again.

Example: quorate dump > backup.tsv
";

/// Runs `quorate get`.
pub fn get(words: &[String]) -> Outcome {
    let mut options = Options::new();
    Words::add_key_flag(&mut options);
    let (flags, words) = read_flags(options, words)?;
    let stale = words.has("stale");
    let [key] = words.expect_operands(["KEY"])?;
    let key = words.key(key)?;
    check_key(&key).map_err(|invalid| Failure::refused(invalid.to_string()))?;
    let mut found = None;
    let query = Query::Get { key: key.clone() };
    let from = read_values(&flags, query, stale, |value| {
        found = Some(value);
        Ok(())
    })?;
    if flags.json {
        print_line(&to_json(&key, found.as_ref(), from, stale).to_string())?;
    } else if let Some(found) = &found {
        print_bytes(&found.value)?;
        if is_terminal() {
            print_bytes(b"\n")?;
        }
    } else {
        note(&format!("quorate: '{}' is absent", key.escape_ascii()));
    }
    say_how_old(stale, from);
    Ok(if found.is_some() { Exit::Done } else { Exit::Negative })
}

/// Runs `quorate list`.
pub fn list(words: &[String]) -> Outcome {
    let mut options = Options::new();
    options.optopt("", "limit", "", "N");
    let (flags, mut words) = read_flags(options, words)?;
    let limit: Option<u64> = match words.value("limit") {
        None => None,
        Some(_) => Some(words.number("limit", 0)?),
    };
    if words.operands.is_empty() {
        words.operands.push(String::new());
    }
    let stale = words.has("stale");
    let [prefix] = words.expect_operands(["[PREFIX]"])?;
    if prefix.len() > KEY_BYTES_MAX {
        let most = KEY_BYTES_MAX;
        return Err(Failure::refused(format!(
            "the prefix is longer than a key can be, {most} bytes"
        )));
    }
    if limit == Some(0) {
        return Err(Failure::usage("--limit is 0; it must be 1 or more"));
    }
    print_all(&flags, Query::List { prefix: prefix.into(), limit: limit.unwrap_or(0) }, stale)
}

/// Runs `quorate dump`.
pub fn dump(words: &[String]) -> Outcome {
    let (flags, words) = read_flags(Options::new(), words)?;
    let stale = words.has("stale");
    let [] = words.expect_operands([])?;
    print_all(&flags, Query::List { prefix: Bytes::new(), limit: 0 }, stale)
}

fn print_all(flags: &ClientFlags, query: Query, stale: bool) -> Outcome {
    let mut out = Vec::new();
    let from = read_values(flags, query, stale, |found| {
        if flags.json {
            let mut object = Map::new();
            put_bytes(&mut object, "key", &found.key);
            put_bytes(&mut object, "value", &found.value);
            object.insert("version".into(), found.version.0.into());
            out.extend_from_slice(Value::Object(object).to_string().as_bytes());
            out.push(b'\n');
        } else {
            out.extend_from_slice(&escape::line(&found.key, &found.value));
        }
        if out.len() >= 1 << 16 {
            print_bytes(&out)?;
            out.clear();
        }
        Ok(())
    })?;
    print_bytes(&out)?;
    say_how_old(stale, from);
    Ok(Exit::Done)
}

fn read_flags(mut options: Options, words: &[String]) -> Result<(ClientFlags, Words), Failure> {
    ClientFlags::add_to(&mut options);
    options.optflag("", "stale", "");
    let words = parse(options, words)?;
    Ok((ClientFlags::read(&words)?, words))
}

/// Reads, and hands out each value as soon as it is whole.
pub fn read_values(
    flags: &ClientFlags,
    query: Query,
    stale: bool,
    mut take: impl FnMut(ListedValue) -> Result<(), Failure>,
) -> Result<ReadFrom, Failure> {
    let mut unread = BytesMut::new();
    read(flags, query, stale, |bytes| {
        unread.extend_from_slice(&bytes);
        while let Some(length) = ListedValue::length(&unread) {
            let whole = unread.split_to(length).freeze();
            let value = ListedValue::decode(&mut Reader::new(whole));
            take(value.map_err(|_| Failure::refused("the node's answer makes no sense"))?)?;
        }
        Ok(())
    })
}

fn to_json(key: &Bytes, found: Option<&ListedValue>, from: ReadFrom, stale: bool) -> Value {
    let mut object = Map::new();
    put_bytes(&mut object, "key", key);
    match found {
        Some(found) => put_bytes(&mut object, "value", &found.value),
        None => {
            object.insert("value".into(), Value::Null);
        }
    }
    object.insert("found".into(), found.is_some().into());
    object.insert("version".into(), found.map_or(Value::Null, |found| found.version.0.into()));
    object.insert("index".into(), from.index.0.into());
    if stale {
        let age = from.age_now().map(|age| age.div_ceil(1_000));
        object.insert("age_ms".into(), age.into());
    }
    Value::Object(object)
}

fn say_how_old(stale: bool, from: ReadFrom) {
    if !stale {
        return;
    }
    let age = shown_age(from.age_now());
    note(&format!("quorate: stale: the state at index {}, {age}", from.index));
}

/// How old the state can be that a stale read was answered from.
fn shown_age(age: Option<u64>) -> String {
    match age {
        Some(age) => {
            let milliseconds = age.div_ceil(1_000);
            format!("at most {}.{:03} s old", milliseconds / 1_000, milliseconds % 1_000)
        }
        None => "of unknown age".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bound that is rounded down is none.
    #[test]
    fn an_age_is_rounded_up() {
        assert_eq!(shown_age(None), "of unknown age");
        assert_eq!(shown_age(Some(0)), "at most 0.000 s old");
        assert_eq!(shown_age(Some(1)), "at most 0.001 s old");
        assert_eq!(shown_age(Some(999)), "at most 0.001 s old");
        assert_eq!(shown_age(Some(1_000)), "at most 0.001 s old");
        assert_eq!(shown_age(Some(999_001)), "at most 1.000 s old");
        assert_eq!(shown_age(Some(u64::MAX)), "at most 18446744073709.552 s old");
    }
}
