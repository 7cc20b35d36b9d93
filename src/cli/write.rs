//! `quorate put`, `delete`, `cas` and `incr`.

use bytes::Bytes;
use getopts::Options;
use serde_json::{Map, Value};

use super::args::{ClientFlags, Words, parse};
use super::asking::execute;
use super::exit::{Exit, Failure, Outcome};
use super::output::{note, print_bytes, print_line, put_bytes, value_operand};
use crate::operation::{self, Expected, Operation, Settled};
use crate::types::LogIndex;

pub const PUT_HELP: &str = "\
Sets a key to a value.

Usage: quorate put KEY VALUE [flags]
       quorate put KEY -    the value is read from standard input, byte for byte

  --key-base64   KEY is in base64, as --json prints a key that is no text

A key has 1 to 1,024 bytes, a value 0 to 1,048,576.

Example: quorate put motd 'Hello, world'
";

pub const DELETE_HELP: &str = "\
Removes a key.

Usage: quorate delete KEY [flags]

  --key-base64   KEY is in base64, as --json prints a key that is no text

Exit code 1: the key was absent.

Example: quorate delete motd
";

pub const CAS_HELP: &str = "\
Sets a key to a value if what stands there is as expected.

Usage: quorate cas KEY NEW --version N     its last write gave it this version
       quorate cas KEY NEW --value OLD     it has this value
       quorate cas KEY NEW --absent        there is no such key

  --key-base64   KEY is in base64, as --json prints a key that is no text

With - as NEW the value is read from standard input. Exit code 1: the comparison
failed; what stands there goes to standard error.

Example: quorate cas lock me --absent
";

pub const INCR_HELP: &str = "\
Adds to a number, and prints the total.

Usage: quorate incr KEY [BY] [flags]

  --key-base64   KEY is in base64, as --json prints a key that is no text

BY is 1 unless given, and may be negative. An absent key counts as 0. Numbers
are signed, of 64 bits. Exit code 4: no number stands there, or the sum does not
fit.

Example: quorate incr visits
         quorate incr stock -5
";

/// Runs `quorate put`.
pub fn put(words: &[String]) -> Outcome {
    let (flags, words) = read_flags(Options::new(), words)?;
    let [key, value] = words.expect_operands(["KEY", "VALUE"])?;
    let (key, value) = (words.key(key)?, Bytes::from(value_operand(&value)?));
    let operation = Operation::Put { key: key.clone(), value: value.clone() };
    let settled = execute(&flags, operation)?;
    report(&flags, &Standing::written(&key, &value, &settled), &settled)?;
    Ok(Exit::Done)
}

/// Runs `quorate delete`.
pub fn delete(words: &[String]) -> Outcome {
    let (flags, words) = read_flags(Options::new(), words)?;
    let [key] = words.expect_operands(["KEY"])?;
    let key = words.key(key)?;
    let settled = execute(&flags, Operation::Delete { key: key.clone() })?;
    let existed = settled.outcome == operation::Outcome::Deleted { existed: true };
    let absent = Standing { key: &key, value: None, found: existed, version: None };
    report(&flags, &absent, &settled)?;
    if !existed && !flags.json {
        note(&format!("quorate: '{}' was absent", key.escape_ascii()));
    }
    Ok(if existed { Exit::Done } else { Exit::Negative })
}

/// Runs `quorate cas`.
pub fn compare_and_swap(words: &[String]) -> Outcome {
    let mut options = Options::new();
    options.optopt("", "version", "", "N");
    options.optopt("", "value", "", "OLD");
    options.optflag("", "absent", "");
    let (flags, words) = read_flags(options, words)?;
    let [key, new] = words.expect_operands(["KEY", "NEW"])?;
    let expected = read_expected(&words)?;
    let (key, value) = (words.key(key)?, Bytes::from(value_operand(&new)?));
    let operation = Operation::CompareAndSwap { key: key.clone(), expected, value: value.clone() };
    let settled = execute(&flags, operation)?;
    let operation::Outcome::CompareFailed { version, value: found } = &settled.outcome else {
        report(&flags, &Standing::written(&key, &value, &settled), &settled)?;
        return Ok(Exit::Done);
    };
    let (version, found) = (*version, found.as_ref());
    let standing = Standing { key: &key, value: found, found: version.is_some(), version };
    report(&flags, &standing, &settled)?;
    if !flags.json {
        show_found(version, found);
    }
    Ok(Exit::Negative)
}

