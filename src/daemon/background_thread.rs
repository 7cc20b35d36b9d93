//! The thread for what takes long and is waited for by nobody: it writes snapshots, frees
//! states that are no longer needed, and measures the room on the disk.

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
use crate::disk::{DiskError, write_snapshot};
use crate::replica::Retired;
use crate::store::Snapshot;

/// How often the room is measured; and how long a snapshot that found none waits.
const INTERVAL: Duration = Duration::from_secs(1);

/// The thread, as the loop sees it.
#[derive(Debug)]
pub struct BackgroundThread {
    work: Sender<Work>,
    written: Receiver<Result<Written, DiskError>>,
    /// Kept here too: a waker that is dropped takes back the event it has raised.
    _waker: Arc<Waker>,
}

/// What is to be done.
enum Work {
    Write(Snapshot),
    Free(Retired),
}

/// What came of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is on the disk, under its name.
    Durable,
    /// There was no room for it.
    NoSpace,
}

impl BackgroundThread {
    /// Starts the thread on the directory at `path`. It wakes the loop after each snapshot.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start(path: PathBuf, disk_use: Arc<DiskUse>, waker: Arc<Waker>) -> io::Result<Self> {
        let kept_waker = Arc::clone(&waker);
        let (work, orders) = channel();
        let (results, written) = channel();
        let background = Background { path, disk_use, orders, results, waker };
        thread::Builder::new().name("background".into()).spawn(move || background.run())?;
        Ok(Self { work, written, _waker: kept_waker })
    }

    /// Writes the snapshot. What came of it is told by [`Self::take_written`].
    pub fn write(&self, snapshot: Snapshot) {
        // Should the thread be gone, then `take_written` tells.
        self.work.send(Work::Write(snapshot)).ok();
    }

    /// Frees what nobody needs any more.
    pub fn free(&self, retired: Retired) {
        self.work.send(Work::Free(retired)).ok();
    }

    /// What came of the last snapshot, if it is known by now.
    ///
    /// # Errors
    /// The disk's; the node must not go on.
    pub fn take_written(&self) -> Result<Option<Written>, RunError> {
        let cause = match self.written.try_recv() {
            Ok(Ok(written)) => return Ok(Some(written)),
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
    results: Sender<Result<Written, DiskError>>,
    waker: Arc<Waker>,
}

impl Background {
    fn run(self) {
        loop {
            // A file system that does not tell is not bounded but by the flag.
            self.disk_use.measure(&self.path).ok();
            match self.orders.recv_timeout(INTERVAL) {
                Ok(Work::Free(retired)) => drop(retired),
                Ok(Work::Write(snapshot)) => {
                    let written = self.write(&snapshot);
                    let failed = written.is_err();
                    let told = self.results.send(written).is_ok() && self.waker.wake().is_ok();
                    if failed || !told {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// docs/guarantees.md: "An error from write or fdatasync ends the process".
    fn write(&self, snapshot: &Snapshot) -> Result<Written, DiskError> {
        let mut files = FileDirectory::within(&self.path, Arc::clone(&self.disk_use));
        match write_snapshot(&mut files, snapshot) {
            Ok(()) => Ok(Written::Durable),
            Err(DiskError::NoSpace) => {
                log::warn!("there is no room on the disk for a snapshot; it waits");
                thread::sleep(INTERVAL);
                Ok(Written::NoSpace)
            }
            Err(error) => Err(error),
        }
    }
}
