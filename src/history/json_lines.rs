//! Histories as JSON Lines: the one place that knows the names of the fields.
//!
//! Each line is one flat object, in any order; lines that begin with `#` are comments.
//!
//! - `c`, integer: the client, which has one operation at a time. One whose operation
//!   ended unknown goes on under a new number.
//! - `op`, string: `put`, `get`, `cas`, `delete`, `append` or `incr`.
//! - `k`, string: the key.
//! - `v`, string: what is written: the value, for `incr` the addend in decimal.
//! - `e`, string or null: for `cas` the value expected, null when that is "absent".
//! - `call`, integer: when it began, in nanoseconds of one clock for the whole file.
//! - `ret`, integer or null: when its answer came; null when the outcome is unknown.
//! - `st`, string: `ok`, it took effect and was answered; `fail`, it certainly had no
//!   effect; `unknown`, it may take effect once at any time after `call`, or never.
//! - `out`, string, boolean or null: the value for `get`, null when absent; whether it
//!   replaced for `cas`; whether the key was there for `delete`; the new value in decimal
//!   for `incr`.
//! - `idx`, integer, optional: the log index of the entry, or of the last entry that the
//!   read's state contained.
//!
//! A value that is long, or not UTF-8, stands there as its first bytes and a digest.

use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Kind, Operation, Output, Status};
use crate::types::Digest;

/// Longer texts are shortened to their first bytes and a digest.
const TEXT_BYTES_MAX: usize = 64;
/// How many first bytes are kept of those.
const HEAD_BYTES: usize = 24;

/// A line that is no operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Its number, from 1.
    pub line: usize,
    /// What was found, and what was expected.
    pub why: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for Malformed {}

/// The history that a file's bytes tell, with the number of each operation's line.
///
/// # Errors
/// The first line that is no operation.
pub fn read(bytes: &[u8]) -> Result<Vec<Operation>, Malformed> {
    let mut operations = Vec::new();
    for (bytes, line) in bytes.split(|byte| *byte == b'\n').zip(1..) {
        let text = bytes.trim_ascii();
        if text.is_empty() || text.starts_with(b"#") {
            continue;
        }
        let operation = parse(text).map_err(|why| Malformed { line, why })?;
        operations.push(Operation { line, ..operation });
    }
    Ok(operations)
}

/// The operation that the line tells, with a line number of zero.
fn parse(line: &[u8]) -> Result<Operation, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| {
        format!("this is not JSON ({error}); one object for each operation is expected")
    })?;
    let Value::Object(map) = value else {
        return Err(format!("found {value}; one object for each operation is expected"));
    };
    let fields = Fields(&map);
    let kind = fields.kind()?;
    let status = fields.status()?;
    let call = fields.integer("call")?;
    Ok(Operation {
        client: fields.integer("c")?,
        key: fields.text("k")?,
        call,
        ret: fields.ret(status, call)?,
        out: if status == Status::Ok { fields.output(&kind)? } else { Output::None },
        index: fields.integer_or_null("idx")?,
        kind,
        status,
        line: 0,
    })
}

