//! How much of the disk the directory takes, and how much it may still take.
//!
//! docs/guarantees.md: "The directory never takes more than `--disk-max`". A file takes its
//! whole length when it is made, and none grows afterwards: so to count lengths when files
//! are made is to count all bytes, and to refuse a file is to keep the bound.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::disk::{META_BYTES, SNAPSHOT_AT_BIRTH, SegmentSize};
use crate::replica::Room;

/// Two that are kept, the one that is written to, and the one that a snapshot ends in.
const SEGMENTS_FIXED: u64 = 4;

/// The files of a directory, by their lengths, as the threads that write make them.
#[derive(Debug)]
pub struct DiskUse {
    /// The most that the directory may take, in bytes.
    most: u64,
    /// What is neither log nor snapshot: `meta`, while another takes its place, and segments
    /// that are begun, or kept to be used again.
    fixed: u64,
    files: Mutex<BTreeMap<String, u64>>,
    /// What they take, but for the snapshot that is being written.
    taken: AtomicU64,
    /// What the file system has left.
    left: AtomicU64,
}

impl DiskUse {
    /// The directory at `path` as it is, with segments of so many bytes; it may take `most`.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn of(path: &Path, segment: SegmentSize, most: u64) -> io::Result<Self> {
        let length = |entry: io::Result<std::fs::DirEntry>| {
            let entry = entry?;
            Ok((entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len()))
        };
        let files: BTreeMap<_, _> =
            std::fs::read_dir(path)?.map(length).collect::<io::Result<_>>()?;
        let taken = AtomicU64::new(lasting(&files));
        let fixed = fixed(segment);
        Ok(Self { most, fixed, files: Mutex::new(files), taken, left: AtomicU64::new(u64::MAX) })
    }

    /// What a directory with segments of so many bytes takes at least, if anything is to be
    /// written to it.
    pub fn least(segment: SegmentSize) -> u64 {
        fixed(segment) + u64::from(segment.bytes())
    }

    /// A file of this length is about to take the place of any of the same name. Returns
    /// whether it may.
    pub fn make(&self, name: &str, length: u64) -> bool {
        let mut files = self.files();
        let others: u64 = files.iter().filter(|(other, _)| *other != name).map(|(_, n)| n).sum();
        let fits = others.saturating_add(length) <= self.most;
        if fits {
            files.insert(name.to_owned(), length);
            self.count(&files);
        }
        fits
    }

    /// The file is gone.
    pub fn remove(&self, name: &str) {
        let mut files = self.files();
        files.remove(name);
        self.count(&files);
    }

    /// The file has another name, which no other has any more.
    pub fn rename(&self, from: &str, to: &str) {
        let mut files = self.files();
        if let Some(length) = files.remove(from) {
            files.insert(to.to_owned(), length);
        }
        self.count(&files);
    }

    /// Looks how much the file system has left.
    ///
    /// # Errors
    /// It does not tell.
    pub fn measure(&self, path: &Path) -> io::Result<()> {
        let told = rustix::fs::statvfs(path)?;
        self.left.store(told.f_bavail.saturating_mul(told.f_frsize), Ordering::Relaxed);
        Ok(())
    }

    /// How much more the directory may take, and how much of it log and snapshots may take in
    /// all. A snapshot that is being written takes the place of the one before it, so it counts
    /// when it has.
    pub fn room(&self) -> Room {
        let taken = self.taken.load(Ordering::Relaxed);
        let left = self.left.load(Ordering::Relaxed);
        let all = self.most.min(left.saturating_add(taken));
        Room { free: all.saturating_sub(taken), all: all.saturating_sub(self.fixed) }
    }

    fn count(&self, files: &BTreeMap<String, u64>) {
        self.taken.store(lasting(files), Ordering::Relaxed);
    }

    /// Whoever held the lock and panicked has changed one length at most.
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fixed(segment: SegmentSize) -> u64 {
    2 * META_BYTES + SEGMENTS_FIXED * u64::from(segment.bytes())
}

fn lasting(files: &BTreeMap<String, u64>) -> u64 {
    files.iter().filter(|(name, _)| *name != SNAPSHOT_AT_BIRTH).map(|(_, length)| length).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_files(most: u64) -> (tempfile::TempDir, DiskUse) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("meta"), [0; 100]).unwrap();
        let segment = SegmentSize::new(SegmentSize::BYTES_MIN.into()).unwrap();
        let disk = DiskUse::of(directory.path(), segment, most).unwrap();
        (directory, disk)
    }

    #[test]
    fn a_file_beyond_the_bound_is_refused_until_another_is_gone() {
        let (_directory, disk) = with_files(1_000);
        assert!(disk.make("journal-1", 400) && disk.make("journal-2", 400));
        assert!(!disk.make("journal-3", 101));
        assert_eq!(disk.room().free, 100);
        assert!(disk.make("journal-2", 500), "one file in the place of another");
        assert_eq!(disk.room().free, 0);
        disk.remove("journal-1");
        assert!(disk.make("journal-3", 101));
    }

    #[test]
    fn a_snapshot_on_its_way_counts_for_the_bound_alone() {
        let (_directory, disk) = with_files(1_000);
        assert!(disk.make("snapshot-1", 300) && disk.make(SNAPSHOT_AT_BIRTH, 400));
        assert_eq!(disk.room().free, 600);
        assert!(!disk.make("journal-1", 201));
        disk.rename(SNAPSHOT_AT_BIRTH, "snapshot-2");
        assert_eq!(disk.room().free, 200);
        disk.remove("snapshot-1");
        assert_eq!(disk.room().free, 500);
    }

    #[test]
    fn what_is_free_is_bounded_by_the_file_system_too() {
        let (directory, disk) = with_files(u64::MAX);
        disk.measure(directory.path()).unwrap();
        assert!((1..u64::MAX - 100).contains(&disk.room().free));
    }
}
