//! What can be saved of a directory whose cluster may never come back.

use super::log::Log;
use super::state::{beginning, execute};
use crate::disk::Recovered;
use crate::store::Snapshot;
use crate::types::LogIndex;

/// The state at the end of the log; none: the directory belongs to no cluster.
///
/// docs/guarantees.md: "Entries that are not known to be committed count, for they may have
/// been acknowledged": its node cannot tell how far the others had committed.
pub fn last_state(recovered: &Recovered) -> Option<Snapshot> {
    recovered.genesis.complete()?;
    let (base, mut store) = beginning(recovered);
    let log = Log::recovered(base, recovered.entries.clone());
    let next = store.committed().index().next();
    for index in (next.0..=log.last_index().0).map(LogIndex) {
        execute(&mut store, &log, index);
        store.commit_to(index);
    }
    Some(Snapshot::new(store.into_committed(), log.last_term(), log.last_chain()))
}
