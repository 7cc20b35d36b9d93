//! What a start makes of a directory before its node may rely on anything in it.

use std::collections::VecDeque;

use super::directory::{Directory, DiskError};
use super::image::Image;
use super::journal::Journal;
use super::meta::Meta;
use super::names::{self, JOURNAL, META, REWRITTEN};
use super::proof::State;
use super::record::LogRecord;
use super::recovery::Examination;
use super::sector::{self, Kind, Place, SECTOR_BYTES, Sector, Stamp};
use super::set_aside;
use super::writer::{Segment, SegmentWriter, offset_of};
use super::{LogEnd, Recovered};
use crate::types::LogIndex;

/// How many records of a journal that is written anew are written at once.
const REWRITE_RECORDS: usize = 1_024;

impl Examination {
    /// Makes the directory clean, and durable what was read, and that the node is started.
    /// docs/guarantees.md: "Nothing read at start is relied on before it is written and
    /// synced again". When the power fails meanwhile, the next start finds the same.
    ///
    /// # Errors
    /// The disk's.
    pub fn start(
        mut self,
        directory: &mut dyn Directory,
    ) -> Result<(Journal, Recovered), DiskError> {
        // What was read by a name may be what only the page cache knows by it.
        directory.sync_names()?;
        let mut meta = self.meta.meta.clone();
        meta.incarnation = meta.incarnation.next();
        self.recovered.incarnation = meta.incarnation;
        (meta.term, meta.voted_for) = (self.recovered.term, self.recovered.voted_for);
        // The doubt is durable before anything of what raised it is touched.
        meta.doubt = self.recovered.doubt;
        self.meta.replace(&mut meta, directory)?;

        self.take_names(directory)?;
        self.take_back(directory)?;
        self.remove_leftovers(&meta, directory)?;
        let mut writer = if self.needs_rewriting() {
            self.rewrite(&mut meta, directory)?
        } else {
            self.tidy(&meta, directory)?
        };
        writer.carry_all(&self.recovered.sightings);
        Ok((Journal::new(meta, writer), self.recovered))
    }

    /// Gives the segments of a journal that has replaced another their own names, if that
    /// was not finished. The first comes last: it tells that the others count.
    fn take_names(&mut self, directory: &mut dyn Directory) -> Result<(), DiskError> {
        for image in self.images.iter_mut().rev().filter(|image| image.exists) {
            let name = names::segment(JOURNAL, image.number);
            if image.name != name {
                directory.rename(&image.name, &name)?;
                directory.sync_names()?;
                image.name = name;
            }
        }
        Ok(())
    }

    /// Gives a snapshot its name again that was set aside and can be read by now. One of that
    /// name which is damaged is no loss any more: it held the same state.
    fn take_back(&mut self, directory: &mut dyn Directory) -> Result<(), DiskError> {
        let Some((name, former)) = self.snapshots.returned.take() else { return Ok(()) };
        directory.rename(&name, &former)?;
        directory.sync_names()?;
        self.snapshots.damaged.retain(|damaged| *damaged != former);
        Ok(())
    }

    /// Nothing is lost with any of these files, but for those that a damaged journal consisted
    /// of.
    fn remove_leftovers(
        &self,
        meta: &Meta,
        directory: &mut dyn Directory,
    ) -> Result<(), DiskError> {
        for name in directory.names()? {
            let was_replaced = names::segment_number(JOURNAL, &name)
                .is_some_and(|number| number < meta.first_segment);
            let is_unfinished = names::segment_number(REWRITTEN, &name).is_some();
            let is_superseded = self.snapshots.superseded.contains(&name);
            let is_free = names::is_set_aside(&name) && meta.doubt.is_none();
            if was_replaced {
                set_aside::give_up(&name, meta, directory)?;
            } else if names::is_scratch(&name) || is_unfinished || is_superseded || is_free {
                directory.remove(&name)?;
            }
        }
        directory.sync_names()
    }

