//! One root of the store: keys, sessions and configuration at one index.

use std::ops::Bound;
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use rpds::RedBlackTreeMapSync;

use super::checksum::Checksum;
use super::sessions::{Admission, SETTLED_SESSION_BYTES, SessionTable};
use crate::codec::{Malformed, Reader};
use crate::configuration::Configuration;
use crate::entry::{Entry, EntryKind};
use crate::operation::{
    Command, Expected, INLINE_BYTES_MAX, LoggedRequest, Operation, Outcome, Settled,
};
use crate::types::{LogIndex, LogTime, SessionId};

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
    volume: Volume,
}

/// What stands under a key.
#[derive(Clone, Debug)]
struct Stored {
    version: LogIndex,
    value: Bytes,
}

/// How much there is, in bytes: it decides when a snapshot is due, on all nodes alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Volume {
    /// Of log since the last snapshot.
    log: u64,
    /// Of keys and values.
    keys: u64,
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
            volume: Volume::default(),
        }
    }

    /// A state at this index that holds nothing but these keys, each with its version and its
    /// value.
    pub fn of_keys(
        index: LogIndex,
        configuration: Configuration,
        keys: impl IntoIterator<Item = (Bytes, LogIndex, Bytes)>,
    ) -> Self {
        let empty = Self::at_genesis(configuration);
        let mut state = Self { index, configuration_index: index, ..empty }.without_sessions();
        for (key, version, value) in keys {
            state.volume.keys += volume_of(&key, &value);
            state.keys.insert_mut(key, Stored { version, value });
        }
        state
    }

    /// The same, but each session of before counts as evicted: none is known, and what one of
    /// them still asks for is not executed.
    #[must_use]
    pub fn without_sessions(&self) -> Self {
        let volume = Volume { log: 0, keys: self.volume.keys };
        Self { sessions: SessionTable::evicted_to(self.index), volume, ..self.clone() }
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
        checksum.add(&self.volume.log.to_le_bytes());
        self.sessions.add_to(&mut checksum);
        checksum.sum()
    }

    /// Whether a snapshot is to be taken of this very state.
    ///
    /// It follows from the log alone, so that all nodes take theirs at the same indexes, and
    /// the pieces of one complete those of another. The log between two snapshots is at
    /// least as long as the state, so that writing snapshots costs no more than the log
    /// itself. Between the parts of an operation none is due.
    pub fn is_snapshot_due(&self) -> bool {
        self.volume.log == 0
    }

    /// How many bytes of disk all may take that comes until the next snapshot is written,
    /// that snapshot included.
    pub fn room_to_next_snapshot(&self) -> u64 {
        self.log_between_snapshots().saturating_sub(self.volume.log) * self.log_overhead()
            + self.snapshot_volume()
    }

    /// How many bytes of disk a state of this size may take at any time: the snapshot, the
    /// log up to the next one, and that.
    pub fn room_for_all(&self) -> u64 {
        self.log_between_snapshots() * self.log_overhead() + 2 * self.snapshot_volume()
    }

    fn log_overhead(&self) -> u64 {
        let Configuration { members, learners, .. } = &*self.configuration;
        let (of_few, of_many) = LOG_OVERHEAD;
        if members.len() + learners.len() <= FEW_NODES { of_few } else { of_many }
    }

    /// How many bytes of a snapshot sessions take in which something was settled and nothing
    /// else, when they make up for what is missing to so many sessions.
    pub fn room_for_sessions(&self, most: u64) -> u64 {
        let most = most.min(self.configuration.session_limit.into());
        most.saturating_sub(self.sessions.session_count() as u64) * SETTLED_SESSION_BYTES
    }

    fn log_between_snapshots(&self) -> u64 {
        self.volume.keys.max(self.configuration.snapshot_bytes)
    }

    fn snapshot_volume(&self) -> u64 {
        self.volume.keys + 64 * self.key_count() as u64 + self.sessions.volume()
    }

    /// Appends what is neither key nor session.
    pub(super) fn encode_head(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.index.0);
        out.put_u64_le(self.time.0);
        out.put_u64_le(self.configuration_index.0);
        out.put_u64_le(self.volume.log);
        out.put_u64_le(self.sessions.eviction_floor().0);
        out.put_slice(&self.configuration.encode());
    }

    /// Takes a head off the reader: a state that has no keys and no sessions yet.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are none.
    pub(super) fn decode_head(reader: &mut Reader) -> Result<Self, Malformed> {
        let (index, time) = (LogIndex(reader.u64()?), LogTime(reader.u64()?));
        let configuration_index = LogIndex(reader.u64()?);
        let volume = Volume { log: reader.u64()?, keys: 0 };
        let sessions = SessionTable::evicted_to(LogIndex(reader.u64()?));
        let configuration = Arc::new(Configuration::decode(reader)?);
        let keys = RedBlackTreeMapSync::new_sync();
        Ok(Self { index, time, configuration, configuration_index, keys, sessions, volume })
    }

    /// The first key above `after`, and its bytes appended to `out`.
    pub(super) fn encode_next_key(&self, after: Bound<&[u8]>, out: &mut Vec<u8>) -> Option<Bytes> {
        let (key, version, value) = self.range_from(after).next()?;
        out.put_u64_le(version.0);
        out.put_u32_le(u32::try_from(key.len()).unwrap_or(u32::MAX));
        out.put_u32_le(u32::try_from(value.len()).unwrap_or(u32::MAX));
        out.put_slice(key);
        out.put_slice(value);
        Some(key.clone())
    }

    /// Takes one key off the reader and into the state. Returns it.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are none.
    pub(super) fn restore_key(&mut self, reader: &mut Reader) -> Result<Bytes, Malformed> {
        let version = LogIndex(reader.u64()?);
        let (key_length, value_length) = (reader.u32()? as usize, reader.u32()? as usize);
        // Copied, so that no block is kept alive by a single key.
        let key = Bytes::copy_from_slice(&reader.bytes(key_length)?);
        let value = Bytes::copy_from_slice(&reader.bytes(value_length)?);
        self.volume.keys += volume_of(&key, &value);
        self.keys.insert_mut(key.clone(), Stored { version, value });
        Ok(key)
    }

    /// The first session above `after`, and its bytes appended to `out`.
    pub(super) fn encode_next_session(
        &self,
        after: Bound<SessionId>,
        out: &mut Vec<u8>,
    ) -> Option<SessionId> {
        self.sessions.encode_next(after, out)
    }

    /// Takes one session off the reader and into the state. Returns its id.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are none.
    pub(super) fn restore_session(&mut self, reader: &mut Reader) -> Result<SessionId, Malformed> {
        self.sessions.restore(reader)
    }

    /// Executes the next entry on this state.
    pub(super) fn execute(
        &mut self,
        entry: &Entry,
        request: Option<&LoggedRequest>,
    ) -> Option<Settled> {
        self.index = entry.index;
        self.time = self.time.max(entry.time);
        self.volume.log += ENTRY_OVERHEAD + entry.payload.len() as u64;
        if entry.kind == EntryKind::Configuration
            && let Ok(configuration) =
                Configuration::decode(&mut Reader::new(entry.payload.clone()))
        {
            self.configuration = Arc::new(configuration);
            self.configuration_index = entry.index;
        }
        let settled = request.map(|request| self.settle(request));
        if entry.kind != EntryKind::Part && self.volume.log >= self.log_between_snapshots() {
            self.volume.log = 0;
        }
        settled
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
            Operation::Delete { key } => Outcome::Deleted { existed: self.remove(key) },
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
        self.volume.keys += volume_of(key, value);
        self.volume.keys -= self.volume_at(key);
        self.keys.insert_mut(Bytes::copy_from_slice(key), stored);
    }

    fn remove(&mut self, key: &[u8]) -> bool {
        self.volume.keys -= self.volume_at(key);
        self.keys.remove_mut(key)
    }

    fn volume_at(&self, key: &[u8]) -> u64 {
        self.keys.get(key).map_or(0, |stored| volume_of(key, &stored.value))
    }
}

/// What an entry adds to the log's volume besides its payload, in bytes.
const ENTRY_OVERHEAD: u64 = 32;

/// How many bytes of disk a byte of log takes at most, whatever batches it comes in, in a cluster
/// of few nodes and in one of many.
///
/// The smallest request settles something: it counts as 82 bytes, and takes 83 of the 448 of a
/// sector when it comes alone. With it come the commit index, in 11, and what was seen of each
/// other node, in 39. Beside that of 7 others all of it fits in a sector of 512; a request that
/// does not counts as 164 bytes at least. What was seen of 14 others makes it two sectors.
const LOG_OVERHEAD: (u64, u64) = (7, 13);
/// How many nodes are few.
const FEW_NODES: usize = 8;

fn volume_of(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

/// A signed 64-bit number in decimal, with at most a minus before it.
pub fn parse_number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+'))?.parse().ok()
}
