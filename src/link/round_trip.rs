//! How long a round trip takes, and what follows from it.

use std::time::Duration;

/// The round-trip estimator of RFC 6298, without its floor of a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundTrip {
    smoothed: Option<Duration>,
    variation: Duration,
    latest: Duration,
    /// The shortest of late.
    least: Duration,
}

/// The timeout before anything was measured.
const TIMEOUT_UNMEASURED: Duration = Duration::from_millis(50);
/// A floor that fits a LAN: above what a busy scheduler adds in ordinary times.
const TIMEOUT_MIN: Duration = Duration::from_millis(3);
const TIMEOUT_MAX: Duration = Duration::from_secs(1);
/// The least time by which a later packet may overtake an earlier one.
const REORDERING_MIN: Duration = Duration::from_micros(250);
/// Copies of a frame are no further apart than this.
const SPACING_MAX: Duration = Duration::from_millis(2);
/// What would be closer together leaves at once: to wake up for it costs more.
const SPACING_MIN: Duration = Duration::from_micros(250);
/// A busy scheduler adds as much to a round trip without any queue on the way.
const UNREST: Duration = Duration::from_millis(10);

impl RoundTrip {
    /// Takes in one measured round trip.
    pub fn sample(&mut self, measured: Duration) {
        // What was paused meanwhile tells nothing of the way.
        let measured = measured.min(TIMEOUT_MAX);
        self.latest = measured;
        let Some(smoothed) = self.smoothed else {
            self.smoothed = Some(measured);
            self.variation = measured / 2;
            self.least = measured;
            return;
        };
        self.variation = self.variation * 3 / 4 + smoothed.abs_diff(measured) / 4;
        self.smoothed = Some(smoothed * 7 / 8 + measured / 8);
        // It rises slowly, so that a longer way counts as one some day.
        let risen = self.least + smoothed.saturating_sub(self.least) / 4_096;
        self.least = measured.min(risen);
    }

    /// The smoothed round trip.
    pub fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The newest one that was measured.
    pub fn latest(&self) -> Duration {
        self.latest
    }

    /// The shortest of late.
    pub fn least(&self) -> Duration {
        self.least
    }

    /// How long frames wait in queues: as a rule, and the newest ones.
    pub fn queued(&self) -> [Duration; 2] {
        let usual = self.smoothed.unwrap_or_default();
        [usual, self.latest].map(|time| time.saturating_sub(self.least))
    }

    /// How much a round trip differs from the smoothed one.
    pub fn variation(&self) -> Duration {
        self.variation
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

    /// How long after a frame its copy is sent: what takes the one should not take the
    /// other, and together they must count as lost no later than one of them would.
    pub fn spacing(&self) -> Duration {
        let spacing = self.smoothed.map_or(Duration::ZERO, |smoothed| smoothed / 16);
        if spacing < SPACING_MIN { Duration::ZERO } else { spacing.min(SPACING_MAX) }
    }

    /// Whether frames wait in a queue somewhere: then what is lost is lost since there is too
    /// much, and copies would make it worse.
    pub fn is_congested(&self) -> bool {
        self.smoothed.is_some_and(|smoothed| smoothed > self.least * 2 + UNREST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn copies_are_apart_by_a_sixteenth_of_a_round_trip() {
        let of = |time| {
            let mut round_trip = RoundTrip::default();
            round_trip.sample(time);
            round_trip.spacing()
        };
        assert_eq!(RoundTrip::default().spacing(), Duration::ZERO);
        assert_eq!(of(Duration::from_millis(1)), Duration::ZERO);
        assert_eq!(of(Duration::from_millis(16)), Duration::from_millis(1));
        assert_eq!(of(Duration::from_millis(160)), Duration::from_millis(2));
    }

    #[test]
    fn a_round_trip_that_grows_far_beyond_the_least_tells_of_a_queue() {
        let mut round_trip = RoundTrip::default();
        let mut measure = |millis, times| {
            (0..times).for_each(|_| round_trip.sample(Duration::from_millis(millis)));
            round_trip.is_congested()
        };
        assert!(!measure(20, 10));
        assert!(!measure(40, 100));
        assert!(measure(120, 100));
        assert!(!measure(20, 100));
        // The way has become longer for good.
        assert!(!measure(100, 20_000));
    }

    #[test]
    fn what_exceeds_the_least_is_spent_in_queues() {
        let mut round_trip = RoundTrip::default();
        assert_eq!(round_trip.queued(), [Duration::ZERO; 2]);
        round_trip.sample(Duration::from_millis(20));
        round_trip.sample(Duration::from_millis(36));
        let least = round_trip.least();
        assert!(least.abs_diff(Duration::from_millis(20)) < Duration::from_micros(10));
        let taken = round_trip.queued().map(|queued| queued + least);
        assert_eq!(taken, [22, 36].map(Duration::from_millis));
    }

    /// RFC 6298, section 2.2.
    #[test]
    fn the_first_measure_varies_by_its_half() {
        let mut round_trip = RoundTrip::default();
        assert_eq!(round_trip.reordering(), TIMEOUT_UNMEASURED);
        round_trip.sample(Duration::from_millis(20));
        assert_eq!(round_trip.variation(), Duration::from_millis(10));
        assert_eq!(round_trip.reordering(), Duration::from_millis(5));
    }

    #[test]
    fn bounds_belong_to_what_they_bound() {
        let of = |smoothed| {
            let (smoothed, least) = (Some(smoothed), Duration::from_millis(20));
            RoundTrip { smoothed, least, ..RoundTrip::default() }
        };
        assert_eq!(of(16 * SPACING_MIN).spacing(), SPACING_MIN);
        let most = 2 * Duration::from_millis(20) + UNREST;
        assert!(!of(most).is_congested() && of(most + Duration::from_micros(1)).is_congested());
    }
}
