//! Datagrams from whoever can reach the port: malformed, random, mutated, replayed.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use quorate::types::{
    ClusterHash, DirectoryId, Incarnation, LifeId, LossShare, PacketNumber, ServerId, Term,
};
use quorate::wire::{self, DropCause, GenesisHash, Header, Message, StatusRequest};

use crate::cluster::{Cluster, IDS};
use crate::processes::quorate;
use crate::relay::record;

const DATAGRAMS: usize = 20_000;
/// Between two questions that must be answered.
const BURST: usize = 100;
/// A node may grow by what it is asked to store, and not by what it drops.
const GROWTH_MAX_KIB: u64 = 64 << 10;
/// Only a node that has keys drops for these.
const NEEDS_A_KEY: [DropCause; 3] = [DropCause::Seal, DropCause::Replay, DropCause::Session];

#[test]
fn a_storm_of_datagrams_is_dropped_and_counted_and_service_goes_on() {
    let mut cluster = Cluster::start();
    let leader = cluster.leader();
    let replayed = record(cluster.address(leader), &["incr", "counter"]);
    let noise = [
        record(cluster.address(leader), &["put", "noise", "some value"]),
        record(cluster.address(leader), &["get", "noise"]),
    ];
    let before = IDS.map(|id| cluster.resident_kib(id));
    let seed = Rng::new().u64(..);
    println!("seed {seed}");
    let storm = Storm { replayed, noise: noise.concat() };
    let writes = AtomicU32::new(0);
    let blown_over = AtomicBool::new(false);
    let servers = cluster.servers();
    thread::scope(|scope| {
        scope.spawn(|| write_until(&blown_over, &servers, &writes));
        let storms = IDS.map(|id| {
            let (storm, to) = (&storm, cluster.address(id));
            scope.spawn(move || storm.blow(to, Rng::with_seed(seed + id as u64)))
        });
        let ended = storms.map(thread::ScopedJoinHandle::join);
        blown_over.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok), "a node no longer answers");
    });

    let writes = writes.into_inner();
    println!("{writes} writes during the storm");
    assert!(writes >= 5, "{writes}");
    assert_eq!(cluster.run(&["get", "last"]).expect(0).text(), writes.to_string());
    assert_eq!(cluster.run(&["get", "counter"]).expect(0).text(), "1", "replays took effect");
    cluster.wait_until_well();
    for id in IDS {
        let status = cluster.status_of(id);
        assert_eq!(status["incarnation"], 1, "{status}");
        for cause in causes_from_outside() {
            let count = status["dropped"][cause.name()].as_u64();
            assert!(count.is_some_and(|count| count > 0), "{}: {status}", cause.name());
        }
        let grown = cluster.resident_kib(id).saturating_sub(before[id - 1]);
        assert!(grown < GROWTH_MAX_KIB, "node {id} grew by {grown} KiB");
    }
}

fn write_until(blown_over: &AtomicBool, servers: &str, writes: &AtomicU32) {
    while !blown_over.load(Ordering::Relaxed) {
        let number = (writes.load(Ordering::Relaxed) + 1).to_string();
        quorate(servers, &["put", "last", &number], b"").expect(0);
        writes.fetch_add(1, Ordering::Relaxed);
    }
}

/// What may be dropped when it comes from an address that is no node's.
fn causes_from_outside() -> impl Iterator<Item = &'static DropCause> {
    let needs_a_nodes_address = |cause: &&DropCause| {
        matches!(
            cause,
            DropCause::Incarnation | DropCause::Duplicate | DropCause::Chain | DropCause::Protocol
        ) || NEEDS_A_KEY.contains(cause)
    };
    DropCause::ALL.iter().filter(move |cause| !needs_a_nodes_address(cause))
}

/// What there is to be sent.
struct Storm {
    /// Datagrams of an operation that has taken effect.
    replayed: Vec<Vec<u8>>,
    /// Datagrams that may also be changed.
    noise: Vec<Vec<u8>>,
}

