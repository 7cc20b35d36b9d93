//! What counts as having heard another node: not that a frame arrives, but that it answers
//! what was sent to its sender lately.

use std::time::Duration;

use quorate::replica::ELECTION_TIMEOUT;
use quorate::types::{LogIndex, PacketNumber, ServerId, Term};
use quorate::wire::{Acknowledge, Echo, Header, Message, Role, VoteRequest};

use super::leader::heartbeat;
use super::members::{SECOND, THIRD};
use super::probe::Probe;
use super::said::{Sent, to_peer};

const TERM: Term = Term(1);
/// More often than anybody is missed.
const OFTEN: Duration = Duration::from_millis(20);
/// Longer than anybody is waited for.
const LONG: Duration = Duration::from_secs(2);

/// A follower that has heard its leader just now.
fn following() -> Probe {
    let mut probe = Probe::born(3);
    for _ in 0..2 {
        probe.hear(SECOND, heartbeat(TERM));
        probe.sync();
    }
    assert!(probe.state().has_leader_contact(probe.now));
    probe
}

fn echoes(packet: Option<PacketNumber>) -> impl Fn(&mut Header) {
    move |header| header.echo = packet.map(|packet| Echo { packet, age: 0 })
}

/// Time passes, and frames go on to arrive. Returns whether the node asks for votes.
fn asks_for_votes(probe: &mut Probe, mut arrive: impl FnMut(&mut Probe)) -> bool {
    let end = probe.now + LONG;
    let mut asks = false;
    while probe.now < end {
        probe.pass(OFTEN);
        arrive(probe);
        probe.time_out();
        let said = probe.sync();
        asks |= to_peer(&said, THIRD).iter().any(|sent| matches!(sent, Message::VoteRequest(_)));
    }
    asks
}

#[test]
fn a_follower_waits_for_frames_that_answer_its_own() {
    let answered = |probe: &mut Probe| probe.hear(SECOND, heartbeat(TERM));
    assert!(!asks_for_votes(&mut following(), answered));

    let old = following().newest_to(SECOND);
    let not_sent_yet = PacketNumber(old.0 + 1_000_000);
    for echo in [None, Some(old), Some(not_sent_yet)] {
        let arrive = |probe: &mut Probe| probe.hear_altered(SECOND, echoes(echo), heartbeat(TERM));
        assert!(asks_for_votes(&mut following(), arrive), "{echo:?}");
    }
}

/// A follower that talks and hears nothing confirms no leader.
#[test]
fn a_leader_stays_for_frames_that_answer_its_own() {
    assert_eq!(role_after(|probe| probe.acknowledge(SECOND, LogIndex(2))), Role::Leader);

    let old = Probe::serving(3).newest_to(SECOND);
    for echo in [None, Some(old)] {
        let arrive = |probe: &mut Probe| {
            let message = Message::Acknowledge(probe.acknowledgment(LogIndex(2)));
            probe.hear_altered(SECOND, echoes(echo), message);
        };
        assert_eq!(role_after(arrive), Role::Follower, "{echo:?}");
    }
}

/// What becomes of a leader of three while such frames arrive, and no others.
fn role_after(arrive: impl Fn(&mut Probe)) -> Role {
    let mut probe = Probe::serving(3);
    let end = probe.now + LONG;
    while probe.now < end && probe.state().role == Role::Leader {
        probe.pass(OFTEN);
        arrive(&mut probe);
        probe.time_out();
        probe.sync();
    }
    probe.state().role
}

fn ask(probe: &mut Probe, from: ServerId, pre_vote: bool, transfer: bool) -> Vec<Sent> {
    let (term, last_index, last_term) = (TERM.next(), LogIndex(9), TERM);
    let request = VoteRequest { term, pre_vote, transfer, last_index, last_term };
    probe.hear(from, Message::VoteRequest(request));
    probe.sync()
}

fn grants(said: &[Sent]) -> bool {
    let is_granted = |sent: &Sent| matches!(sent.message, Message::VoteReply(vote) if vote.granted);
    said.iter().any(is_granted)
}

/// Somebody who lacks frames of the leader must not take its followers away from it.
#[test]
fn who_hears_its_leader_gives_no_vote_to_another() {
    let mut probe = following();
    for pre_vote in [true, false] {
        assert!(!grants(&ask(&mut probe, THIRD, pre_vote, false)));
        assert_eq!(probe.state().term, TERM, "the leader's term stands");
    }
    assert!(grants(&ask(&mut probe, THIRD, false, true)), "the leader itself has asked for it");

    let mut probe = following();
    probe.pass(ELECTION_TIMEOUT);
    assert!(grants(&ask(&mut probe, THIRD, true, false)), "the leader is silent");
    assert!(grants(&ask(&mut probe, THIRD, false, false)));
}

/// Of a leader of a later term nothing was heard yet.
#[test]
fn contact_ends_with_the_term() {
    let mut probe = following();
    let later = Acknowledge { term: TERM.next(), ..probe.acknowledgment(LogIndex(1)) };
    probe.hear(SECOND, Message::Acknowledge(later));
    probe.sync();
    assert_eq!(probe.state().term, TERM.next());
    let (term, last_index, last_term) = (Term(3), LogIndex(9), TERM);
    let request = VoteRequest { term, pre_vote: true, transfer: false, last_index, last_term };
    probe.hear(THIRD, Message::VoteRequest(request));
    assert!(grants(&probe.sync()));
}

#[test]
fn a_leader_gives_no_vote_to_another() {
    let mut probe = Probe::serving(3);
    for pre_vote in [true, false] {
        assert!(!grants(&ask(&mut probe, THIRD, pre_vote, false)));
        assert_eq!((probe.state().role, probe.state().term), (Role::Leader, TERM));
    }
    assert!(grants(&ask(&mut probe, THIRD, false, true)));
}
