//! How much may be under way where somebody else keeps a queue: about as much as TCP would take.
//!
//! After CUBIC (RFC 9438): who gives way to TCP gets nothing, and who does not leaves it nothing.

use super::BYTES_MIN;
use crate::time::Instant;
use crate::wire::FRAME_BYTES_MAX;

/// A window grows by at least so much in a round. This and the next are twice what TCP gives itself
/// (sections 4.3 and 5.1), which does not let the queue drain now and then.
const GROWTH: u64 = FRAME_BYTES_MAX as u64;
/// A second after it was as wide as before it yielded, it is wider by so much, and then by the cube
/// of the seconds.
const GROWTH_OF_SECOND: u64 = FRAME_BYTES_MAX as u64 * 4 / 5;
/// Milliseconds of a second, cubed.
const CUBE_OF_SECOND: u64 = 1_000_000_000;
/// Longer than this no time counts, in milliseconds.
const TIME_MAX: u64 = 60_000;

/// A window that grows until more is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contended {
    /// In bytes.
    window: u64,
    /// What it was before it yielded.
    greatest: u64,
    yielded_at: Instant,
    /// So many milliseconds later it is as wide as before.
    regained_after: u64,
    /// It yielded when the last round ended. What was lost before that is found to be lost after
    /// it, too, and must not count twice.
    has_yielded: bool,
}

impl Contended {
    /// As many bytes as that were under way when the queue of somebody else was found.
    pub fn beginning_with(window: u64, now: Instant) -> Self {
        let (greatest, yielded_at) = (window, now);
        Self { window, greatest, yielded_at, regained_after: 0, has_yielded: false }
    }

    /// How many bytes may be under way.
    pub fn window(self) -> u64 {
        self.window
    }

    /// What follows a round in which a greater share was lost than in the one before, or not.
    pub fn after_round(self, loses_more: bool, most: u64, now: Instant) -> Self {
        let next =
            if loses_more && !self.has_yielded { self.yield_to(now) } else { self.grow(now) };
        Self { window: next.window.clamp(BYTES_MIN, most), ..next }
    }

    fn yield_to(self, now: Instant) -> Self {
        let (greatest, window) = (self.window, self.window * 7 / 10);
        let regained_after = cube_root((greatest - window) * (CUBE_OF_SECOND / GROWTH_OF_SECOND));
        Self { window, greatest, yielded_at: now, regained_after, has_yielded: true }
    }

    /// No round makes it wider by more than a half.
    fn grow(self, now: Instant) -> Self {
        let curve = self.on_curve(now).min(self.window * 3 / 2);
        Self { window: curve.max(self.window + GROWTH), has_yielded: false, ..self }
    }

    /// How wide it is by time: soon as wide as before it yielded, for a while hardly wider, and
    /// then the faster.
    fn on_curve(self, now: Instant) -> u64 {
        let millis = u64::try_from(now.since(self.yielded_at).as_millis()).unwrap_or(u64::MAX);
        let (millis, regained) = (millis.min(TIME_MAX), self.regained_after.min(TIME_MAX));
        let off = millis.abs_diff(regained).pow(3) * GROWTH_OF_SECOND / CUBE_OF_SECOND;
        if millis < regained { self.greatest.saturating_sub(off) } else { self.greatest + off }
    }
}

/// The largest number whose cube is not larger.
fn cube_root(cube: u64) -> u64 {
    (0..21).rev().fold(0_u64, |root, bit| {
        let larger = root | 1 << bit;
        if larger.pow(3) <= cube { larger } else { root }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Instant = Instant(1_000_000);

    #[test]
    fn it_grows_by_a_frame_a_round_until_more_is_lost_and_yields_once_to_that() {
        let mut contended = Contended::beginning_with(100_000, START);
        let mut window_after = |loses_more| {
            contended = contended.after_round(loses_more, 104_000, START);
            contended.window()
        };
        let windows = [true, true, true, false].map(&mut window_after);
        assert_eq!(windows, [70_000, 71_200, 49_840, 51_040]);
        let longest = (0..99).map(|_| window_after(false)).max();
        let shortest = (0..99).map(|nth| window_after(nth % 2 == 0)).min();
        assert_eq!((longest, shortest), (Some(104_000), Some(BYTES_MIN)));
    }

    /// Figures of the formula in section 4.2, for 100 frames of which 30 were given up, and twice
    /// the growth: they are regained after the cube root of 37.5 seconds, 3.35 s.
    #[test]
    fn where_rounds_are_long_time_makes_it_grow() {
        let yielded = Contended::beginning_with(120_000, START).after_round(true, u64::MAX, START);
        let after = |millis| {
            let now = START + Duration::from_millis(millis);
            (yielded.on_curve(now) + GROWTH / 2) / GROWTH
        };
        let frames = [0, 1_000, 2_000, 3_000, 4_000, 6_000, 8_000].map(after);
        assert_eq!(frames, [70, 90, 98, 100, 100, 115, 181]);
        let grown = yielded.after_round(false, u64::MAX, START + Duration::from_secs(8));
        assert_eq!(grown.window(), 84_000 * 3 / 2);
    }
}
