//! The vectors as the document holds them: fenced blocks of bytes and their meaning.
//!
//! A block's first line names type and vector; bytes in hexadecimal follow, where
//! `78x1024` stands for 1,024 times the byte 78; then a line `--` and what they mean.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use quorate::wire::HEADER_BYTES;

use super::blessing;

const FENCE: &str = "```";
const OPENING: &str = "```vector ";

/// A vector's bytes and its readable meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vector {
    pub bytes: Vec<u8>,
    pub meaning: Vec<String>,
}

/// The vectors of one type, by name.
pub type Vectors = BTreeMap<String, Vector>;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/wire-format.md")
}

/// Held while the document is read or written: tests run side by side.
static DOCUMENT: Mutex<()> = Mutex::new(());

/// The document's text.
pub fn text() -> String {
    let _held = DOCUMENT.lock().unwrap_or_else(PoisonError::into_inner);
    read()
}

fn read() -> String {
    std::fs::read_to_string(path()).expect("docs/wire-format.md can be read")
}

/// Compares the document's vectors of this type with those expected, in both
/// directions; blessing, it writes those expected into the document instead.
pub fn check(kind: &str, expected: &Vectors) {
    if blessing() {
        write(kind, expected);
    }
    let found = vectors(kind);
    for (name, vector) in expected {
        let Some(found) = found.get(name) else { panic!("the document has no `{kind} {name}`") };
        assert_eq!(found.bytes, vector.bytes, "the bytes of `{kind} {name}`");
        assert_eq!(found.meaning, vector.meaning, "the meaning of `{kind} {name}`");
    }
    let unexpected = found.keys().find(|name| !expected.contains_key(*name));
    assert_eq!(unexpected, None, "the document has a `{kind}` that no test knows");
}

/// The document's vectors of this type.
pub fn vectors(kind: &str) -> Vectors {
    let text = text();
    let mut lines = text.lines();
    let mut vectors = Vectors::new();
    while let Some(line) = lines.next() {
        let Some(name) = name_of(line, kind) else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != FENCE).collect();
        let former = vectors.insert(name.into(), parse(&block));
        assert_eq!(former, None, "two vectors are called `{kind} {name}`");
    }
    vectors
}

fn name_of<'a>(line: &'a str, kind: &str) -> Option<&'a str> {
    line.strip_prefix(OPENING)?.strip_prefix(kind)?.strip_prefix(' ')
}

fn parse(block: &[&str]) -> Vector {
    let end = block.iter().position(|line| *line == "--").unwrap_or(block.len());
    let bytes = block[..end].iter().flat_map(|line| parse_hex(line)).collect();
    let meaning = block.iter().skip(end + 1).map(|line| (*line).into()).collect();
    Vector { bytes, meaning }
}

/// The bytes of a line of hexadecimal groups.
pub fn parse_hex(line: &str) -> Vec<u8> {
    line.split_whitespace().flat_map(parse_group).collect()
}

fn parse_group(group: &str) -> Vec<u8> {
    if let Some((byte, times)) = group.split_once('x') {
        return vec![parse_byte(byte); times.parse().expect("a number of times")];
    }
    let pairs = (0..group.len()).step_by(2).map(|at| &group[at..(at + 2).min(group.len())]);
    pairs.map(parse_byte).collect()
}

fn parse_byte(pair: &str) -> u8 {
    assert_eq!(pair.len(), 2, "{pair} is not a byte");
    u8::from_str_radix(pair, 16).expect("two hexadecimal digits")
}

/// Replaces the content of the document's blocks.
fn write(kind: &str, vectors: &Vectors) {
    let _held = DOCUMENT.lock().unwrap_or_else(PoisonError::into_inner);
    let mut written = String::new();
    let text = read();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        written.push_str(line);
        written.push('\n');
        if let Some(vector) = name_of(line, kind).and_then(|name| vectors.get(name)) {
            written.push_str(&show(kind, vector));
            lines.by_ref().find(|line| *line == FENCE);
        }
    }
    std::fs::write(path(), written).expect("docs/wire-format.md can be written");
}

fn show(kind: &str, vector: &Vector) -> String {
    let is_frame = ["frame", "extended", "bad"].contains(&kind);
    let (header, rest) = match vector.bytes.split_at_checked(HEADER_BYTES) {
        Some((header, rest)) if is_frame => (show_header(header), rest),
        _ => (Vec::new(), &vector.bytes[..]),
    };
    let lines = join_runs(rest.chunks(32).map(show_line).collect());
    let meaning = ["--".to_string()].into_iter().chain(vector.meaning.iter().cloned());
    let lines = header.into_iter().chain(lines).chain(meaning).chain([FENCE.into()]);
    lines.map(|line| line + "\n").collect()
}

/// The header in two lines, with a gap wherever a field or a few short ones end.
fn show_header(header: &[u8]) -> Vec<String> {
    let show = |mut bytes: &[u8], widths: &[usize]| {
        let groups = widths.iter().map(|width| hex(bytes.split_off(..*width).unwrap_or_default()));
        groups.collect::<Vec<_>>().join(" ")
    };
    vec![show(&header[..32], &[4, 4, 4, 4, 8, 4, 4]), show(&header[32..], &[8, 8, 4, 4, 4])]
}

/// At most 32 bytes: a run of one byte in short, or groups of eight.
fn show_line(line: &[u8]) -> String {
    if line.len() == 32 && line.iter().all(|byte| *byte == line[0]) {
        return format!("{:02x}x32", line[0]);
    }
    line.chunks(8).map(hex).collect::<Vec<_>>().join(" ")
}

/// The bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// Lines of runs of the same byte become one.
fn join_runs(lines: Vec<String>) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    for line in lines {
        let run = |line: &str| Some((line.get(..3)?.to_string(), line.get(3..)?.parse().ok()?));
        match (joined.last_mut(), run(&line)) {
            (Some(last), Some((byte, more))) if line.contains('x') && last.starts_with(&byte) => {
                let (_, times): (String, usize) = run(last).expect("it is a run");
                let more: usize = more;
                *last = format!("{byte}{}", times + more);
            }
            _ => joined.push(line),
        }
    }
    joined
}
