//! What would make one turn long is done in shares, by turns that follow at once.

use std::time::Duration;

use quorate::entry::Entry;
use quorate::replica::HEARTBEAT_INTERVAL;
use quorate::types::{Incarnation, LifeId, LogIndex, Term};
use quorate::wire::{Message, Resume};

use super::leader::{heartbeat_that_commits, noop_after, replicate};
use super::members::{SECOND, directory_of};
use super::probe::Probe;
use super::said::replies;

const TERM: Term = Term(1);
/// How many entries one turn reveals at most.
const SHARE: u64 = 128;
const ENTRIES: u64 = 1_000;

/// How far each turn that reveals something goes, until the log is revealed to the index. They
/// follow at once; a turn between may be another timer's.
fn shares(probe: &mut Probe, last: LogIndex) -> Vec<u64> {
    let (began, mut before, mut shares) = (probe.now, probe.state().commit, Vec::new());
    while before < last {
        probe.wait_and_sync();
        let took = probe.now.since(began);
        assert!(took < Duration::from_millis(1) && took < HEARTBEAT_INTERVAL, "it took {took:?}");
        shares.push(probe.state().commit.0 - before.0);
        before = probe.state().commit;
    }
    shares.retain(|share| *share > 0);
    shares
}

#[test]
fn a_follower_reveals_a_share_in_each_turn() {
    let mut probe = Probe::born(3);
    let mut previous = Entry::genesis(probe.state().configuration());
    for _ in 0..ENTRIES {
        let entry = noop_after(&previous, TERM);
        probe.hear(SECOND, replicate(TERM, &previous, &entry, LogIndex(1)));
        previous = entry;
    }
    probe.sync();
    let last = previous.index;
    assert_eq!((probe.state().log.durable(), probe.state().commit), (last, LogIndex(1)));

    // However many frames tell of it.
    for _ in 0..3 {
        probe.hear(SECOND, heartbeat_that_commits(TERM, last));
    }
    assert_eq!(probe.state().commit.0, 1 + SHARE);
    probe.turn();
    assert_eq!(shares(&mut probe, last), [SHARE, SHARE, SHARE, SHARE, SHARE, SHARE, 104]);
}

#[test]
fn a_leader_answers_a_share_of_the_clients_in_each_turn() {
    let mut probe = Probe::serving(3);
    probe.ask_to_put(ENTRIES);
    probe.sync();
    let last = probe.state().log.last_index();
    probe.acknowledge(SECOND, last);
    let mut answered = vec![replies(&probe.turn()).len()];
    while probe.state().commit < last {
        answered.push(replies(&probe.wait_and_sync()).len());
    }
    assert_eq!(answered, [128, 128, 128, 128, 128, 128, 128, 104]);
}

/// Its former life may have helped to commit all of it. What ends a doubt about its directory is
/// what the leader says to be committed, so that must not be a share.
#[test]
fn to_another_life_of_a_follower_nothing_is_said_before_all_is_revealed() {
    let mut probe = Probe::serving(3);
    probe.ask_to_put(ENTRIES);
    probe.sync();
    let last = probe.state().log.last_index();
    probe.acknowledge(SECOND, last);
    let answered = replies(&probe.turn()).len();
    assert_eq!((answered, probe.state().commit.0), (128, 2 + SHARE));

    let held = Resume { term: Term(1), voted: true, end: None };
    let life = (SECOND, directory_of(SECOND), (Incarnation(2), LifeId(22)));
    probe.hear_from(life, Message::Resume(held));
    assert_eq!(probe.state().commit, last);
    assert_eq!(replies(&probe.turn()).len(), 1_000 - 128, "nobody is forgotten");
}
