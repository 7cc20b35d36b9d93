//! The bytes of the journal, in both directions, as `docs/disk-format.md` gives them.

use bytes::{Buf, BufMut, Bytes};

use super::{Identity, Record};
use crate::codec::{Malformed, Reader};
use crate::configuration::Configuration;
use crate::entry::{Entry, EntryKind};
use crate::types::{DirectoryId, ENTRY_BYTES_MAX, Incarnation, LogIndex, LogTime, ServerId, Term};

/// The version of the journal's format that this program writes and reads.
pub const FORMAT_VERSION: u16 = 1;

const FILE_MAGIC: [u8; 8] = *b"quoratej";
/// What every batch begins with.
pub(super) const BATCH_MAGIC: [u8; 4] = *b"qbat";

/// Magic, format version and length: what the header of every version begins with.
const HEADER_START_BYTES: usize = 12;
/// Magic, checksum, length, number and synced offset.
const BATCH_HEADER_BYTES: usize = 28;
/// Where in a batch that begins which its checksum covers.
const BATCH_CHECKED_FROM: usize = 8;
const CHECKSUM_BYTES: usize = 4;

/// The header that a journal begins with.
///
/// The cluster's name must be shorter than 64 KiB.
pub fn encode_header(identity: &Identity) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_slice(&FILE_MAGIC);
    out.put_u16_le(FORMAT_VERSION);
    let length = HEADER_START_BYTES + 10 + identity.cluster.len() + CHECKSUM_BYTES;
    out.put_u16_le(u16::try_from(length).expect("a cluster's name is short"));
    out.put_u16_le(identity.id.0);
    out.put_u64_le(identity.directory.0);
    out.put_slice(identity.cluster.as_bytes());
    let checksum = crc32fast::hash(&out);
    out.put_u32_le(checksum);
    out
}

/// Appends the batch that holds `records`.
///
/// Batches are numbered from 1 without a gap. `synced` is the length of the file's
/// beginning that was known to be durable before this batch was written.
pub fn encode_batch(number: u64, synced: u64, records: &[Record], out: &mut Vec<u8>) {
    encode_with(number, synced, out, |out| {
        for record in records {
            encode_record(record, out);
        }
    });
}

/// Appends the batch by which a start of the node makes its number durable.
///
/// `number` and `synced` are as in [`encode_batch`].
pub fn encode_start(number: u64, synced: u64, incarnation: Incarnation, out: &mut Vec<u8>) {
    encode_with(number, synced, out, |out| {
        out.put_u8(tag::START);
        out.put_u32_le(incarnation.0);
    });
}

mod tag {
    pub const START: u8 = 1;
    pub const GENESIS_ACCEPTED: u8 = 2;
    pub const GENESIS_COMPLETE: u8 = 3;
    pub const HARD_STATE: u8 = 4;
    pub const APPEND: u8 = 5;
    pub const COMMIT: u8 = 6;
    pub const RESTART: u8 = 7;
}

fn encode_with(number: u64, synced: u64, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_slice(&BATCH_MAGIC);
    out.put_bytes(0, 8);
    out.put_u64_le(number);
    out.put_u64_le(synced);
    body(out);

    let batch = &mut out[start..];
    let length = u32::try_from(batch.len()).expect("a node's unsynced records are bounded");
    batch[8..12].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32fast::hash(&batch[BATCH_CHECKED_FROM..]);
    batch[4..8].copy_from_slice(&checksum.to_le_bytes());
}

fn encode_record(record: &Record, out: &mut Vec<u8>) {
    match record {
        Record::GenesisAccepted(configuration) => {
            out.put_u8(tag::GENESIS_ACCEPTED);
            out.put_slice(&configuration.encode());
        }
        Record::GenesisComplete(configuration) => {
            out.put_u8(tag::GENESIS_COMPLETE);
            out.put_slice(&configuration.encode());
        }
        Record::HardState { term, voted_for } => {
            out.put_u8(tag::HARD_STATE);
            out.put_u64_le(term.0);
            out.put_u16_le(voted_for.unwrap_or(ServerId::NONE).0);
        }
        Record::Doubt(_) => {}
        Record::Append(entry) => {
            out.put_u8(tag::APPEND);
            encode_entry(entry, out);
        }
        Record::Commit(index) => {
            out.put_u8(tag::COMMIT);
            out.put_u64_le(index.0);
        }
        Record::Restart { index, term, chain } => {
            out.put_u8(tag::RESTART);
            out.put_u64_le(index.0);
            out.put_u64_le(term.0);
            out.put_u32_le(*chain);
        }
    }
}

