//! A directory becomes a node's: a blank one, or one that begins a cluster with what it, or
//! another, held before.

use super::directory::{Directory, DiskError};
use super::meta::{META_BYTES, Meta};
use super::names::{self, JOURNAL, META, META_AT_BIRTH, REWRITTEN, SEGMENT_AT_BIRTH};
use super::snapshot_file::add_snapshot;
use super::{GenesisState, Identity, SegmentSize, StartError};
use crate::configuration::Configuration;
use crate::store::Snapshot;

/// Whether the directory is a node's already. One that lacks the file `meta` is, when it
/// holds more than the beginning of a birth.
///
/// # Errors
/// [`StartError::MetaLost`] when it was one, and lacks the file; otherwise the disk's.
pub fn is_born(directory: &dyn Directory) -> Result<bool, StartError> {
    let names = directory.names()?;
    if names.iter().any(|name| name == META) {
        return Ok(true);
    }
    let first = names::segment(JOURNAL, 1);
    let is_more =
        |name: &&String| names::is_owned(name) && !names::is_scratch(name) && **name != first;
    let is_used = names.contains(&first) && directory.read(&first)?.iter().any(|byte| *byte != 0);
    if is_used || names.iter().find(is_more).is_some() {
        return Err(StartError::MetaLost);
    }
    Ok(false)
}

/// Makes the directory a node's. Its file `meta` comes last: once it is there, so is the
/// journal, whose absence is damage from then on.
///
/// # Errors
/// The disk's.
pub fn create(
    directory: &mut dyn Directory,
    identity: Identity,
    segment_size: SegmentSize,
) -> Result<(), DiskError> {
    let meta = Meta::blank(identity, segment_size);
    make_segment(&meta, directory)?;
    become_current(&meta, directory)
}

/// Makes the directory that of the first node of a cluster, which is born with what the
/// snapshot holds. `birth` is its configuration at index 1.
///
/// The directory may be another's by now: it is that until the file `meta` gets its name, and
/// the new one's from then on. Before, the snapshot is of another cluster than `meta` says,
/// so it is ignored, and the segment is one that nobody has written to yet. Afterwards the
/// same is true of the snapshots that were there, and the segments have lower numbers than
/// the first that counts.
///
/// # Errors
/// The disk's. The directory is then either what it was, or the new one.
pub fn begin(
    directory: &mut dyn Directory,
    identity: Identity,
    segment_size: SegmentSize,
    birth: Configuration,
    snapshot: &Snapshot,
) -> Result<(), DiskError> {
    let meta = Meta {
        first_segment: unused_segment(&directory.names()?),
        genesis: GenesisState::Complete(birth),
        ..Meta::blank(identity, segment_size)
    };
    let snapshot = add_snapshot(directory, snapshot)?;
    make_segment(&meta, directory)?;
    become_current(&meta, directory)?;
    let segment = names::segment(JOURNAL, meta.first_segment);
    let is_former = |name: &String| {
        names::is_owned(name) && ![META, &snapshot, &segment].contains(&name.as_str())
    };
    for former in directory.names()?.iter().filter(|name| is_former(name)) {
        directory.remove(former)?;
    }
    directory.sync_names()
}

/// A number above those of all segments, the leftovers too: nothing in it is of the new
/// directory, so it would be taken for damage.
fn unused_segment(names: &[String]) -> u32 {
    let number = |name: &String| {
        let of = |prefix| names::segment_number(prefix, name);
        of(JOURNAL).or(of(REWRITTEN))
    };
    names.iter().filter_map(number).max().unwrap_or(0) + 1
}

fn make_segment(meta: &Meta, directory: &mut dyn Directory) -> Result<(), DiskError> {
    directory.create(SEGMENT_AT_BIRTH, u64::from(meta.segment_size.bytes()))?;
    directory.rename(SEGMENT_AT_BIRTH, &names::segment(JOURNAL, meta.first_segment))
}

fn become_current(meta: &Meta, directory: &mut dyn Directory) -> Result<(), DiskError> {
    directory.create(META_AT_BIRTH, META_BYTES)?;
    meta.save_as(META_AT_BIRTH, directory)?;
    directory.sync_names()?;
    directory.rename(META_AT_BIRTH, META)?;
    directory.sync_names()
}
