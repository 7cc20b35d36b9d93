//! A data directory of real files.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{Advice, fadvise};

use super::bad_pages::BadPages;
use super::disk_use::DiskUse;
use crate::disk::{Directory, DiskError};

/// How much of a new file is written at once.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The files below one path, of which those that are written to stay open.
#[derive(Debug)]
pub struct FileDirectory {
    path: PathBuf,
    open: BTreeMap<String, Open>,
    /// What keeps them within a bound, if anything does.
    disk_use: Option<Arc<DiskUse>>,
    /// What of them could not be read.
    bad_pages: BadPages,
}

/// A file that is open for writing.
#[derive(Debug)]
struct Open {
    file: File,
    /// Whether everything that was written to it is synced.
    is_synced: bool,
}

impl FileDirectory {
    /// The directory at `path`, which exists.
    pub fn at(path: &Path) -> Self {
        let (open, bad_pages) = (BTreeMap::new(), BadPages::default());
        Self { path: path.to_owned(), open, disk_use: None, bad_pages }
    }

    /// The same, which makes no file beyond the bound.
    pub fn within(path: &Path, disk_use: Arc<DiskUse>) -> Self {
        Self { disk_use: Some(disk_use), ..Self::at(path) }
    }

    fn writable(&mut self, name: &str) -> io::Result<&mut Open> {
        if !self.open.contains_key(name) {
            let file = OpenOptions::new().write(true).open(self.path.join(name))?;
            self.keep_open(name, file);
        }
        Ok(self.open.get_mut(name).expect("it is open by now"))
    }

    /// There may be more segments than a process may have files open, so those which wait for
    /// no sync are closed. Where one waits, its descriptor is what an error that the system has
    /// met meanwhile is told to.
    fn keep_open(&mut self, name: &str, file: File) {
        self.open.retain(|_, open| !open.is_synced);
        self.open.insert(name.to_owned(), Open { file, is_synced: true });
    }

    /// The page cache is told to forget these pages, so that they come from the disk, unless
    /// the disk itself has a cache, or the pages wait to be written. Told again afterwards, it
    /// keeps its room for what is needed.
    fn read_from_disk(&self, name: &str, offset: u64, most: usize) -> io::Result<Bytes> {
        let mut file = File::open(self.path.join(name))?;
        let most = most as u64;
        // A file system that has no such cache refuses, and has nothing to forget.
        let forget = |file: &File| fadvise(file, offset, NonZeroU64::new(most), Advice::DontNeed);
        forget(&file).ok();
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        (&file).take(most).read_to_end(&mut bytes)?;
        forget(&file).ok();
        Ok(bytes.into())
    }

    /// Removes a file for which there was no room: perhaps not even for its name.
    fn remove_if_made(&mut self, name: &str) -> Result<(), DiskError> {
        match std::fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(name)(error)),
            _ => {}
        }
        self.forget(name);
        Ok(())
    }

    /// The file is gone.
    fn forget(&mut self, name: &str) {
        self.open.remove(name);
        if let Some(disk_use) = &self.disk_use {
            disk_use.remove(name);
        }
    }

    fn write_new(&self, name: &str, length: u64) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(self.path.join(name))?;
        let mut left = length;
        while left > 0 {
            let piece = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
            file.write_all(&ZEROS[..piece])?;
            left -= piece as u64;
        }
        file.sync_all()?;
        Ok(file)
    }
}

/// Names the file in an error.
fn failed(name: &str) -> impl Fn(io::Error) -> DiskError {
    move |error| DiskError::Failed(format!("{name}: {error}"))
}

impl Directory for FileDirectory {
    fn names(&self) -> Result<Vec<String>, DiskError> {
        let name = |entry: io::Result<std::fs::DirEntry>| {
            Ok(entry?.file_name().to_string_lossy().into_owned())
        };
        let names = std::fs::read_dir(&self.path).and_then(|entries| entries.map(name).collect());
        names.map_err(failed("its names"))
    }

    fn read(&self, name: &str) -> Result<Bytes, DiskError> {
        self.bad_pages.read(&self.path.join(name), name).map(Bytes::from).map_err(failed(name))
    }

    fn reread(&self, name: &str, offset: u64, most: usize) -> Result<Bytes, DiskError> {
        self.read_from_disk(name, offset, most).map_err(failed(name))
    }

