//! What a follower takes in, and what its leader sends it again.

use quorate::entry::Entry;
use quorate::replica::HEARTBEAT_INTERVAL;
use quorate::types::{LogIndex, LogTime, Term};
use quorate::wire::{Acknowledge, DropCause, Message, RANGES_MAX, ReplicateOperation};

use super::leader::{heartbeat, noop_after, replicate};
use super::members::{SECOND, THIRD};
use super::probe::Probe;
use super::said::{Sent, acknowledged, to_peer};

const TERM: Term = Term(1);

/// The leader, who was told that they have arrived, sends nothing more.
#[test]
fn held_entries_are_taken_in_when_the_disk_has_caught_up() {
    let mut probe = Probe::born(3);
    let mut previous = Entry::genesis(probe.state().configuration());
    let last = LogIndex(65_536 + 200);
    while previous.index < last {
        let entry = noop_after(&previous, TERM);
        probe.hear(SECOND, replicate(TERM, &previous, &entry, LogIndex(1)));
        previous = entry;
        if previous.index == LogIndex(100) {
            probe.sync();
        }
    }
    let said = probe.turn();
    let acknowledge = acknowledged(&said).expect("the leader is told what has arrived");
    assert_eq!(acknowledge.matched, LogIndex(65_536 + 100), "the disk bounds what is taken in");
    assert_eq!(acknowledge.received, [(acknowledge.matched.next(), last)]);

    let said = probe.sync();
    assert_eq!(acknowledged(&said).map(|said| said.durable), Some(last));
    assert_eq!(probe.state().log.last_index(), last);
}

#[test]
fn an_entry_that_fails_its_chain_check_is_reported_missing_again() {
    let mut probe = Probe::born(3);
    let genesis = Entry::genesis(probe.state().configuration());
    let second = noop_after(&genesis, TERM);
    let third = noop_after(&second, TERM);
    let forged = Entry { time: LogTime(9), ..third.clone() };
    let held = vec![(LogIndex(3), LogIndex(3))];
    assert_eq!(received(&mut probe, &second, &forged), (LogIndex(1), held));
    assert_eq!(received(&mut probe, &genesis, &second), (LogIndex(2), vec![]));
    assert_eq!(probe.state().dropped.get(&DropCause::Chain), Some(&1));
    assert_eq!(received(&mut probe, &second, &third), (LogIndex(3), vec![]));
}

/// The next leader would not send what it is told has arrived.
#[test]
fn what_is_held_of_one_leader_is_not_said_to_have_come_from_the_next() {
    let mut probe = Probe::born(3);
    let genesis = Entry::genesis(probe.state().configuration());
    let second = noop_after(&genesis, TERM);
    let third = noop_after(&second, TERM);
    let held = vec![(LogIndex(3), LogIndex(3))];
    assert_eq!(received(&mut probe, &second, &third), (LogIndex(1), held));
    probe.hear(THIRD, heartbeat(TERM.next()));
    let said = probe.turn();
    let acknowledge = acknowledged(&said).expect("heartbeats are acknowledged");
    assert_eq!((acknowledge.term, &acknowledge.received), (TERM.next(), &vec![]));
}

/// One leader does not say two things in one term: neither is taken for the other.
#[test]
fn an_entry_does_not_take_the_place_of_another_of_its_term() {
    let mut probe = Probe::born(3);
    let genesis = Entry::genesis(probe.state().configuration());
    let second = noop_after(&genesis, TERM);
    assert_eq!(received(&mut probe, &genesis, &second), (LogIndex(2), vec![]));
    probe.hear(THIRD, heartbeat(TERM.next()));
    let other = Entry::chained(
        genesis.chain,
        LogIndex(2),
        TERM,
        LogTime(9),
        second.kind,
        second.payload.clone(),
    );
    probe.hear(THIRD, replicate(TERM.next(), &genesis, &other, LogIndex(1)));
    let said = probe.turn();
    assert_eq!(acknowledged(&said).map(|said| said.matched), Some(LogIndex(1)));
    assert_eq!(probe.state().dropped.get(&DropCause::Protocol), Some(&1));
    assert_eq!(probe.state().log.entry(LogIndex(2)), Some(&second));
}

