//! `quorate status` of a cluster of one, and of none.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::alone::Alone;
use crate::processes::quorate;

#[test]
fn a_table_at_a_glance() {
    let alone = Alone::start();
    alone.run(&["put", "k", "v"]).expect(0);
    let ran = alone.run(&["status"]).expect(0);
    assert_eq!(ran.err, "quorate: all is well: 1 of 1 nodes answered, node 1 leads\n");
    let text = ran.text();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    // A system may give its sockets less than is asked for, which is said.
    let rows: Vec<_> = rows.into_iter().filter(|row| !row.contains(&"buffer:")).collect();
    let [head, row, turns] = rows.as_slice() else { panic!("{text}") };
    let names = ["node", "address", "role", "term", "committed", "behind", "keys", "dropped"];
    assert_eq!(head, &names);
    let committed = row[4];
    let expected = ["1", &alone.address, "leader", "1", committed, "0", "1", "0"];
    assert_eq!(row, &expected);
    assert!(committed.parse::<u64>().is_ok_and(|index| index >= 3), "{text}");
    let ["longest", "turn:", "node", "1", longest, "ms"] = turns[..] else { panic!("{text}") };
    assert!(longest.parse::<f64>().is_ok_and(|time| time > 0.0), "{text}");
    let widest = text.lines().map(str::len).max().unwrap_or(0);
    assert!(widest <= 80, "{widest}");
}

#[test]
fn a_learner_that_never_came_does_not_take_the_quorum_away() {
    let alone = Alone::start();
    alone.run(&["member", "add", "2=127.0.0.1:1"]).expect(0);
    alone.run(&["put", "k", "v"]).expect(0);
    let ran = alone.run(&["status"]).expect(1);
    assert!(ran.err.starts_with("quorate: a quorum, but not whole: 1 of 2 nodes"), "{}", ran.err);
}

#[test]
fn what_was_dropped_is_told_with_its_cause() {
    let alone = Alone::start();
    let strange = ["status", "--cluster", "another"];
    alone.run(&strange).expect(3);
    let text = alone.run(&["status"]).expect(0).text();
    assert!(text.lines().any(|line| line.starts_with("node 1 dropped: cluster ")), "{text}");
}

#[test]
fn one_object_for_machines() {
    let alone = Alone::start();
    let shown = alone.run(&["status", "--json"]).expect(0).json();
    assert_eq!(keys(&shown), ["nodes", "health", "summary"]);
    let node = &shown["nodes"][0];
    let expected = [
        "id",
        "address",
        "cluster",
        "genesis",
        "directory",
        "incarnation",
        "role",
        "voter",
        "sealed",
        "term",
        "leader_id",
        "last_index",
        "commit_index",
        "durable_index",
        "keys",
        "sessions",
        "uptime_us",
        "longest_turn_us",
        "longest_turn_cpu_us",
        "dropped",
        "denied",
        "socket",
        "disk",
        "peers",
    ];
    assert_eq!(keys(node), expected);
    assert_eq!(node["address"], alone.address);
    assert_eq!((&node["role"], &node["voter"]), (&"leader".into(), &true.into()));
    assert_eq!((&node["id"], &node["leader_id"]), (&1.into(), &1.into()));
    let counters = ["term", "last_index", "commit_index", "durable_index", "uptime_us"];
    for counter in counters.into_iter().chain(["longest_turn_us", "longest_turn_cpu_us"]) {
        assert!(node[counter].as_u64().is_some_and(|count| count > 0), "{counter}: {node}");
    }
    assert!(keys(&node["dropped"]).contains(&"checksum"), "{node}");
    let socket = &node["socket"];
    let counts = ["dropped_by_system", "refused_by_system", "unsent", "repeated_answers"];
    assert_eq!(counts.map(|count| socket[count].as_u64()), [Some(0); 4], "{socket}");
    assert_eq!(socket["buffer_wanted"], 4 << 20);
    assert_eq!(node["peers"], Value::Array(Vec::new()));
}

#[test]
fn a_silent_node_has_only_an_error_and_costs_at_most_a_second() {
    let started = Instant::now();
    let ran = quorate("127.0.0.1:1", &["status", "--json"], b"").expect(3);
    let took = started.elapsed();
    assert!(took < Duration::from_millis(1_500), "{took:?}");
    let shown = ran.json();
    let node = &shown["nodes"][0];
    assert_eq!(keys(node), ["id", "address", "error"]);
    assert_eq!((&node["id"], &node["address"]), (&Value::Null, &"127.0.0.1:1".into()));

    let ran = quorate("127.0.0.1:1", &["status"], b"").expect(3);
    assert!(ran.text().contains("127.0.0.1:1  silent"), "{ran:?}");
    assert!(ran.err.contains("no quorum: 0 of 1 nodes answered"), "{ran:?}");
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().expect("it is an object").keys().map(String::as_str).collect()
}
