//! Snapshots between nodes.
//!
//! A leader that has forgotten the entries that a follower lacks offers its snapshot. The
//! follower fetches it block by block, at its own pace, from whoever has that very
//! snapshot: equal states give equal blocks, so what one leader began another goes on
//! with. When it is whole and on the follower's disk, it takes the place of the log before
//! it. Heartbeats and entries have lanes of their own and never wait for pieces.

mod block;
mod inbound;
mod outbound;
mod own;
mod sender;

pub use outbound::name_of;
pub use own::OwnSnapshots;

use std::time::Duration;

use super::effects::{Destination, Effects, Timer};
use super::state::ReplicaState;
use crate::types::{LogIndex, ServerId};
use crate::wire::{Message, SnapshotOffer, SnapshotPiece, SnapshotRequest};
use inbound::{Fetched, Inbound};
use sender::Sender;

/// How long the node that a snapshot is fetched from may be silent before another snapshot
/// is fetched in its place.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// Sends snapshots to nodes that lack them, and fetches what this one lacks.
#[derive(Debug, Default)]
pub struct SnapshotManager {
    sender: Sender,
    inbound: Option<Inbound>,
}

impl SnapshotManager {
    /// As leader: offers the snapshot to followers that lack entries before the log's
    /// beginning, but for those that fetch one already.
    pub fn offer(&self, state: &ReplicaState, fx: &mut Effects) {
        let (first, last) = (state.log.base().index.next(), state.log.last_index());
        for (&peer, known) in &state.peers {
            let next = known.progress.next_to_send(last);
            if next.is_some_and(|(next, _)| next < first) && !self.sender.has_more_for(peer) {
                Self::send_offer(peer, state, fx);
            }
        }
    }

    /// Offers the newest snapshot.
    pub fn send_offer(to: ServerId, state: &ReplicaState, fx: &mut Effects) {
        if let Some(snapshot) = state.snapshots.durable() {
            let offer = SnapshotOffer { term: state.term, snapshot: name_of(snapshot) };
            fx.send(Destination::Peer(to), Message::SnapshotOffer(offer));
        }
    }

    /// Another node asks for pieces. If for none, its echo has said all that it has to.
    pub fn on_request(
        &mut self,
        from: ServerId,
        request: &SnapshotRequest,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) {
        if request.wanted == 0 {
            return;
        }
        if let Some(peer) = state.peers.get_mut(&from) {
            peer.progress.pace.on_request(request);
        }
        if !self.sender.take_request(from, request, state, fx.now) {
            Self::send_offer(from, state, fx);
        }
    }

    /// The leader offers a snapshot.
    pub fn on_offer(
        &mut self,
        from: ServerId,
        offer: SnapshotOffer,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) {
        let name = offer.snapshot;
        if name.index <= state.commit.max(state.snapshots.covered_to()) {
            return;
        }
        match &mut self.inbound {
            Some(inbound) if inbound.name == name => {
                let (_, timeout) = patience(inbound.from, state);
                let is_silent = fx.now.since(inbound.heard_at) >= 8 * timeout;
                let has_led = state.leader_id == Some(from) && inbound.from != from;
                if inbound.from == from || !(is_silent || has_led) {
                    return;
                }
                inbound.go_on_from(from);
            }
            Some(inbound) if fx.now.since(inbound.heard_at) < SILENCE_MAX => return,
            _ => {
                ::log::info!(
                    "node {}: fetches the snapshot at index {} from node {from}",
                    state.server_id,
                    name.index
                );
                self.give_up(state);
                self.inbound = Some(Inbound::new(name, from, fx.now));
            }
        }
        self.ask(state, fx);
    }

    /// Another node sends a piece.
    pub fn on_piece(&mut self, piece: &SnapshotPiece, state: &mut ReplicaState, fx: &mut Effects) {
        if let Some(inbound) = &mut self.inbound {
            inbound.on_piece(piece, fx.now);
            self.ask(state, fx);
        }
    }

