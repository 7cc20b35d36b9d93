//! Two of three directories are lost, and with them the majority.

use std::fs;

use crate::cluster::{Cluster, IDS};
use crate::processes::{eventually, quorate};

#[test]
fn a_survivor_serves_nothing_fresh_until_it_is_rescued_and_then_all_that_it_has() {
    let mut cluster = Cluster::start();
    for value in ["1", "2", "3"] {
        cluster.run(&["put", "k", value]).expect(0);
    }
    let survivor = cluster.follower();
    cluster.wait_for_dump(survivor, b"k\t3\n");
    // On its disk it stands, and nothing there says yet that it is committed.
    cluster.run(&["put", "last", "0"]).expect(0);
    cluster.wait_for_dump(survivor, b"k\t3\nlast\t0\n");
    let lost: Vec<usize> = IDS.into_iter().filter(|id| *id != survivor).collect();
    kill_all(&mut cluster);
    let kept = cluster.directory.path().join("kept");
    fs::rename(cluster.data_dir(lost[0]), &kept).expect("it can be renamed");
    fs::remove_dir_all(cluster.data_dir(lost[1])).expect("it can be removed");

    cluster.start_all();
    serves_only_stale(&cluster, survivor, &lost);
    kill_all(&mut cluster);
    for id in &lost {
        fs::remove_dir_all(cluster.data_dir(*id)).expect("it can be removed");
    }
    let data = cluster.data_dir(survivor).display().to_string();
    let ran = cluster.run(&["rescue", "--data-dir", &data]).expect(4);
    assert!(ran.err.contains("what only others of the voters,"), "{ran:?}");
    cluster.run(&["rescue", "--data-dir", &data, "--yes"]).expect(0);
    cluster.start_all();
    cluster.wait_until_well();
    for id in IDS {
        cluster.wait_for_dump(id, b"k\t3\nlast\t0\n");
    }
    assert_eq!(cluster.run(&["incr", "k"]).expect(0).text(), "4\n");

    is_never_heard(&mut cluster, lost[0], &kept);
}

fn kill_all(cluster: &mut Cluster) {
    for id in IDS {
        cluster.kill(id);
    }
}

/// Two wiped nodes learn, and count for nothing: nobody can lead.
#[track_caller]
fn serves_only_stale(cluster: &Cluster, survivor: usize, lost: &[usize]) {
    let ran = eventually("all three answer", || {
        let ran = cluster.run(&["status"]);
        ran.err.contains("3 of 3 nodes answered").then_some(ran)
    });
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.err.contains("no leader"), "{ran:?}");
    for id in lost {
        assert_eq!(cluster.status_of(*id)["voter"], false);
        assert!(ran.err.contains(&format!("node {id}")), "it names what is missing: {ran:?}");
    }
    for words in [["get", "k"].as_slice(), &["put", "k", "4"], &["dump"]] {
        cluster.run(&[words, &["--timeout", "0.7"]].concat()).expect(3);
    }
    let ran = cluster.ask(survivor, &["get", "k", "--stale"]).expect(0);
    assert_eq!(ran.text(), "3");
    assert_eq!(cluster.ask(survivor, &["dump", "--stale"]).expect(0).text(), "k\t3\n");
}

/// A directory of the former cluster comes back. Its frames are dropped for their genesis, and
/// the others go on.
#[track_caller]
fn is_never_heard(cluster: &mut Cluster, id: usize, kept: &std::path::Path) {
    cluster.kill(id);
    fs::remove_dir_all(cluster.data_dir(id)).expect("it can be removed");
    fs::rename(kept, cluster.data_dir(id)).expect("it can be renamed");
    let leader = cluster.leader();
    let term = cluster.status_of(leader)["term"].clone();
    cluster.start_node(id);
    let others = [id % 3 + 1, (id + 1) % 3 + 1];
    for other in others.iter().copied() {
        eventually(&format!("node {other} drops its frames"), || {
            let dropped = cluster.status_of(other)["dropped"]["genesis"].as_u64();
            dropped.filter(|count| *count > 20)
        });
        assert_eq!(cluster.status_of(other)["term"], term, "nobody is disturbed");
    }
    // A client must not be sent to it: a session that it opens is of the former cluster.
    let servers = others.map(|other| cluster.address(other)).join(",");
    assert_eq!(quorate(&servers, &["incr", "k"], b"").expect(0).text(), "5\n");
    let ran = cluster.ask(id, &["get", "k", "--stale"]).expect(0);
    assert_eq!(ran.text(), "3", "it has what it had");
    assert_eq!(cluster.status_of(id)["voter"], true, "in its own eyes, and in nobody else's");
}
