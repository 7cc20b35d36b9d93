//! Replication. The leader executes an operation, sends it to all followers and waits
//! for a majority of acknowledgments; a follower executes it and acknowledges.

mod follower;
mod leader;

pub(super) use follower::{compact, has_room};

use follower::Intake;
use leader::LogClock;

/// Carries the log from the leader to the followers, in every node.
///
/// What the leader knows of each follower is in `state.peers[..].progress`; here is what
/// only this manager needs.
#[derive(Debug, Default)]
pub struct ReplicationManager {
    /// As leader: the cluster's time.
    clock: LogClock,
    /// As follower: what has come from the leader of this term.
    pub(super) intake: Intake,
}
