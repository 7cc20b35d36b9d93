//! What a bench measures.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::history::{Kind, Operation, Status};
use crate::time::{Instant, micros};

use super::caller::Ended;

/// Longer latencies are counted as this one, an hour.
const LATENCY_MAX: u64 = 3_600_000_000;
/// Latencies are kept to three digits.
const DIGITS: u8 = 3;

/// What a bench measures.
#[derive(Debug)]
pub struct Figures {
    started: Instant,
    last_answer: Instant,
    longest_gap: Duration,
    reads: Histogram<u64>,
    writes: Histogram<u64>,
    /// Operations that certainly had no effect.
    pub errors: u64,
    /// Operations that may have had one.
    pub unknown: u64,
    /// Why the first of these was not answered.
    pub first_complaint: Option<String>,
    /// How many were answered in each second.
    pub per_second: Vec<u64>,
}

/// How long operations took, in microseconds. None where there were none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latencies {
    /// How many were answered.
    pub ops: u64,
    /// The 50th, 90th, 99th and 99.9th percentile, and the maximum.
    pub quantiles: Option<[u64; 5]>,
}

impl Figures {
    /// Nothing is measured yet.
    pub fn new(started: Instant) -> Self {
        let histogram = || {
            Histogram::new_with_bounds(1, LATENCY_MAX, DIGITS)
                .expect("the bounds and digits are in the ranges of the library")
        };
        Self {
            started,
            last_answer: started,
            longest_gap: Duration::ZERO,
            reads: histogram(),
            writes: histogram(),
            errors: 0,
            unknown: 0,
            first_complaint: None,
            per_second: Vec::new(),
        }
    }

    /// An operation is over.
    pub fn take(&mut self, ended: &Ended, now: Instant) {
        match ended.operation.status {
            Status::Ok => self.answered(&ended.operation, ended.latency, now),
            Status::Fail => self.errors += 1,
            Status::Unknown => self.unknown += 1,
        }
        if self.first_complaint.is_none() {
            self.first_complaint.clone_from(&ended.complaint);
        }
    }

    fn answered(&mut self, operation: &Operation, latency: Duration, now: Instant) {
        let is_read = matches!(operation.kind, Kind::Get);
        let histogram = if is_read { &mut self.reads } else { &mut self.writes };
        histogram.saturating_record(micros(latency));
        self.close_gap(now);
        let second = usize::try_from(now.since(self.started).as_secs()).unwrap_or(usize::MAX);
        if self.per_second.len() <= second {
            self.per_second.resize(second + 1, 0);
        }
        self.per_second[second] += 1;
    }

    /// Operations begin until now: the time since the last answer is a gap too.
    pub fn close_gap(&mut self, now: Instant) {
        self.longest_gap = self.longest_gap.max(now.since(self.last_answer));
        self.last_answer = now;
    }

    /// How many were answered in that second, counted from zero.
    pub fn answered_in(&self, second: u64) -> u64 {
        let second = usize::try_from(second).unwrap_or(usize::MAX);
        self.per_second.get(second).copied().unwrap_or(0)
    }

    /// How many were answered so far.
    pub fn ops(&self) -> u64 {
        self.reads.len() + self.writes.len()
    }

    /// The longest time without any answer.
    pub fn longest_gap(&self) -> Duration {
        self.longest_gap
    }

    /// Of reads.
    pub fn reads(&self) -> Latencies {
        Latencies::of(&self.reads)
    }

    /// Of writes.
    pub fn writes(&self) -> Latencies {
        Latencies::of(&self.writes)
    }

    /// Of all.
    pub fn all(&self) -> Latencies {
        let mut all = self.reads.clone();
        all.add(&self.writes).expect("both histograms have the same bounds");
        Latencies::of(&all)
    }
}

impl Latencies {
    fn of(histogram: &Histogram<u64>) -> Self {
        let quantile = |quantile| histogram.value_at_quantile(quantile);
        let quantiles =
            || [quantile(0.5), quantile(0.9), quantile(0.99), quantile(0.999), histogram.max()];
        Self { ops: histogram.len(), quantiles: (!histogram.is_empty()).then(quantiles) }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::history::Output;

    fn ended(kind: Kind, status: Status, latency: u64) -> Ended {
        let (key, out) = (Bytes::from("k"), Output::None);
        let operation = Operation {
            client: 0,
            kind,
            key,
            call: 0,
            ret: None,
            status,
            out,
            index: None,
            line: 0,
        };
        let complaint = (status != Status::Ok).then(|| format!("after {latency}"));
        Ended { operation, latency: Duration::from_micros(latency), complaint }
    }

    fn close(value: u64, expected: u64) -> bool {
        value.abs_diff(expected) * 1_000 <= expected
    }

    #[test]
    fn quantiles_are_those_of_the_latencies() {
        let mut figures = Figures::new(Instant(0));
        for latency in (1..=1_000).map(|number| number * 100) {
            figures.take(&ended(Kind::Get, Status::Ok, latency), Instant(1));
        }
        figures.take(&ended(Kind::Delete, Status::Ok, 5_000_000), Instant(1));
        figures.take(&ended(Kind::Delete, Status::Fail, 9_000_000), Instant(1));
        let reads = figures.reads().quantiles.unwrap();
        for (value, expected) in reads.into_iter().zip([50_000, 90_000, 99_000, 99_900, 100_000]) {
            assert!(close(value, expected), "{value} instead of {expected}");
        }
        let all = figures.all();
        assert_eq!((figures.reads().ops, figures.writes().ops, all.ops), (1_000, 1, 1_001));
        assert!(close(all.quantiles.unwrap()[4], 5_000_000));
        assert_eq!(Figures::new(Instant(0)).all().quantiles, None);
    }

    #[test]
    fn the_longest_gap_lies_between_answers_or_before_the_first_or_after_the_last() {
        let gap = |answers: &[u64], end| {
            let mut figures = Figures::new(Instant(1_000));
            for answer in answers {
                figures.take(&ended(Kind::Get, Status::Ok, 1), Instant(*answer));
            }
            figures.take(&ended(Kind::Get, Status::Fail, 1), Instant(end - 1));
            figures.close_gap(Instant(end));
            figures.longest_gap().as_micros()
        };
        assert_eq!(gap(&[1_100, 1_500, 1_600], 1_700), 400);
        assert_eq!(gap(&[1_300, 1_400], 1_500), 300);
        assert_eq!(gap(&[1_100, 1_200], 2_000), 800);
        assert_eq!(gap(&[], 2_000), 1_000);
        // An answer that came after operations ceased to begin was waited for until then.
        let mut figures = Figures::new(Instant(0));
        figures.close_gap(Instant(100));
        figures.take(&ended(Kind::Get, Status::Ok, 1), Instant(900));
        figures.close_gap(Instant(500));
        assert_eq!(figures.longest_gap().as_micros(), 800);
    }

    #[test]
    fn answers_are_counted_in_their_second_and_failures_apart() {
        let mut figures = Figures::new(Instant(500_000));
        for at in [600_000, 1_499_999, 1_500_000, 3_600_000] {
            figures.take(&ended(Kind::Get, Status::Ok, 1), Instant(at));
        }
        figures.take(&ended(Kind::Get, Status::Unknown, 7), Instant(3_600_000));
        figures.take(&ended(Kind::Get, Status::Fail, 8), Instant(3_600_000));
        assert_eq!(figures.per_second, [2, 1, 0, 1]);
        assert_eq!((figures.ops(), figures.errors, figures.unknown), (4, 1, 1));
        assert_eq!(figures.first_complaint.as_deref(), Some("after 7"));
    }
}
