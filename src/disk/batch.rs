//! A batch of records, cut into sectors.

use super::LogEnd;
use super::record::LogRecord;
use super::sector::{self, Kind, PAYLOAD_BYTES, Place, Stamp};
use crate::types::LogIndex;

/// Records that are made durable together.
#[derive(Debug)]
pub(super) struct Packed {
    bytes: Vec<u8>,
    /// Where each record begins.
    starts: Vec<usize>,
    /// The end of the log after it.
    pub last: LogEnd,
    /// The highest index of an entry in it.
    pub highest: LogIndex,
}

impl Packed {
    fn after(last: LogEnd) -> Self {
        Self { bytes: Vec::new(), starts: Vec::new(), last, highest: LogIndex(0) }
    }

    fn add(&mut self, record: &LogRecord, bytes: &[u8]) {
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(bytes);
        self.last = record.log_end().unwrap_or(self.last);
        self.highest = self.highest.max(record.entry_index());
    }

    /// How many sectors it takes.
    pub fn sectors(&self) -> usize {
        self.bytes.len().div_ceil(PAYLOAD_BYTES)
    }

    /// The batch's sectors, of which the first belongs to the place.
    pub fn encode(&self, batch: u64, place: Place) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.sectors() * sector::SECTOR_BYTES);
        let count = |sectors| u32::try_from(sectors).expect("a batch fits in a segment");
        for (part, payload) in self.bytes.chunks(PAYLOAD_BYTES).enumerate() {
            let stamp = Stamp {
                kind: Kind::Batch,
                batch,
                part: count(part),
                parts: count(self.sectors()),
                last: self.last,
                first: self.first_in(part * PAYLOAD_BYTES, payload.len()),
            };
            let place = Place { sector: place.sector + part, ..place };
            sector::encode(place, &stamp, payload, &mut out);
        }
        out
    }

    /// Where in the payload that begins at `from` a record begins first.
    fn first_in(&self, from: usize, length: usize) -> Option<u16> {
        let next = self.starts.partition_point(|start| *start < from);
        let offset = self.starts.get(next)? - from;
        if offset < length { u16::try_from(offset).ok() } else { None }
    }
}

/// The records in batches of at most so many sectors, cut between records. The log ended
/// at `last` before them.
pub(super) fn pack(records: &[LogRecord], sectors_max: usize, mut last: LogEnd) -> Vec<Packed> {
    let mut batches = Vec::new();
    let mut batch = Packed::after(last);
    let mut bytes = Vec::new();
    for record in records {
        bytes.clear();
        record.encode(&mut bytes);
        if batch.bytes.len() + bytes.len() > sectors_max * PAYLOAD_BYTES {
            last = batch.last;
            batches.push(std::mem::replace(&mut batch, Packed::after(last)));
        }
        batch.add(record, &bytes);
    }
    batches.push(batch);
    batches.retain(|batch| !batch.starts.is_empty());
    batches
}