/// The fields of a line.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn kind(&self) -> Result<Kind, String> {
        let names = "\"put\", \"get\", \"cas\", \"delete\", \"append\" or \"incr\"";
        match self.0.get("op").and_then(Value::as_str) {
            Some("put") => Ok(Kind::Put { value: self.text("v")? }),
            Some("get") => Ok(Kind::Get),
            Some("cas") => Ok(Kind::CompareAndSwap {
                expected: self.text_or_null("e")?,
                value: self.text("v")?,
            }),
            Some("delete") => Ok(Kind::Delete),
            Some("append") => Ok(Kind::Append { value: self.text("v")? }),
            Some("incr") => Ok(Kind::Increment { by: self.decimal("v")? }),
            _ => Err(self.unlike("op", names)),
        }
    }

    fn status(&self) -> Result<Status, String> {
        match self.0.get("st").and_then(Value::as_str) {
            Some("ok") => Ok(Status::Ok),
            Some("fail") => Ok(Status::Fail),
            Some("unknown") => Ok(Status::Unknown),
            _ => Err(self.unlike("st", "\"ok\", \"fail\" or \"unknown\"")),
        }
    }

    fn ret(&self, status: Status, call: u64) -> Result<Option<u64>, String> {
        let ret = self.integer_or_null("ret")?;
        match (status, ret) {
            (Status::Ok, None) => Err(self.unlike("ret", "an integer, since \"st\" is \"ok\"")),
            (Status::Unknown, Some(_)) => {
                Err(self.unlike("ret", "null, since \"st\" is \"unknown\""))
            }
            (_, Some(ret)) if ret < call => {
                Err(self.unlike("ret", &format!("a time not before \"call\", {call}")))
            }
            _ => Ok(ret),
        }
    }

    fn output(&self, kind: &Kind) -> Result<Output, String> {
        match kind {
            Kind::Put { .. } | Kind::Append { .. } => Ok(Output::None),
            Kind::Get => Ok(Output::Value(self.text_or_null("out")?)),
            Kind::CompareAndSwap { .. } | Kind::Delete => {
                let out = self.0.get("out").and_then(Value::as_bool);
                out.map(Output::Bool).ok_or_else(|| self.unlike("out", "true or false"))
            }
            Kind::Increment { .. } => Ok(Output::Total(self.decimal("out")?)),
        }
    }

    fn integer(&self, name: &str) -> Result<u64, String> {
        let value = self.0.get(name).and_then(Value::as_u64);
        value.ok_or_else(|| self.unlike(name, "an integer from 0 up"))
    }

    fn integer_or_null(&self, name: &str) -> Result<Option<u64>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64() {
                Some(integer) => Ok(Some(integer)),
                None => Err(self.unlike(name, "an integer from 0 up, or null")),
            },
        }
    }

    fn text(&self, name: &str) -> Result<Bytes, String> {
        match self.0.get(name) {
            Some(Value::String(text)) => Ok(Bytes::copy_from_slice(text.as_bytes())),
            _ => Err(self.unlike(name, "a string")),
        }
    }

    fn text_or_null(&self, name: &str) -> Result<Option<Bytes>, String> {
        match self.0.get(name) {
            Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(Bytes::copy_from_slice(text.as_bytes()))),
            _ => Err(self.unlike(name, "a string or null")),
        }
    }

    fn decimal(&self, name: &str) -> Result<i64, String> {
        let text = self.0.get(name).and_then(Value::as_str);
        text.and_then(|text| text.parse().ok())
            .ok_or_else(|| self.unlike(name, "a string with a signed 64-bit decimal number"))
    }

    fn unlike(&self, name: &str, expected: &str) -> String {
        match self.0.get(name) {
            None => format!("\"{name}\" is missing; expected {expected}"),
            Some(value) => format!("\"{name}\" is {value}; expected {expected}"),
        }
    }
}

/// The line that tells the operation, without a newline.
pub fn format(operation: &Operation) -> String {
    to_json(operation).to_string()
}

/// The operation as an object with the fields of a line.
pub fn to_json(operation: &Operation) -> Value {
    let (name, written, expected) = match &operation.kind {
        Kind::Put { value } => ("put", Some(text(value)), None),
        Kind::Get => ("get", None, None),
        Kind::CompareAndSwap { expected, value } => {
            ("cas", Some(text(value)), expected.as_deref().map(text))
        }
        Kind::Delete => ("delete", None, None),
        Kind::Append { value } => ("append", Some(text(value)), None),
        Kind::Increment { by } => ("incr", Some(by.to_string()), None),
    };
    let status = match operation.status {
        Status::Ok => "ok",
        Status::Fail => "fail",
        Status::Unknown => "unknown",
    };
    let out = match &operation.out {
        Output::None => Value::Null,
        Output::Value(value) => value.as_deref().map(text).into(),
        Output::Bool(out) => (*out).into(),
        Output::Total(total) => total.to_string().into(),
    };
    let mut line = json!({
        "c": operation.client,
        "op": name,
        "k": text(&operation.key),
        "v": written,
        "e": expected,
        "call": operation.call,
        "ret": operation.ret,
        "st": status,
        "out": out,
    });
    if let Some(index) = operation.index {
        line["idx"] = index.into();
    }
    line
}

