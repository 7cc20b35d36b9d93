//! A client that meets a lossy network before it knows anything of it.

use std::time::Duration;

use quorate::sim::Loss;

use super::cluster::Cluster;

const SEEDS: u64 = 100;
const WRITES: usize = 20;

/// How long the first writes of clients take that begin where this share is lost, all links alike.
fn first_writes(round_trip: u64, share: f64) -> Vec<Duration> {
    let mut took = Vec::new();
    for seed in 1..=SEEDS {
        let mut cluster = Cluster::start(Duration::from_millis(round_trip) / 2, seed);
        cluster.replace_client(seed);
        cluster.lose(Loss { share, burst: None });
        took.extend((0..WRITES).map(|_| cluster.write().expect("each write is answered")));
    }
    took.sort_unstable();
    took
}

/// Without loss a write takes two round trips.
#[test]
fn a_client_that_begins_on_a_lossy_network_soon_knows_it() {
    for (round_trip, median, most) in [(20, 62, 200), (40, 125, 300)] {
        let took = first_writes(round_trip, 0.3);
        let [p50, p90, p99] = [50, 90, 99].map(|percent| took[took.len() * percent / 100]);
        println!("{round_trip} ms: p50 {p50:?}, p90 {p90:?}, p99 {p99:?}");
        assert!(p50 <= Duration::from_millis(median), "at {round_trip} ms: {p50:?}");
        assert!(p90 <= Duration::from_millis(most), "at {round_trip} ms: {p90:?}");
    }
}
