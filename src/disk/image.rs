//! Segments as they are read: sector by sector.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::SegmentSize;
use super::directory::{Directory, DiskError};
use super::meta::Meta;
use super::names::{self, JOURNAL, REWRITTEN};
use super::sector::{self, Place, SECTOR_BYTES, Sector};
use crate::types::DirectoryId;

/// A segment as it lies on the disk.
#[derive(Debug)]
pub(super) struct Image {
    pub number: u32,
    pub name: String,
    /// Whether the file is there.
    pub exists: bool,
    /// All that the file holds.
    pub bytes: Bytes,
    pub sectors: Vec<Sector>,
}

impl Image {
    /// The segment of this number, in a file of this name that holds these bytes.
    pub fn new(
        number: u32,
        name: String,
        id: DirectoryId,
        size: SegmentSize,
        bytes: Bytes,
    ) -> Self {
        let at = |sector: usize| {
            let from = bytes.len().min(sector * SECTOR_BYTES);
            let bytes = bytes.slice(from..bytes.len().min(from + SECTOR_BYTES));
            sector::classify(Place { directory: id, segment: number, sector }, &bytes)
        };
        let sectors = (0..size.sectors()).map(at).collect();
        Self { number, name, exists: true, bytes, sectors }
    }

    fn absent(number: u32, size: SegmentSize) -> Self {
        let name = names::segment(JOURNAL, number);
        let sectors = vec![Sector::Missing; size.sectors()];
        Self { number, name, exists: false, bytes: Bytes::new(), sectors }
    }

    /// Whether anything was written into the segment since it has its number.
    pub fn is_used(&self) -> bool {
        self.sectors.iter().any(|sector| matches!(sector, Sector::Valid(..)))
    }

    /// Behind the last sector that is known to have been written as a part of a batch.
    pub fn end_of_batches(&self) -> usize {
        let end_of = |(at, sector): (usize, &Sector)| match sector {
            // A marker has no parts: it stands right behind them.
            Sector::Valid(stamp, _) => {
                (at + stamp.parts as usize).saturating_sub(stamp.part as usize)
            }
            _ => 0,
        };
        let ends = self.sectors.iter().enumerate().map(end_of);
        ends.max().unwrap_or(0).min(self.sectors.len())
    }
}

/// The journal's segments, ascending; one that is missing between others is there without
/// its file.
pub(super) fn read_segments(
    directory: &dyn Directory,
    meta: &Meta,
) -> Result<Vec<Image>, DiskError> {
    let files = segment_files(&directory.names()?, meta.first_segment);
    let first = files.first_key_value().map_or(meta.first_segment, |(number, _)| *number);
    let last = files.last_key_value().map_or(first, |(number, _)| *number);
    let read = |number| {
        let Some(name) = files.get(&number) else {
            return Ok(Image::absent(number, meta.segment_size));
        };
        let bytes = directory.read(name)?;
        Ok(Image::new(number, name.clone(), meta.stamp, meta.segment_size, bytes))
    };
    (first..=last).map(read).collect()
}

/// The files that the journal consists of, by number. A journal that was written to
/// replace a damaged one does so from the moment that the file `meta` names its first
/// segment; it keeps its name for as long as any of its segments lacks its own.
fn segment_files(names: &[String], first: u32) -> BTreeMap<u32, String> {
    let of = |prefix: &'static str| {
        let numbered = names.iter().filter_map(move |name| {
            names::segment_number(prefix, name).map(|number| (number, name.clone()))
        });
        numbered.filter(|(number, _)| *number >= first).collect::<BTreeMap<u32, String>>()
    };
    let mut files = of(JOURNAL);
    let rewritten = of(REWRITTEN);
    if rewritten.contains_key(&first) {
        files.extend(rewritten);
    }
    files
}