/// The bytes as a history tells them: themselves, or if they are long or not UTF-8,
/// their first ones and a digest.
pub fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= TEXT_BYTES_MAX => text.to_owned(),
        _ => {
            let head = bytes[..bytes.len().min(HEAD_BYTES)].escape_ascii();
            format!("{head}...{:016x}", Digest::of(bytes).0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(kind: Kind, status: Status, out: Output) -> Operation {
        let ret = (status != Status::Unknown).then_some(2_500);
        let index = (status == Status::Ok).then_some(7);
        let key = Bytes::from_static(b"k \"\t\xc3\xa9");
        Operation { client: 3, kind, key, call: 1_000, ret, status, out, index, line: 1 }
    }

    #[test]
    fn every_operation_comes_back_as_it_was() {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        let kinds = [
            (Kind::Put { value: bytes("") }, Output::None),
            (Kind::Get, Output::Value(None)),
            (Kind::Get, Output::Value(Some(bytes("a")))),
            (Kind::CompareAndSwap { expected: None, value: bytes("b") }, Output::Bool(true)),
            (
                Kind::CompareAndSwap { expected: Some(bytes("b")), value: bytes("c") },
                Output::Bool(false),
            ),
            (Kind::Delete, Output::Bool(false)),
            (Kind::Append { value: bytes("d") }, Output::None),
            (Kind::Increment { by: -5 }, Output::Total(i64::MIN)),
        ];
        for (kind, out) in kinds {
            for status in [Status::Ok, Status::Fail, Status::Unknown] {
                let out = if status == Status::Ok { out.clone() } else { Output::None };
                let told = operation(kind.clone(), status, out);
                let line = format(&told);
                assert_eq!(read(line.as_bytes()).unwrap(), [told], "{line}");
            }
        }
    }

    #[test]
    fn a_line_has_the_fields_of_the_format_in_its_order() {
        let put = Operation {
            client: 0,
            kind: Kind::Put { value: "a".into() },
            key: "k1".into(),
            call: 1_000,
            ret: Some(2_500),
            status: Status::Ok,
            out: Output::None,
            index: Some(7),
            line: 1,
        };
        let line = [
            r#"{"c":0,"op":"put","k":"k1","v":"a","e":null,"#,
            r#""call":1000,"ret":2500,"st":"ok","out":null,"idx":7}"#,
        ];
        assert_eq!(format(&put), line.concat());
    }

    #[test]
    fn comments_and_blank_lines_are_counted_and_passed_over() {
        let get = format(&operation(Kind::Get, Status::Ok, Output::Value(None)));
        let history = format!("# a comment\n\n  # another\r\n{get}\r\n");
        let lines: Vec<usize> =
            read(history.as_bytes()).unwrap().iter().map(|operation| operation.line).collect();
        assert_eq!(lines, [4]);
    }

    #[test]
    fn a_malformed_line_is_named_with_what_was_expected() {
        let good =
            r#"{"c":0,"op":"cas","k":"k","v":"b","e":null,"call":5,"ret":9,"st":"ok","out":true}"#;
        assert!(read(good.as_bytes()).is_ok());
        for (part, instead, expected) in [
            ("{", "", "not JSON"),
            (good, "[1]", "one object"),
            (r#""c":0"#, r#""c":-1"#, "\"c\" is -1; expected an integer"),
            (r#""cas""#, r#""take""#, "\"op\" is \"take\"; expected \"put\""),
            (r#","k":"k""#, "", "\"k\" is missing; expected a string"),
            (r#""v":"b""#, r#""v":null"#, "\"v\" is null; expected a string"),
            (r#","e":null"#, "", "\"e\" is missing; expected a string or null"),
            (r#""call":5"#, r#""call":"5""#, "\"call\" is \"5\"; expected an integer"),
            (r#""ret":9"#, r#""ret":null"#, "\"ret\" is null; expected an integer"),
            (r#""ret":9"#, r#""ret":4"#, "\"ret\" is 4; expected a time not before \"call\", 5"),
            (r#""ok""#, r#""unknown""#, "\"ret\" is 9; expected null"),
            (r#""ok""#, r#""fine""#, "\"st\" is \"fine\"; expected \"ok\""),
            (r#""out":true"#, r#""out":null"#, "\"out\" is null; expected true or false"),
            (r#""cas""#, r#""incr""#, "\"v\" is \"b\"; expected a string with a signed"),
            (r#""cas""#, r#""get""#, "\"out\" is true; expected a string or null"),
            ("}", r#","idx":1.5}"#, "\"idx\" is 1.5; expected an integer"),
        ] {
            let history = format!("{good}\n{}\n", good.replace(part, instead));
            let error = read(history.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("line 2: ") && error.contains(expected), "{error}");
        }
        let error = read(b"\xff\n".as_slice()).unwrap_err().to_string();
        assert!(error.starts_with("line 1: this is not JSON"), "{error}");
    }

    #[test]
    fn long_and_binary_values_are_told_apart_by_what_stands_for_them() {
        let long: Vec<u8> = b"0123456789".repeat(20);
        let mut other = long.clone();
        other[150] = b'x';
        let binary = b"\xff\xfe";
        let shown = [text(&long), text(&other), text(&long[..190]), text(binary)];
        assert!(shown.iter().all(|text| text.len() <= TEXT_BYTES_MAX));
        assert!(shown.iter().enumerate().all(|(at, text)| !shown[..at].contains(text)));
        assert_eq!(text(&long[..TEXT_BYTES_MAX]).as_bytes(), &long[..TEXT_BYTES_MAX]);
    }
}
