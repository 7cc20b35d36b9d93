//! The way between two processes: packet numbers, echoes, round trips.

use std::time::Duration;

use crate::time::Instant;
use crate::types::PacketNumber;
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
    newest_heard: Option<(PacketNumber, Instant)>,
    /// Bit *i* stands for the packet `newest_heard - i`.
    heard_before: u64,
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
            newest_heard: None,
            heard_before: 0,
            newest_echoed: None,
            round_trip: RoundTrip::default(),
        }
    }

    /// The number of a frame that leaves now.
    pub fn number(&mut self, now: Instant) -> PacketNumber {
        let packet = self.next_packet;
        self.sent_times[slot(packet)] = now;
        self.next_packet = packet.next();
        packet
    }

    /// What a frame that leaves now says of the newest one heard.
    pub fn echo(&self, now: Instant) -> Option<Echo> {
        self.newest_heard.map(|(packet, at)| Echo { packet, age: age_micros(now, at) })
    }

    /// Forgets what was heard: the other side began a new life.
    pub fn restart_hearing(&mut self) {
        self.newest_heard = None;
        self.heard_before = 0;
        self.newest_echoed = None;
    }

    /// Takes note of a packet's arrival. Returns false when it is known to have
    /// arrived before.
    pub fn hear(&mut self, packet: PacketNumber, now: Instant) -> bool {
        let Some((newest, _)) = self.newest_heard else {
            self.newest_heard = Some((packet, now));
            self.heard_before = 1;
            return true;
        };
        if packet > newest {
            let ahead = u32::try_from(packet.0 - newest.0).unwrap_or(u32::MAX);
            self.heard_before = self.heard_before.checked_shl(ahead).unwrap_or(0) | 1;
            self.newest_heard = Some((packet, now));
            return true;
        }
        let Some(bit) =
            u32::try_from(newest.0 - packet.0).ok().and_then(|back| 1_u64.checked_shl(back))
        else {
            return true;
        };
        let first_time = self.heard_before & bit == 0;
        self.heard_before |= bit;
        first_time
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

    fn sent_at(&self, packet: PacketNumber) -> Option<Instant> {
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
    u32::try_from(now.since(at).as_micros()).unwrap_or(u32::MAX).min(u32::MAX - 1)
}

/// The round-trip estimator of RFC 6298, without its floor of a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundTrip {
    smoothed: Option<Duration>,
    variation: Duration,
}

/// The timeout before anything was measured.
const TIMEOUT_UNMEASURED: Duration = Duration::from_millis(50);
/// A floor that fits a LAN: above what a busy scheduler adds in ordinary times.
const TIMEOUT_MIN: Duration = Duration::from_millis(3);
const TIMEOUT_MAX: Duration = Duration::from_secs(1);
/// The least time by which a later packet may overtake an earlier one.
const REORDERING_MIN: Duration = Duration::from_micros(250);

impl RoundTrip {
    /// Takes in one measured round trip.
    pub fn sample(&mut self, measured: Duration) {
        // What was paused meanwhile tells nothing of the way.
        let measured = measured.min(TIMEOUT_MAX);
        let Some(smoothed) = self.smoothed else {
            self.smoothed = Some(measured);
            self.variation = measured / 2;
            return;
        };
        self.variation = self.variation * 3 / 4 + smoothed.abs_diff(measured) / 4;
        self.smoothed = Some(smoothed * 7 / 8 + measured / 8);
    }

    /// The smoothed round trip.
    pub fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// How long an answer may take before what asked for it is sent again.
    pub fn timeout(&self) -> Duration {
        self.smoothed.map_or(TIMEOUT_UNMEASURED, |smoothed| {
            (smoothed + self.variation * 4).clamp(TIMEOUT_MIN, TIMEOUT_MAX)
        })
    }

    /// How much later than another a packet must have been sent, and yet have arrived,
    /// for the other to count as lost.
    pub fn reordering(&self) -> Duration {
        self.smoothed.map_or(TIMEOUT_UNMEASURED, |smoothed| (smoothed / 4).max(REORDERING_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_new_once() {
        let mut link = Link::new(PacketNumber(7));
        let now = Instant(1);
        assert!(link.hear(PacketNumber(10), now));
        assert!(!link.hear(PacketNumber(10), now));
        assert!(link.hear(PacketNumber(12), now));
        assert!(link.hear(PacketNumber(11), now));
        assert!(!link.hear(PacketNumber(11), now));
        assert!(link.hear(PacketNumber(500), now));
        assert!(link.hear(PacketNumber(13), now), "beyond the window nothing is refused");
    }

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
    fn the_timeout_follows_the_round_trip() {
        let mut round_trip = RoundTrip::default();
        assert_eq!(round_trip.timeout(), TIMEOUT_UNMEASURED);
        for _ in 0..100 {
            round_trip.sample(Duration::from_millis(20));
        }
        assert!(round_trip.timeout() < Duration::from_millis(25));
        assert!(round_trip.timeout() >= Duration::from_millis(20));
    }
}
