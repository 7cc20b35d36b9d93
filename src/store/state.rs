//! One root of the store: keys, sessions and configuration at one index.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use rpds::RedBlackTreeMapSync;

use super::checksum::Checksum;
use super::sessions::{Admission, SessionTable};
use crate::codec::Reader;
use crate::configuration::Configuration;
use crate::entry::{Entry, EntryKind};
use crate::operation::{
    Command, Expected, INLINE_BYTES_MAX, LoggedRequest, Operation, Outcome, Settled,
};
use crate::types::{LogIndex, LogTime};

/// The state at one index. Cloning it is cheap: clones share their memory.
#[derive(Clone, Debug)]
pub struct State {
    index: LogIndex,
    time: LogTime,
    configuration: Arc<Configuration>,
    /// Where that stands in the log.
    configuration_index: LogIndex,
    keys: RedBlackTreeMapSync<Bytes, Stored>,
    sessions: SessionTable,
}

/// What stands under a key.
#[derive(Clone, Debug)]
struct Stored {
    version: LogIndex,
    value: Bytes,
}

impl State {
    pub(super) fn at_genesis(configuration: Configuration) -> Self {
        Self {
            index: LogIndex(1),
            time: LogTime(0),
            sessions: SessionTable::new(),
            configuration: Arc::new(configuration),
            configuration_index: LogIndex(1),
            keys: RedBlackTreeMapSync::new_sync(),
        }
    }

    /// The index of the last entry executed.
    pub fn index(&self) -> LogIndex {
        self.index
    }

    /// The cluster's time at that entry.
    pub fn time(&self) -> LogTime {
        self.time
    }

    /// Who counts.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// The same, to keep.
    pub fn shared_configuration(&self) -> Arc<Configuration> {
        Arc::clone(&self.configuration)
    }

    /// Where the configuration stands in the log.
    pub fn configuration_index(&self) -> LogIndex {
        self.configuration_index
    }

    /// What the clients' sessions have done.
    pub fn sessions(&self) -> &SessionTable {
        &self.sessions
    }

    /// How many keys there are.
    pub fn key_count(&self) -> usize {
        self.keys.size()
    }

    /// The version and the value that stand under the key.
    pub fn get(&self, key: &[u8]) -> Option<(LogIndex, Bytes)> {
        self.keys.get(key).map(|stored| (stored.version, stored.value.clone()))
    }

    /// The keys from `from` on, with versions and values, in the order of their bytes.
    pub fn range_from(
        &self,
        from: Bound<&[u8]>,
    ) -> impl Iterator<Item = (&Bytes, LogIndex, &Bytes)> {
        self.keys
            .range::<[u8], _>((from, Bound::Unbounded))
            .map(|(key, stored)| (key, stored.version, &stored.value))
    }

    /// Sums up everything that nodes must agree on: equal states have equal sums.
    pub fn checksum(&self) -> u64 {
        let mut checksum = Checksum::default();
        checksum.add(&self.index.0.to_le_bytes());
        checksum.add(&self.time.0.to_le_bytes());
        checksum.add(&self.configuration.encode());
        checksum.add(&self.configuration_index.0.to_le_bytes());
        for (key, stored) in &self.keys {
            checksum.add(key);
            checksum.add(&stored.version.0.to_le_bytes());
            checksum.add(&stored.value);
        }
        self.sessions.add_to(&mut checksum);
        checksum.sum()
    }

    /// Executes the next entry on this state.
    pub(super) fn execute(
        &mut self,
        entry: &Entry,
        request: Option<&LoggedRequest>,
    ) -> Option<Settled> {
        self.index = entry.index;
        self.time = self.time.max(entry.time);
        if entry.kind == EntryKind::Configuration
            && let Ok(configuration) =
                Configuration::decode(&mut Reader::new(entry.payload.clone()))
        {
            self.configuration = Arc::new(configuration);
            self.configuration_index = entry.index;
        }
        request.map(|request| self.settle(request))
    }

    /// Executes the request unless its session shows that it must not be.
    fn settle(&mut self, request: &LoggedRequest) -> Settled {
        let here = |outcome| Settled { index: self.index, outcome };
        match self.sessions.admit(request, self.index, &self.configuration) {
            Admission::Refused(outcome) => here(outcome),
            Admission::Kept(settled) => settled,
            Admission::New => {
                let outcome = self.outcome_of(request);
                let settled = Settled { index: self.index, outcome };
                self.sessions.keep(request, settled.clone());
                settled
            }
        }
    }

    fn outcome_of(&mut self, request: &LoggedRequest) -> Outcome {
        let expired = request.not_after.0 != 0 && self.time > request.not_after;
        match &request.command {
            Command::Settle => Outcome::Forbidden,
            Command::Execute(_) if expired => Outcome::Expired,
            Command::Execute(operation) => self.apply(operation),
        }
    }

    fn apply(&mut self, operation: &Operation) -> Outcome {
        match operation {
            Operation::Put { key, value } => {
                self.write(key, value);
                Outcome::Written
            }
            Operation::Delete { key } => {
                Outcome::Deleted { existed: self.keys.remove_mut(&key[..]) }
            }
            Operation::CompareAndSwap { key, expected, value } => {
                self.compare_and_swap(key, expected, value)
            }
            Operation::Increment { key, by } => self.increment(key, *by),
        }
    }

    fn compare_and_swap(&mut self, key: &Bytes, expected: &Expected, value: &Bytes) -> Outcome {
        let stored = self.keys.get(&key[..]);
        let as_expected = match (expected, stored) {
            (Expected::Absent, None) => true,
            (Expected::Version(version), Some(stored)) => stored.version == *version,
            (Expected::Value(value), Some(stored)) => stored.value == *value,
            _ => false,
        };
        if as_expected {
            self.write(key, value);
            return Outcome::Written;
        }
        let short = |stored: &&Stored| stored.value.len() <= INLINE_BYTES_MAX;
        Outcome::CompareFailed {
            version: stored.map(|stored| stored.version),
            value: stored.filter(short).map(|stored| stored.value.clone()),
        }
    }

    fn increment(&mut self, key: &Bytes, by: i64) -> Outcome {
        let number = match self.keys.get(&key[..]) {
            None => Some(0),
            Some(stored) => parse_number(&stored.value),
        };
        let Some(number) = number else { return Outcome::NotANumber };
        let Some(total) = number.checked_add(by) else { return Outcome::Overflow };
        self.write(key, total.to_string().as_bytes());
        Outcome::Incremented { total }
    }

    /// Copies, so that neither the log's memory nor a datagram's is kept alive.
    fn write(&mut self, key: &[u8], value: &[u8]) {
        let stored = Stored { version: self.index, value: Bytes::copy_from_slice(value) };
        self.keys.insert_mut(Bytes::copy_from_slice(key), stored);
    }
}

/// A signed 64-bit number in decimal, with at most a minus before it.
pub fn parse_number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+'))?.parse().ok()
}
