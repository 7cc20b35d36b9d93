//! What a node may keep: the rows of the table in docs/guarantees.md that can be seen from
//! outside at no cost.

use crate::replica::ReplicaNode;
use crate::wire::Role;

/// Entries at a leader that are not committed.
const UNCOMMITTED_MAX: u64 = 16_384;
/// Entries at a node that are not on its disk.
const UNSYNCED_MAX: u64 = 65_536;
/// Entries in memory before the newest snapshot, for who fetches one.
const COVERED_MAX: u64 = 262_144;
/// How many covered entries a node at rest may still have, beyond those that it keeps.
const COVERED_AT_REST: u64 = 256;

/// Checks the node after a turn.
///
/// # Errors
/// Which bound does not hold.
pub fn check(node: &ReplicaNode) -> Result<(), String> {
    let state = node.state();
    let last = state.log.last_index().0;
    let uncommitted = if state.role == Role::Leader { last - state.commit.0 } else { 0 };
    let sessions = state.store.tentative().sessions().session_count() as u64;
    within("uncommitted entries at a leader", uncommitted, UNCOMMITTED_MAX)?;
    within("entries that are not durable", last - state.log.durable().0, UNSYNCED_MAX)?;
    within("covered entries", covered(node), COVERED_MAX)?;
    let session_limit = u64::from(state.configuration().session_limit);
    within("sessions", sessions, session_limit)
}

/// Checks a node that has nothing to do any more, and keeps so many covered entries.
///
/// # Errors
/// What it has not given up.
pub fn check_at_rest(node: &ReplicaNode, kept: u64) -> Result<(), String> {
    within("covered entries at rest", covered(node), kept + COVERED_AT_REST)
}

/// How many entries are in memory that the newest durable snapshot covers.
fn covered(node: &ReplicaNode) -> u64 {
    let state = node.state();
    state.snapshots.durable_index().0.saturating_sub(state.log.base().index.0)
}

fn within(what: &str, count: u64, bound: u64) -> Result<(), String> {
    if count <= bound {
        return Ok(());
    }
    Err(format!("bounded memory: {count} {what}, and the bound is {bound}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_above_a_bound_is_told() {
        assert_eq!(within("things", 5, 5), Ok(()));
        assert!(within("things", 6, 5).is_err_and(|broken| broken.contains("6 things")));
    }
}
