//! A cluster that begins with what another one had: out of a backup, or on a survivor's own
//! directory.
//!
//! It is another cluster, with a genesis of its own. docs/guarantees.md: "A directory of the
//! former one is never heard in it", whatever it still holds, since each frame carries the
//! genesis. Not even its log would fit: the chain value that the new one begins with covers
//! the genesis too. And the first node gets another directory id, so that what its former
//! segments hold is never taken for the new directory's.

use std::collections::BTreeSet;
use std::path::Path;

use super::data_dir::{failed, lock_empty};
use super::error::RunError;
use super::file_directory::FileDirectory;
use super::inspect::Inspection;
use super::random_u64;
use crate::configuration::Configuration;
use crate::disk::{self, Directory, Identity, META, SegmentSize};
use crate::store::Snapshot;
use crate::types::{DirectoryId, GenesisId, ServerId};

/// The node that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founder {
    /// The node.
    pub id: ServerId,
    /// The cluster's name.
    pub cluster: String,
    /// How long its segments are.
    pub segment_size: SegmentSize,
    /// The nodes of the cluster, this one among them. The others are to learn, and get their
    /// votes when they have caught up.
    pub nodes: BTreeSet<ServerId>,
}

/// Makes the empty directory at `path` that of the founder of a cluster with the keys of the
/// backup. Returns the cluster's genesis.
///
/// # Errors
/// Refused when the directory is not empty, or in use; otherwise the disk's.
pub fn restore(path: &Path, founder: Founder, backup: &Snapshot) -> Result<GenesisId, RunError> {
    let _lock = lock_empty(path)?;
    begin(path, founder, backup).inspect_err(|_| remove_unborn(path))
}

/// Makes the directory that was inspected that of the founder of a cluster with the keys of
/// this snapshot of it. Returns the cluster's genesis.
///
/// # Errors
/// The disk's. The directory is then either what it was, or the new one.
pub fn rescue(
    inspection: &Inspection,
    founder: Founder,
    snapshot: &Snapshot,
) -> Result<GenesisId, RunError> {
    begin(inspection.path(), founder, snapshot)
}

fn begin(path: &Path, founder: Founder, held: &Snapshot) -> Result<GenesisId, RunError> {
    let Founder { id, cluster, segment_size, nodes } = founder;
    let genesis = GenesisId(random_u64().max(1));
    let directory = DirectoryId(random_u64().max(1));
    let former = held.state().configuration();
    let birth = former.reborn(genesis, id, directory);
    let snapshot = held.reborn(&with_others(&birth, &nodes, former));
    let identity = Identity { cluster, id, directory };
    disk::begin(&mut FileDirectory::at(path), identity, segment_size, birth, &snapshot)
        .map_err(|error| failed(path, "written", &error))?;
    Ok(genesis)
}

/// Removes what was made in a directory that was empty and has not become a node's: it would
/// pass for what is left of one. What cannot be removed stays, and the next restore says so.
fn remove_unborn(path: &Path) {
    let mut files = FileDirectory::at(path);
    let Ok(names) = files.names() else { return };
    if names.iter().any(|name| name == META) {
        return;
    }
    for name in names.iter().filter(|name| disk::is_owned(name)) {
        files.remove(name).ok();
    }
}

/// The birth's configuration, and in it those who learn. Where they are is known as far as the
/// former cluster's log knew it, and otherwise by the flags.
fn with_others(
    birth: &Configuration,
    nodes: &BTreeSet<ServerId>,
    former: &Configuration,
) -> Configuration {
    let others = nodes.iter().filter(|id| !birth.members.contains_key(id));
    let mut all = others.fold(birth.clone(), |all, id| all.with_learner(*id));
    let known = former.addresses.iter().filter(|(id, _)| nodes.contains(id));
    all.addresses.extend(known);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::State;
    use crate::types::LogIndex;
    use bytes::Bytes;

    fn backup() -> Snapshot {
        let none = Configuration::unborn();
        let configuration = none.reborn(GenesisId(7), ServerId(1), DirectoryId(8));
        let key = (Bytes::from_static(b"k"), LogIndex(2), Bytes::from_static(b"v"));
        Snapshot::backup(&State::of_keys(LogIndex(300), configuration, [key]))
    }

    #[test]
    fn a_restore_that_found_no_room_can_be_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let founder = Founder {
            id: ServerId(1),
            cluster: "c".into(),
            segment_size: SegmentSize::default(),
            nodes: [ServerId(1)].into(),
        };
        // There is room for the snapshot, and none for the segment behind it.
        std::os::unix::fs::symlink("/dev/full", path.join("journal.new")).unwrap();
        let error = restore(path, founder.clone(), &backup()).unwrap_err();
        assert!(error.to_string().contains("no space left"), "{error}");
        restore(path, founder, &backup()).unwrap();
    }
}
