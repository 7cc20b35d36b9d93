//! A backup that is taken under load, and the cluster that comes of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::cluster::{Cluster, IDS};
use crate::processes::{eventually, quorate};

/// Every key is written once. So what stood at an index is all that has a version up to it.
#[test]
fn a_backup_under_load_restores_what_stood_at_one_index() {
    let cluster = Cluster::start();
    let file = cluster.directory.path().join("backup").display().to_string();
    let is_taken = AtomicBool::new(false);
    let taken = thread::scope(|scope| {
        scope.spawn(|| load_until(&is_taken, &cluster.servers()));
        eventually("the load has begun", || {
            (cluster.ask(1, &["list", "--limit", "1"]).out.len() > 1).then_some(())
        });
        let taken = cluster.run(&["backup", &file, "--json"]).expect(0).json();
        is_taken.store(true, Ordering::Relaxed);
        taken
    });
    cluster.run(&["put", "after", "it"]).expect(0);
    let index = taken["index"].as_u64().expect("it is a number");
    let all = cluster.run(&["dump", "--json"]).expect(0).text();
    let is_in = |line: &&str| {
        let key: Value = serde_json::from_str(line).expect("each line is an object");
        key["version"].as_u64().expect("it is a number") <= index
    };
    let expected: Vec<&str> = all.lines().filter(is_in).collect();
    assert!(!expected.is_empty() && expected.len() < all.lines().count());
    assert_eq!(taken["keys"], expected.len());

    let mut again = cluster.succeeded();
    let data = again.data_dir(2).display().to_string();
    again.run(&["restore", &file, "--data-dir", &data, "--id", "2", "--nodes", "1,2,3"]).expect(0);
    again.start_all();
    again.wait_until_well();
    for id in IDS {
        let dumped = again.ask(id, &["dump", "--json"]).expect(0).text();
        assert!(dumped.lines().eq(expected.iter().copied()), "node {id}");
    }
    // All have a vote by now, so any two go on.
    for id in IDS {
        assert_eq!(again.status_of(id)["voter"], true, "node {id}");
    }
    again.kill(2);
    again.run(&["put", "after", "it"]).expect(0);
}

fn load_until(is_enough: &AtomicBool, servers: &str) {
    for round in 0.. {
        let lines = (0..300).map(|key| format!("{round}-{key}\t{key:0200}\n"));
        let lines = lines.collect::<Vec<_>>().concat();
        quorate(servers, &["load", "-", "--timeout", "20"], lines.as_bytes()).expect(0);
        if is_enough.load(Ordering::Relaxed) {
            return;
        }
    }
}
