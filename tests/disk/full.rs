//! A disk that is full, and clients that go on asking: what they leave behind must not use up
//! the room that deletes need.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quorate::disk::{self, DiskError, Journal, META_BYTES, SegmentSize};
use quorate::operation::Operation;
use quorate::replica::{Batch, ListedNode, NodeConfig, Randomness, ReplicaNode, Room};
use quorate::sim::SimDirectory;
use quorate::time::Instant;
use quorate::types::{LogIndex, ServerId, SessionId};
use quorate::wire::{Message, Request, Role};

use super::cluster::blank;
use crate::clients;

/// As `--disk-max 1M --segment-size 64K --snapshot-bytes 64K`.
const DISK_MAX: u64 = 1 << 20;
const SNAPSHOT_BYTES: u64 = 64 << 10;
/// Two copies of `meta`, and segments that are begun or kept.
const FIXED: u64 = 2 * META_BYTES + 4 * SegmentSize::BYTES_MIN as u64;

/// A cluster of one, whose clients ask once each.
struct Alone {
    now: Instant,
    node: ReplicaNode,
    directory: SimDirectory,
    journal: Journal,
    /// What found no room, and is written when there is some.
    waits: Option<Batch>,
    clients: u64,
}

impl Alone {
    fn start() -> Self {
        let id = ServerId(1);
        let mut directory = blank(id);
        directory.set_room(Some(DISK_MAX));
        let found = disk::examine(&directory).expect("its identity can be read");
        let (journal, recovered) = found.start(&mut directory).expect("a disk that works");
        let listed = ListedNode { address: ([10, 0, 0, 1], 9_001).into(), typed: String::new() };
        let config = NodeConfig {
            snapshot_bytes: SNAPSHOT_BYTES,
            kept_entries: 0,
            ..NodeConfig::new([(id, listed)].into())
        };
        let now = Instant(1_000_000);
        let node = ReplicaNode::new(&config, recovered, now, &Randomness::Seed(1));
        let mut alone = Self { now, node, directory, journal, waits: None, clients: 0 };
        while alone.node.state().role != Role::Leader || !alone.is_done() {
            alone.turn();
        }
        alone
    }

    /// Whether all that was taken in is committed.
    fn is_done(&self) -> bool {
        self.node.state().commit == self.node.state().log.last_index()
    }

    /// One operation, and if that is declined, its end is settled. Returns whether it was taken
    /// in, and whether it was settled.
    fn ask(&mut self, operation: &Operation) -> (bool, bool) {
        self.clients += 1;
        let session = SessionId { minted_at: LogIndex(1), random: self.clients };
        let request = clients::one_shot(session, operation);
        let settle = Request { settle: true, length: 0, bytes: Bytes::new(), ..request.clone() };
        let is_done = self.takes(request);
        (is_done, !is_done && self.takes(settle))
    }

    fn takes(&mut self, request: Request) -> bool {
        let before = self.node.state().log.last_index();
        let frame = clients::frame("c", &Message::Request(request));
        let client = SocketAddr::from(([11, 0, 0, 1], 1));
        self.node.on_datagram(self.now, client, &frame);
        let taken = self.node.state().log.last_index() > before;
        self.turn();
        taken
    }

    /// A turn of the loop, with a disk that takes no time.
    fn turn(&mut self) {
        self.now = self.now + Duration::from_millis(1);
        let free = self.directory.free().expect("a bound");
        self.node.on_room(Room { free, all: DISK_MAX - FIXED });
        self.node.on_timeout(self.now);
        loop {
            self.node.end_turn(self.now);
            let mut frame = Vec::new();
            while self.node.poll_send(&mut frame).is_some() {
                frame.clear();
            }
            self.write_snapshot();
            let Some(batch) = self.waits.take().or_else(|| self.node.take_batch()) else { return };
            match self.journal.write(&mut self.directory, batch.records()) {
                Err(DiskError::NoSpace) => {
                    self.waits = Some(batch);
                    return;
                }
                written => written.expect("a disk that works"),
            }
            self.journal.sync(&mut self.directory).expect("a disk that works");
            self.node.on_synced(self.now, batch);
        }
    }

    fn write_snapshot(&mut self) {
        let Some(snapshot) = self.node.take_snapshot() else { return };
        match disk::write_snapshot(&mut self.directory, &snapshot) {
            Err(DiskError::NoSpace) => self.node.on_snapshot_refused(),
            written => {
                written.expect("a disk that works");
                let covered = self.node.on_snapshot_written(self.now);
                self.journal.cut(&mut self.directory, covered.upto).expect("a disk that works");
            }
        }
    }
}

fn key(number: usize) -> Bytes {
    format!("key-{number}").into()
}

fn put(number: usize) -> Operation {
    Operation::Put { key: key(number), value: vec![b'v'; 500].into() }
}

/// docs/guarantees.md: "what makes the state grow is refused by name while deletes and reads go
/// on".
#[test]
fn refused_writes_leave_room_for_deletes_and_these_for_writes() {
    let mut alone = Alone::start();
    let keys = (0..1_000).take_while(|number| alone.ask(&put(*number)).0).count();
    assert!((50..500).contains(&keys), "{keys}");
    let refuse = |_| {
        let asked = alone.ask(&put(0));
        assert!(alone.is_done(), "what was taken in waits for room");
        asked
    };
    let refused: Vec<_> = (0..10_000).map(refuse).collect();
    assert!(refused.iter().all(|(is_done, _)| !is_done), "there is no room");
    let settled = refused.iter().filter(|(_, is_settled)| *is_settled).count();
    assert!((500..5_000).contains(&settled), "{settled}");

    let delete = |number| Operation::Delete { key: key(number) };
    let freed = (0..keys).find(|number| {
        assert!(alone.ask(&delete(*number)).0 && alone.is_done(), "{number} of {keys}");
        alone.ask(&put(keys)).0
    });
    assert!(freed.is_some() && alone.is_done(), "no put after {keys} deletes");
}
