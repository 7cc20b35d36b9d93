//! Reading a directory back: what it holds, and what it may have held.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::directory::Directory;
use super::image::{Image, read_segments};
use super::meta::FoundMeta;
use super::names::META;
use super::record::LogRecord;
use super::replay::{Beginning, Log, Replay};
use super::scan::{Event, Flaw, Harm, Scan, scan};
use super::scrub::Scrub;
use super::set_aside;
use super::snapshot_file::{Snapshots, read_snapshots};
use super::{Doubt, GenesisState, Recovered, SegmentSize, StartError};
use crate::entry::Entry;
use crate::types::LogIndex;

/// A directory as it lies on the disk: nothing of it is known to be durable.
#[derive(Debug)]
pub struct Examination {
    /// What it holds. The incarnation is that of the last start, zero before the first.
    pub recovered: Recovered,
    /// What is wrong.
    pub flaws: Vec<Flaw>,
    /// How many sectors at the journal's end belong to a batch that was torn by a loss of
    /// power: it never was durable, and is cut.
    pub torn_sectors: usize,
    /// The journal's segments.
    pub segments: Vec<SegmentSummary>,
    /// The length of the snapshot's file in bytes, or zero.
    pub snapshot_bytes: u64,
    /// The names of damaged files that an earlier start has set aside.
    pub set_aside: Vec<String>,
    pub(super) meta: FoundMeta,
    pub(super) images: Vec<Image>,
    pub(super) journal: Scan,
    pub(super) snapshots: Snapshots,
}

/// What one segment of the journal holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Its number.
    pub number: u32,
    /// Its batches.
    pub batches: Option<RangeInclusive<u64>>,
    /// The lowest and the highest index of an entry in it.
    pub indexes: Option<RangeInclusive<LogIndex>>,
}

impl Examination {
    /// How long its segments are.
    pub fn segment_size(&self) -> SegmentSize {
        self.meta.meta.segment_size
    }

    /// The way to read the files again while the node runs.
    pub fn scrub(&self) -> Scrub {
        let newest = self.snapshots.newest.as_ref().map(|(snapshot, _)| snapshot.index());
        Scrub::new(self.meta.meta.stamp, self.meta.meta.segment_size, newest)
    }

    /// Whether something is lost that may have been relied on: then the journal must be
    /// written anew before the node may go on.
    pub(super) fn needs_rewriting(&self) -> bool {
        self.flaws.iter().any(|flaw| flaw.harm != Harm::Nothing)
    }
}

/// Reads the directory. This changes nothing.
///
/// # Errors
/// Why it cannot be used at all.
pub fn examine(directory: &dyn Directory) -> Result<Examination, StartError> {
    let meta = FoundMeta::read(&directory.read(META)?)?;
    let images = read_segments(directory, &meta.meta)?;
    let mut journal = scan(&images);
    let mut set_aside = set_aside::files(directory)?;
    // Without a doubt nothing is missing that they could hold.
    set_aside.retain(|_| meta.meta.doubt.is_some());
    let snapshots = read_snapshots(directory, meta.meta.genesis.complete(), &set_aside)?;
    let events = std::mem::take(&mut journal.events);
    let segments = summarize(&images, &journal, &events);
    let log = replay(events, &meta, &snapshots, &journal);
    let flaws = all_flaws(&meta, &images, &mut journal, &snapshots, &log);
    let torn_sectors = journal.torn_sectors();
    let snapshot_bytes = snapshots.newest.as_ref().map_or(0, |(_, bytes)| *bytes);
    let doubt = Doubt::join(meta.meta.doubt, found_doubt(&journal, &flaws, &log));
    let mut recovered = recovered(&meta, &snapshots, log, doubt);
    if recovered.genesis.complete().is_some() {
        let entries = set_aside::entries(&set_aside, &meta.meta, directory);
        let end = recovered.log_chain();
        set_aside::complete(&mut recovered.aside, end, &entries);
    }
    let set_aside = set_aside.into_iter().map(|(name, _)| name).collect();
    Ok(Examination {
        recovered,
        flaws,
        torn_sectors,
        segments,
        snapshot_bytes,
        set_aside,
        meta,
        images,
        journal,
        snapshots,
    })
}

