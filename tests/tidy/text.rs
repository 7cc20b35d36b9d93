//! How wide, how long, and what is left over.

use crate::expect_none;
use crate::tree::{Source, sources};

const COLUMNS_MAX: usize = 100;
/// The longest Rust file may have this many lines.
const LINES_MAX: usize = 540;
/// When the longest file is shorter than the limit by more than this, the limit is lowered:
/// what was won is kept.
const LINES_SLACK: usize = 100;

/// The words are written in two halves, so that this file does not hold them.
const LEFT_OVER: [&str; 6] = [
    concat!("dbg", "!("),
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
    concat!("XX", "X"),
];

fn wide_lines(source: &Source) -> Vec<String> {
    let lines = source.text.lines().enumerate();
    let wide = lines.filter(|(_, line)| line.chars().count() > COLUMNS_MAX);
    wide.map(|(at, _)| format!("{} is wider than {COLUMNS_MAX}", source.at(at))).collect()
}

fn leftovers(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        let found = LEFT_OVER.iter().filter(|word| line.contains(*word));
        complaints.extend(found.map(|word| format!("{}: {word} is left over", source.at(at))));
    }
    complaints
}

fn too_long(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    if lines <= LINES_MAX {
        return Vec::new();
    }
    vec![format!("{} has {lines} lines, of at most {LINES_MAX}", source.path.display())]
}

#[test]
fn no_line_is_too_wide() {
    let complaints: Vec<String> = sources("rs").iter().flat_map(wide_lines).collect();
    expect_none(&complaints);
    let sample = format!("{}\n{}\n", "ä".repeat(100), "a".repeat(101));
    assert_eq!(wide_lines(&Source::sample("a.rs", &sample)), ["a.rs:2 is wider than 100"]);
}

#[test]
fn nothing_is_left_over() {
    for extension in ["rs", "md", "toml"] {
        let complaints: Vec<String> = sources(extension).iter().flat_map(leftovers).collect();
        expect_none(&complaints);
    }
    for word in LEFT_OVER {
        let sample = Source::sample("a.rs", &format!("fine\n// {word} later\n"));
        assert_eq!(leftovers(&sample), [format!("a.rs:2: {word} is left over")]);
    }
}

#[test]
fn no_file_is_too_long() {
    let sources = sources("rs");
    let complaints: Vec<String> = sources.iter().flat_map(too_long).collect();
    expect_none(&complaints);
    let longest = sources.iter().map(|source| source.text.lines().count()).max().unwrap_or(0);
    assert!(
        longest + LINES_SLACK >= LINES_MAX,
        "the longest file has {longest} lines now: lower LINES_MAX from {LINES_MAX}"
    );
    let sample = Source::sample("a.rs", &"\n".repeat(LINES_MAX + 1));
    assert_eq!(too_long(&sample).len(), 1);
}
