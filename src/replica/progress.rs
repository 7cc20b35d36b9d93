//! How far a follower has come, as its leader knows it, and what it is to be sent.
//!
//! What is lost is sent again at once, lowest first: the follower holds what lies beyond a
//! gap, and executes it when the gap is closed. The timeout is only for when nothing comes
//! back at all.

use std::time::Duration;

use super::in_flight::{InFlight, known_to};
use super::index_ranges::IndexRanges;
use super::pace::Pace;
use crate::link::{Copies, RoundTrip};
use crate::time::Instant;
use crate::types::{LogIndex, ReadRound};
use crate::wire::{Acknowledge, HELD_ENTRIES_MAX};

/// The timeout doubles at most this often.
const BACKOFF_MAX: u32 = 5;
/// A follower that was silent for so many timeouts is probed with single frames.
const PROBED_FROM: u32 = 2;

/// The leader's view of one follower, in this term and in that follower's present life.
#[derive(Debug)]
pub struct Progress {
    /// Up to here its log is verified to be the leader's.
    pub matched: LogIndex,
    /// Up to here that is on its disk.
    pub durable: LogIndex,
    /// How long its oldest entry that is not on its disk has waited, in microseconds.
    pub durability_age: u32,
    /// How much room its disk has, as its acknowledgments say.
    pub space: u8,
    /// The newest round of heartbeats that it has answered.
    pub round: ReadRound,
    /// When the newest of the leader's frames that it is known to have heard was sent.
    pub contact: Instant,
    /// How many frames with entries were sent to it again.
    pub retransmitted: u32,
    /// Whether it takes in as much as is written.
    pub pace: Pace,
    /// The first index that was ever sent; all from here to `next` was.
    pub(super) first: LogIndex,
    /// The first index that was never sent.
    pub(super) next: LogIndex,
    /// Frames sent and not yet known to have arrived or to be lost.
    pub in_flight: InFlight,
    /// What must be sent again.
    pub(super) lost: IndexRanges,
    pub(super) backoff: u32,
    /// When entries were last known to have arrived.
    answered_at: Instant,
}

impl Progress {
    /// Nothing is known yet; sending begins at `next`. The follower's first
    /// acknowledgment tells what it lacks before that.
    pub fn new(next: LogIndex, contact: Instant) -> Self {
        Self {
            matched: LogIndex(0),
            durable: LogIndex(0),
            durability_age: 0,
            space: 0,
            round: ReadRound(0),
            contact,
            retransmitted: 0,
            pace: Pace::default(),
            first: next,
            next,
            in_flight: InFlight::default(),
            lost: IndexRanges::default(),
            backoff: 0,
            answered_at: contact,
        }
    }

    /// The same, but for what is counted as long as this node runs.
    pub fn start_over(&mut self, next: LogIndex, contact: Instant) {
        let retransmitted = self.retransmitted;
        *self = Self { retransmitted, ..Self::new(next, contact) };
    }

    /// Takes in an acknowledgment, which arrived with the echo of a frame sent at
    /// `echoed`. `verified` is where the follower's log is known to agree with the
    /// leader's, by its own word or by its hint.
    pub fn on_acknowledge(
        &mut self,
        acknowledge: &Acknowledge,
        verified: LogIndex,
        echoed: Option<Instant>,
        round_trip: &RoundTrip,
        now: Instant,
    ) {
        self.round = self.round.max(acknowledge.round);
        self.durability_age = acknowledge.durability_age;
        self.space = acknowledge.free_space_class;
        self.matched = self.matched.max(acknowledge.matched);
        // docs/guarantees.md: "Durable counts only up to what is matched: what lies beyond
        // may be the remains of another leader's log."
        self.durable = self.durable.max(acknowledge.durable.min(acknowledge.matched));
        let arrived = self.in_flight.on_acknowledge(acknowledge);
        if arrived > 0 {
            self.pace.on_entries(arrived);
            self.backoff = 0;
            self.answered_at = now;
        }
        self.lost.remove(LogIndex(0), acknowledge.matched);
        for &(first, last) in &acknowledge.received {
            self.lost.remove(first, last);
        }
        self.fetch_what_lies_before(verified);
        if let Some(echoed) = echoed {
            self.contact = self.contact.max(echoed);
            self.declare_lost_before(echoed - round_trip.reordering(), known_to(acknowledge));
        }
    }

    /// The follower lacks entries below the first that was sent: they follow too.
    fn fetch_what_lies_before(&mut self, verified: LogIndex) {
        let from = verified.max(self.matched).next();
        if from < self.first {
            self.lost.insert(from, self.first.previous());
            self.first = from;
        }
    }