fn replay(events: Vec<Event>, found: &FoundMeta, snapshots: &Snapshots, journal: &Scan) -> Log {
    let beginning = match (&snapshots.newest, &found.meta.genesis) {
        (Some((snapshot, _)), _) => Beginning::Snapshot(snapshot.clone()),
        (None, GenesisState::Complete(genesis)) => Beginning::Genesis(Entry::genesis(genesis)),
        (None, GenesisState::Blank | GenesisState::Accepted(_)) => Beginning::Unborn,
    };
    let mut replay = Replay::default();
    for event in events {
        replay.event(event);
    }
    replay.finish(beginning, journal.proof.log_end())
}

/// What the damage that was found implies. Where the chain shows that the log is complete
/// in spite of it, nothing is in doubt.
fn found_doubt(journal: &Scan, flaws: &[Flaw], log: &Log) -> Option<Doubt> {
    if flaws.iter().any(|flaw| flaw.harm == Harm::TheEnd) {
        return Some(Doubt { upto: None });
    }
    (!log.is_complete).then(|| Doubt { upto: journal.proof.log_end() })
}

/// One of the copies in the file `meta` is not intact.
pub(super) fn copy_flaw(offset: u64) -> Flaw {
    let what = "one of its two copies is not intact";
    Flaw { name: META.to_owned(), offset, what, harm: Harm::Nothing }
}

/// One of the copies is intact, but not what the running node wrote last: the disk has lost a
/// write. A start cannot tell that from a loss of power between the copies.
pub(super) fn other_copy_flaw(offset: u64) -> Flaw {
    let what = "one of its two copies is not what was written last";
    Flaw { name: META.to_owned(), offset, what, harm: Harm::Nothing }
}

fn all_flaws(
    meta: &FoundMeta,
    images: &[Image],
    journal: &mut Scan,
    snapshots: &Snapshots,
    log: &Log,
) -> Vec<Flaw> {
    let flaw = |name: &str, offset, what, harm| Flaw { name: name.to_owned(), offset, what, harm };
    let copies = meta.damaged.iter().map(|at| copy_flaw(*at));
    let damaged = snapshots
        .damaged
        .iter()
        .map(|name| flaw(name, 0, "the snapshot is not intact", Harm::Something));
    let mut flaws: Vec<Flaw> = copies.chain(damaged).collect();
    flaws.append(&mut journal.flaws);
    if !log.is_complete && flaws.iter().all(|flaw| flaw.harm == Harm::Nothing) {
        let what = "the log does not reach as far as it once did";
        flaws.push(flaw(&images[0].name, 0, what, Harm::Something));
    }
    flaws
}

fn recovered(
    found: &FoundMeta,
    snapshots: &Snapshots,
    log: Log,
    doubt: Option<Doubt>,
) -> Recovered {
    let meta = &found.meta;
    // A lost snapshot may have taken the place of a log that was never committed.
    let start = snapshots.newest.as_ref().map_or(LogIndex(1), |(snapshot, _)| snapshot.index());
    let commit = if snapshots.damaged.is_empty() { log.commit } else { log.commit.min(start) };
    let mut recovered = Recovered {
        identity: meta.identity.clone(),
        incarnation: meta.incarnation,
        genesis: meta.genesis.clone(),
        term: meta.term,
        voted_for: meta.voted_for,
        commit,
        snapshot: snapshots.newest.as_ref().map(|(snapshot, _)| snapshot.clone()),
        entries: log.entries,
        aside: log.aside,
        doubt,
        sightings: log.sightings,
    };
    if doubt.is_none() {
        // Once nothing is missing any more, what was laid aside is of no use.
        recovered.aside.clear();
    }
    let (last_term, _) = recovered.log_end();
    if recovered.term < last_term {
        recovered.term = last_term;
        recovered.voted_for = None;
    }
    recovered
}

fn summarize(images: &[Image], journal: &Scan, events: &[Event]) -> Vec<SegmentSummary> {
    let mut indexes: BTreeMap<u32, RangeInclusive<LogIndex>> = BTreeMap::new();
    for event in events {
        let Event::Record(segment, LogRecord::Append(entry) | LogRecord::Aside(entry)) = event
        else {
            continue;
        };
        let range = indexes.entry(*segment).or_insert(entry.index..=entry.index);
        *range = entry.index.min(*range.start())..=entry.index.max(*range.end());
    }
    let summary = |(image, batches): (&Image, &Option<RangeInclusive<u64>>)| SegmentSummary {
        number: image.number,
        batches: batches.clone(),
        indexes: indexes.get(&image.number).cloned(),
    };
    images.iter().zip(&journal.batches).map(summary).collect()
}
