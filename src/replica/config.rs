//! What a node is told at its start.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::genesis::LISTENING_ROUNDS;
use crate::access::Access;
use crate::configuration::{SESSION_LIMIT, SNAPSHOT_BYTES};
use crate::link::{Pinned, REDUNDANCY_MAX};
use crate::types::ServerId;

/// The election timeout before anything was measured: several heartbeats may be lost in a row.
pub const ELECTION_TIMEOUT: Duration = Duration::from_millis(250);
/// The heartbeat interval before anything was measured.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(40);

/// The default of [`NodeConfig::disk_stall`]: twice the election timeout, but at least a
/// second.
pub const DISK_STALL: Duration = Duration::from_secs(1);

/// The default of [`NodeConfig::kept_entries`].
pub const KEPT_ENTRIES: u64 = 16_384;

/// What a node is told at its start. None of it may influence replicated state, but for
/// what the coordinator of the birth puts into the genesis.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The other nodes and this one.
    pub nodes: BTreeMap<ServerId, ListedNode>,
    /// The election timeout and the heartbeat interval, if they are not to follow from what
    /// is measured.
    pub pinned: Pinned,
    /// How long a leader's oldest entry may wait for its disk before the leader hands over;
    /// after twice as long its followers drop it.
    pub disk_stall: Duration,
    /// How many bytes of log, at least, lie between two snapshots of a cluster whose birth
    /// this node coordinates.
    pub snapshot_bytes: u64,
    /// How many sessions such a cluster keeps.
    pub session_limit: u32,
    /// How often a blank node introduces itself, while it listens for the cluster, before it takes
    /// part in the birth of one.
    pub listening_rounds: u32,
    /// How many entries before its newest snapshot a node keeps, for followers that lag.
    pub kept_entries: u64,
    /// How often a frame is sent at most where loss was measured, before anything is known of
    /// its own.
    pub redundancy_max: u8,
    /// What those may do who ask.
    pub access: Access,
}

/// A node of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedNode {
    /// Where it is reached.
    pub address: SocketAddr,
    /// The address as typed; empty: it was not.
    pub typed: String,
}

impl NodeConfig {
    /// The configuration of a node in this list, with times that follow from what is measured.
    pub fn new(nodes: BTreeMap<ServerId, ListedNode>) -> Self {
        Self {
            nodes,
            pinned: Pinned::default(),
            disk_stall: DISK_STALL,
            snapshot_bytes: SNAPSHOT_BYTES,
            session_limit: SESSION_LIMIT,
            listening_rounds: LISTENING_ROUNDS,
            kept_entries: KEPT_ENTRIES,
            redundancy_max: REDUNDANCY_MAX,
            access: Access::default(),
        }
    }
}
