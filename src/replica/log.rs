//! The log in memory, and how much of it is on this node's own disk.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::chunked_deque::ChunkedDeque;
use crate::disk::LogEnd;
use crate::entry::{Entry, EntryKind};
use crate::time::Instant;
use crate::types::{LogIndex, Term};
use crate::wire::entry_bytes;

/// The entries behind the base, and which of them the journal has synced.
#[derive(Debug, Default)]
pub struct Log {
    base: Base,
    entries: ChunkedDeque<Entry>,
    durable: LogIndex,
    /// Consecutive stretches that are not synced yet, ascending. A stretch ends where
    /// the next begins.
    unsynced: VecDeque<Unsynced>,
    /// How many bytes were ever appended.
    written: u64,
}

/// The entry that the log begins behind: a snapshot covers it and all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// Its index, zero at the beginning of all.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// Its chain value.
    pub chain: u32,
}

/// A stretch of entries that one batch of the journal will make durable.
#[derive(Debug)]
struct Unsynced {
    first: LogIndex,
    batch: u64,
    since: Instant,
}

impl Log {
    /// The log that a directory held behind a snapshot, or from index 1; all of it is
    /// durable.
    pub fn recovered(base: Base, entries: Vec<Entry>) -> Self {
        let durable = LogIndex(base.index.0 + entries.len() as u64);
        let entries = entries.into_iter().collect();
        Self { base, entries, durable, unsynced: VecDeque::new(), written: 0 }
    }

    /// The log that begins anew behind a snapshot, as the journal's batch `batch` will tell.
    /// docs/disk-format.md: "nothing that it covers counts as durable before the restart record
    /// is, which tells without the file how far the log went".
    pub fn behind(base: Base, batch: u64, now: Instant) -> Self {
        // This stretch reaches from the beginning to the base.
        let unsynced = VecDeque::from([Unsynced { first: LogIndex(1), batch, since: now }]);
        Self { base, unsynced, ..Self::default() }
    }

    /// What the log begins behind.
    pub fn base(&self) -> Base {
        self.base
    }

    /// The index of the last entry, or that of the base.
    pub fn last_index(&self) -> LogIndex {
        LogIndex(self.base.index.0 + self.entries.len() as u64)
    }

    /// The term of the last entry, or that of the base.
    pub fn last_term(&self) -> Term {
        self.entries.back().map_or(self.base.term, |entry| entry.term)
    }

    /// Where the log ends.
    pub fn end(&self) -> LogEnd {
        (self.last_term(), self.last_index())
    }

    /// The entry at the index.
    pub fn entry(&self, index: LogIndex) -> Option<&Entry> {
        let position = index.0.checked_sub(self.base.index.0 + 1)?;
        self.entries.get(usize::try_from(position).ok()?)
    }

