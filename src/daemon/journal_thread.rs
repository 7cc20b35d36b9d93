//! The thread that writes the journal beside the loop: a stalled disk must not stall the
//! timers.

use std::fs::File;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use mio::Waker;

use super::error::RunError;
use super::scrubber::{ScrubLedger, tell_damaged};
use crate::disk::{Damage, Directory, DiskError, Journal, Record};
use crate::replica::Batch;
use crate::types::LogIndex;

/// How long the thread waits, when the disk is full, before it tries again.
const NO_SPACE_PAUSE: Duration = Duration::from_secs(1);

/// The thread that owns the journal, as the loop sees it.
#[derive(Debug)]
pub struct JournalThread {
    work: Sender<Work>,
    written: Receiver<Result<Batch, DiskError>>,
    is_busy: bool,
    /// Kept here too: a waker that is dropped takes back the event it has raised, and
    /// a failed thread's last one must be heard.
    _waker: Arc<Waker>,
}

/// What is to be done.
enum Work {
    Write(Batch),
    Cut(LogIndex),
    Mend(Damage),
}

impl JournalThread {
    /// Starts the thread, which wakes the loop after each batch. Only the process's end releases
    /// `lock`: nobody waits for the threads that may still write.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start(
        directory: Box<dyn Directory + Send>,
        journal: Journal,
        lock: File,
        ledger: Arc<ScrubLedger>,
        waker: Arc<Waker>,
    ) -> io::Result<Self> {
        let kept_waker = Arc::clone(&waker);
        let (work, orders) = channel();
        let (results, written) = channel();
        let no_space_pause = NO_SPACE_PAUSE;
        let writer = JournalWriter { directory, journal, orders, ledger, no_space_pause };
        let run = move || writer.run(&results, &waker);
        thread::Builder::new().name("journal".into()).spawn(run)?;
        mem::forget(lock);
        Ok(Self { work, written, is_busy: false, _waker: kept_waker })
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
        self.work.send(Work::Write(batch)).ok();
    }

    /// Gives up what of the journal a durable snapshot covers up to the index, once what was
    /// submitted before is written.
    pub fn cut(&self, upto: LogIndex) {
        self.work.send(Work::Cut(upto)).ok();
    }

    /// Writes the file `meta` anew if it is damaged, and does not use damaged segments again.
    pub fn mend(&self, damage: Damage) {
        self.work.send(Work::Mend(damage)).ok();
    }

    /// The batch that has become durable, if there is one. To be asked whenever the thread has
    /// woken the loop, also when no batch is on its way: a cut or a mend may have failed.
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

/// The thread's own side.
struct JournalWriter {
    directory: Box<dyn Directory + Send>,
    journal: Journal,
    orders: Receiver<Work>,
    ledger: Arc<ScrubLedger>,
    no_space_pause: Duration,
}

impl JournalWriter {
    /// docs/guarantees.md: "An error from write or fdatasync ends the process", so nothing
    /// is written after one.
    fn run(mut self, results: &Sender<Result<Batch, DiskError>>, waker: &Waker) {
        self.tell_sealed();
        while let Ok(work) = self.orders.recv() {
            let result = match work {
                Work::Cut(upto) => self.cut(upto).map(|()| None),
                Work::Mend(damage) => self.mend(&damage).map(|()| None),
                Work::Write(batch) => self.make_durable(batch.records()).map(|()| Some(batch)),
            };
            self.tell_sealed();
            let failed = result.is_err();
            let told = match result.transpose() {
                None => true,
                Some(result) => results.send(result).is_ok() && waker.wake().is_ok(),
            };
            if failed || !told {
                return;
            }
        }
    }

    fn tell_sealed(&self) {
        self.ledger.set_sealed(self.journal.sealed());
    }

    fn mend(&mut self, damage: &Damage) -> Result<(), DiskError> {
        self.journal.distrust(&damage.segments);
        if damage.meta {
            let flaws = self.journal.mend_meta(&mut *self.directory)?;
            tell_damaged(&flaws);
            self.ledger.count(flaws.len(), flaws.len());
        }
        Ok(())
    }

    /// Whoever reads the files again learns first what is given up: what then happens to
    /// such a file is no damage.
    fn cut(&mut self, upto: LogIndex) -> Result<(), DiskError> {
        self.ledger.set_sealed(self.journal.sealed_after(upto));
        self.journal.cut(&mut *self.directory, upto)
    }

    /// While the disk has no room for the next segment nothing of the batch is promised: the
    /// node is one whose disk has stalled, and goes on by itself when there is room.
    fn make_durable(&mut self, records: &[Record]) -> Result<(), DiskError> {
        while let Err(error) = self.journal.write(&mut *self.directory, records) {
            if error != DiskError::NoSpace {
                return Err(error);
            }
            log::warn!("the disk is full: what is written waits until there is room again");
            self.wait_for_room()?;
        }
        self.journal.sync(&mut *self.directory)
    }

