//! A data directory, looked at while no node runs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::alone::Alone;
use crate::processes::quorate;

const SECTOR: usize = 512;

/// A cluster of one that has written something, and has ended.
fn ended() -> Alone {
    let mut alone = Alone::start();
    for key in ["a", "b", "c"] {
        alone.run(&["put", key, "value"]).expect(0);
    }
    assert_eq!(alone.node.terminate().0, 0);
    alone
}

fn segment(alone: &Alone) -> PathBuf {
    Path::new(&alone.data_dir()).join("journal-0000000000000001")
}

fn spoil(path: &Path, change: impl FnOnce(&mut [u8])) {
    let mut bytes = fs::read(path).expect("it can be read");
    change(&mut bytes);
    fs::write(path, bytes).expect("it can be written");
}

#[test]
fn an_intact_directory_shows_what_it_holds() {
    let alone = ended();
    let before = fs::read(segment(&alone)).expect("there is a segment");
    let shown = quorate("", &["inspect", &alone.data_dir()], b"").expect(0).text();
    assert!(shown.contains("node       1 of cluster quorate"), "{shown}");
    assert!(shown.contains("segment    1: batches 1 to "), "{shown}");
    let json = quorate("", &["inspect", &alone.data_dir(), "--json"], b"").expect(0).json();
    assert_eq!((&json["intact"], &json["id"], &json["term"]), (&true.into(), &1.into(), &1.into()));
    // The configuration, the start of the term, and three puts.
    assert_eq!(json["last_index"], 5);
    assert_eq!(json["segments"][0]["indexes"], serde_json::json!([2, 5]));
    assert_eq!(fs::read(segment(&alone)).expect("it is still there"), before);
}

#[test]
fn damage_is_a_negative_answer_that_says_where_and_what_is_lost() {
    let alone = ended();
    spoil(&segment(&alone), |bytes| bytes[SECTOR + 100] ^= 1);
    let ran = quorate("", &["inspect", &alone.data_dir()], b"").expect(1);
    let place = "damage     journal-0000000000000001, byte 512: the sector is damaged";
    assert!(ran.text().contains(place), "{ran:?}");
    let json = quorate("", &["inspect", &alone.data_dir(), "--json"], b"").expect(1).json();
    let damage = &json["damage"][0];
    assert_eq!((&damage["offset"], &damage["lost"]), (&512.into(), &"something".into()), "{json}");
    assert_eq!((&json["intact"], &json["doubt"]["upto"]["index"]), (&false.into(), &5.into()));
    let above = json["above_a_gap"].as_array().expect("a list");
    assert!(!above.is_empty(), "what is behind it can be read: {json}");
}

#[test]
fn a_lost_identity_is_a_negative_answer() {
    let alone = ended();
    spoil(&Path::new(&alone.data_dir()).join("meta"), |bytes| bytes.fill(0));
    let ran = quorate("", &["inspect", &alone.data_dir()], b"").expect(1);
    assert!(ran.text().contains("both copies of its identity"), "{ran:?}");
    let json = quorate("", &["inspect", &alone.data_dir(), "--json"], b"").expect(1).json();
    assert_eq!(json["intact"], false);
}

/// Of the last batch a single sector in its middle was written, and no marker.
#[test]
fn a_torn_tail_is_no_damage() {
    let mut alone = Alone::start();
    alone.run_on(&["put", "long", "-"], &[b'v'; 3 * SECTOR]).expect(0);
    assert_eq!(alone.node.terminate().0, 0);
    spoil(&segment(&alone), |bytes| {
        let parts = |sector: &&[u8]| if sector[12] == 1 { sector[28] } else { 0 };
        let longest = bytes.chunks(SECTOR).max_by_key(parts).expect("sectors")[16..24].to_vec();
        let is_of_it = |sector: &[u8]| sector[12] == 1 && sector[16..24] == longest;
        let first = bytes.chunks(SECTOR).position(is_of_it).expect("it is there");
        bytes[first * SECTOR..(first + 1) * SECTOR].fill(0);
        bytes[(first + 2) * SECTOR..].fill(0);
    });
    let json = quorate("", &["inspect", &alone.data_dir(), "--json"], b"").expect(0).json();
    assert!(json["torn_sectors"].as_u64().is_some_and(|torn| torn > 2), "{json}");
}

/// A copy may lack it, since it is empty.
#[test]
fn a_directory_without_its_lock_can_be_inspected() {
    let alone = ended();
    fs::remove_file(format!("{}/lock", alone.data_dir())).expect("it is there");
    quorate("", &["inspect", &alone.data_dir()], b"").expect(0);
}

/// The format's version stands at the same place in every version, as does the checksum.
#[test]
fn a_directory_of_another_version_is_refused_and_not_called_damaged() {
    let alone = ended();
    spoil(&Path::new(&alone.data_dir()).join("meta"), |bytes| {
        for copy in [0, 4_096] {
            let sector = &mut bytes[copy..copy + SECTOR];
            sector[8] += 1;
            let checksum = crc32fast::hash(&sector[..SECTOR - 4]).to_le_bytes();
            sector[SECTOR - 4..].copy_from_slice(&checksum);
        }
    });
    let data = alone.data_dir();
    for more in [&[][..], &["--json"]] {
        let words = [&["inspect", &data], more].concat();
        let ran = quorate("", &words, b"").expect(4);
        let said = ran.text() + &ran.err;
        assert!(said.contains("format 4") && !said.contains("intact"), "{said}");
    }
}

#[test]
fn a_directory_in_use_or_of_nobody_is_refused() {
    let alone = Alone::start();
    let ran = quorate("", &["inspect", &alone.data_dir()], b"").expect(4);
    assert!(ran.err.contains("is in use by another process"), "{ran:?}");
    let nobody = alone.directory.path().display().to_string();
    let ran = quorate("", &["inspect", &nobody], b"").expect(4);
    assert!(ran.err.contains("is no node's directory"), "{ran:?}");
}