    /// Writes all that can be read into new segments, which replace the damaged ones in one
    /// step: when the file `meta` names the first of them. Until then the damaged ones
    /// stay as they are.
    fn rewrite(
        &self,
        meta: &mut Meta,
        directory: &mut dyn Directory,
    ) -> Result<SegmentWriter, DiskError> {
        let last = self.images.last().map_or(meta.first_segment, |image| image.number);
        let proof = &self.journal.proof;
        let newest = proof.newest.map_or(0, |newest| newest.batch).max(proof.synced);
        let of = (meta.stamp, meta.segment_size);
        let mut writer = SegmentWriter::rewriting(of, last + 1, newest + 1, directory)?;
        for records in readable_records(&self.recovered).chunks(REWRITE_RECORDS) {
            writer.append(records, directory)?;
            writer.sync(directory)?;
        }
        meta.first_segment = last + 1;
        meta.write_promises(directory)?;
        directory.sync(META)?;
        for number in writer.numbers().rev() {
            let own = names::segment(JOURNAL, number);
            directory.rename(&names::segment(REWRITTEN, number), &own)?;
            directory.sync_names()?;
        }
        writer.take_place();
        let damaged = self.images.iter().filter(|image| image.exists).map(|image| &image.name);
        for name in damaged.chain(&self.snapshots.damaged) {
            set_aside::give_up(name, meta, directory)?;
        }
        directory.sync_names()?;
        Ok(writer)
    }

    /// Makes the journal clean where it stands: nothing in it is lost.
    fn tidy(&self, meta: &Meta, directory: &mut dyn Directory) -> Result<SegmentWriter, DiskError> {
        let last_used = self.journal.last_used;
        for image in &self.images[..last_used] {
            tidy_continued(image, meta, directory)?;
        }
        let last = &self.images[last_used];
        let end = self.journal.end;
        let marker = match last.sectors.get(end) {
            Some(Sector::Valid(stamp, _)) => Some(stamp.kind),
            _ => None,
        };
        let proof = &self.journal.proof;
        let said = (proof.taken(), proof.log_end().unwrap_or_default());
        let (mut current, mut position) = (last_used, end);
        if marker == Some(Kind::Continued) {
            // No batch in the next segment proves yet that this is on the disk.
            write_marker(last, end, (Kind::Continued, said), meta, directory)?;
            directory.sync(&last.name)?;
            blank_if_flawed(last, end + 1, directory)?;
            (current, position) = (last_used + 1, 0);
            blank_if_flawed(&self.images[current], 0, directory)?;
        } else {
            self.tidy_end(last, marker == Some(Kind::Synced), meta, directory)?;
        }
        // A loss of power in the middle of a rotation leaves a segment without batches.
        for image in self.images[current + 1..].iter().rev().filter(|image| image.exists) {
            directory.remove(&image.name)?;
            directory.sync_names()?;
        }
        let segments: VecDeque<Segment> = self.segments[..=current]
            .iter()
            .map(|segment| Segment {
                number: segment.number,
                highest: segment.indexes.as_ref().map_or(LogIndex(0), |range| *range.end()),
            })
            .collect();
        let of = (meta.stamp, meta.segment_size);
        let (taken, log_end) = said;
        Ok(SegmentWriter::resume(of, segments, position, taken + 1, log_end))
    }

    /// The segment with the journal's end: the batch that no later one proves synced is
    /// written again, and blank follows.
    fn tidy_end(
        &self,
        image: &Image,
        has_marker: bool,
        meta: &Meta,
        directory: &mut dyn Directory,
    ) -> Result<(), DiskError> {
        let end = self.journal.end;
        let proof = &self.journal.proof;
        let newest = proof.newest.map(|newest| newest.state);
        if has_marker && newest != Some(State::Torn) {
            blank_if_flawed(image, end + 1, directory)?;
        } else {
            self.write_newest_again(directory)?;
            blank(image, end, directory)?;
        }
        let last = (proof.taken(), proof.log_end().unwrap_or_default());
        write_marker(image, end, (Kind::Synced, last), meta, directory)?;
        directory.sync(&image.name)
    }

