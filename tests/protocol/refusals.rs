//! A frame to the leader that comes back, since nobody took it: a hint that its process is gone.

use std::time::Duration;

use quorate::replica::ELECTION_TIMEOUT;
use quorate::types::{PacketNumber, Term};
use quorate::wire::Message;

use super::leader::heartbeat;
use super::members::{SECOND, THIRD, address_of};
use super::probe::Probe;
use super::said::{Sent, acknowledged, to_peer};

const TERM: Term = Term(1);

/// A follower that has heard its leader, and has missed it for long enough to send it something.
fn follower_that_looks() -> Probe {
    let mut probe = Probe::born(3);
    for _ in 0..2 {
        probe.hear(SECOND, heartbeat(TERM));
        probe.sync();
    }
    assert!(has_contact(&probe));
    look(&mut probe);
    probe
}

/// Time passes until it sends the leader something.
fn look(probe: &mut Probe) {
    probe.sync();
    while acknowledged(&probe.wait_and_sync()).is_none() {}
    assert!(has_contact(probe), "it looks before the election timeout");
}

fn has_contact(probe: &Probe) -> bool {
    probe.state().has_leader_contact(probe.now)
}

fn asks_for_votes(said: &[Sent]) -> bool {
    to_peer(said, THIRD).iter().any(|message| matches!(message, Message::VoteRequest(_)))
}

#[test]
fn who_is_refused_has_no_contact_and_asks_for_votes_soon() {
    let mut probe = follower_that_looks();
    let packet = probe.newest_to(SECOND);
    let refused_at = probe.now;
    probe.refused(SECOND, address_of(SECOND), packet);
    assert!(!has_contact(&probe));
    while !asks_for_votes(&probe.wait_and_sync()) {}
    assert!(probe.now.since(refused_at) < ELECTION_TIMEOUT / 4);
    assert_eq!(probe.state().term, TERM, "with a pre-vote first");
}

#[test]
fn the_next_frame_of_the_leader_makes_it_void() {
    let mut probe = follower_that_looks();
    let packet = probe.newest_to(SECOND);
    probe.refused(SECOND, address_of(SECOND), packet);
    probe.pass(Duration::from_micros(1));
    probe.hear(SECOND, heartbeat(TERM));
    assert!(has_contact(&probe));
    look(&mut probe);
    probe.refused(SECOND, address_of(SECOND), packet);
    assert!(has_contact(&probe), "it was sent before the leader was heard");
}

#[test]
fn a_leader_that_was_heard_just_now_is_not_given_up() {
    let mut probe = follower_that_looks();
    probe.hear(SECOND, heartbeat(TERM));
    probe.pass(Duration::from_micros(1));
    assert!(acknowledged(&probe.sync()).is_some(), "it is sent after the leader was heard");
    let packet = probe.newest_to(SECOND);
    probe.refused(SECOND, address_of(SECOND), packet);
    assert!(has_contact(&probe));
}

#[test]
fn who_quotes_what_was_not_sent_there_is_not_believed() {
    let mut probe = follower_that_looks();
    let packet = probe.newest_to(SECOND);
    probe.refused(SECOND, address_of(SECOND), packet.next());
    probe.refused(SECOND, address_of(SECOND), PacketNumber(packet.0 - 1_000));
    probe.refused(SECOND, address_of(THIRD), packet);
    probe.refused(THIRD, address_of(SECOND), packet);
    assert!(has_contact(&probe));
}
