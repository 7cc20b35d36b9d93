//! From segments to records: what can be read, in order, and what is wrong.

use std::fmt;
use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};

use super::image::Image;
use super::proof::{Newest, Proof, State};
use super::record::{LogRecord, decode_all};
use super::sector::{Kind, Sector, Stamp};
use super::tail;
use super::writer::offset_of;

/// What is wrong at one place of the directory, and what was lost there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The file.
    pub name: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub what: &'static str,
    /// What was lost.
    pub harm: Harm,
}

/// What a flaw took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// Nothing that anybody relied on.
    Nothing,
    /// Something below the journal's known end.
    Something,
    /// The journal's end: nobody knows how far it went.
    TheEnd,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = match self.harm {
            Harm::Nothing => "nothing is lost by that",
            Harm::Something => "what it held is lost",
            Harm::TheEnd => "nobody knows how much more there was",
        };
        write!(f, "{}, byte {}: {}; {lost}", self.name, self.offset, self.what)
    }
}

/// What the journal says, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A record, and the segment that it begins in.
    Record(u32, LogRecord),
    /// Here something is lost.
    Gap,
}

/// A journal, read.
#[derive(Debug)]
pub(super) struct Scan {
    pub events: Vec<Event>,
    pub flaws: Vec<Flaw>,
    pub proof: Proof,
    /// The segment with the journal's end, by its place in the row.
    pub last_used: usize,
    /// Behind the last sector in it that counts.
    pub end: usize,
    /// The batches of which each segment has a readable sector.
    pub batches: Vec<Option<RangeInclusive<u64>>>,
}

impl Scan {
    /// The sectors in which a batch stands that was torn.
    pub fn torn_sectors(&self) -> usize {
        let torn = self.proof.newest.filter(|newest| newest.state == State::Torn);
        torn.map_or(0, |torn| torn.end - torn.start)
    }
}

pub(super) fn scan(images: &[Image]) -> Scan {
    let proof = Proof::of(images);
    let used = images.iter().rposition(Image::is_used);
    let last_used = used.unwrap_or(0);
    let mut walk = Walk::default();
    for image in images.iter().take(used.map_or(0, |last| last + 1)) {
        walk.segment(image, torn_start(&proof, images, image));
    }
    walk.end_run();
    let torn = torn_start(&proof, images, &images[last_used]);
    let end = torn.unwrap_or_else(|| images[last_used].end_of_batches());
    walk.flaws.extend(tail::flaws(images, last_used, end, torn.is_some()));
    let batches = images.iter().map(batches_in).collect();
    Scan { events: walk.events, flaws: walk.flaws, proof, last_used, end, batches }
}

/// What is wrong in a segment that another follows, looked at by itself.
pub(super) fn sealed_flaws(image: &Image) -> Vec<Flaw> {
    let mut walk = Walk::default();
    walk.segment(image, None);
    walk.end_run();
    walk.flaws.extend(tail::behind_sealed(image));
    walk.flaws
}

/// The records that can be read of a segment, looked at by itself.
pub(super) fn events_in(image: &Image) -> Vec<Event> {
    let mut walk = Walk::default();
    walk.segment(image, None);
    walk.end_run();
    walk.events
}

/// Where in the image a torn batch begins, if one does.
fn torn_start(proof: &Proof, images: &[Image], image: &Image) -> Option<usize> {
    let is_here = |newest: &Newest| images[newest.image].number == image.number;
    let torn = proof.newest.filter(|newest| newest.state == State::Torn).filter(is_here);
    torn.map(|torn| torn.start)
}

fn batches_in(image: &Image) -> Option<RangeInclusive<u64>> {
    let batch = |sector: &Sector| match sector {
        Sector::Valid(stamp, _) if stamp.kind == Kind::Batch => Some(stamp.batch),
        _ => None,
    };
    let batches = || image.sectors.iter().filter_map(batch);
    Some(batches().min()?..=batches().max()?)
}

