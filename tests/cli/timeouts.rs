//! `quorate timeouts` of a cluster of one, and of none.

use crate::alone::Alone;
use crate::processes::quorate;

#[test]
fn it_fits_a_screen_and_names_what_is_pinned() {
    let alone = Alone::start_with(&["--election-timeout", "0.9", "--heartbeat", "0.1"]);
    let text = alone.run(&["timeouts"]).expect(0).text();
    let widest = text.lines().map(str::len).max().unwrap_or(0);
    assert!(widest <= 80, "{widest}:\n{text}");
    let results = [
        "node 1 leads, and waits for its followers 900.0 ms",
        "node 1 runs with --election-timeout, which pins 900.0 ms",
        "node 1 runs with --heartbeat, which pins 100.0 ms",
    ];
    assert!(text.ends_with(&format!("\n{}\n", results.join("\n"))), "{text}");
    assert!(text.contains("\ntimeout = 50 ms + round trip + "), "{text}");

    let shown = alone.run(&["timeouts", "--json"]).expect(0).json();
    let node = &shown["nodes"][0];
    assert_eq!((&node["id"], &node["leader_id"]), (&1.into(), &1.into()));
    assert_eq!(node["address"], alone.address);
    let times = ["election_timeout_us", "pinned_election_timeout_us", "pinned_heartbeat_us"];
    assert_eq!(
        times.map(|time| node[time].as_u64()),
        [Some(900_000), Some(900_000), Some(100_000)]
    );
    assert_eq!(node["peers"].as_array().map(Vec::len), Some(0));
    assert_eq!(shown["formula"].as_array().map(Vec::len), Some(4));
}

#[test]
fn whom_nobody_answers_is_told_so() {
    let ran = quorate("127.0.0.1:1", &["timeouts"], b"").expect(3);
    assert!(ran.err.contains("0 of 1 nodes answered"), "{ran:?}");
    assert!(ran.out.is_empty(), "{ran:?}");
}
