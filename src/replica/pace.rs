//! Whether a follower takes in as much as is written, as its leader sees it.
//!
//! One that does not will never have everything as long as that lasts: it falls behind, and
//! whoever runs the cluster is told so. What counts is bytes, since they are what a slow way
//! carries: those of the entries that have arrived there, and those of the blocks of a
//! snapshot that it has come to ask for.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Instant;
use crate::types::LogIndex;
use crate::wire::{PIECE_BYTES, SnapshotName, SnapshotRequest};

/// How often it is noted how far all have come.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many such notes are compared: a fetch comes in bursts, and so do writes.
const NOTES: usize = 6;

/// How much a follower has taken in of late.
#[derive(Debug, Default)]
pub struct Pace {
    /// Bytes that it has taken in.
    taken: u64,
    /// Of which snapshot it asks for pieces, and how far it has come.
    asked: Option<(SnapshotName, u32, u32)>,
    notes: VecDeque<Note>,
}

/// How it was at one time.
#[derive(Clone, Copy, Debug)]
struct Note {
    at: Instant,
    /// The last entry of the leader's log.
    last: LogIndex,
    /// Bytes that were ever written to that.
    written: u64,
    taken: u64,
}

impl Pace {
    /// So many more bytes of entries have arrived.
    pub fn on_entries(&mut self, bytes: u64) {
        self.taken += bytes;
    }

    /// The follower asks for pieces. What it asks for again is no progress.
    pub fn on_request(&mut self, request: &SnapshotRequest) {
        let asked = (request.snapshot, request.block, request.first);
        if self.asked.is_none_or(|before| asked > before) {
            self.asked = Some(asked);
            self.taken += u64::from(request.wanted.count_ones()) * PIECE_BYTES as u64;
        }
    }

    /// Notes from time to time how far the follower has come, and the leader's log: its last
    /// entry, and how many bytes were ever written to it.
    pub fn note(&mut self, now: Instant, last: LogIndex, written: u64) {
        if self.notes.back().is_some_and(|newest| now.since(newest.at) < INTERVAL) {
            return;
        }
        if self.notes.len() == NOTES {
            self.notes.pop_front();
        }
        self.notes.push_back(Note { at: now, last, written, taken: self.taken });
    }

    /// Whether the follower, which has the log up to `matched`, lacks what was written before
    /// the oldest note, and has taken in less since then than was written.
    pub fn falls_behind(&self, matched: LogIndex) -> bool {
        let (Some(oldest), Some(newest)) = (self.notes.front(), self.notes.back()) else {
            return false;
        };
        self.notes.len() == NOTES
            && matched < oldest.last
            && newest.taken - oldest.taken < newest.written - oldest.written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Term;

    /// Each second so many bytes, in entries of ten, are written and taken in.
    fn pass(pace: &mut Pace, seconds: u64, written: u64, taken: u64) {
        for second in 1..=seconds {
            pace.on_entries(taken);
            let all = second * written;
            pace.note(Instant(second * 1_000_000), LogIndex(all / 10), all);
            pace.note(Instant(second * 1_000_000 + 10), LogIndex(all / 10), all);
        }
    }

    #[test]
    fn who_takes_in_less_than_is_written_falls_behind() {
        let behind = |seconds, written, taken| {
            let mut pace = Pace::default();
            pass(&mut pace, seconds, written, taken);
            pace.falls_behind(LogIndex(3))
        };
        assert!(behind(6, 1_000, 900));
        assert!(!behind(5, 1_000, 900), "too early to tell");
        assert!(!behind(6, 1_000, 1_000) && !behind(6, 1_000, 2_000));
        assert!(!behind(20, 0, 0), "nothing is written");
    }

    #[test]
    fn who_has_all_but_the_newest_entries_does_not() {
        let mut pace = Pace::default();
        pass(&mut pace, 9, 1_000, 900);
        assert!(pace.falls_behind(LogIndex(399)));
        assert!(!pace.falls_behind(LogIndex(400)));
    }

    #[test]
    fn what_is_asked_for_again_is_taken_in_once() {
        let snapshot = |index| SnapshotName { index: LogIndex(index), term: Term(1), chain: 0 };
        let ask = |index, block| SnapshotRequest {
            snapshot: snapshot(index),
            block,
            first: 0,
            wanted: 0b11,
        };
        let mut pace = Pace::default();
        for request in [ask(5, 0), ask(5, 1), ask(5, 0), ask(5, 1), ask(6, 0)] {
            pace.on_request(&request);
        }
        assert_eq!(pace.taken, 3 * 2 * PIECE_BYTES as u64);
    }
}
