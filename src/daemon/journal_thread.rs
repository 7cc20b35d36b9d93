//! The thread that writes the journal beside the loop: a stalled disk must not stall the
//! timers.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;

use mio::Waker;

use super::error::RunError;
use super::journal_file::JournalFile;
use crate::replica::Batch;

/// The thread that owns the journal, as the loop sees it.
#[derive(Debug)]
pub struct JournalThread {
    to_write: Sender<Batch>,
    written: Receiver<io::Result<Batch>>,
    is_busy: bool,
}

impl JournalThread {
    /// Starts the thread. It keeps `lock` for as long as it may write, and wakes the loop
    /// after each batch.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start(journal: JournalFile, lock: File, waker: Arc<Waker>) -> io::Result<Self> {
        let (to_write, batches) = channel();
        let (results, written) = channel();
        thread::Builder::new().name("journal".into()).spawn(move || {
            let _lock = lock;
            write_batches(journal, &batches, &results, &waker);
        })?;
        Ok(Self { to_write, written, is_busy: false })
    }

    /// Whether a batch is on its way. Only one at a time may be: what gathers meanwhile
    /// makes the next one bigger.
    pub fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Sends the batch to the disk.
    pub fn submit(&mut self, batch: Batch) {
        // Should the thread be gone, then `take_synced` tells.
        self.is_busy = true;
        self.to_write.send(batch).ok();
    }

    /// The batch that has become durable, if there is one.
    ///
    /// # Errors
    /// The disk's; the node must not go on.
    pub fn take_synced(&mut self) -> Result<Option<Batch>, RunError> {
        let cause = match self.written.try_recv() {
            Ok(Ok(batch)) => {
                self.is_busy = false;
                return Ok(Some(batch));
            }
            Ok(Err(error)) => error.to_string(),
            Err(TryRecvError::Empty) => return Ok(None),
            Err(TryRecvError::Disconnected) => "its thread ended".into(),
        };
        Err(RunError::disk(format!(
            "the journal could not be written: {cause}; nobody knows now what is on the disk, so the \
             node stops: see to the disk, then start it again"
        )))
    }
}

fn write_batches(
    mut journal: JournalFile,
    batches: &Receiver<Batch>,
    results: &Sender<io::Result<Batch>>,
    waker: &Waker,
) {
    for batch in batches {
        let result = journal.append(batch.records()).map(|()| batch);
        let failed = result.is_err();
        let told = results.send(result).is_ok() && waker.wake().is_ok();
        if failed || !told {
            return;
        }
    }
}
