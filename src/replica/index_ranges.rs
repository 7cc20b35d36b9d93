//! A set of indexes, as the ranges that they form.

use std::collections::BTreeMap;

use crate::types::LogIndex;

/// A set of indexes. Its ranges neither overlap nor touch.
#[derive(Debug, Default, Hash)]
pub struct IndexRanges {
    /// The last index of each range, by its first.
    ranges: BTreeMap<LogIndex, LogIndex>,
}

impl IndexRanges {
    /// Whether it holds no index.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The lowest range.
    pub fn first(&self) -> Option<(LogIndex, LogIndex)> {
        self.ranges.first_key_value().map(|(first, last)| (*first, *last))
    }

    /// Adds all indexes from `first` to `last`.
    pub fn insert(&mut self, first: LogIndex, last: LogIndex) {
        let (mut first, mut last) = (first, last);
        while let Some((from, to)) = self.last_from(last.next())
            && to.next() >= first
        {
            self.ranges.remove(&from);
            (first, last) = (first.min(from), last.max(to));
        }
        self.ranges.insert(first, last);
    }

    /// Removes all indexes from `first` to `last`.
    pub fn remove(&mut self, first: LogIndex, last: LogIndex) {
        while let Some((from, to)) = self.last_from(last)
            && to >= first
        {
            self.ranges.remove(&from);
            if to > last {
                self.ranges.insert(last.next(), to);
            }
            if from < first {
                self.ranges.insert(from, first.previous());
            }
        }
    }

    /// The highest range that begins at or before the index.
    fn last_from(&self, index: LogIndex) -> Option<(LogIndex, LogIndex)> {
        self.ranges.range(..=index).next_back().map(|(first, last)| (*first, *last))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn ranges_of(set: &BTreeSet<u64>) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for &index in set {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == index => *last = index,
                _ => ranges.push((index, index)),
            }
        }
        ranges
    }

    #[test]
    fn it_is_the_set_of_all_that_was_inserted_and_not_removed_since() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let (mut ranges, mut set) = (IndexRanges::default(), BTreeSet::new());
            for _ in 0..40 {
                let first = random.u64(1..60);
                let last = first + random.u64(..12);
                if random.bool() {
                    ranges.insert(LogIndex(first), LogIndex(last));
                    set.extend(first..=last);
                } else {
                    ranges.remove(LogIndex(first), LogIndex(last));
                    set.retain(|index| !(first..=last).contains(index));
                }
                let found: Vec<_> = ranges.ranges.iter().map(|(a, b)| (a.0, b.0)).collect();
                assert_eq!(found, ranges_of(&set));
                assert_eq!(ranges.is_empty(), set.is_empty());
            }
        }
    }
}
