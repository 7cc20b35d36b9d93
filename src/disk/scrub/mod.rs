//! Reading again, slice by slice, what a running node has on its disk.
//!
//! docs/guarantees.md: "Damage is sought while the node runs": in the sealed segments, the
//! newest snapshot and the file `meta`, by the checks of a start. The segment that is being
//! written is looked at when it is full.
//!
//! The node's memory holds all that these files say, so it repairs them by what it does
//! anyway. It writes the state that it knows to be committed as a snapshot: that takes the
//! place of a damaged one, and of the segments up to its index, which are given up from the
//! oldest on. The file `meta` is written anew by the journal, which knows what it says.
//!
//! This is safe in every moment. A snapshot gets its name when it is durable, and nothing is
//! given up before. So until then a start finds the damage as it was, is in doubt, and is
//! repaired by others; afterwards it finds all of the log behind the new snapshot. Where
//! entries of a damaged segment are not known to be committed, that stays until they are:
//! they were durable when that was said, and if the node ends first, its next start tells
//! that they are lost.
//!
//! Nothing is taken for damage that only was given up meanwhile. What a read has found counts
//! only if the file is still in use when the next step begins: a segment leaves the sealed
//! ones before its file is touched, and never comes back.

mod reading;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::SegmentSize;
use super::directory::Directory;
use super::meta::{FoundMeta, META_BYTES, Meta, damaged_copies, other_copies};
use super::names::META;
use super::recovery::{copy_flaw, other_copy_flaw};
use super::scan::Flaw;
use crate::types::{DirectoryId, LogIndex};
use reading::Reading;

/// The most bytes that one step reads.
pub const SLICE_BYTES: usize = 64 << 10;

/// A file that is read again. A pass reads them in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum File {
    Meta,
    Snapshot(LogIndex),
    Segment(u32),
}

/// What is damaged and waits for its repair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// The file `meta` does not look right: a copy is not intact, or the two differ. Only the
    /// journal can tell: it may be writing it.
    pub meta: bool,
    /// The newest snapshot.
    pub snapshot: bool,
    /// Segments of the journal, by number.
    pub segments: Vec<u32>,
}

impl Damage {
    /// Whether there is any.
    pub fn is_there(&self) -> bool {
        *self != Self::default()
    }
}

/// What a step has found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Damage that was not known before.
    pub damaged: Vec<Flaw>,
    /// Damage that is gone.
    pub repaired: Vec<Flaw>,
    /// Everything was read once since the last time that this was said.
    pub pass_ended: bool,
}

/// How far the files were read again, and which of them are damaged.
#[derive(Debug)]
pub struct Scrub {
    of: (DirectoryId, SegmentSize),
    /// The newest snapshot.
    snapshot: Option<LogIndex>,
    reading: Option<Reading>,
    /// A file that was read to its end, and what seemed wrong with it.
    read: Option<(File, Vec<Flaw>)>,
    /// The last file that this pass has read.
    last: Option<File>,
    /// Files that are read before the pass goes on: they were written anew.
    again: BTreeSet<File>,
    damaged: BTreeMap<File, Vec<Flaw>>,
    suspects_meta: bool,
}

impl Scrub {
    /// Of the journal whose sectors are stamped with this id, in segments of this size, and of
    /// this newest snapshot.
    pub(super) fn new(stamp: DirectoryId, size: SegmentSize, snapshot: Option<LogIndex>) -> Self {
        Self {
            of: (stamp, size),
            snapshot,
            reading: None,
            read: None,
            last: None,
            again: BTreeSet::new(),
            damaged: BTreeMap::new(),
            suspects_meta: false,
        }
    }

    /// Reads the next slice. The journal's sealed segments must be asked for after the step
    /// before, and the newest snapshot be known.
    pub fn step(&mut self, directory: &dyn Directory, sealed: &Range<u32>) -> Findings {
        let mut findings = Findings::default();
        self.forget_unused(sealed, &mut findings);
        self.judge(sealed, &mut findings);
        let Some(mut reading) = self.take_reading(sealed) else {
            self.last = None;
            findings.pass_ended = true;
            return findings;
        };
        match reading.read_on(directory, self.of) {
            None => self.reading = Some(reading),
            Some(flaws) => self.on_read(reading.file, flaws),
        }
        findings
    }

