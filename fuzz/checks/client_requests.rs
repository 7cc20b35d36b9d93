//! What clients ask of a node that leads alone, or of one that follows nobody: requests of any
//! content, by keys with all kinds of rights and by none.
//!
//! It never panics, and what it keeps and says is bounded, whatever lengths are promised. Who
//! may not write makes no log grow, and nobody gets a page that it has no right to.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use quorate::access::{Access, Holder, Rights};
use quorate::codec::Reader;
use quorate::replica::Room;
use quorate::time::Instant;
use quorate::types::{DirectoryId, PacketNumber, ServerId};
use quorate::wire::{self, Header, ListedValue, Message, PAGES_MAX, Request, Role};

use super::choices::Choices;
use super::frames;
use super::life::{self, Life};
use super::turns::Seen;

/// An input that is longer has no more steps than this.
const STEPS_MAX: usize = 1_000;
const NODE: ServerId = ServerId(1);

/// The keys' numbers: of nodes, of three clients, and one that nobody holds.
const NODES: u16 = 1;
const READER: u16 = 2;
const WRITER: u16 = 3;
const OF_PREFIX: u16 = 4;
const NOBODY: u16 = 5;
const PREFIX: &str = "aa";

/// Takes the steps that the input describes.
pub fn client_requests(input: &[u8]) {
    let mut choices = Choices::new(input);
    let size = if choices.byte() < 224 { 1 } else { 3 };
    let mut stage = Stage::new(size);
    for _ in 0..STEPS_MAX {
        if choices.is_empty() {
            return;
        }
        stage.step(&mut choices);
    }
}

fn access() -> Access {
    let client = |write, prefix: &str| {
        Holder::Client("a client".into(), Rights { write, prefix: prefix.into() })
    };
    Access::of([
        (NODES, Holder::Node),
        (READER, client(false, "")),
        (WRITER, client(true, "")),
        (OF_PREFIX, client(true, PREFIX)),
    ])
}

struct Stage {
    now: Instant,
    life: Life,
    seen: Seen,
    packets: u64,
}

impl Stage {
    fn new(size: usize) -> Self {
        let now = Instant(1_000_000);
        let mut life = Life::start(size, life::born(NODE, size), now, 1);
        life.node.set_access(access());
        let mut stage = Self { now, life, seen: Seen::default(), packets: 0 };
        for _ in 0..8 {
            stage.time_out();
            stage.catch_up();
        }
        let leads = stage.life.node.state().role == Role::Leader;
        assert_eq!(leads, size == 1, "who is alone leads");
        stage
    }

    fn step(&mut self, choices: &mut Choices) {
        match choices.below(16) {
            0..=5 => {
                let message = frames::from_client(choices, &self.life.node);
                self.ask(&message, choices);
            }
            6 | 7 => {
                let message = promising(choices, &self.life);
                self.ask(&message, choices);
            }
            8 | 9 => {
                let header = self.header(choices);
                let frame = frames::raw(&header, choices);
                self.receive(&frame, choices);
            }
            10 => {
                let mut message = Vec::new();
                let header = self.header(choices);
                let whole = frames::from_client(choices, &self.life.node);
                wire::encode(&header, &whole, &mut message);
                Self::overwrite(&mut message, choices);
                self.receive(&message.into(), choices);
            }
            11 => {
                self.now = self.now + Duration::from_millis(u64::from(choices.byte()) * 16);
                self.life.node.on_timeout(self.now);
            }
            12 => self.time_out(),
            13 => {
                let free = u64::from(choices.pair()) * 64;
                self.life.node.on_room(Room { free, all: u64::MAX });
            }
            14 => self.life.keep_snapshot(self.now),
            _ => self.catch_up(),
        }
        self.end_turn();
    }

    fn ask(&mut self, message: &Message, choices: &mut Choices) {
        let header = self.header(choices);
        let mut frame = Vec::new();
        wire::encode(&header, message, &mut frame);
        self.receive(&frame.into(), choices);
    }

