//! Acknowledgments with any ranges.

use proptest::collection::vec;
use proptest::prelude::*;
use quorate::types::{LogIndex, ReadRound, Term};
use quorate::wire::{Acknowledge, RANGES_MAX};

/// Any acknowledgment that can be said.
pub fn acknowledge() -> impl Strategy<Value = Acknowledge> {
    let step = (1..=u32::MAX, 1..=u16::MAX);
    let matched = ..u64::MAX - (RANGES_MAX as u64) * (1 << 33);
    let ranges = (matched, vec(step, 0..=RANGES_MAX));
    (any::<[u64; 6]>(), ranges, any::<u32>(), any::<u8>()).prop_map(
        |(numbers, (matched, steps), durability_age, free_space_class)| Acknowledge {
            term: Term(numbers[0]),
            round: ReadRound(numbers[1]),
            matched: LogIndex(matched),
            durable: LogIndex(numbers[2]),
            hint_index: LogIndex(numbers[3]),
            hint_term: Term(numbers[4]),
            received: ranges_of(matched, &steps),
            durability_age,
            free_space_class,
            configuration_index: LogIndex(numbers[5]),
        },
    )
}

fn ranges_of(matched: u64, steps: &[(u32, u16)]) -> Vec<(LogIndex, LogIndex)> {
    let mut before = matched;
    let ranges = steps.iter().map(|&(step, count)| {
        let first = before + u64::from(step);
        before = first + u64::from(count) - 1;
        (LogIndex(first), LogIndex(before))
    });
    ranges.collect()
}
