//! Writing batches into segments, one after the other.
//!
//! At most one batch is not synced at any time. Behind each synced one stands a marker,
//! which is written but not synced, and which the next batch overwrites: so a later batch
//! or a marker proves that a batch was durable once, and may have been acknowledged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use super::batch::{Packed, pack};
use super::directory::{Directory, DiskError};
use super::names::{self, JOURNAL, REWRITTEN, SEGMENT_AT_BIRTH, SPARE};
use super::record::{LogRecord, SIGHTED_BYTES};
use super::sector::{self, Kind, PAYLOAD_BYTES, Place, SECTOR_BYTES, Stamp};
use super::set_aside;
use super::{LogEnd, Record, SIGHTINGS_MAX, SegmentSize, Sightings};
use crate::types::{DirectoryId, LogIndex, ServerId};

/// How many segments that are done with are kept to be used again.
const SPARES_MAX: usize = 2;
/// The most sectors that what is carried into a new segment takes.
const CARRIED_SECTORS_MAX: usize = 8;
const _: () = assert!(SIGHTINGS_MAX * SIGHTED_BYTES <= CARRIED_SECTORS_MAX * PAYLOAD_BYTES);

/// A segment, as the writer sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub number: u32,
    /// The highest index of an entry in it; zero: it has none.
    pub highest: LogIndex,
}

/// Where the next batch goes.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    directory: DirectoryId,
    size: SegmentSize,
    prefix: &'static str,
    /// Ascending without a gap; the last is written to.
    segments: VecDeque<Segment>,
    /// The segments' numbers when they still held records.
    spares: Vec<u32>,
    /// The numbers of those that must not become spares.
    distrusted: BTreeSet<u32>,
    /// The next sector of the last segment.
    position: usize,
    next_batch: u64,
    /// Where the log ends after all batches.
    last: LogEnd,
    /// The sectors of a batch that is not synced yet.
    unsynced: usize,
    /// Whether the last segment has a batch that is synced.
    proves: bool,
    /// What each new segment begins with, since those before it may be given up.
    carried: BTreeMap<(ServerId, DirectoryId), LogRecord>,
}

impl SegmentWriter {
    /// Goes on with the journal. Its last segment is clean from `position` on, and what
    /// stands before is synced.
    pub fn resume(
        (directory, size): (DirectoryId, SegmentSize),
        segments: VecDeque<Segment>,
        position: usize,
        next_batch: u64,
        last: LogEnd,
    ) -> Self {
        Self {
            directory,
            size,
            prefix: JOURNAL,
            segments,
            spares: Vec::new(),
            distrusted: BTreeSet::new(),
            position,
            next_batch,
            last,
            unsynced: 0,
            proves: position > 0,
            carried: BTreeMap::new(),
        }
    }

    /// Begins a journal that is to replace one, in segments from this number on.
    pub fn rewriting(
        (id, size): (DirectoryId, SegmentSize),
        number: u32,
        next_batch: u64,
        directory: &mut dyn Directory,
    ) -> Result<Self, DiskError> {
        let first = Segment { number, highest: LogIndex(0) };
        let mut writer = Self::resume((id, size), [first].into(), 0, next_batch, <_>::default());
        writer.prefix = REWRITTEN;
        writer.make_segment(number, directory)?;
        Ok(writer)
    }

    /// The numbers of all segments.
    pub fn numbers(&self) -> impl DoubleEndedIterator<Item = u32> {
        self.segments.iter().map(|segment| segment.number)
    }

    /// The segments have become the journal's own.
    pub fn take_place(&mut self) {
        self.prefix = JOURNAL;
    }

    /// Writes the records. All batches but the last one that they take are synced.
    pub fn append(
        &mut self,
        records: &[LogRecord],
        directory: &mut dyn Directory,
    ) -> Result<(), DiskError> {
        // A segment always has room for what is carried over, and for the marker behind its
        // last batch.
        let room = self.size.sectors() - CARRIED_SECTORS_MAX - 1;
        for packed in pack(records, room, self.last) {
            self.sync(directory)?;
            if self.position + packed.sectors() + 1 > self.size.sectors() {
                self.rotate(directory)?;
                self.write_carried(directory)?;
            }
            self.write(&packed, directory)?;
        }
        Ok(())
    }

    /// Remembers what the record says of another node's directory, for the segments to come.
    pub fn carry(&mut self, record: &Record) {
        match record {
            Record::Sighted(node, directory, Some(seen)) => {
                let record = LogRecord::Sighted(*node, *directory, Some(*seen));
                self.carried.insert((*node, *directory), record);
            }
            Record::Sighted(node, directory, None) => {
                self.carried.remove(&(*node, *directory));
            }
            _ => {}
        }
    }

    /// The same, of all that is known when the journal goes on.
    pub fn carry_all(&mut self, sightings: &Sightings) {
        for ((node, directory), seen) in sightings {
            self.carry(&Record::Sighted(*node, *directory, Some(*seen)));
        }
    }

    /// Begins a segment with what is carried over: as batches of its own, each of which is
    /// synced, as all but the last of a write are.
    fn write_carried(&mut self, directory: &mut dyn Directory) -> Result<(), DiskError> {
        let records: Vec<LogRecord> = self.carried.values().cloned().collect();
        for packed in pack(&records, CARRIED_SECTORS_MAX, self.last) {
            self.write(&packed, directory)?;
            self.sync(directory)?;
        }
        Ok(())
    }