fn encode_entry(entry: &Entry, out: &mut Vec<u8>) {
    out.put_u64_le(entry.index.0);
    out.put_u64_le(entry.term.0);
    out.put_u64_le(entry.time.0);
    out.put_u8(entry.kind as u8);
    out.put_u8(entry.version);
    out.put_u32_le(entry.chain);
    out.put_u16_le(u16::try_from(entry.payload.len()).expect("an entry's payload is bounded"));
    out.put_slice(&entry.payload);
}

/// A journal's beginning, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// A header of this version, and its length in bytes.
    Known(Identity, usize),
    /// An intact header of another version.
    OtherVersion(u16),
}

/// The header that `file` begins with; none when it is damaged.
pub(super) fn decode_header(file: &Bytes) -> Option<Header> {
    let mut reader = Reader::new(file.clone());
    if reader.bytes(FILE_MAGIC.len()).ok()?.as_ref() != FILE_MAGIC {
        return None;
    }
    let version = reader.u16().ok()?;
    let length = usize::from(reader.u16().ok()?);
    let checked = file.get(..length.checked_sub(CHECKSUM_BYTES)?)?;
    let mut checksum = file.get(checked.len()..length)?;
    if checksum.get_u32_le() != crc32fast::hash(checked) {
        return None;
    }
    if version != FORMAT_VERSION {
        return Some(Header::OtherVersion(version));
    }
    let id = ServerId(reader.u16().ok()?);
    let directory = DirectoryId(reader.u64().ok()?);
    let name = checked.get(HEADER_START_BYTES + 10..)?;
    let cluster = String::from_utf8(name.to_vec()).ok()?;
    Some(Header::Known(Identity { cluster, id, directory }, length))
}

/// A batch whose checksum is right.
#[derive(Debug)]
pub(super) struct IntactBatch {
    pub number: u64,
    pub synced: u64,
    /// Its length in the file, in bytes.
    pub length: usize,
    /// Its records, still encoded.
    pub body: Bytes,
}

/// The batch that `file` holds from `offset` on; none when no intact one is there.
pub(super) fn decode_batch(file: &Bytes, offset: usize) -> Option<IntactBatch> {
    let header = file.get(offset..offset.checked_add(BATCH_HEADER_BYTES)?)?;
    let mut fields = header.strip_prefix(&BATCH_MAGIC)?;
    let checksum = fields.get_u32_le();
    let length = usize::try_from(fields.get_u32_le()).ok()?;
    let number = fields.get_u64_le();
    let synced = fields.get_u64_le();
    if length < BATCH_HEADER_BYTES || length > file.len() - offset {
        return None;
    }
    let batch = file.slice(offset..offset + length);
    let intact = crc32fast::hash(&batch[BATCH_CHECKED_FROM..]) == checksum;
    intact.then(|| IntactBatch { number, synced, length, body: batch.slice(BATCH_HEADER_BYTES..) })
}

/// A record as the file holds it: a node's own, or that of its start.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    Start(Incarnation),
    Record(Record),
}

/// Takes one record off the reader.
///
/// # Errors
/// [`Malformed`] when the bytes are none.
pub(super) fn decode_record(reader: &mut Reader) -> Result<Written, Malformed> {
    let record = match reader.u8()? {
        tag::START => return Ok(Written::Start(Incarnation(reader.u32()?))),
        tag::GENESIS_ACCEPTED => Record::GenesisAccepted(Configuration::decode(reader)?),
        tag::GENESIS_COMPLETE => Record::GenesisComplete(Configuration::decode(reader)?),
        tag::HARD_STATE => {
            let term = Term(reader.u64()?);
            let voted_for = Some(ServerId(reader.u16()?)).filter(|id| *id != ServerId::NONE);
            Record::HardState { term, voted_for }
        }
        tag::APPEND => Record::Append(decode_entry(reader)?),
        tag::COMMIT => Record::Commit(LogIndex(reader.u64()?)),
        tag::RESTART => Record::Restart {
            index: LogIndex(reader.u64()?),
            term: Term(reader.u64()?),
            chain: reader.u32()?,
        },
        _ => return Err(Malformed),
    };
    Ok(Written::Record(record))
}

fn decode_entry(reader: &mut Reader) -> Result<Entry, Malformed> {
    let index = LogIndex(reader.u64()?);
    let term = Term(reader.u64()?);
    let time = LogTime(reader.u64()?);
    let kind = EntryKind::from_byte(reader.u8()?).ok_or(Malformed)?;
    let version = reader.u8()?;
    let chain = reader.u32()?;
    let length = usize::from(reader.u16()?);
    if length > ENTRY_BYTES_MAX {
        return Err(Malformed);
    }
    let payload = reader.bytes(length)?;
    Ok(Entry { index, term, time, kind, version, payload, chain })
}
