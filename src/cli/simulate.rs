//! `quorate simulate`: whole clusters on virtual time, from seeds.

use std::io::{self, IsTerminal};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use getopts::Options;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::args::{Words, parse};
use super::exit::{Exit, Failure, Outcome};
use super::output::{note, print_line};
use crate::sim::{self, Report};

pub const HELP: &str = "\
Runs simulated clusters: the daemon's own protocol, frames and journal over a
network that loses, repeats, delays and corrupts, disks that tear, and nodes
that crash.

Usage: quorate simulate --seed S [--json]
       quorate simulate --seeds A..B [--json]

  --seed S       one seed; ends in a line with the checksum of the final states
  --seeds A..B   from A up to, not including, B, on all cores; exit code 1 at
                 the first seed that fails, with the command that repeats it

A seed fixes everything: the same one gives the same history on any machine.

Example: quorate simulate --seeds 0..500
";

/// How many counters of faults fit 80 columns.
const FAULTS_PER_LINE: usize = 3;

/// Runs `quorate simulate`.
pub fn run(words: &[String]) -> Outcome {
    let mut options = Options::new();
    options.optopt("", "seed", "", "S");
    options.optopt("", "seeds", "", "A..B");
    options.optflag("", "json", "");
    let words = parse(options, words)?;
    let [] = words.expect_operands([])?;
    match (words.value("seed"), words.value("seeds")) {
        (Some(_), None) => run_one(words.number("seed", 0)?, words.has("json")),
        (None, Some(range)) => run_range(parse_range(&range)?, &words),
        _ => Err(Failure::usage("simulate takes either --seed S or --seeds A..B")),
    }
}

fn parse_range(text: &str) -> Result<(u64, u64), Failure> {
    text.split_once("..")
        .and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)))
        .filter(|(from, to)| from < to)
        .ok_or_else(|| Failure::usage(format!("--seeds is '{text}'; expected A..B with A below B")))
}

fn run_one(seed: u64, as_json: bool) -> Outcome {
    let report = match sim::run(seed) {
        Ok(report) => report,
        Err(failure) => {
            note(&failure.to_string());
            return Ok(Exit::Negative);
        }
    };
    if as_json {
        print_line(&to_json(&report).to_string())?;
        return Ok(Exit::Done);
    }
    let [answered, refused, unknown] = report.operations;
    let seconds = Duration::from_micros(report.virtual_time).as_secs_f64();
    print_line(&format!("seed {seed}: {} nodes, {seconds:.1} simulated seconds", report.nodes))?;
    print_line(&format!(
        "  {} events, {} leaders, {} entries committed, {} of them changes of the members",
        report.events, report.leaders, report.committed, report.changes
    ))?;
    let [written, installed] = report.snapshots;
    print_line(&format!("  snapshots: {written} written, {installed} sent to nodes that lagged"))?;
    print_line(&format!(
        "  operations: {answered} answered, {refused} refused, {unknown} unknown"
    ))?;
    print_line("  faults:")?;
    for faults in report.faults.chunks(FAULTS_PER_LINE) {
        let faults: Vec<String> =
            faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        print_line(&format!("    {}", faults.join(", ")))?;
    }
    print_line(&format!("checksum {:016x}", report.checksum))?;
    Ok(Exit::Done)
}

fn to_json(report: &Report) -> serde_json::Value {
    let [answered, refused, unknown] = report.operations;
    let faults: serde_json::Map<String, serde_json::Value> =
        report.faults.iter().map(|(kind, count)| ((*kind).to_owned(), (*count).into())).collect();
    json!({
        "seed": report.seed,
        "nodes": report.nodes,
        "virtual_us": report.virtual_time,
        "events": report.events,
        "leaders": report.leaders,
        "committed": report.committed,
        "snapshots": report.snapshots[0],
        "installed": report.snapshots[1],
        "changes": report.changes,
        "answered": answered,
        "refused": refused,
        "unknown": unknown,
        "faults": faults,
        "checksum": format!("{:016x}", report.checksum),
    })
}

/// What the threads that run seeds share.
struct Shared {
    next: AtomicU64,
    done: AtomicU64,
    virtual_time: AtomicU64,
    operations: AtomicU64,
    failed: AtomicBool,
    first_failure: Mutex<Option<Box<sim::Failure>>>,
}

fn run_range((from, to): (u64, u64), words: &Words) -> Outcome {
    let shared = Shared {
        next: AtomicU64::new(from),
        done: AtomicU64::new(0),
        virtual_time: AtomicU64::new(0),
        operations: AtomicU64::new(0),
        failed: AtomicBool::new(false),
        first_failure: Mutex::new(None),
    };
    let started = Instant::now();
    let bar = progress_bar(to - from);
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..threads {
            scope.spawn(|| run_seeds(&shared, to, &bar));
        }
    });
    bar.finish_and_clear();
    let done = shared.done.load(Ordering::Relaxed);
    let failure =
        shared.first_failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(failure) = failure {
        note(&failure.to_string());
        note(&format!(
            "quorate: {done} seeds passed before; repeat it with: quorate simulate --seed {}",
            failure.seed
        ));
        return Ok(Exit::Negative);
    }
    let seconds = started.elapsed().as_secs_f64();
    let simulated =
        Duration::from_micros(shared.virtual_time.load(Ordering::Relaxed)).as_secs_f64();
    let operations = shared.operations.load(Ordering::Relaxed);
    if words.has("json") {
        let summary = json!({
            "seeds": done,
            "seconds": seconds,
            "simulated_seconds": simulated,
            "operations": operations,
        });
        print_line(&summary.to_string())?;
    } else {
        print_line(&format!(
            "{done} seeds passed in {seconds:.1} s: {:.1} simulated minutes, {operations} \
             operations checked",
            simulated / 60.0
        ))?;
    }
    Ok(Exit::Done)
}

fn run_seeds(shared: &Shared, to: u64, bar: &ProgressBar) {
    while !shared.failed.load(Ordering::Relaxed) {
        let seed = shared.next.fetch_add(1, Ordering::Relaxed);
        if seed >= to {
            return;
        }
        match sim::run(seed) {
            Ok(report) => {
                let operations = report.operations.iter().sum();
                shared.done.fetch_add(1, Ordering::Relaxed);
                shared.virtual_time.fetch_add(report.virtual_time, Ordering::Relaxed);
                shared.operations.fetch_add(operations, Ordering::Relaxed);
                bar.inc(1);
            }
            Err(failure) => {
                shared.failed.store(true, Ordering::Relaxed);
                let mut first =
                    shared.first_failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if first.as_ref().is_none_or(|first| failure.seed < first.seed) {
                    *first = Some(failure);
                }
            }
        }
    }
}

fn progress_bar(seeds: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} seeds  {per_sec}  {eta} left");
    ProgressBar::new(seeds).with_style(style.expect("the template is well formed"))
}
