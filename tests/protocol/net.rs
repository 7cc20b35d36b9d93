//! A few nodes on a network that takes a millisecond, with disks that take none.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quorate::disk::{self, Identity, Record, Recovered, SegmentSize};
use quorate::replica::{NodeConfig, Randomness, ReplicaNode, ReplicaState};
use quorate::sim::SimDirectory;
use quorate::time::Instant;
use quorate::types::{DirectoryId, LogIndex, ServerId};
use quorate::wire::{Message, NodeStatus, Role, Traffic};

use super::client;
use super::members::{CLUSTER, address_of, config, ids};

/// One directory and its journal, which is durable at once.
pub struct Journal {
    directory: SimDirectory,
    open: Option<disk::Journal>,
    /// What is given up once the next batch is written.
    cut_after_batch: Option<LogIndex>,
}

impl Journal {
    pub fn blank(id: ServerId, directory: DirectoryId) -> Self {
        let identity = Identity { cluster: CLUSTER.into(), id, directory };
        let mut directory = SimDirectory::new();
        let size = SegmentSize::new(SegmentSize::BYTES_MIN.into()).expect("within the limits");
        disk::create(&mut directory, identity, size).expect("room for a directory");
        Self { directory, open: None, cut_after_batch: None }
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
        if let Some(upto) = self.cut_after_batch.take() {
            journal.cut(&mut self.directory, upto).expect("a disk that works");
        }
    }

    fn write_snapshot(&mut self, node: &mut ReplicaNode, now: Instant) {
        while let Some(snapshot) = node.take_snapshot() {
            disk::write_snapshot(&mut self.directory, &snapshot).expect("room for a snapshot");
            self.cut_after_batch = Some(node.on_snapshot_written(now).upto);
        }
    }
}

/// The nodes that run, each with its journal, and the frames between them.
pub struct Net {
    now: Instant,
    nodes: BTreeMap<ServerId, (ReplicaNode, Journal)>,
    size: usize,
    config: NodeConfig,
    on_the_way: Vec<Frame>,
    slow: Option<SlowWay>,
    /// What is to come of each frame, if not all arrive at once.
    disturb: Option<Disturb>,
    /// How many bytes each node was sent by others.
    delivered: BTreeMap<ServerId, u64>,
}

/// The way to a node that carries only so much, and before which frames queue up for a tenth
/// of a second; the others are lost.
struct SlowWay {
    to: ServerId,
    bytes_per_second: u64,
    queue: VecDeque<Frame>,
    /// Bytes that may be delivered, times a thousand.
    credit: u64,
}

#[derive(Clone)]
struct Frame {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Bytes,
    /// How many milliseconds it takes beyond the first.
    delay: u32,
}

/// What comes of a frame on its way from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Arrives,
    Lost,
    Twice,
    /// It takes so many milliseconds longer.
    Late(u32),
}

type Disturb = Box<dyn FnMut(ServerId, ServerId) -> Fate>;

impl Net {
    /// A cluster of so many listed nodes, none of which runs.
    pub fn new(size: usize) -> Self {
        Self {
            now: Instant(1_000_000),
            nodes: BTreeMap::new(),
            size,
            config: config(size),
            on_the_way: Vec::new(),
            slow: None,
            disturb: None,
            delivered: BTreeMap::new(),
        }
    }

    /// The same, where a snapshot is due after so many bytes of log, or of state if that is
    /// more.
    pub fn with_snapshots(size: usize, snapshot_bytes: u64) -> Self {
        let mut net = Self::new(size);
        net.config.snapshot_bytes = snapshot_bytes;
        net
    }

    /// The nodes that are started from now on are told something else.
    pub fn configure(&mut self, change: impl FnOnce(&mut NodeConfig)) {
        change(&mut self.config);
    }

    /// From now on the way to this node carries so much.
    pub fn slow_down(&mut self, to: ServerId, bytes_per_second: u64) {
        self.slow = Some(SlowWay { to, bytes_per_second, queue: VecDeque::new(), credit: 0 });
    }

    /// From now on this is asked of each frame that a node sends to another.
    pub fn disturb(&mut self, fate: impl FnMut(ServerId, ServerId) -> Fate + 'static) {
        self.disturb = Some(Box::new(fate));
    }

    /// How many bytes the node was sent by others.
    pub fn delivered(&self, to: ServerId) -> u64 {
        self.delivered.get(&to).copied().unwrap_or(0)
    }

