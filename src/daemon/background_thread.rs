//! The thread for what takes long and is waited for by nobody: it writes snapshots, frees
//! states that are no longer needed, measures the room on the disk, and reads again what is
//! there, in slices so small that the rest hardly waits for them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use mio::Waker;

use super::disk_use::DiskUse;
use super::error::RunError;
use super::file_directory::FileDirectory;
use super::scrubber::Scrubber;
use crate::disk::{Damage, DiskError, write_snapshot};
use crate::replica::Retired;
use crate::store::Snapshot;

/// How long a snapshot waits that found no room.
const NO_SPACE_PAUSE: Duration = Duration::from_secs(1);

/// The thread, as the loop sees it.
#[derive(Debug)]
pub struct BackgroundThread {
    work: Sender<Work>,
    reports: Receiver<Result<Report, DiskError>>,
    /// Kept here too: a waker that is dropped takes back the event it has raised.
    _waker: Arc<Waker>,
}

/// What is to be done.
enum Work {
    Write(Snapshot),
    Free(Retired),
}

/// What the loop is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The snapshot is on the disk, under its name.
    Written,
    /// There was no room for it.
    NoSpace,
    /// This is damaged, and waits for its repair.
    Damaged(Damage),
}

impl BackgroundThread {
    /// Starts the thread on the directory at `path`. It wakes the loop with each report.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start(
        path: PathBuf,
        disk_use: Arc<DiskUse>,
        scrubber: Scrubber,
        waker: Arc<Waker>,
    ) -> io::Result<Self> {
        let kept_waker = Arc::clone(&waker);
        let (work, orders) = channel();
        let (results, reports) = channel();
        let background = Background { path, disk_use, orders, scrubber, results, waker };
        thread::Builder::new().name("background".into()).spawn(move || background.run())?;
        Ok(Self { work, reports, _waker: kept_waker })
    }

    /// Writes the snapshot. What came of it is told by [`Self::take_report`].
    pub fn write(&self, snapshot: Snapshot) {
        // Should the thread be gone, then `take_report` tells.
        self.work.send(Work::Write(snapshot)).ok();
    }

    /// Frees what nobody needs any more.
    pub fn free(&self, retired: Retired) {
        self.work.send(Work::Free(retired)).ok();
    }

    /// The next report, if there is one by now.
    ///
    /// # Errors
    /// A snapshot met the disk's error; the node must not go on.
    pub fn take_report(&self) -> Result<Option<Report>, RunError> {
        let cause = match self.reports.try_recv() {
            Ok(Ok(report)) => return Ok(Some(report)),
            Ok(Err(error)) => error.to_string(),
            Err(TryRecvError::Empty) => return Ok(None),
            Err(TryRecvError::Disconnected) => "its thread ended".into(),
        };
        Err(RunError::disk(format!(
            "a snapshot could not be written: {cause}; the disk is not to be trusted, so the node \
             stops: see to the disk, then start it again"
        )))
    }
}

struct Background {
    path: PathBuf,
    disk_use: Arc<DiskUse>,
    orders: Receiver<Work>,
    scrubber: Scrubber,
    results: Sender<Result<Report, DiskError>>,
    waker: Arc<Waker>,
}

impl Background {
    fn run(mut self) {
        loop {
            // A file system that does not tell is not bounded but by the flag.
            self.disk_use.measure(&self.path).ok();
            if let Some(damage) = self.scrubber.turn()
                && !self.report(Ok(Report::Damaged(damage)))
            {
                return;
            }
            match self.orders.recv_timeout(self.scrubber.pause()) {
                Ok(Work::Free(retired)) => drop(retired),
                Ok(Work::Write(snapshot)) => {
                    let written = self.write(&snapshot);
                    if !self.report(written) {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Tells the loop. Returns whether to go on.
    fn report(&self, report: Result<Report, DiskError>) -> bool {
        let failed = report.is_err();
        let told = self.results.send(report).is_ok() && self.waker.wake().is_ok();
        told && !failed
    }

    /// docs/guarantees.md: "An error from write or fdatasync ends the process".
    fn write(&mut self, snapshot: &Snapshot) -> Result<Report, DiskError> {
        let mut files = FileDirectory::within(&self.path, Arc::clone(&self.disk_use));
        match write_snapshot(&mut files, snapshot) {
            Ok(()) => {
                self.scrubber.snapshot_written(snapshot.index());
                Ok(Report::Written)
            }
            Err(DiskError::NoSpace) => {
                log::warn!("there is no room on the disk for a snapshot; it waits");
                thread::sleep(NO_SPACE_PAUSE);
                Ok(Report::NoSpace)
            }
            Err(error) => Err(error),
        }
    }
}
