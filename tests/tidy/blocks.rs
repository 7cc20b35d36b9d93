//! Commands in documents work, or it is said why nobody tries them.
//!
//! Right before each block of shell commands in README.md and docs/ stands one of
//!
//! ```text
//! <!-- tested by: tests/cli -->      a test there reads the document, or has the commands
//! <!-- not run: needs three hosts --> why no test runs them
//! ```

use std::fs;
use std::path::Path;

use crate::expect_none;
use crate::tree::{Source, root, sources};

const SHELL: [&str; 4] = ["sh", "bash", "shell", "console"];
const TESTED_BY: &str = "<!-- tested by: ";
const NOT_RUN: &str = "<!-- not run: ";

/// A fenced block of a document.
struct Block<'a> {
    /// Where its fence stands.
    at: usize,
    language: &'a str,
    lines: Vec<&'a str>,
    /// The line before the fence, empty ones left out.
    before: &'a str,
}

/// The lines that are not in a fenced block, with their places.
pub fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    })
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    let mut before = "";
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                open = Some(Block { at, language, lines: Vec::new(), before });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.lines.push(line),
            (None, None) if !line.is_empty() => before = line,
            (None, None) => {}
        }
    }
    blocks
}

/// The blocks of commands that nobody vouches for.
fn unvouched(source: &Source) -> Vec<String> {
    let blocks = blocks(&source.text);
    let shell = blocks.iter().filter(|block| SHELL.contains(&block.language));
    let complain = |block: &Block| {
        let why = objection(block, &source.path)?;
        Some(format!("{}: the block of commands {why}", source.at(block.at)))
    };
    shell.filter_map(complain).collect()
}

fn objection(block: &Block, document: &Path) -> Option<String> {
    let told = |start: &str| block.before.strip_prefix(start)?.strip_suffix(" -->");
    if let Some(reason) = told(NOT_RUN) {
        return (reason.len() < 8).then(|| format!("gives no reason: '{reason}'"));
    }
    let Some(test) = told(TESTED_BY) else {
        return Some(format!("needs '{TESTED_BY}PATH -->' or '{NOT_RUN}REASON -->' before it"));
    };
    let written = text_below(&root().join(test));
    let name = document.file_name()?.to_str()?;
    let has_commands = block.lines.iter().all(|line| written.contains(line));
    let runs = written.contains(name) || (has_commands && !written.is_empty());
    (!runs).then(|| format!("is not run by {test}: it neither reads {name} nor has the lines"))
}

/// All text of a file, or of the files in a directory.
fn text_below(path: &Path) -> String {
    let Ok(entries) = fs::read_dir(path) else {
        return fs::read_to_string(path).unwrap_or_default();
    };
    let files = entries.flatten().map(|entry| text_below(&entry.path()));
    files.collect::<Vec<_>>().join("\n")
}

#[test]
fn commands_in_documents_are_run_or_say_why_not() {
    let documents = sources("md");
    let public = documents.iter().filter(|document| {
        document.path.starts_with("docs") || document.path.ends_with("README.md")
    });
    let complaints: Vec<String> = public.flat_map(unvouched).collect();
    expect_none(&complaints);
}

#[test]
fn a_block_without_a_true_word_before_it_is_found() {
    let complaints = |before: &str, line: &str| {
        let text = format!("text\n\n{before}\n\n```sh\n{line}\n```\n");
        unvouched(&Source::sample("docs/no-such-document.md", &text)).len()
    };
    let command = "cargo check --quiet --no-default-features";
    assert_eq!(complaints("", command), 1);
    assert_eq!(complaints("<!-- not run: -->", command), 1);
    assert_eq!(complaints("<!-- not run: it needs three hosts -->", command), 0);
    assert_eq!(complaints("<!-- tested by: tests/run -->", command), 0);
    assert_eq!(complaints("<!-- tested by: tests/run -->", "rm -r target"), 1);
    assert_eq!(complaints("<!-- tested by: tests/nowhere -->", command), 1);
    let other = Source::sample("docs/a.md", "```text\nanything\n```\n");
    assert!(unvouched(&other).is_empty());
}
