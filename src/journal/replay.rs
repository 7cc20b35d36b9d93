//! From records back to the state that they describe.

use bytes::Bytes;

use super::format::{Written, decode_record};
use super::{GenesisState, Identity, Record, Recovered};
use crate::codec::Reader;
use crate::configuration::Configuration;
use crate::entry::Entry;
use crate::types::{Incarnation, LogIndex, Term};

/// What is wrong with records that are intact but cannot be true.
pub(super) type Contradiction = &'static str;

/// The state that the records so far describe.
#[derive(Debug)]
pub(super) struct Replay {
    recovered: Recovered,
    /// The entry that the log begins behind: its index and its chain value.
    base: (LogIndex, u32),
}

impl Replay {
    /// A directory that has no records yet.
    pub(super) fn new(identity: Identity) -> Self {
        Self {
            recovered: Recovered {
                identity,
                incarnation: Incarnation(0),
                genesis: GenesisState::Blank,
                term: Term(0),
                voted_for: None,
                commit: LogIndex(0),
                snapshot: None,
                entries: Vec::new(),
                aside: Vec::new(),
                doubt: None,
            },
            base: (LogIndex(0), 0),
        }
    }

    /// Takes in the records of one batch.
    ///
    /// # Errors
    /// What about them cannot be true.
    pub(super) fn batch(&mut self, body: Bytes) -> Result<(), Contradiction> {
        let mut reader = Reader::new(body);
        while !reader.is_empty() {
            match decode_record(&mut reader).map_err(|_| "a record of no known kind")? {
                Written::Start(incarnation) => self.start(incarnation)?,
                Written::Record(record) => self.record(record)?,
            }
        }
        Ok(())
    }

    /// The state at the end of all records.
    pub(super) fn finish(self) -> Recovered {
        let mut recovered = self.recovered;
        let last = recovered.entries.last();
        let last_index = last.map_or(self.base.0, |entry| entry.index);
        let last_term = last.map_or(Term(0), |entry| entry.term);
        recovered.commit = recovered.commit.min(last_index);
        if recovered.term < last_term {
            recovered.term = last_term;
            recovered.voted_for = None;
        }
        recovered
    }

    fn start(&mut self, incarnation: Incarnation) -> Result<(), Contradiction> {
        if incarnation <= self.recovered.incarnation {
            return Err("a start whose number is not above that of the one before");
        }
        self.recovered.incarnation = incarnation;
        Ok(())
    }

    fn record(&mut self, record: Record) -> Result<(), Contradiction> {
        match record {
            Record::GenesisAccepted(configuration) => self.accept(configuration),
            Record::GenesisComplete(configuration) => self.complete(configuration)?,
            Record::HardState { term, voted_for } => {
                self.recovered.term = term;
                self.recovered.voted_for = voted_for;
            }
            Record::Append(entry) => self.append(entry)?,
            Record::Commit(index) => self.recovered.commit = self.recovered.commit.max(index),
            Record::Doubt(_) => {}
            Record::Restart { index, chain, .. } => {
                self.recovered.entries.clear();
                self.recovered.commit = index;
                self.base = (index, chain);
            }
        }
        Ok(())
    }

    /// A late copy of some proposal may be accepted while the completion of another is on
    /// its way to the disk. The complete one stays.
    fn accept(&mut self, configuration: Configuration) {
        if !matches!(self.recovered.genesis, GenesisState::Complete(_)) {
            self.recovered.genesis = GenesisState::Accepted(configuration);
        }
    }

    fn complete(&mut self, configuration: Configuration) -> Result<(), Contradiction> {
        if let GenesisState::Complete(former) = &self.recovered.genesis {
            return if *former == configuration { Ok(()) } else { Err("a second genesis") };
        }
        self.recovered.entries.push(Entry::genesis(&configuration));
        self.recovered.commit = LogIndex(1);
        self.recovered.genesis = GenesisState::Complete(configuration);
        Ok(())
    }

    fn append(&mut self, entry: Entry) -> Result<(), Contradiction> {
        let entries = &mut self.recovered.entries;
        let before = entry.index.previous().0.checked_sub(self.base.0.0);
        let before = before.and_then(|before| usize::try_from(before).ok());
        let Some(before) = before.filter(|before| entry.index.0 > 1 && *before <= entries.len())
        else {
            return Err("an entry whose predecessor is missing");
        };
        let previous_chain = match before {
            0 => self.base.1,
            _ => entries[before - 1].chain,
        };
        if entry.chain != entry.chain_after(previous_chain) {
            return Err("an entry that does not continue the chain of the log");
        }
        entries.truncate(before);
        entries.push(entry);
        Ok(())
    }
}