    fn create(&mut self, name: &str, length: u64) -> Result<(), DiskError> {
        self.open.remove(name);
        if self.disk_use.as_ref().is_some_and(|disk_use| !disk_use.make(name, length)) {
            return Err(DiskError::NoSpace);
        }
        match self.write_new(name, length) {
            Ok(file) => {
                self.keep_open(name, file);
                Ok(())
            }
            Err(error) if is_no_space(&error) => {
                self.remove_if_made(name)?;
                Err(DiskError::NoSpace)
            }
            Err(error) => Err(failed(name)(error)),
        }
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let open = self.writable(name).map_err(failed(name))?;
        open.is_synced = false;
        open.file.write_all_at(bytes, offset).map_err(failed(name))
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        let open = self.writable(name).map_err(failed(name))?;
        open.file.sync_data().map_err(failed(name))?;
        open.is_synced = true;
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        std::fs::rename(self.path.join(from), self.path.join(to)).map_err(failed(from))?;
        self.open.remove(to);
        if let Some(file) = self.open.remove(from) {
            self.open.insert(to.to_owned(), file);
        }
        if let Some(disk_use) = &self.disk_use {
            disk_use.rename(from, to);
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        std::fs::remove_file(self.path.join(name)).map_err(failed(name))?;
        self.forget(name);
        Ok(())
    }

    fn sync_names(&mut self) -> Result<(), DiskError> {
        sync_names(&self.path).map_err(failed("its names"))
    }
}

fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Makes durable which names there are below `path`.
///
/// # Errors
/// The disk's.
pub fn sync_names(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Identity, Record, SegmentSize, create, examine};
    use crate::types::{DirectoryId, LogIndex, ServerId, Term};
    use std::os::unix::fs::PermissionsExt;

    /// How many files below the path this process has open.
    fn open_below(path: &Path) -> usize {
        let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let is_below = |target: PathBuf| target.starts_with(path);
        open.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(is_below)).count()
    }

    #[test]
    fn what_it_is_told_is_what_the_files_say() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = FileDirectory::at(directory.path());
        files.create("a", 100_000).unwrap();
        files.write_at("a", 99_999, b"end").unwrap();
        files.sync("a").unwrap();
        files.create("b", 0).unwrap();
        files.rename("a", "b").unwrap();
        files.write_at("b", 0, b"begin").unwrap();
        files.sync_names().unwrap();
        assert_eq!(files.names().unwrap(), ["b"]);
        let bytes = files.read("b").unwrap();
        assert_eq!(
            (bytes.len(), &bytes[..6], &bytes[99_998..]),
            (100_002, &b"begin\0"[..], &b"\0end"[..])
        );
        assert_eq!(files.reread("b", 99_998, 4).unwrap(), &b"\0end"[..]);
        assert_eq!(files.reread("b", 99_998, 64).unwrap(), &b"\0end"[..]);
        assert!(files.reread("b", 200_000, 1).unwrap().is_empty());
        let mode = directory.path().join("b").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        files.remove("b").unwrap();
        assert!(files.read("b").is_err() && files.sync("b").is_err());
    }

    #[test]
    fn no_space_for_a_new_file_is_told_from_other_errors() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = FileDirectory::at(directory.path());
        std::os::unix::fs::symlink("/dev/full", directory.path().join("full")).unwrap();
        for name in ["full", "none"] {
            assert!(matches!(files.write_at(name, 0, b"x"), Err(DiskError::Failed(_))));
        }
        assert_eq!(files.create("full", 1), Err(DiskError::NoSpace));
        assert_eq!(files.names().unwrap(), [""; 0], "nothing is left behind");
    }

    #[test]
    fn segments_that_are_sealed_are_not_held_open() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = FileDirectory::at(directory.path());
        let identity = Identity { cluster: "c".into(), id: ServerId(1), directory: DirectoryId(5) };
        let size = SegmentSize::new(SegmentSize::BYTES_MIN.into()).unwrap();
        create(&mut files, identity, size).unwrap();
        let (mut journal, _) = examine(&files).unwrap().start(&mut files).unwrap();
        // Less than a segment holds, and more than half of it.
        let records: Vec<Record> = (0..4_000).map(|at| Record::Commit(LogIndex(at))).collect();
        for turn in 0..100 {
            let vote = Record::HardState { term: Term(turn), voted_for: None };
            journal.write(&mut files, &[&records[..], &[vote]].concat()).unwrap();
            journal.sync(&mut files).unwrap();
        }
        assert!(journal.sealed().len() > 90, "{:?}", journal.sealed());
        assert!(open_below(directory.path()) <= 4, "{}", open_below(directory.path()));
        assert!(examine(&files).unwrap().flaws.is_empty());
    }

    /// As on a file system that has no inodes left.
    #[test]
    fn a_file_that_was_not_even_begun_for_want_of_room_is_gone_and_takes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let segment = SegmentSize::default();
        let disk_use = Arc::new(DiskUse::of(directory.path(), segment, 1_000).unwrap());
        let mut files = FileDirectory::within(directory.path(), Arc::clone(&disk_use));
        assert!(disk_use.make("a", 600));
        files.remove_if_made("a").unwrap();
        files.create("b", 1_000).unwrap();
    }

    #[test]
    fn no_file_is_made_beyond_the_bound() {
        let directory = tempfile::tempdir().unwrap();
        let segment = SegmentSize::default();
        let disk_use = Arc::new(DiskUse::of(directory.path(), segment, 1_000).unwrap());
        let mut files = FileDirectory::within(directory.path(), disk_use);
        files.create("a", 600).unwrap();
        assert_eq!(files.create("b", 401), Err(DiskError::NoSpace));
        assert_eq!(files.names().unwrap(), ["a"]);
        files.rename("a", "c").unwrap();
        files.create("b", 400).unwrap();
        files.remove("c").unwrap();
        files.create("d", 600).unwrap();
    }
}
