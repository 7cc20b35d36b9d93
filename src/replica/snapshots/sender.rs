//! Sends the snapshots that other nodes fetch.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::outbound::{Outbound, name_of};
use crate::link::Delivery;
use crate::replica::effects::{Destination, Effects, Timer};
use crate::replica::state::ReplicaState;
use crate::time::Instant;
use crate::types::{LogIndex, ServerId};
use crate::wire::{Message, SNAPSHOT_PIECE_BYTES_FIXED, SnapshotRequest};

/// The most snapshots that are sent at once: the newest, and the one before it.
const OUTBOUND_MAX: usize = 2;
/// How long a snapshot that nobody asks for any more is kept for sending.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// The most pieces of one turn.
const PIECES_PER_TURN: usize = 256;
/// The most requests of one node that wait. Who asked for more asks again.
const REQUESTS_MAX: usize = 32;

/// What is sent, and to whom.
#[derive(Debug, Default)]
pub(super) struct Sender {
    outbound: Vec<Outbound>,
    /// What others ask for and have not been sent, in the order in which they asked.
    wanted: BTreeMap<ServerId, VecDeque<SnapshotRequest>>,
}

impl Sender {
    /// Another node asks for pieces, which the end of the turn sends. False: there is no such
    /// snapshot, or not any more.
    pub(super) fn take_request(
        &mut self,
        from: ServerId,
        request: &SnapshotRequest,
        state: &mut ReplicaState,
        now: Instant,
    ) -> bool {
        let Some(outbound) = self.find(request, state, now) else { return false };
        outbound.asked_at = now;
        let wanted = self.wanted.entry(from).or_default();
        let group = |of: &SnapshotRequest| (of.snapshot, of.block, of.first);
        match wanted.iter().position(|waiting| group(waiting) == group(request)) {
            Some(place) => wanted[place].wanted = request.wanted,
            None if wanted.len() < REQUESTS_MAX => wanted.push_back(*request),
            None => {}
        }
        true
    }

    fn find(
        &mut self,
        request: &SnapshotRequest,
        state: &mut ReplicaState,
        now: Instant,
    ) -> Option<&mut Outbound> {
        let known = self.outbound.iter().position(|sent| sent.name() == request.snapshot);
        if let Some(place) = known {
            return self.outbound.get_mut(place);
        }
        let snapshot = state.snapshots.durable().filter(|own| name_of(own) == request.snapshot)?;
        let snapshot = snapshot.clone();
        if self.outbound.len() == OUTBOUND_MAX {
            state.snapshots.retire_state(self.outbound.remove(0).into_state());
        }
        self.outbound.push(Outbound::new(snapshot, now));
        self.outbound.last_mut()
    }

    /// Ends a turn: sends what it may, and lets go what nobody asks for any more.
    pub(super) fn end_turn(&mut self, state: &mut ReplicaState, fx: &mut Effects) {
        self.send_pieces(state, fx);
        let now = fx.now;
        self.outbound.iter_mut().for_each(Outbound::end_turn);
        let idle = |outbound: &mut Outbound| now.since(outbound.asked_at) >= IDLE_MAX;
        for outbound in self.outbound.extract_if(.., idle) {
            state.snapshots.retire_state(outbound.into_state());
        }
    }

    /// Sends what others ask for, as the pace of the way to each allows.
    fn send_pieces(&mut self, state: &mut ReplicaState, fx: &mut Effects) {
        let Self { outbound, wanted } = self;
        let mut left = PIECES_PER_TURN;
        for (&to, requests) in wanted.iter_mut() {
            let Some(peer) = state.peers.get_mut(&to) else {
                requests.clear();
                continue;
            };
            peer.delivery.give_up_what_is_silent(fx.now);
            let mut leaving = 0;
            while left > 0
                && let Some(request) = requests.front_mut()
            {
                if let Some(at) = next_piece_at(&mut peer.delivery, leaving, fx.now) {
                    fx.arm(Timer::Pieces(to), at.since(fx.now));
                    break;
                }
                let sent = outbound.iter_mut().find(|sent| sent.name() == request.snapshot);
                let Some(piece) = sent.and_then(|sent| sent.take_piece(request)) else {
                    requests.pop_front();
                    continue;
                };
                left -= 1;
                let bytes = (SNAPSHOT_PIECE_BYTES_FIXED + piece.bytes.len()) as u64;
                leaving += bytes;
                peer.delivery.spend(bytes);
                fx.send(Destination::Peer(to), Message::SnapshotPiece(piece));
            }
        }
        wanted.retain(|_, requests| !requests.is_empty());
        if left == 0 {
            fx.go_on_in_next_turn();
        }
    }

    /// Whether this node asks for pieces that it has not been sent yet.
    pub(super) fn has_more_for(&self, node: ServerId) -> bool {
        self.wanted.contains_key(&node)
    }

    /// The index of the oldest snapshot that is being sent.
    pub(super) fn oldest(&self) -> Option<LogIndex> {
        self.outbound.iter().map(|outbound| outbound.name().index).min()
    }
}

/// When the next piece may be sent, if not now. So many bytes leave when the turn ends.
fn next_piece_at(delivery: &mut Delivery, leaving: u64, now: Instant) -> Option<Instant> {
    let waits_until = delivery.waits_until(leaving);
    waits_until.or_else(|| (!delivery.may_send(now)).then(|| delivery.may_send_at()))
}
