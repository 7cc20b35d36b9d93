//! Repair of a damaged directory, from whoever can read what it cannot.
//!
//! With a leader that has the rest, plain replication repairs. Where no node can be
//! elected, because those that could be are themselves in doubt, each asks all others for
//! what it lacks, and takes what its own log proves to be the same: an entry fits when it
//! continues the chain of the log before the gap, and the gap closes when the entry behind
//! it continues the chain of what was put in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::effects::{Destination, Effects, Timer};
use super::snapshots::SnapshotManager;
use super::state::ReplicaState;
use crate::disk::LogEnd;
use crate::entry::{Entry, EntryKind};
use crate::time::Instant;
use crate::types::{DirectoryId, LogIndex, ServerId, Term};
use crate::wire::{
    FRAME_BYTES_MAX, Message, REPAIR_BYTES_FIXED, RepairReply, RepairRequest, Role, entry_bytes,
};

/// How often a node in doubt asks.
const INTERVAL: Duration = Duration::from_millis(50);
/// The most frames of one answer.
const FRAMES_MAX: usize = 32;
/// The most entries of one stretch.
const HELD_MAX: usize = 262_144;

/// Asks for what this directory lacks, and answers others.
#[derive(Debug, Default)]
pub struct RepairManager {
    /// Entries for the gap that have come, from the log's end on: a stretch for each node
    /// that began one, since logs of others may differ from what was lost here.
    held: BTreeMap<ServerId, Stretch>,
    /// Where the logs of others that have no doubt of their own end, as each said since
    /// this node was started, in a term above all that is in doubt here.
    ends: BTreeMap<(ServerId, DirectoryId), LogEnd>,
}

/// Consecutive entries, each of which goes on from the one before it, the first from the end
/// of the log.
type Stretch = BTreeMap<LogIndex, Entry>;

impl RepairManager {
    /// Asks all others, and will ask again while there is any doubt.
    pub fn on_timeout(&mut self, state: &mut ReplicaState, fx: &mut Effects) {
        state.rejoin(fx);
        if !state.in_doubt.is_there() {
            *self = Self::default();
            return;
        }
        if state.in_doubt.has_next(&state.log) {
            return;
        }
        self.drop_overtaken(state);
        let last = state.in_doubt.missing_to().unwrap_or(LogIndex(0));
        let bound = state.in_doubt.bound();
        for &peer in state.peers.keys() {
            for first in self.first_missing(peer, state) {
                let request = RepairRequest { first, last, bound };
                fx.send(Destination::Peer(peer), Message::RepairRequest(request));
            }
        }
        fx.arm(Timer::Repair, INTERVAL);
    }

    /// Where this node is asked from: behind what it has sent, and behind the longest stretch
    /// of others, which it may go on from.
    fn first_missing(&self, peer: ServerId, state: &ReplicaState) -> BTreeSet<LogIndex> {
        let behind = |stretch: &Stretch| stretch.last_key_value().map(|(index, _)| index.next());
        let own = self.held.get(&peer).and_then(behind);
        let longest = self.held.values().filter_map(behind).max();
        [own.or(Some(state.log.last_index().next())), longest].into_iter().flatten().collect()
    }

    /// Another node lacks entries: it gets those that can be read here, or the offer of a
    /// snapshot that covers them, and is told where this log ends.
    ///
    /// The end is said only in a term above all that the other is in doubt about, and when
    /// that term is durable: so this node accepts nothing from the leaders of those terms
    /// any more, and what it does not have then, it will not be counted for.
    pub fn on_request(
        from: ServerId,
        request: RepairRequest,
        state: &ReplicaState,
        fx: &mut Effects,
    ) {
        if request.first <= state.log.base().index {
            return SnapshotManager::send_offer(from, state, fx);
        }
        let mut next = request.first;
        for _ in 0..FRAMES_MAX {
            let room = FRAME_BYTES_MAX - REPAIR_BYTES_FIXED;
            let entries = pack(next, request.last, room, state);
            let Some(last) = entries.last().map(|entry| entry.index) else { break };
            let reply = RepairReply { term: state.term, end: None, first: next, entries };
            fx.send(Destination::Peer(from), Message::RepairReply(reply));
            next = last.next();
        }
        if next == request.first {
            Self::tell_end(from, request, state, fx);
        }
    }