    /// Puts together what has come, a block in each turn.
    fn build(&mut self, state: &mut ReplicaState, fx: &mut Effects) {
        let Some(inbound) = &mut self.inbound else { return };
        let name = inbound.name;
        match inbound.build() {
            Fetched::Partly => {}
            Fetched::Malformed => {
                ::log::warn!("node {}: the pieces make no snapshot", state.server_id);
                self.give_up(state);
            }
            Fetched::Whole(snapshot) => {
                self.inbound = None;
                if name_of(&snapshot) == name && name.index > state.commit {
                    state.snapshots.on_fetched(snapshot);
                } else {
                    state.snapshots.retire_state(snapshot.into_state());
                }
            }
        }
        self.ask(state, fx);
    }

    fn give_up(&mut self, state: &mut ReplicaState) {
        if let Some(begun) = self.inbound.take().and_then(Inbound::into_state) {
            state.snapshots.retire_state(begun);
        }
    }

    /// Asks for what may be asked for next. The fetch ends when the log has come as far.
    fn ask(&mut self, state: &mut ReplicaState, fx: &mut Effects) {
        if self.inbound.as_ref().is_some_and(|inbound| inbound.name.index <= state.commit) {
            self.give_up(state);
        }
        let Some(inbound) = &mut self.inbound else { return fx.cancel(Timer::Fetch) };
        let requests = inbound.ask(fx.now);
        Self::send_requests(inbound.from, requests, fx);
        let (reordering, timeout) = patience(inbound.from, state);
        let deadline = if inbound.has_block() {
            // The next turn puts it together.
            fx.now + Duration::from_micros(1)
        } else {
            inbound.lost_at(reordering, timeout).unwrap_or(fx.now + timeout)
        };
        fx.arm(Timer::Fetch, deadline.since(fx.now));
    }

    fn send_requests(from: ServerId, requests: Vec<SnapshotRequest>, fx: &mut Effects) {
        for request in requests {
            fx.send(Destination::Peer(from), Message::SnapshotRequest(request));
        }
    }

    /// Pieces that were asked for have not come in time.
    pub fn on_silence(&mut self, state: &mut ReplicaState, fx: &mut Effects) {
        if let Some(inbound) = &mut self.inbound {
            let (reordering, timeout) = patience(inbound.from, state);
            let requests = inbound.ask_again(fx.now - reordering, fx.now - timeout, fx.now);
            Self::send_requests(inbound.from, requests, fx);
        }
        self.ask(state, fx);
    }

    /// Ends a turn: the next one may send as many pieces, and what nobody asks for any more
    /// is let go.
    pub fn end_turn(&mut self, state: &mut ReplicaState, fx: &mut Effects) {
        if self.inbound.as_ref().is_some_and(Inbound::has_block) {
            self.build(state, fx);
        }
        if let Some(inbound) = &mut self.inbound {
            let echo = inbound.echo();
            Self::send_requests(inbound.from, echo.into_iter().collect(), fx);
        }
        self.sender.end_turn(state, fx);
    }

    /// The index of the oldest snapshot that is being sent: who fetches it needs the entries
    /// behind it.
    pub fn oldest_sent(&self) -> Option<LogIndex> {
        self.sender.oldest()
    }

    /// The index of the snapshot that is being fetched, and how many bytes have come.
    pub fn fetching(&self) -> Option<(LogIndex, u64)> {
        self.inbound.as_ref().map(|inbound| (inbound.name.index, inbound.bytes))
    }
}

/// How much later than another a piece may arrive that was sent before it, and how long a node
/// may be silent before it is asked again.
fn patience(node: ServerId, state: &ReplicaState) -> (Duration, Duration) {
    let Some(peer) = state.peers.get(&node) else {
        return (state.heartbeat_interval, state.heartbeat_interval);
    };
    let round_trip = peer.link.round_trip();
    (round_trip.reordering(), round_trip.timeout())
}
