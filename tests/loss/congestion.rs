//! A node that was away fetches what it lacks over a narrow link, beside other traffic.

use std::time::Duration;

use quorate::sim::Loss;

use super::cluster::Cluster;
use super::uplink::Uplink;

/// 10 Mbit/s.
const BYTES_PER_SECOND: u64 = 1_250_000;
/// How long a frame may wait before the link.
const QUEUE: Duration = Duration::from_millis(100);
/// Between two writes of a light load.
const PAUSE: Duration = Duration::from_millis(10);
/// The state that is fetched as a snapshot.
const KEYS: u64 = 12_000;
const VALUE_BYTES: usize = 1_000;
/// Beside a flow of TCP: how long it has the link for itself and both then share it, until
/// their shares are measured, and how long those are.
const SETTLED: Duration = Duration::from_secs(10);
const SHARED: Duration = Duration::from_secs(30);
/// How many writes the node misses that is away: about 30 s on the link.
const MISSED: usize = 160_000;

/// What came of it.
struct Fetch {
    /// How many percent of the link the entries made up which the node lacked.
    goodput: u64,
    /// The 99th percentile of writes before it came back, and of those meanwhile.
    idle: Duration,
    busy: Duration,
}

/// A follower comes back while somebody writes now and then, all over links of 10 Mbit/s.
fn fetch(round_trip: u64, loss: f64) -> Fetch {
    let mut cluster = Cluster::start(Duration::from_millis(round_trip) / 2, round_trip);
    let leader = cluster.leader().expect("a leader");
    let away = (leader + 1) % 3;
    cluster.cut_off(Some(away));
    (0..MISSED).for_each(|_| _ = cluster.write().expect("each write is answered"));
    cluster.narrow(&Uplink::new(BYTES_PER_SECOND, QUEUE));
    cluster.lose(Loss { share: loss, burst: None });
    let mut idle: Vec<Duration> = (0..1_000).map(|_| write(&mut cluster)).collect();
    cluster.cut_off(None);
    let (begun, had) = (cluster.time(), cluster.written(away));
    let lacked = cluster.written(leader) - had;
    let mut busy = Vec::new();
    while cluster.written(away) < had + lacked * 9 / 10 {
        busy.push(write(&mut cluster));
    }
    let goodput = percent(cluster.written(away) - had, cluster.time().saturating_sub(begun));
    Fetch { goodput, idle: p99(&mut idle), busy: p99(&mut busy) }
}

fn write(cluster: &mut Cluster) -> Duration {
    let took = cluster.write().expect("each write is answered");
    cluster.pass(PAUSE);
    took
}

fn p99(took: &mut [Duration]) -> Duration {
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

/// A follower comes back to which only a snapshot can tell what it lacks: so many keys.
fn fetch_snapshot(round_trip: u64, loss: f64, seed: u64) -> Fetch {
    let mut cluster = Cluster::start(Duration::from_millis(round_trip) / 2, seed);
    cluster.take_snapshots();
    let leader = cluster.leader().expect("a leader");
    let away = (leader + 1) % 3;
    cluster.cut_off(Some(away));
    for nth in 0..4 * KEYS {
        cluster.write_to(nth % KEYS, VALUE_BYTES).expect("each write is answered");
    }
    cluster.narrow(&Uplink::new(BYTES_PER_SECOND, QUEUE));
    cluster.lose(Loss { share: loss, burst: None });
    let mut idle: Vec<Duration> = (0..1_000).map(|_| write(&mut cluster)).collect();
    cluster.cut_off(None);
    let (begun, had) = (cluster.time(), cluster.base(away));
    let mut busy = Vec::new();
    while cluster.base(away) == had {
        busy.push(write(&mut cluster));
    }
    let goodput = percent(KEYS * VALUE_BYTES as u64, cluster.time().saturating_sub(begun));
    Fetch { goodput, idle: p99(&mut idle), busy: p99(&mut busy) }
}

/// The median of each figure. The p99 of a thousand writes hangs on ten of them.
fn median(runs: &[Fetch]) -> Fetch {
    fn middle<T: Copy + Ord>(runs: &[Fetch], figure: impl Fn(&Fetch) -> T) -> T {
        let mut figures: Vec<T> = runs.iter().map(figure).collect();
        figures.sort_unstable();
        figures[figures.len() / 2]
    }
    Fetch {
        goodput: middle(runs, |run| run.goodput),
        idle: middle(runs, |run| run.idle),
        busy: middle(runs, |run| run.busy),
    }
}

/// A follower comes back while its leader's host also sends a flow of TCP over the same link,
/// before which frames wait for so long. Returns how many percent of it
/// each gets.
fn share(round_trip: u64, queue: u64) -> (u64, u64) {
    let mut cluster = Cluster::start(Duration::from_millis(round_trip) / 2, round_trip);
    let leader = cluster.leader().expect("a leader");
    let away = (leader + 1) % 3;
    cluster.cut_off(Some(away));
    (0..MISSED).for_each(|_| _ = cluster.write().expect("each write is answered"));
    cluster.narrow(&Uplink::new(BYTES_PER_SECOND, Duration::from_millis(queue)));
    cluster.rival(leader);
    cluster.pass(SETTLED);
    cluster.cut_off(None);
    cluster.pass(SETTLED);
    let before = (cluster.written(away), cluster.rival_bytes());
    cluster.pass(SHARED);
    let ours = percent(cluster.written(away) - before.0, SHARED);
    (ours, percent(cluster.rival_bytes() - before.1, SHARED))
}

/// The share of what the link carries in this time.
fn percent(bytes: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).expect("a short time");
    bytes * 100 / (BYTES_PER_SECOND * millis / 1_000)
}

