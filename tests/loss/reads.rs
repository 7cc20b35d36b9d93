//! How long linearizable reads take where datagrams are lost: each waits for its own proof alone.

use std::time::Duration;

use quorate::sim::Loss;

use super::cluster::Cluster;

/// Reads that are measured, and those before them, in which nodes and client come to know the
/// links.
const READS: usize = 1_000;
const FIRST_READS: usize = 200;

/// How many milliseconds reads take at a loss of 30 %: at most in 50, 90 and 99 of 100.
fn reads(round_trip: u64, pause: u64, of_leader: bool, writes: bool) -> [u128; 3] {
    let millis = Duration::from_millis;
    let mut cluster = Cluster::start(millis(round_trip) / 2, 1);
    let leader = cluster.leader().expect("nothing was lost yet");
    cluster.ask_only(if of_leader { leader } else { (leader + 1) % 3 });
    cluster.lose(Loss { share: 0.3, burst: None });
    cluster.read_every(millis(pause), FIRST_READS, writes);
    cluster.bytes = 0;
    let took = cluster.read_every(millis(pause), READS, writes);
    let found = [50, 90, 99].map(|percent| took[READS * percent / 100].as_millis());
    let bytes = cluster.bytes / READS as u64;
    println!("{round_trip} ms, {of_leader}, {writes}: {found:?} ms, {bytes} B for each");
    found
}

/// A read takes three round trips: to the follower, to its leader, and a round of that.
#[test]
fn a_read_of_a_follower_waits_for_no_other_read() {
    for (round_trip, pause) in [(1, 1), (20, 5), (20, 50), (100, 20)] {
        let [p50, p90, p99] = reads(round_trip, pause, false, false);
        let once = u128::from(round_trip);
        assert!(p50 <= 4 * once + 5 && p90 <= 5 * once + 5 && p99 <= 8 * once + 60);
    }
}

/// A read takes two round trips: to the leader, and a round of that. Where entries are sent all
/// the time beats are rare.
#[test]
fn a_round_that_is_lost_is_begun_again_at_once() {
    for (round_trip, pause, writes) in [(1, 50, true), (1, 50, false), (20, 100, true)] {
        let [p50, p90, _] = reads(round_trip, pause, true, writes);
        let once = u128::from(round_trip);
        assert!(p50 <= 2 * once + 2 && p90 <= 3 * once + 2);
    }
}
