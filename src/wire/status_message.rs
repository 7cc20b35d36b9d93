//! How a node is, as it tells clients.

use std::net::SocketAddr;

use crate::types::{DirectoryId, GenesisId, Incarnation, LogIndex, ServerId, Term};

/// A client asks how the node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRequest {
    /// Repeated in the answer.
    pub nonce: u64,
}

/// What a node can be, apart from learner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Executes what the leader sends.
    #[default]
    Follower,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// That of the request.
    pub nonce: u64,
    /// The node.
    pub id: ServerId,
    /// The name of its cluster.
    pub cluster: String,
    /// The birth of its cluster; none before.
    pub genesis: Option<GenesisId>,
    /// Its data directory.
    pub directory: DirectoryId,
    /// How often that was started.
    pub incarnation: Incarnation,
    /// Its role.
    pub role: Role,
    /// Whether its vote counts.
    pub voter: bool,
    /// Whether it seals its frames, and takes no others.
    pub sealed: bool,
    /// Its term.
    pub term: Term,
    /// The leader that it follows, or is.
    pub leader_id: Option<ServerId>,
    /// The last entry of its log.
    pub last_index: LogIndex,
    /// The last entry that it knows to be committed.
    pub commit_index: LogIndex,
    /// The last entry on its own disk.
    pub durable_index: LogIndex,
    /// How many keys its committed state holds.
    pub keys: u64,
    /// How many sessions its committed state holds.
    pub sessions: u32,
    /// Microseconds since the node was started.
    pub uptime: u64,
    /// The longest turns of its event loop in the last minute.
    pub longest_turn: TurnTimes,
    /// Frames dropped, by cause: [`DropCause::code`](super::DropCause::code) and count.
    pub dropped: Vec<(u8, u64)>,
    /// Its disk.
    pub disk: DiskStatus,
    /// The other nodes, as this one sees them.
    pub peers: Vec<PeerStatus>,
}

/// How long turns of an event loop took, in tenths of a millisecond; a larger time is given as
/// the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnTimes {
    /// By the clock.
    pub wall: u16,
    /// On the processor.
    pub cpu: u16,
}

/// How a node's disk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskStatus {
    /// The index that the newest snapshot covers; zero: there is none.
    pub snapshot_index: LogIndex,
    /// How many bytes may still be written; none: not measured.
    pub free: Option<u64>,
    /// Whether what makes the state grow is refused for want of room.
    pub low: bool,
    /// The first entry that a damaged disk lacks; none: it lacks none.
    pub missing_from: Option<LogIndex>,
    /// The snapshot that is being fetched from another node, and how many bytes have come.
    pub fetching: Option<(LogIndex, u64)>,
    /// What reading its files again has found.
    pub scrub: ScrubStatus,
}

/// What reading the files of a disk again has found since the node was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubStatus {
    /// Seconds since all files were last read to their end; none: not yet.
    pub passed_age: Option<u32>,
    /// In how many places damage was found, at most `u16::MAX`.
    pub damaged: u16,
    /// In how many of them it is gone.
    pub repaired: u16,
}

/// How a node sees another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The other node.
    pub id: ServerId,
    /// Where it is reached.
    pub address: SocketAddr,
    /// Whether its vote counts.
    pub voter: bool,
    /// Whether it is a member or a learner.
    pub listed: bool,
    /// The key of the newest session with it; zero: there was none.
    pub key: u16,
    /// Milliseconds since it was last heard; none: never.
    pub heard_age: Option<u32>,
    /// Microseconds of the smoothed round trip; none: not measured.
    pub round_trip: Option<u32>,
    /// Seen by a leader: how far its log is verified.
    pub matched: LogIndex,
    /// Seen by a leader: how far that is on its disk.
    pub durable: LogIndex,
    /// How many frames with entries were sent to it again.
    pub retransmitted: u32,
    /// Seen by a leader: it lacks entries, and has taken in less than was written for some
    /// seconds.
    pub falls_behind: bool,
}
