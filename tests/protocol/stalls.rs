//! Disks that stall: who stays leader, and who does not.

use std::time::Duration;

use quorate::replica::{DISK_STALL, HEARTBEAT_INTERVAL};
use quorate::types::{LogIndex, Term};
use quorate::wire::{Acknowledge, Heartbeat, Message, Role, VoteRequest};

use super::leader::heartbeat;
use super::members::{SECOND, THIRD};
use super::probe::Probe;
use super::said::{Sent, to_peer};

#[test]
fn a_leader_whose_disk_has_stalled_hands_over_to_a_better_one() {
    let mut probe = Probe::serving(3);
    probe.ask_to_put(1);
    let said = stall(&mut probe, DISK_STALL * 9 / 10, Duration::ZERO);
    assert!(!asks_anyone_to_stand(&said), "it has not stalled for long enough");
    let said = stall(&mut probe, DISK_STALL / 5, Duration::ZERO);
    assert!(asks_anyone_to_stand(&said));
    let said = stall(&mut probe, 3 * DISK_STALL, Duration::ZERO);
    assert!(!asks_anyone_to_stand(&said), "and it asks once in a long while");
}

#[test]
fn a_leader_stays_when_no_disk_is_clearly_better() {
    let mut probe = Probe::serving(3);
    probe.ask_to_put(1);
    let said = stall(&mut probe, 2 * DISK_STALL, DISK_STALL);
    assert!(!asks_anyone_to_stand(&said));
}

#[test]
fn a_leader_whose_disk_keeps_up_stays() {
    let mut probe = Probe::serving(3);
    for _ in 0..100 {
        probe.ask_to_put(1);
        probe.sync();
        let said = stall(&mut probe, HEARTBEAT_INTERVAL, Duration::ZERO);
        assert!(!asks_anyone_to_stand(&said));
    }
}

#[test]
fn entries_are_committed_while_the_leaders_own_disk_stands_still() {
    let mut probe = Probe::serving(3);
    probe.ask_to_put(1);
    probe.turn();
    let last = probe.state().log.last_index();
    probe.acknowledge(SECOND, last);
    probe.turn();
    assert_ne!(probe.state().commit, last, "one disk is no majority");
    probe.acknowledge(THIRD, last);
    probe.turn();
    assert_eq!(probe.state().commit, last);
}

#[test]
fn followers_drop_a_leader_whose_disk_has_stalled() {
    for (stalled, is_dropped) in [(DISK_STALL, false), (3 * DISK_STALL, true)] {
        let mut probe = Probe::born(3);
        follow(&mut probe, stalled);
        assert_eq!(probe.state().role == Role::Candidate, is_dropped, "{stalled:?}");
    }
}

/// A storm on every disk must not become a storm of elections.
#[test]
fn a_follower_drops_leaders_for_their_disks_once_in_a_long_while() {
    let mut probe = Probe::born(3);
    follow(&mut probe, 3 * DISK_STALL);
    assert_eq!(probe.state().role, Role::Candidate);
    probe.hear(THIRD, tells_in(Term(2), Duration::ZERO));
    probe.sync();
    let mut follow_next = || {
        let end = probe.now + 5 * DISK_STALL;
        while probe.now < end && probe.state().role != Role::Candidate {
            probe.hear(THIRD, tells_in(Term(2), 3 * DISK_STALL));
            probe.sync();
            probe.pass(HEARTBEAT_INTERVAL / 2);
            probe.time_out();
            probe.sync();
        }
        probe.state().role
    };
    assert_eq!(follow_next(), Role::Follower, "it has just dropped another");
    follow_next();
    assert_eq!(follow_next(), Role::Candidate, "that was long ago");
}

#[test]
fn a_vote_is_not_withheld_for_the_sake_of_a_leader_whose_disk_has_stalled() {
    for (stalled, is_granted) in [(DISK_STALL, false), (3 * DISK_STALL, true)] {
        let mut probe = Probe::born(3);
        probe.hear(SECOND, tells(stalled));
        probe.sync();
        probe.hear(SECOND, tells(stalled));
        let request = VoteRequest {
            term: Term(2),
            pre_vote: true,
            transfer: false,
            last_index: LogIndex(1),
            last_term: Term(0),
        };
        probe.hear(THIRD, Message::VoteRequest(request));
        let said = probe.sync();
        let granted = to_peer(&said, THIRD)
            .iter()
            .any(|message| matches!(message, Message::VoteReply(vote) if vote.granted));
        assert_eq!(granted, is_granted, "{stalled:?}");
    }
}

/// The leader's disk stands still for so long, while both followers answer it and tell
/// how long their own oldest entry has waited. Returns what the leader says.
fn stall(probe: &mut Probe, time: Duration, theirs: Duration) -> Vec<Sent> {
    let until = probe.now + time;
    let mut said = Vec::new();
    while probe.now < until {
        probe.pass(HEARTBEAT_INTERVAL / 2);
        probe.time_out();
        said.extend(probe.turn());
        for follower in [SECOND, THIRD] {
            let durability_age = u32::try_from(theirs.as_micros()).expect("a short time");
            let acknowledge =
                Acknowledge { durability_age, ..probe.acknowledgment(probe.state().commit) };
            probe.hear(follower, Message::Acknowledge(acknowledge));
        }
    }
    said
}

fn asks_anyone_to_stand(said: &[Sent]) -> bool {
    said.iter().any(|sent| matches!(sent.message, Message::TimeoutNow(_)))
}

/// A leader beats for a second, and says that its disk has stalled for so long.
fn follow(probe: &mut Probe, stalled: Duration) {
    for _ in 0..50 {
        probe.hear(SECOND, tells(stalled));
        probe.sync();
        probe.pass(HEARTBEAT_INTERVAL / 2);
        probe.time_out();
        probe.sync();
    }
}

fn tells(stalled: Duration) -> Message {
    tells_in(Term(1), stalled)
}

fn tells_in(term: Term, stalled: Duration) -> Message {
    let Message::Heartbeat(beat) = heartbeat(term) else { unreachable!("it is one") };
    let durability_age = u32::try_from(stalled.as_micros()).expect("a short time");
    Message::Heartbeat(Heartbeat { durability_age, ..beat })
}