    /// A client asks a node.
    pub fn ask(&mut self, to: ServerId, message: &Message) {
        if let Some((node, _)) = self.nodes.get_mut(&to) {
            node.on_datagram(self.now, client::address(1), &client::frame(message));
        }
    }

    /// What a node says of itself.
    pub fn status(&self, id: ServerId) -> NodeStatus {
        self.nodes[&id].0.status(0, self.now)
    }

    /// What a node says of the frames between it and the others.
    pub fn traffic(&self, id: ServerId) -> Traffic {
        self.nodes[&id].0.traffic(0)
    }

    pub fn start(&mut self, id: ServerId, mut journal: Journal) {
        let seed = u64::from(id.0);
        let node =
            ReplicaNode::new(&self.config, journal.start(), self.now, &Randomness::Seed(seed));
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

    /// Whether no frame is on its way.
    pub fn is_quiet(&self) -> bool {
        self.on_the_way.is_empty()
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.now + Duration::from_millis(1);
            let (frames, delayed): (Vec<_>, Vec<_>) =
                self.on_the_way.drain(..).partition(|frame| frame.delay == 0);
            for frame in self.pass_slow_way(frames) {
                self.deliver(&frame);
            }
            for (&id, (node, journal)) in &mut self.nodes {
                node.on_timeout(self.now);
                end_turn(id, node, journal, self.now, &mut self.on_the_way);
            }
            self.decide_fates();
            let waiting =
                delayed.into_iter().map(|frame| Frame { delay: frame.delay - 1, ..frame });
            self.on_the_way.extend(waiting);
        }
    }

    /// Of what was just sent.
    fn decide_fates(&mut self) {
        let Some(disturb) = &mut self.disturb else { return };
        let node_at = |address| ids(self.size).find(|id| address_of(*id) == address);
        let sent = std::mem::take(&mut self.on_the_way);
        self.on_the_way = sent.into_iter().fold(Vec::new(), |mut kept, frame| {
            let ends = (node_at(frame.from), node_at(frame.to));
            let fate = match ends {
                (Some(from), Some(to)) => disturb(from, to),
                _ => Fate::Arrives,
            };
            match fate {
                Fate::Arrives => kept.push(frame),
                Fate::Lost => {}
                Fate::Twice => kept.extend([frame.clone(), frame]),
                Fate::Late(delay) => kept.push(Frame { delay, ..frame }),
            }
            kept
        });
    }

    /// What arrives in this millisecond.
    fn pass_slow_way(&mut self, frames: Vec<Frame>) -> Vec<Frame> {
        let Some(slow) = &mut self.slow else { return frames };
        let is_slow = |frame: &Frame| frame.to == address_of(slow.to);
        let (queued, mut arriving): (Vec<_>, Vec<_>) = frames.into_iter().partition(is_slow);
        slow.queue.extend(queued);
        slow.lose_what_is_too_much();
        arriving.extend(slow.carry());
        arriving
    }

    fn deliver(&mut self, frame: &Frame) {
        let to = ids(self.size).find(|id| address_of(*id) == frame.to);
        let Some(to) = to else { return };
        if let Some((node, _)) = self.nodes.get_mut(&to) {
            *self.delivered.entry(to).or_default() += frame.bytes.len() as u64;
            node.on_datagram(self.now, frame.from, &frame.bytes);
        }
    }
}

impl SlowWay {
    fn lose_what_is_too_much(&mut self) {
        let mut room = self.bytes_per_second / 10;
        let fits = |frame: &Frame| {
            let left = room.checked_sub(frame.bytes.len() as u64);
            room = left.unwrap_or(0);
            left.is_some()
        };
        let kept = self.queue.iter().map(fits).take_while(|fits| *fits).count();
        self.queue.truncate(kept);
    }

    /// A millisecond passes.
    fn carry(&mut self) -> Vec<Frame> {
        self.credit += self.bytes_per_second;
        let mut carried = Vec::new();
        while let Some(first) = self.queue.front() {
            let Some(left) = self.credit.checked_sub(first.bytes.len() as u64 * 1_000) else {
                return carried;
            };
            self.credit = left;
            carried.extend(self.queue.pop_front());
        }
        self.credit = 0;
        carried
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
            on_the_way.push(Frame { from: address_of(id), to, bytes, delay: 0 });
        }
        while node.take_retired().is_some() {}
        journal.write_snapshot(node, now);
        let Some(batch) = node.take_batch() else { return };
        journal.write(batch.records());
        node.on_synced(now, batch);
    }
}
