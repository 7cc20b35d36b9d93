//! What a directory holds, read a second time: by a reader of a page that shares nothing
//! with the daemon's own but the text of docs/disk-format.md.
//!
//! It judges nothing. It finds every entry that can still be read, wherever it stands; what
//! the node makes of the directory is held against that.

use bytes::Bytes;

use crate::disk::{Directory, LogEnd, SECTOR_BYTES};
use crate::entry::{Entry, EntryKind};
use crate::types::{DirectoryId, LogIndex, LogTime, Term};

const STAMP_BYTES: usize = 64;

/// What was found.
#[derive(Debug, Default)]
pub struct Reading {
    /// Every entry, in no particular order.
    pub entries: Vec<Entry>,
    /// What the newest intact snapshot covers; zero: there is none.
    pub snapshot: LogIndex,
    /// Where the log may have ended, by the file `meta` and by the last batch.
    pub may_end: LogEnd,
    /// Whether the file `meta` says that nobody knows how far.
    pub boundless_doubt: bool,
    /// Where the last batch of the log begins: its segment, and the sector in it.
    pub last_batch: Option<(String, usize)>,
    /// Whether anything stands there that proves it synced.
    pub is_proven: bool,
}

/// Reads the directory whose journal is stamped with this id.
pub fn read(directory: &dyn Directory, id: DirectoryId) -> Reading {
    let mut reading = Reading::default();
    let mut newest = 0;
    let names = directory.names().unwrap_or_default();
    for name in names {
        let bytes = directory.read(&name).unwrap_or_default();
        match name.rsplit_once('-').map(|(kind, digits)| (kind, u64::from_str_radix(digits, 16))) {
            Some(("journal" | "rewritten", Ok(number))) => {
                read_segment((&name, number), id, &bytes, &mut newest, &mut reading);
            }
            Some(("snapshot", Ok(_))) => read_snapshot(&bytes, &mut reading),
            _ if name == "meta" => read_doubt(&bytes, &mut reading),
            _ => {}
        }
    }
    reading
}

/// Notes the entries of the segment. What stands behind a lost sector is found again by the
/// next one, which says where in it a record begins.
fn read_segment(
    (name, number): (&str, u64),
    id: DirectoryId,
    bytes: &[u8],
    newest: &mut u64,
    reading: &mut Reading,
) {
    let mut stream: Vec<u8> = Vec::new();
    let mut expected = None;
    for (at, sector) in bytes.chunks_exact(SECTOR_BYTES).enumerate() {
        if !is_intact(sector, id, (number, at)) {
            continue;
        }
        let (batch, part) = (u64_at(sector, 16), u32_at(sector, 24));
        note_end(reading, newest, (name, at), sector);
        if sector[12] != 1 {
            continue;
        }
        let payload = &sector[STAMP_BYTES..STAMP_BYTES + usize::from(u16_at(sector, 14))];
        if expected == Some((batch, part)) {
            stream.extend_from_slice(payload);
        } else {
            let first = usize::from(u16_at(sector, 48));
            stream = payload.get(first..).unwrap_or_default().to_vec();
        }
        expected = Some((batch, part + 1));
        take_records(&mut stream, reading);
    }
}

/// Notes what the sector says of where the journal ends.
fn note_end(reading: &mut Reading, newest: &mut u64, (name, at): (&str, usize), sector: &[u8]) {
    let (batch, part) = (u64_at(sector, 16), u32_at(sector, 24));
    let is_part = sector[12] == 1;
    if batch > *newest && is_part {
        *newest = batch;
        reading.last_batch = Some((name.to_owned(), at.saturating_sub(part as usize)));
        reading.is_proven = false;
    }
    if batch >= *newest {
        reading.may_end = reading.may_end.max(log_end_at(sector, 32));
    }
    reading.is_proven |= batch >= *newest && !is_part;
}

fn is_intact(sector: &[u8], id: DirectoryId, (number, at): (u64, usize)) -> bool {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&id.0.to_le_bytes());
    hasher.update(&sector[4..]);
    let is_its_own = u64::from(u32_at(sector, 4)) == number && u32_at(sector, 8) as usize == at;
    is_its_own && hasher.finalize() == u32_at(sector, 0) && u16_at(sector, 14) <= 448
}

/// Takes whole records off the stream, and notes the entries among them.
fn take_records(stream: &mut Vec<u8>, reading: &mut Reading) {
    while stream.len() > 2 {
        let end = 2 + usize::from(u16_at(stream, 0));
        if stream.len() < end {
            return;
        }
        let record: Vec<u8> = stream.drain(..end).skip(2).collect();
        if record.len() >= 31 && matches!(record[0], 1 | 3) {
            reading.entries.extend(entry(&record[1..]));
        }
    }
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    Some(Entry {
        index: LogIndex(u64_at(bytes, 0)),
        term: Term(u64_at(bytes, 8)),
        time: LogTime(u64_at(bytes, 16)),
        kind: EntryKind::from_byte(bytes[24])?,
        version: bytes[25],
        chain: u32_at(bytes, 26),
        payload: Bytes::copy_from_slice(&bytes[30..]),
    })
}

/// Notes the snapshot if each of its checksums is right, and its last block is there.
fn read_snapshot(bytes: &[u8], reading: &mut Reading) {
    let is_sound = |part: &[u8], sum: u32| crc32fast::hash(part) == sum;
    if bytes.len() < 36 || !is_sound(&bytes[..32], u32_at(bytes, 32)) {
        return;
    }
    let mut rest = &bytes[36..];
    loop {
        if rest.len() < 16 {
            return;
        }
        let length = 16 + u32_at(rest, 8) as usize;
        if rest.len() < length || !is_sound(&rest[4..length], u32_at(rest, 0)) {
            return;
        }
        if u32_at(rest, 12) == 1 {
            break;
        }
        rest = &rest[length..];
    }
    reading.snapshot = reading.snapshot.max(LogIndex(u64_at(bytes, 12)));
}

fn read_doubt(meta: &[u8], reading: &mut Reading) {
    let copies = [0, 4_096].into_iter().filter_map(|at| meta.get(at..at + SECTOR_BYTES));
    let sound = copies.filter(|copy| crc32fast::hash(&copy[..508]) == u32_at(copy, 508));
    let Some(newest) = sound.max_by_key(|copy| u64_at(copy, 12)) else { return };
    reading.boundless_doubt = newest[60] == 2;
    if newest[60] == 1 {
        reading.may_end = reading.may_end.max(log_end_at(newest, 61));
    }
}

fn log_end_at(bytes: &[u8], at: usize) -> LogEnd {
    (Term(u64_at(bytes, at)), LogIndex(u64_at(bytes, at + 8)))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
