//! What the clients ask for: kinds in their shares, keys evenly, values unique.

use bytes::Bytes;

use crate::client::Ask;
use crate::history::Kind;
use crate::operation::{Expected, Operation};
use crate::types::LogIndex;
use crate::wire::Query;

use super::flags::BenchFlags;

/// What each `incr` adds.
const ADDEND: i64 = 10;
/// For so many keys there is one more that only `incr` writes.
const KEYS_PER_COUNTER: u64 = 10;
/// Digits of the number that makes a value unique, which stands at its beginning.
const DIGITS: u32 = 8;

/// Where the operations of a run come from.
#[derive(Debug)]
pub struct Workload {
    random: fastrand::Rng,
    prefix: String,
    keys: u64,
    counters: u64,
    reads: u8,
    value_size: usize,
    /// Writes are of all kinds.
    mixed: bool,
    values_made: u64,
}

/// An operation, as it is asked and as the history tells it.
#[derive(Debug)]
pub struct Task {
    /// What to ask the client for.
    pub ask: Ask,
    /// The key that it is about.
    pub key: Bytes,
    /// What it is.
    pub kind: Kind,
    /// The key belongs to `incr`.
    pub of_counter: bool,
}

/// What a client learned last of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The key.
    pub key: Bytes,
    /// Its version and value; none: absent.
    pub found: Option<(LogIndex, Bytes)>,
}

impl Workload {
    /// The operations that the flags ask for, from a random seed.
    pub fn new(flags: &BenchFlags, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self {
            prefix: format!("bench/{:08x}/", random.u32(..)),
            random,
            keys: flags.keys,
            counters: flags.keys.div_ceil(KEYS_PER_COUNTER),
            reads: flags.reads,
            value_size: flags.value_size,
            mixed: flags.history.is_some(),
            values_made: 0,
        }
    }

    /// What all keys of the run begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The next operation of a client that knows this of a key.
    pub fn draw(&mut self, known: Option<&Known>) -> Task {
        let is_read = self.random.u8(..100) < self.reads;
        let share = if self.mixed { self.random.u8(..10) } else { 0 };
        let of_counter = share >= 8;
        if is_read {
            return self.read(of_counter);
        }
        match share {
            6 => self.compare_and_swap(known),
            7 => self.delete(),
            8.. => self.increment(),
            _ => self.put(),
        }
    }

    fn read(&mut self, of_counter: bool) -> Task {
        let key = if of_counter { self.counter() } else { self.key() };
        let ask = Ask::Read { query: Query::Get { key: key.clone() }, stale: false };
        Task { ask, key, kind: Kind::Get, of_counter }
    }

    fn put(&mut self) -> Task {
        let (key, value) = (self.key(), self.value());
        let operation = Operation::Put { key: key.clone(), value: value.clone() };
        write(operation, key, Kind::Put { value })
    }

    fn delete(&mut self) -> Task {
        let key = self.key();
        write(Operation::Delete { key: key.clone() }, key, Kind::Delete)
    }

    fn increment(&mut self) -> Task {
        let key = self.counter();
        let operation = Operation::Increment { key: key.clone(), by: ADDEND };
        let of_counter = true;
        Task { of_counter, ..write(operation, key, Kind::Increment { by: ADDEND }) }
    }

    /// Most comparisons are with what the client learned last: they may succeed. By
    /// version or by value, both say the same, since no value is written twice.
    fn compare_and_swap(&mut self, known: Option<&Known>) -> Task {
        let value = self.value();
        let known = known.filter(|_| self.random.u8(..8) > 0).cloned();
        let Known { key, found } = known.unwrap_or_else(|| Known { key: self.key(), found: None });
        let expected = match &found {
            None => Expected::Absent,
            Some((version, _)) if self.random.bool() => Expected::Version(*version),
            Some((_, value)) => Expected::Value(value.clone()),
        };
        let operation =
            Operation::CompareAndSwap { key: key.clone(), expected, value: value.clone() };
        let expected = found.map(|(_, value)| value);
        write(operation, key, Kind::CompareAndSwap { expected, value })
    }

    fn key(&mut self) -> Bytes {
        let number = self.random.u64(..self.keys);
        format!("{}key-{number}", self.prefix).into()
    }

    fn counter(&mut self) -> Bytes {
        let number = self.random.u64(..self.counters);
        format!("{}counter-{number}", self.prefix).into()
    }

    /// A value that no other operation writes: its number, again and again.
    fn value(&mut self) -> Bytes {
        let mut number = self.values_made;
        self.values_made += 1;
        let mut digits = [0; DIGITS as usize];
        for digit in digits.iter_mut().rev() {
            *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize];
            number /= 36;
        }
        digits.into_iter().cycle().take(self.value_size).collect()
    }
}

