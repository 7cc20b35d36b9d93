//! What the demo loads: the lines of a file, or a small set of facts of its own.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use bytes::Bytes;

use super::traffic::KEY_PREFIX;
use crate::cli::args::ClientFlags;
use crate::cli::driver::Driver;
use crate::cli::escape::parse_line;
use crate::cli::exit::Failure;
use crate::client::{Answer, Ask, Event};
use crate::operation::Operation;

/// The chemical elements: number, name and standard atomic weight, or in brackets the mass
/// number of the isotope that lives longest where there is no such weight.
const ELEMENTS: &str = include_str!("elements.tsv");
const ELEMENTS_EXAMPLE: &str = "element/Fe";

/// How many lines are on their way at once.
const OUTSTANDING_MAX: usize = 256;

/// Keys and values, and what to call them.
#[derive(Debug)]
pub struct Data {
    /// What it is, as in "118 chemical elements".
    pub name: String,
    /// Each key once.
    pub pairs: BTreeMap<Bytes, Bytes>,
    /// One of the keys, to show.
    pub example: Bytes,
}

impl Data {
    /// Reads the file, or without one takes the chemical elements.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is not `key<TAB>value`.
    pub fn read(path: Option<&str>) -> Result<Self, Failure> {
        let Some(path) = path else {
            let pairs = parse(ELEMENTS.as_bytes())?;
            let name = format!("{} chemical elements", pairs.len());
            return Ok(Self { name, pairs, example: ELEMENTS_EXAMPLE.into() });
        };
        let text = fs::read(path)
            .map_err(|error| Failure::usage(format!("cannot read {path}: {error}")))?;
        let pairs = parse(&text)?;
        let Some(example) = pairs.keys().next().cloned() else {
            return Err(Failure::usage(format!("{path} is empty; lines of key<TAB>value are due")));
        };
        Ok(Self { name: format!("{} keys of {path}", pairs.len()), pairs, example })
    }
}

/// Of lines with one key the last one counts.
fn parse(text: &[u8]) -> Result<BTreeMap<Bytes, Bytes>, Failure> {
    let lines = text.strip_suffix(b"\n").unwrap_or(text).split(|byte| *byte == b'\n');
    let mut pairs = BTreeMap::new();
    for (before, line) in lines.enumerate().filter(|_| !text.is_empty()) {
        let wrong =
            |why: &str| Failure::usage(format!("line {} is not key<TAB>value: {why}", before + 1));
        let (key, value) = parse_line(line).map_err(wrong)?;
        let (key, value) = (Bytes::from(key), Bytes::from(value));
        Operation::Put { key: key.clone(), value: value.clone() }
            .check()
            .map_err(|invalid| wrong(&invalid.to_string()))?;
        if key.starts_with(KEY_PREFIX.as_bytes()) {
            return Err(wrong(&format!("keys that begin with '{KEY_PREFIX}' are the demo's own")));
        }
        pairs.insert(key, value);
    }
    Ok(pairs)
}

/// Puts all pairs into the store. `watch` is told again and again how many are acknowledged,
/// and may end it.
///
/// # Errors
/// What `watch` says, or that a write was not acknowledged, and why.
pub fn load(
    flags: &ClientFlags,
    pairs: &BTreeMap<Bytes, Bytes>,
    watch: impl FnMut(usize) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut driver = Driver::new(flags, 1, false, OUTSTANDING_MAX)?;
    let loaded = put_all(&mut driver, pairs, watch);
    driver.close();
    loaded
}

fn put_all(
    driver: &mut Driver,
    pairs: &BTreeMap<Bytes, Bytes>,
    mut watch: impl FnMut(usize) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut unsent = pairs.iter();
    let mut acknowledged = 0;
    while acknowledged < pairs.len() {
        let now = driver.now();
        let room = OUTSTANDING_MAX - driver.client(0).outstanding();
        for (key, value) in unsent.by_ref().take(room) {
            let put = Operation::Put { key: key.clone(), value: value.clone() };
            driver.client(0).ask(now, Ask::Execute(put));
        }
        driver.turn(now + Duration::from_millis(50))?;
        acknowledged += take_answers(driver)?;
        watch(acknowledged)?;
    }
    Ok(())
}

fn take_answers(driver: &mut Driver) -> Result<usize, Failure> {
    let mut acknowledged = 0;
    while let Some(event) = driver.poll_event(0) {
        match event {
            Event::Done(_, Answer::Settled(_)) => acknowledged += 1,
            Event::Done(_, Answer::Refused(why) | Answer::Unknown(why) | Answer::NoAnswer(why)) => {
                return Err(Failure::no_answer(format!("a line was not acknowledged: {why}")));
            }
            Event::Done(_, Answer::Read { .. }) | Event::Bytes(..) => {}
        }
    }
    Ok(acknowledged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_elements_are_complete() {
        let data = Data::read(None).unwrap();
        assert_eq!(data.pairs.len(), 118);
        assert_eq!(data.pairs[&data.example], "26 iron 55.845");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_named() {
        let cases = [
            ("a\tb\nc\n", "line 2 is not key<TAB>value: it has no tab"),
            ("\tb\n", "line 1"),
            ("demo/x\ty\n", "the demo's own"),
        ];
        for (text, expected) in cases {
            let sentence = parse(text.as_bytes()).unwrap_err().sentence;
            assert!(sentence.contains(expected), "{sentence}");
        }
        assert_eq!(parse(b"").unwrap().len(), 0);
        let twice = parse(b"a\t1\na\t2").unwrap();
        assert_eq!(twice.into_values().collect::<Vec<_>>(), ["2"]);
    }
}
