//! Backups and what is made of them, on a cluster of one.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::alone::Alone;
use crate::processes::{Ran, quorate};

fn path(directory: &TempDir, name: &str) -> String {
    directory.path().join(name).display().to_string()
}

fn run(words: &[&str]) -> Ran {
    quorate("127.0.0.1:1", words, b"")
}

/// A node that has written something, one value of which takes several entries.
fn written() -> Alone {
    let alone = Alone::start();
    alone.run(&["put", "short", "value"]).expect(0);
    alone.run_on(&["put", "long", "-"], &[b'v'; 5_000]).expect(0);
    alone.run(&["incr", "count", "7"]).expect(0);
    alone.run(&["delete", "short"]).expect(0);
    alone
}

/// Makes a directory of the backup, and starts a node on it.
fn restored(backup: &str) -> Alone {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let data = path(&directory, "data");
    run(&["restore", backup, "--data-dir", &data, "--id", "1", "--nodes", "1"]).expect(0);
    Alone::start_in(directory)
}

#[test]
fn a_backup_of_a_running_and_one_of_an_ended_node_restore_to_what_it_had() {
    let alone = written();
    let expected = alone.run(&["dump", "--json"]).expect(0).text();
    let online = path(&alone.directory, "online");
    let said = alone.run(&["backup", &online, "--json"]).expect(0).json();
    let bytes = fs::metadata(&online).expect("it is there").len();
    assert_eq!((&said["keys"], &said["bytes"]), (&2.into(), &bytes.into()), "{said}");

    let left = alone.end();
    let (data, offline) = (path(&left, "data"), path(&left, "offline"));
    let before = content(&data);
    let ran = run(&["backup", &offline, "--data-dir", &data]).expect(0);
    assert!(ran.err.contains("its log can be read to entry"), "{ran:?}");
    let same = format!("has all 2 keys as of index {}", said["index"]);
    assert!(ran.err.contains(&same), "{ran:?}");
    assert_eq!(content(&data), before, "nothing is changed");

    for backup in [&online, &offline] {
        let again = restored(backup);
        assert_eq!(again.run(&["dump", "--json"]).expect(0).text(), expected, "{backup}");
        // Versions go on from where they were.
        let version = again.run(&["incr", "count", "--json"]).expect(0).json()["index"].clone();
        assert!(version.as_u64() > said["index"].as_u64(), "{version}");
        let data = path(&again.end(), "data");
        assert_ne!(genesis(&data), genesis(&path(&left, "data")));
    }
}

fn genesis(data: &str) -> serde_json::Value {
    run(&["inspect", data, "--json"]).json()["genesis"].take()
}

