//! The log's records.

use bytes::Bytes;

use crate::configuration::Configuration;
use crate::types::{LogIndex, LogTime, Term};

/// What an entry carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EntryKind {
    /// Nothing: the start of a term.
    Noop = 0,
    /// A [`Configuration`].
    Configuration = 1,
    /// The beginning or middle of a request that is longer than one entry.
    Part = 2,
    /// A whole [`LoggedRequest`](crate::operation::LoggedRequest), or its last piece.
    Request = 3,
}

impl EntryKind {
    /// The kind that the byte stands for.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Noop, Self::Configuration, Self::Part, Self::Request].into_iter().nth(byte.into())
    }
}

/// The version of the meaning of entries that this program writes and executes.
pub const DATA_VERSION: u8 = 1;

/// One record of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its position.
    pub index: LogIndex,
    /// The term whose leader appended it.
    pub term: Term,
    /// The cluster's time when it was appended.
    pub time: LogTime,
    /// What it carries.
    pub kind: EntryKind,
    /// The version of that meaning.
    pub version: u8,
    /// At most [`ENTRY_BYTES_MAX`](crate::types::ENTRY_BYTES_MAX) bytes.
    pub payload: Bytes,
    /// The CRC-32 of the previous entry's chain value and of this entry: equal chains
    /// mean equal logs up to here.
    pub chain: u32,
}

impl Entry {
    /// The entry that follows one with the chain value `previous_chain`.
    pub fn chained(
        previous_chain: u32,
        index: LogIndex,
        term: Term,
        time: LogTime,
        kind: EntryKind,
        payload: Bytes,
    ) -> Self {
        let mut entry = Self { index, term, time, kind, version: DATA_VERSION, payload, chain: 0 };
        entry.chain = entry.chain_after(previous_chain);
        entry
    }

    /// The first entry of every log of the cluster. All members hold it durably before
    /// the cluster is born, so it is committed by construction.
    pub fn genesis(configuration: &Configuration) -> Self {
        Self::chained(
            0,
            LogIndex(1),
            Term(0),
            LogTime(0),
            EntryKind::Configuration,
            configuration.encode(),
        )
    }

    /// The chain value that this entry must have after `previous_chain`.
    pub fn chain_after(&self, previous_chain: u32) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&previous_chain.to_le_bytes());
        hasher.update(&self.index.0.to_le_bytes());
        hasher.update(&self.term.0.to_le_bytes());
        hasher.update(&self.time.0.to_le_bytes());
        hasher.update(&[self.kind as u8, self.version]);
        hasher.update(&self.payload);
        hasher.finalize()
    }
}
