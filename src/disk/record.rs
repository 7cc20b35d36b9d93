//! The journal's records as bytes. Each says how long it is, so that reading can go on
//! behind one that is lost.

use bytes::{BufMut, Bytes};

use super::{LogEnd, Sighting};
use crate::codec::{Malformed, Reader};
use crate::entry::{Entry, EntryKind};
use crate::types::{
    DirectoryId, ENTRY_BYTES_MAX, Incarnation, LifeId, LogIndex, LogTime, ServerId, Term,
};

/// What the journal holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LogRecord {
    /// The entry stands in the log; whatever stood at its index or above is void.
    Append(Entry),
    /// Up to here the log is known to be committed.
    Commit(LogIndex),
    /// The entry once stood in the log, and what connects it to the rest was lost.
    Aside(Entry),
    /// The log begins anew after the snapshot at this index, whose last entry has this
    /// term and chain value. Everything before is void.
    Restart { index: LogIndex, term: Term, chain: u32 },
    /// What was seen of another node's directory; none: that is forgotten.
    Sighted(ServerId, DirectoryId, Option<Sighting>),
}

/// The most bytes of a record of what was seen of a directory, with its length.
pub(super) const SIGHTED_BYTES: usize = 39;

mod tag {
    pub const APPEND: u8 = 1;
    pub const COMMIT: u8 = 2;
    pub const ASIDE: u8 = 3;
    pub const RESTART: u8 = 4;
    pub const SIGHTED: u8 = 5;
}

mod standing {
    pub const FORGOTTEN: u8 = 0;
    pub const SEEN: u8 = 1;
    pub const LOST: u8 = 2;
}

