//! Reads the files again at a bounded rate, in the pauses of the background thread.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::file_directory::FileDirectory;
use crate::disk::{Damage, Findings, Flaw, SLICE_BYTES, Scrub};
use crate::types::LogIndex;
use crate::wire::ScrubStatus;

/// The longest time that the thread waits for the next slice; also how soon a pass follows
/// another, and how often damage is named that waits for its repair.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the threads that read and write tell each other, and the loop, of reading again.
#[derive(Debug, Default)]
pub struct ScrubLedger {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    sealed: Range<u32>,
    passed_at: Option<Instant>,
    damaged: u16,
    repaired: u16,
}

impl ScrubLedger {
    /// The numbers of the journal's sealed segments. Before one is given up it must not be
    /// among them any more.
    pub fn set_sealed(&self, sealed: Range<u32>) {
        self.with(|kept| kept.sealed = sealed);
    }

    /// In so many places damage was found, and in so many it is gone.
    pub fn count(&self, damaged: usize, repaired: usize) {
        let more =
            |kept: u16, by: usize| kept.saturating_add(u16::try_from(by).unwrap_or(u16::MAX));
        self.with(|kept| {
            kept.damaged = more(kept.damaged, damaged);
            kept.repaired = more(kept.repaired, repaired);
        });
    }

    /// How it goes, for the node's status.
    pub fn status(&self) -> ScrubStatus {
        self.with(|kept| ScrubStatus {
            passed_age: kept.passed_at.map(|at| saturated(at.elapsed().as_secs())),
            damaged: kept.damaged,
            repaired: kept.repaired,
        })
    }

    fn sealed(&self) -> Range<u32> {
        self.with(|kept| kept.sealed.clone())
    }

    /// Nobody holds it for longer than this takes, so no thread waits for another's disk.
    fn with<T>(&self, act: impl FnOnce(&mut Kept) -> T) -> T {
        act(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The files, and when the next slice of them is due.
#[derive(Debug)]
pub struct Scrubber {
    files: FileDirectory,
    scrub: Scrub,
    ledger: Arc<ScrubLedger>,
    /// How long one slice counts; none: nothing is read again.
    slice: Option<Duration>,
    due: Instant,
    /// When damage that waits was last named.
    named: Option<Instant>,
}

impl Scrubber {
    /// Reads the files at `path` again, so many bytes in a second; with zero none.
    pub fn new(path: &Path, scrub: Scrub, rate: u64, ledger: Arc<ScrubLedger>) -> Self {
        let slice = (rate > 0).then(|| Duration::from_secs(SLICE_BYTES as u64) / saturated(rate));
        let (files, due) = (FileDirectory::at(path), Instant::now() + INTERVAL);
        Self { files, scrub, ledger, slice, due, named: None }
    }

    /// How long the thread may wait for other work.
    pub fn pause(&self) -> Duration {
        let until_due = self.due.saturating_duration_since(Instant::now());
        if self.slice.is_some() { until_due.min(INTERVAL) } else { INTERVAL }
    }

    /// A snapshot at this index was written.
    pub fn snapshot_written(&mut self, index: LogIndex) {
        self.scrub.snapshot_written(index);
    }

    /// Reads a slice, if that is due. Returns the damage that waits for its repair, if there
    /// is some and it was not named just now.
    pub fn turn(&mut self) -> Option<Damage> {
        let now = Instant::now();
        let slice = self.slice.filter(|_| self.due <= now)?;
        let findings = self.scrub.step(&self.files, &self.ledger.sealed());
        self.due = now + if findings.pass_ended { slice.max(INTERVAL) } else { slice };
        self.tell(&findings, now);
        let is_new = !findings.damaged.is_empty();
        if !is_new && self.named.is_some_and(|at| now < at + INTERVAL) {
            return None;
        }
        let damage = self.scrub.take_damage();
        self.named = damage.is_there().then_some(now);
        damage.is_there().then_some(damage)
    }

    fn tell(&self, findings: &Findings, now: Instant) {
        tell_damaged(&findings.damaged);
        for Flaw { name, offset, .. } in &findings.repaired {
            log::warn!("{name}, byte {offset}: the damage there is repaired");
        }
        self.ledger.count(findings.damaged.len(), findings.repaired.len());
        if findings.pass_ended {
            self.ledger.with(|kept| kept.passed_at = Some(now));
        }
    }
}

/// Names what a running node has found on its disk, in memory of which it is whole.
pub fn tell_damaged(flaws: &[Flaw]) {
    for Flaw { name, offset, what, .. } in flaws {
        log::warn!("{name}, byte {offset}: {what}; what it holds is in memory and written anew");
    }
}

fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
