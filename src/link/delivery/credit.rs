//! What a pace allows to be sent.

use std::time::Duration;

use super::rate::within;
use crate::time::Instant;

/// A bucket that a pace fills, and that what is sent empties.
#[derive(Debug)]
pub struct Credit {
    /// What may be sent before the pace forbids more; below zero: too much was.
    bytes: i64,
    /// Up to when the pace has filled it.
    at: Instant,
}

impl Credit {
    /// So many bytes may be sent at once.
    pub fn new(now: Instant, bytes: u64) -> Self {
        Self { bytes: bytes.cast_signed(), at: now }
    }

    /// Time has passed at a pace of so many bytes a second. More than this is not saved up.
    pub fn gain(&mut self, pace: u64, most: u64, now: Instant) {
        let gained = within(pace, now.since(self.at));
        if gained > 0 {
            self.bytes = self.bytes.saturating_add_unsigned(gained).min(most.cast_signed());
            self.at = now;
        }
    }

    /// Whether something may be sent.
    pub fn is_left(&self) -> bool {
        self.bytes > 0
    }

    /// Up to when the pace has filled it.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// So many bytes leave.
    pub fn spend(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub_unsigned(bytes);
    }

    /// When something may be sent at this pace, if nothing may be now.
    pub fn is_left_at(&self, pace: u64) -> Instant {
        let owed = self.bytes.min(0).unsigned_abs() + 1;
        self.at + Duration::from_micros(owed.saturating_mul(1_000_000) / pace + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_pace_fills_it_however_often_it_is_asked() {
        let mut credit = Credit::new(Instant(0), 0);
        assert!(!credit.is_left());
        let filled = (1..99).map(|tenth| Instant(tenth * 100)).find(|now| {
            credit.gain(1_000, 10, *now);
            credit.is_left()
        });
        assert_eq!(filled, Some(Instant(1_000)), "a byte in a millisecond");
    }
}
