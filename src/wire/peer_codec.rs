//! The bytes of messages between nodes.

use bytes::BufMut;

use super::fields::{
    put_bytes, put_count, put_option, put_text, take_bytes, take_list, take_option, take_text,
};
use super::frame::{FRAME_BYTES_MAX, HEADER_BYTES};
use super::kind::Body;
use super::message::{
    Acknowledge, Heartbeat, Introduce, RANGES_MAX, ReadIndexReply, ReadIndexRequest,
    ReplicateOperation, Standing, VoteReply, VoteRequest,
};
use crate::codec::{Malformed, Reader};
use crate::configuration::Configuration;
use crate::entry::{DATA_VERSION, Entry, EntryKind};
use crate::types::{
    ENTRY_BYTES_MAX, GenesisId, LogIndex, LogTime, NODES_MAX, ReadRound, ServerId, Term,
};

/// The bytes of a frame with a [`ReplicateOperation`] apart from its entries.
pub const REPLICATE_BYTES_FIXED: usize = HEADER_BYTES + 34;
/// The bytes of an entry apart from its payload.
const ENTRY_BYTES_FIXED: usize = 24;
/// The longest address, as typed, that a list of nodes carries.
pub const ADDRESS_BYTES_MAX: usize = 64;

// Whatever the path, the largest entry fits into one frame.
const _: () =
    assert!(REPLICATE_BYTES_FIXED + ENTRY_BYTES_FIXED + ENTRY_BYTES_MAX <= FRAME_BYTES_MAX);

/// The bytes that an entry takes in a [`ReplicateOperation`].
pub fn entry_bytes(entry: &Entry) -> usize {
    ENTRY_BYTES_FIXED + entry.payload.len()
}

impl Body for Introduce {
    fn put(&self, out: &mut Vec<u8>) {
        let (standing, genesis) = match self.standing {
            Standing::Blank => (0, GenesisId(0)),
            Standing::Accepted(genesis) => (1, genesis),
            Standing::Born(genesis) => (2, genesis),
        };
        out.put_u8(standing);
        out.put_u64_le(genesis.0);
        put_count(out, self.list.len());
        for (id, address) in &self.list {
            out.put_u16_le(id.0);
            put_text(out, address, ADDRESS_BYTES_MAX);
        }
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        let standing = match (reader.u8()?, GenesisId(reader.u64()?)) {
            (0, GenesisId(0)) => Standing::Blank,
            (1, genesis) if genesis.0 != 0 => Standing::Accepted(genesis),
            (2, genesis) if genesis.0 != 0 => Standing::Born(genesis),
            _ => return Err(Malformed),
        };
        let list = take_list(reader, NODES_MAX, |reader| {
            Ok((ServerId(reader.u16()?), take_text(reader, ADDRESS_BYTES_MAX)?))
        })?;
        Ok(Self { standing, list })
    }
}

impl Body for Configuration {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_slice(&self.encode());
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Self::decode(reader)
    }
}

impl Body for GenesisId {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.0);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self(reader.u64()?))
    }
}

impl Body for Term {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.0);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self(reader.u64()?))
    }
}

impl Body for VoteRequest {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.term.0);
        out.put_u8(u8::from(self.pre_vote));
        out.put_u8(u8::from(self.transfer));
        out.put_u64_le(self.last_index.0);
        out.put_u64_le(self.last_term.0);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            term: Term(reader.u64()?),
            pre_vote: reader.bool()?,
            transfer: reader.bool()?,
            last_index: LogIndex(reader.u64()?),
            last_term: Term(reader.u64()?),
        })
    }
}

impl Body for VoteReply {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.term.0);
        out.put_u8(u8::from(self.pre_vote));
        out.put_u8(u8::from(self.granted));
        out.put_u64_le(self.voter_term.0);
        out.put_u8(u8::from(self.lacks));
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            term: Term(reader.u64()?),
            pre_vote: reader.bool()?,
            granted: reader.bool()?,
            voter_term: Term(reader.u64()?),
            lacks: reader.bool()?,
        })
    }
}

impl Body for Heartbeat {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.term.0);
        out.put_u64_le(self.round.0);
        out.put_u64_le(self.commit.0);
        put_option(out, self.confirmed_age, BufMut::put_u32_le);
        out.put_u32_le(self.durability_age);
        out.put_u64_le(self.configuration_index.0);
        out.put_u64_le(self.durable.0);
        out.put_u32_le(self.interval);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            term: Term(reader.u64()?),
            round: ReadRound(reader.u64()?),
            commit: LogIndex(reader.u64()?),
            confirmed_age: take_option(reader, Reader::u32)?,
            durability_age: reader.u32()?,
            configuration_index: LogIndex(reader.u64()?),
            durable: LogIndex(reader.u64()?),
            interval: reader.u32()?,
        })
    }
}

