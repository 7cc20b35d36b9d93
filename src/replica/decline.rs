//! How a node declines what a client asks of it, and whom it names instead.

use std::net::SocketAddr;

use super::effects::{ClientPath, Destination, Effects};
use super::state::ReplicaState;
use crate::types::ServerId;
use crate::wire::{About, DeclineReason, Declined, Message};

/// Declines what the client has asked, and names the leader if it is known.
pub fn decline(
    about: About,
    client: ClientPath,
    reason: DeclineReason,
    state: &ReplicaState,
    fx: &mut Effects,
) {
    if let DeclineReason::Denied(denial) = reason {
        fx.denials.count(client.key, denial);
    }
    let declined = Declined { about, reason, leader: leader_address(state) };
    fx.send(Destination::Client(client), Message::Declined(declined));
}

/// Why a node that does not lead declines.
pub fn not_leader(state: &ReplicaState) -> DeclineReason {
    if state.leader_id.is_some() { DeclineReason::NotLeader } else { DeclineReason::NoLeader }
}

fn leader_address(state: &ReplicaState) -> Option<(ServerId, SocketAddr)> {
    let leader = state.leader_id?;
    state.peers.get(&leader).map(|peer| (leader, peer.address))
}
