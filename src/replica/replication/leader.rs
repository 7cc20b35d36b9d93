//! The leader's half of replication.

use bytes::Bytes;

use super::ReplicationManager;
use crate::configuration::Configuration;
use crate::entry::{Entry, EntryKind};
use crate::link::Copies;
use crate::operation::{LoggedRequest, Settled};
use crate::replica::effects::{Destination, Effects, Timer};
use crate::replica::log::Log;
use crate::replica::peer::Peer;
use crate::replica::state::ReplicaState;
use crate::time::{Instant, micros};
use crate::types::{ENTRY_BYTES_MAX, LogIndex, LogTime, ServerId};
use crate::wire::{
    Acknowledge, FRAME_BYTES_MAX, Message, REPLICATE_BYTES_FIXED, ReplicateOperation, Role,
    entry_bytes,
};

/// The most entries that may be appended before they are committed, and the most that
/// may wait for this node's own disk: it bounds memory and what a rollback undoes.
const UNCOMMITTED_ENTRIES_MAX: u64 = 16_384;

/// The cluster's time: it goes on from the last entry's by the leader's own clock.
#[derive(Debug, Default)]
pub(super) struct LogClock {
    time: LogTime,
    at: Instant,
}

impl LogClock {
    fn now(&self, now: Instant) -> LogTime {
        LogTime(self.time.0.saturating_add(micros(now.since(self.at))))
    }
}

impl ReplicationManager {
    /// Begins to lead: appends the entry that starts the term. Only when it is
    /// committed is everything before it known to be committed as well.
    pub fn lead(&mut self, state: &mut ReplicaState, fx: &mut Effects) {
        let last = state.log.last_index();
        self.clock = LogClock { time: state.store.tentative().time(), at: fx.now };
        for peer in state.peers.values_mut() {
            peer.progress.start_over(last.next(), fx.now);
            peer.timing.restart();
        }
        self.append(EntryKind::Noop, Bytes::new(), state, fx);
    }

    /// Whether the log has room for one more request of `length` bytes.
    pub fn has_room(length: usize, state: &ReplicaState) -> bool {
        let open = state.commit.min(state.log.durable());
        let entries = (length / ENTRY_BYTES_MAX + 1) as u64;
        state.log.last_index().0 - open.0 + entries <= UNCOMMITTED_ENTRIES_MAX
    }

    /// Appends the request, whole and contiguously, and executes it. Its answer must be
    /// held back until its last entry, whose index the answer names, is committed.
    pub fn propose(
        &mut self,
        request: &LoggedRequest,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) -> Settled {
        let mut rest = Bytes::from(request.encode());
        while rest.len() > ENTRY_BYTES_MAX {
            let part = rest.split_to(ENTRY_BYTES_MAX);
            self.append(EntryKind::Part, part, state, fx);
        }
        self.append(EntryKind::Request, rest, state, fx)
            .expect("what was just encoded decodes, and a request has an answer")
    }

    /// Appends the configuration. It is in force at once, and so counts who must have it.
    pub fn propose_configuration(
        &mut self,
        changed: &Configuration,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) {
        log::info!("node {}: changes the members: {changed}", state.server_id);
        self.append(EntryKind::Configuration, changed.encode(), state, fx);
    }

    fn append(
        &mut self,
        kind: EntryKind,
        payload: Bytes,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) -> Option<Settled> {
        let entry = Entry::chained(
            state.log.last_chain(),
            state.log.last_index().next(),
            state.term,
            self.clock.now(fx.now),
            kind,
            payload,
        );
        state.append(entry, fx)
    }

    /// Sends every follower what it lacks, as far as its window goes.
    pub fn send_to_all(&mut self, state: &mut ReplicaState, fx: &mut Effects) {
        let peers: Vec<ServerId> = state.peers.keys().copied().collect();
        for peer in peers {
            Self::send_window(peer, state, fx);
        }
    }

