//! Leadership is handed over: by a node that is about to stop, that is removed, whose disk has
//! stalled, or whose disk is full.

use super::effects::Destination;
use super::{ReplicaNode, disk_stall, space};
use crate::time::Instant;
use crate::wire::{Message, Role};

impl ReplicaNode {
    /// If this node leads, it hands leadership over and takes no further writes.
    pub fn hand_over(&mut self, now: Instant) {
        self.effects.now = now;
        self.state.handing_over = self.state.role == Role::Leader;
        self.hand_over_if_asked();
    }

    /// Asks for a successor again and again, until there is one.
    pub(super) fn hand_over_if_asked(&mut self) {
        if self.state.handing_over && self.state.role == Role::Leader {
            self.ask_successor();
        }
    }

    /// Asks the follower that has everything to stand for election.
    pub(super) fn ask_successor(&mut self) {
        let Self { state, effects: fx, .. } = self;
        let successor = state
            .peers
            .iter()
            .filter(|(id, peer)| {
                state.is_voting_peer(**id)
                    && peer.progress.matched == state.log.last_index()
                    && peer.is_heard(fx.now)
            })
            .max_by_key(|(_, peer)| (peer.progress.durable, peer.progress.contact));
        if let Some((&id, _)) = successor {
            fx.send(Destination::Peer(id), Message::TimeoutNow(state.term));
        }
    }

    /// Asks, of the followers with clearly better disks, the one that has most of the log to
    /// stand for election, if this leader's own disk has stalled.
    pub(super) fn hand_over_if_stalled(&mut self) {
        let Self { state, effects: fx, .. } = self;
        let age = state.durability_age(fx.now);
        if !state.disk_watch.must_hand_over(age, fx.now) {
            return;
        }
        let better = state.peers.iter().filter(|(id, peer)| {
            state.is_voting_peer(**id)
                && peer.is_heard(fx.now)
                && disk_stall::is_clearly_better(peer.progress.durability_age, age)
        });
        let furthest = better.max_by_key(|(_, peer)| peer.progress.matched);
        let Some((&successor, _)) = furthest else { return };
        ::log::warn!("node {}: its disk has stalled, hands over to {successor}", state.server_id);
        state.disk_watch.moves(fx.now);
        fx.send(Destination::Peer(successor), Message::TimeoutNow(state.term));
    }

    /// Asks a follower that has everything, and room, to stand for election, if this leader
    /// has none.
    pub(super) fn hand_over_if_full(&mut self) {
        let Self { state, effects: fx, .. } = self;
        if !state.space.is_low() || !state.disk_watch.may_move(fx.now) {
            return;
        }
        let mut roomy = state.peers.iter().filter(|(id, peer)| {
            space::has_room(**id, state)
                && peer.progress.matched == state.log.last_index()
                && peer.is_heard(fx.now)
        });
        let Some((&successor, _)) = roomy.next() else { return };
        ::log::warn!("node {}: its disk is low, hands over to {successor}", state.server_id);
        state.disk_watch.moves(fx.now);
        fx.send(Destination::Peer(successor), Message::TimeoutNow(state.term));
    }
}
