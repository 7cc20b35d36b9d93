//! `quorate bench`: a cluster under load, with what that took and what clients saw.

mod flags;
mod workload;
mod pace;
mod caller;
mod figures;
mod history_file;
mod report;
mod lab;

pub use flags::HELP;

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::driver::Driver;
use super::exit::{Exit, Failure, Outcome};
use super::output::{note, print_bytes, print_line};
use super::survey;
use crate::client::Event;
use crate::daemon::random_u64;
use crate::history::Status;
use crate::time::Instant;
use caller::{Caller, Ended};
use figures::Figures;
use flags::BenchFlags;
use history_file::{HistoryFile, Stamps};
use pace::Pace;
use report::{Report, time};
use workload::Workload;

/// How often the line on the terminal is renewed.
const TICK: Duration = Duration::from_secs(1);

/// Runs `quorate bench`.
pub fn run(words: &[String]) -> Outcome {
    let flags = BenchFlags::read(words)?;
    if let Some(lab) = flags.lab.clone() {
        return lab::run(&flags, &lab);
    }
    let mut bench = Bench::new(flags)?;
    bench.measure()?;
    bench.report()
}

/// A bench under way.
struct Bench {
    flags: BenchFlags,
    driver: Driver,
    workload: Workload,
    pace: Pace,
    callers: Vec<Caller>,
    /// The places of clients that have nothing under way, longest idle first.
    idle: VecDeque<usize>,
    /// The number for the next client in the history.
    next_number: u64,
    stamps: Stamps,
    history: Option<HistoryFile>,
    figures: Figures,
    started: Instant,
    ended: Instant,
    progress: ProgressBar,
    next_tick: Instant,
}

impl Bench {
    fn new(flags: BenchFlags) -> Result<Self, Failure> {
        let mut driver = Driver::new(&flags.client, flags.clients, false, 1)?;
        driver.catch_signals()?;
        let workload = Workload::new(&flags, random_u64());
        let comment = format!("quorate bench, keys under {}", workload.prefix());
        let create = |path| HistoryFile::create(path, &comment);
        let history = flags.history.as_deref().map(create).transpose()?;
        let started = driver.now();
        Ok(Self {
            workload,
            pace: Pace::new(started, flags.duration, flags.rate),
            callers: (0..flags.clients as u64).map(Caller::new).collect(),
            idle: (0..flags.clients).collect(),
            next_number: flags.clients as u64,
            stamps: Stamps::default(),
            history,
            figures: Figures::new(started),
            started,
            ended: started,
            progress: progress_bar(flags.duration),
            next_tick: started + TICK,
            driver,
            flags,
        })
    }

    fn measure(&mut self) -> Result<(), Failure> {
        let ran = self.run();
        self.driver.close();
        self.progress.finish_and_clear();
        ran
    }

    fn run(&mut self) -> Result<(), Failure> {
        loop {
            self.begin_due();
            let now = self.driver.now();
            if now >= self.pace.ends_at() && self.idle.len() == self.callers.len() {
                break;
            }
            self.driver.turn(self.next_wake_up(now))?;
            if self.driver.take_signals() > 0 && self.is_ended_by_signal()? {
                break;
            }
            self.take_events()?;
            self.tick();
        }
        self.ended = self.driver.now();
        self.figures.close_gap(self.pace.ends_at());
        self.history.as_mut().map_or(Ok(()), HistoryFile::finish)
    }

    /// Begins what is due, as far as clients are idle.
    fn begin_due(&mut self) {
        let now = self.driver.now();
        while let Some(&place) = self.idle.front()
            && let Some(intended) = self.pace.next(now).filter(|intended| *intended <= now)
        {
            self.idle.pop_front();
            self.pace.advance();
            self.begin(place, intended);
        }
    }

    fn begin(&mut self, place: usize, intended: Instant) {
        let now = self.driver.now();
        let caller = &mut self.callers[place];
        let task = self.workload.draw(caller.known());
        let id = self.driver.client(place).ask(now, task.ask.clone());
        caller.begin(task, id, intended, self.stamps.next(now));
    }

    /// When something is to be done even if no datagram comes.
    fn next_wake_up(&self, now: Instant) -> Instant {
        let next = if self.idle.is_empty() { None } else { self.pace.next(now) };
        let end = (now < self.pace.ends_at()).then_some(self.pace.ends_at());
        [next, end].into_iter().flatten().fold(self.next_tick, Instant::min)
    }

    /// The first signal ends the run as its end would, the second at once. Returns
    /// whether all is over.
    fn is_ended_by_signal(&mut self) -> Result<bool, Failure> {
        let now = self.driver.now();
        if now < self.pace.ends_at() {
            self.pace.end(now);
            return Ok(false);
        }
        for place in 0..self.callers.len() {
            if let Some(ended) = self.callers[place].give_up(now) {
                self.conclude(place, ended, now)?;
            }
        }
        Ok(true)
    }

    fn take_events(&mut self) -> Result<(), Failure> {
        for place in 0..self.callers.len() {
            while let Some(event) = self.driver.poll_event(place) {
                match event {
                    Event::Bytes(id, bytes) => self.callers[place].take_bytes(id, &bytes),
                    Event::Done(id, answer) => {
                        let now = self.driver.now();
                        if let Some(ended) = self.callers[place].end(id, answer, now) {
                            self.conclude(place, ended, now)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn conclude(&mut self, place: usize, ended: Ended, now: Instant) -> Result<(), Failure> {
        self.figures.take(&ended, now);
        self.idle.push_back(place);
        let mut operation = ended.operation;
        if operation.status == Status::Unknown {
            // Its operation may still take effect: it goes on as another.
            self.callers[place].number = self.next_number;
            self.next_number += 1;
        } else {
            operation.ret = Some(self.stamps.next(now));
        }
        self.history.as_mut().map_or(Ok(()), |history| history.write(&operation))
    }

    /// Renews the line on the terminal.
    fn tick(&mut self) {
        let now = self.driver.now();
        if now < self.next_tick {
            return;
        }
        self.next_tick = self.next_tick + TICK;
        if self.progress.is_hidden() {
            return;
        }
        let passed = now.since(self.started).as_secs();
        self.progress.set_position(passed);
        let last = self.figures.answered_in(passed - 1);
        let p99 = self.figures.all().quantiles.map(|quantiles| Duration::from_micros(quantiles[2]));
        self.progress.set_message(format!(
            "{} a second, p99 {}, {} errors, {} unknown",
            HumanCount(last),
            p99.map_or_else(|| "-".to_owned(), time),
            self.figures.errors,
            self.figures.unknown,
        ));
    }

    fn report(&self) -> Outcome {
        let report = Report {
            flags: &self.flags,
            prefix: self.workload.prefix(),
            figures: &self.figures,
            took: self.ended.since(self.started),
            never_began: self.pace.behind(self.ended),
        };
        if self.flags.client.json {
            print_line(&report.to_json().to_string())?;
        } else {
            print_bytes(report.to_text().as_bytes())?;
        }
        if self.figures.ops() > 0 {
            return Ok(Exit::Done);
        }
        let sentence = survey::take(&self.flags.client).sentence();
        note(&format!("quorate: not one operation was answered; {sentence}"));
        Ok(Exit::NoAnswer)
    }
}

/// A bar for the seconds that pass, on a terminal only.
fn progress_bar(duration: Duration) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:20} {pos}/{len} s  {msg}");
    ProgressBar::new(duration.as_secs().max(1))
        .with_style(style.expect("the template is well formed"))
}
