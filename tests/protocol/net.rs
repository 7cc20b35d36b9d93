//! A few nodes on a network that takes a millisecond, with disks that take none.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quorate::journal::{
    Identity, Record, Recovered, encode_batch, encode_header, encode_start, recover,
};
use quorate::replica::{ReplicaNode, ReplicaState};
use quorate::time::Instant;
use quorate::types::{DirectoryId, ServerId};
use quorate::wire::Role;

use super::members::{CLUSTER, address_of, config, ids};

/// One directory's journal, of which every byte is durable at once.
pub struct Journal {
    file: Vec<u8>,
    next_batch: u64,
}

impl Journal {
    pub fn blank(id: ServerId, directory: DirectoryId) -> Self {
        let identity = Identity { cluster: CLUSTER.into(), id, directory };
        Self { file: encode_header(&identity), next_batch: 1 }
    }

    fn start(&mut self) -> Recovered {
        let mut recovered =
            recover(&Bytes::copy_from_slice(&self.file)).expect("an intact journal").recovered;
        recovered.incarnation = recovered.incarnation.next();
        encode_start(self.next_batch, self.synced(), recovered.incarnation, &mut self.file);
        self.next_batch += 1;
        recovered
    }

    fn write(&mut self, records: &[Record]) {
        encode_batch(self.next_batch, self.synced(), records, &mut self.file);
        self.next_batch += 1;
    }

    fn synced(&self) -> u64 {
        self.file.len() as u64
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
