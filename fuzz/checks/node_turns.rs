//! Arbitrary turns of one node of three: frames that follow the format and frames that do
//! not, timers, syncs, clients and losses of power.
//!
//! It never panics, its term, its commit index and its votes never go back, and what was on
//! its disk is there when it is started again.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use quorate::replica::Room;
use quorate::sim::SimDirectory;
use quorate::time::Instant;
use quorate::types::{
    ClusterHash, DirectoryId, Incarnation, LifeId, LossShare, PacketNumber, ServerId,
};
use quorate::wire::{self, Echo, GenesisHash, Header};

use super::choices::Choices;
use super::frames;
use super::life::{self, CLUSTER, Life, address_of, configuration, directory_of};
use super::turns::Seen;

const SIZE: usize = 3;
const MYSELF: ServerId = ServerId(1);
/// An input that is longer takes no more turns than this.
const TURNS_MAX: usize = 1_000;

/// Takes the turns that the input describes.
pub fn node_turns(input: &[u8]) {
    let mut choices = Choices::new(input);
    let directory = match choices.below(4) {
        0 => life::blank(MYSELF),
        2 => life::in_doubt(MYSELF),
        _ => life::born(MYSELF, SIZE),
    };
    let mut stage = Stage::new(directory);
    for _ in 0..TURNS_MAX {
        if choices.is_empty() {
            return;
        }
        stage.turn(&mut choices);
    }
}

struct Stage {
    now: Instant,
    life: Option<Life>,
    began_in_doubt: bool,
    seen: Seen,
    next_packet: u64,
    /// The newest frame that each node has from this one.
    heard: BTreeMap<ServerId, PacketNumber>,
}

impl Stage {
    fn new(directory: SimDirectory) -> Self {
        let now = Instant(1_000_000);
        let (life, recovered) = Life::start_in_doubt(SIZE, directory, now, 1);
        Self {
            now,
            life: Some(life),
            began_in_doubt: recovered.doubt.is_some(),
            seen: Seen::default(),
            next_packet: 1,
            heard: BTreeMap::new(),
        }
    }

    fn turn(&mut self, choices: &mut Choices) {
        match choices.below(16) {
            0..=5 => self.hear(choices),
            6 | 7 => self.ask(choices),
            8 => self.receive_anything(choices),
            9 => self.wait(Duration::from_millis(choices.byte().into())),
            10 => self.time_out(),
            11 => self.life().write(),
            12 | 13 => self.catch_up(),
            14 => self.attend_to_the_disk(choices),
            _ => self.lose_power(choices),
        }
        self.end_turn();
    }

    fn life(&mut self) -> &mut Life {
        self.life.as_mut().expect("it always runs")
    }

    /// A frame of another node, with a body that fits or any body.
    fn hear(&mut self, choices: &mut Choices) {
        let header = self.header(choices);
        let source = address_of(header.sender);
        let frame = if choices.below(8) == 0 {
            frames::raw(&header, choices)
        } else {
            let message = frames::from_peer(choices, &self.life().node, SIZE);
            encode(&header, &message)
        };
        let now = self.now;
        self.life().node.on_datagram(now, source, &frame);
    }

    /// Mostly that of a listed node in its first life, which has heard this one lately.
    fn header(&mut self, choices: &mut Choices) -> Header {
        let oddity = choices.byte();
        let sender = ServerId(if oddity & 7 == 7 { 4 } else { 2 + u16::from(oddity & 1) });
        let heard = self.heard.get(&sender).copied();
        self.next_packet += 1;
        let is_born = self.life().node.state().is_born();
        let genesis = GenesisHash::of(configuration(SIZE).genesis);
        Header {
            cluster: ClusterHash::of(CLUSTER),
            genesis: if is_born { genesis } else { GenesisHash::default() },
            sender,
            destination: MYSELF,
            directory: match oddity >> 3 & 7 {
                7 => DirectoryId(choices.byte().into()),
                _ => directory_of(sender),
            },
            incarnation: Incarnation(if oddity >= 240 { choices.byte().into() } else { 1 }),
            life: LifeId(if oddity == 255 { 2 } else { 1 }),
            packet: PacketNumber(self.next_packet),
            echo: heard.filter(|_| oddity & 64 == 0).map(|packet| Echo { packet, age: 0 }),
            loss: LossShare(0),
        }
    }

    fn ask(&mut self, choices: &mut Choices) {
        let header = frames::client_header();
        let source = ([11, 0, 0, 1], u16::from(choices.byte())).into();
        let frame = if choices.below(8) == 0 {
            frames::raw(&header, choices)
        } else {
            encode(&header, &frames::from_client(choices, &self.life().node))
        };
        let now = self.now;
        self.life().node.on_datagram(now, source, &frame);
    }

    fn receive_anything(&mut self, choices: &mut Choices) {
        let length = usize::from(choices.byte()) * 4;
        let mut bytes = choices.bytes(length).to_vec();
        if choices.flag() {
            wire::seal(&mut bytes);
        }
        let now = self.now;
        self.life().node.on_datagram(now, address_of(ServerId(2)), &bytes.into());
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        let now = self.now;
        self.life().node.on_timeout(now);
    }

    fn time_out(&mut self) {
        let next = self.life().node.next_deadline().expect("a node always waits for something");
        self.wait(next.since(self.now));
    }

    /// The disk does all that it is asked to.
    fn catch_up(&mut self) {
        let now = self.now;
        self.life().write();
        while self.life().sync(now) {
            self.end_turn();
            self.life().write();
        }
    }

    fn attend_to_the_disk(&mut self, choices: &mut Choices) {
        let now = self.now;
        match choices.below(4) {
            0 => {
                self.life().sync(now);
            }
            1 => {
                let free = u64::from(choices.pair()) * 64;
                self.life().node.on_room(Room { free, all: u64::MAX });
            }
            2 => self.life().node.hand_over(now),
            _ => self.life().keep_snapshot(now),
        }
    }

    /// A loss of power raises no doubt where there was none.
    fn lose_power(&mut self, choices: &mut Choices) {
        let life = self.life.take().expect("it always runs");
        let directory = life.lose_power(choices.pair().into());
        let (life, recovered) =
            Life::start_in_doubt(SIZE, directory, self.now, choices.byte().into());
        assert!(self.began_in_doubt || recovered.doubt.is_none(), "something synced is missing");
        self.seen.restart(&life.node);
        self.heard.clear();
        self.life = Some(life);
    }

    fn end_turn(&mut self) {
        let now = self.now;
        let life = self.life.as_mut().expect("it always runs");
        let sent = life.end_turn(now);
        self.seen.turn(&life.node, sent.iter().map(|(_, frame)| frame));
        for (_, frame) in sent {
            let header = wire::decode(&frame).expect("a node's own frame").header;
            self.heard.insert(header.destination, header.packet);
        }
    }
}

fn encode(header: &Header, message: &wire::Message) -> Bytes {
    let mut frame = Vec::new();
    wire::encode(header, message, &mut frame);
    frame.into()
}
