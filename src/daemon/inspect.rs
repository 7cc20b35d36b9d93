//! A directory as it lies on the disk, without starting it.

use std::fs::File;
use std::path::Path;

use bytes::Bytes;

use super::data_dir;
use super::error::RunError;
use super::journal_file;
use crate::journal::{Damage, Recovery, recover};

/// What a directory holds.
#[derive(Debug)]
pub struct Inspection {
    /// The length of the journal, in bytes.
    pub journal_bytes: u64,
    /// What the journal tells, or why it must not be used.
    pub journal: Result<Recovery, Damage>,
    /// Held so that no node starts meanwhile.
    _lock: File,
}

/// Reads the directory, checks every checksum, and changes nothing.
///
/// # Errors
/// Refused when a process uses the directory, or when it is no node's; a disk error when
/// it cannot be read.
pub fn inspect(path: &Path) -> Result<Inspection, RunError> {
    let lock = data_dir::lock_existing(path)?;
    let bytes = Bytes::from(journal_file::read(path).map_err(|error| {
        RunError::disk(format!("the journal in {} cannot be read: {error}", path.display()))
    })?);
    Ok(Inspection { journal_bytes: bytes.len() as u64, journal: recover(&bytes), _lock: lock })
}
