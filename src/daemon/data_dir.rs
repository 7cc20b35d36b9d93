//! The data directory: whose it is, and that it is ours alone.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::disk_use::DiskUse;
use super::error::RunError;
use super::file_directory::{FileDirectory, sync_names};
use super::random_u64;
use crate::disk::{
    self, Directory, DiskError, Examination, Identity, Journal, Recovered, Scrub, SegmentSize,
    StartError, examine,
};
use crate::types::{DirectoryId, ServerId};

const LOCK_NAME: &str = "lock";
/// What the directories of format 1 have in place of the file `meta`.
const FORMER_JOURNAL: &str = "journal";

/// A directory that this process alone uses.
#[derive(Debug)]
pub struct DataDir {
    /// Held for as long as anybody in this process may write.
    pub lock: File,
    /// The directory's files.
    pub files: FileDirectory,
    /// How they are written.
    pub journal: Journal,
    /// What the directory held.
    pub recovered: Recovered,
    /// Where it is.
    pub path: PathBuf,
    /// How much it takes.
    pub disk_use: Arc<DiskUse>,
    /// How it is read again while the node runs.
    pub scrub: Scrub,
}

impl DataDir {
    /// Opens the directory at `path` for the node, and makes it when it is missing. A new
    /// one gets segments of this size; any other keeps its own. It may take `most` bytes.
    ///
    /// # Errors
    /// A wrong command line when a new directory would take more than that; refused when
    /// another process uses it, or when it belongs to another node, cluster or version, or to
    /// something else altogether; a disk error when it cannot be read or written, or is damaged.
    pub fn open(
        path: &Path,
        id: ServerId,
        cluster: &str,
        segment_size: Option<SegmentSize>,
        most: u64,
    ) -> Result<Self, RunError> {
        make(path)?;
        let lock = lock(path)?;
        let mut files = FileDirectory::at(path);
        if !disk::is_born(&files).map_err(|error| unusable(path, &error))? {
            check_empty(path)?;
            let segment_size = segment_size.unwrap_or_default();
            check_bound(most, segment_size)?;
            let directory = DirectoryId(random_u64().max(1));
            let identity = Identity { cluster: cluster.to_owned(), id, directory };
            disk::create(&mut files, identity, segment_size)
                .map_err(|error| failed(path, "written", &error))?;
        }
        let found = examine(&files).map_err(|error| unusable(path, &error))?;
        check_owner(path, &found.recovered.identity, id, cluster)?;
        tell(&found);
        tell_of_segments(path, segment_size, found.segment_size());
        let segment_size = found.segment_size();
        let scrub = found.scrub();
        let (journal, recovered) =
            found.start(&mut files).map_err(|error| failed(path, "written", &error))?;
        tell_of_set_aside(&files).map_err(|error| failed(path, "read", &error))?;
        let disk_use =
            DiskUse::of(path, segment_size, most).map_err(|error| failed(path, "read", &error))?;
        let disk_use = Arc::new(disk_use);
        let files = FileDirectory::within(path, Arc::clone(&disk_use));
        Ok(Self { lock, files, journal, recovered, path: path.to_owned(), disk_use, scrub })
    }
}

/// Locks a directory in which no node has been yet, and makes it when it is missing.
///
/// # Errors
/// Refused when it holds anything, or when another process uses it; otherwise the disk's.
pub fn lock_empty(path: &Path) -> Result<File, RunError> {
    make(path)?;
    let lock = lock(path)?;
    if disk::is_born(&FileDirectory::at(path)) != Ok(false) {
        return Err(RunError::refused(format!(
            "the directory {} holds a node's data already, or what a restore has left that was \
             killed; name an empty one",
            path.display()
        )));
    }
    check_empty(path)?;
    Ok(lock)
}

/// Says what the start will mend.
fn tell(found: &Examination) {
    for flaw in &found.flaws {
        log::warn!("{flaw}");
    }
    if found.torn_sectors > 0 {
        let sectors = found.torn_sectors;
        log::warn!("{sectors} sectors of a batch that was never durable are cut off the journal");
    }
}

/// Says what of the directory is kept that could not be read.
fn tell_of_set_aside(files: &FileDirectory) -> Result<(), DiskError> {
    let names = files.names()?;
    let count = names.iter().filter(|name| disk::is_set_aside(name)).count();
    if count > 0 {
        log::warn!(
            "{count} damaged files are set aside as aside-...: each start reads them again, and \
             they are removed when the directory is repaired, or when their room is needed"
        );
    }
    Ok(())
}

