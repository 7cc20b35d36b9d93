//! Flags, operands, and what is said of a line that is wrong.

use crate::alone::Alone;
use crate::processes::quorate;

#[test]
fn flags_stand_before_and_after_operands_and_two_dashes_end_them() {
    let alone = Alone::start();
    alone.run(&["put", "--timeout", "9", "k", "--json", "v"]).expect(0);
    assert_eq!(alone.run(&["get", "k", "--timeout=9"]).expect(0).text(), "v");
    assert_eq!(alone.run(&["get", "--timeout=9", "k"]).expect(0).text(), "v");

    alone.run(&["put", "--", "--json", "--help"]).expect(0);
    assert_eq!(alone.run(&["get", "--", "--json"]).expect(0).text(), "--help");
    let shown = alone.run(&["get", "--json", "--", "--json"]).expect(0).json();
    assert_eq!(shown["value"], "--help");
}

#[test]
fn a_negative_number_is_an_operand_and_not_a_flag() {
    let alone = Alone::start();
    assert_eq!(alone.run(&["incr", "k", "-5"]).expect(0).text(), "-5\n");
    assert_eq!(alone.run(&["incr", "k", "--timeout", "9"]).expect(0).text(), "-4\n");
    assert_eq!(alone.run(&["incr", "--", "k", "-1"]).expect(0).text(), "-5\n");
    alone.run(&["put", "-1", "-2"]).expect(0);
    assert_eq!(alone.run(&["get", "-1"]).expect(0).text(), "-2");
    alone.run(&["cas", "-1", "-3", "--value", "-2"]).expect(0);
    assert_eq!(alone.run(&["get", "-1"]).expect(0).text(), "-3");
}

#[test]
fn control_characters_of_operands_are_kept() {
    let alone = Alone::start();
    for odd in ["\u{1}", "\u{1}-5", "\t\n\r\\", "\u{7f}ä😀"] {
        alone.run(&["put", odd, odd]).expect(0);
        assert_eq!(alone.run(&["get", odd]).expect(0).text(), odd);
    }
}

#[test]
fn servers_come_from_the_flag_before_the_variable() {
    let alone = Alone::start();
    let nobody = "127.0.0.1:1";
    let listed = format!(" {nobody} , ,{}", alone.address);
    quorate(&listed, &["put", "k", "v"], b"").expect(0);
    let flags = ["get", "k", "--server", nobody, "--server", &alone.address];
    assert_eq!(quorate("nonsense", &flags, b"").expect(0).text(), "v");
    let only_flag = ["get", "k", "--server", nobody, "--timeout", "0.2"];
    quorate(&alone.address, &only_flag, b"").expect(3);
    let ran = quorate("nonsense", &["get", "k"], b"").expect(2);
    assert!(ran.err.contains("'nonsense' is not the address of a node"), "{}", ran.err);
}

#[test]
fn servers_of_two_families_are_refused() {
    let servers = "127.0.0.1:9717,[::1]:9717";
    for words in [["get", "k"].as_slice(), &["put", "k", "v"], &["status"], &["member", "list"]] {
        let ran = quorate(servers, words, b"").expect(2);
        assert!(ran.err.contains("127.0.0.1:9717 and [::1]:9717"), "{}", ran.err);
        assert!(ran.err.contains("of one family"), "{}", ran.err);
    }
}

