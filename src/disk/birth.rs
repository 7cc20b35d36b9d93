//! A blank directory becomes a node's.

use super::directory::{Directory, DiskError};
use super::meta::{META_BYTES, Meta};
use super::names::{self, JOURNAL, META, META_AT_BIRTH, SEGMENT_AT_BIRTH};
use super::{Identity, SegmentSize, StartError};

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
    directory.create(SEGMENT_AT_BIRTH, u64::from(segment_size.bytes()))?;
    directory.rename(SEGMENT_AT_BIRTH, &names::segment(JOURNAL, 1))?;
    directory.create(META_AT_BIRTH, META_BYTES)?;
    Meta::blank(identity, segment_size).save_as(META_AT_BIRTH, directory)?;
    directory.sync_names()?;
    directory.rename(META_AT_BIRTH, META)?;
    directory.sync_names()
}
