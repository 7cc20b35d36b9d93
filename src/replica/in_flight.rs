//! What is on the way to a follower.
//!
//! Loss is told from lateness by time of sending (RACK, RFC 8985): what was sent clearly
//! before something that has arrived, and has not arrived itself, is lost.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use crate::link::Copies;
use crate::time::Instant;
use crate::types::LogIndex;
use crate::wire::{Acknowledge, RANGES_MAX};

/// With more frames than this on the way, what is lost shows in what follows it, and no
/// copies are sent.
const FRAMES_WITH_COPIES_MAX: usize = 16;

/// Frames sent and not yet known to have arrived or to be lost.
#[derive(Debug, Default)]
pub struct InFlight {
    /// In the order of their last sending.
    stretches: VecDeque<Stretch>,
    /// The bytes of their entries.
    bytes: u64,
}

/// The entries of one frame.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    /// The index of the first of them.
    pub first: LogIndex,
    /// That of the last.
    pub last: LogIndex,
    bytes: u64,
    /// When they were sent last.
    pub sent_at: Instant,
    /// How often they were sent, but for what was sent before they counted as lost.
    times: u8,
}

impl InFlight {
    /// Whether nothing is on the way.
    pub fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }

    /// How many frames are on the way.
    pub fn frames(&self) -> usize {
        self.stretches.len()
    }

    /// How many bytes of entries are.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What was sent longest ago.
    pub fn oldest(&self) -> Option<&Stretch> {
        self.stretches.front()
    }

    /// Entries from `first` to `last` were sent in a frame.
    pub fn push(&mut self, (first, last): (LogIndex, LogIndex), bytes: u64, now: Instant) {
        self.bytes += bytes;
        self.stretches.push_back(Stretch { first, last, bytes, sent_at: now, times: 1 });
    }

    /// Takes out what the acknowledgment shows to have arrived. Returns its bytes.
    pub fn on_acknowledge(&mut self, acknowledge: &Acknowledge) -> u64 {
        let before = self.bytes;
        let bytes = &mut self.bytes;
        self.stretches.retain(|sent| {
            let has_arrived = has_arrived(acknowledge, sent);
            *bytes -= if has_arrived { sent.bytes } else { 0 };
            !has_arrived
        });
        before - self.bytes
    }

    /// Takes out what was sent before `time`. It is lost, but for what lies beyond `known`: that
    /// nobody can tell yet, and it stays.
    pub fn take_lost(&mut self, time: Instant, known: LogIndex) -> Vec<Stretch> {
        let late = self.stretches.partition_point(|sent| sent.sent_at < time);
        let (lost, unknown): (Vec<_>, Vec<_>) =
            self.stretches.drain(..late).partition(|sent| sent.last <= known);
        unknown.into_iter().rev().for_each(|sent| self.stretches.push_front(sent));
        self.bytes -= lost.iter().map(|sent| sent.bytes).sum::<u64>();
        lost
    }

    /// What was sent less often than there are to be copies, unless so much is on the way that
    /// none are sent.
    pub fn repeatable(&self, copies: Copies) -> impl Iterator<Item = &Stretch> {
        let are_sent = copies.times > 1 && self.frames() <= FRAMES_WITH_COPIES_MAX;
        let sent = self.stretches.iter().take(if are_sent { usize::MAX } else { 0 });
        sent.filter(move |sent| sent.times < copies.times)
    }

    /// Where a frame with room for so many bytes begins, if what precedes `first` is repeated
    /// in it, down to what lies behind `matched`: there it costs no frame of its own.
    pub fn fill_spare_room(
        &self,
        first: LogIndex,
        room: u64,
        matched: LogIndex,
        copies: Copies,
    ) -> LogIndex {
        let (mut begin, mut room) = (first, room);
        while let Some(before) = self.repeatable(copies).find(|sent| sent.last.next() == begin)
            && before.first > matched
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
            self.stretches.drain(..).partition(|sent| is_in(sent));
        self.stretches = others;
        for sent in &mut repeated {
            (sent.times, sent.sent_at) = (sent.times.saturating_add(1), now);
        }
        // They stay in the order of sending.
        self.stretches.append(&mut repeated);
    }
}

