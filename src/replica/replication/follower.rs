//! The follower's half of replication.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::ReplicationManager;
use crate::entry::Entry;
use crate::replica::effects::Effects;
use crate::replica::state::ReplicaState;
use crate::types::{LogIndex, ReadRound, Term};
use crate::wire::{Acknowledge, DropCause, HELD_ENTRIES_MAX, RANGES_MAX, ReplicateOperation};

/// The most of those that are taken in at once: executing them takes time.
const RELEASED_AT_ONCE: usize = 64;
/// The most entries that may wait for this node's own disk.
const UNSYNCED_ENTRIES_MAX: u64 = 65_536;

/// What has come from the leader of one term.
#[derive(Debug, Default, Hash)]
pub(in crate::replica) struct Intake {
    term: Term,
    /// Up to here this node's log is verified to be the leader's; never below what is
    /// known to be committed.
    matched: LogIndex,
    /// Entries that arrived before others that precede them: neither executed nor counted.
    held: BTreeMap<LogIndex, Entry>,
}

impl ReplicationManager {
    /// Takes in entries of the leader of this term, and executes those that are next.
    pub fn on_replicate(
        &mut self,
        replicate: ReplicateOperation,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) {
        self.attend_to_term(state);
        let ReplicateOperation { term, commit, previous_index, previous_term, entries } = replicate;
        if entries.iter().any(|entry| entry.term > term) {
            // No leader has entries of terms after its own.
            state.count_drop(DropCause::Protocol);
            return;
        }
        let intake = &mut self.intake;
        if previous_index > intake.matched
            && state.log.term_at(previous_index) == Some(previous_term)
        {
            intake.matched = previous_index;
        }
        for entry in entries {
            intake.take_in(&entry, state, fx);
        }
        intake.release_held(state, fx);
        state.rejoin(fx);
        self.learn_commit(commit, state);
    }

    /// The journal has caught up, or there was too much for one turn: there may be room now
    /// for what was held, and more may be revealed.
    pub fn go_on(&mut self, state: &mut ReplicaState, fx: &mut Effects) {
        state.reveal_share();
        self.attend_to_term(state);
        self.intake.release_held(state, fx);
    }

    /// The leader has committed up to `commit`. This node's log is known to be the
    /// leader's only as far as it is matched.
    pub fn learn_commit(&mut self, commit: LogIndex, state: &mut ReplicaState) {
        self.attend_to_term(state);
        state.commit_to(commit.min(self.intake.matched));
    }

    /// How far this node has come. It names as durable only what the journal has
    /// handed back as synced, so it may be said at once.
    pub fn acknowledge(&mut self, state: &ReplicaState, fx: &Effects) -> Acknowledge {
        self.attend_to_term(state);
        let hint_index = state.log.last_index();
        Acknowledge {
            term: state.term,
            round: ReadRound(0),
            matched: self.intake.matched,
            durable: self.durable(state),
            hint_index,
            hint_term: state.log.last_term(),
            received: self.intake.ranges(),
            durability_age: state.durability_age(fx.now),
            free_space_class: state.space.class(),
            configuration_index: state.configuration_index(),
        }
    }

    /// Nothing, while this directory may have forgotten what it promised.
    fn durable(&self, state: &ReplicaState) -> LogIndex {
        if state.resumption.may_promise() {
            self.intake.matched.min(state.log.durable())
        } else {
            LogIndex(0)
        }
    }

    /// What was received is void in another term. What is committed is in the log of
    /// every later leader, so it is always matched.
    fn attend_to_term(&mut self, state: &ReplicaState) {
        if self.intake.term != state.term {
            self.intake = Intake { term: state.term, ..Intake::default() };
        }
        self.intake.matched = self.intake.matched.max(state.known_commit);
    }
}

impl Intake {
    /// Appends the entry if it is the next one, holds it if it lies beyond.
    fn take_in(&mut self, entry: &Entry, state: &mut ReplicaState, fx: &mut Effects) {
        if entry.index <= self.matched {
            return;
        }
        let is_next = entry.index == self.matched.next();
        if is_next && has_room(state) {
            self.append(entry, state, fx);
        } else if self.held.len() < HELD_ENTRIES_MAX {
            self.held.insert(entry.index, compact(entry));
        }
    }

    /// The entry follows what is matched, and comes from the leader: where this node's
    /// log says otherwise, it gives way.
    fn append(&mut self, entry: &Entry, state: &mut ReplicaState, fx: &mut Effects) {
        let previous_chain = state.log.chain_at(self.matched).unwrap_or_default();
        if entry.chain_after(previous_chain) != entry.chain {
            state.count_drop(DropCause::Chain);
            return;
        }
        let index = entry.index;
        let same_term = state.log.term_at(index) == Some(entry.term);
        if !same_term || state.log.chain_at(index) != Some(entry.chain) {
            if same_term {
                // One leader does not say two things in one term.
                state.count_drop(DropCause::Protocol);
                return;
            }
            state.truncate_after(index.previous());
            state.append(compact(entry), fx);
        }
        self.matched = index;
    }

    fn release_held(&mut self, state: &mut ReplicaState, fx: &mut Effects) {
        for _ in 0..RELEASED_AT_ONCE {
            if !self.may_release(state) {
                return;
            }
            let Some((_, entry)) = self.held.pop_first() else { return };
            self.take_in(&entry, state, fx);
        }
        if self.may_release(state) {
            fx.go_on_in_next_turn();
        }
    }

    fn may_release(&self, state: &ReplicaState) -> bool {
        let first = self.held.first_key_value();
        first.is_some_and(|(index, _)| *index <= self.matched.next()) && has_room(state)
    }

    /// The ranges of held entries beyond what is matched, lowest first.
    fn ranges(&self) -> Vec<(LogIndex, LogIndex)> {
        let mut ranges: Vec<(LogIndex, LogIndex)> = Vec::new();
        // What was matched meanwhile without them stays here until there is room.
        for (&index, _) in self.held.range(self.matched.next()..) {
            match ranges.last_mut() {
                Some((_, last)) if last.next() == index => *last = index,
                _ => ranges.push((index, index)),
            }
            if ranges.len() > RANGES_MAX {
                ranges.pop();
                break;
            }
        }
        ranges
    }
}

/// Whether the journal keeps up well enough for one more entry.
pub(in crate::replica) fn has_room(state: &ReplicaState) -> bool {
    state.log.last_index().0 - state.log.durable().0 < UNSYNCED_ENTRIES_MAX
}

/// The entry in memory of its own, so that it does not keep its datagram's alive.
pub(in crate::replica) fn compact(entry: &Entry) -> Entry {
    let payload = Bytes::copy_from_slice(&entry.payload);
    Entry { payload, ..entry.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::EntryKind;
    use crate::types::LogTime;

    #[test]
    fn what_is_matched_is_not_told_of_as_received() {
        let mut intake = Intake { matched: LogIndex(6), ..Intake::default() };
        for index in [4, 5, 6, 8, 9, 11] {
            let (term, time) = (Term(1), LogTime(0));
            let kind = EntryKind::Noop;
            let entry = Entry::chained(0, LogIndex(index), term, time, kind, Bytes::new());
            intake.held.insert(LogIndex(index), entry);
        }
        let ranges = [(LogIndex(8), LogIndex(9)), (LogIndex(11), LogIndex(11))];
        assert_eq!(intake.ranges(), ranges);
    }
}
