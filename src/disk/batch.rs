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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::disk::sector::Sector;
    use crate::entry::{Entry, EntryKind};
    use crate::types::{DirectoryId, LogTime, Term};

    const BEFORE: LogEnd = (Term(3), LogIndex(8));
    /// What an entry's record takes beside its payload.
    const OVERHEAD: usize = 33;

    /// A record of so many bytes.
    fn record(bytes: usize) -> LogRecord {
        let payload = Bytes::from(vec![7; bytes - OVERHEAD]);
        let (index, kind) = (LogIndex(9), EntryKind::Part);
        LogRecord::Append(Entry::chained(1, index, Term(4), LogTime(5), kind, payload))
    }

    fn packed(lengths: &[usize], sectors_max: usize) -> Vec<Packed> {
        let records: Vec<LogRecord> = lengths.iter().map(|length| record(*length)).collect();
        pack(&records, sectors_max, BEFORE)
    }

    /// docs/disk-format.md: "Each sector says where in it a record begins".
    #[test]
    fn each_sector_says_where_the_first_record_begins_in_it() {
        let batches = packed(&[PAYLOAD_BYTES, 100, 1_000, 300], 9);
        let place = Place { directory: DirectoryId(5), segment: 7, sector: 3 };
        let bytes = Bytes::from(batches[0].encode(4, place));
        let firsts = (0..bytes.len() / sector::SECTOR_BYTES).map(|at| {
            let from = at * sector::SECTOR_BYTES;
            let place = Place { sector: place.sector + at, ..place };
            match sector::classify(place, &bytes.slice(from..from + sector::SECTOR_BYTES)) {
                Sector::Valid(stamp, _) => stamp.first,
                other => panic!("{other:?}"),
            }
        });
        let begins_at_548 = 548 + 1_000 - 3 * PAYLOAD_BYTES;
        let expected = [Some(0), Some(0), None, u16::try_from(begins_at_548).ok(), None];
        assert_eq!(firsts.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_batch_takes_all_that_fits_and_is_cut_between_records() {
        let most = 2 * PAYLOAD_BYTES;
        let [whole] = &packed(&[100, 100, most - 200], 2)[..] else { panic!("it fits") };
        assert_eq!(whole.sectors(), 2);
        let [first, second] = &packed(&[100, 100, most - 199], 2)[..] else { panic!("one more") };
        assert_eq!((first.sectors(), second.sectors()), (1, 2));
        assert!(packed(&[], 2).is_empty());
    }

    #[test]
    fn a_batch_says_where_the_log_ends_behind_it() {
        let commits = [LogRecord::Commit(LogIndex(9)), record(100), LogRecord::Commit(LogIndex(9))];
        let ends = pack(&commits, 1, BEFORE).into_iter().map(|batch| (batch.last, batch.highest));
        assert_eq!(ends.collect::<Vec<_>>(), [((Term(4), LogIndex(9)), LogIndex(9))]);
        let none = pack(&commits[..1], 1, BEFORE);
        assert_eq!((none[0].last, none[0].highest), (BEFORE, LogIndex(0)));
    }
}