/// Which entries are in which frames, which is what the next steps depend on.
impl Hash for InFlight {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.stretches.iter().for_each(|sent| (sent.first, sent.last).hash(state));
    }
}

/// Whether the acknowledgment shows that all of these entries arrived.
fn has_arrived(acknowledge: &Acknowledge, sent: &Stretch) -> bool {
    let first = sent.first.max(acknowledge.matched.next());
    let received = &acknowledge.received;
    let place = received.partition_point(|(from, _)| *from <= first);
    let range = place.checked_sub(1).and_then(|place| received.get(place));
    sent.last <= acknowledge.matched || range.is_some_and(|(_, to)| sent.last <= *to)
}

/// Up to here the acknowledgment tells of each entry whether it arrived: it names no more
/// ranges than [`RANGES_MAX`].
pub fn known_to(acknowledge: &Acknowledge) -> LogIndex {
    match acknowledge.received.last() {
        Some((_, last)) if acknowledge.received.len() == RANGES_MAX => *last,
        _ => LogIndex(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ReadRound, Term};

    /// Entries 11, 12 and so on are on the way, each in a frame of its own.
    fn in_flight(frames: u64) -> InFlight {
        let mut in_flight = InFlight::default();
        for nth in 1..=frames {
            in_flight.push((LogIndex(10 + nth), LogIndex(10 + nth)), 100, Instant(nth));
        }
        in_flight
    }

    fn acknowledge(received: Vec<(LogIndex, LogIndex)>) -> Acknowledge {
        Acknowledge {
            term: Term(1),
            round: ReadRound(0),
            matched: LogIndex(10),
            durable: LogIndex(10),
            hint_index: LogIndex(10),
            hint_term: Term(1),
            received,
            durability_age: 0,
            free_space_class: 0,
            configuration_index: LogIndex(1),
        }
    }

    fn firsts(lost: &[Stretch]) -> Vec<u64> {
        lost.iter().map(|sent| sent.first.0).collect()
    }

    #[test]
    fn what_was_sent_before_and_has_not_arrived_is_lost() {
        let mut in_flight = in_flight(6);
        let tells = acknowledge(vec![(LogIndex(12), LogIndex(13)), (LogIndex(15), LogIndex(15))]);
        assert_eq!(in_flight.on_acknowledge(&tells), 300);
        assert_eq!(firsts(&in_flight.take_lost(Instant(6), known_to(&tells))), [11, 14]);
        assert_eq!((in_flight.frames(), in_flight.bytes()), (1, 100));
    }

    /// Every second entry arrived, more than an acknowledgment can name.
    #[test]
    fn of_what_lies_beyond_a_full_list_nobody_knows_yet() {
        let frames = 4 * RANGES_MAX as u64;
        let mut in_flight = in_flight(frames);
        let every_second = |nth| (LogIndex(10 + 2 * nth), LogIndex(10 + 2 * nth));
        let tells = acknowledge((1..=RANGES_MAX as u64).map(every_second).collect());
        assert_eq!(in_flight.on_acknowledge(&tells), 100 * RANGES_MAX as u64);
        let lost = in_flight.take_lost(Instant(frames), known_to(&tells));
        assert_eq!(lost.len(), RANGES_MAX);
        assert!(lost.iter().all(|sent| sent.first.0 < 10 + 2 * RANGES_MAX as u64));
        assert_eq!(in_flight.frames(), 2 * RANGES_MAX);
        assert_eq!(in_flight.oldest().map(|sent| sent.first.0), Some(11 + 2 * RANGES_MAX as u64));
    }
}