    /// The bytes are the same, but now they are dirty: the sync reaches the disk, or fails.
    fn write_newest_again(&self, directory: &mut dyn Directory) -> Result<(), DiskError> {
        let newest = self.journal.proof.newest.filter(|newest| newest.state == State::Whole);
        let Some(newest) = newest else { return Ok(()) };
        let image = &self.images[newest.image];
        let bytes = &image.bytes[newest.start * SECTOR_BYTES..newest.end * SECTOR_BYTES];
        directory.write_at(&image.name, offset_of(newest.start), bytes)?;
        directory.sync(&image.name)
    }
}

/// A segment that another follows.
fn tidy_continued(
    image: &Image,
    meta: &Meta,
    directory: &mut dyn Directory,
) -> Result<(), DiskError> {
    let end = image.end_of_batches();
    if matches!(image.sectors.get(end), Some(Sector::Valid(..))) {
        return blank_if_flawed(image, end + 1, directory);
    }
    // First, and from here on: where a page begins that cannot be read, all of it is written,
    // and the mark in it can be.
    blank_if_flawed(image, end, directory)?;
    let last = image.sectors[..end].iter().rev().find_map(|sector| match sector {
        Sector::Valid(stamp, _) => Some((stamp.batch, stamp.last)),
        _ => None,
    });
    let Some(last) = last else { return Ok(()) };
    write_marker(image, end, (Kind::Continued, last), meta, directory)?;
    directory.sync(&image.name)
}

/// Blanks the segment from this sector on, if anything there cannot be read.
fn blank_if_flawed(
    image: &Image,
    from: usize,
    directory: &mut dyn Directory,
) -> Result<(), DiskError> {
    let is_bad = |sector: &Sector| matches!(sector, Sector::Damaged | Sector::Missing);
    if image.sectors[from..].iter().any(is_bad) { blank(image, from, directory) } else { Ok(()) }
}

/// What the journal holds that replaces a damaged one.
fn readable_records(recovered: &Recovered) -> Vec<LogRecord> {
    let restart = recovered.snapshot.as_ref().map(|snapshot| LogRecord::Restart {
        index: snapshot.index(),
        term: snapshot.term(),
        chain: snapshot.chain(),
    });
    let own = recovered.entries.iter().filter(|entry| entry.index > LogIndex(1));
    let aside = recovered.aside.iter().cloned().map(LogRecord::Aside);
    let seen = recovered.sightings.iter();
    let seen =
        seen.map(|((node, directory), seen)| LogRecord::Sighted(*node, *directory, Some(*seen)));
    restart
        .into_iter()
        .chain(own.cloned().map(LogRecord::Append))
        .chain([LogRecord::Commit(recovered.commit)])
        .chain(aside)
        .chain(seen)
        .collect()
}

fn write_marker(
    image: &Image,
    sector: usize,
    (kind, (batch, last)): (Kind, (u64, LogEnd)),
    meta: &Meta,
    directory: &mut dyn Directory,
) -> Result<(), DiskError> {
    let mut bytes = Vec::with_capacity(SECTOR_BYTES);
    let place = Place { directory: meta.stamp, segment: image.number, sector };
    sector::encode(place, &Stamp::marker(kind, batch, last), &[], &mut bytes);
    directory.write_at(&image.name, offset_of(sector), &bytes)
}

/// Zeros from this sector to the segment's end, also where the file is too short.
fn blank(image: &Image, from: usize, directory: &mut dyn Directory) -> Result<(), DiskError> {
    let zeros = vec![0; image.sectors[from..].len() * SECTOR_BYTES];
    directory.write_at(&image.name, offset_of(from), &zeros)?;
    directory.sync(&image.name)
}