    /// A snapshot at this index was written, and takes the place of any other.
    pub fn snapshot_written(&mut self, index: LogIndex) {
        let file = File::Snapshot(index);
        self.snapshot = Some(index);
        self.reading.take_if(|reading| reading.file == file);
        self.read.take_if(|(read, _)| *read == file);
        if self.damaged.contains_key(&file) {
            self.again.insert(file);
        }
    }

    /// What waits for its repair. That the file `meta` looks wrong is said once.
    pub fn take_damage(&mut self) -> Damage {
        let mut damage = Damage { meta: self.suspects_meta, ..Damage::default() };
        self.suspects_meta = false;
        for file in self.damaged.keys() {
            match file {
                File::Meta => damage.meta = true,
                File::Snapshot(_) => damage.snapshot = true,
                File::Segment(number) => damage.segments.push(*number),
            }
        }
        damage
    }

    /// What is not in use any more was replaced: nobody relies on it.
    fn forget_unused(&mut self, sealed: &Range<u32>, findings: &mut Findings) {
        let snapshot = self.snapshot;
        let is_used = |file: &File| is_in_use(*file, snapshot, sealed);
        self.reading.take_if(|reading| !is_used(&reading.file));
        self.read.take_if(|(file, _)| !is_used(file));
        self.again.retain(is_used);
        self.damaged.retain(|file, flaws| {
            if !is_used(file) {
                findings.repaired.append(flaws);
            }
            is_used(file)
        });
    }

    /// The file that was read before is still in use, so what seemed wrong with it is.
    fn judge(&mut self, sealed: &Range<u32>, findings: &mut Findings) {
        let Some((file, flaws)) = self.read.take() else { return };
        debug_assert!(is_in_use(file, self.snapshot, sealed), "it would be forgotten");
        if file == File::Meta {
            self.suspects_meta = !flaws.is_empty();
        } else if flaws.is_empty() {
            findings.repaired.append(&mut self.damaged.remove(&file).unwrap_or_default());
        } else if let Entry::Vacant(unknown) = self.damaged.entry(file) {
            findings.damaged.clone_from(&flaws);
            unknown.insert(flaws);
        }
    }

    /// The file that is read next, from where that was left; none: the pass has ended.
    fn take_reading(&mut self, sealed: &Range<u32>) -> Option<Reading> {
        let begun = self.reading.take();
        let next = || self.again.first().copied().or_else(|| self.next_of_pass(sealed));
        begun.or_else(|| next().map(Reading::begin))
    }

    fn next_of_pass(&self, sealed: &Range<u32>) -> Option<File> {
        let segment = |from: u32| (from < sealed.end).then_some(File::Segment(from));
        match (self.last, self.snapshot) {
            (None, _) => Some(File::Meta),
            (Some(File::Meta), Some(index)) => Some(File::Snapshot(index)),
            (Some(File::Segment(last)), _) => segment(sealed.start.max(last + 1)),
            (Some(File::Meta | File::Snapshot(_)), _) => segment(sealed.start),
        }
    }

    fn on_read(&mut self, file: File, flaws: Vec<Flaw>) {
        if !self.again.remove(&file) {
            self.last = Some(file);
        }
        self.read = Some((file, flaws));
    }
}

fn is_in_use(file: File, snapshot: Option<LogIndex>, sealed: &Range<u32>) -> bool {
    match file {
        File::Meta => true,
        File::Snapshot(index) => snapshot == Some(index),
        File::Segment(number) => sealed.contains(&number),
    }
}

/// What is wrong with the file `meta`, as the disk has it now. What cannot be read is lost. Both
/// copies must say what was `written` last, or, where that is not known, what the newest says.
pub(super) fn meta_flaws(directory: &dyn Directory, written: Option<&Meta>) -> Vec<Flaw> {
    let most = usize::try_from(META_BYTES).expect("the file is short");
    let file = directory.reread(META, 0, most).unwrap_or_default();
    let newest = FoundMeta::read(&file).ok().map(|found| found.meta);
    let other = written.or(newest.as_ref()).map(|meta| other_copies(&file, meta));
    let damaged = damaged_copies(&file).into_iter().map(copy_flaw);
    damaged.chain(other.into_iter().flatten().map(other_copy_flaw)).collect()
}
