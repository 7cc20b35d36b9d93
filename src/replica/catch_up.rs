//! A candidate that is refused for its log alone fetches what it lacks, and asks again.
//!
//! Where links are cut so that one node alone reaches a majority, nobody but that node can
//! lead. If it lacks an entry, the others refuse it, and hear no better candidate: plain
//! Raft stops for as long as the links stay cut (the constrained case of the paper "Omni-Paxos").
//!
//! docs/guarantees.md: "A candidate whose log is behind may take over that of a voter", where
//! the two differ too. Nothing that was committed is lost by it. Let the voter's log end in
//! term `v`, later than the candidate's, which ends in term `c`, or in the same term and
//! further on.
//! - The voter's log is the beginning of that of the leader of term `v`, with an entry of that
//!   term. All that was committed in a term before `v` is in it (leader completeness), and
//!   the candidate is part of no majority that has committed anything in a later term, for it
//!   has no entry of one.
//! - If `c` is `v`, the shorter log is the beginning of the longer one (log matching), and
//!   nothing is removed.
//! - Before it removes anything, the candidate leaves its term, unless it has taken that up
//!   itself and acknowledged nothing there. What it has acknowledged in a term that it has left
//!   it never acknowledges again, so no leader of that term counts it for more than it had;
//!   and nobody takes its directory for one that has forgotten something.
//!
//! All of this holds for any log that a voter ever had: a reply may be of any age.

use std::collections::{BTreeMap, BTreeSet};

use super::effects::{Destination, Effects};
use super::repair::pack;
use super::replication::{compact, has_room};
use super::snapshots::name_of;
use super::state::ReplicaState;
use crate::disk::LogEnd;
use crate::entry::Entry;
use crate::types::{LogIndex, ServerId, Term};
use crate::wire::{
    CATCH_UP_BYTES_FIXED, CatchUpReply, CatchUpRequest, DropCause, FRAME_BYTES_MAX, Message,
    SnapshotName,
};

/// The most frames of one answer.
const FRAMES_MAX: usize = 32;

/// Fetches what the log of a candidate lacks.
#[derive(Debug, Default, Hash)]
pub struct CatchUp {
    /// Up to where this log was found equal to that of each voter.
    equal: BTreeMap<ServerId, LogIndex>,
    /// The furthest end of a log that was heard of in this candidacy. Nothing is taken from a
    /// log that ends before it.
    furthest: LogEnd,
    /// The term that this candidacy took up, so that it may remove entries; none: it took up
    /// none, or has acknowledged something in it.
    taken_up: Option<Term>,
}

/// What a reply has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More is missing, or the reply is of no use.
    Behind,
    /// The log lacks nothing of the voter's any more.
    CaughtUp,
    /// The voter's log does not reach back far enough, but it has this snapshot.
    NeedsSnapshot(SnapshotName),
}

impl CatchUp {
    /// Another candidacy begins.
    pub fn begin(&mut self) {
        self.furthest = LogEnd::default();
        self.taken_up = None;
    }

    /// The candidate answers a leader of its term, whose frames are too old for it to follow:
    /// before it removes anything more it leaves this term too.
    pub fn on_acknowledging(&mut self) {
        self.taken_up = None;
    }

    /// Asks the voter for what this log lacks of its.
    pub fn ask(&self, voter: ServerId, state: &ReplicaState, fx: &mut Effects) {
        let request = CatchUpRequest { first: self.equal_to(voter, state).next() };
        fx.send(Destination::Peer(voter), Message::CatchUpRequest(request));
    }

    /// A candidate asks for entries.
    pub fn on_request(
        from: ServerId,
        request: CatchUpRequest,
        state: &ReplicaState,
        fx: &mut Effects,
    ) {
        let reply = CatchUpReply {
            term: state.term,
            log_end: state.log.end(),
            snapshot: None,
            first: request.first,
            entries: Vec::new(),
        };
        let to = Destination::Peer(from);
        if request.first <= state.log.base().index {
            let snapshot = state.snapshots.durable().map(name_of);
            return fx.send(to, Message::CatchUpReply(CatchUpReply { snapshot, ..reply }));
        }
        let mut first = request.first;
        for _ in 0..FRAMES_MAX {
            let room = FRAME_BYTES_MAX - CATCH_UP_BYTES_FIXED;
            let entries = pack(first, state.log.last_index(), room, state);
            let last = entries.last().map(|entry| entry.index);
            if last.is_some() || first == request.first {
                let some = CatchUpReply { first, entries, ..reply.clone() };
                fx.send(to, Message::CatchUpReply(some));
            }
            let Some(last) = last else { return };
            first = last.next();
        }
    }

    /// Takes in entries of a voter's log, which are of no later term than this node's.
    pub fn on_reply(
        &mut self,
        from: ServerId,
        reply: &CatchUpReply,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) -> Progress {
        if reply.log_end < self.furthest || reply.log_end <= state.log.end() {
            return Progress::Behind;
        }
        self.furthest = reply.log_end;
        if let Some(snapshot) = reply.snapshot {
            return Progress::NeedsSnapshot(snapshot);
        }
        if reply.entries.is_empty() {
            // Its log has changed since that was found equal.
            self.equal.remove(&from);
        }
        for entry in &reply.entries {
            if !self.take_in(from, entry, state, fx) {
                return Progress::Behind;
            }
        }
        if state.log.end() < reply.log_end { Progress::Behind } else { Progress::CaughtUp }
    }

    /// Takes in one entry, if it goes on from this log: its chain then proves that all before
    /// it is equal. What contradicts a committed entry is refused.
    fn take_in(
        &mut self,
        from: ServerId,
        entry: &Entry,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) -> bool {
        if state.log.chain_at(entry.index) != Some(entry.chain) {
            let previous = entry.index.previous();
            let Some(chain) = state.log.chain_at(previous) else { return false };
            if previous < state.known_commit || entry.chain_after(chain) != entry.chain {
                self.equal.remove(&from);
                state.count_drop(DropCause::Chain);
                return false;
            }
            if !has_room(state) {
                return false;
            }
            self.give_way(previous, state, fx);
            state.append(compact(entry), fx);
        }
        self.equal.insert(from, entry.index);
        true
    }

    /// Removes what stands where the voter's entries belong, in a term in which this node
    /// has acknowledged nothing.
    fn give_way(&mut self, equal: LogIndex, state: &mut ReplicaState, fx: &mut Effects) {
        if equal == state.log.last_index() {
            return;
        }
        if self.taken_up != Some(state.term) {
            state.take_up_term(state.term.next(), fx);
            self.taken_up = Some(state.term);
            // Pre-votes were granted for the term that this one is now.
            state.votes_received = BTreeSet::from([state.server_id]);
        }
        state.truncate_after(equal);
    }

    fn equal_to(&self, voter: ServerId, state: &ReplicaState) -> LogIndex {
        let found = self.equal.get(&voter).filter(|index| **index <= state.log.last_index());
        found.map_or(state.known_commit, |index| state.known_commit.max(*index))
    }
}
