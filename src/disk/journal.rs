//! The journal, as a running node writes it.

use std::ops::Range;

use super::directory::{Directory, DiskError};
use super::meta::Meta;
use super::names::META;
use super::record::LogRecord;
use super::scan::Flaw;
use super::scrub::meta_flaws;
use super::set_aside;
use super::writer::SegmentWriter;
use super::{GenesisState, Record};
use crate::types::LogIndex;

/// The directory's files, all of which are durable but for the records written last.
#[derive(Debug)]
pub struct Journal {
    meta: Meta,
    meta_unsynced: bool,
    writer: SegmentWriter,
    /// The doubt ends when everything written before is durable.
    doubt_ends: bool,
}

impl Journal {
    pub(super) fn new(meta: Meta, writer: SegmentWriter) -> Self {
        Self { meta, meta_unsynced: false, writer, doubt_ends: false }
    }

    /// Writes the records. They are durable after the next [`sync`](Self::sync), and
    /// not all of them before. What was written before must be synced.
    ///
    /// # Errors
    /// The disk's. After [`DiskError::NoSpace`] the same records may be written again:
    /// what they say is the same when they stand there twice. Any other is final.
    pub fn write(
        &mut self,
        directory: &mut dyn Directory,
        records: &[Record],
    ) -> Result<(), DiskError> {
        let log_records: Vec<LogRecord> = records.iter().filter_map(of_the_log).collect();
        for record in records {
            self.writer.carry(record);
        }
        self.write_meta(directory, records)?;
        if log_records.is_empty() {
            return Ok(());
        }
        // The genesis must not be missed by entries, nor the term that they were made in.
        self.sync_meta(directory)?;
        self.writer.append(&log_records, directory)
    }

    /// Makes durable what was written.
    ///
    /// # Errors
    /// The disk's. It is final.
    pub fn sync(&mut self, directory: &mut dyn Directory) -> Result<(), DiskError> {
        self.sync_meta(directory)?;
        self.writer.sync(directory)?;
        if self.doubt_ends {
            // What ends it is durable now; the other way round a loss of power could leave
            // a directory that has no doubt and lacks what it acknowledged.
            self.doubt_ends = false;
            self.meta.doubt = None;
            self.meta.write_promises(directory)?;
            directory.sync(META)?;
            set_aside::free(directory)?;
        }
        Ok(())
    }

    /// Gives up segments of which everything is covered by a durable snapshot up to this
    /// index.
    ///
    /// # Errors
    /// The disk's. It is final.
    pub fn cut(&mut self, directory: &mut dyn Directory, upto: LogIndex) -> Result<(), DiskError> {
        self.writer.cut(upto, directory)
    }

    /// The numbers of the segments that nothing is written to any more, and that are needed:
    /// all of each is durable.
    pub fn sealed(&self) -> Range<u32> {
        self.writer.sealed()
    }

    /// The same, after a cut at this index.
    pub fn sealed_after(&self, upto: LogIndex) -> Range<u32> {
        self.writer.sealed_after(upto)
    }

    /// These segments were found damaged: they are not used again once they are given up.
    pub fn distrust(&mut self, segments: &[u32]) {
        for number in segments {
            self.writer.distrust(*number);
        }
    }

    /// Reads the file `meta` again, and writes it anew from memory if a copy in it is not
    /// intact, or not what was written last. Returns what was wrong. What was written before
    /// must be synced.
    ///
    /// Nobody else writes the file, so what looks wrong here is no half of an update. And
    /// when the power fails meanwhile, a copy that was intact still is: of that, nothing but
    /// the first sector changes, which a disk writes whole or not at all.
    ///
    /// # Errors
    /// The disk's. It is final.
    pub fn mend_meta(&mut self, directory: &mut dyn Directory) -> Result<Vec<Flaw>, DiskError> {
        let flaws = meta_flaws(directory, Some(&self.meta));
        if !flaws.is_empty() {
            self.meta.save(directory)?;
        }
        Ok(flaws)
    }

    fn write_meta(
        &mut self,
        directory: &mut dyn Directory,
        records: &[Record],
    ) -> Result<(), DiskError> {
        let mut meta = self.meta.clone();
        for record in records {
            self.doubt_ends = match record {
                Record::Doubt(doubt) => doubt.is_none(),
                _ => self.doubt_ends,
            };
            apply(record, &mut meta);
        }
        if meta == self.meta {
            return Ok(());
        }
        let genesis_changes = meta.genesis != self.meta.genesis;
        self.meta = meta;
        if genesis_changes {
            return self.meta.save(directory);
        }
        self.meta_unsynced = true;
        self.meta.write_promises(directory)
    }

    fn sync_meta(&mut self, directory: &mut dyn Directory) -> Result<(), DiskError> {
        if std::mem::take(&mut self.meta_unsynced) {
            directory.sync(META)?;
        }
        Ok(())
    }
}

/// What the record changes of the file `meta` at once.
fn apply(record: &Record, meta: &mut Meta) {
    match record {
        // A late copy of some proposal may be accepted while the completion of another is
        // on its way to the disk. The complete one stays.
        Record::GenesisAccepted(_) | Record::GenesisComplete(_)
            if matches!(meta.genesis, GenesisState::Complete(_)) => {}
        Record::GenesisAccepted(genesis) => meta.genesis = GenesisState::Accepted(genesis.clone()),
        Record::GenesisComplete(genesis) => meta.genesis = GenesisState::Complete(genesis.clone()),
        Record::HardState { term, voted_for } => {
            meta.term = *term;
            meta.voted_for = *voted_for;
        }
        Record::Doubt(Some(doubt)) => meta.doubt = Some(*doubt),
        Record::Reborn(directory) => meta.identity.directory = *directory,
        Record::Doubt(None)
        | Record::Append(_)
        | Record::Commit(_)
        | Record::Restart { .. }
        | Record::Sighted(..) => {}
    }
}

/// What the record adds to the log's segments.
fn of_the_log(record: &Record) -> Option<LogRecord> {
    match record {
        Record::Append(entry) => Some(LogRecord::Append(entry.clone())),
        Record::Commit(index) => Some(LogRecord::Commit(*index)),
        Record::Restart { index, term, chain } => {
            Some(LogRecord::Restart { index: *index, term: *term, chain: *chain })
        }
        Record::Sighted(node, directory, sighting) => {
            Some(LogRecord::Sighted(*node, *directory, *sighting))
        }
        Record::GenesisAccepted(_)
        | Record::GenesisComplete(_)
        | Record::HardState { .. }
        | Record::Doubt(_)
        | Record::Reborn(_) => None,
    }
}
