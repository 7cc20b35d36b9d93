//! Room on the disks.
//!
//! docs/guarantees.md: "A disk that fills refuses writes before it is full". A node has
//! enough room while all that may come before the next snapshot fits, and that snapshot
//! beside the one before it: so whatever is deleted makes room again, at the next snapshot.
//! With less, what makes the state grow is refused; deletes and reads go on.

use super::state::ReplicaState;
use crate::operation::{Command, LoggedRequest, Operation};
use crate::types::ServerId;
use crate::wire::{SPACE_ENOUGH, SPACE_LOW};

/// How much room this node's disk has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Space {
    /// Bytes that may still be written; none while that is not measured.
    free: Option<u64>,
    low: bool,
}

impl Space {
    /// So many bytes may still be written, and so many may be needed.
    pub fn measured(&mut self, free: u64, needed: u64) {
        // Room that comes and goes with every batch must not open and close the door.
        let slack = if self.low { needed / 8 } else { 0 };
        self.free = Some(free);
        self.low = free < needed.saturating_add(slack);
    }

    /// Bytes that may still be written, if that was measured.
    pub fn free(&self) -> Option<u64> {
        self.free
    }

    /// Whether what makes the state grow must be refused.
    pub fn is_low(&self) -> bool {
        self.low
    }

    /// What an acknowledgment says of it.
    pub fn class(&self) -> u8 {
        match self.free {
            None => 0,
            Some(_) if self.low => SPACE_LOW,
            Some(_) => SPACE_ENOUGH,
        }
    }
}

/// As leader: whether this disk, and with it a majority, has room for what makes the state
/// grow.
pub fn is_enough(state: &ReplicaState) -> bool {
    let others = state.peers.keys().filter(|id| has_room(**id, state)).count();
    !state.space.is_low() && state.is_majority(others + usize::from(state.is_voter()))
}

/// Whether this voter's disk is not known to be low.
pub fn has_room(id: ServerId, state: &ReplicaState) -> bool {
    let peer = state.peers.get(&id);
    state.is_voting_peer(id) && peer.is_some_and(|peer| peer.progress.space != SPACE_LOW)
}

/// Whether the request makes the state grow.
pub fn makes_grow(request: &LoggedRequest) -> bool {
    match &request.command {
        Command::Settle | Command::Execute(Operation::Delete { .. }) => false,
        Command::Execute(_) => true,
    }
}
