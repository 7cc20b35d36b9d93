//! Frames whose seal is right and whose inside is anything, and sealed datagrams that are
//! changed, at a node as the daemon holds it: what seals before, the node behind.
//!
//! What opens was sealed, and opens once; what is changed does not open. Whatever it says, the
//! node does not panic, and keeps what it must. What it answers opens on the other side.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quorate::time::Instant;
use quorate::types::{
    ClusterHash, DirectoryId, Incarnation, LifeId, LossShare, PacketNumber, ServerId,
};
use quorate::wire::{self, Echo, GenesisHash, HEADER_BYTES, Header};

use super::choices::Choices;
use super::frames;
use super::life::{self, CLUSTER, Life, address_of, configuration, directory_of};
use super::seals::{Datagram, Side, Unopened, change, ring};
use super::turns::Seen;

/// An input that is longer has no more steps than this.
const STEPS_MAX: usize = 500;
const NODE: ServerId = ServerId(1);
const KEYS: &str = "node 1 %1\nclient ann 2 %2 r\nclient bob 3 %3 rw a";

/// Takes the steps that the input describes.
pub fn sealed_frames(input: &[u8]) {
    let mut choices = Choices::new(input);
    let size = if choices.flag() { 1 } else { 3 };
    let mut stage = Stage::new(size);
    for _ in 0..STEPS_MAX {
        if choices.is_empty() {
            return;
        }
        stage.step(&mut choices);
    }
}

struct Stage {
    now: Instant,
    size: usize,
    life: Life,
    node: Side,
    /// Another node, and three clients.
    sides: Vec<Side>,
    unopened: Unopened,
    recorded: Vec<Datagram>,
    seen: Seen,
    packets: u64,
    /// The newest frame that the other node has from this one.
    heard: Option<PacketNumber>,
}

impl Stage {
    fn new(size: usize) -> Self {
        let now = Instant(1_000_000);
        let keys = ring(KEYS);
        let mut life = Life::start(size, life::born(NODE, size), now, 1);
        life.node.set_access(keys.access());
        let client = |port: u16| SocketAddr::from(([11, 0, 0, 1], port));
        let second = ServerId(2);
        let mut stage = Self {
            now,
            size,
            life,
            node: Side::start(NODE, address_of(NODE), &keys, 1),
            sides: vec![
                Side::start(second, address_of(second), &keys, 2),
                Side::start(ServerId::NONE, client(1), &keys, 3),
                Side::start(ServerId::NONE, client(2), &ring("client ann 2 %2 r"), 4),
                Side::start(ServerId::NONE, client(3), &ring("client bob 3 %3 rw a"), 5),
            ],
            unopened: Unopened::default(),
            recorded: Vec::new(),
            seen: Seen::default(),
            packets: 0,
            heard: None,
        };
        (0..stage.sides.len()).for_each(|which| stage.get_acquainted(which));
        stage
    }

    /// Each side has a session from the beginning.
    fn get_acquainted(&mut self, which: usize) {
        let header = self.header(which, 0);
        let frame = frames::raw(&header, &mut Choices::new(&[]));
        let mut sent = self.seal(which, &frame);
        while let Some(datagram) = sent.pop() {
            let side = if datagram.to == self.node.address {
                &mut self.node
            } else {
                &mut self.sides[which]
            };
            sent.extend(side.hear(self.now, &datagram).1);
        }
        assert!(self.node.sealer.remembered().0 == which + 1, "there is a session");
    }

    fn step(&mut self, choices: &mut Choices) {
        let which = choices.below(self.sides.len());
        match choices.below(16) {
            0..=2 => {
                let frame = self.likely(which, choices);
                self.say(which, &frame);
            }
            3 | 4 => {
                let header = self.header(which, choices.byte());
                let frame = frames::raw(&header, choices);
                self.say(which, &frame);
            }
            5 => {
                let frame = any_frame(choices);
                self.say(which, &frame);
            }
            6 | 7 => self.say_changed(which, choices),
            8 => self.repeat(choices),
            9 => self.come_back(choices),
            10 | 11 => self.wait(Duration::from_millis(choices.byte().into())),
            12 => self.time_out(),
            _ => self.catch_up(),
        }
        self.end_turn();
    }

    /// A frame that the node may take seriously.
    fn likely(&mut self, which: usize, choices: &mut Choices) -> Bytes {
        let header = self.header(which, choices.byte());
        let message = match which {
            0 => frames::from_peer(choices, &self.life.node, self.size),
            _ => frames::from_client(choices, &self.life.node),
        };
        let mut frame = Vec::new();
        wire::encode(&header, &message, &mut frame);
        frame.into()
    }

    fn say(&mut self, which: usize, frame: &Bytes) {
        for datagram in self.seal(which, frame) {
            self.arrive(&datagram);
        }
    }

    /// What is changed on its way does not open.
    fn say_changed(&mut self, which: usize, choices: &mut Choices) {
        let frame = self.likely(which, choices);
        for datagram in self.seal(which, &frame) {
            let mut changed = datagram.clone();
            change(&mut changed.bytes, choices);
            let has_opened = self.arrive(&changed);
            assert!(!has_opened || changed.bytes == datagram.bytes, "a change is not noticed");
        }
    }