fn write(operation: Operation, key: Bytes, kind: Kind) -> Task {
    Task { ask: Ask::Execute(operation), key, kind, of_counter: false }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const DRAWS: usize = 40_000;

    fn workload(line: &str) -> Workload {
        let words: Vec<String> = line.split_whitespace().map(Into::into).collect();
        Workload::new(&BenchFlags::read(&words).unwrap(), 7)
    }

    /// How many percent of the operations are of each kind.
    fn shares(workload: &mut Workload) -> BTreeMap<&'static str, usize> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for _ in 0..DRAWS {
            let name = match workload.draw(None).kind {
                Kind::Put { .. } => "put",
                Kind::Get => "get",
                Kind::CompareAndSwap { .. } => "cas",
                Kind::Delete => "delete",
                Kind::Append { .. } => "append",
                Kind::Increment { .. } => "incr",
            };
            *counts.entry(name).or_insert(0) += 1;
        }
        let percent = |(name, count)| (name, (count * 100 + DRAWS / 2) / DRAWS);
        counts.into_iter().map(percent).collect()
    }

    #[test]
    fn kinds_come_in_their_shares() {
        assert_eq!(shares(&mut workload("--reads 50")), [("get", 50), ("put", 50)].into());
        assert_eq!(shares(&mut workload("--reads 0")), [("put", 100)].into());
        assert_eq!(shares(&mut workload("--reads 100")), [("get", 100)].into());
        let mixed = [("put", 60), ("cas", 10), ("delete", 10), ("incr", 20)].into();
        assert_eq!(shares(&mut workload("--reads 0 --history h")), mixed);
    }

    #[test]
    fn keys_are_taken_evenly_and_counters_are_apart() {
        let mut workload = workload("--keys 20 --history h");
        let mut counts: BTreeMap<Bytes, usize> = BTreeMap::new();
        for _ in 0..DRAWS {
            let task = workload.draw(None);
            let is_counter = task.key.windows(9).any(|part| part == b"/counter-");
            assert_eq!(task.of_counter, is_counter);
            match task.kind {
                Kind::Get => {}
                kind => assert_eq!(matches!(kind, Kind::Increment { .. }), is_counter),
            }
            assert!(task.key.starts_with(workload.prefix().as_bytes()));
            *counts.entry(task.key).or_insert(0) += 1;
        }
        // 20 keys share eight tenths of the operations, 2 counters the rest.
        assert_eq!(counts.len(), 22);
        for (key, count) in counts {
            let expected =
                if key.windows(7).any(|part| part == b"counter") { DRAWS / 10 } else { DRAWS / 25 };
            assert!(count.abs_diff(expected) < expected / 5, "{key:?}: {count}");
        }
    }

    #[test]
    fn values_differ_and_have_their_size() {
        for size in [8, 9, 100] {
            let mut workload = workload(&format!("--value-size {size}"));
            let values: BTreeSet<Bytes> = (0..2_000).map(|_| workload.value()).collect();
            assert_eq!(values.len(), 2_000);
            assert!(values.iter().all(|value| value.len() == size));
        }
    }

    #[test]
    fn runs_have_keys_of_their_own() {
        let flags = BenchFlags::read(&[]).unwrap();
        let prefix = |seed| Workload::new(&flags, seed).prefix().to_owned();
        assert_ne!(prefix(1), prefix(2));
    }

    #[test]
    fn a_comparison_says_in_the_history_what_it_asks_the_cluster() {
        let mut workload = workload("--history h");
        let (version, old) = (LogIndex(5), Bytes::from("old"));
        let known = Known { key: "k".into(), found: Some((version, old.clone())) };
        let mut seen = BTreeSet::new();
        for _ in 0..200 {
            let task = workload.compare_and_swap(Some(&known));
            let Kind::CompareAndSwap { expected: told, value: told_value } = task.kind else {
                panic!("not a comparison")
            };
            let Ask::Execute(Operation::CompareAndSwap { key, expected, value }) = task.ask else {
                panic!("not a comparison")
            };
            assert_eq!((&key, &value), (&task.key, &told_value));
            match expected {
                Expected::Absent => assert_eq!(told, None),
                Expected::Version(asked) => {
                    assert_eq!((asked, &key, told.as_ref()), (version, &known.key, Some(&old)));
                }
                Expected::Value(ref asked) => {
                    assert_eq!((&key, told.as_ref()), (&known.key, Some(asked)));
                }
            }
            seen.insert(match expected {
                Expected::Absent => 0,
                Expected::Version(_) => 1,
                Expected::Value(_) => 2,
            });
        }
        assert_eq!(seen.len(), 3);
    }
}
