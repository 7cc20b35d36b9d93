//! A leader stays where datagrams are lost and processes do not run, and is replaced soon
//! where it dies.

use std::time::Duration;

use quorate::sim::Loss;

use super::cluster::Cluster;

const NODES: usize = 3;

fn by_itself(share: f64) -> Loss {
    Loss { share, burst: None }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One write each second of so long a time. Returns how many terms began meanwhile.
fn elections_within(time: Duration, round_trip: u64, loss: f64) -> u64 {
    let mut cluster = Cluster::start(millis(round_trip) / 2, round_trip);
    let term = cluster.term();
    cluster.lose(by_itself(loss));
    let end = cluster.time() + time;
    while cluster.time() < end {
        assert!(cluster.write().is_some(), "each write is answered");
        cluster.pass(Duration::from_secs(1));
    }
    cluster.term() - term
}

#[test]
fn no_leader_is_replaced_at_a_loss_of_thirty_percent() {
    for round_trip in [1, 5, 50, 200] {
        let elections = elections_within(Duration::from_secs(120), round_trip, 0.3);
        assert_eq!(elections, 0, "at {round_trip} ms");
    }
}

#[test]
#[ignore = "takes minutes"]
fn no_leader_is_replaced_in_a_day_at_a_loss_of_thirty_percent() {
    std::thread::scope(|scope| {
        for round_trip in [5, 50, 200] {
            scope.spawn(move || {
                let elections = elections_within(Duration::from_secs(24 * 3_600), round_trip, 0.3);
                println!("{round_trip} ms: {elections} elections");
                assert_eq!(elections, 0, "at {round_trip} ms");
            });
        }
    });
}

/// What was seen of a busy machine: 4 to 20 ms again and again. Longer ones grow.
#[test]
fn no_leader_is_replaced_since_processes_do_not_run_for_a_while() {
    let mut random = fastrand::Rng::with_seed(7);
    for round_trip in [1, 20] {
        let mut cluster = Cluster::start(millis(round_trip) / 2, round_trip);
        let term = cluster.term();
        for nth in 0..2_000_u64 {
            let longest = if nth % 100 == 99 { 40 + nth / 20 } else { 20 };
            let stalled = random.usize(..NODES);
            cluster.stall(stalled, millis(random.u64(4..=longest)));
            cluster.pass(millis(random.u64(20..100)));
        }
        assert_eq!(cluster.term(), term, "at {round_trip} ms");
    }
}

/// How long writes pause when the leader goes, in the median and at most.
fn pauses(round_trip: u64, loss: f64, go: fn(&mut Cluster, usize)) -> (Duration, Duration) {
    let pause = |seed| {
        let mut cluster = Cluster::start(millis(round_trip) / 2, seed);
        cluster.lose(by_itself(loss));
        for _ in 0..20 {
            cluster.write();
        }
        cluster.pass(Duration::from_secs(8) + millis(seed));
        let leader = cluster.leader().expect("it was not disturbed");
        go(&mut cluster, leader);
        let gone_at = cluster.time();
        assert!(cluster.write().is_some(), "the others are a majority");
        cluster.time().saturating_sub(gone_at)
    };
    let mut pauses: Vec<Duration> = (1..=21).map(pause).collect();
    pauses.sort_unstable();
    println!("at {round_trip} ms and a loss of {loss}: {pauses:?}");
    (pauses[10], pauses[20])
}

/// Nothing but silence tells that it died: what is measured is the timeout, the election, and
/// a client that finds out who leads.
#[test]
fn a_leader_that_falls_silent_is_replaced_soon() {
    let (median, most) = pauses(1, 0.0, Cluster::kill);
    assert!(median < millis(150) && most < millis(250), "{median:?} {most:?}");
    let (median, most) = pauses(1, 0.3, Cluster::kill);
    assert!(median < millis(500) && most < millis(1_500), "{median:?} {most:?}");
    let (median, most) = pauses(50, 0.3, Cluster::kill);
    assert!(median < millis(1_500) && most < millis(4_000), "{median:?} {most:?}");
}

#[test]
fn a_leader_whose_process_ends_is_replaced_at_once() {
    let (median, most) = pauses(1, 0.0, Cluster::end);
    assert!(median < millis(50) && most < millis(100), "{median:?} {most:?}");
    let (median, most) = pauses(1, 0.3, Cluster::end);
    assert!(median < millis(300) && most < millis(1_500), "{median:?} {most:?}");
}

/// Whoever was cut off learns nothing from it. If it waited the longer for a leader, the others,
/// who need its vote, would have to wait as well.
#[test]
fn a_leader_that_is_cut_off_is_replaced_soon_though_a_follower_was_before() {
    for seed in 1..=21 {
        let mut cluster = Cluster::start(millis(1) / 2, seed);
        cluster.pass(Duration::from_secs(8));
        let leader = cluster.leader().expect("it was not disturbed");
        for follower in [(leader + 1) % NODES, (leader + 2) % NODES] {
            cluster.cut_off(Some(follower));
            cluster.pass(Duration::from_secs(2));
            cluster.cut_off(None);
            cluster.pass(Duration::from_secs(3));
        }
        assert_eq!(cluster.leader(), Some(leader), "two of three are a majority");
        cluster.cut_off(Some(leader));
        let cut_at = cluster.time();
        assert!(cluster.write().is_some(), "the others are a majority");
        let pause = cluster.time().saturating_sub(cut_at);
        assert!(pause < millis(250), "{pause:?} with seed {seed}");
    }
}

/// Whoever did not run heard nobody, whoever spoke. If it waited the longer for a leader, the
/// other, who needs its vote, would have to wait as well.
#[test]
fn a_leader_that_dies_is_replaced_soon_though_followers_did_not_run_before() {
    for seed in 1..=21 {
        let mut cluster = Cluster::start(millis(1) / 2, seed);
        cluster.pass(Duration::from_secs(8));
        let leader = cluster.leader().expect("it was not disturbed");
        for follower in [(leader + 1) % NODES, (leader + 2) % NODES] {
            cluster.stall(follower, millis(300));
            cluster.pass(Duration::from_secs(3));
        }
        assert_eq!(cluster.leader(), Some(leader), "two of three are a majority");
        cluster.kill(leader);
        let died_at = cluster.time();
        assert!(cluster.write().is_some(), "the others are a majority");
        let pause = cluster.time().saturating_sub(died_at);
        assert!(pause < millis(250), "{pause:?} with seed {seed}");
    }
}

/// The same of one that led and did not run, and now follows another.
#[test]
fn a_leader_that_dies_is_replaced_soon_though_the_one_before_it_did_not_run() {
    for seed in 1..=21 {
        let mut cluster = Cluster::start(millis(1) / 2, seed);
        cluster.pass(Duration::from_secs(8));
        let former = cluster.leader().expect("it was not disturbed");
        cluster.stall(former, millis(300));
        cluster.pass(Duration::from_secs(10));
        let leader = cluster.leader().expect("two of three are a majority");
        assert_ne!(leader, former, "it was silent for too long");
        cluster.kill(leader);
        let died_at = cluster.time();
        assert!(cluster.write().is_some(), "the others are a majority");
        let pause = cluster.time().saturating_sub(died_at);
        assert!(pause < millis(250), "{pause:?} with seed {seed}");
    }
}

/// Whoever forges them sees what nodes send, and quotes it.
#[test]
fn refusals_that_are_not_true_change_no_leader() {
    for (round_trip, loss) in [(1, 0.0), (1, 0.05), (20, 0.0)] {
        let mut cluster = Cluster::start(millis(round_trip) / 2, 3);
        cluster.lose(by_itself(loss));
        cluster.pass(Duration::from_secs(10));
        let term = cluster.term();
        cluster.forge_refusals();
        cluster.pass(Duration::from_secs(60));
        assert_eq!(cluster.term(), term, "at {round_trip} ms and a loss of {loss}");
    }
}
