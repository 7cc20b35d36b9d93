//! Every help text fits a screen and has an example.

use crate::processes::quorate;

const LINES_MAX: usize = 24;
const COLUMNS_MAX: usize = 80;

#[test]
fn every_help_text_fits_a_screen_and_has_an_example() {
    let program = help_of(&["--help"]);
    let commands = listed_commands(&program);
    assert!(commands.len() >= 19, "{commands:?}");
    for command in &commands {
        let text = help_of(&[command, "--help"]);
        assert!(text.contains(&format!("Usage: quorate {command}")), "{command}:\n{text}");
        assert_eq!(text, help_of(&["help", command]));
    }
    for same in ["-h", "help"] {
        assert_eq!(program, help_of(&[same]));
    }
}

#[test]
fn the_program_lists_every_exit_code() {
    let text = help_of(&["--help"]).replace('\n', " ");
    for code in ["0 done", "1 negative", "2 wrong", "3 no answer", "4 refused", "5 disk"] {
        assert!(text.contains(code), "{code}: {text}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let shown = quorate("", &["--version"], b"").expect(0).text();
    assert_eq!(shown, concat!("quorate ", env!("CARGO_PKG_VERSION"), "\n"));
}

fn help_of(words: &[&str]) -> String {
    let ran = quorate("", words, b"").expect(0);
    assert_eq!(ran.err, "", "{words:?}");
    let text = ran.text();
    let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    assert!(widest <= COLUMNS_MAX, "{words:?} has {widest} columns:\n{text}");
    let lines = text.lines().count();
    assert!(lines <= LINES_MAX, "{words:?} has {lines} lines:\n{text}");
    assert!(text.contains("Example"), "{words:?} has no example:\n{text}");
    text
}

/// The commands that the program's help lists: what its indented lines say before a gap.
fn listed_commands(help: &str) -> Vec<&str> {
    let indented = help.lines().filter_map(|line| line.strip_prefix("  "));
    let names = indented.filter_map(|line| line.split_once("  "));
    names.flat_map(|(names, _)| names.split(' ')).collect()
}