/// The way through all sectors of batches, in order.
#[derive(Debug, Default)]
struct Walk {
    events: Vec<Event>,
    flaws: Vec<Flaw>,
    before: Before,
    run: Option<Run>,
}

/// What came before a sector.
#[derive(Clone, Copy, Debug, Default)]
enum Before {
    #[default]
    Nothing,
    Lost,
    Part(Stamp),
}

/// The payloads of consecutive sectors of one batch.
#[derive(Debug)]
struct Run {
    segment: u32,
    name: String,
    first_sector: usize,
    /// From the beginning of a record on; none: no record has begun yet.
    bytes: Option<BytesMut>,
}

impl Walk {
    fn segment(&mut self, image: &Image, torn: Option<usize>) {
        if !image.is_used() {
            let is_there = image.exists;
            let what = if is_there { "nothing in it can be read" } else { "the file is missing" };
            self.lose(image, 0, what);
        }
        let end = torn.unwrap_or_else(|| image.end_of_batches());
        for (at, sector) in image.sectors[..end].iter().enumerate() {
            match sector {
                Sector::Valid(stamp, payload) if stamp.kind == Kind::Batch => {
                    self.sector(image, at, stamp, payload);
                }
                bad => self.lose(image, at, describe(bad)),
            }
        }
    }

    fn sector(&mut self, image: &Image, at: usize, stamp: &Stamp, payload: &Bytes) {
        let continues = match &self.before {
            Before::Part(before) if is_next_part(before, stamp) => true,
            Before::Part(before) => {
                if !is_next_batch(before, stamp) {
                    self.lose(image, at, "a batch is missing before it");
                }
                false
            }
            Before::Nothing if stamp.part > 0 => {
                self.lose(image, at, "the batch's beginning is missing before it");
                false
            }
            Before::Nothing | Before::Lost => false,
        };
        if !continues {
            self.end_run();
            self.run = Some(Run::begin(image, at, stamp));
        }
        if let Some(run) = &mut self.run {
            run.add(stamp, payload);
        }
        self.before = Before::Part(*stamp);
    }

    /// What should stand here cannot be read.
    fn lose(&mut self, image: &Image, at: usize, what: &'static str) {
        self.end_run();
        let (name, offset) = (image.name.clone(), offset_of(at));
        self.flaws.push(Flaw { name, offset, what, harm: Harm::Something });
        self.events.push(Event::Gap);
        self.before = Before::Lost;
    }

    /// Takes the records out of the run. A record that is cut off is lost with what should
    /// have followed, unless nothing should have.
    fn end_run(&mut self) {
        let Some(Run { segment, name, first_sector, bytes }) = self.run.take() else { return };
        let (records, is_cut) = decode_all(bytes.unwrap_or_default().freeze());
        let is_whole = matches!(self.before, Before::Part(last) if last.part + 1 == last.parts);
        let mut makes_sense = !(is_cut && is_whole);
        for record in records {
            makes_sense &= record.is_ok();
            self.events.push(record.map_or(Event::Gap, |record| Event::Record(segment, record)));
        }
        if !makes_sense {
            let what = "the batch there is intact and makes no sense";
            let offset = offset_of(first_sector);
            self.flaws.push(Flaw { name, offset, what, harm: Harm::Something });
            self.events.push(Event::Gap);
        }
    }
}

impl Run {
    fn begin(image: &Image, first_sector: usize, stamp: &Stamp) -> Self {
        let bytes = (stamp.part == 0).then(BytesMut::new);
        Self { segment: image.number, name: image.name.clone(), first_sector, bytes }
    }

    /// Before a record has begun, the payload is the middle of one that is lost.
    fn add(&mut self, stamp: &Stamp, payload: &Bytes) {
        let first = stamp.first.map(|first| &payload[usize::from(first)..]);
        match (&mut self.bytes, first) {
            (Some(bytes), _) => bytes.extend_from_slice(payload),
            (None, Some(rest)) => self.bytes = Some(BytesMut::from(rest)),
            (None, None) => {}
        }
    }
}

