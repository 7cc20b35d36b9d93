//! A data directory, looked at while no node runs.

use std::fs;
use std::path::PathBuf;

use crate::alone::Alone;
use crate::processes::quorate;

/// A cluster of one that has written something, and has ended.
fn ended() -> Alone {
    let mut alone = Alone::start();
    for key in ["a", "b", "c"] {
        alone.run(&["put", key, "value"]).expect(0);
    }
    assert_eq!(alone.node.terminate().0, 0);
    alone
}

fn journal(alone: &Alone) -> PathBuf {
    PathBuf::from(alone.data_dir()).join("journal")
}

#[test]
fn an_intact_directory_shows_what_it_holds() {
    let alone = ended();
    let before = fs::read(journal(&alone)).expect("there is a journal");
    let shown = quorate("", &["inspect", &alone.data_dir()], b"").expect(0).text();
    assert!(shown.contains("node       1 of cluster quorate"), "{shown}");
    let json = quorate("", &["inspect", &alone.data_dir(), "--json"], b"").expect(0).json();
    assert_eq!((&json["intact"], &json["id"], &json["term"]), (&true.into(), &1.into(), &1.into()));
    // The configuration, the start of the term, and three puts.
    assert_eq!(json["last_index"], 5);
    assert_eq!(fs::read(journal(&alone)).expect("it is still there"), before);
}

#[test]
fn damage_is_a_negative_answer_that_says_where() {
    let alone = ended();
    let mut bytes = fs::read(journal(&alone)).expect("there is a journal");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(journal(&alone), &bytes).expect("it can be written");
    let ran = quorate("", &["inspect", &alone.data_dir()], b"").expect(1);
    assert!(ran.text().contains("damaged at byte"), "{ran:?}");
    let json = quorate("", &["inspect", &alone.data_dir(), "--json"], b"").expect(1).json();
    let offset = json["offset"].as_u64().expect("it says where");
    assert!(offset <= middle as u64 && json["intact"] == false, "{json}");
}

#[test]
fn a_torn_tail_is_no_damage() {
    let alone = ended();
    let bytes = fs::read(journal(&alone)).expect("there is a journal");
    fs::write(journal(&alone), &bytes[..bytes.len() - 3]).expect("it can be written");
    let json = quorate("", &["inspect", &alone.data_dir(), "--json"], b"").expect(0).json();
    assert!(json["torn_bytes"].as_u64().is_some_and(|torn| torn > 0), "{json}");
}

#[test]
fn a_directory_in_use_or_of_nobody_is_refused() {
    let alone = Alone::start();
    let ran = quorate("", &["inspect", &alone.data_dir()], b"").expect(4);
    assert!(ran.err.contains("is in use by another process"), "{ran:?}");
    let nobody = alone.directory.path().display().to_string();
    let ran = quorate("", &["inspect", &nobody], b"").expect(4);
    assert!(ran.err.contains("holds no journal"), "{ran:?}");
}
