//! The protocol. (Interface; the implementation replaces this stub.)

mod effects;

pub use effects::{Batch, Destination, Effects, Outgoing, Timer};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::journal::Recovered;
use crate::store::Store;
use crate::time::Instant;
use crate::types::ServerId;

/// What a node is told at its start. None of it may influence replicated state.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The other nodes and this one: where each is reached, and how its address was
    /// typed (empty: it was not).
    pub nodes: BTreeMap<ServerId, ListedNode>,
    /// The shortest time without a leader after which a node stands for election; each
    /// wait is up to twice as long, at random.
    pub election_timeout: Duration,
    /// The time between two heartbeats.
    pub heartbeat_interval: Duration,
}

/// A node of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedNode {
    /// Where it is reached.
    pub address: SocketAddr,
    /// The address as typed.
    pub typed: String,
}

/// The whole of one node.
#[derive(Debug)]
pub struct ReplicaNode {}

#[allow(unused_variables, clippy::unused_self, reason = "interface only")]
impl ReplicaNode {
    /// A node that goes on from what its directory held.
    pub fn new(config: NodeConfig, recovered: Recovered, now: Instant, seed: u64) -> Self {
        unimplemented!()
    }

    /// Takes in one datagram.
    pub fn on_datagram(&mut self, now: Instant, source: SocketAddr, datagram: &Bytes) {
        unimplemented!()
    }

    /// Fires the timers that are due.
    pub fn on_timeout(&mut self, now: Instant) {
        unimplemented!()
    }

    /// Ends a turn: what came in during it is sent on as one set of frames per node.
    pub fn end_turn(&mut self, now: Instant) {
        unimplemented!()
    }

    /// When the node must be called again, at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        unimplemented!()
    }

    /// Writes the next frame to send into `frame`, and says where to.
    pub fn poll_send(&mut self, frame: &mut Vec<u8>) -> Option<SocketAddr> {
        unimplemented!()
    }

    /// What must be made durable. Batches must be synced in the order they are taken.
    pub fn take_batch(&mut self) -> Option<Batch> {
        unimplemented!()
    }

    /// The batch is durable: what it promised may be said.
    pub fn on_synced(&mut self, now: Instant, batch: Batch) {
        unimplemented!()
    }

    /// Hands leadership over, if this node has it, and takes no further writes.
    pub fn hand_over(&mut self, now: Instant) {
        unimplemented!()
    }

    /// Whether nothing keeps the node from stopping: it does not lead, or leads alone.
    pub fn may_stop(&self) -> bool {
        unimplemented!()
    }

    /// Whom the node waits for, as a sentence; none when it serves.
    pub fn waiting_for(&self) -> Option<String> {
        unimplemented!()
    }

    /// Why the node must not go on, as a sentence: most listed nodes contradict its list.
    pub fn contradicted(&self) -> Option<String> {
        unimplemented!()
    }

    /// The replicated state.
    pub fn store(&self) -> &Store {
        unimplemented!()
    }
}