    fn repeat(&mut self, choices: &mut Choices) {
        let back = choices.below(256);
        if let Some(datagram) = self.recorded.iter().rev().nth(back).cloned() {
            self.arrive(&datagram);
        }
    }

    /// What the node has sent, or somebody says that it has, comes back from the network.
    fn come_back(&mut self, choices: &mut Choices) {
        let back = choices.below(256);
        let Some(datagram) = self.recorded.iter().rev().nth(back).cloned() else { return };
        let mut bytes = datagram.bytes.clone();
        change(&mut bytes, choices);
        let is_own = datagram.from == self.node.address && bytes == datagram.bytes;
        let length = self.node.sealer.reopen(datagram.to, &mut bytes);
        assert!(length.is_none() || is_own, "it takes for its own what it has not sealed");
        bytes.truncate(length.unwrap_or(0));
        self.life.node.on_refused(self.now, datagram.to, &bytes.into());
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.life.node.on_timeout(self.now);
    }

    fn time_out(&mut self) {
        let next = self.life.node.next_deadline().expect("a node always waits for something");
        self.wait(next.since(self.now));
    }

    /// The disk does all that it is asked to.
    fn catch_up(&mut self) {
        self.life.write();
        while self.life.sync(self.now) {
            self.end_turn();
            self.life.write();
        }
        self.life.keep_snapshot(self.now);
    }

    fn seal(&mut self, which: usize, frame: &Bytes) -> Vec<Datagram> {
        let side = &mut self.sides[which];
        self.unopened.sealed(side.address, frame);
        let sent = side.send(self.now, self.node.address, frame);
        self.recorded.extend(sent.iter().cloned());
        sent
    }

    /// Returns whether it was a frame that opened.
    fn arrive(&mut self, datagram: &Datagram) -> bool {
        let (heard, said) = self.node.hear(self.now, datagram);
        self.pass_on(said);
        match heard {
            Ok(Some((key, frame))) => {
                self.unopened.opened(datagram.from, &frame);
                self.life.node.on_opened(self.now, datagram.from, key, &frame.into());
                return true;
            }
            Ok(None) => {}
            Err(cause) => self.life.node.on_dropped(datagram.from, cause),
        }
        false
    }

    /// What the node's side says for a handshake arrives, and what follows.
    fn pass_on(&mut self, said: Vec<Datagram>) {
        for datagram in said {
            let at = |side: &&mut Side| side.address == datagram.to;
            let Some(side) = self.sides.iter_mut().find(at) else { continue };
            for answer in side.hear(self.now, &datagram).1 {
                let (_, more) = self.node.hear(self.now, &answer);
                self.recorded.extend(more);
            }
        }
    }

    fn end_turn(&mut self) {
        let sent = self.life.end_turn(self.now);
        self.seen.turn(&self.life.node, sent.iter().map(|(_, frame)| frame));
        for (to, frame) in sent {
            let said = self.node.send(self.now, to, &frame);
            self.recorded.extend(said.iter().cloned());
            for datagram in said {
                self.come_in(&datagram, &frame);
            }
        }
        let excess = self.recorded.len().saturating_sub(256);
        self.recorded.drain(..excess);
    }

    /// What the node says arrives as it was said.
    fn come_in(&mut self, datagram: &Datagram, frame: &Bytes) {
        let at = |side: &&mut Side| side.address == datagram.to;
        let Some(side) = self.sides.iter_mut().find(at) else { return };
        if let (Ok(Some((_, opened))), _) = side.hear(self.now, datagram) {
            assert_eq!(opened[..], frame[..], "it arrives as it was said");
            if side.id != ServerId::NONE {
                self.heard = wire::decode(frame).ok().map(|frame| frame.header.packet);
            }
        }
    }

    fn header(&mut self, which: usize, oddity: u8) -> Header {
        if which > 0 {
            return frames::client_header();
        }
        self.packets += 1;
        let sender = self.sides[0].id;
        Header {
            cluster: ClusterHash::of(CLUSTER),
            genesis: match oddity >> 5 {
                7 => GenesisHash(oddity.into()),
                _ => GenesisHash::of(configuration(self.size).genesis),
            },
            sender,
            destination: NODE,
            directory: match oddity & 15 {
                15 => DirectoryId(oddity.into()),
                _ => directory_of(sender),
            },
            incarnation: Incarnation(1 + u32::from(oddity & 15 == 14)),
            life: LifeId(1 + u32::from(oddity & 15 == 13)),
            packet: PacketNumber(self.packets),
            echo: self.heard.filter(|_| oddity & 16 == 0).map(|packet| Echo { packet, age: 0 }),
            loss: LossShare(0),
        }
    }
}

/// Bytes that are long enough to be sealed, and begin as every frame does.
fn any_frame(choices: &mut Choices) -> Bytes {
    let length = usize::from(choices.byte()) * 8;
    let mut frame = choices.bytes(HEADER_BYTES + length).to_vec();
    frame.resize(frame.len().max(HEADER_BYTES), 0);
    if !choices.flag() {
        frame[..3].copy_from_slice(b"QR\x01");
        frame[4..8].copy_from_slice(&ClusterHash::of(CLUSTER).0.to_le_bytes());
    }
    frame.into()
}