    /// Makes durable what was written last, and says so behind it.
    pub fn sync(&mut self, directory: &mut dyn Directory) -> Result<(), DiskError> {
        if self.unsynced == 0 {
            return Ok(());
        }
        directory.sync(&self.current_name())?;
        self.position += self.unsynced;
        self.unsynced = 0;
        self.next_batch += 1;
        self.proves = true;
        self.write_marker(Kind::Synced, directory)
    }

    fn write(&mut self, packed: &Packed, directory: &mut dyn Directory) -> Result<(), DiskError> {
        let bytes = packed.encode(self.next_batch, self.place());
        directory.write_at(&self.current_name(), offset_of(self.position), &bytes)?;
        self.unsynced = packed.sectors();
        self.last = packed.last;
        let current = self.current_mut();
        current.highest = current.highest.max(packed.highest);
        Ok(())
    }

    /// Makes the next segment the one that is written to. First it must exist durably:
    /// then a missing file behind a segment that was continued is damage.
    fn rotate(&mut self, directory: &mut dyn Directory) -> Result<(), DiskError> {
        let number = self.current().number + 1;
        self.make_segment(number, directory)?;
        self.write_marker(Kind::Continued, directory)?;
        directory.sync(&self.current_name())?;
        self.segments.push_back(Segment { number, highest: LogIndex(0) });
        self.position = 0;
        self.proves = false;
        Ok(())
    }

    /// A segment gets its name when it has its full length: to write to it takes no room
    /// and changes nothing but its content.
    fn make_segment(
        &mut self,
        number: u32,
        directory: &mut dyn Directory,
    ) -> Result<(), DiskError> {
        let name = names::segment(self.prefix, number);
        if let Some(spare) = self.spares.pop() {
            directory.rename(&names::segment(SPARE, spare), &name)?;
        } else {
            self.create(directory)?;
            directory.rename(SEGMENT_AT_BIRTH, &name)?;
        }
        directory.sync_names()
    }

    /// Where there is no room, what was set aside makes some: but not for a start, which has asked
    /// nobody yet for what that may be the only copy of.
    fn create(&self, directory: &mut dyn Directory) -> Result<(), DiskError> {
        let length = u64::from(self.size.bytes());
        let is_start = self.prefix == REWRITTEN;
        match directory.create(SEGMENT_AT_BIRTH, length) {
            Err(DiskError::NoSpace) if !is_start && set_aside::free(directory)? => {
                directory.create(SEGMENT_AT_BIRTH, length)
            }
            made => made,
        }
    }

    /// The numbers of the segments that nothing is written to any more, and that are needed.
    pub fn sealed(&self) -> Range<u32> {
        self.segments[0].number..self.current().number
    }

    /// The same, after a cut at this index.
    pub fn sealed_after(&self, upto: LogIndex) -> Range<u32> {
        let needed = if self.proves { 1 } else { 2 };
        let spared = self.segments.len().saturating_sub(needed);
        let candidates = self.segments.iter().take(spared);
        let given_up = candidates.take_while(|segment| segment.highest <= upto).count();
        self.segments[given_up].number..self.current().number
    }

    /// The segment was found damaged: it is not used again once it is given up. What a reused
    /// segment held before must be readable, to be told from damage.
    pub fn distrust(&mut self, number: u32) {
        self.distrusted.insert(number);
    }

    /// Gives up segments, from the first on, that have no entry above `upto`. One segment
    /// with a synced batch stays: where the log ends is always known from that.
    pub fn cut(&mut self, upto: LogIndex, directory: &mut dyn Directory) -> Result<(), DiskError> {
        let kept = self.sealed_after(upto).start;
        while self.segments[0].number < kept {
            let number = self.segments[0].number;
            let name = names::segment(self.prefix, number);
            let may_be_used = !self.distrusted.remove(&number);
            if may_be_used && self.spares.len() < SPARES_MAX {
                directory.rename(&name, &names::segment(SPARE, number))?;
                self.spares.push(number);
            } else {
                directory.remove(&name)?;
            }
            // One after the other: a gap between segments would be damage.
            directory.sync_names()?;
            self.segments.pop_front();
        }
        Ok(())
    }

    fn write_marker(&self, kind: Kind, directory: &mut dyn Directory) -> Result<(), DiskError> {
        let mut bytes = Vec::with_capacity(SECTOR_BYTES);
        let stamp = Stamp::marker(kind, self.next_batch - 1, self.last);
        sector::encode(self.place(), &stamp, &[], &mut bytes);
        directory.write_at(&self.current_name(), offset_of(self.position), &bytes)
    }

    fn place(&self) -> Place {
        let segment = self.current().number;
        Place { directory: self.directory, segment, sector: self.position }
    }

    fn current(&self) -> &Segment {
        self.segments.back().expect("there is always a segment to write to")
    }

    fn current_mut(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("there is always a segment to write to")
    }

    fn current_name(&self) -> String {
        names::segment(self.prefix, self.current().number)
    }
}

/// Where in its file a sector begins.
pub(super) fn offset_of(sector: usize) -> u64 {
    sector as u64 * SECTOR_BYTES as u64
}