    /// Everything was reported as received, and yet the next entry is missing: the
    /// follower could not use it and has dropped it. `last` is the log's last index.
    pub fn send_again_what_was_dropped(&mut self, acknowledge: &Acknowledge, last: LogIndex) {
        let next = self.matched.next();
        let is_held = acknowledge.received.iter().any(|&(first, _)| first == next);
        if acknowledge.matched == self.matched && next <= last && !is_held && self.first <= next {
            self.lost.insert(next, last);
        }
    }

    /// Everything up to `known` that was sent before `time` and has not arrived is lost.
    fn declare_lost_before(&mut self, time: Instant, known: LogIndex) {
        for lost in self.in_flight.take_lost(time, known) {
            self.retransmitted = self.retransmitted.saturating_add(1);
            self.lost.insert(lost.first, lost.last);
        }
        self.lost.remove(LogIndex(0), self.matched);
    }

    /// The timeout has passed without an answer.
    pub fn on_timeout(&mut self, now: Instant, round_trip: &RoundTrip) {
        let unanswered = now - round_trip.timeout() + Duration::from_micros(1);
        self.declare_lost_before(unanswered, LogIndex(u64::MAX));
        self.backoff = (self.backoff + 1).min(BACKOFF_MAX);
    }

    /// When the oldest frame on the way counts as unanswered. As long as others are answered,
    /// their answers tell of it.
    pub fn deadline(&self, round_trip: &RoundTrip) -> Option<Instant> {
        let oldest = self.in_flight.oldest()?;
        let waits_since = oldest.sent_at.max(self.answered_at);
        Some(waits_since + round_trip.timeout() * 2_u32.pow(self.backoff))
    }

    /// Whether the follower answers so little that it is probed with single frames.
    pub fn is_silent(&self) -> bool {
        self.backoff >= PROBED_FROM
    }

    /// The next entries to send, first and last index; none: there are none, or the follower
    /// could not hold them. The sender may take fewer; it says how many by [`Self::on_sent`].
    pub fn next_to_send(&self, last_index: LogIndex) -> Option<(LogIndex, LogIndex)> {
        let (first, last) = self.lost.first().unwrap_or_else(|| {
            // A snapshot may have brought more than was ever sent.
            (self.next.max(self.matched.next()), last_index)
        });
        let last = last.min(self.may_be_held_to());
        (first <= last).then_some((first, last))
    }

    /// A follower drops what is more than it can hold beside what is missing.
    fn may_be_held_to(&self) -> LogIndex {
        let verified = self.matched.max(self.first.previous());
        LogIndex(verified.0.saturating_add(HELD_ENTRIES_MAX as u64))
    }

    /// Entries from `first` to `last` were sent, of those that [`Self::next_to_send`] gave.
    pub fn on_sent(&mut self, (first, last): (LogIndex, LogIndex), bytes: u64, now: Instant) {
        self.lost.remove(first, last);
        self.next = self.next.max(last.next());
        self.in_flight.push((first, last), bytes, now);
    }

    /// Entries to send once more now, before anything is known of their loss.
    pub fn next_to_repeat(&self, copies: Copies, now: Instant) -> Option<(LogIndex, LogIndex)> {
        let due =
            self.in_flight.repeatable(copies).find(|sent| sent.sent_at + copies.spacing <= now)?;
        Some((due.first, due.last))
    }

    /// When the next entries are to be sent once more.
    pub fn repeat_at(&self, copies: Copies) -> Option<Instant> {
        self.in_flight.repeatable(copies).map(|sent| sent.sent_at + copies.spacing).min()
    }

    /// Whether nothing is left to send or to wait for.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.lost.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Term;

    #[test]
    fn a_follower_is_sent_no_more_than_it_can_hold() {
        let now = Instant(1_000);
        let mut progress = Progress::new(LogIndex(11), now);
        let acknowledge = Acknowledge {
            term: Term(1),
            round: ReadRound(0),
            matched: LogIndex(10),
            durable: LogIndex(10),
            hint_index: LogIndex(10),
            hint_term: Term(1),
            received: Vec::new(),
            durability_age: 0,
            free_space_class: 0,
            configuration_index: LogIndex(1),
        };
        progress.on_acknowledge(&acknowledge, LogIndex(10), None, &RoundTrip::default(), now);
        let most = LogIndex(10 + HELD_ENTRIES_MAX as u64);
        assert_eq!(progress.next_to_send(LogIndex(100_000)), Some((LogIndex(11), most)));
        progress.on_sent((LogIndex(11), most), 1_000, now);
        assert_eq!(progress.next_to_send(LogIndex(100_000)), None);
    }
}
