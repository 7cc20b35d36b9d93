//! `quorate status` while nodes die.

use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::processes::eventually;

#[test]
fn its_exit_code_tells_well_from_degraded_from_lost() {
    let mut cluster = Cluster::start();
    let ran = cluster.ask(1, &["status"]).expect(0);
    let rows = ran.text().lines().filter(|line| line.contains("127.0.0.1:")).count();
    assert_eq!(rows, 3, "all nodes are found from one: {ran:?}");
    assert!(ran.err.contains("all is well: 3 of 3 nodes answered, node "), "{}", ran.err);

    let leader = cluster.leader();
    let (dead, left) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    cluster.kill(dead);
    let started = Instant::now();
    let ran = cluster.ask(left, &["status"]).expect(1);
    let took = started.elapsed();
    assert!(took < Duration::from_millis(1_500), "one silent node took {took:?}");
    let summary = format!("2 of 3 nodes answered, node {leader} leads: node {dead} is silent");
    assert!(ran.err.contains(&summary), "{}", ran.err);
    assert!(ran.text().contains("silent"), "{ran:?}");

    cluster.kill(leader);
    let (low, high) = (dead.min(leader), dead.max(leader));
    let summary =
        format!("1 of 3 nodes answered, no leader: node {low} and node {high} are silent");
    eventually("the node that is left alone follows nobody", || {
        let ran = cluster.ask(left, &["status"]).expect(3);
        ran.err.contains("no leader").then_some(())
    });
    let shown = cluster.ask(left, &["status", "--json"]).expect(3).json();
    let summary_shown = shown["summary"].as_str().unwrap_or_default();
    assert!(same_words(summary_shown, &summary), "{summary_shown}, expected {summary}");
    let ran = cluster.ask(left, &["put", "k", "v", "--timeout", "0.5"]).expect(3);
    assert!(ran.err.contains("1 of 3 nodes answered, no leader: "), "{}", ran.err);
}

/// Nodes are named in the order of their addresses, which are drawn.
fn same_words(one: &str, other: &str) -> bool {
    let sorted = |text: &str| {
        let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        words.sort();
        words
    };
    sorted(one) == sorted(other)
}