impl Body for ReplicateOperation {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.term.0);
        out.put_u64_le(self.commit.0);
        out.put_u64_le(self.previous_index.0);
        out.put_u64_le(self.previous_term.0);
        put_entries(out, &self.entries);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        let (term, commit) = (Term(reader.u64()?), LogIndex(reader.u64()?));
        let (previous_index, previous_term) = (LogIndex(reader.u64()?), Term(reader.u64()?));
        let first = LogIndex(previous_index.0.checked_add(1).ok_or(Malformed)?);
        let entries = take_entries(reader, first)?;
        Ok(Self { term, commit, previous_index, previous_term, entries })
    }
}

/// Appends the number of entries, and the entries.
pub(super) fn put_entries(out: &mut Vec<u8>, entries: &[Entry]) {
    out.put_u16_le(u16::try_from(entries.len()).unwrap_or(u16::MAX));
    for entry in entries {
        put_entry(out, entry);
    }
}

/// Takes a number of entries, and as many, consecutive from `first`.
pub(super) fn take_entries(reader: &mut Reader, first: LogIndex) -> Result<Vec<Entry>, Malformed> {
    let count = u64::from(reader.u16()?);
    let beyond = first.0.checked_add(count).ok_or(Malformed)?;
    let mut entries = Vec::new();
    for index in first.0..beyond {
        entries.push(take_entry(reader, LogIndex(index))?);
    }
    Ok(entries)
}

/// Appends an entry. Its index is not written: it follows from its place.
fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.put_u64_le(entry.term.0);
    out.put_u64_le(entry.time.0);
    out.put_u8(entry.kind as u8);
    out.put_u8(entry.version);
    out.put_u32_le(entry.chain);
    put_bytes(out, &entry.payload);
}

fn take_entry(reader: &mut Reader, index: LogIndex) -> Result<Entry, Malformed> {
    let term = Term(reader.u64()?);
    let time = LogTime(reader.u64()?);
    let kind = EntryKind::from_byte(reader.u8()?).ok_or(Malformed)?;
    let version = reader.u8()?;
    let chain = reader.u32()?;
    let payload = take_bytes(reader, ENTRY_BYTES_MAX)?;
    if version != DATA_VERSION {
        return Err(Malformed);
    }
    Ok(Entry { index, term, time, kind, version, payload, chain })
}

impl Body for Acknowledge {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.term.0);
        out.put_u64_le(self.round.0);
        out.put_u64_le(self.matched.0);
        out.put_u64_le(self.durable.0);
        out.put_u64_le(self.hint_index.0);
        out.put_u64_le(self.hint_term.0);
        put_ranges(out, self.matched, &self.received);
        out.put_u32_le(self.durability_age);
        out.put_u8(self.free_space_class);
        out.put_u64_le(self.configuration_index.0);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        let term = Term(reader.u64()?);
        let round = ReadRound(reader.u64()?);
        let matched = LogIndex(reader.u64()?);
        Ok(Self {
            term,
            round,
            matched,
            durable: LogIndex(reader.u64()?),
            hint_index: LogIndex(reader.u64()?),
            hint_term: Term(reader.u64()?),
            received: take_ranges(reader, matched)?,
            durability_age: reader.u32()?,
            free_space_class: reader.u8()?,
            configuration_index: LogIndex(reader.u64()?),
        })
    }
}

/// Each range as how far its first index lies behind the last one before it, and how many
/// indexes it has. What cannot be said so is left out, with all behind it.
fn put_ranges(out: &mut Vec<u8>, matched: LogIndex, ranges: &[(LogIndex, LogIndex)]) {
    let mut before = matched;
    let steps = ranges.iter().map_while(|&(first, last)| {
        let step = u32::try_from(first.0.checked_sub(before.0)?).ok().filter(|step| *step > 0)?;
        let length = u16::try_from(last.0 - first.0 + 1).ok()?;
        before = last;
        Some((step, length))
    });
    let steps: Vec<(u32, u16)> = steps.collect();
    put_count(out, steps.len());
    for (step, length) in steps {
        out.put_u32_le(step);
        out.put_u16_le(length);
    }
}

fn take_ranges(
    reader: &mut Reader,
    matched: LogIndex,
) -> Result<Vec<(LogIndex, LogIndex)>, Malformed> {
    let mut before = matched.0;
    let steps = take_list(reader, RANGES_MAX, |reader| Ok((reader.u32()?, reader.u16()?)))?;
    let ranges = steps.into_iter().map(|(step, length)| {
        let first = before.checked_add(step.into())?;
        let last = first.checked_add(u64::from(length).checked_sub(1)?)?;
        before = last;
        (step > 0).then_some((LogIndex(first), LogIndex(last)))
    });
    ranges.collect::<Option<Vec<_>>>().ok_or(Malformed)
}

impl Body for ReadIndexRequest {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.term.0);
        out.put_u64_le(self.batch);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self { term: Term(reader.u64()?), batch: reader.u64()? })
    }
}

impl Body for ReadIndexReply {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.term.0);
        out.put_u64_le(self.batch);
        out.put_u64_le(self.index.0);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self { term: Term(reader.u64()?), batch: reader.u64()?, index: LogIndex(reader.u64()?) })
    }
}