/// What is wrong with a sector that should be readable.
pub(super) fn describe(sector: &Sector) -> &'static str {
    match sector {
        Sector::Valid(..) => "the sector is not what should stand there",
        Sector::Blank => "the sector is blank",
        Sector::Older => "the sector was not overwritten",
        Sector::Missing => "the file ends before the sector",
        Sector::Damaged => "the sector is damaged",
    }
}

fn is_next_part(before: &Stamp, stamp: &Stamp) -> bool {
    (before.batch, before.part + 1, before.parts) == (stamp.batch, stamp.part, stamp.parts)
}

fn is_next_batch(before: &Stamp, stamp: &Stamp) -> bool {
    let is_complete = before.part + 1 == before.parts;
    is_complete && before.batch + 1 == stamp.batch && stamp.part == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::LogEnd;
    use crate::types::LogIndex;

    fn batch(number: u64, (part, parts): (u32, u32), payload: &[u8]) -> Sector {
        let (kind, last, first) = (Kind::Batch, LogEnd::default(), Some(0));
        let stamp = Stamp { kind, batch: number, part, parts, last, first };
        Sector::Valid(stamp, Bytes::copy_from_slice(payload))
    }

    fn scanned(sectors: Vec<Sector>) -> Scan {
        let (name, bytes) = ("journal".to_owned(), Bytes::new());
        scan(&[Image { number: 1, name, exists: true, bytes, sectors }])
    }

    fn flaw(offset: u64, what: &'static str) -> Flaw {
        Flaw { name: "journal".to_owned(), offset, what, harm: Harm::Something }
    }

    fn is_commit(event: &Event) -> bool {
        matches!(event, Event::Record(1, LogRecord::Commit(LogIndex(3))))
    }

    #[test]
    fn an_intact_batch_that_makes_no_sense_is_lost_but_for_its_records() {
        let mut commit = Vec::new();
        LogRecord::Commit(LogIndex(3)).encode(&mut commit);
        let of_no_kind = [1, 0, 99];
        let marker = Sector::Valid(Stamp::marker(Kind::Synced, 2, <_>::default()), Bytes::new());
        for rest in [&of_no_kind[..], &commit[..5]] {
            let second = batch(2, (0, 1), &[&commit, rest].concat());
            let found = scanned(vec![batch(1, (0, 1), &commit), second, marker.clone()]);
            let what = "the batch there is intact and makes no sense";
            assert_eq!(found.flaws, [flaw(512, what)], "{rest:?}");
            let [first, second, gaps @ ..] = &found.events[..] else { panic!("{found:?}") };
            assert!(is_commit(first) && is_commit(second), "{found:?}");
            assert!(matches!(gaps, [Event::Gap, ..]), "{found:?}");
        }
    }

    #[test]
    fn a_batch_that_the_first_segment_has_in_part_lacks_its_beginning() {
        let marker = Sector::Valid(Stamp::marker(Kind::Synced, 2, <_>::default()), Bytes::new());
        let found = scanned(vec![batch(1, (1, 2), &[]), batch(2, (0, 1), &[]), marker]);
        let what = "the batch's beginning is missing before it";
        assert_eq!(found.flaws, [flaw(0, what)]);
    }

    #[test]
    fn a_flaw_says_where_it_is_and_what_was_lost() {
        let said = |harm| Flaw { harm, ..flaw(512, "the sector is blank") }.to_string();
        let lost = "journal, byte 512: the sector is blank; what it held is lost";
        assert_eq!(said(Harm::Something), lost);
        assert!(said(Harm::Nothing).ends_with("; nothing is lost by that"));
        assert!(said(Harm::TheEnd).ends_with("; nobody knows how much more there was"));
    }
}
