//! What a data directory must be able to do. The daemon has one of real files, the
//! simulator one that loses its power.

use std::fmt;

use bytes::Bytes;

/// Why a directory did not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// There is no room for a new file. Nothing was changed, so it may be tried again.
    NoSpace,
    /// What is on the disk now, nobody knows. It is never tried again: a second sync
    /// would report success without having written what the first one lost.
    Failed(String),
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSpace => f.write_str("no space left on the disk"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for DiskError {}

/// A directory of files. What was written is durable only after [`sync`](Self::sync) of
/// the file, and what was made, renamed or removed only after
/// [`sync_names`](Self::sync_names).
pub trait Directory {
    /// The names of all files, in no particular order.
    ///
    /// # Errors
    /// The disk's.
    fn names(&self) -> Result<Vec<String>, DiskError>;

    /// All bytes of the file. Where the disk does not return a little of it, something stands
    /// that is neither zeros nor intact.
    ///
    /// # Errors
    /// The disk's.
    fn read(&self, name: &str) -> Result<Bytes, DiskError>;

    /// At most so many bytes of the file from `offset` on, as the disk has them now: not what
    /// a cache remembers of them, as far as that is in anybody's power. Fewer where the file
    /// ends before.
    ///
    /// # Errors
    /// The disk's. Here it need not be final: what cannot be read may still be elsewhere.
    fn reread(&self, name: &str, offset: u64, most: usize) -> Result<Bytes, DiskError>;

    /// Makes a file of `length` zero bytes, which are durable, instead of any that had the
    /// name.
    ///
    /// # Errors
    /// [`DiskError::NoSpace`], which leaves nothing behind; otherwise the disk's.
    fn create(&mut self, name: &str, length: u64) -> Result<(), DiskError>;

    /// Writes the bytes from `offset` on. The file grows when it ends before.
    ///
    /// # Errors
    /// The disk's.
    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Makes everything durable that was written to the file.
    ///
    /// # Errors
    /// The disk's.
    fn sync(&mut self, name: &str) -> Result<(), DiskError>;

    /// Gives a file another name, and takes that from any other that had it.
    ///
    /// # Errors
    /// The disk's.
    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Removes the file.
    ///
    /// # Errors
    /// The disk's.
    fn remove(&mut self, name: &str) -> Result<(), DiskError>;

    /// Makes durable which names there are.
    ///
    /// # Errors
    /// The disk's.
    fn sync_names(&mut self) -> Result<(), DiskError>;
}
