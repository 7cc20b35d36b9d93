//! The data directory: whose it is, and that it is ours alone.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::RunError;
use super::journal_file::{FoundJournal, JournalFile, OpenError, sync_directory};
use super::random_u64;
use crate::journal::{Damage, Identity, Recovered};
use crate::types::{DirectoryId, ServerId};

const LOCK_NAME: &str = "lock";

/// A directory that this process alone uses.
#[derive(Debug)]
pub struct DataDir {
    /// Held for as long as anybody in this process may write.
    pub lock: File,
    /// The journal.
    pub journal: JournalFile,
    /// What the journal held.
    pub recovered: Recovered,
}

impl DataDir {
    /// Opens the directory at `path` for the node, and makes it when it is missing.
    ///
    /// # Errors
    /// Refused when another process uses it, or when it belongs to another node, cluster
    /// or version, or to something else altogether; a disk error when it cannot be read
    /// or written, or is damaged.
    pub fn open(path: &Path, id: ServerId, cluster: &str) -> Result<Self, RunError> {
        make(path).map_err(|error| failed(path, "made", &error))?;
        let lock = lock(path)?;
        if !JournalFile::exists(path) {
            check_empty(path)?;
            let directory = DirectoryId(random_u64().max(1));
            let identity = Identity { cluster: cluster.to_owned(), id, directory };
            JournalFile::create(path, &identity)
                .map_err(|error| failed(path, "written", &error))?;
        }
        let found = FoundJournal::read(path).map_err(|error| unusable(path, &error))?;
        check_owner(path, found.identity(), id, cluster)?;
        let (journal, recovered) =
            found.start().map_err(|error| failed(path, "written", &error))?;
        Ok(Self { lock, journal, recovered })
    }
}

fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let above = path.canonicalize()?.parent().map(Path::to_owned);
    above.map_or(Ok(()), |above| sync_directory(&above))
}

fn lock(path: &Path) -> Result<File, RunError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file =
        options.open(path.join(LOCK_NAME)).map_err(|error| failed(path, "locked", &error))?;
    take(file, path)
}

/// Locks a directory that a node has used before, and makes nothing.
///
/// # Errors
/// Refused when it is no node's, or when another process uses it.
pub fn lock_existing(path: &Path) -> Result<File, RunError> {
    if !JournalFile::exists(path) {
        return Err(RunError::refused(format!(
            "{} holds no journal; name the --data-dir of a node",
            path.display()
        )));
    }
    let file = File::open(path.join(LOCK_NAME)).map_err(|error| failed(path, "locked", &error))?;
    take(file, path)
}

fn take(file: File, path: &Path) -> Result<File, RunError> {
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(RunError::refused(format!(
            "the directory {} is in use by another process; give each node a directory of its own",
            path.display()
        ))),
        Err(error) => Err(failed(path, "locked", &error.into())),
    }
}

/// A mistyped path must not scatter a node's files among others.
fn check_empty(path: &Path) -> Result<(), RunError> {
    let names = std::fs::read_dir(path).map_err(|error| failed(path, "read", &error))?;
    for name in names {
        let name = name.map_err(|error| failed(path, "read", &error))?.file_name();
        let name = name.to_string_lossy();
        if name != LOCK_NAME && name != "lost+found" && !JournalFile::owns(&name) {
            return Err(RunError::refused(format!(
                "the directory {} has no journal but holds {name}; name the directory of a node, \
                 or an empty one",
                path.display()
            )));
        }
    }
    Ok(())
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

fn unusable(path: &Path, error: &OpenError) -> RunError {
    let journal = path.join("journal");
    let journal = journal.display();
    match error {
        OpenError::Io(error) => failed(path, "read", error),
        OpenError::Damage(version @ Damage::Version(_)) => {
            RunError::refused(format!("the journal {journal} cannot be used: {version}"))
        }
        OpenError::Damage(damage) => RunError::disk(format!(
            "the journal {journal} cannot be used: {damage}; keep a copy, and start the node on an \
             empty directory"
        )),
    }
}

fn failed(path: &Path, what: &str, error: &io::Error) -> RunError {
    RunError::disk(format!("the directory {} cannot be {what}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Incarnation;
    use std::os::unix::fs::PermissionsExt;

    fn refusal(path: &Path, id: u16, cluster: &str) -> (u8, String) {
        let error = DataDir::open(path, ServerId(id), cluster).unwrap_err();
        (error.exit_code(), error.to_string())
    }

    #[test]
    fn it_is_made_private_and_keeps_its_identity() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = DataDir::open(&path, ServerId(1), "c").unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_ne!(first.recovered.identity.directory, DirectoryId(0));
        let identity = first.recovered.identity.clone();
        drop(first);

        let second = DataDir::open(&path, ServerId(1), "c").unwrap();
        assert_eq!(second.recovered.identity, identity);
        assert_eq!(second.recovered.incarnation, Incarnation(2));
    }

    #[test]
    fn one_process_at_a_time_uses_it() {
        let directory = tempfile::tempdir().unwrap();
        let _held = DataDir::open(directory.path(), ServerId(1), "c").unwrap();
        let (code, sentence) = refusal(directory.path(), 1, "c");
        assert_eq!(code, 4);
        assert!(sentence.contains("is in use by another process"), "{sentence}");
    }

    #[test]
    fn another_nodes_directory_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        drop(DataDir::open(directory.path(), ServerId(1), "c").unwrap());
        for (id, cluster) in [(2, "c"), (1, "d")] {
            let (code, sentence) = refusal(directory.path(), id, cluster);
            assert_eq!(code, 4);
            assert!(sentence.contains("belongs to node 1 of cluster c"), "{sentence}");
        }
        let again = DataDir::open(directory.path(), ServerId(1), "c").unwrap();
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
    fn a_damaged_journal_is_a_disk_error_and_a_newer_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        drop(DataDir::open(directory.path(), ServerId(1), "c").unwrap());
        let path = directory.path().join("journal");
        let whole = std::fs::read(&path).unwrap();

        let mut damaged = whole.clone();
        damaged[3] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert_eq!(refusal(directory.path(), 1, "c").0, 5);

        let mut newer = whole;
        newer[8] = 9;
        let checked = usize::from(newer[10]) - 4;
        let checksum = crc32fast::hash(&newer[..checked]).to_le_bytes();
        newer[checked..checked + 4].copy_from_slice(&checksum);
        std::fs::write(&path, &newer).unwrap();
        let (code, sentence) = refusal(directory.path(), 1, "c");
        assert_eq!(code, 4);
        assert!(sentence.contains("format 9"), "{sentence}");
    }
}