    fn send_window(to: ServerId, state: &mut ReplicaState, fx: &mut Effects) {
        let copies = state.copies_to(to);
        while let Some((first, last)) = Self::next_to_send(to, state, fx) {
            let Some(peer) = state.peers.get(&to) else { break };
            let (packed_last, room) = pack(&state.log, first, last);
            let progress = &peer.progress;
            let filled = progress.in_flight.fill_spare_room(first, room, progress.matched, copies);
            let begin = if state.log.entry(filled).is_some() { filled } else { first };
            let Some(bytes) = Self::send_entries(to, (begin, packed_last), state, fx) else {
                break;
            };
            let Some(peer) = state.peers.get_mut(&to) else { break };
            if begin < first {
                peer.progress.in_flight.on_repeated((begin, first.previous()), fx.now);
            }
            peer.progress.on_sent((first, packed_last), bytes, fx.now);
            peer.delivery.spend(bytes + REPLICATE_BYTES_FIXED as u64);
        }
        let more = |peer: &Peer| peer.progress.next_to_send(state.log.last_index()).is_some();
        // What the way cannot take would only be delayed by copies of something else.
        let copies = if state.peers.get(&to).is_some_and(more) { Copies::NONE } else { copies };
        Self::repeat(to, copies, state, fx);
        Self::watch_for_silence(to, state, fx);
    }

    /// The next entries to send to the node, if there are some that the way can take now.
    fn next_to_send(
        to: ServerId,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) -> Option<(LogIndex, LogIndex)> {
        let peer = state.peers.get_mut(&to)?;
        let next = peer.progress.next_to_send(state.log.last_index())?;
        let in_flight = &peer.progress.in_flight;
        let is_full = if peer.progress.is_silent() {
            !in_flight.is_empty()
        } else {
            !peer.delivery.has_room(in_flight.frames(), in_flight.bytes())
        };
        if is_full {
            return None;
        }
        if !peer.delivery.may_send(fx.now) {
            let at = peer.delivery.may_send_at();
            fx.arm(Timer::Pace(to), at.since(fx.now));
            return None;
        }
        Some(next)
    }

    /// Sends once more what is on the way, as often as the loss on it calls for.
    fn repeat(to: ServerId, copies: Copies, state: &mut ReplicaState, fx: &mut Effects) {
        let now = fx.now;
        let due = |state: &ReplicaState| {
            state.peers.get(&to).and_then(|peer| peer.progress.next_to_repeat(copies, now))
        };
        while let Some(range) = due(state) {
            if Self::send_entries(to, range, state, fx).is_none() {
                break;
            }
            if let Some(peer) = state.peers.get_mut(&to) {
                peer.progress.in_flight.on_repeated(range, now);
                peer.link.count_copies(1);
            }
        }
        let next = state.peers.get(&to).and_then(|peer| peer.progress.repeat_at(copies));
        match next {
            Some(at) => fx.arm(Timer::Repeat(to), at.since(now)),
            None => fx.cancel(Timer::Repeat(to)),
        }
    }

    /// Sends these entries in one frame. Returns their bytes; none: they are not in the log.
    fn send_entries(
        to: ServerId,
        (first, last): (LogIndex, LogIndex),
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) -> Option<u64> {
        let ReplicaState { log, peers, .. } = state;
        let indexes = (first.0..=last.0).map(LogIndex);
        let entries: Vec<Entry> = indexes.map_while(|index| log.entry(index).cloned()).collect();
        if entries.last()?.index != last {
            return None;
        }
        let bytes = entries.iter().map(|entry| entry_bytes(entry) as u64).sum();
        let replicate = ReplicateOperation {
            term: state.term,
            commit: state.commit,
            previous_index: first.previous(),
            previous_term: log.term_at(first.previous()).unwrap_or_default(),
            entries,
        };
        fx.send(Destination::Peer(to), Message::ReplicateOperation(replicate));
        peers.get_mut(&to)?.timing.speak(fx.now);
        Some(bytes)
    }

    fn watch_for_silence(to: ServerId, state: &ReplicaState, fx: &mut Effects) {
        let Some(peer) = state.peers.get(&to) else { return };
        match peer.progress.deadline(peer.link.round_trip()) {
            Some(deadline) => fx.arm(Timer::Resend(to), deadline.since(fx.now)),
            None => fx.cancel(Timer::Resend(to)),
        }
    }