    /// A snapshot may make room meanwhile. No second batch comes before the first is done.
    fn wait_for_room(&mut self) -> Result<(), DiskError> {
        match self.orders.recv_timeout(self.no_space_pause) {
            Ok(Work::Cut(upto)) => self.cut(upto),
            Ok(Work::Mend(damage)) => self.mend(&damage),
            Ok(Work::Write(_)) => Err(DiskError::Failed("two batches at a time".into())),
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(DiskError::NoSpace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::file_directory::FileDirectory;
    use crate::disk::{Identity, Recovered, SegmentSize, create, examine};
    use crate::replica::{ListedNode, NodeConfig, Randomness, ReplicaNode};
    use crate::time::Instant;
    use crate::types::{DirectoryId, ServerId, Term};
    use bytes::Bytes;
    use mio::{Events, Poll, Token};
    use rustix::fs::{FlockOperation, flock};
    use rustix::io::Errno;
    use std::path::Path;

    const NON_BLOCKING: FlockOperation = FlockOperation::NonBlockingLockExclusive;

    /// A cluster of one, which gives itself all the work that there is.
    struct Fixture {
        node: ReplicaNode,
        thread: JournalThread,
        poll: Poll,
    }

    /// Files to which nothing can be written once there have been so many writes, and for
    /// which there is no room so many times.
    struct Failing {
        files: FileDirectory,
        writes_left: usize,
        no_space_left: usize,
    }

    impl Directory for Failing {
        fn names(&self) -> Result<Vec<String>, DiskError> {
            self.files.names()
        }

        fn read(&self, name: &str) -> Result<Bytes, DiskError> {
            self.files.read(name)
        }

        fn reread(&self, name: &str, offset: u64, most: usize) -> Result<Bytes, DiskError> {
            self.files.reread(name, offset, most)
        }

        fn create(&mut self, name: &str, length: u64) -> Result<(), DiskError> {
            let Some(left) = self.no_space_left.checked_sub(1) else {
                return self.files.create(name, length);
            };
            self.no_space_left = left;
            Err(DiskError::NoSpace)
        }

        fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
            let left = self.writes_left.checked_sub(1);
            self.writes_left = left.ok_or_else(|| DiskError::Failed("bad disk".into()))?;
            self.files.write_at(name, offset, bytes)
        }

        fn sync(&mut self, name: &str) -> Result<(), DiskError> {
            self.files.sync(name)
        }

        fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
            self.files.rename(from, to)
        }

        fn remove(&mut self, name: &str) -> Result<(), DiskError> {
            self.files.remove(name)
        }

        fn sync_names(&mut self) -> Result<(), DiskError> {
            self.files.sync_names()
        }
    }

    fn started(path: &Path) -> (FileDirectory, Journal, Recovered) {
        let mut files = FileDirectory::at(path);
        let identity = Identity { cluster: "c".into(), id: ServerId(1), directory: DirectoryId(5) };
        let size = SegmentSize::new(SegmentSize::BYTES_MIN.into()).unwrap();
        create(&mut files, identity, size).unwrap();
        let (journal, recovered) = examine(&files).unwrap().start(&mut files).unwrap();
        (files, journal, recovered)
    }

    fn fixture(path: &Path, writes_left: usize) -> Fixture {
        let (files, journal, recovered) = started(path);
        let files = Failing { files, writes_left, no_space_left: 0 };
        let listed = ListedNode { address: ([127, 0, 0, 1], 9717).into(), typed: String::new() };
        let config = NodeConfig::new([(ServerId(1), listed)].into());
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let lock = File::open(path).unwrap();
        flock(&lock, NON_BLOCKING).unwrap();
        let ledger = Arc::default();
        let thread = JournalThread::start(Box::new(files), journal, lock, ledger, waker).unwrap();
        Fixture {
            node: ReplicaNode::new(&config, recovered, Instant(0), &Randomness::Seed(1)),
            thread,
            poll,
        }
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
    fn what_comes_back_is_in_the_files() {
        let directory = tempfile::tempdir().unwrap();
        let mut fixture = fixture(directory.path(), usize::MAX);
        fixture.lead().unwrap();
        let recovered = examine(&FileDirectory::at(directory.path())).unwrap().recovered;
        assert_eq!((recovered.term, recovered.voted_for), (Term(1), Some(ServerId(1))));
        assert_eq!(recovered.entries.len(), 2, "the configuration, and the start of the term");
    }

    #[test]
    fn a_failed_write_ends_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut fixture = fixture(directory.path(), 4);
        let error = fixture.lead().unwrap_err();
        assert_eq!(error.exit_code(), 5);
        assert!(error.to_string().contains("bad disk"), "{error}");
    }

    /// docs/guarantees.md: "An error from write or fdatasync ends the process": until it has
    /// ended, nobody else may take the directory.
    #[test]
    fn the_lock_is_kept_when_a_write_has_failed() {
        let directory = tempfile::tempdir().unwrap();
        let mut fixture = fixture(directory.path(), 4);
        let try_lock = || flock(File::open(directory.path()).unwrap(), NON_BLOCKING);
        fixture.lead().unwrap_err();
        // The thread ends when it has said so.
        thread::sleep(Duration::from_millis(100));
        assert_eq!(try_lock(), Err(Errno::WOULDBLOCK), "while the loop goes on");
        drop(fixture);
        assert_eq!(try_lock(), Err(Errno::WOULDBLOCK), "while other threads may write");
    }

    #[test]
    fn a_full_disk_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let (files, journal, _) = started(directory.path());
        let files = Failing { files, writes_left: usize::MAX, no_space_left: 2 };
        // More than one segment holds.
        let records: Vec<Record> = (0..8_000).map(|at| Record::Commit(LogIndex(at))).collect();
        let (work, orders) = channel();
        // The first pause ends with a cut that was waiting, the second by itself.
        work.send(Work::Cut(LogIndex(0))).unwrap();
        let mut writer = JournalWriter {
            directory: Box::new(files),
            journal,
            orders,
            ledger: Arc::default(),
            no_space_pause: Duration::from_millis(1),
        };
        writer.make_durable(&records).unwrap();
        let found = examine(&*writer.directory).unwrap();
        assert!(found.segments.len() > 1 && found.flaws.is_empty(), "{:?}", found.segments);
    }
}
