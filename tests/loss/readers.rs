//! Long answers: how long they take where pages are lost, and what waits behind them on a narrow
//! link.

use std::time::Duration;

use quorate::client::Answer;
use quorate::sim::Loss;

use super::cluster::Cluster;
use super::uplink::Uplink;

/// How long a client takes to read so much over a round trip of 20 ms, in the median.
fn read(bytes: usize, share: f64) -> Duration {
    let one = |seed| {
        let mut cluster = Cluster::start(Duration::from_millis(10), seed);
        cluster.write_to(1, bytes).expect("nothing is lost yet");
        cluster.lose(Loss { share, burst: None });
        let begun = cluster.time();
        cluster.read(0, 1);
        assert!(matches!(cluster.wait_for_answer(0), Answer::Read { .. }));
        cluster.time().saturating_sub(begun)
    };
    let mut took: Vec<Duration> = (1..=15).map(one).collect();
    took.sort_unstable();
    took[took.len() / 2]
}

#[test]
fn a_long_answer_waits_for_each_lost_page_at_the_same_time() {
    for (percent, most) in [(0, 520), (5, 800), (10, 1_000), (30, 1_900)] {
        let took = read(700_000, f64::from(percent) / 100.0);
        println!("{percent} %: {took:?}");
        assert!(took <= Duration::from_millis(most), "at {percent} %: {took:?}");
    }
}

const READERS: u64 = 8;
/// 10 Mbit/s.
const BYTES_PER_SECOND: u64 = 1_250_000;
/// How long a frame may wait before the link.
const QUEUE: Duration = Duration::from_millis(100);
/// Between two writes.
const PAUSE: Duration = Duration::from_millis(10);

/// Every node, the leader among them, sends what is read and what it tells the others over one
/// link.
#[test]
fn long_answers_do_not_hold_up_small_writes_on_a_narrow_link() {
    for round_trip in [2, 20] {
        let mut cluster = Cluster::start(Duration::from_millis(round_trip) / 2, round_trip);
        cluster.write_to(1, 1 << 20).expect("nothing is lost");
        let readers: Vec<usize> = (1..=READERS).map(|seed| cluster.add_client(seed)).collect();
        cluster.narrow(&Uplink::new(BYTES_PER_SECOND, QUEUE));
        let term = cluster.term();
        let mut idle: Vec<Duration> = (0..200).map(|_| write(&mut cluster)).collect();
        let begun = cluster.time();
        for reader in &readers {
            cluster.read(*reader, 1);
        }
        let (mut busy, mut left) = (Vec::new(), readers);
        while !left.is_empty() {
            busy.push(write(&mut cluster));
            left.retain(|reader| cluster.answer(*reader).is_none());
        }
        let took = cluster.time().saturating_sub(begun);
        let goodput = (READERS << 20) * 100_000 / (BYTES_PER_SECOND * millis(took));
        let (idle, [p50, p90, p99]) = (quantiles(&mut idle)[2], quantiles(&mut busy));
        println!(
            "{round_trip} ms: {goodput} % of the link, writes p99 {idle:?}, then p50 {p50:?}, p90 \
             {p90:?}, p99 {p99:?}"
        );
        assert_eq!(cluster.term(), term, "at {round_trip} ms");
        assert!(goodput >= 75, "at {round_trip} ms: {goodput} %");
        assert!(p50 <= idle + Duration::from_millis(50), "at {round_trip} ms: {p50:?}");
    }
}

fn write(cluster: &mut Cluster) -> Duration {
    let took = cluster.write().expect("each write is answered");
    cluster.pass(PAUSE);
    took
}

fn quantiles(took: &mut [Duration]) -> [Duration; 3] {
    took.sort_unstable();
    [50, 90, 99].map(|percent| took[took.len() * percent / 100])
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("a short time")
}