fn read_expected(words: &Words) -> Result<Expected, Failure> {
    let version = words.value("version");
    match (version, words.value("value"), words.has("absent")) {
        (Some(_), None, false) => Ok(Expected::Version(LogIndex(words.number("version", 0)?))),
        (None, Some(value), false) => Ok(Expected::Value(Bytes::from(value))),
        (None, None, true) => Ok(Expected::Absent),
        _ => Err(Failure::usage("cas takes one of --version N, --value OLD and --absent")),
    }
}

/// Shows what stands where the comparison failed.
fn show_found(version: Option<LogIndex>, value: Option<&Bytes>) {
    note(&match (version, value) {
        (None, _) => "quorate: the comparison failed: the key is absent".to_owned(),
        (Some(version), Some(value)) => format!(
            "quorate: the comparison failed: version {version} stands there, '{}'",
            value.escape_ascii()
        ),
        (Some(version), None) => format!(
            "quorate: the comparison failed: version {version} stands there, a long value; \
             'quorate get' shows it"
        ),
    });
}

/// Runs `quorate incr`.
pub fn increment(words: &[String]) -> Outcome {
    let (flags, mut words) = read_flags(Options::new(), words)?;
    if words.operands.len() == 1 {
        words.operands.push("1".into());
    }
    let [key, by] = words.expect_operands(["KEY", "[BY]"])?;
    let by: i64 = by.parse().map_err(|_| {
        Failure::usage(format!("'{by}' is not a signed 64-bit number that could be added"))
    })?;
    let key = words.key(key)?;
    let settled = execute(&flags, Operation::Increment { key: key.clone(), by })?;
    match settled.outcome {
        operation::Outcome::Incremented { total } if flags.json => {
            let value = Bytes::from(total.to_string());
            report(&flags, &Standing::written(&key, &value, &settled), &settled)?;
        }
        operation::Outcome::Incremented { total } => print_bytes(format!("{total}\n").as_bytes())?,
        operation::Outcome::NotANumber => {
            let key = key.escape_ascii();
            return Err(Failure::refused(format!(
                "what stands under '{key}' is not a signed 64-bit number; nothing was changed"
            )));
        }
        _ => {
            return Err(Failure::refused(format!(
                "the sum does not fit in a signed 64-bit number; nothing was changed under '{}'",
                key.escape_ascii()
            )));
        }
    }
    Ok(Exit::Done)
}

fn read_flags(mut options: Options, words: &[String]) -> Result<(ClientFlags, Words), Failure> {
    Words::add_key_flag(&mut options);
    ClientFlags::add_to(&mut options);
    let words = parse(options, words)?;
    Ok((ClientFlags::read(&words)?, words))
}

/// What stands under a key after a write.
struct Standing<'a> {
    key: &'a Bytes,
    /// None: the key is absent, or its value is too long for the answer.
    value: Option<&'a Bytes>,
    /// The key was there before a deletion, or is there after another write.
    found: bool,
    version: Option<LogIndex>,
}

impl<'a> Standing<'a> {
    /// The value was just written.
    fn written(key: &'a Bytes, value: &'a Bytes, settled: &Settled) -> Self {
        Self { key, value: Some(value), found: true, version: Some(settled.index) }
    }
}

/// With --json prints what came of a write; people are told by silence.
fn report(flags: &ClientFlags, standing: &Standing, settled: &Settled) -> Result<(), Failure> {
    if !flags.json {
        return Ok(());
    }
    let mut object = Map::new();
    put_bytes(&mut object, "key", standing.key);
    match standing.value {
        Some(value) => put_bytes(&mut object, "value", value),
        None => {
            object.insert("value".into(), Value::Null);
        }
    }
    object.insert("found".into(), standing.found.into());
    let version = standing.version.map_or(Value::Null, |version| version.0.into());
    object.insert("version".into(), version);
    object.insert("index".into(), settled.index.0.into());
    print_line(&Value::Object(object).to_string())
}
