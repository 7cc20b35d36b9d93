//! `quorate timeouts` of three nodes that run.

use serde_json::Value;

use crate::cluster::Cluster;
use crate::processes::eventually;

#[test]
fn the_timeouts_that_are_shown_follow_from_the_inputs_that_are_shown() {
    let cluster = Cluster::start();
    let leader = cluster.leader();
    // What is shown of the way may be a little newer than what followed from it.
    eventually("every timeout that counts is that of its inputs", || {
        let shown = cluster.ask(leader, &["timeouts", "--json"]).expect(0).json();
        let nodes = shown["nodes"].as_array().expect("they are listed");
        let peers = |node: &Value| node["peers"].as_array().expect("they are listed").clone();
        let ways = nodes.iter().flat_map(|node| peers(node).into_iter().map(move |to| (node, to)));
        let judged = ways.filter(|(node, peer)| {
            let one_leads = node["id"] == leader || peer["id"] == leader;
            assert_eq!(peer["timeout_us"].is_u64(), one_leads, "{node}");
            one_leads
        });
        let judged: Vec<Value> = judged.map(|(_, peer)| peer).collect();
        let are_right = judged.iter().all(is_right);
        (judged.len() == 4 && are_right).then_some(())
    });

    let text = cluster.run(&["timeouts"]).expect(0).text();
    let cells: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(cells[0][..3], ["node", "peer", "trip"], "{text}");
    let ways: Vec<[&str; 2]> = cells[1..7].iter().map(|row| [row[0], row[1]]).collect();
    assert_eq!(ways, [["1", "2"], ["1", "3"], ["2", "1"], ["2", "3"], ["3", "1"], ["3", "2"]]);
    let followers = text.lines().filter(|line| line.contains(&format!("follows node {leader}, ")));
    assert_eq!(followers.count(), 2, "{text}");
}

/// Whether the formula and the inputs give the interval and the timeout, to a tenth.
fn is_right(peer: &Value) -> bool {
    let of = |name: &str| peer[name].as_f64().unwrap_or(f64::NAN);
    let is_close = |name: &str, expected: f64| (of(name) / expected - 1.0).abs() < 0.1;
    let rounds = of("rounds");
    let interval = ((50_000.0 + 6.0 * of("round_trip_us")) / rounds).clamp(5_000.0, 40_000.0);
    let timeout = match peer["decided_by"].as_str() {
        Some("formula") => {
            let late = of("round_trip_us") + 4.0 * of("variation_us");
            50_000.0 + late + rounds * of("heartbeat_us")
        }
        Some("silence") => 2.0 * of("longest_silence_us"),
        _ => return false,
    };
    peer["measured"] == true
        && is_close("heartbeat_us", interval)
        && is_close("timeout_us", timeout)
}
