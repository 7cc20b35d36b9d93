//! A few nodes on a network that takes a millisecond, with disks that take none.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quorate::disk::{self, Identity, Record, Recovered, SegmentSize};
use quorate::replica::{ReplicaNode, ReplicaState};
use quorate::sim::SimDirectory;
use quorate::time::Instant;
use quorate::types::{DirectoryId, ServerId};
use quorate::wire::Role;

use super::members::{CLUSTER, address_of, config, ids};

/// One directory and its journal, which is durable at once.
pub struct Journal {
    directory: SimDirectory,
    open: Option<disk::Journal>,
}

impl Journal {
    pub fn blank(id: ServerId, directory: DirectoryId) -> Self {
        let identity = Identity { cluster: CLUSTER.into(), id, directory };
        let mut directory = SimDirectory::new();
        let size = SegmentSize::new(SegmentSize::BYTES_MIN.into()).expect("within the limits");
        disk::create(&mut directory, identity, size).expect("room for a directory");
        Self { directory, open: None }
    }

    fn start(&mut self) -> Recovered {
        let found = disk::examine(&self.directory).expect("a directory");
        let (journal, recovered) = found.start(&mut self.directory).expect("room for a start");
        self.open = Some(journal);
        recovered
    }

    fn write(&mut self, records: &[Record]) {
        let journal = self.open.as_mut().expect("only a running node writes");
        journal.write(&mut self.directory, records).expect("room for records");
        journal.sync(&mut self.directory).expect("a disk that works");
    }
}

/// The nodes that run, each with its journal, and the frames between them.
pub struct Net {
    now: Instant,
    nodes: BTreeMap<ServerId, (ReplicaNode, Journal)>,
    size: usize,
    on_the_way: Vec<Frame>,
}

struct Frame {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Bytes,
}

impl Net {
    /// A cluster of so many listed nodes, none of which runs.
    pub fn new(size: usize) -> Self {
        Self { now: Instant(1_000_000), nodes: BTreeMap::new(), size, on_the_way: Vec::new() }
    }

    pub fn start(&mut self, id: ServerId, mut journal: Journal) {
        let seed = u64::from(id.0);
        let node = ReplicaNode::new(&config(self.size), journal.start(), self.now, seed);
        self.nodes.insert(id, (node, journal));
    }

    /// Kills the node. Returns its journal.
    pub fn kill(&mut self, id: ServerId) -> Journal {
        self.nodes.remove(&id).expect("a node that runs").1
    }

    pub fn state(&self, id: ServerId) -> &ReplicaState {
        self.nodes[&id].0.state()
    }

    /// The node that leads, if any does.
    pub fn leader(&self) -> Option<ServerId> {
        ids(self.size).find(|id| {
            self.nodes.get(id).is_some_and(|(node, _)| node.state().role == Role::Leader)
        })
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.now + Duration::from_millis(1);
            for frame in std::mem::take(&mut self.on_the_way) {
                self.deliver(&frame);
            }
            for (&id, (node, journal)) in &mut self.nodes {
                node.on_timeout(self.now);
                end_turn(id, node, journal, self.now, &mut self.on_the_way);
            }
        }
    }

    fn deliver(&mut self, frame: &Frame) {
        let to = ids(self.size).find(|id| address_of(*id) == frame.to);
        if let Some((node, _)) = to.and_then(|to| self.nodes.get_mut(&to)) {
            node.on_datagram(self.now, frame.from, &frame.bytes);
        }
    }
}

fn end_turn(
    id: ServerId,
    node: &mut ReplicaNode,
    journal: &mut Journal,
    now: Instant,
    on_the_way: &mut Vec<Frame>,
) {
    loop {
        node.end_turn(now);
        let mut bytes = Vec::new();
        while let Some(to) = node.poll_send(&mut bytes) {
            let bytes = Bytes::copy_from_slice(&bytes);
            on_the_way.push(Frame { from: address_of(id), to, bytes });
        }
        let Some(batch) = node.take_batch() else { return };
        journal.write(batch.records());
        node.on_synced(now, batch);
    }
}