/// Says that a size which was asked for is not that of the directory.
fn tell_of_segments(path: &Path, asked: Option<SegmentSize>, own: SegmentSize) {
    if asked.is_some_and(|asked| asked != own) {
        log::warn!(
            "the directory {} keeps its segments of {} bytes: --segment-size counts only when a \
             directory is made",
            path.display(),
            own.bytes()
        );
    }
}

/// Makes the directory when it is missing.
///
/// # Errors
/// The disk's.
pub fn make(path: &Path) -> Result<(), RunError> {
    make_durably(path).map_err(|error| failed(path, "made", &error))
}

fn make_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let changed = changed_by_making(path)?;
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    changed.iter().try_for_each(|above| sync_names(above))
}

/// The directories that get a name in them when the one at `path` is made, and all above it
/// that are missing.
fn changed_by_making(path: &Path) -> io::Result<Vec<PathBuf>> {
    let path = std::path::absolute(path)?;
    let missing = path.ancestors().take_while(|at| !at.is_dir());
    Ok(missing.filter_map(Path::parent).map(Path::to_owned).collect())
}

fn lock(path: &Path) -> Result<File, RunError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file =
        options.open(path.join(LOCK_NAME)).map_err(|error| failed(path, "locked", &error))?;
    take(file, path, "give each node a directory of its own")
}

/// Locks a directory that a node has used before, and makes nothing but the empty file that a
/// copy of it may lack.
///
/// # Errors
/// Refused when it is no node's, or when another process uses it.
pub fn lock_existing(path: &Path) -> Result<File, RunError> {
    let is_born = path.is_dir() && disk::is_born(&FileDirectory::at(path)) != Ok(false);
    if !is_born {
        return Err(RunError::refused(format!(
            "{} is no node's directory; name the --data-dir of a node",
            path.display()
        )));
    }
    match File::open(path.join(LOCK_NAME)) {
        Ok(file) => take(file, path, "stop the node that uses it first"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => lock(path),
        Err(error) => Err(failed(path, "locked", &error)),
    }
}

fn take(file: File, path: &Path, advice: &str) -> Result<File, RunError> {
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(RunError::refused(format!(
            "the directory {} is in use by another process; {advice}",
            path.display()
        ))),
        Err(error) => Err(failed(path, "locked", &error)),
    }
}

/// A mistyped path must not scatter a node's files among others.
fn check_empty(path: &Path) -> Result<(), RunError> {
    let names = std::fs::read_dir(path).map_err(|error| failed(path, "read", &error))?;
    for name in names {
        let name = name.map_err(|error| failed(path, "read", &error))?.file_name();
        let name = name.to_string_lossy();
        if name == FORMER_JOURNAL {
            return Err(unusable(path, &StartError::Version(1)));
        }
        if name != LOCK_NAME && name != "lost+found" && !disk::is_owned(&name) {
            return Err(RunError::refused(format!(
                "the directory {} is no node's but holds {name}; name the directory of a node, \
                 or an empty one",
                path.display()
            )));
        }
    }
    Ok(())
}

/// A directory that may take less has no room for a log, so its node would refuse all writes.
fn check_bound(most: u64, segment: SegmentSize) -> Result<(), RunError> {
    let least = DiskUse::least(segment);
    if most >= least {
        return Ok(());
    }
    Err(RunError::usage(format!(
        "--disk-max is {most} bytes, and a directory with segments of {} bytes needs {least} at \
         least; raise --disk-max, or lower --segment-size",
        segment.bytes()
    )))
}

fn check_owner(path: &Path, found: &Identity, id: ServerId, cluster: &str) -> Result<(), RunError> {
    if found.id == id && found.cluster == cluster {
        return Ok(());
    }
    Err(RunError::refused(format!(
        "the directory {} belongs to node {} of cluster {}, and this is to be node {id} of cluster \
         {cluster}; correct --data-dir, --id or --cluster, or name an empty directory",
        path.display(),
        found.id,
        found.cluster,
    )))
}

/// Why a directory cannot be used, as a sentence.
pub fn unusable(path: &Path, error: &StartError) -> RunError {
    let directory = path.display();
    match error {
        StartError::Disk(error) => failed(path, "read", error),
        StartError::Version(_) => {
            RunError::refused(format!("the directory {directory} cannot be used: {error}"))
        }
        StartError::MetaLost => RunError::disk(format!(
            "the directory {directory} cannot be used: {error}; keep a copy; if the other nodes \
             have all, start this one on an empty directory, or else `quorate restore` makes a \
             cluster of the newest file snapshot-... in it"
        )),
    }
}

