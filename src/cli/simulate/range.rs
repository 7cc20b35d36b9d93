//! Many seeds, on all cores.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{command, panics, report};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::{note, print_line};
use crate::sim::{self, FaultClass, Report, Wishes};

/// The share of seeds that may be waived, in per cent. With more the run says too little.
const WAIVED_MAX: u64 = 20;
/// How many seeds must be run before that share says anything.
const SEEDS_FOR_A_SHARE: u64 = 50;

/// What the threads that run seeds share.
struct Shared {
    wishes: Wishes,
    next: AtomicU64,
    end: u64,
    failed: AtomicBool,
    sums: Mutex<Sums>,
    started: Instant,
    bar: ProgressBar,
}

/// What the runs have come to so far.
#[derive(Debug, Default)]
struct Sums {
    done: u64,
    waived: u64,
    virtual_time: u64,
    operations: u64,
    faults: BTreeMap<&'static str, u64>,
    first_failure: Option<Box<sim::Failure>>,
}

/// Runs the seeds until one fails.
pub fn run((from, to): (u64, u64), wishes: Wishes, as_json: bool) -> Outcome {
    let shared = Shared {
        wishes,
        next: AtomicU64::new(from),
        end: to,
        failed: AtomicBool::new(false),
        sums: Mutex::default(),
        started: Instant::now(),
        bar: progress_bar(to - from),
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..threads {
            scope.spawn(|| shared.run_seeds());
        }
    });
    shared.bar.finish_and_clear();
    let seconds = shared.started.elapsed().as_secs_f64();
    let sums = shared.sums.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(failure) = &sums.first_failure {
        note(&failure.to_string());
        let repeat = command(failure.seed, wishes);
        note(&format!("quorate: {} seeds passed before; repeat it with: {repeat}", sums.done));
        return Ok(Exit::Negative);
    }
    if as_json {
        print_line(&sums.to_json(seconds).to_string())?;
    } else {
        sums.print(seconds)?;
    }
    let Some(complaint) = sums.complaint(wishes) else { return Ok(Exit::Done) };
    note(&format!("quorate: {complaint}"));
    Ok(Exit::Negative)
}

impl Shared {
    fn run_seeds(&self) {
        while !self.failed.load(Ordering::Relaxed) {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.end {
                return;
            }
            match panics::run(seed, self.wishes) {
                Ok(report) => self.passed(&report),
                Err(failure) => self.failed(failure),
            }
        }
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn passed(&self, report: &Report) {
        let mut sums = self.sums();
        sums.add(report);
        let ratio = seconds(sums.virtual_time) / self.started.elapsed().as_secs_f64();
        self.bar.set_message(format!("{ratio:.0} times real time"));
        self.bar.inc(1);
    }

    fn failed(&self, failure: Box<sim::Failure>) {
        self.failed.store(true, Ordering::Relaxed);
        let first = &mut self.sums().first_failure;
        if first.as_ref().is_none_or(|first| failure.seed < first.seed) {
            *first = Some(failure);
        }
    }
}

impl Sums {
    fn add(&mut self, report: &Report) {
        self.done += 1;
        self.waived += u64::from(report.waived.is_some());
        self.virtual_time += report.virtual_time;
        self.operations += report.operations.iter().sum::<u64>();
        for (kind, count) in &report.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }

    fn print(&self, real: f64) -> Result<(), Failure> {
        let simulated = seconds(self.virtual_time);
        print_line(&format!(
            "{} seeds passed in {real:.1} s: {:.1} simulated minutes, {} operations checked",
            self.done,
            simulated / 60.0,
            self.operations
        ))?;
        print_line(&format!(
            "  {:.1} seeds a second, {:.0} times real time; {} waived, whose directories are lost",
            per(self.done, real),
            simulated / real,
            self.waived
        ))?;
        report::print_faults(self.faults())
    }

    fn to_json(&self, real: f64) -> serde_json::Value {
        json!({
            "seeds": self.done,
            "seconds": real,
            "simulated_seconds": seconds(self.virtual_time),
            "operations": self.operations,
            "waived": self.waived,
            "faults": report::faults_to_json(self.faults()),
        })
    }

    fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.faults.iter().map(|(kind, count)| (*kind, *count))
    }

    /// Why the runs say less than they should, although none has failed.
    fn complaint(&self, wishes: Wishes) -> Option<String> {
        let of_class = self.faults.iter().filter(|(kind, _)| wishes.faults.has(kind));
        let injected: u64 = of_class.map(|(_, count)| count).sum();
        if wishes.faults != FaultClass::None && injected == 0 {
            return Some(format!("no fault of the class {} happened", wishes.faults.name()));
        }
        let too_many =
            self.done >= SEEDS_FOR_A_SHARE && self.waived * 100 >= self.done * WAIVED_MAX;
        too_many.then(|| format!("{} of {} seeds were waived", self.waived, self.done))
    }
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

#[allow(clippy::cast_precision_loss, reason = "a rate for people to read")]
fn per(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

fn progress_bar(seeds: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{bar:20} {pos}/{len} seeds  {per_sec}  {msg}  {eta} left";
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(seeds).with_style(style.expect("the template is well formed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_say_too_little_are_complained_of() {
        let wishes = Wishes { faults: FaultClass::Network, ..Wishes::default() };
        let nothing = Sums { done: 3, ..Sums::default() };
        assert!(nothing.complaint(wishes).is_some());
        assert_eq!(nothing.complaint(Wishes { faults: FaultClass::None, ..wishes }), None);
        // They follow from starting one node after the other.
        let refused = Sums { faults: BTreeMap::from([("frame refused", 5)]), ..nothing };
        assert!(refused.complaint(wishes).is_some());
        let faults = BTreeMap::from([("lost frames", 5)]);
        let some = Sums { done: 100, waived: 19, faults, ..Sums::default() };
        assert_eq!(some.complaint(wishes), None);
        assert!(Sums { waived: 20, ..some }.complaint(wishes).is_some());
    }
}
