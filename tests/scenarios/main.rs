//! Scenarios of the protocol, as text that is read from top to bottom: prose, events, and
//! the exact messages that follow from them. `docs/testing.md` tells the language.
//!
//! `BLESS=1 cargo test --test scenarios` writes what follows anew. Look at what changed: a
//! message that changes is a protocol that does.

#[allow(dead_code, reason = "others need more of it")]
#[path = "../clients/mod.rs"]
mod clients;
mod script;
mod difference;
mod command;
mod stage;
mod member;
mod describe;
mod client;

use std::fs;
use std::path::{Path, PathBuf};

use script::Script;
use stage::Stage;

#[test]
fn every_scenario_goes_as_it_is_told() {
    let complaints: Vec<String> = files().iter().filter_map(|path| play(path)).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// The files, in the order in which they are best read.
fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = fs::read_dir(directory).expect("the scenarios are there");
    let paths = entries.map(|entry| entry.expect("they can be listed").path());
    let is_text = |path: &PathBuf| path.extension().is_some_and(|its| its == "txt");
    let mut paths: Vec<PathBuf> = paths.filter(is_text).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

/// Plays the scenario. Returns how it differs from what is told, unless that was to be
/// written anew.
fn play(path: &Path) -> Option<String> {
    let told = Script::parse(&text_of(path));
    let played = told.play();
    if is_blessing() {
        replace(path, &played);
        return None;
    }
    told.difference(&played).map(|difference| format!("{}\n{difference}", path.display()))
}

/// Whether what follows is to be written rather than compared.
fn is_blessing() -> bool {
    std::env::var_os("BLESS").is_some()
}

fn text_of(path: &Path) -> String {
    fs::read_to_string(path).expect("a scenario is text")
}

fn replace(path: &Path, played: &Script) {
    fs::write(path, played.to_string()).expect("a scenario can be written");
}

/// The example in the document goes as it is told, too.
#[test]
fn the_documents_example_goes_as_it_is_told() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/testing.md");
    let document = text_of(&path);
    let (before, rest) = document.split_once("```scenario\n").expect("an example begins");
    let (example, after) = rest.split_once("```\n").expect("it ends");
    let told = Script::parse(example);
    let played = told.play();
    if is_blessing() {
        let document = format!("{before}```scenario\n{played}```\n{after}");
        fs::write(path, document).expect("the document can be written");
    } else {
        assert_eq!(told.difference(&played), None);
    }
}

#[test]
fn a_wrong_expectation_is_shown() {
    let told = "# Two of three.\n> cluster of 3\n> time out 1\n  1 -> 2  Nonsense\n";
    let told = Script::parse(told);
    let played = told.play();
    let difference = told.difference(&played).expect("a node never says that");
    let lines: Vec<&str> = difference.lines().collect();
    assert_eq!(lines[0], "line 3: > time out 1");
    assert!(lines.contains(&"-   1 -> 2  Nonsense"), "{difference}");
    assert!(lines.iter().any(|line| line.starts_with("+   1 -> 2  VoteRequest")), "{difference}");
    assert_eq!(played.difference(&played.play()), None, "what was written anew is right");
}