#[test]
fn a_fetch_uses_a_lossy_link_and_does_not_hold_up_writes() {
    std::thread::scope(|scope| {
        for round_trip in [2, 20, 100] {
            scope.spawn(move || {
                let Fetch { goodput, idle, busy } = fetch(round_trip, 0.05);
                println!("{round_trip} ms: goodput {goodput} %, p99 {idle:?}, then {busy:?}");
                assert!(goodput >= 75, "at {round_trip} ms: {goodput} %");
                assert!(busy <= 3 * idle, "at {round_trip} ms: {busy:?} instead of {idle:?}");
            });
        }
    });
}

#[test]
fn a_fetch_of_a_snapshot_keeps_the_pace_as_well() {
    std::thread::scope(|scope| {
        for round_trip in [2, 20, 100] {
            scope.spawn(move || {
                let runs = (1..=7).map(|seed| fetch_snapshot(round_trip, 0.05, seed));
                let Fetch { goodput, idle, busy } = median(&runs.collect::<Vec<_>>());
                println!("{round_trip} ms: snapshot {goodput} %, p99 {idle:?}, then {busy:?}");
                assert!(goodput >= 60, "at {round_trip} ms: {goodput} %");
                assert!(busy <= 3 * idle, "at {round_trip} ms: {busy:?} instead of {idle:?}");
            });
        }
    });
}

/// Another way takes over that carries a tenth, or a radio link fades. What its queue has no room
/// for is lost, heartbeats among it.
#[test]
fn a_way_that_becomes_narrow_during_a_fetch_costs_no_election() {
    for seed in 1..=3 {
        let mut cluster = Cluster::start(Duration::from_millis(1), seed);
        cluster.take_snapshots();
        let away = (cluster.leader().expect("a leader") + 1) % 3;
        cluster.cut_off(Some(away));
        for nth in 0..4 * KEYS {
            cluster.write_to(nth % KEYS, VALUE_BYTES).expect("each write is answered");
        }
        cluster.narrow(&Uplink::new(10 * BYTES_PER_SECOND, QUEUE));
        cluster.pass(Duration::from_secs(1));
        let (had, term) = (cluster.base(away), cluster.term());
        cluster.cut_off(None);
        cluster.pass(Duration::from_millis(600));
        assert_eq!(cluster.base(away), had, "it takes a second at least");
        cluster.narrow(&Uplink::new(BYTES_PER_SECOND, QUEUE));
        let begun = cluster.time();
        while cluster.base(away) == had {
            write(&mut cluster);
        }
        assert_eq!(cluster.term(), term, "with seed {seed}");
        let took = cluster.time().saturating_sub(begun);
        assert!(took < Duration::from_secs(15), "{took:?} with seed {seed}");
    }
}

#[test]
fn a_fetch_and_a_flow_of_tcp_share_a_link() {
    std::thread::scope(|scope| {
        for (round_trip, queue) in [(20, 20), (20, 50), (20, 100), (2, 50), (100, 100)] {
            scope.spawn(move || {
                let (ours, tcp) = share(round_trip, queue);
                println!("{round_trip} ms, queue {queue} ms: {ours} % of the link, TCP {tcp} %");
                assert!(ours >= 30 && tcp >= 30, "{ours} % and {tcp} %");
            });
        }
    });
}
