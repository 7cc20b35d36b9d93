//! How far a follower has come, as its leader knows it, and what is on the way to it.
//!
//! Loss is told from lateness by time of sending (RACK, RFC 8985): what was sent
//! clearly before something that has arrived, and has not arrived itself, is lost and
//! is sent again at once. The timeout is only for when nothing comes back at all.

use std::collections::VecDeque;
use std::time::Duration;

use super::pace::Pace;
use crate::link::{Copies, RoundTrip};
use crate::time::Instant;
use crate::types::{LogIndex, ReadRound};
use crate::wire::Acknowledge;

/// The most frames with entries on the way to one follower.
const FRAMES_IN_FLIGHT_MAX: usize = 96;
/// With more than this on the way, what is lost shows in what follows it, and no copies are
/// sent.
const FRAMES_WITH_COPIES_MAX: usize = 16;
/// The timeout doubles at most this often.
const BACKOFF_MAX: u32 = 5;

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
    /// Frames sent and not yet known to have arrived or to be lost, oldest first.
    pub(super) in_flight: VecDeque<Stretch>,
    /// What must be sent again.
    pub(super) lost: VecDeque<(LogIndex, LogIndex)>,
    pub(super) backoff: u32,
}

/// The entries of one frame.
#[derive(Debug)]
pub(super) struct Stretch {
    pub(super) first: LogIndex,
    pub(super) last: LogIndex,
    bytes: u64,
    /// When they were sent last.
    sent_at: Instant,
    /// How often they were sent, but for what was sent before they counted as lost.
    times: u8,
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
            in_flight: VecDeque::new(),
            lost: VecDeque::new(),
            backoff: 0,
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
    ) {
        self.round = self.round.max(acknowledge.round);
        self.durability_age = acknowledge.durability_age;
        self.space = acknowledge.free_space_class;
        self.matched = self.matched.max(acknowledge.matched);
        // docs/guarantees.md: "Durable counts only up to what is matched: what lies beyond
        // may be the remains of another leader's log."
        self.durable = self.durable.max(acknowledge.durable.min(acknowledge.matched));
        let before = self.in_flight.len();
        let pace = &mut self.pace;
        self.in_flight.retain(|sent| {
            let has_arrived = arrived(acknowledge, sent.first, sent.last);
            pace.on_entries(if has_arrived { sent.bytes } else { 0 });
            !has_arrived
        });
        self.lost.retain(|&(first, last)| !arrived(acknowledge, first, last));
        if self.in_flight.len() < before {
            self.backoff = 0;
        }
        self.fetch_what_lies_before(verified);
        if let Some(echoed) = echoed {
            self.contact = self.contact.max(echoed);
            self.declare_lost_before(echoed - round_trip.reordering());
        }
    }

    /// The follower lacks entries below the first that was sent: they follow too.
    fn fetch_what_lies_before(&mut self, verified: LogIndex) {
        let from = verified.max(self.matched).next();
        if from < self.first {
            self.lost.push_front((from, self.first.previous()));
            self.first = from;
        }
    }

    /// Everything was reported as received, and yet the next entry is missing: the
    /// follower could not use it and has dropped it. `last` is the log's last index.
    pub fn send_again_what_was_dropped(&mut self, acknowledge: &Acknowledge, last: LogIndex) {
        let next = self.matched.next();
        let is_held = acknowledge.received.iter().any(|&(first, _)| first == next);
        if acknowledge.matched == self.matched && next <= last && !is_held && self.first <= next {
            self.lost.push_back((next, last));
        }
    }

    /// Everything sent before `time` that has not arrived is lost.
    fn declare_lost_before(&mut self, time: Instant) {
        while self.in_flight.front().is_some_and(|oldest| oldest.sent_at < time) {
            if let Some(lost) = self.in_flight.pop_front() {
                self.retransmitted = self.retransmitted.saturating_add(1);
                self.lost.push_back((lost.first, lost.last));
            }
        }
    }

    /// The timeout has passed without an answer.
    pub fn on_timeout(&mut self, now: Instant, round_trip: &RoundTrip) {
        self.declare_lost_before(now - round_trip.timeout() + Duration::from_micros(1));
        self.backoff = (self.backoff + 1).min(BACKOFF_MAX);
    }

    /// When the oldest frame on the way counts as unanswered.
    pub fn deadline(&self, round_trip: &RoundTrip) -> Option<Instant> {
        let oldest = self.in_flight.front()?;
        Some(oldest.sent_at + round_trip.timeout() * 2_u32.pow(self.backoff))
    }

    /// The next entries to send, first and last index, or none while the window is full.
    /// The sender may take fewer; it says how many by [`Self::on_sent`].
    pub fn next_to_send(&self, last_index: LogIndex) -> Option<(LogIndex, LogIndex)> {
        // A silent follower is probed with single frames, not with whole windows.
        let window = if self.backoff >= 2 { 1 } else { FRAMES_IN_FLIGHT_MAX };
        if self.in_flight.len() >= window {
            return None;
        }
        match self.lost.front() {
            Some(&(first, last)) => Some((first.max(self.matched.next()), last)),
            None => {
                // A snapshot may have brought more than was ever sent.
                let next = self.next.max(self.matched.next());
                (next <= last_index).then_some((next, last_index))
            }
        }
    }

    /// Entries from `first` to `last` were sent, of those that [`Self::next_to_send`] gave.
    pub fn on_sent(&mut self, (first, last): (LogIndex, LogIndex), bytes: u64, now: Instant) {
        match self.lost.front_mut() {
            Some(range) if range.1 == last => {
                self.lost.pop_front();
            }
            Some(range) => range.0 = last.next(),
            None => self.next = last.next(),
        }
        self.in_flight.push_back(Stretch { first, last, bytes, sent_at: now, times: 1 });
    }

    /// Entries to send once more now, before anything is known of their loss.
    pub fn next_to_repeat(&self, copies: Copies, now: Instant) -> Option<(LogIndex, LogIndex)> {
        let due = self.repeatable(copies).find(|sent| sent.sent_at + copies.spacing <= now)?;
        Some((due.first, due.last))
    }

    /// When the next entries are to be sent once more.
    pub fn repeat_at(&self, copies: Copies) -> Option<Instant> {
        self.repeatable(copies).map(|sent| sent.sent_at + copies.spacing).min()
    }

    /// Where a frame with room for so many bytes begins, if what precedes `first` is repeated
    /// in it: there it costs no frame of its own.
    pub fn fill_spare_room(&self, first: LogIndex, room: u64, copies: Copies) -> LogIndex {
        let (mut begin, mut room) = (first, room);
        while let Some(before) = self.repeatable(copies).find(|sent| sent.last.next() == begin)
            && before.first > self.matched
            && let Some(left) = room.checked_sub(before.bytes)
        {
            (begin, room) = (before.first, left);
        }
        begin
    }

    /// Entries from `first` to `last` were sent once more.
    pub fn on_repeated(&mut self, (first, last): (LogIndex, LogIndex), now: Instant) {
        let is_in = |sent: &Stretch| first <= sent.first && sent.last <= last;
        let (mut repeated, others): (VecDeque<_>, _) =
            self.in_flight.drain(..).partition(|sent| is_in(sent));
        self.in_flight = others;
        for sent in &mut repeated {
            (sent.times, sent.sent_at) = (sent.times.saturating_add(1), now);
        }
        // They stay in the order of sending.
        self.in_flight.append(&mut repeated);
    }

    fn repeatable(&self, copies: Copies) -> impl Iterator<Item = &Stretch> {
        let is_light = self.in_flight.len() <= FRAMES_WITH_COPIES_MAX;
        let sent = self.in_flight.iter().filter(move |sent| is_light && sent.times < copies.times);
        sent.take(if copies.times > 1 { usize::MAX } else { 0 })
    }

    /// Whether nothing is left to send or to wait for.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.lost.is_empty()
    }
}

/// Whether the acknowledgment shows that all of these entries arrived.
fn arrived(acknowledge: &Acknowledge, first: LogIndex, last: LogIndex) -> bool {
    last <= acknowledge.matched
        || acknowledge
            .received
            .iter()
            .any(|&(from, to)| from <= first.max(acknowledge.matched.next()) && last <= to)
}
