//! A node's place in the cluster: its directory, and the node while it runs.

use std::net::SocketAddr;

use bytes::Bytes;
use quorate::configuration::Configuration;
use quorate::disk::{self, Identity, Journal, Record, SegmentSize};
use quorate::entry::{Entry, EntryKind};
use quorate::link::Pinned;
use quorate::replica::{
    Batch, ELECTION_TIMEOUT, HEARTBEAT_INTERVAL, Life, ListedNode, NodeConfig, Randomness,
    ReplicaNode,
};
use quorate::sim::SimDirectory;
use quorate::time::Instant;
use quorate::types::{
    ClusterHash, DirectoryId, GenesisId, Incarnation, LifeId, LogIndex, LogTime, LossShare,
    PacketNumber, ServerId, Term,
};
use quorate::wire::{self, GenesisHash, Header, Message, Sighted, Verdict};

pub const CLUSTER: &str = "scenario";
const GENESIS: GenesisId = GenesisId(42);

/// A directory, and the node on it while it runs.
pub struct Member {
    pub id: ServerId,
    directory: SimDirectory,
    running: Option<Running>,
    /// How often the directory was replaced by a blank one.
    wipes: u64,
    /// The disk does nothing until it is told to.
    pub is_slow: bool,
}

struct Running {
    node: ReplicaNode,
    journal: Journal,
    /// The batch that the disk is busy with.
    writing: Option<Batch>,
}

impl Member {
    pub fn blank(id: ServerId) -> Self {
        let directory = blank(id, 0);
        Self { id, directory, running: None, wipes: 0, is_slow: false }
    }

    /// A node of a cluster of so many, in whose log stand entries of these terms behind the
    /// genesis. `term` is the newest that it knows.
    pub fn with_log(id: ServerId, size: usize, terms: &[Term], term: Term) -> Self {
        let mut member = Self::blank(id);
        let genesis = configuration(size);
        let mut last = Entry::genesis(&genesis);
        let born = [Record::GenesisAccepted(genesis.clone()), Record::GenesisComplete(genesis)];
        let mut records = Vec::from(born);
        records.push(Record::HardState { term, voted_for: None });
        for &term in terms {
            let (index, time, kind) = (last.index.next(), LogTime(0), EntryKind::Noop);
            last = Entry::chained(last.chain, index, term, time, kind, Bytes::new());
            records.push(Record::Append(last.clone()));
        }
        member.record(&records);
        member
    }

    fn record(&mut self, records: &[Record]) {
        let found = disk::examine(&self.directory).expect("a directory");
        let (mut journal, _) = found.start(&mut self.directory).expect("room for a start");
        for record in records {
            let record = std::slice::from_ref(record);
            journal.write(&mut self.directory, record).expect("room for records");
            journal.sync(&mut self.directory).expect("a disk that works");
        }
    }

    pub fn node(&self) -> Option<&ReplicaNode> {
        self.running.as_ref().map(|running| &running.node)
    }

    pub fn node_mut(&mut self) -> Option<&mut ReplicaNode> {
        self.running.as_mut().map(|running| &mut running.node)
    }

    pub fn start(&mut self, size: usize, now: Instant) {
        let found = disk::examine(&self.directory).expect("a directory");
        let (journal, recovered) = found.start(&mut self.directory).expect("room for a start");
        let node =
            ReplicaNode::new(&config(size), recovered, now, &Randomness::Seed(self.id.0.into()));
        self.running = Some(Running { node, journal, writing: None });
    }

    /// What the node would answer, if it ran, to one that was started: it knows nothing better.
    pub fn answer_to(&self, life: Life) -> Bytes {
        let header = Header {
            cluster: ClusterHash::of(CLUSTER),
            genesis: GenesisHash::of(GENESIS),
            sender: self.id,
            destination: life.node,
            directory: directory_of(self.id, self.wipes),
            incarnation: Incarnation(0),
            life: LifeId(1),
            packet: PacketNumber(1),
            echo: None,
            loss: LossShare(0),
        };
        let sighted = Sighted {
            directory: life.directory,
            incarnation: life.incarnation,
            life: life.id,
            verdict: Verdict::Whole,
            seen_incarnation: Incarnation(0),
            seen_term: Term(0),
            seen_vote: false,
            seen_index: LogIndex(0),
        };
        let mut frame = Vec::new();
        wire::encode(&header, &Message::Sighted(sighted), &mut frame);
        frame.into()
    }

    /// The power fails. What was not synced is lost.
    pub fn kill(&mut self) {
        self.running = None;
        self.directory = self.directory.without_unsynced();
    }

    /// The directory is replaced by a blank one.
    pub fn wipe(&mut self) {
        self.running = None;
        self.wipes += 1;
        self.directory = blank(self.id, self.wipes);
    }

    /// The frames that the node sends at the end of its turn.
    pub fn end_turn(&mut self, now: Instant) -> Vec<(SocketAddr, Bytes)> {
        let Some(running) = &mut self.running else { return Vec::new() };
        running.node.end_turn(now);
        let (mut sent, mut bytes) = (Vec::new(), Vec::new());
        while let Some(to) = running.node.poll_send(&mut bytes) {
            sent.push((to, Bytes::copy_from_slice(&bytes)));
        }
        sent
    }

    /// Gives the disk the next batch, unless it is busy. Returns what is in it.
    pub fn write(&mut self) -> Option<&[Record]> {
        let running = self.running.as_mut().filter(|running| running.writing.is_none())?;
        running.writing = running.node.take_batch();
        let records = running.writing.as_ref()?.records();
        running.journal.write(&mut self.directory, records).expect("room for records");
        Some(records)
    }

    /// The disk is done with its batch. Returns whether it had one.
    pub fn sync(&mut self, now: Instant) -> bool {
        let Some(running) = &mut self.running else { return false };
        let Some(batch) = running.writing.take() else { return false };
        running.journal.sync(&mut self.directory).expect("a disk that works");
        running.node.on_synced(now, batch);
        true
    }
}

fn blank(id: ServerId, wipes: u64) -> SimDirectory {
    let identity = Identity { cluster: CLUSTER.into(), id, directory: directory_of(id, wipes) };
    let mut directory = SimDirectory::new();
    let size = SegmentSize::new(SegmentSize::BYTES_MIN.into()).expect("within the limits");
    disk::create(&mut directory, identity, size).expect("room for a directory");
    directory
}

/// That of a cluster that was born with so many nodes.
fn configuration(size: usize) -> Configuration {
    let members = ids(size).map(|id| (id, directory_of(id, 0))).collect();
    Configuration::at_genesis(GENESIS, members)
}

/// Stories go by times that do not change from one line to the next.
fn config(size: usize) -> NodeConfig {
    let listed = |id| (id, ListedNode { address: address_of(id), typed: String::new() });
    let pinned = Pinned { timeout: Some(ELECTION_TIMEOUT), interval: Some(HEARTBEAT_INTERVAL) };
    let config = NodeConfig::new(ids(size).map(listed).collect());
    // There is no other cluster on the stage to listen for.
    NodeConfig { pinned, listening_rounds: 0, ..config }
}

pub fn ids(size: usize) -> impl Iterator<Item = ServerId> {
    (1_u16..).take(size).map(ServerId)
}

pub fn address_of(id: ServerId) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], id.0))
}

fn directory_of(id: ServerId, wipes: u64) -> DirectoryId {
    DirectoryId(u64::from(id.0) + 100 * wipes)
}
