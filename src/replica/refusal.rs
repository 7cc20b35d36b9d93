//! A frame to the leader was refused: the system there says that no process has its port.
//!
//! That is a hint, and no proof: whoever sees frames pass can make one up. So it counts only if
//! it quotes a frame that this node has sent since it last heard its leader, whose number
//! nobody guesses; and only if the leader was silent for a while. It shortens how long a silence
//! must be to count as one, and nothing else: the next frame of the leader makes it void, and no
//! node stands for election without the consent of a majority that hears nothing either.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::effects::Timer;
use super::heartbeat::HeartbeatManager;
use super::state::ReplicaState;
use super::{Effects, ReplicaNode};
use crate::time::Instant;
use crate::types::ServerId;
use crate::wire::{self, Frame};

/// Of the rounds that may fail in a row, so many must have failed.
const SHARE_OF_LOST: u32 = 3;

impl ReplicaNode {
    /// A frame that was sent to this address was refused there. It is quoted as far as the
    /// network does.
    pub fn on_refused(&mut self, now: Instant, to: SocketAddr, frame: &Bytes) {
        self.effects.now = now;
        let Self { state, effects: fx, .. } = self;
        let Some(leader) = HeartbeatManager::leader_to_answer(state) else { return };
        let already = state.is_refused();
        if state.note_refusal(leader, to, frame, now) && !already {
            log::debug!("node {}: node {leader} has no process any more", state.server_id);
            let turn = state.turn_after(leader, fx);
            state.election_timer = now + turn;
            fx.arm(Timer::Election, turn);
        }
    }
}

impl ReplicaState {
    /// Whether something that was sent to the leader since it was last heard was refused.
    pub fn is_refused(&self) -> bool {
        self.refused_at.is_some_and(|at| self.leader_contact.is_none_or(|heard| at > heard))
    }

    /// Waits for the leader to be silent for so long that it is asked for a sign of life.
    pub fn watch_for_refusal(&self, leader: ServerId, fx: &mut Effects) {
        fx.arm(Timer::Probe, self.suspicious_after(leader));
    }

    fn suspicious_after(&self, leader: ServerId) -> Duration {
        self.peers.get(&leader).map_or(self.election_timeout, |peer| {
            peer.timing.interval() * peer.timing.lost().div_ceil(SHARE_OF_LOST).max(2)
        })
    }

    fn note_refusal(
        &mut self,
        leader: ServerId,
        to: SocketAddr,
        frame: &Bytes,
        now: Instant,
    ) -> bool {
        let Some(peer) = self.peers.get(&leader) else { return false };
        let Ok(Frame { header, .. }) = wire::decode(frame) else { return false };
        let ends = (header.sender, header.destination, to);
        let sent_at = peer.link.sent_at(header.packet);
        let Some(sent_at) = sent_at.filter(|_| ends == (self.server_id, leader, peer.address))
        else {
            return false;
        };
        let silent = peer.heard_at.is_none_or(|heard| {
            sent_at > heard && now.since(heard) >= self.suspicious_after(leader)
        });
        if silent {
            self.refused_at = Some(sent_at);
        }
        silent
    }
}
