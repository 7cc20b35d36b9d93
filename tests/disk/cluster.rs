//! Three nodes on virtual time, over directories that a test may damage between their lives.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quorate::disk::{self, Identity, Journal, Scrub, SegmentSize, StartError};
use quorate::operation::Operation;
use quorate::replica::{ListedNode, NodeConfig, Randomness, ReplicaNode, ReplicaState};
use quorate::sim::SimDirectory;
use quorate::time::Instant;
use quorate::types::{DirectoryId, LogIndex, ServerId, SessionId};
use quorate::wire::{Message, Role};

use crate::clients;

const CLUSTER: &str = "c";
const TICK: Duration = Duration::from_millis(1);

/// The nodes that run, and the frames between them: each takes a millisecond.
pub struct Cluster {
    now: Instant,
    running: BTreeMap<ServerId, Running>,
    on_the_way: Vec<(SocketAddr, SocketAddr, Bytes)>,
    requests: u64,
    snapshot_bytes: u64,
}

struct Running {
    node: ReplicaNode,
    directory: SimDirectory,
    journal: Journal,
    scrub: Scrub,
}

pub fn ids() -> impl Iterator<Item = ServerId> {
    (1..=3).map(ServerId)
}

fn address(id: ServerId) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 9_000 + id.0))
}

/// A blank directory of the node.
pub fn blank(id: ServerId) -> SimDirectory {
    blank_with(id, SegmentSize::BYTES_MIN)
}

/// The same, with segments of so many bytes.
pub fn blank_with(id: ServerId, segment_bytes: u32) -> SimDirectory {
    let mut directory = SimDirectory::new();
    let identity =
        Identity { cluster: CLUSTER.into(), id, directory: DirectoryId(100 + u64::from(id.0)) };
    let size = SegmentSize::new(segment_bytes.into()).expect("within the limits");
    disk::create(&mut directory, identity, size).expect("room for a directory");
    directory
}

impl Cluster {
    pub fn new(snapshot_bytes: u64) -> Self {
        let (running, on_the_way) = (BTreeMap::new(), Vec::new());
        Self { now: Instant(1_000_000), running, on_the_way, requests: 0, snapshot_bytes }
    }

    /// Starts the node on the directory.
    pub fn start(&mut self, id: ServerId, mut directory: SimDirectory) -> Result<(), StartError> {
        let found = disk::examine(&directory)?;
        let scrub = found.scrub();
        let (journal, recovered) = found.start(&mut directory)?;
        let listed = |id| (id, ListedNode { address: address(id), typed: String::new() });
        let config = NodeConfig {
            snapshot_bytes: self.snapshot_bytes,
            kept_entries: 0,
            ..NodeConfig::new(ids().map(listed).collect())
        };
        let node =
            ReplicaNode::new(&config, recovered, self.now, &Randomness::Seed(u64::from(id.0)));
        self.running.insert(id, Running { node, directory, journal, scrub });
        Ok(())
    }

    /// Kills the node. Returns its directory.
    pub fn stop(&mut self, id: ServerId) -> SimDirectory {
        self.running.remove(&id).expect("a node that runs").directory
    }

    /// The directory of a node that runs.
    pub fn directory(&mut self, id: ServerId) -> &mut SimDirectory {
        &mut self.running.get_mut(&id).expect("a node that runs").directory
    }

    /// Lets the node read a slice of its files again, and mend what is damaged, as the daemon
    /// does. Returns in how many places it has found damage, and in how many that is gone,
    /// and whether it has read all.
    pub fn scrub(&mut self, id: ServerId) -> (usize, usize, bool) {
        let running = self.running.get_mut(&id).expect("a node that runs");
        let sealed = running.journal.sealed();
        let findings = running.scrub.step(&running.directory, &sealed);
        let mended = running.mend();
        running.end_turn(id, self.now, &mut self.on_the_way);
        let (damaged, repaired) = (findings.damaged.len(), findings.repaired.len());
        (damaged + mended, repaired + mended, findings.pass_ended)
    }

    pub fn states(&self) -> impl Iterator<Item = &ReplicaState> {
        self.running.values().map(|running| running.node.state())
    }