#[test]
fn a_wrong_line_gets_one_sentence_that_says_what_was_found_and_expected() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["frobnicate"], &["no command 'frobnicate'", "there are run, put, get"]),
        (&["get", "k", "--jsno"], &["no flag '--jsno'", "--help"]),
        (&["get", "k", "-x"], &["no flag '-x'", "--help"]),
        (&["get", "k", "--json=yes"], &["--json takes no value"]),
        (&["get", "k", "--timeout"], &["--timeout needs a value"]),
        (&["get", "k", "--timeout", "1", "--timeout", "2"], &["--timeout stands twice"]),
        (&["get", "k", "--timeout", "soon"], &["--timeout is 'soon'", "not a number"]),
        (&["get", "k", "--timeout", "0"], &["--timeout is 0", "above zero"]),
        (&["get", "k", "--timeout", "-1"], &["--timeout is -1", "above zero"]),
        (&["get", "k", "--timeout", "NaN"], &["--timeout is NaN", "above zero"]),
        (&["get", "k", "--cluster", ""], &["--cluster \"\"", "1 to"]),
        (&["get", "k", "--cluster", "a b"], &["--cluster \"a b\"", "without spaces"]),
        (&["get", "k", "--server", "here"], &["'here' is not the address", "ADDR:PORT"]),
        (&["get", "k", "--server", "127.0.0.1"], &["'127.0.0.1' is not", "ADDR:PORT"]),
        (&["get", "k", "--server", "127.0.0.1:x"], &["'127.0.0.1:x'", "ADDR:PORT"]),
        (&["get", "k", "--server", "-5"], &["'-5' is not the address", "ADDR:PORT"]),
        (&["get"], &["found no operand", "expected KEY", "--help"]),
        (&["put", "k"], &["found 1 operand (k)", "expected KEY VALUE"]),
        (&["put", "k", "v", "w"], &["found 3 operands (k v w)", "expected KEY VALUE"]),
        (&["dump", "k"], &["found 1 operand (k)", "expected none"]),
        (&["list", "a", "b"], &["found 2 operands (a b)", "expected [PREFIX]"]),
        (&["list", "--limit", "0"], &["--limit is 0", "1 or more"]),
        (&["list", "--limit", "few"], &["--limit is 'few'", "not a number"]),
        (&["cas", "k", "v"], &["one of --version N, --value OLD and --absent"]),
        (&["cas", "k", "v", "--absent", "--value", "w"], &["one of --version N"]),
        (&["cas", "k", "v", "--version", "x"], &["--version is 'x'"]),
        (&["incr", "k", "1.5"], &["'1.5' is not a signed 64-bit number"]),
        (&["incr", "k", "9223372036854775808"], &["not a signed 64-bit number"]),
        (&["load", "/nonexistent"], &["cannot read /nonexistent", "No such file"]),
        (&["load", "/"], &["/ is a directory", "expected a file"]),
        (&["simulate"], &["--seed S or --seeds A..B"]),
        (&["simulate", "--seed", "1", "--faults", "x"], &["'x'", "none, network, crashes"]),
        (&["simulate", "--seeds", "0..2", "--trace"], &["--trace goes with --seed"]),
        (&["simulate", "--seed", "1", "--nodes", "15"], &["--nodes is a number from 1 to 14"]),
        (&["simulate", "--seeds", "5..5"], &["'5..5'", "A below B"]),
        (&["run", "--id", "1", "--data-dir", "d"], &["quorate keygen", "--insecure-no-key"]),
        (
            &["run", "--key-file", "/nonexistent", "--id", "1", "--data-dir", "d"],
            &["quorate keygen"],
        ),
        (&["get", "k", "--key-file", "/etc/hostname"], &["others can read it", "chmod 600"]),
        (&["keygen"], &["FILE"]),
        (&["keygen", "/nonexistent/key", "--id", "0"], &["from 1 to 65535"]),
        (&["run", "--insecure-no-key", "--data-dir", "d"], &["--id is missing", "--id 1"]),
        (&["run", "--insecure-no-key", "--id", "1"], &["--data-dir is missing"]),
        (&["help", "frobnicate"], &["no command 'frobnicate'"]),
    ];
    for (words, fragments) in cases {
        let ran = quorate("", words, b"").expect(2);
        assert_eq!(ran.out, b"", "{words:?}");
        assert_eq!(ran.err.lines().count(), 1, "{words:?}: {}", ran.err);
        assert!(ran.err.starts_with("quorate: "), "{words:?}: {}", ran.err);
        for fragment in *fragments {
            assert!(ran.err.contains(fragment), "{words:?} lacks '{fragment}': {}", ran.err);
        }
    }
}

#[test]
fn without_a_command_the_help_goes_to_standard_error() {
    let ran = quorate("", &[], b"").expect(2);
    assert_eq!(ran.out, b"");
    assert!(ran.err.contains("Usage: quorate COMMAND"), "{}", ran.err);
    assert!(ran.err.ends_with("quorate: no command is given\n"), "{}", ran.err);
}