#[test]
fn as_many_ranges_are_told_of_as_a_frame_holds() {
    let mut probe = Probe::born(3);
    let mut previous = Entry::genesis(probe.state().configuration());
    let mut ranges = Vec::new();
    while ranges.len() <= RANGES_MAX {
        let entry = noop_after(&previous, TERM);
        if entry.index.0 % 2 == 1 {
            let so_far = received(&mut probe, &previous, &entry);
            ranges.push((entry.index, entry.index));
            let told = &ranges[..ranges.len().min(RANGES_MAX)];
            assert_eq!(so_far, (LogIndex(1), told.to_vec()));
        }
        previous = entry;
    }
}

/// The next leader's first entry has come, and the follower cannot know that what stands
/// before it is the leader's.
#[test]
fn who_has_all_and_does_not_know_it_is_told() {
    let mut probe = Probe::serving(3);
    let held = Acknowledge {
        matched: LogIndex(1),
        durable: LogIndex(1),
        received: vec![(LogIndex(2), LogIndex(2))],
        ..probe.acknowledgment(LogIndex(2))
    };
    probe.hear(THIRD, Message::Acknowledge(held));
    let said = probe.sync();
    let probes = |message: &&Message| {
        matches!(message, Message::ReplicateOperation(replicate)
            if replicate.entries.is_empty() && replicate.previous_index == LogIndex(2))
    };
    assert!(to_peer(&said, THIRD).iter().any(probes), "{said:?}");
}

/// The leader sends the entry after `previous`. Returns what is matched and what is
/// received beyond, as the leader is told.
fn received(
    probe: &mut Probe,
    previous: &Entry,
    entry: &Entry,
) -> (LogIndex, Vec<(LogIndex, LogIndex)>) {
    probe.hear(SECOND, replicate(TERM, previous, entry, LogIndex(1)));
    let said = probe.turn();
    let acknowledge = acknowledged(&said).expect("entries are acknowledged");
    (acknowledge.matched, acknowledge.received.clone())
}

#[test]
fn an_entry_that_was_received_and_is_missing_is_sent_again() {
    let mut probe = Probe::serving(3);
    probe.ask_to_put(2);
    assert_eq!(entries_to_second(&probe.sync()), [3, 4]);

    let held = vec![(LogIndex(4), LogIndex(4))];
    let fourth_held = Acknowledge { received: held, ..probe.acknowledgment(LogIndex(2)) };
    probe.hear(SECOND, Message::Acknowledge(fourth_held));
    assert!(entries_to_second(&probe.sync()).is_empty(), "the third may be on its way");
    probe.acknowledge(SECOND, LogIndex(3));
    assert_eq!(entries_to_second(&probe.sync()), [4]);
    probe.acknowledge(SECOND, LogIndex(4));
    probe.pass(HEARTBEAT_INTERVAL);
    probe.time_out();
    assert!(entries_to_second(&probe.sync()).is_empty());
}

/// The indexes of the entries that the second node is sent.
fn entries_to_second(said: &[Sent]) -> Vec<u64> {
    let entries = |message: &&Message| match message {
        Message::ReplicateOperation(replicate) => replicate.entries.clone(),
        _ => Vec::new(),
    };
    to_peer(said, SECOND).iter().flat_map(entries).map(|entry| entry.index.0).collect()
}

/// Before the first election no leader has a term, so there is nothing to take in.
#[test]
fn no_frame_of_term_zero_is_taken_in() {
    let mut probe = Probe::born(3);
    let nothing =
        Entry { index: LogIndex(0), chain: 0, ..Entry::genesis(probe.state().configuration()) };
    let over_genesis = noop_after(&nothing, Term(5));
    let replicate = ReplicateOperation {
        term: Term(0),
        commit: LogIndex(0),
        previous_index: LogIndex(0),
        previous_term: Term(0),
        entries: vec![over_genesis],
    };
    for message in [Message::ReplicateOperation(replicate), heartbeat(Term(0))] {
        probe.hear(SECOND, message);
        assert_eq!(probe.sync(), []);
    }
    assert_eq!(probe.state().dropped.get(&DropCause::Protocol), Some(&2));
    assert_eq!(probe.state().log.last_index(), LogIndex(1));
}