impl Storm {
    /// Sends a third of all to the node, which must answer questions in between.
    fn blow(&self, to: &str, mut random: Rng) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
        socket.connect(to).expect("an address can be connected to");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("it can be set");
        for round in 0..DATAGRAMS / IDS.len() / BURST {
            for frame in forged() {
                socket.send(&frame).expect("loopback takes datagrams");
            }
            for _ in 0..BURST {
                let datagram = self.any_datagram(&mut random);
                socket.send(&datagram).expect("loopback takes datagrams");
            }
            assert!(answers(&socket, 1_000_000 + round as u64), "{to} is silent in round {round}");
        }
    }

    fn any_datagram(&self, random: &mut Rng) -> Vec<u8> {
        let pick = |from: &[Vec<u8>], random: &mut Rng| from[random.usize(..from.len())].clone();
        match random.u8(..4) {
            0 => (0..random.usize(..1_500)).map(|_| random.u8(..)).collect(),
            1 => pick(&self.replayed, random),
            2 => mutated(pick(&self.replayed, random), random),
            _ => {
                let mut frame = mutated(pick(&self.noise, random), random);
                wire::seal(&mut frame);
                frame
            }
        }
    }
}

/// Flips bits, and now and then cuts or lengthens.
fn mutated(mut frame: Vec<u8>, random: &mut Rng) -> Vec<u8> {
    for _ in 0..random.usize(1..5) {
        let at = random.usize(..frame.len());
        frame[at] ^= 1 << random.u8(..8);
    }
    match random.u8(..4) {
        0 => frame.truncate(random.usize(1..=frame.len())),
        1 => frame.extend((0..random.usize(..64)).map(|_| random.u8(..))),
        _ => {}
    }
    frame
}

/// Whole frames, each of which must be dropped for a cause of its own.
fn forged() -> Vec<Vec<u8>> {
    let status = Message::StatusRequest(StatusRequest { nonce: 1 });
    let client = header();
    let whole = frame(&client, &status);
    let changed = |at: usize, to: u8| {
        let mut frame = whole.clone();
        frame[at] = to;
        wire::seal(&mut frame);
        frame
    };
    let mut cut = whole.clone();
    cut.pop();
    let mut damaged = whole.clone();
    damaged[20] ^= 1;
    let mut surplus = whole.clone();
    surplus.push(0);
    wire::seal(&mut surplus);
    let vote = Message::TimeoutNow(Term(9));
    // Whichever of the nodes receives it, one of these is meant for it.
    let from_a_node = |sender: u16| {
        [1, 2, 3].map(|destination| {
            let (sender, destination) = (ServerId(sender), ServerId(destination));
            frame(&Header { sender, destination, ..client }, &vote)
        })
    };
    let mut frames = vec![
        cut,
        damaged,
        surplus,
        changed(0, b'X'),
        changed(2, 99),
        changed(3, 255),
        changed(48, 1),
        frame(&Header { cluster: ClusterHash::of("other"), ..client }, &status),
        frame(&Header { genesis: GenesisHash(1), ..client }, &status),
        frame(&Header { destination: ServerId(9), ..client }, &status),
        frame(&client, &vote),
    ];
    frames.extend([9, 1, 2].into_iter().flat_map(from_a_node));
    frames
}

fn header() -> Header {
    Header {
        cluster: ClusterHash::of("quorate"),
        genesis: GenesisHash::default(),
        sender: ServerId::NONE,
        destination: ServerId::NONE,
        directory: DirectoryId(5),
        incarnation: Incarnation(0),
        life: LifeId(0),
        packet: PacketNumber(1),
        echo: None,
        loss: LossShare(0),
    }
}

fn frame(header: &Header, message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    wire::encode(header, message, &mut out);
    out
}

/// Whether the node answers a question, asked some times.
fn answers(socket: &UdpSocket, nonce: u64) -> bool {
    let question = frame(&header(), &Message::StatusRequest(StatusRequest { nonce }));
    let mut buffer = [0; 2_048];
    for _ in 0..20 {
        socket.send(&question).expect("loopback takes datagrams");
        while let Ok(length) = socket.recv(&mut buffer) {
            let datagram = Bytes::copy_from_slice(&buffer[..length]);
            let message = wire::decode(&datagram).map(|frame| frame.message);
            if matches!(message, Ok(Message::Status(status)) if status.nonce == nonce) {
                return true;
            }
        }
    }
    false
}