    /// The node that leads and knows all that was ever committed, if there is one.
    pub fn serving(&self) -> Option<&ReplicaState> {
        self.states().find(|state| state.role == Role::Leader && state.has_committed_in_term())
    }

    /// Whether a node leads, and all that run have what it has, and nothing in doubt.
    pub fn is_settled(&self) -> bool {
        let Some(leader) = self.serving() else { return false };
        let last = leader.log.last_index();
        self.states().all(|state| state.commit == last && !state.in_doubt.is_there())
    }

    /// Lets time pass, at most so much, until it is done.
    pub fn run_until(&mut self, most: Duration, is_done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + most;
        while self.now < end {
            if is_done(self) {
                return true;
            }
            self.tick();
        }
        is_done(self)
    }

    fn tick(&mut self) {
        self.now = self.now + TICK;
        for (from, to, bytes) in std::mem::take(&mut self.on_the_way) {
            let to = ids().find(|id| address(*id) == to);
            if let Some(running) = to.and_then(|to| self.running.get_mut(&to)) {
                running.node.on_datagram(self.now, from, &bytes);
            }
        }
        for (&id, running) in &mut self.running {
            running.node.on_timeout(self.now);
            running.end_turn(id, self.now, &mut self.on_the_way);
        }
    }

    /// Puts the value, and waits until that is committed. Returns the key's new version.
    pub fn put(&mut self, key: &str, value: Vec<u8>) -> LogIndex {
        let leader = self.serving().expect("a leader").server_id;
        let operation =
            Operation::Put { key: Bytes::copy_from_slice(key.as_bytes()), value: value.into() };
        self.requests += 1;
        let session = SessionId { minted_at: LogIndex(1), random: self.requests };
        let request = clients::one_shot(session, &operation);
        let frame = clients::frame(CLUSTER, &Message::Request(request));
        let client = SocketAddr::from(([11, 0, 0, 1], 1));
        self.on_the_way.push((client, address(leader), frame));
        let before = self.serving().expect("a leader").log.last_index();
        let committed =
            move |cluster: &Self| cluster.serving().is_some_and(|leader| leader.commit > before);
        assert!(self.run_until(Duration::from_secs(1), committed), "it is committed");
        before.next()
    }
}

impl Running {
    /// Does about the damage what the daemon's loop and its journal thread do. Returns how many
    /// copies in the file `meta` were written anew.
    fn mend(&mut self) -> usize {
        let damage = self.scrub.take_damage();
        if !damage.is_there() {
            return 0;
        }
        self.node.on_damage(&damage);
        self.journal.distrust(&damage.segments);
        let mut copies = 0;
        if damage.meta {
            let mended = self.journal.mend_meta(&mut self.directory);
            copies = mended.expect("a disk that works").len();
        }
        if !damage.snapshot {
            let upto = self.node.state().snapshots.durable_index();
            self.journal.cut(&mut self.directory, upto).expect("a disk that works");
        }
        copies
    }

    /// As the daemon's loop ends it, with disks that take no time.
    fn end_turn(
        &mut self,
        id: ServerId,
        now: Instant,
        on_the_way: &mut Vec<(SocketAddr, SocketAddr, Bytes)>,
    ) {
        loop {
            self.node.end_turn(now);
            let mut bytes = Vec::new();
            while let Some(to) = self.node.poll_send(&mut bytes) {
                on_the_way.push((address(id), to, Bytes::copy_from_slice(&bytes)));
            }
            let has_more = self.write_snapshot(now);
            let Some(batch) = self.node.take_batch() else {
                if has_more {
                    continue;
                }
                return;
            };
            self.journal.write(&mut self.directory, batch.records()).expect("room for records");
            self.journal.sync(&mut self.directory).expect("a disk that works");
            self.node.on_synced(now, batch);
        }
    }

    fn write_snapshot(&mut self, now: Instant) -> bool {
        let Some(snapshot) = self.node.take_snapshot() else { return false };
        disk::write_snapshot(&mut self.directory, &snapshot).expect("room for a snapshot");
        self.scrub.snapshot_written(snapshot.index());
        let covered = self.node.on_snapshot_written(now);
        if !covered.installed {
            self.journal.cut(&mut self.directory, covered.upto).expect("a disk that works");
        }
        true
    }
}