fn content(directory: &str) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(directory)
        .expect("it is a directory")
        .map(|entry| entry.expect("it can be read"))
        .map(|entry| {
            let content = fs::read(entry.path()).expect("it is a file");
            (entry.file_name().to_string_lossy().into_owned(), content)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_file_that_exists_is_never_written_to() {
    let alone = Alone::start();
    let file = path(&alone.directory, "mine");
    fs::write(&file, "precious").expect("it can be written");
    let data = alone.data_dir();
    for more in [[].as_slice(), &["--data-dir", &data]] {
        let ran = alone.run(&[&["backup", &file], more].concat()).expect(4);
        assert!(ran.err.contains("exists already; name a new file"), "{ran:?}");
    }
    assert_eq!(fs::read(&file).expect("it is there"), b"precious");
}

#[test]
fn of_a_damaged_directory_only_what_connects_is_backed_up_and_only_when_asked_to() {
    let left = written().end();
    let (data, file) = (path(&left, "data"), path(&left, "backup"));
    let last = run(&["inspect", &data, "--json"]).expect(0).json()["last_index"].clone();
    let journal = Path::new(&data).join("journal-0000000000000001");
    let mut bytes = fs::read(&journal).expect("it can be read");
    // The sector behind the one with the start of the term.
    bytes[3 * 512 + 100] ^= 1;
    fs::write(&journal, bytes).expect("it can be written");

    let ran = run(&["backup", &file, "--data-dir", &data]).expect(4);
    for fragment in ["damage: journal-0000000000000001, byte 1536", "in doubt", "--yes"] {
        assert!(ran.err.contains(fragment), "lacks '{fragment}': {ran:?}");
    }
    assert!(!Path::new(&file).exists());
    let said = run(&["backup", &file, "--data-dir", &data, "--yes", "--json"]).expect(0).json();
    assert!(said["index"].as_u64() < last.as_u64(), "{said}");
    assert!(said["directory"]["missing"].as_array().is_some_and(|lines| lines.len() >= 2));
}

#[test]
fn a_directory_in_use_or_without_a_log_is_not_backed_up() {
    let alone = Alone::start();
    let file = path(&alone.directory, "backup");
    let ran = alone.run(&["backup", &file, "--data-dir", &alone.data_dir()]).expect(4);
    assert!(ran.err.contains("is in use by another process"), "{ran:?}");
    alone.run(&["backup", &file, "--yes"]).expect(2);
    let nowhere = path(&alone.directory, "nowhere");
    run(&["backup", &file, "--data-dir", &nowhere]).expect(4);
    quorate("127.0.0.1:1", &["backup", &file, "--timeout", "0.3"], b"").expect(3);
    assert!(!Path::new(&file).exists());
    let unwritable = path(&alone.directory, "no/such/place");
    alone.run(&["backup", &unwritable]).expect(5);
}

#[test]
fn restore_takes_whole_backups_and_empty_directories_only() {
    let alone = written();
    let backup = path(&alone.directory, "backup");
    alone.run(&["backup", &backup]).expect(0);
    let empty = path(&alone.directory, "empty");
    let restore = |file: &str, data: &str, more: &[&str]| {
        let line = ["restore", file, "--data-dir", data, "--id", "1"];
        run(&[&line, more].concat())
    };
    for (more, fragment) in [
        ([].as_slice(), "--nodes is missing"),
        (&["--nodes", "2,3"], "must name node 1 too"),
        (&["--nodes", "1,2,2"], "names a node twice"),
        (&["--nodes", "1,x"], "--nodes x: a node's number"),
        (&["--nodes", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16"], "at most 15"),
    ] {
        let ran = restore(&backup, &empty, more).expect(2);
        assert!(ran.err.contains(fragment), "lacks '{fragment}': {ran:?}");
    }
    let nodes = ["--nodes", "1,2,3"];
    let mut spoilt = fs::read(&backup).expect("it can be read");
    let middle = spoilt.len() / 2;
    spoilt[middle] ^= 1;
    let damaged = path(&alone.directory, "damaged");
    fs::write(&damaged, spoilt).expect("it can be written");
    let log = path(&alone.directory, "log");
    for (file, code, fragment) in [
        (&damaged, 5, "not as it was written"),
        (&log, 4, "is no backup"),
        (&path(&alone.directory, "none"), 5, "cannot read"),
    ] {
        let ran = restore(file, &empty, &nodes).expect(code);
        assert!(ran.err.contains(fragment), "lacks '{fragment}': {ran:?}");
        assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
    }
    assert!(!Path::new(&empty).exists(), "nothing is made of any of these");

    let used = alone.data_dir();
    let in_use = restore(&backup, &used, &nodes).expect(4);
    assert!(in_use.err.contains("is in use by another process"), "{in_use:?}");
    let left = alone.end();
    let held = restore(&backup, &used, &nodes).expect(4);
    assert!(held.err.contains("holds a node's data already"), "{held:?}");
    let others = left.path().display().to_string();
    let ran = restore(&backup, &others, &nodes).expect(4);
    assert!(ran.err.contains("is no node's but holds"), "{ran:?}");
    restore(&backup, &empty, &nodes).expect(0);
    restore(&backup, &empty, &nodes).expect(4);
}
