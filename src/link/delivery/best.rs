//! The best that was measured of a way in the last seconds.

use std::time::Duration;

use super::rate::per_second;
use super::rounds::EndedRound;
use crate::time::Instant;
use crate::types::LossShare;

/// What was measured is remembered for so long, and at most twice that.
const MEMORY: Duration = Duration::from_secs(4);

/// What a way is like when nothing but chance is in the way.
#[derive(Debug)]
pub struct Best {
    /// What was measured since some time, and for a while before.
    measured: [Extremes; 2],
    since: Instant,
}

/// The best that was measured in a time.
#[derive(Clone, Copy, Debug)]
struct Extremes {
    /// The most that was carried, in bytes a second.
    carried: u64,
    /// The shortest round trip.
    round_trip: Duration,
    /// The least share that was lost.
    loss: LossShare,
}

impl Best {
    /// Nothing was measured yet.
    pub fn new(now: Instant) -> Self {
        Self { measured: [Extremes::NONE; 2], since: now }
    }

    /// What was measured counts no more.
    pub fn forget(&mut self) {
        self.measured = [Extremes::NONE; 2];
    }

    /// A round has ended, while so much was lost on the way there.
    pub fn note(&mut self, round: &EndedRound, loss: LossShare) {
        if round.at.since(self.since) > MEMORY && !round.was_idle {
            self.measured = [Extremes::NONE, self.measured[0]];
            self.since = round.at;
        }
        let [lately, _] = &mut self.measured;
        lately.loss = lately.loss.min(loss);
        lately.round_trip = lately.round_trip.min(round.round_trip);
        let carried = per_second(self.without_crowded_out(round.bytes, loss), round.took);
        // A pace that was not tried proves no more than that the way carries as much.
        self.measured[0].carried = self.measured[0].carried.max(carried);
    }

    /// What of these bytes has arrived, or was lost by chance: what is lost at any pace is not
    /// lost because of it.
    pub fn without_crowded_out(&self, bytes: u64, loss: LossShare) -> u64 {
        let by_chance = self.measured[0].loss.min(self.measured[1].loss);
        bytes - bytes * u64::from(loss.0.saturating_sub(by_chance.0)) / 256
    }

    /// How many bytes a second the way carries, as far as is known.
    pub fn carries(&self) -> u64 {
        self.measured[0].carried.max(self.measured[1].carried)
    }

    /// How long a round trip takes when nothing waits on it.
    pub fn round_trip(&self) -> Duration {
        let least = self.measured[0].round_trip.min(self.measured[1].round_trip);
        if least == Duration::MAX { Duration::ZERO } else { least }
    }
}

impl Extremes {
    /// Nothing was measured.
    const NONE: Self = Self { carried: 0, round_trip: Duration::MAX, loss: LossShare(u8::MAX) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_remembered_for_four_seconds_and_at_most_eight() {
        let mut best = Best::new(Instant(0));
        let mut carries = |at, bytes| {
            let (took, round_trip) = (Duration::from_secs(1), Duration::from_millis(20));
            let round = EndedRound { at: Instant(at), took, bytes, round_trip, was_idle: false };
            best.note(&round, LossShare(0));
            best.carries()
        };
        assert_eq!(carries(0, 1_000), 1_000);
        assert_eq!(carries(4_000_000, 10), 1_000);
        assert_eq!(carries(4_000_001, 10), 1_000, "what follows is measured apart");
        assert_eq!(carries(8_000_001, 10), 1_000);
        assert_eq!(carries(8_000_002, 10), 10);
    }
}