    /// Takes in how far a follower has come. `echoed` is when the newest of this
    /// leader's frames that it has heard was sent.
    pub fn on_acknowledge(
        &mut self,
        from: ServerId,
        acknowledge: &Acknowledge,
        echoed: Option<Instant>,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) {
        let ReplicaState { peers, log, term, commit, .. } = state;
        let Some(peer) = peers.get_mut(&from) else { return };
        peer.timing.hear(fx.now);
        // Two logs that hold an entry of the same index and term are the same up to it.
        let agrees = log.term_at(acknowledge.hint_index) == Some(acknowledge.hint_term);
        let verified =
            if agrees { acknowledge.hint_index } else { acknowledge.matched.min(log.last_index()) };
        let round_trip = peer.link.round_trip();
        peer.progress.on_acknowledge(acknowledge, verified, echoed, round_trip, fx.now);
        let nothing_to_send = peer.progress.next_to_send(log.last_index()).is_none();
        if !nothing_to_send || !peer.progress.is_idle() {
            return;
        }
        if acknowledge.matched < verified {
            // The follower has everything and does not know that it is the leader's.
            let probe = ReplicateOperation {
                term: *term,
                commit: *commit,
                previous_index: verified,
                previous_term: log.term_at(verified).unwrap_or_default(),
                entries: Vec::new(),
            };
            fx.send(Destination::Peer(from), Message::ReplicateOperation(probe));
        } else {
            peer.progress.send_again_what_was_dropped(acknowledge, log.last_index());
        }
    }

    /// Notes from time to time how far everybody has come.
    pub fn note_pace(state: &mut ReplicaState, now: Instant) {
        let ReplicaState { peers, log, .. } = state;
        for peer in peers.values_mut() {
            peer.progress.pace.note(now, log.last_index(), log.written());
        }
    }

    /// Nothing came back from a follower in time.
    pub fn on_silence(&mut self, from: ServerId, state: &mut ReplicaState, fx: &mut Effects) {
        if state.role != Role::Leader {
            return;
        }
        if let Some(peer) = state.peers.get_mut(&from) {
            peer.progress.on_timeout(fx.now, peer.link.round_trip());
            if peer.progress.is_silent() {
                peer.delivery.start_over();
            }
        }
        Self::send_window(from, state, fx);
    }

    /// Commits what is on a majority's disks.
    ///
    /// docs/guarantees.md: "Only an entry of the leader's own term is committed by
    /// counting"; those before it may be on a majority and still be overwritten by a
    /// leader of a term between (Raft, section 5.4.2).
    pub fn advance_commit(state: &mut ReplicaState) {
        let mut durable: Vec<LogIndex> = state
            .configuration()
            .members
            .iter()
            .map(|(&node, _)| durable_of(node, state))
            .collect();
        durable.sort_unstable();
        let on_a_majority = durable[durable.len() - state.configuration().majority()];
        let own_term = state.log.term_at(on_a_majority) == Some(state.term);
        if own_term {
            state.commit_to(on_a_majority);
        } else {
            state.reveal_share();
        }
    }
}

/// How far the log is on the disk of a member: zero while another directory answers
/// for it than the one whose vote counts. docs/guarantees.md: "Acknowledged means durable
/// on a majority's disks".
fn durable_of(node: ServerId, state: &ReplicaState) -> LogIndex {
    if node == state.server_id {
        return if state.is_voter() { state.log.durable() } else { LogIndex(0) };
    }
    match state.peers.get(&node) {
        Some(peer) if state.is_voting_peer(node) => peer.progress.durable,
        _ => LogIndex(0),
    }
}

/// The last of these entries that fits into one frame with those before it, and the room
/// that is left; an index below `first` where there is none.
fn pack(log: &Log, first: LogIndex, last: LogIndex) -> (LogIndex, u64) {
    let mut room = FRAME_BYTES_MAX - REPLICATE_BYTES_FIXED;
    let mut packed = first.previous();
    for index in first.0..=last.0 {
        let Some(entry) = log.entry(LogIndex(index)) else { break };
        let Some(left) = room.checked_sub(entry_bytes(entry)) else { break };
        room = left;
        packed = LogIndex(index);
    }
    (packed, room as u64)
}
