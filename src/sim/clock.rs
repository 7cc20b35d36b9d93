//! A node's own clock: it runs too fast or too slow, and jumps forward, but never goes back.

use std::time::Duration;

use crate::time::{Instant, micros};

/// A clock that keeps up with time shows so many millionths for each.
pub const TRUE_RATE: u64 = 1_000_000;

/// Between these are the rates of clocks when nothing goes wrong: they never agree quite.
pub const CALM_RATES: (u64, u64) = (TRUE_RATE * 9 / 10, TRUE_RATE * 11 / 10);

/// What a node takes for time.
#[derive(Clone, Copy, Debug)]
pub struct SimClock {
    /// Microseconds that it shows in a second.
    rate: u64,
    /// What it showed, and when: since then it has run at this rate.
    since: (Instant, Instant),
}

impl SimClock {
    /// A clock that shows `shown` now.
    pub fn new(now: Instant, shown: Instant, rate: u64) -> Self {
        Self { rate, since: (shown, now) }
    }

    /// What the clock shows.
    pub fn shows(&self, now: Instant) -> Instant {
        let (shown, at) = self.since;
        let passed = u128::from(now.0.saturating_sub(at.0));
        Instant(shown.0 + clamped(passed * u128::from(self.rate) / u128::from(TRUE_RATE)))
    }

    /// When the clock will show this: not a microsecond earlier.
    pub fn will_show(&self, shown: Instant) -> Instant {
        let (was_shown, at) = self.since;
        let ahead = u128::from(shown.0.saturating_sub(was_shown.0));
        Instant(at.0 + clamped((ahead * u128::from(TRUE_RATE)).div_ceil(u128::from(self.rate))))
    }

    /// Whether it keeps up with time.
    pub fn is_true(&self) -> bool {
        self.rate == TRUE_RATE
    }

    /// From now on it runs at this rate.
    pub fn set_rate(&mut self, now: Instant, rate: u64) {
        *self = Self::new(now, self.shows(now), rate);
    }

    /// It goes on from a later time, as that of a machine which was asleep.
    pub fn jump(&mut self, now: Instant, by: Duration) {
        let shown = self.shows(now);
        *self = Self::new(now, Instant(shown.0 + micros(by)), self.rate);
    }
}

fn clamped(micros: u128) -> u64 {
    u64::try_from(micros).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_met_and_not_a_microsecond_early() {
        for rate in [500_000, 900_001, TRUE_RATE, 1_099_999, 2_000_000] {
            let mut clock = SimClock::new(Instant(1_000), Instant(77), rate);
            clock.jump(Instant(3_000), Duration::from_secs(9));
            for deadline in (9_000_500..9_100_000).step_by(777).map(Instant) {
                let at = clock.will_show(deadline);
                assert!(clock.shows(at) >= deadline, "{rate}");
                assert!(at.0 == 3_000 || clock.shows(Instant(at.0 - 1)) < deadline, "{rate}");
            }
        }
    }

    #[test]
    fn a_change_of_rate_moves_nothing() {
        let mut clock = SimClock::new(Instant(0), Instant(5), 900_000);
        let shown = clock.shows(Instant(1_000_000));
        assert_eq!(shown, Instant(900_005));
        clock.set_rate(Instant(1_000_000), 1_100_000);
        assert_eq!(clock.shows(Instant(1_000_000)), shown);
        assert_eq!(clock.shows(Instant(2_000_000)), Instant(2_000_005));
    }
}