pub(super) fn failed(path: &Path, what: &str, error: &dyn fmt::Display) -> RunError {
    RunError::disk(format!("the directory {} cannot be {what}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::META;
    use crate::types::Incarnation;
    use std::os::unix::fs::PermissionsExt;

    fn open(path: &Path) -> Result<DataDir, RunError> {
        DataDir::open(path, ServerId(1), "c", None, u64::MAX)
    }

    fn refusal(path: &Path, id: u16, cluster: &str) -> (u8, String) {
        let error = DataDir::open(path, ServerId(id), cluster, None, u64::MAX).unwrap_err();
        (error.exit_code(), error.to_string())
    }

    #[test]
    fn it_is_made_private_and_keeps_its_identity() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_ne!(first.recovered.identity.directory, DirectoryId(0));
        let identity = first.recovered.identity.clone();
        drop(first);

        let second = open(&path).unwrap();
        assert_eq!(second.recovered.identity, identity);
        assert_eq!(second.recovered.incarnation, Incarnation(2));
    }

    #[test]
    fn every_directory_that_gets_a_name_is_made_durable() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b/c");
        let changed = changed_by_making(&path).unwrap();
        let below = |name: &str| parent.path().join(name);
        assert_eq!(changed, [below("a/b"), below("a"), parent.path().to_owned()]);
        make_durably(&path).unwrap();
        assert!(path.is_dir());
    }

    #[test]
    fn one_process_at_a_time_uses_it() {
        let directory = tempfile::tempdir().unwrap();
        let _held = open(directory.path()).unwrap();
        let (code, sentence) = refusal(directory.path(), 1, "c");
        assert_eq!(code, 4);
        assert!(sentence.contains("is in use by another process"), "{sentence}");
    }

    #[test]
    fn another_nodes_directory_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        drop(open(directory.path()).unwrap());
        for (id, cluster) in [(2, "c"), (1, "d")] {
            let (code, sentence) = refusal(directory.path(), id, cluster);
            assert_eq!(code, 4);
            assert!(sentence.contains("belongs to node 1 of cluster c"), "{sentence}");
        }
        let again = open(directory.path()).unwrap();
        assert_eq!(again.recovered.incarnation, Incarnation(2), "refusals do not count as starts");
    }

    #[test]
    fn a_directory_of_other_things_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("thesis.tex"), "").unwrap();
        let (code, sentence) = refusal(directory.path(), 1, "c");
        assert_eq!(code, 4);
        assert!(sentence.contains("thesis.tex"), "{sentence}");
    }

    #[test]
    fn a_lost_identity_is_a_disk_error_and_another_format_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        drop(open(directory.path()).unwrap());
        let path = directory.path().join(META);
        let whole = std::fs::read(&path).unwrap();

        let mut newer = whole.clone();
        for copy in [0, 4_096] {
            newer[copy + 8] = 9;
            let checksum = crc32fast::hash(&newer[copy..copy + 508]).to_le_bytes();
            newer[copy + 508..copy + 512].copy_from_slice(&checksum);
        }
        std::fs::write(&path, &newer).unwrap();
        let (code, sentence) = refusal(directory.path(), 1, "c");
        assert_eq!(code, 4);
        assert!(sentence.contains("format 9"), "{sentence}");

        let mut damaged = whole;
        damaged[3] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        drop(open(directory.path()).expect("one copy is enough"));
        damaged[4_096 + 3] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert_eq!(refusal(directory.path(), 1, "c").0, 5);
    }

    #[test]
    fn a_directory_of_format_1_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FORMER_JOURNAL), "quoratej").unwrap();
        let (code, sentence) = refusal(directory.path(), 1, "c");
        assert_eq!(code, 4);
        assert!(sentence.contains("format 1 and this program reads format 3"), "{sentence}");
    }

    #[test]
    fn a_directory_that_may_have_lost_entries_is_in_doubt_until_that_is_over() {
        let directory = tempfile::tempdir().unwrap();
        drop(open(directory.path()).unwrap());
        std::fs::write(directory.path().join("journal-0000000000000001"), "").unwrap();
        for _ in 0..2 {
            let found = open(directory.path()).unwrap();
            assert_eq!(found.recovered.doubt.map(|doubt| doubt.upto), Some(None));
        }
    }
}
