//! A node's life, as its directory sees it, and what it must not forget.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::configuration::Configuration;
use quorate::disk::{
    self, Directory, GenesisState, Identity, Journal, Record, Recovered, SegmentSize,
};
use quorate::entry::{Entry, EntryKind};
use quorate::operation::{Command, LoggedRequest, Operation};
use quorate::sim::SimDirectory;
use quorate::store::{Snapshot, Store};
use quorate::types::{
    Digest, DirectoryId, GenesisId, LogIndex, LogTime, Sequence, ServerId, SessionId, Term,
};

/// One step of a life.
#[derive(Clone, Debug)]
pub enum Step {
    /// Records that are made durable together.
    Batch(Vec<Record>),
    /// The state at this index is kept as a snapshot, and segments below it are given up.
    Compact(LogIndex),
}

/// What a directory must hold.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    pub genesis: GenesisState,
    pub term: Term,
    pub voted_for: Option<ServerId>,
    pub commit: LogIndex,
    /// From index 1, snapshot or not.
    pub log: Vec<Entry>,
    /// The index of the snapshot, or zero.
    pub snapshot: LogIndex,
    /// The checksum of its state.
    pub snapshot_sum: u64,
}

impl Expected {
    /// What the record makes of it: a naive twin of the journal.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::GenesisAccepted(genesis) => {
                self.genesis = GenesisState::Accepted(genesis.clone());
            }
            Record::GenesisComplete(genesis) => {
                self.genesis = GenesisState::Complete(genesis.clone());
                self.log = vec![Entry::genesis(genesis)];
                self.commit = LogIndex(1);
            }
            Record::HardState { term, voted_for } => {
                (self.term, self.voted_for) = (*term, *voted_for);
            }
            Record::Append(entry) => {
                let before = usize::try_from(entry.index.0 - 1).expect("a short log");
                self.log.truncate(before);
                self.log.push(entry.clone());
            }
            Record::Commit(index) => self.commit = self.commit.max(*index),
            Record::Doubt(_) | Record::Restart { .. } | Record::Sighted(..) | Record::Reborn(_) => {
            }
        }
    }

    pub fn last(&self) -> &Entry {
        self.log.last().expect("the log has begun")
    }

    /// Whether the recovered snapshot, if there is one, is what was kept.
    pub fn has_snapshot_of(&self, recovered: &Recovered) -> bool {
        let is_kept = |snapshot: &Snapshot| {
            snapshot.index() != self.snapshot || snapshot.state().checksum() == self.snapshot_sum
        };
        recovered.snapshot.as_ref().is_none_or(is_kept)
    }

    /// Whether this is what was recovered.
    pub fn is_in(&self, recovered: &Recovered) -> bool {
        let first = usize::try_from(recovered.snapshot.as_ref().map_or(0, |at| at.index().0));
        let behind = self.log.get(first.expect("a short log")..).unwrap_or_default();
        let promises = (&recovered.genesis, recovered.term, recovered.voted_for);
        promises == (&self.genesis, self.term, self.voted_for)
            && self.has_snapshot_of(recovered)
            && recovered.entries == behind
            && recovered.commit == self.commit
    }
}

/// Makes the steps of a life, and knows what they come to.
#[derive(Debug)]
pub struct Author {
    pub expected: Expected,
    pub steps: Vec<Step>,
    random: fastrand::Rng,
}

pub fn configuration() -> Configuration {
    let members = BTreeMap::from([(ServerId(3), DirectoryId(0xfeed))]);
    Configuration::at_genesis(GenesisId(9), members)
}

pub fn identity() -> Identity {
    Identity { cluster: "sämple".into(), id: ServerId(3), directory: DirectoryId(0xfeed) }
}

pub fn segment_size() -> SegmentSize {
    SegmentSize::new(SegmentSize::BYTES_MIN.into()).expect("within the limits")
}

/// A blank directory of a node.
pub fn blank() -> SimDirectory {
    let mut directory = SimDirectory::new();
    disk::create(&mut directory, identity(), segment_size()).expect("room for a directory");
    directory
}

/// Starts the directory.
pub fn start(directory: &mut dyn Directory) -> (Journal, Recovered) {
    let found = disk::examine(directory).expect("its identity can be read");
    found.start(directory).expect("a disk that works")
}

/// A life that goes over several segments, some of which it uses again.
pub fn long_life() -> Author {
    let mut author = Author::born(1);
    for round in 0..9 {
        author.vote(1);
        author.entries(20, 900);
        author.entries(1, 10);
        author.overwrite(3, 5);
        author.commit_and_vote();
        if round % 3 == 2 {
            author.compact();
        }
    }
    // One batch that no segment can hold.
    author.entries(150, 950);
    author.entries(30, 1_024);
    author.commit_and_vote();
    author.entries(2, 0);
    author.entries(4, 300);
    author
}

