//! A follower on a slow way, which lacks what its leader has forgotten: with half as much
//! again as is written it catches up, with half of it it is said to fall behind.

use std::time::Duration;

use quorate::types::ServerId;
use quorate::wire::Message;

use super::members::{SECOND, THIRD, directory_of, ids};
use super::net::{Journal, Net};
use super::request::{put, request, session};

const SECOND_OF_TIME: Duration = Duration::from_secs(1);
/// How many keys there are; each is written again and again.
const KEYS: u64 = 1_000;
const WRITES_PER_SECOND: u64 = 400;

/// A cluster that is written to.
struct Written {
    net: Net,
    writes: u64,
    leader: ServerId,
}

impl Written {
    fn new() -> Self {
        let mut net = Net::with_snapshots(3, 100_000);
        for id in ids(3) {
            net.start(id, Journal::blank(id, directory_of(id)));
        }
        net.run(4 * SECOND_OF_TIME);
        let leader = net.leader().expect("one leads");
        Self { net, writes: 0, leader }
    }

    /// Time passes, in which so much is written.
    fn write_for(&mut self, seconds: u64) {
        for _ in 0..seconds * WRITES_PER_SECOND {
            self.writes += 1;
            let key = format!("key-{}", self.writes % KEYS);
            let operation = put(&key, vec![b'x'; 900]);
            let request = request(session(self.writes), &operation);
            self.net.ask(self.leader, &Message::Request(request));
            self.net.run(SECOND_OF_TIME / u32::try_from(WRITES_PER_SECOND).expect("a few"));
        }
    }

    /// How many entries the follower lacks.
    fn distance(&self, follower: ServerId) -> u64 {
        self.net.state(self.leader).commit.0 - self.net.state(follower).commit.0
    }

    fn is_said_to_fall_behind(&self, follower: ServerId) -> bool {
        let status = self.net.status(self.leader);
        let peer = status.peers.iter().find(|peer| peer.id == follower);
        peer.is_some_and(|peer| peer.falls_behind)
    }
}

/// A follower was away for so long that its leader has forgotten what it lacks; now it is
/// back, on a way that carries so many hundredths of what is written.
fn returned_on_a_way_of(hundredths: u64) -> (Written, ServerId) {
    let mut written = Written::new();
    let (follower, other) = if written.leader == THIRD {
        (SECOND, ServerId(1))
    } else {
        (THIRD, ids(2).find(|id| *id != written.leader).expect("another"))
    };
    written.write_for(4);
    let journal = written.net.kill(follower);
    let before = written.net.delivered(other);
    written.write_for(8);
    let rate = (written.net.delivered(other) - before) / 8;
    written.net.slow_down(follower, rate * hundredths / 100);
    written.net.start(follower, journal);
    (written, follower)
}

#[test]
fn with_half_as_much_again_as_is_written_a_follower_catches_up() {
    let (mut written, follower) = returned_on_a_way_of(150);
    let missed = written.distance(follower);
    let mut seconds = 0;
    while written.distance(follower) > WRITES_PER_SECOND / 10 {
        written.write_for(1);
        seconds += 1;
        assert!(!written.is_said_to_fall_behind(follower), "after {seconds} s");
        assert!(seconds < 60, "it lacks {} entries", written.distance(follower));
    }
    println!("missed {missed} entries, caught up in {seconds} s of writes");
}

#[test]
fn with_half_of_what_is_written_a_follower_falls_behind_until_less_is_written() {
    let (mut written, follower) = returned_on_a_way_of(50);
    written.write_for(8);
    assert!(written.is_said_to_fall_behind(follower));
    assert_eq!(written.net.leader(), Some(written.leader));
    written.net.run(30 * SECOND_OF_TIME);
    assert_eq!(written.distance(follower), 0);
    assert!(!written.is_said_to_fall_behind(follower));
}
