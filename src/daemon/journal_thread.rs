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
    /// Kept here too: a waker that is dropped takes back the event it has raised, and
    /// a failed thread's last one must be heard.
    _waker: Arc<Waker>,
}

impl JournalThread {
    /// Starts the thread. It keeps `lock` for as long as it may write, and wakes the loop
    /// after each batch.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start(journal: JournalFile, lock: File, waker: Arc<Waker>) -> io::Result<Self> {
        let kept_waker = Arc::clone(&waker);
        let (to_write, batches) = channel();
        let (results, written) = channel();
        thread::Builder::new().name("journal".into()).spawn(move || {
            let _lock = lock;
            write_batches(journal, &batches, &results, &waker);
        })?;
        Ok(Self { to_write, written, is_busy: false, _waker: kept_waker })
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
            "the journal could not be written: {cause}; nobody knows now what is on the disk, so \
             the node stops: see to the disk, then start it again"
        )))
    }
}

/// docs/guarantees.md: "An error from write or fdatasync ends the process", so nothing is
/// written after one.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::journal_file::FoundJournal;
    use crate::journal::Identity;
    use crate::replica::{ListedNode, NodeConfig, ReplicaNode};
    use crate::time::Instant;
    use crate::types::{DirectoryId, ServerId, Term};
    use mio::{Events, Poll, Token};
    use std::path::Path;
    use std::time::Duration;

    /// A cluster of one, which gives itself all the work that there is.
    struct Fixture {
        node: ReplicaNode,
        thread: JournalThread,
        poll: Poll,
    }

    fn fixture(directory: &Path, spoil: impl FnOnce(&mut JournalFile)) -> Fixture {
        let id = ServerId(1);
        let identity = Identity { cluster: "c".into(), id, directory: DirectoryId(5) };
        JournalFile::create(directory, &identity).unwrap();
        let (mut journal, recovered) = FoundJournal::read(directory).unwrap().start().unwrap();
        spoil(&mut journal);
        let listed = ListedNode { address: ([127, 0, 0, 1], 9717).into(), typed: String::new() };
        let config = NodeConfig {
            nodes: [(id, listed)].into(),
            election_timeout: Duration::from_millis(250),
            heartbeat_interval: Duration::from_millis(40),
            disk_stall: Duration::from_secs(1),
        };
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let lock = File::open(directory).unwrap();
        let thread = JournalThread::start(journal, lock, waker).unwrap();
        Fixture { node: ReplicaNode::new(&config, recovered, Instant(0), 1), thread, poll }
    }

    impl Fixture {
        /// Takes the node's timers as they come, until it leads or its disk fails.
        fn lead(&mut self) -> Result<(), RunError> {
            while self.node.waiting_for().is_some() {
                let now = self.node.next_deadline().unwrap_or_default();
                self.node.on_timeout(now);
                self.node.end_turn(now);
                while let Some(batch) = self.node.take_batch() {
                    let batch = self.write(batch)?;
                    self.node.on_synced(now, batch);
                    self.node.end_turn(now);
                }
            }
            Ok(())
        }

        fn write(&mut self, batch: Batch) -> Result<Batch, RunError> {
            let sequence = batch.sequence();
            assert!(!self.thread.is_busy() && self.thread.take_synced()?.is_none());
            self.thread.submit(batch);
            assert!(self.thread.is_busy());
            let mut events = Events::with_capacity(1);
            let woken = self.poll.poll(&mut events, Some(Duration::from_secs(5)));
            assert!(woken.is_ok() && !events.is_empty(), "the thread wakes the loop");
            let back = self.thread.take_synced()?;
            assert_eq!(back.as_ref().map(Batch::sequence), Some(sequence));
            back.ok_or_else(|| RunError::disk("no batch came back"))
        }
    }

    #[test]
    fn what_comes_back_is_in_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let mut fixture = fixture(directory.path(), |_| {});
        fixture.lead().unwrap();
        let found = FoundJournal::read(directory.path()).unwrap();
        let (_, recovered) = found.start().unwrap();
        assert_eq!((recovered.term, recovered.voted_for), (Term(1), Some(ServerId(1))));
        assert_eq!(recovered.entries.len(), 2, "the configuration, and the start of the term");
    }

    #[test]
    fn a_failed_write_ends_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut fixture = fixture(directory.path(), JournalFile::fill_disk);
        let error = fixture.lead().unwrap_err();
        assert_eq!(error.exit_code(), 5);
        assert!(error.to_string().contains("No space left"), "{error}");
    }
}