    fn tell_end(from: ServerId, request: RepairRequest, state: &ReplicaState, fx: &mut Effects) {
        let is_above = request.bound.is_some_and(|(term, _)| state.term > term);
        if !is_above || !state.in_doubt.has_bound() || !state.resumption.may_promise() {
            return;
        }
        let end = Some(state.log.end().max(state.in_doubt.bound().unwrap_or_default()));
        let (first, entries) = (request.first, Vec::new());
        let reply = RepairReply { term: state.term, end, first, entries };
        fx.promise(Destination::Peer(from), Message::RepairReply(reply));
    }

    /// The term that this node must take up before it may say where its log ends, if it may
    /// take one up: with a leader there is no need.
    pub fn term_to_take_up(
        request: RepairRequest,
        state: &ReplicaState,
        now: Instant,
    ) -> Option<Term> {
        let (term, _) = request.bound?;
        let has_leader = state.role == Role::Leader || state.has_leader_contact(now);
        (state.term <= term && !has_leader).then(|| term.next())
    }

    /// Takes in what another node can read, or that it has nothing.
    pub fn on_reply(
        &mut self,
        (from, directory): (ServerId, DirectoryId),
        reply: RepairReply,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) {
        if !state.in_doubt.is_there() {
            return;
        }
        self.drop_overtaken(state);
        for entry in reply.entries {
            self.hold(from, entry, state);
        }
        if let (Some(end), Some((term, _))) = (reply.end, state.in_doubt.bound())
            && reply.term > term
        {
            self.ends.insert((from, directory), end);
        }
        self.lower_bound(state, fx);
        self.close_gap(state, fx);
    }

    /// The log may have come further by a leader or a snapshot: what is held must go on
    /// from it.
    fn drop_overtaken(&mut self, state: &ReplicaState) {
        self.held.retain(|_, stretch| {
            stretch.first_key_value().is_some_and(|(_, first)| {
                goes_on(first, state.log.last_index(), state.log.last_chain())
            })
        });
    }

    /// Holds the entry where it goes on from what is held.
    fn hold(&mut self, from: ServerId, entry: Entry, state: &ReplicaState) {
        let (own, others): (Vec<_>, Vec<_>) =
            self.held.iter_mut().partition(|(began, _)| **began == from);
        for (_, stretch) in own.into_iter().chain(others) {
            let Some((&last, newest)) = stretch.last_key_value() else { continue };
            if goes_on(&entry, last, newest.chain) && stretch.len() < HELD_MAX {
                stretch.insert(entry.index, entry);
                return;
            }
        }
        let begins = goes_on(&entry, state.log.last_index(), state.log.last_chain());
        if begins && !self.held.contains_key(&from) {
            self.held.insert(from, Stretch::from([(entry.index, entry)]));
        }
    }

    /// Puts what was held into the log once it is proven to be what was lost: the entry
    /// behind it goes on from it, or it ends in the very entry that the doubt ends with.
    fn close_gap(&mut self, state: &mut ReplicaState, fx: &mut Effects) {
        self.drop_overtaken(state);
        self.held.retain(|_, stretch| !is_of_another_log(stretch, state));
        let closing = self.held.iter().find(|(_, stretch)| closes(stretch, state));
        let Some((&began, _)) = closing else { return };
        state.in_doubt.fill(self.held.remove(&began).unwrap_or_default());
        self.held.clear();
        state.rejoin(fx);
    }

