//! What the leader of a term says.

use bytes::Bytes;
use quorate::entry::{Entry, EntryKind};
use quorate::types::{LogIndex, LogTime, ReadRound, Term};
use quorate::wire::{Heartbeat, Message, ReplicateOperation};

pub fn heartbeat(term: Term) -> Message {
    heartbeat_that_commits(term, LogIndex(1))
}

pub fn heartbeat_that_commits(term: Term, commit: LogIndex) -> Message {
    Message::Heartbeat(Heartbeat {
        term,
        round: ReadRound(1),
        commit,
        confirmed_age: None,
        durability_age: 0,
        configuration_index: LogIndex(1),
        durable: LogIndex(0),
        interval: 40_000,
    })
}

/// An entry that says nothing but its term, after `previous`.
pub fn noop_after(previous: &Entry, term: Term) -> Entry {
    let (index, time) = (previous.index.next(), LogTime(1));
    Entry::chained(previous.chain, index, term, time, EntryKind::Noop, Bytes::new())
}

/// The entry, as the leader of the term sends it.
pub fn replicate(term: Term, previous: &Entry, entry: &Entry, commit: LogIndex) -> Message {
    Message::ReplicateOperation(ReplicateOperation {
        term,
        commit,
        previous_index: previous.index,
        previous_term: previous.term,
        entries: vec![entry.clone()],
    })
}