impl Author {
    /// A node that is just born.
    pub fn born(seed: u64) -> Self {
        let mut author = Self {
            expected: Expected::default(),
            steps: Vec::new(),
            random: fastrand::Rng::with_seed(seed),
        };
        author.batch(vec![Record::GenesisAccepted(configuration())]);
        author.batch(vec![Record::GenesisComplete(configuration())]);
        author
    }

    pub fn batch(&mut self, records: Vec<Record>) {
        for record in &records {
            self.expected.apply(record);
        }
        self.steps.push(Step::Batch(records));
    }

    /// Raises the term and votes in it.
    pub fn vote(&mut self, by: u64) {
        self.batch(vec![self.next_vote(by)]);
    }

    fn next_vote(&self, by: u64) -> Record {
        let term = Term(self.expected.term.0 + by);
        Record::HardState { term, voted_for: Some(ServerId(2)) }
    }

    /// Appends so many entries of this length.
    pub fn entries(&mut self, count: usize, bytes: usize) {
        let mut log = vec![self.expected.last().clone()];
        for at in 0..count {
            let payload = std::iter::repeat_with(|| self.random.u8(..)).take(bytes).collect();
            log.push(chained(&log[at], self.expected.term, payload));
        }
        self.batch(log.into_iter().skip(1).map(Record::Append).collect());
    }

    /// Appends an entry with this configuration.
    pub fn configuration(&mut self, configuration: &Configuration) {
        let (before, term) = (self.expected.last(), self.expected.term);
        let (index, time, kind) = (before.index.next(), LogTime(7), EntryKind::Configuration);
        let payload = configuration.encode();
        let entry = Entry::chained(before.chain, index, term, time, kind, payload);
        self.batch(vec![Record::Append(entry)]);
    }

    /// A leader of a higher term replaces the last entries, and adds to them.
    pub fn overwrite(&mut self, replaced: usize, count: usize) {
        let mut expected = self.expected.clone();
        let mut records = Vec::new();
        if replaced > 0 {
            records.push(self.next_vote(1));
            expected.apply(&records[0]);
            expected.log.truncate(expected.log.len() - replaced);
        }
        for at in 0..count {
            let entry = chained(expected.last(), expected.term, vec![7; at * 40]);
            expected.log.push(entry.clone());
            records.push(Record::Append(entry));
        }
        self.batch(records);
    }

    pub fn commit_and_vote(&mut self) {
        let commit = Record::Commit(self.expected.last().index);
        self.batch(vec![commit, self.next_vote(1)]);
    }

    pub fn compact(&mut self) {
        self.expected.snapshot = self.expected.commit;
        self.steps.push(Step::Compact(self.expected.commit));
    }
}

fn chained(before: &Entry, term: Term, payload: Vec<u8>) -> Entry {
    let (index, time, kind) = (before.index.next(), LogTime(7), EntryKind::Part);
    Entry::chained(before.chain, index, term, time, kind, Bytes::from(payload))
}

/// The snapshot at this index of the log, in which each entry has put what it carries.
pub fn snapshot_at(index: LogIndex, log: &[Entry]) -> Snapshot {
    let mut store = Store::at_genesis(configuration());
    let covered = log.iter().filter(|entry| entry.index <= index);
    for entry in covered.skip(1) {
        store.execute(entry, Some(&put(entry)));
    }
    store.commit_to(index);
    let last = log.iter().find(|entry| entry.index == index).expect("the log has the index");
    Snapshot::new(store.committed().clone(), last.term, last.chain)
}

fn put(entry: &Entry) -> LoggedRequest {
    let key = Bytes::from(format!("key-{}", entry.index));
    LoggedRequest {
        session: SessionId { minted_at: entry.index.previous(), random: 7 },
        sequence: Sequence(1),
        floor: Sequence(0),
        not_after: LogTime(0),
        one_shot: true,
        digest: Digest(0),
        command: Command::Execute(Operation::Put { key, value: entry.payload.clone() }),
    }
}

/// Takes one step; `log` is what the log is before it.
pub fn take(step: &Step, log: &[Entry], journal: &mut Journal, directory: &mut dyn Directory) {
    match step {
        Step::Batch(records) => {
            journal.write(directory, records).expect("a disk that works");
            journal.sync(directory).expect("a disk that works");
        }
        Step::Compact(index) => {
            let snapshot = snapshot_at(*index, log);
            disk::write_snapshot(directory, &snapshot).expect("a disk that works");
            journal.cut(directory, *index).expect("a disk that works");
        }
    }
}

/// The directory at the end of a life, and what it must hold.
pub fn lived(author: &Author) -> (SimDirectory, Expected) {
    let mut directory = blank();
    let (mut journal, _) = start(&mut directory);
    let mut expected = Expected::default();
    for step in &author.steps {
        take(step, &expected.log, &mut journal, &mut directory);
        match step {
            Step::Batch(records) => records.iter().for_each(|record| expected.apply(record)),
            Step::Compact(index) => {
                expected.snapshot = *index;
                expected.snapshot_sum = snapshot_at(*index, &expected.log).state().checksum();
            }
        }
    }
    (directory, expected)
}
