//! From records back to the log that they describe, with or without some of them.

use std::collections::BTreeMap;

use super::record::LogRecord;
use super::scan::Event;
use super::{LogEnd, Sightings};
use crate::entry::Entry;
use crate::store::Snapshot;
use crate::types::LogIndex;

/// The log that a journal describes.
#[derive(Debug)]
pub(super) struct Log {
    /// The entries that are connected to the beginning, one behind the other.
    pub entries: Vec<Entry>,
    /// Those above the first that is missing.
    pub aside: Vec<Entry>,
    /// Up to here the log is certainly committed, and is what stood there.
    pub commit: LogIndex,
    /// Whether nothing is missing of what the journal once held.
    pub is_complete: bool,
    /// What was seen of other nodes' directories.
    pub sightings: Sightings,
}

/// What the log begins with.
#[derive(Clone, Debug)]
pub(super) enum Beginning {
    /// The node belongs to no cluster: there can be no log.
    Unborn,
    /// The first entry.
    Genesis(Entry),
    /// Everything up to the snapshot.
    Snapshot(Snapshot),
}

/// The records so far.
#[derive(Debug, Default)]
pub(super) struct Replay {
    log: BTreeMap<LogIndex, Held>,
    aside: BTreeMap<LogIndex, Entry>,
    commit: LogIndex,
    sightings: Sightings,
    /// For each gap the commit index that was known before it.
    gaps: Vec<LogIndex>,
}

/// An entry, and how many gaps came before it.
#[derive(Debug)]
struct Held {
    entry: Entry,
    gaps: usize,
}

impl Replay {
    /// Takes in what comes next.
    pub fn event(&mut self, event: Event) {
        match event {
            Event::Gap => self.gaps.push(self.commit),
            Event::Record(_, LogRecord::Append(entry)) => self.append(entry),
            Event::Record(_, LogRecord::Commit(index)) => self.commit = self.commit.max(index),
            Event::Record(_, LogRecord::Aside(entry)) => {
                self.aside.insert(entry.index, entry);
            }
            Event::Record(_, LogRecord::Restart { index, .. }) => {
                self.log.clear();
                self.aside = self.aside.split_off(&index.next());
                self.commit = self.commit.max(index);
            }
            Event::Record(_, LogRecord::Sighted(node, directory, Some(seen))) => {
                self.sightings.insert((node, directory), seen);
            }
            Event::Record(_, LogRecord::Sighted(node, directory, None)) => {
                self.sightings.remove(&(node, directory));
            }
        }
    }

    /// What was laid aside further up stays: the log was not known to reach that far, so
    /// the append says nothing of it.
    fn append(&mut self, entry: Entry) {
        drop(self.log.split_off(&entry.index));
        self.aside = self.aside.split_off(&entry.index.next());
        let before = entry.index.previous();
        let continues = |held: &Held| entry.chain == entry.chain_after(held.entry.chain);
        if self.log.get(&before).is_some_and(|held| !continues(held)) {
            // It was overwritten by an entry that is lost.
            self.log.remove(&before);
        }
        self.log.insert(entry.index, Held { entry, gaps: self.gaps.len() });
    }

    /// The log, from its beginning. It once ended at `end`, if that is known.
    pub fn finish(mut self, beginning: Beginning, end: Option<LogEnd>) -> Log {
        let conflicts = self.conflicts_with(&beginning);
        let (mut entries, mut last, mut chain) = match beginning {
            Beginning::Unborn => return self.all_aside(end),
            Beginning::Genesis(entry) => {
                let (last, chain) = ((entry.term, entry.index), entry.chain);
                (vec![entry], last, chain)
            }
            Beginning::Snapshot(at) => (Vec::new(), (at.term(), at.index()), at.chain()),
        };
        let start = last.1;
        let mut reach = vec![start; self.gaps.len() + 1];
        while let Some(held) = self.log.remove(&last.1.next()) {
            if held.entry.chain != held.entry.chain_after(chain) {
                self.log.insert(held.entry.index, held);
                break;
            }
            (last, chain) = ((held.entry.term, held.entry.index), held.entry.chain);
            reach[held.gaps] = held.entry.index;
            entries.push(held.entry);
        }
        let is_complete = conflicts || end.is_none_or(|end| end.1 <= start || end == last);
        let commit = self.commit.min(self.certain(&reach)).max(start);
        let sightings = std::mem::take(&mut self.sightings);
        Log { entries, aside: self.above(last.1), commit, is_complete, sightings }
    }

    /// Whether the log was of another history than the snapshot, which is committed: then
    /// all of it is void.
    fn conflicts_with(&self, beginning: &Beginning) -> bool {
        let Beginning::Snapshot(snapshot) = beginning else { return false };
        let own = self.log.get(&snapshot.index());
        self.gaps.is_empty() && own.is_some_and(|held| held.entry.chain != snapshot.chain())
    }

    /// Up to which index the connected entries are certainly those that stood in the log.
    ///
    /// `reach` gives the last connected entry recorded after each number of gaps. One
    /// recorded after the last gap vouches by its chain for all before it. Of those
    /// recorded before a gap, what was committed by then was never overwritten since.
    fn certain(&self, reach: &[LogIndex]) -> LogIndex {
        let mut certain = reach[0];
        for (committed, reach) in self.gaps.iter().zip(&reach[1..]) {
            certain = certain.min(*committed).max(*reach);
        }
        certain
    }

    fn all_aside(mut self, end: Option<LogEnd>) -> Log {
        let is_complete = end.is_none_or(|end| end.1 == LogIndex(0));
        let sightings = std::mem::take(&mut self.sightings);
        let aside = self.above(LogIndex(0));
        Log { entries: Vec::new(), aside, commit: LogIndex(0), is_complete, sightings }
    }

    /// The newest record of each index above the given one.
    fn above(self, index: LogIndex) -> Vec<Entry> {
        let mut entries = self.aside;
        entries.extend(self.log.into_iter().map(|(index, held)| (index, held.entry)));
        entries.split_off(&index.next()).into_values().collect()
    }
}