    /// The term of the entry at the index, which may be the base's.
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        let is_base = index == self.base.index;
        if is_base { Some(self.base.term) } else { self.entry(index).map(|entry| entry.term) }
    }

    /// The chain value of the entry at the index, which may be the base's.
    pub fn chain_at(&self, index: LogIndex) -> Option<u32> {
        let is_base = index == self.base.index;
        if is_base { Some(self.base.chain) } else { self.entry(index).map(|entry| entry.chain) }
    }

    /// The last entry's chain value.
    pub fn last_chain(&self) -> u32 {
        self.entries.back().map_or(self.base.chain, |entry| entry.chain)
    }

    /// Appends the next entry, which the journal's batch `batch` will make durable.
    pub fn append(&mut self, entry: Entry, batch: u64, now: Instant) {
        assert_eq!(entry.index, self.last_index().next(), "entries are consecutive");
        if self.unsynced.back().is_none_or(|last| last.batch != batch) {
            self.unsynced.push_back(Unsynced { first: entry.index, batch, since: now });
        }
        self.written += entry_bytes(&entry) as u64;
        self.entries.push_back(entry);
    }

    /// How many bytes of entries this node has ever appended.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Removes all entries above the index.
    pub fn truncate_after(&mut self, index: LogIndex) {
        let length = index.0.saturating_sub(self.base.index.0);
        drop(self.entries.split_off(usize::try_from(length).unwrap_or(usize::MAX)));
        self.durable = self.durable.min(index);
        // What is appended at a removed index again becomes durable by its own, later
        // batch: the completion of the earlier one finds no stretch of its own here.
        while self.unsynced.back().is_some_and(|last| last.first > index) {
            self.unsynced.pop_back();
        }
    }

    /// Forgets entries up to the index, which a durable snapshot covers, but at most `most` of
    /// them: to free many at once takes long.
    pub fn forget_to(&mut self, index: LogIndex, most: usize) {
        for _ in 0..most {
            if self.base.index >= index {
                return;
            }
            let Some(Entry { index, term, chain, .. }) = self.entries.pop_front() else { return };
            self.base = Base { index, term, chain };
        }
    }

    /// The journal has synced everything up to and including this batch.
    pub fn on_synced(&mut self, batch: u64) {
        while self.unsynced.front().is_some_and(|first| first.batch <= batch) {
            self.unsynced.pop_front();
        }
        self.durable = match self.unsynced.front() {
            Some(stretch) => stretch.first.previous(),
            None => self.last_index(),
        };
    }

    /// Up to here the log is on this node's own disk.
    pub fn durable(&self) -> LogIndex {
        self.durable
    }

    /// When the oldest entry that is not durable yet was appended.
    pub fn oldest_unsynced(&self) -> Option<Instant> {
        self.unsynced.front().map(|stretch| stretch.since)
    }

    /// The payload of the request that the entry at `index` completes: its own, after
    /// those of the parts directly before it in the same term. Parts that a change of
    /// term left incomplete are void, from the log alone, on every node alike.
    pub fn request_payload(&self, index: LogIndex) -> Option<Bytes> {
        let last = self.entry(index).filter(|entry| entry.kind == EntryKind::Request)?;
        let mut first = index;
        while self
            .entry(first.previous())
            .is_some_and(|entry| entry.kind == EntryKind::Part && entry.term == last.term)
        {
            first = first.previous();
        }
        if first == index {
            return Some(last.payload.clone());
        }
        let mut joined = Vec::new();
        for at in first.0..=index.0 {
            joined.extend_from_slice(&self.entry(LogIndex(at))?.payload);
        }
        Some(joined.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LogTime;

    fn append(log: &mut Log, term: u64, kind: EntryKind, payload: &'static str, batch: u64) {
        let entry = Entry::chained(
            log.last_chain(),
            log.last_index().next(),
            Term(term),
            LogTime(0),
            kind,
            Bytes::from_static(payload.as_bytes()),
        );
        log.append(entry, batch, Instant(batch));
    }

    #[test]
    fn an_index_written_again_is_durable_by_its_later_batch_only() {
        let mut log = Log::default();
        append(&mut log, 1, EntryKind::Noop, "", 1);
        append(&mut log, 1, EntryKind::Noop, "", 2);
        append(&mut log, 1, EntryKind::Noop, "", 2);
        log.on_synced(1);
        assert_eq!(log.durable(), LogIndex(1));
        log.truncate_after(LogIndex(1));
        append(&mut log, 2, EntryKind::Noop, "", 3);
        log.on_synced(2);
        assert_eq!(log.durable(), LogIndex(1), "batch 2 wrote another entry at index 2");
        log.on_synced(3);
        assert_eq!(log.durable(), LogIndex(2));
    }

    #[test]
    fn cutting_into_a_stretch_keeps_its_rest() {
        let mut log = Log::default();
        for _ in 0..3 {
            append(&mut log, 1, EntryKind::Noop, "", 1);
        }
        log.truncate_after(LogIndex(2));
        assert_eq!(log.durable(), LogIndex(0));
        log.on_synced(1);
        assert_eq!(log.durable(), LogIndex(2));
    }

    #[test]
    fn a_log_behind_a_snapshot_is_durable_by_the_record_of_its_beginning() {
        let base = Base { index: LogIndex(84), term: Term(6), chain: 7 };
        let mut log = Log::behind(base, 3, Instant(3));
        log.on_synced(2);
        assert_eq!((log.durable(), log.last_index()), (LogIndex(0), LogIndex(84)));
        append(&mut log, 6, EntryKind::Noop, "", 4);
        log.truncate_after(LogIndex(84));
        log.on_synced(3);
        assert_eq!(log.durable(), LogIndex(84));
    }

    #[test]
    fn parts_of_another_term_are_void() {
        let mut log = Log::default();
        append(&mut log, 1, EntryKind::Part, "lost", 1);
        append(&mut log, 2, EntryKind::Part, "a", 1);
        append(&mut log, 2, EntryKind::Part, "b", 1);
        append(&mut log, 2, EntryKind::Request, "c", 1);
        append(&mut log, 2, EntryKind::Request, "d", 1);
        assert_eq!(log.request_payload(LogIndex(2)), None);
        assert_eq!(log.request_payload(LogIndex(4)).unwrap(), "abc");
        assert_eq!(log.request_payload(LogIndex(5)).unwrap(), "d");
    }
}
