//! The journal as a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::journal::{
    Damage, Identity, Record, Recovered, Recovery, encode_batch, encode_header, encode_start,
    recover,
};

const NAME: &str = "journal";
const NAME_AT_BIRTH: &str = "journal.new";

/// The bytes of the directory's journal.
///
/// # Errors
/// The disk's.
pub fn read(directory: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(directory.join(NAME))
}

/// A journal as a start finds it: nothing of it is known to be on the disk.
#[derive(Debug)]
pub struct FoundJournal {
    directory: PathBuf,
    bytes: Bytes,
    recovery: Recovery,
}

impl FoundJournal {
    /// Reads the journal. This changes nothing.
    ///
    /// # Errors
    /// Those of the disk, and what is wrong with the bytes.
    pub fn read(directory: &Path) -> Result<Self, OpenError> {
        let bytes = Bytes::from(read(directory)?);
        let recovery = recover(&bytes).map_err(OpenError::Damage)?;
        Ok(Self { directory: directory.to_owned(), bytes, recovery })
    }

    /// Whose journal it is.
    pub fn identity(&self) -> &Identity {
        &self.recovery.recovered.identity
    }

    /// Makes durable what was read, and that the node is started. docs/guarantees.md:
    /// "Nothing read at start is relied on before it is written and synced again".
    ///
    /// # Errors
    /// The disk's.
    pub fn start(self) -> io::Result<(JournalFile, Recovered)> {
        let Self { directory, bytes, recovery } = self;
        let Recovery { mut recovered, end, synced, next_batch, torn } = recovery;
        if torn > 0 {
            log::warn!("{torn} bytes of a batch that was never durable are cut off the journal");
        }
        let file = OpenOptions::new().write(true).open(directory.join(NAME))?;
        // After a kill the page cache returns what the disk may never have got. The same
        // bytes, written again, are dirty again: now the sync reaches the disk, or fails.
        file.write_all_at(&bytes[to_usize(synced)..to_usize(end)], synced)?;
        file.set_len(end)?;
        file.sync_all()?;
        sync_directory(&directory)?;

        let mut journal = JournalFile { file, length: end, next_batch, buffer: Vec::new() };
        recovered.incarnation = recovered.incarnation.next();
        encode_start(next_batch, end, recovered.incarnation, &mut journal.buffer);
        journal.write_buffer()?;
        Ok((journal, recovered))
    }
}

fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).expect("the file fitted into memory")
}

/// The open journal, all of which is durable.
#[derive(Debug)]
pub struct JournalFile {
    file: File,
    length: u64,
    next_batch: u64,
    buffer: Vec<u8>,
}

/// Why there is no journal to work with.
#[derive(Debug)]
pub enum OpenError {
    /// The disk says so.
    Io(io::Error),
    /// Its bytes say so.
    Damage(Damage),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl JournalFile {
    /// Whether the directory has a journal.
    pub fn exists(directory: &Path) -> bool {
        directory.join(NAME).exists()
    }

    /// Whether a file of this name is the journal's own.
    pub fn owns(name: &str) -> bool {
        name == NAME || name == NAME_AT_BIRTH
    }

    /// Gives a directory a journal without batches. It gets its name when it is whole.
    ///
    /// # Errors
    /// The disk's.
    pub fn create(directory: &Path, identity: &Identity) -> io::Result<()> {
        let path = directory.join(NAME_AT_BIRTH);
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(&encode_header(identity))?;
        file.sync_all()?;
        std::fs::rename(&path, directory.join(NAME))?;
        sync_directory(directory)
    }

    /// Makes the records durable: one write, one sync.
    ///
    /// # Errors
    /// The disk's. They are final: nobody knows what is on the disk then, and to sync again
    /// would report success without having written what the first sync lost.
    pub fn append(&mut self, records: &[Record]) -> io::Result<()> {
        encode_batch(self.next_batch, self.length, records, &mut self.buffer);
        self.write_buffer()
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.length)?;
        self.file.sync_data()?;
        self.length += self.buffer.len() as u64;
        self.next_batch += 1;
        self.buffer.clear();
        Ok(())
    }
}

/// Makes the directory's names durable.
///
/// # Errors
/// The disk's.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{DirectoryId, Incarnation, ServerId, Term};

    fn open(directory: &tempfile::TempDir) -> (JournalFile, Recovered) {
        FoundJournal::read(directory.path()).unwrap().start().unwrap()
    }

    fn identity() -> Identity {
        Identity { cluster: "c".into(), id: ServerId(1), directory: DirectoryId(5) }
    }

    fn hard_state(term: u64) -> Record {
        Record::HardState { term: Term(term), voted_for: Some(ServerId(2)) }
    }

    #[test]
    fn what_was_appended_is_there_at_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        JournalFile::create(directory.path(), &identity()).unwrap();
        let (mut journal, recovered) = open(&directory);
        assert_eq!((recovered.identity, recovered.incarnation), (identity(), Incarnation(1)));
        journal.append(&[hard_state(3)]).unwrap();
        journal.append(&[hard_state(4), hard_state(5)]).unwrap();

        let (_, recovered) = open(&directory);
        assert_eq!((recovered.term, recovered.voted_for), (Term(5), Some(ServerId(2))));
        assert_eq!(recovered.incarnation, Incarnation(2));
    }

    #[test]
    fn a_torn_tail_is_cut_from_the_file_and_the_journal_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        JournalFile::create(directory.path(), &identity()).unwrap();
        let (mut journal, _) = open(&directory);
        journal.append(&[hard_state(3)]).unwrap();
        let path = directory.path().join(NAME);
        let mut bytes = std::fs::read(&path).unwrap();
        let whole = bytes.len();
        bytes.extend_from_within(whole - 20..);
        std::fs::write(&path, &bytes).unwrap();

        let (mut journal, recovered) = open(&directory);
        assert_eq!(recovered.term, Term(3));
        journal.append(&[hard_state(9)]).unwrap();
        let (_, recovered) = open(&directory);
        assert_eq!((recovered.term, recovered.incarnation), (Term(9), Incarnation(3)));
    }

    #[test]
    fn damage_below_the_last_sync_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        JournalFile::create(directory.path(), &identity()).unwrap();
        let (mut journal, _) = open(&directory);
        let damaged = journal.length;
        journal.append(&[hard_state(3)]).unwrap();
        journal.append(&[hard_state(4)]).unwrap();
        let path = directory.path().join(NAME);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[usize::try_from(damaged).unwrap() + 30] ^= 1;
        std::fs::write(&path, &bytes).unwrap();

        let found = FoundJournal::read(directory.path());
        let Err(OpenError::Damage(Damage::Batch { offset, .. })) = found else {
            panic!("{found:?}")
        };
        assert_eq!(offset, damaged);
    }

    impl JournalFile {
        /// From now on there is no space left.
        pub fn fill_disk(&mut self) {
            self.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        }
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        JournalFile::create(directory.path(), &identity()).unwrap();
        let (mut journal, _) = open(&directory);
        journal.fill_disk();
        let error = journal.append(&[hard_state(1)]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
