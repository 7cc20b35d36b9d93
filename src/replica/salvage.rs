//! What can be saved of a directory whose cluster may never come back.

use super::log::Log;
use super::state::{beginning, execute};
use crate::disk::Recovered;
use crate::store::Snapshot;
use crate::types::LogIndex;

/// The state at the end of the log, with everything that the directory may have helped to
/// acknowledge: its node cannot tell how far the others had committed, and acknowledged is
/// what a majority has. So entries count whether or not they are known to be committed, and
/// some may count that nobody ever acknowledged: their outcome was unknown, and now they are
/// done. None: the directory belongs to no cluster.
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
