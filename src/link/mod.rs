//! The way between two processes: packet numbers, echoes, round trips, losses, and how long a
//! silence on it may last.

mod delivery;
mod hearing;
mod redundancy;
mod round_trip;
mod timing;

pub use delivery::Delivery;
pub use hearing::{Heard, Hearing};
pub use redundancy::{Copies, REDUNDANCY_MAX, Redundancy};
pub use round_trip::RoundTrip;
pub use timing::{INTERVAL_LEAST, INTERVAL_MOST, Measured, Pinned, Timing, formula};

use std::time::Duration;

use crate::time::{Instant, short_micros};
use crate::types::{LossShare, PacketNumber};
use crate::wire::Echo;

/// How many of the newest packets' sending times are kept. An echo of an older one
/// proves nothing and measures nothing.
const SENT_TIMES: usize = 4096;

/// Numbers what is sent to the other side, and reads from what it echoes how fresh its
/// frames are and how long a round trip takes.
#[derive(Debug)]
pub struct Link {
    first_packet: PacketNumber,
    next_packet: PacketNumber,
    sent_times: Vec<Instant>,
    /// How many of the frames were sent for no other reason than that others may be lost.
    copies: u64,
    hearing: Hearing,
    /// The loss on the way to the other side, as that has measured it.
    loss_there: LossShare,
    newest_echoed: Option<PacketNumber>,
    round_trip: RoundTrip,
}

impl Link {
    /// A link whose packet numbers start at `first_packet`, which must be random: so
    /// that an echo of a former life, or of a stranger, matches nothing.
    pub fn new(first_packet: PacketNumber) -> Self {
        Self {
            first_packet,
            next_packet: first_packet,
            sent_times: vec![Instant::default(); SENT_TIMES],
            copies: 0,
            hearing: Hearing::default(),
            loss_there: LossShare(0),
            newest_echoed: None,
            round_trip: RoundTrip::default(),
        }
    }

    /// The same, to somebody who says something only when asked.
    pub fn of_few(first_packet: PacketNumber) -> Self {
        Self { hearing: Hearing::of_few(), ..Self::new(first_packet) }
    }

    /// The number of a frame that leaves now.
    pub fn number(&mut self, now: Instant) -> PacketNumber {
        let packet = self.next_packet;
        self.sent_times[slot(packet)] = now;
        self.next_packet = packet.next();
        packet
    }

    /// How many frames were sent.
    pub fn sent(&self) -> u64 {
        self.next_packet.0 - self.first_packet.0
    }

    /// How many of them were copies of others.
    pub fn copies(&self) -> u64 {
        self.copies
    }

    /// So many frames that will leave are copies of others.
    pub fn count_copies(&mut self, copies: u8) {
        self.copies += u64::from(copies);
    }

    /// What has come of the other side's frames so far.
    pub fn heard(&self) -> Heard {
        self.hearing.counts()
    }

    /// A frame has come once more, and was turned away before it came here.
    pub fn hear_again(&mut self) {
        self.hearing.hear_again();
    }

    /// What a frame that leaves now says of the newest one heard.
    pub fn echo(&self, now: Instant) -> Option<Echo> {
        self.hearing.newest().map(|(packet, at)| Echo { packet, age: age_micros(now, at) })
    }

    /// Forgets what was heard: the other side began a new life.
    pub fn restart_hearing(&mut self) {
        self.hearing.restart();
        self.newest_echoed = None;
    }

    /// Takes note of a packet's arrival, and of the loss that it tells of. Returns false when
    /// it is known to have arrived before.
    pub fn hear(&mut self, packet: PacketNumber, loss_there: LossShare, now: Instant) -> bool {
        let is_new = self.hearing.hear(packet, now);
        if self.hearing.newest() == Some((packet, now)) {
            self.loss_there = loss_there;
        }
        is_new
    }

    /// The loss on the way to the other side, and on the way back.
    pub fn losses(&self) -> [LossShare; 2] {
        [self.loss_there, self.hearing.loss()]
    }

    /// What silences on this way are judged by.
    pub fn measured(&self) -> Measured {
        let enough = self.hearing.is_judged();
        Measured { round_trip: self.round_trip, losses: self.losses(), enough }
    }

    /// When the echoed packet was sent, if this life of the node sent it and the time
    /// is still known. A new echo is also a sample of the round trip.
    pub fn on_echo(&mut self, echo: Echo, now: Instant) -> Option<Instant> {
        let sent_at = self.sent_at(echo.packet)?;
        if self.newest_echoed.is_none_or(|newest| echo.packet > newest) {
            self.newest_echoed = Some(echo.packet);
            let waited = Duration::from_micros(echo.age.into());
            self.round_trip.sample(now.since(sent_at).saturating_sub(waited));
        }
        Some(sent_at)
    }

    /// The measured round trip.
    pub fn round_trip(&self) -> &RoundTrip {
        &self.round_trip
    }

    /// When this life of the node sent the packet, if that is still known.
    pub fn sent_at(&self, packet: PacketNumber) -> Option<Instant> {
        let sent = self.first_packet <= packet && packet < self.next_packet;
        let kept = self.next_packet.0 - packet.0.min(self.next_packet.0) <= SENT_TIMES as u64;
        (sent && kept).then(|| self.sent_times[slot(packet)])
    }
}

fn slot(packet: PacketNumber) -> usize {
    usize::try_from(packet.0 % SENT_TIMES as u64).expect("less than SENT_TIMES")
}

/// Microseconds from `at` to `now`, as an echo's age: below `u32::MAX`.
pub fn age_micros(now: Instant, at: Instant) -> u32 {
    short_micros(now.since(at)).min(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_life_sent_can_be_echoed() {
        let mut link = Link::new(PacketNumber(1_000));
        let sent = link.number(Instant(50));
        let echo = |packet| Echo { packet: PacketNumber(packet), age: 0 };
        assert_eq!(link.on_echo(echo(999), Instant(60)), None);
        assert_eq!(link.on_echo(echo(1_001), Instant(60)), None);
        assert_eq!(link.on_echo(echo(sent.0), Instant(60)), Some(Instant(50)));
        for _ in 0..SENT_TIMES {
            link.number(Instant(70));
        }
        assert_eq!(link.on_echo(echo(sent.0), Instant(80)), None, "too old to be known");
    }

    #[test]
    fn frames_are_counted_from_the_first() {
        let mut link = Link::new(PacketNumber(1_000));
        let numbers = [(); 3].map(|()| link.number(Instant(1)).0);
        assert_eq!(numbers, [1_000, 1_001, 1_002]);
        assert_eq!(link.sent(), 3);
    }

    #[test]
    fn the_numbers_of_a_new_life_are_heard_anew() {
        let mut link = Link::new(PacketNumber(1_000));
        let hear = |link: &mut Link| link.hear(PacketNumber(7), LossShare(0), Instant(1));
        assert!(hear(&mut link) && !hear(&mut link));
        link.restart_hearing();
        assert!(hear(&mut link));
    }

    #[test]
    fn no_age_is_that_of_nothing_heard() {
        assert_eq!(age_micros(Instant(9), Instant(2)), 7);
        assert_eq!(age_micros(Instant(u64::MAX), Instant(0)), u32::MAX - 1);
    }
}