    /// Fields of a frame that follows the format are overwritten; counts and lengths are among
    /// them.
    fn overwrite(frame: &mut [u8], choices: &mut Choices) {
        for _ in 0..=choices.below(3) {
            let width = [1, 2, 4, 8][choices.below(4)];
            let noise = choices.bytes(width);
            let from = wire::HEADER_BYTES + choices.below(64);
            if let Some(field) = frame.get_mut(from..from + noise.len()) {
                field.copy_from_slice(&noise);
            }
        }
        wire::seal(frame);
    }

    /// What the frame of this key's holder comes to.
    fn receive(&mut self, frame: &Bytes, choices: &mut Choices) {
        let key = u16::try_from(choices.below(6)).unwrap_or(0);
        let port = 100 + u16::try_from(choices.below(4)).unwrap_or(0);
        let source = SocketAddr::new(address_by(key), port);
        let before = self.life.node.state().log.last_index();
        self.life.node.on_opened(self.now, source, key, frame);
        let after = self.life.node.state().log.last_index();
        let may_write = [NODES, WRITER, OF_PREFIX].contains(&key);
        assert!(may_write || before == after, "key {key} makes the log grow");
    }

    fn header(&mut self, choices: &mut Choices) -> Header {
        self.packets += 1;
        let directory = DirectoryId(9 + choices.below(2) as u64);
        let packet = PacketNumber(choices.near(self.packets));
        Header { directory, packet, ..frames::client_header() }
    }

    fn time_out(&mut self) {
        let next = self.life.node.next_deadline().expect("a node always waits for something");
        self.now = self.now + next.since(self.now);
        self.life.node.on_timeout(self.now);
    }

    /// The disk does all that it is asked to.
    fn catch_up(&mut self) {
        self.end_turn();
        self.life.write();
        while self.life.sync(self.now) {
            self.end_turn();
            self.life.write();
        }
    }

    fn end_turn(&mut self) {
        let sent = self.life.end_turn(self.now);
        self.seen.turn(&self.life.node, sent.iter().map(|(_, frame)| frame));
        for (to, frame) in sent {
            check_rights(to, &frame);
        }
    }
}

/// Where the holder of the key asks from.
fn address_by(key: u16) -> IpAddr {
    [11, 0, 0, u8::try_from(key).unwrap_or(0)].into()
}

/// Pages are for those who may read what is on them.
fn check_rights(to: SocketAddr, frame: &Bytes) {
    let frame = wire::decode(frame).expect("a node sends frames that can be read");
    let Message::Page(page) = frame.message else { return };
    let is_nobody = [0, NOBODY].iter().any(|key| address_by(*key) == to.ip());
    assert!(!is_nobody, "a page for nobody");
    if address_by(OF_PREFIX) == to.ip() && page.page == 0 && !page.bytes.is_empty() {
        let value = ListedValue::decode(&mut Reader::new(page.bytes));
        let is_inside = value.is_ok_and(|value| value.key.starts_with(PREFIX.as_bytes()));
        assert!(is_inside, "a key beyond the prefix");
    }
}

/// A request that promises more than it brings, or asks for more than there is.
fn promising(choices: &mut Choices, life: &Life) -> Message {
    let most = [u32::MAX, 1 << 30, 1 << 20, 70_000, 1_101, 0][choices.below(6)];
    match frames::from_client(choices, &life.node) {
        Message::Request(request) => Message::Request(Request {
            length: most,
            piece: u32::try_from(choices.near(0)).unwrap_or(u32::MAX),
            ..request
        }),
        Message::Read(read) => Message::Read(wire::Read {
            page: most,
            arrived: u32::try_from(choices.near(most.into())).unwrap_or(u32::MAX),
            count: [PAGES_MAX, u16::MAX, 0][choices.below(3)],
            ..read
        }),
        other => other,
    }
}
