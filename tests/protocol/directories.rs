//! The lives of directories: which frames of another node are of its present.

use std::time::Duration;

use quorate::types::{DirectoryId, Incarnation, LogIndex, LogTime, PacketNumber, Term};
use quorate::wire::{Acknowledge, DropCause, Message, Role, SessionOpened};

use super::leader::heartbeat;
use super::members::{SECOND, THIRD, directory_of, ids};
use super::net::{Journal, Net};
use super::probe::Probe;
use super::request::session;
use super::said::acknowledged;

const A_WHILE: Duration = Duration::from_secs(3);
/// Too short for a new directory to get a vote.
const A_MOMENT: Duration = Duration::from_secs(1);

/// A node is started once by mistake on an empty directory, and then on its own again.
#[test]
fn a_voter_comes_back_after_a_start_on_a_wrong_directory() {
    let mut net = Net::new(3);
    for id in ids(3) {
        net.start(id, Journal::blank(id, directory_of(id)));
    }
    net.run(A_WHILE);
    assert!(net.leader().is_some(), "the cluster serves");

    let own = net.kill(THIRD);
    net.start(THIRD, Journal::blank(THIRD, DirectoryId(999)));
    net.run(A_MOMENT);
    assert!(net.state(THIRD).is_born());
    assert!(!net.state(THIRD).is_voter(), "a blank directory has no vote");

    net.kill(THIRD);
    net.start(THIRD, own);
    net.run(A_WHILE);
    assert!(net.state(THIRD).is_voter());
    let leader = net.leader().expect("a leader");
    net.kill(leader);
    net.run(A_WHILE);
    assert!(net.leader().is_some(), "two of three voters elect one of them");
}

#[test]
fn only_a_later_start_brings_a_former_directory_back() {
    let mut probe = Probe::leading(3);
    let own = directory_of(SECOND);
    let lives = [
        (own, 1, true),
        (DirectoryId(999), 1, true),
        (own, 1, false),
        (own, 2, true),
        (DirectoryId(999), 1, false),
        (DirectoryId(999), 2, true),
        (own, 1, false),
    ];
    for (directory, incarnation, is_present) in lives {
        let before = dropped_as_past(&probe);
        let message = heartbeat(Term(1));
        probe.hear_in_life(SECOND, (directory, Incarnation(incarnation)), message);
        let is_past = dropped_as_past(&probe) > before;
        assert_eq!(is_past, !is_present, "directory {directory}, incarnation {incarnation}");
        probe.sync();
    }
}

/// It follows nobody in a lower term, so it would never learn more, nor get a vote.
#[test]
fn a_leader_heeds_the_term_of_a_node_that_lost_its_disk() {
    let mut probe = Probe::serving(3);
    let answer = Acknowledge { term: Term(5), ..probe.acknowledgment(LogIndex(0)) };
    let blank = (DirectoryId(999), Incarnation(1));
    probe.hear_in_life(SECOND, blank, Message::Acknowledge(answer));
    assert!(!probe.state().is_voting_peer(SECOND));
    assert_eq!((probe.state().role, probe.state().term), (Role::Follower, Term(5)));
}

/// A late frame of a start that this node had never heard of looks like another directory that
/// took the place of the present one. That is heard again when nothing more comes of the other.
#[test]
fn who_speaks_of_the_present_is_heard_again() {
    let mut probe = Probe::leading(3);
    let (former, present) = (directory_of(SECOND), DirectoryId(999));
    for (directory, incarnation) in [(present, 1), (former, 2)] {
        let life = (directory, Incarnation(incarnation));
        probe.hear_in_life(SECOND, life, heartbeat(Term(1)));
        probe.sync();
    }
    let is_heard = |probe: &mut Probe| {
        let before = dropped_as_past(probe);
        probe.hear_in_life(SECOND, (present, Incarnation(1)), heartbeat(Term(1)));
        dropped_as_past(probe) == before
    };
    assert!(!is_heard(&mut probe), "it may be of the past itself");
    let until = probe.now + Duration::from_secs(2);
    while probe.now < until {
        probe.wait_and_sync();
    }
    assert!(is_heard(&mut probe));
}

#[test]
fn a_frame_of_another_life_must_be_fresh() {
    let mut probe = Probe::born(3);
    let (own, other) = (directory_of(SECOND), DirectoryId(999));
    probe.hear_in_life(SECOND, (own, Incarnation(1)), heartbeat(Term(1)));
    // The node has said nothing yet that this frame could echo.
    probe.hear_in_life(SECOND, (other, Incarnation(1)), heartbeat(Term(1)));
    assert_eq!(dropped_as_past(&probe), 1);
    assert!(acknowledged(&probe.sync()).is_some());
    probe.hear_in_life(SECOND, (other, Incarnation(1)), heartbeat(Term(1)));
    assert_eq!(dropped_as_past(&probe), 1);
    assert_eq!(probe.state().peers[&SECOND].directory(), Some(other));
}

/// Answers to clients are numbered apart: one that is replayed at another node must not
/// make the frames for that node look old.
#[test]
fn what_was_said_to_a_client_is_not_heard_by_a_node() {
    let mut probe = Probe::serving(3);
    let opened = SessionOpened { nonce: 1, session: session(1), window: 1, time: LogTime(0) };
    probe.overhear(SECOND, PacketNumber(1 << 61), Message::SessionOpened(opened));
    assert_eq!(probe.state().dropped.get(&DropCause::Destination), Some(&1));
    let heard_before = probe.state().peers[&SECOND].link.echo(probe.now).map(|echo| echo.packet);
    assert!(heard_before.is_some_and(|packet| packet < PacketNumber(1 << 61)));
}

fn dropped_as_past(probe: &Probe) -> u64 {
    probe.state().dropped.get(&DropCause::Incarnation).copied().unwrap_or(0)
}
