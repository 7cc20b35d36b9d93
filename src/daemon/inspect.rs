//! A directory as it lies on the disk, without starting it.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::data_dir;
use super::error::RunError;
use super::file_directory::FileDirectory;
use crate::disk::{Examination, StartError, examine, is_born};

/// What a directory holds.
#[derive(Debug)]
pub struct Inspection {
    /// What can be read and what is damaged; an error when it is of no use at all.
    pub found: Result<Examination, StartError>,
    path: PathBuf,
    /// Held so that no node starts meanwhile.
    _lock: File,
}

/// Reads the directory, checks every checksum, and changes nothing but that the file `lock` is
/// there.
///
/// # Errors
/// Refused when a process uses the directory, or when it is no node's or of another version;
/// a disk error when it cannot be read.
pub fn inspect(path: &Path) -> Result<Inspection, RunError> {
    let lock = data_dir::lock_existing(path)?;
    let files = FileDirectory::at(path);
    match is_born(&files).and_then(|_| examine(&files)) {
        Err(error @ (StartError::Disk(_) | StartError::Version(_))) => {
            Err(data_dir::unusable(path, &error))
        }
        mut found => {
            if let Ok(found) = &mut found {
                found.recovered.rejoin();
            }
            Ok(Inspection { found, path: path.to_owned(), _lock: lock })
        }
    }
}

impl Inspection {
    /// Where the directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What can be read.
    ///
    /// # Errors
    /// The directory is of no use at all.
    pub fn readable(&self) -> Result<&Examination, RunError> {
        self.found.as_ref().map_err(|error| data_dir::unusable(&self.path, error))
    }
}
