//! When operations are to begin.

use std::time::Duration;

use crate::time::{Instant, micros};

/// Microseconds of a second.
const MICROS: u64 = 1_000_000;

/// When operations are to begin: at once, or so many a second.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    started: Instant,
    ends_at: Instant,
    rate: Option<u32>,
    /// How many have begun.
    begun: u64,
}

impl Pace {
    /// Operations from `started` on, for as long, at the rate if there is one.
    pub fn new(started: Instant, duration: Duration, rate: Option<u32>) -> Self {
        Self { started, ends_at: started + duration, rate, begun: 0 }
    }

    /// From when on none may begin.
    pub fn ends_at(&self) -> Instant {
        self.ends_at
    }

    /// None begins any more.
    pub fn end(&mut self, now: Instant) {
        self.ends_at = self.ends_at.min(now);
    }

    /// When the next operation is to begin, or should have begun; at once without a rate.
    /// None when that lies behind the end.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let intended = match self.rate {
            None => now,
            Some(rate) => {
                self.started + Duration::from_micros(self.begun * MICROS / u64::from(rate))
            }
        };
        (intended < self.ends_at && now < self.ends_at).then_some(intended)
    }

    /// The next operation has begun.
    pub fn advance(&mut self) {
        self.begun += 1;
    }

    /// How many should have begun by now and have not, since all clients were busy.
    pub fn behind(&self, now: Instant) -> u64 {
        let Some(rate) = self.rate else { return 0 };
        let passed = micros(now.min(self.ends_at).since(self.started));
        (passed * u64::from(rate)).div_ceil(MICROS).saturating_sub(self.begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn without_a_rate_the_next_begins_at_once_until_the_end() {
        let mut pace = Pace::new(Instant(50), SECOND, None);
        assert_eq!(pace.next(Instant(60)), Some(Instant(60)));
        pace.advance();
        assert_eq!(pace.next(Instant(1_000_049)), Some(Instant(1_000_049)));
        assert_eq!(pace.next(Instant(1_000_050)), None);
        assert_eq!(pace.behind(Instant(1_000_050)), 0);
        pace.end(Instant(70));
        assert_eq!(pace.next(Instant(70)), None);
    }

    #[test]
    fn with_a_rate_intended_starts_queue_up_and_are_not_put_off() {
        let mut pace = Pace::new(Instant(0), SECOND, Some(4));
        let mut intended = Vec::new();
        // Nobody is free until well into the second.
        while let Some(start) = pace.next(Instant(900_000)) {
            intended.push(start.0);
            pace.advance();
        }
        assert_eq!(intended, [0, 250_000, 500_000, 750_000]);

        let mut pace = Pace::new(Instant(0), SECOND, Some(4));
        pace.advance();
        assert_eq!(pace.behind(Instant(600_000)), 2);
        assert_eq!(pace.behind(Instant(9_000_000)), 3);
        assert_eq!(pace.next(Instant(1_000_000)), None);
    }
}
