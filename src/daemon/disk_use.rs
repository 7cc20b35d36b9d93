//! How much of the disk the directory takes, and how much it may still take.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the threads that write tell the loop. Each writes its own part.
#[derive(Debug)]
pub struct DiskUse {
    /// The most that the directory may take, in bytes.
    most: u64,
    journal: AtomicU64,
    snapshot: AtomicU64,
    /// What the file system has left.
    left: AtomicU64,
}

impl DiskUse {
    /// Nothing was measured yet; the directory may take `most` bytes.
    pub fn new(most: u64) -> Self {
        let (journal, snapshot) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { most, journal, snapshot, left: AtomicU64::new(u64::MAX) }
    }

    /// The journal takes so many bytes.
    pub fn journal_takes(&self, bytes: u64) {
        self.journal.store(bytes, Ordering::Relaxed);
    }

    /// The snapshots take so many bytes.
    pub fn snapshot_takes(&self, bytes: u64) {
        self.snapshot.store(bytes, Ordering::Relaxed);
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

    /// How many more bytes the directory may take.
    pub fn free(&self) -> u64 {
        let taken = [&self.journal, &self.snapshot].map(|part| part.load(Ordering::Relaxed));
        let allowed = self.most.saturating_sub(taken.iter().sum());
        allowed.min(self.left.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_bounded_by_the_flag_and_by_the_file_system() {
        let directory = tempfile::tempdir().unwrap();
        let disk = DiskUse::new(1_000);
        disk.journal_takes(300);
        disk.snapshot_takes(200);
        assert_eq!(disk.free(), 500);
        disk.journal_takes(2_000);
        assert_eq!(disk.free(), 0);
        let unbounded = DiskUse::new(u64::MAX);
        unbounded.measure(directory.path()).unwrap();
        assert!((1..u64::MAX).contains(&unbounded.free()));
    }
}
