//! Leaders come and go.

use std::time::Duration;

use crate::cluster::{Cluster, IDS};

#[test]
fn a_killed_leader_is_replaced_and_writes_go_on() {
    let mut cluster = Cluster::start();
    let first = cluster.leader();
    cluster.run(&["put", "before", "1"]).expect(0);
    cluster.kill(first);
    cluster.run(&["put", "after", "2"]).expect(0);
    let second = cluster.leader();
    assert_ne!(first, second);
    assert_eq!(cluster.run(&["list"]).expect(0).text(), "after\t2\nbefore\t1\n");

    cluster.start_node(first);
    cluster.wait_until_well();
    for id in IDS {
        cluster.wait_for_dump(id, b"after\t2\nbefore\t1\n");
    }
}

#[test]
fn a_leader_that_is_told_to_end_hands_over_first() {
    let mut cluster = Cluster::start();
    cluster.run(&["put", "k", "1"]).expect(0);
    let first = cluster.leader();
    let (code, took) = cluster.node(first).terminate();
    assert_eq!(code, 0, "{}", cluster.node(first).said());
    assert!(took < Duration::from_secs(5), "{took:?}");
    // It ends after another one leads: it says so itself.
    let said = cluster.node(first).said();
    let leads = format!("node {first}: leads in term");
    let after = said.rsplit_once(&leads).map(|(_, after)| after);
    assert!(after.is_some_and(|after| after.contains("follows node")), "{said}");
    assert_ne!(cluster.leader(), first);
    cluster.run(&["put", "k", "2"]).expect(0);

    cluster.start_node(first);
    cluster.wait_until_well();
    let (code, took) = cluster.node(cluster.follower()).terminate();
    assert!(code == 0 && took < Duration::from_secs(5), "{code} after {took:?}");
}

#[test]
fn all_that_was_acknowledged_outlives_the_end_of_all() {
    let mut cluster = Cluster::start();
    let expected = "a\t1\nb\t2\nc\t3\n";
    for pair in expected.lines() {
        let (key, value) = pair.split_once('\t').expect("it has a tab");
        cluster.run(&["put", key, value]).expect(0);
    }
    for id in IDS {
        cluster.kill(id);
    }
    cluster.run(&["get", "a", "--timeout", "0.2"]).expect(3);
    cluster.start_all();
    cluster.wait_until_well();
    assert_eq!(cluster.run(&["dump"]).expect(0).text(), expected);

    for id in IDS {
        assert_eq!(cluster.node(id).terminate().0, 0);
    }
    cluster.start_all();
    cluster.wait_until_well();
    for id in IDS {
        cluster.wait_for_dump(id, expected.as_bytes());
    }
}
