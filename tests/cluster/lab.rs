//! `quorate bench --loss`: clusters of its own behind lossy links.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::alone;
use crate::processes::eventually;

/// The bench with these words, whose clusters lie in the directory.
fn bench(words: &[&str], directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.arg("bench").args(words).env("TMPDIR", directory).stdin(Stdio::null());
    command
}

#[test]
fn the_lab_shows_what_loss_costs() {
    let _alone = alone();
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let words = "--loss 0,20 --delay 5 --clients 2 --duration 2 --json --seed 3";
    let words: Vec<&str> = words.split(' ').collect();
    let output = bench(&words, directory.path()).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let table: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let [clean, lossy] = &table["rows"].as_array().expect("a row for each loss")[..] else {
        panic!("two rows: {table}")
    };
    assert_eq!(clean["lost_percent"], 0.0);
    let lost = lossy["lost_percent"].as_f64().expect("it is a number");
    assert!((12.0..28.0).contains(&lost), "{lost} % were lost");
    for row in [clean, lossy] {
        assert!(row["ops"].as_u64() > Some(0), "{row}");
        // From the client to the leader, on to a follower, and both ways back.
        assert!(row["p50_us"].as_u64() >= Some(20_000), "{row}");
    }
    let cost = |row: &serde_json::Value| row["bytes_per_commit"].as_u64();
    assert!(cost(clean) > Some(200), "{clean}");
    assert!(cost(lossy) > cost(clean), "what is lost is sent again: {table}");
    assert_is_empty(directory.path());
}

#[test]
fn a_lab_that_is_interrupted_leaves_nothing_behind() {
    let _alone = alone();
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let mut child = bench(&["--loss", "5,5", "--duration", "60"], directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let log = eventually("three nodes have started", || {
        let cluster = fs::read_dir(directory.path()).ok()?.next()?.ok()?.path();
        cluster.join("node-3.log").exists().then(|| cluster.join("node-1.log"))
    });
    eventually("the first has got its directory", || {
        fs::read_to_string(&log).ok().filter(|said| said.contains("is ready at")).map(drop)
    });
    kill_process(Pid::from_child(&child), Signal::INT).expect("the bench runs");
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(3));
    assert_is_empty(directory.path());
}

#[track_caller]
fn assert_is_empty(directory: &Path) {
    let left: Vec<_> = fs::read_dir(directory).expect("it is a directory").collect();
    assert!(left.is_empty(), "{left:?}");
}
