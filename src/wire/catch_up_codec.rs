//! Messages by which a candidate gets what its log lacks, and their bytes.

use bytes::BufMut;

use super::fields::{put_option, take_option};
use super::frame::HEADER_BYTES;
use super::kind::Body;
use super::peer_codec::{put_entries, take_entries};
use super::repair_codec::{put_end, take_end};
use super::snapshot_codec::SnapshotName;
use crate::codec::{Malformed, Reader};
use crate::entry::Entry;
use crate::types::{LogIndex, Term};

/// The bytes of a frame with a [`CatchUpReply`] without a snapshot's name, apart from its
/// entries.
pub const CATCH_UP_BYTES_FIXED: usize = HEADER_BYTES + 35;

/// A candidate that was refused for its log alone asks for what it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatchUpRequest {
    /// The first entry that its log may lack.
    pub first: LogIndex,
}

/// Entries of the sender's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatchUpReply {
    /// The sender's term.
    pub term: Term,
    /// Where its log ends: the term and index of the last entry.
    pub log_end: (Term, LogIndex),
    /// The newest snapshot, if the log does not reach back far enough.
    pub snapshot: Option<SnapshotName>,
    /// The index of the first entry.
    pub first: LogIndex,
    /// The entries, consecutive.
    pub entries: Vec<Entry>,
}

impl Body for CatchUpRequest {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.first.0);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self { first: LogIndex(reader.u64()?) })
    }
}

impl Body for CatchUpReply {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.term.0);
        put_end(out, self.log_end);
        put_option(out, self.snapshot, |out, name| name.put(out));
        out.put_u64_le(self.first.0);
        put_entries(out, &self.entries);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        let term = Term(reader.u64()?);
        let log_end = take_end(reader)?;
        let snapshot = take_option(reader, SnapshotName::take)?;
        let first = LogIndex(reader.u64()?);
        let entries = take_entries(reader, first)?;
        Ok(Self { term, log_end, snapshot, first, entries })
    }
}
