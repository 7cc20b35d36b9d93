//! Messages by which damaged directories are repaired, and their bytes.

use bytes::BufMut;

use super::fields::{put_option, take_option};
use super::frame::HEADER_BYTES;
use super::kind::Body;
use super::peer_codec::{put_entries, take_entries};
use crate::codec::{Malformed, Reader};
use crate::entry::Entry;
use crate::types::{LogIndex, Term};

/// The bytes of a frame with a [`RepairReply`] apart from its entries.
pub const REPAIR_BYTES_FIXED: usize = HEADER_BYTES + 35;

/// A node whose directory is damaged asks for what it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepairRequest {
    /// The first entry that it lacks.
    pub first: LogIndex,
    /// The last one, as far as it knows; zero: it does not.
    pub last: LogIndex,
    /// The term and index of the last entry that it may have acknowledged; none: it does
    /// not know.
    pub bound: Option<(Term, LogIndex)>,
}

/// Entries that can be read here, or that there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairReply {
    /// The sender's term, durable if `end` is there.
    pub term: Term,
    /// The sender holds no entry, and will accept none of an earlier term, beyond this end
    /// of its log: term and index of the last entry that it may hold.
    pub end: Option<(Term, LogIndex)>,
    /// The index of the first entry.
    pub first: LogIndex,
    /// The entries, consecutive.
    pub entries: Vec<Entry>,
}

impl Body for RepairRequest {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.first.0);
        out.put_u64_le(self.last.0);
        put_option(out, self.bound, put_end);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            first: LogIndex(reader.u64()?),
            last: LogIndex(reader.u64()?),
            bound: take_option(reader, take_end)?,
        })
    }
}

impl Body for RepairReply {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.term.0);
        put_option(out, self.end, put_end);
        out.put_u64_le(self.first.0);
        put_entries(out, &self.entries);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        let term = Term(reader.u64()?);
        let end = take_option(reader, take_end)?;
        let first = LogIndex(reader.u64()?);
        Ok(Self { term, end, first, entries: take_entries(reader, first)? })
    }
}

/// Appends where a log ends.
pub(super) fn put_end(out: &mut Vec<u8>, (term, index): (Term, LogIndex)) {
    out.put_u64_le(term.0);
    out.put_u64_le(index.0);
}

/// Takes where a log ends.
pub(super) fn take_end(reader: &mut Reader) -> Result<(Term, LogIndex), Malformed> {
    Ok((Term(reader.u64()?), LogIndex(reader.u64()?)))
}