    /// What so many members do not have that the others are no majority was never
    /// acknowledged, and is in doubt no more. docs/guarantees.md: "A directory that has
    /// forgotten what it promised counts as lost", and so does its end, also one that it said
    /// before that was known.
    ///
    /// The members are known only as far as the log is. So the log, with what is held for
    /// the gap, must reach the new bound; no change of the members may be open there; and so
    /// many must lack what lies above that no majority of a configuration which differs by
    /// one voter can have committed it either: then none was changed further. A majority of
    /// the members is as many: it shares one with each majority of one voter more or less.
    fn lower_bound(&self, state: &mut ReplicaState, fx: &mut Effects) {
        let members = state.configuration();
        let needed = members.majority();
        let counted = self.ends.iter().filter(|((node, directory), _)| {
            *node != state.server_id
                && members.is_voter(*node, *directory)
                && !state.sightings.is_lost(*node, *directory)
        });
        let mut ends: Vec<LogEnd> = counted.map(|(_, end)| *end).collect();
        ends.sort_unstable();
        if let Some(&bound) = ends.get(needed - 1)
            && self.is_reached(bound, state)
        {
            state.lower_doubt(bound, fx);
        }
    }

    /// Whether the log, or a stretch that goes on from it, holds all up to the bound, without
    /// a change of the members that is not committed.
    fn is_reached(&self, bound: LogEnd, state: &ReplicaState) -> bool {
        let is_change = |entry: &&Entry| entry.kind == EntryKind::Configuration;
        let reaches = |stretch: &Stretch| {
            let newest = stretch.last_key_value().map(|(index, entry)| (entry.term, *index));
            newest.is_some_and(|end| end >= bound)
                && !stretch.values().any(|entry| is_change(&entry))
        };
        state.configuration_index() <= state.commit
            && (state.log.end() >= bound || self.held.values().any(reaches))
    }
}

fn goes_on(entry: &Entry, last: LogIndex, chain: u32) -> bool {
    entry.index == last.next() && entry.chain_after(chain) == entry.chain
}

fn closes(stretch: &Stretch, state: &ReplicaState) -> bool {
    let Some((&last, newest)) = stretch.last_key_value() else { return false };
    match state.in_doubt.aside(last.next()) {
        Some(behind) => goes_on(behind, last, newest.chain),
        None => state.in_doubt.bound() == Some((newest.term, newest.index)),
    }
}

/// Whether the stretch has come to what could be read behind the gap, which does not go on
/// from it.
fn is_of_another_log(stretch: &Stretch, state: &ReplicaState) -> bool {
    let Some((&last, newest)) = stretch.last_key_value() else { return true };
    let behind = state.in_doubt.aside(last.next());
    behind.is_some_and(|behind| !goes_on(behind, last, newest.chain))
}

/// As many of these entries as fit into the bytes, as far as they can be read here.
pub(super) fn pack(
    first: LogIndex,
    last: LogIndex,
    mut room: usize,
    state: &ReplicaState,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    for index in (first.0..=last.0).map(LogIndex) {
        let entry = state.log.entry(index).or_else(|| state.in_doubt.aside(index));
        let Some(entry) = entry else { break };
        let Some(left) = room.checked_sub(entry_bytes(entry)) else { break };
        room = left;
        entries.push(entry.clone());
    }
    entries
}

/// Ends the doubt if the leader of this term has said, since this node was started, that an
/// entry of its own term is committed, and this node has all up to there. (Only then no vote
/// of this directory can have helped that leader while it did not know what it had lost: an
/// unbounded doubt grants none, and a bounded one only to a log that lacks nothing.)
pub fn end_by_leader(committed: LogIndex, state: &mut ReplicaState, fx: &mut Effects) {
    let of_this_term = state.log.term_at(committed) == Some(state.term);
    if !state.in_doubt.is_there() || !of_this_term || state.commit < committed {
        return;
    }
    if state.in_doubt.has_bound() && state.in_doubt.found_in(state.term) {
        // It led already when the directory was whole, so it has all up to the bound.
        return;
    }
    state.leave_term_of_doubt(fx);
    state.end_doubt(fx);
}
