//! One life of a node on a simulated disk, which a check drives as the daemon's loop does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::OnceLock;

use bytes::Bytes;
use quorate::configuration::Configuration;
use quorate::disk::{self, Doubt, Identity, Journal, Record, Recovered, SegmentSize};
use quorate::replica::{Batch, ListedNode, NodeConfig, Randomness, ReplicaNode};
use quorate::sim::SimDirectory;
use quorate::store::Snapshot;
use quorate::time::Instant;
use quorate::types::{DirectoryId, GenesisId, LogIndex, ServerId, Term};

/// The most nodes of a cluster here.
pub const SIZE_MAX: usize = 5;
pub const CLUSTER: &str = "fuzzed";
/// So few that snapshots are due and entries are forgotten within a short input.
const SNAPSHOT_BYTES: u64 = 2_000;

/// A node that runs, and what its disk is busy with.
pub struct Life {
    pub node: ReplicaNode,
    directory: SimDirectory,
    journal: Journal,
    writing: Option<Batch>,
    writing_snapshot: Option<Snapshot>,
}

impl Life {
    /// Starts a node on a directory that only power was lost of: nothing may be missing.
    pub fn start(size: usize, directory: SimDirectory, now: Instant, seed: u64) -> Self {
        let (life, recovered) = Self::start_in_doubt(size, directory, now, seed);
        assert_eq!(recovered.doubt, None, "a loss of power takes nothing that was synced");
        life
    }

    /// The same, on a directory that was damaged once.
    pub fn start_in_doubt(
        size: usize,
        mut directory: SimDirectory,
        now: Instant,
        seed: u64,
    ) -> (Self, Recovered) {
        let found = disk::examine(&directory).expect("its identity can be read");
        assert!(found.flaws.is_empty(), "a loss of power is no damage: {:?}", found.flaws);
        let (journal, recovered) = found.start(&mut directory).expect("a disk that works");
        let node = ReplicaNode::new(&config(size), recovered.clone(), now, &Randomness::Seed(seed));
        let (writing, writing_snapshot) = (None, None);
        (Self { node, directory, journal, writing, writing_snapshot }, recovered)
    }

    /// Ends a turn. Returns the frames that the node sends.
    pub fn end_turn(&mut self, now: Instant) -> Vec<(SocketAddr, Bytes)> {
        self.node.end_turn(now);
        while self.node.take_retired().is_some() {}
        let (mut sent, mut bytes) = (Vec::new(), Vec::new());
        while let Some(to) = self.node.poll_send(&mut bytes) {
            sent.push((to, Bytes::copy_from_slice(&bytes)));
        }
        sent
    }

    /// Gives the disk its next batch, unless it is busy.
    pub fn write(&mut self) {
        if self.writing.is_some() {
            return;
        }
        self.writing = self.node.take_batch();
        if let Some(batch) = &self.writing {
            let written = self.journal.write(&mut self.directory, batch.records());
            written.expect("a disk that works");
        }
    }

    /// The disk is done with its batch, if it has one.
    pub fn sync(&mut self, now: Instant) -> bool {
        let Some(batch) = self.writing.take() else { return false };
        self.journal.sync(&mut self.directory).expect("a disk that works");
        self.node.on_synced(now, batch);
        true
    }

    /// Takes the snapshot that is due, or is done with the one it took before.
    pub fn keep_snapshot(&mut self, now: Instant) {
        let Some(snapshot) = self.writing_snapshot.take() else {
            self.writing_snapshot = self.node.take_snapshot();
            return;
        };
        disk::write_snapshot(&mut self.directory, &snapshot).expect("a disk that works");
        let covered = self.node.on_snapshot_written(now);
        if self.writing.is_none() && !covered.installed {
            self.journal.cut(&mut self.directory, covered.upto).expect("a disk that works");
        }
    }

    /// The power fails. Returns the directory, with any part of what was not synced.
    pub fn lose_power(self, seed: u64) -> SimDirectory {
        let mut directory = self.directory;
        directory.lose_power(&mut fastrand::Rng::with_seed(seed));
        directory
    }
}

/// A blank directory.
pub fn blank(id: ServerId) -> SimDirectory {
    static MADE: OnceLock<Vec<SimDirectory>> = OnceLock::new();
    let made = MADE.get_or_init(|| ids(SIZE_MAX).map(make_blank).collect());
    made[usize::from(id.0) - 1].clone()
}

/// A directory of a cluster that was just born with one node, with three, or with five.
pub fn born(id: ServerId, size: usize) -> SimDirectory {
    static OF_ONE: OnceLock<Vec<SimDirectory>> = OnceLock::new();
    static OF_THREE: OnceLock<Vec<SimDirectory>> = OnceLock::new();
    static OF_FIVE: OnceLock<Vec<SimDirectory>> = OnceLock::new();
    let made = match size {
        1 => &OF_ONE,
        SIZE_MAX => &OF_FIVE,
        _ => &OF_THREE,
    };
    let made = made.get_or_init(|| ids(size).map(|id| make_born(id, size)).collect());
    made[usize::from(id.0) - 1].clone()
}

/// That of a node of three which may have acknowledged entries up to index 9 that it lacks.
pub fn in_doubt(id: ServerId) -> SimDirectory {
    static MADE: OnceLock<SimDirectory> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let upto = Some((Term(3), LogIndex(9)));
        let term = Record::HardState { term: Term(3), voted_for: None };
        record(make_born(id, 3), &[term, Record::Doubt(Some(Doubt { upto }))])
    });
    made.clone()
}

fn make_blank(id: ServerId) -> SimDirectory {
    let identity = Identity { cluster: CLUSTER.into(), id, directory: directory_of(id) };
    let mut directory = SimDirectory::new();
    let size = SegmentSize::new(SegmentSize::BYTES_MIN.into()).expect("within the limits");
    disk::create(&mut directory, identity, size).expect("room for a directory");
    directory
}

fn make_born(id: ServerId, size: usize) -> SimDirectory {
    let genesis = configuration(size);
    let accepted = record(make_blank(id), &[Record::GenesisAccepted(genesis.clone())]);
    record(accepted, &[Record::GenesisComplete(genesis)])
}

fn record(mut directory: SimDirectory, records: &[Record]) -> SimDirectory {
    let found = disk::examine(&directory).expect("its identity can be read");
    let (mut journal, _) = found.start(&mut directory).expect("a disk that works");
    journal.write(&mut directory, records).expect("a disk that works");
    journal.sync(&mut directory).expect("a disk that works");
    directory
}

pub fn configuration(size: usize) -> Configuration {
    let members: BTreeMap<_, _> = ids(size).map(|id| (id, directory_of(id))).collect();
    let genesis = Configuration::at_genesis(GenesisId(42), members);
    Configuration { snapshot_bytes: SNAPSHOT_BYTES, ..genesis }
}

fn config(size: usize) -> NodeConfig {
    let listed = |id| (id, ListedNode { address: address_of(id), typed: String::new() });
    let nodes = ids(size).map(listed).collect();
    NodeConfig {
        kept_entries: 4,
        snapshot_bytes: SNAPSHOT_BYTES,
        // These lives are short.
        listening_rounds: 0,
        ..NodeConfig::new(nodes)
    }
}

pub fn ids(size: usize) -> impl Iterator<Item = ServerId> {
    (1_u16..).take(size).map(ServerId)
}

pub fn address_of(id: ServerId) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], id.0))
}

pub fn directory_of(id: ServerId) -> DirectoryId {
    DirectoryId(100 + u64::from(id.0))
}
