//! What `--json` prints, to the letter.

use crate::alone::Alone;
use crate::processes::quorate;

#[test]
fn every_command_about_one_key_prints_the_same_fields() {
    let alone = Alone::start();
    let mut index = index_of(&alone);
    let mut check = |words: &[&str], code: i32, written: bool, expected: &str| {
        index += u64::from(written);
        let ran = alone.run(&[words, &["--json"]].concat()).expect(code);
        let expected = expected.replace("INDEX", &index.to_string());
        let is_stale = words.contains(&"--stale");
        let mut said = ran.text();
        if is_stale {
            said = without_age(&said);
        }
        assert_eq!(said, format!("{expected}\n"), "{words:?}");
        assert_eq!(ran.err.is_empty(), !is_stale, "{words:?}: {}", ran.err);
        index.to_string()
    };
    let absent = r#"{"key":"k","value":null,"found":false,"version":null,"index":INDEX}"#;
    let one = r#"{"key":"k","value":"1","found":true,"version":INDEX,"index":INDEX}"#;
    check(&["get", "k"], 1, false, absent);
    check(&["delete", "k"], 1, true, absent);
    check(&["put", "k", "1"], 0, true, one);
    let version = check(&["get", "k"], 0, false, one);
    check(&["get", "k", "--stale"], 0, false, one);
    let failed =
        format!(r#"{{"key":"k","value":"1","found":true,"version":{version},"index":INDEX}}"#);
    check(&["cas", "k", "2", "--absent"], 1, true, &failed);
    check(&["cas", "k", "2", "--value", "3"], 1, true, &failed);
    check(&["cas", "l", "2", "--version", "1"], 1, true, &absent.replace(r#""k""#, r#""l""#));
    check(&["cas", "k", "2", "--version", &version], 0, true, &one.replace(r#""1""#, r#""2""#));
    check(&["incr", "k", "-7"], 0, true, &one.replace(r#""1""#, r#""-5""#));
    let deleted = r#"{"key":"k","value":null,"found":true,"version":null,"index":INDEX}"#;
    check(&["delete", "k"], 0, true, deleted);
}

#[test]
fn what_is_not_utf_8_stands_in_base64() {
    let alone = Alone::start();
    let stored = alone.run_on(&["put", "k", "-", "--json"], b"\xff\x00").expect(0).json();
    assert_eq!((&stored["value"], &stored["value_base64"]), (&json_null(), &"/wA=".into()));
    let fields: Vec<&String> = stored.as_object().expect("it is an object").keys().collect();
    assert_eq!(fields, ["key", "value_base64", "found", "version", "index"]);
    let shown = alone.run(&["get", "k", "--json"]).expect(0).json();
    assert_eq!(shown["value_base64"], "/wA=");

    alone.run_on(&["load", "-"], b"\xfe\tplain\n").expect(0);
    // The last entry closes the session of the load.
    let version = index_of(&alone) - 1;
    let lines = alone.run(&["dump", "--json"]).expect(0).text();
    let (first, second) = lines.split_once('\n').expect("there are two lines");
    assert_eq!(first, format!(r#"{{"key":"k","value_base64":"/wA=","version":{}}}"#, version - 1));
    let expected = format!(r#"{{"key_base64":"/g==","value":"plain","version":{version}}}"#);
    assert_eq!(second, format!("{expected}\n"));
}

#[test]
fn a_failure_is_an_object_that_tells_refused_from_unknown() {
    let alone = Alone::start();
    alone.run(&["put", "k", "v"]).expect(0);
    let cases: &[(&[&str], i32, &str, &str)] = &[
        (&["put", "", "v"], 4, "refused", "the key is empty"),
        (&["incr", "k"], 4, "refused", "not a signed 64-bit number"),
        (&["get", "k", "--jsno"], 2, "refused", "no flag '--jsno'"),
        (&["put", "k", "v", "--cluster", "other"], 3, "unknown", "0 of 1 nodes answered"),
    ];
    for (words, code, outcome, fragment) in cases {
        let ran = alone.run(&[*words, &["--json", "--timeout", "0.3"]].concat()).expect(*code);
        assert_eq!(ran.err, "", "{words:?}");
        let object = ran.json();
        let fields: Vec<&String> = object.as_object().expect("it is an object").keys().collect();
        assert_eq!(fields, ["error", "outcome"], "{words:?}");
        assert_eq!(object["outcome"], *outcome, "{words:?}");
        assert!(object["error"].as_str().is_some_and(|error| error.contains(fragment)), "{object}");
    }
}

#[test]
fn a_load_that_breaks_off_is_refused_only_if_nothing_of_it_is_done() {
    let alone = Alone::start();
    let cases = [("a\t1\nb\t2\nmalformed\n", 2, "unknown"), ("malformed\n", 0, "refused")];
    for (lines, acknowledged, outcome) in cases {
        let object = alone.run_on(&["load", "-", "--json"], lines.as_bytes()).expect(2).json();
        assert_eq!(object["outcome"], outcome, "{object}");
        assert_eq!(object["acknowledged"], acknowledged, "{object}");
    }
}

/// The operations, and one more entry: what says that there are no more.
#[test]
fn a_load_closes_its_session() {
    let alone = Alone::start();
    let before = index_of(&alone);
    alone.run_on(&["load", "-"], b"a\t1\nb\t2\n").expect(0);
    assert_eq!(index_of(&alone), before + 3);
}

#[test]
fn a_json_that_is_an_operand_asks_for_nothing() {
    let ran = quorate("", &["put", "--", "", "--json", "more"], b"").expect(2);
    assert_eq!(ran.out, b"");
    assert!(ran.err.contains("found 3 operands"), "{}", ran.err);
}

fn index_of(alone: &Alone) -> u64 {
    let shown = alone.run(&["get", "no-such-key", "--json"]).expect(1).json();
    shown["index"].as_u64().expect("the index is a number")
}

fn json_null() -> serde_json::Value {
    serde_json::Value::Null
}

/// What is said of a stale read, which must also tell how old that can be.
fn without_age(said: &str) -> String {
    let (rest, age) = said.split_once(",\"age_ms\":").expect("an age");
    let digits = age.strip_suffix("}\n").expect("it is the last field");
    digits.parse::<u64>().expect("a number");
    format!("{rest}}}\n")
}
