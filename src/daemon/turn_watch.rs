//! How long the turns of the loop take: what is done in one holds up all else.

use std::time::Duration;

use crate::time::{Instant, micros};
use crate::wire::TurnTimes;

/// How long the longest turn is remembered at least, and at most twice as long.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The longest turns of late. What they took of the clock and of the processor is told apart:
/// on a busy machine a turn is long because others run.
#[derive(Debug, Default)]
pub struct TurnWatch {
    began: Instant,
    /// What the thread had run by then.
    run_before: Duration,
    /// The longest since `since`, and the longest of the minute before.
    newest: TurnTimes,
    former: TurnTimes,
    since: Instant,
}

impl TurnWatch {
    /// A turn begins; by now the thread has run for so long.
    pub fn begin(&mut self, now: Instant, run: Duration) {
        (self.began, self.run_before) = (now, run);
    }

    /// The turn has ended.
    pub fn end(&mut self, now: Instant, run: Duration) {
        if now.since(self.since) >= REMEMBERED {
            (self.former, self.newest, self.since) = (self.newest, TurnTimes::default(), now);
        }
        let took = TurnTimes {
            wall: tenths(now.since(self.began)),
            cpu: tenths(run.saturating_sub(self.run_before)),
        };
        self.newest = longer(self.newest, took);
    }

    /// The longest times of the last minute or two, each for itself.
    pub fn longest(&self) -> TurnTimes {
        longer(self.newest, self.former)
    }
}

fn longer(one: TurnTimes, other: TurnTimes) -> TurnTimes {
    TurnTimes { wall: one.wall.max(other.wall), cpu: one.cpu.max(other.cpu) }
}

/// Tenths of a millisecond, rounded up: what is said is never less than what it took.
fn tenths(time: Duration) -> u16 {
    u16::try_from(micros(time).div_ceil(100)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(watch: &mut TurnWatch, at: u64, wall: u64, cpu: u64) {
        let run = Duration::from_secs(9);
        watch.begin(Instant(at), run);
        watch.end(Instant(at + wall), run + Duration::from_micros(cpu));
    }

    #[test]
    fn the_longest_of_each_is_kept_for_a_minute_or_two() {
        let mut watch = TurnWatch::default();
        turn(&mut watch, 1_000, 7_000, 2_000);
        turn(&mut watch, 9_000, 3_001, 2_901);
        assert_eq!(watch.longest(), TurnTimes { wall: 70, cpu: 30 });
        for second in 1..=60 {
            turn(&mut watch, second * 1_000_000, 100, 100);
        }
        assert_eq!(watch.longest(), TurnTimes { wall: 70, cpu: 30 });
        for second in 61..=121 {
            turn(&mut watch, second * 1_000_000, 100, 100);
        }
        assert_eq!(watch.longest(), TurnTimes { wall: 1, cpu: 1 });
    }

    #[test]
    fn a_turn_of_many_seconds_is_said_to_be_as_long_as_can_be_said() {
        let mut watch = TurnWatch::default();
        turn(&mut watch, 0, 10_000_000, 0);
        assert_eq!(watch.longest(), TurnTimes { wall: u16::MAX, cpu: 0 });
    }
}