impl LogRecord {
    /// Appends the record's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u16_le(0);
        match self {
            Self::Append(entry) => {
                out.put_u8(tag::APPEND);
                encode_entry(entry, out);
            }
            Self::Commit(index) => {
                out.put_u8(tag::COMMIT);
                out.put_u64_le(index.0);
            }
            Self::Aside(entry) => {
                out.put_u8(tag::ASIDE);
                encode_entry(entry, out);
            }
            Self::Restart { index, term, chain } => {
                out.put_u8(tag::RESTART);
                out.put_u64_le(index.0);
                out.put_u64_le(term.0);
                out.put_u32_le(*chain);
            }
            Self::Sighted(node, directory, sighting) => {
                out.put_u8(tag::SIGHTED);
                out.put_u16_le(node.0);
                out.put_u64_le(directory.0);
                encode_sighting(*sighting, out);
            }
        }
        let length = u16::try_from(out.len() - start - 2).expect("an entry's payload is bounded");
        out[start..start + 2].copy_from_slice(&length.to_le_bytes());
    }

    /// The record with this kind and body.
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let record = match reader.u8()? {
            tag::APPEND => Self::Append(decode_entry(&mut reader)?),
            tag::COMMIT => Self::Commit(decode_index(&mut reader)?),
            tag::ASIDE => Self::Aside(decode_entry(&mut reader)?),
            tag::RESTART => Self::Restart {
                index: decode_index(&mut reader)?,
                term: Term(reader.u64()?),
                chain: reader.u32()?,
            },
            tag::SIGHTED => Self::Sighted(
                ServerId(reader.u16()?),
                DirectoryId(reader.u64()?),
                decode_sighting(&mut reader)?,
            ),
            _ => return Err(Malformed),
        };
        reader.finish()?;
        Ok(record)
    }

    /// Where the log ends after this, if the record moves its end.
    pub fn log_end(&self) -> Option<LogEnd> {
        match self {
            Self::Append(entry) => Some((entry.term, entry.index)),
            Self::Restart { index, term, .. } => Some((*term, *index)),
            Self::Commit(_) | Self::Aside(_) | Self::Sighted(..) => None,
        }
    }

    /// The index of the entry that it holds, or zero.
    pub fn entry_index(&self) -> LogIndex {
        match self {
            Self::Append(entry) | Self::Aside(entry) => entry.index,
            Self::Commit(_) | Self::Restart { .. } | Self::Sighted(..) => LogIndex(0),
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
    out.put_slice(&entry.payload);
}

fn decode_entry(reader: &mut Reader) -> Result<Entry, Malformed> {
    let index = decode_index(reader)?;
    let term = Term(reader.u64()?);
    let time = LogTime(reader.u64()?);
    let kind = EntryKind::from_byte(reader.u8()?).ok_or(Malformed)?;
    let version = reader.u8()?;
    let chain = reader.u32()?;
    let payload = reader.remaining();
    if payload.len() > ENTRY_BYTES_MAX {
        return Err(Malformed);
    }
    Ok(Entry { index, term, time, kind, version, payload, chain })
}

fn decode_index(reader: &mut Reader) -> Result<LogIndex, Malformed> {
    let index = LogIndex(reader.u64()?);
    if index > LogIndex::MAX { Err(Malformed) } else { Ok(index) }
}

fn encode_sighting(sighting: Option<Sighting>, out: &mut Vec<u8>) {
    let Some(seen) = sighting else { return out.put_u8(standing::FORGOTTEN) };
    out.put_u8(if seen.lost { standing::LOST } else { standing::SEEN });
    out.put_u32_le(seen.incarnation.0);
    out.put_u32_le(seen.life.0);
    out.put_u64_le(seen.term.0);
    out.put_u8(u8::from(seen.voted));
    out.put_u64_le(seen.durable.0);
}

fn decode_sighting(reader: &mut Reader) -> Result<Option<Sighting>, Malformed> {
    let lost = match reader.u8()? {
        standing::FORGOTTEN => return Ok(None),
        standing::SEEN => false,
        standing::LOST => true,
        _ => return Err(Malformed),
    };
    Ok(Some(Sighting {
        incarnation: Incarnation(reader.u32()?),
        life: LifeId(reader.u32()?),
        term: Term(reader.u64()?),
        voted: reader.bool()?,
        durable: LogIndex(reader.u64()?),
        lost,
    }))
}

/// The records that stand one behind the other in `bytes`, as far as they are whole. One
/// that makes no sense is an error in its place. Behind the last whole one may be the
/// beginning of another; the second value says whether there is.
pub(super) fn decode_all(bytes: Bytes) -> (Vec<Result<LogRecord, Malformed>>, bool) {
    let mut reader = Reader::new(bytes);
    let mut records = Vec::new();
    while !reader.is_empty() {
        let whole = reader.u16().and_then(|length| reader.bytes(length.into()));
        let Ok(bytes) = whole else { return (records, true) };
        records.push(LogRecord::decode(bytes));
    }
    (records, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_stand_one_behind_the_other() {
        let records = [LogRecord::Commit(LogIndex(3)), LogRecord::Commit(LogIndex(4))];
        let mut bytes = Vec::new();
        for record in &records {
            record.encode(&mut bytes);
        }
        let read = |bytes: &[u8]| decode_all(Bytes::copy_from_slice(bytes));
        assert_eq!(read(&bytes), (records.clone().map(Ok).to_vec(), false));
        let (whole, is_cut) = read(&bytes[..bytes.len() - 1]);
        assert_eq!((whole, is_cut), (vec![Ok(records[0].clone())], true));
    }

    /// docs/disk-format.md: "No index is above 2⁶⁰: a record that has one counts as damaged".
    #[test]
    fn an_index_above_the_highest_is_damage() {
        for (index, is_read) in [(LogIndex::MAX, true), (LogIndex(LogIndex::MAX.0 + 1), false)] {
            let mut bytes = Vec::new();
            LogRecord::Commit(index).encode(&mut bytes);
            let (records, _) = decode_all(bytes.into());
            assert_eq!(records[0].is_ok(), is_read, "{index}");
        }
    }
}
