//! `list`, `dump` and `load`: lines of keys and values, escaped.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};

use crate::alone::Alone;
use crate::processes::eventually;

#[test]
fn lines_are_escaped_and_in_the_order_of_the_keys_bytes() {
    let alone = Alone::start();
    for (key, value) in [("b\\n", "x\ty"), ("a\tb", "1\n2\r"), ("ä", ""), ("B", "\\")] {
        alone.run(&["put", key, value]).expect(0);
    }
    let expected = "B\t\\\\\na\\tb\t1\\n2\\r\nb\\\\n\tx\\ty\nä\t\n";
    assert_eq!(alone.run(&["list"]).expect(0).text(), expected);
    assert_eq!(alone.run(&["dump"]).expect(0).text(), expected);
    assert_eq!(alone.run(&["dump", "--stale"]).expect(0).text(), expected);
    assert_eq!(alone.run(&["list", "b"]).expect(0).text(), "b\\\\n\tx\\ty\n");
    assert_eq!(alone.run(&["list", "--limit", "1"]).expect(0).text(), "B\t\\\\\n");
    assert_eq!(alone.run(&["list", "no-such-prefix"]).expect(0).text(), "");
}

#[test]
fn what_dump_prints_load_takes_byte_for_byte() {
    let (first, second) = (Alone::start(), Alone::start());
    let pairs = nasty_pairs();
    let input: Vec<u8> = pairs.iter().flat_map(|(key, value)| line(key, value)).collect();
    let loaded = first.run_on(&["load", "-"], &input).expect(0);
    assert_eq!(loaded.err, format!("quorate: {} lines acknowledged\n", pairs.len()));
    let dumped = first.run(&["dump"]).expect(0).out;
    assert!(dumped == input, "the first dump is the input, as that is in the keys' order");

    let path = second.directory.path().join("dump.tsv");
    std::fs::write(&path, &dumped).expect("the dump can be written");
    let path = path.display().to_string();
    let loaded = second.run(&["load", &path, "--json"]).expect(0);
    assert_eq!(loaded.json(), serde_json::json!({ "acknowledged": pairs.len() }));
    assert!(second.run(&["dump"]).expect(0).out == input);

    second.run(&["load", &path]).expect(0);
    assert!(second.run(&["dump"]).expect(0).out == input, "to load again changes nothing");
}

#[test]
fn a_last_line_without_a_newline_counts_and_no_line_at_all_is_no_failure() {
    let alone = Alone::start();
    alone.run_on(&["load", "-"], b"a\t1\nb\t2").expect(0);
    assert_eq!(alone.run(&["dump"]).expect(0).text(), "a\t1\nb\t2\n");
    let loaded = alone.run_on(&["load", "-"], b"").expect(0);
    assert_eq!(loaded.err, "quorate: 0 lines acknowledged\n");
}

#[test]
fn a_line_from_a_slow_pipe_does_not_wait_for_the_next_one() {
    let alone = Alone::start();
    let mut load = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(["load", "-", "--server", &alone.address, "--timeout", "1"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut pipe = load.stdin.take().expect("standard input is a pipe");
    for line in ["a\t1\n", "b\t2\n"] {
        pipe.write_all(line.as_bytes()).expect("the program reads");
        let (key, _) = line.split_once('\t').expect("it has a tab");
        eventually("the line is loaded", || (alone.run(&["get", key]).code == 0).then_some(()));
    }
    drop(pipe);
    assert_eq!(load.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_malformed_line_is_named_and_those_before_it_are_loaded() {
    let alone = Alone::start();
    let long_key = [b'k'; 1_025];
    let long_value = vec![b'v'; (1 << 20) + 1];
    let cases: &[(&[u8], &str)] = &[
        (b"no tab", "it has no tab"),
        (b"", "it has no tab"),
        (b"two\ttabs\there", "second tab"),
        (b"k\tbad\\x", "a backslash stands before"),
        (b"k\tcut\\", "a backslash stands before"),
        (b"k\tas elsewhere\r", "a line ends in a newline alone"),
        (b"\tvalue", "the key is empty"),
        (&[&long_key[..], b"\t"].concat(), "longer than 1024 bytes"),
        (&[b"k\t", &long_value[..]].concat(), "longer than 1048576 bytes"),
    ];
    for (number, (malformed, fragment)) in cases.iter().enumerate() {
        let good = format!("good-{number}\tv\n");
        let input = [good.as_bytes(), malformed, b"\nlate\tv\n"].concat();
        let ran = alone.run_on(&["load", "-"], &input).expect(2);
        assert!(ran.err.contains("line 2 is not key<TAB>value"), "{}", ran.err);
        assert!(ran.err.contains(fragment), "lacks '{fragment}': {}", ran.err);
        assert!(ran.err.contains("the 1 lines before it are acknowledged"), "{}", ran.err);
        alone.run(&["get", &format!("good-{number}")]).expect(0);
    }
    alone.run(&["get", "late"]).expect(1);
}

#[test]
fn a_load_that_nobody_answers_says_how_many_lines_are_acknowledged() {
    let mut alone = Alone::start();
    alone.node.kill();
    let ran = alone.run_on(&["load", "-", "--timeout", "0.3"], b"a\t1\n").expect(3);
    assert!(ran.err.contains("0 of the first 1 lines acknowledged"), "{}", ran.err);
    assert!(ran.err.contains("0 of 1 nodes answered"), "{}", ran.err);
}

#[test]
fn an_interrupted_load_says_how_many_lines_are_acknowledged() {
    let alone = Alone::start();
    let mut load = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(["load", "-", "--server", &alone.address])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut input = load.stdin.take().expect("standard input is a pipe");
    input.write_all(b"a\t1\n").expect("it reads");
    eventually("the line is loaded", || (alone.run(&["get", "a"]).code == 0).then_some(()));
    kill_process(Pid::from_child(&load), Signal::INT).expect("the load waits for more");
    let ended = load.wait_with_output().expect("the program ends");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(3), "{said}");
    assert!(said.contains(" of the first 1 lines acknowledged, then it was interrupted"), "{said}");
}

/// Every byte in key and value, alone and between others, the longest of both, empty
/// values, and random ones.
fn nasty_pairs() -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut pairs = BTreeMap::new();
    for byte in 0..=255_u8 {
        pairs.insert(vec![byte], Vec::new());
        pairs.insert(vec![b'a', byte], vec![byte, b'\\', byte]);
    }
    let all: Vec<u8> = (0..=255).collect();
    pairs.insert(all.clone(), all.repeat(5));
    pairs.insert(vec![b'\n'; 1_024], vec![b'\\'; 1 << 20]);
    let mut random = Rng::with_seed(2);
    for _ in 0..200 {
        let bytes = |random: &mut Rng, most| -> Vec<u8> {
            let length = random.usize(1..most);
            (0..length).map(|_| random.u8(..)).collect()
        };
        let key = bytes(&mut random, 40);
        pairs.insert(key, bytes(&mut random, 3_000));
    }
    pairs
}

/// A line written by the rule alone, without the program's code.
fn line(key: &[u8], value: &[u8]) -> Vec<u8> {
    let escaped = |bytes: &[u8]| -> Vec<u8> {
        let escape = |byte: &u8| match byte {
            b'\\' => b"\\\\".to_vec(),
            b'\t' => b"\\t".to_vec(),
            b'\n' => b"\\n".to_vec(),
            b'\r' => b"\\r".to_vec(),
            other => vec![*other],
        };
        bytes.iter().flat_map(escape).collect()
    };
    [escaped(key), b"\t".to_vec(), escaped(value), b"\n".to_vec()].concat()
}
