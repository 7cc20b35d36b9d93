//! Parts of handshakes at one node, in any order: lost, late, repeated, changed, from other
//! addresses, of strangers, while keys change and processes start again.
//!
//! Nobody who has not proved its address gets more bytes than it sent. What opens was sealed
//! by a holder of a key, and opens once. A session begins where a holder of a key has finished
//! the handshake, and once. The node remembers no more ways than it has sessions and peers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quorate::seal::{HANDSHAKE_BYTES, KeyRing};
use quorate::time::Instant;
use quorate::types::{
    ClusterHash, DirectoryId, GenesisId, Incarnation, LifeId, LossShare, PacketNumber, ServerId,
};
use quorate::wire::{self, GenesisHash, Header, Message, StatusRequest};

use super::choices::Choices;
use super::life::{CLUSTER, address_of};
use super::seals::{Datagram, Heard, Side, Unopened, change, ring};

/// An input that is longer has no more steps than this.
const STEPS_MAX: usize = 1_000;
/// The last of these datagrams may come again.
const RECORDED_MAX: usize = 256;
const NODE: ServerId = ServerId(1);
const HELLO: u8 = 112;
const WELCOME: u8 = 113;
const FINISH: u8 = 114;
const MISMATCH: u8 = 115;
/// The nodes and clients that hold a key come before the strangers.
const HOLDERS: usize = 5;
const SIDES: usize = 7;
/// The one that holds a key, and is of a cluster of another name.
const NAMESAKE: usize = 6;

/// Takes the steps that the input describes.
pub fn handshake(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut stage = Stage::new();
    for _ in 0..STEPS_MAX {
        if choices.is_empty() {
            return;
        }
        stage.step(&mut choices);
    }
}

/// The keys of the node, by turns.
fn node_keys(which: usize) -> Arc<KeyRing> {
    ring(match which {
        0 => "node 1 %1\nclient ann 2 %2 r\nclient bob 3 %3 rw b/",
        1 => "node 4 %4\nnode 1 %1\nclient ann 2 %2 r",
        2 => "node 1 %1\nnode 4 %4\nclient bob 3 %3 rw b/",
        _ => "node 4 %4",
    })
}

struct Stage {
    now: Instant,
    lives: u8,
    node: Side,
    sides: Vec<Side>,
    recorded: Vec<Datagram>,
    unopened: Unopened,
    /// Addresses that have answered what was sent to them.
    proved: BTreeSet<SocketAddr>,
    /// How many bytes the others have sent, less what they were answered.
    budgets: BTreeMap<SocketAddr, usize>,
    /// What a holder of a key has said to finish a handshake with this life of the node, and
    /// from where: each begins one session, at that address.
    finishes: BTreeMap<Vec<u8>, SocketAddr>,
    /// All that holders of a key have ever sent.
    genuine: BTreeSet<Vec<u8>>,
    packets: u64,
}

impl Stage {
    fn new() -> Self {
        let node = Side::start(NODE, address_of(NODE), &node_keys(0), 1);
        Self {
            now: Instant(1_000_000),
            lives: 100,
            node,
            sides: (0..SIDES).map(|which| side(which, 2)).collect(),
            recorded: Vec::new(),
            unopened: Unopened::default(),
            proved: BTreeSet::new(),
            budgets: BTreeMap::new(),
            finishes: BTreeMap::new(),
            genuine: BTreeSet::new(),
            packets: 0,
        }
    }

    fn step(&mut self, choices: &mut Choices) {
        let which = choices.below(SIDES);
        match choices.below(16) {
            0 | 1 => drop(self.ask(which)),
            2 | 3 => self.talk(which),
            4..=6 => self.deliver(&self.chosen(choices)),
            7 => {
                let from = self.sides[which].address;
                self.deliver(&Datagram { from, ..self.chosen(choices) });
            }
            8 => {
                let mut datagram = self.chosen(choices);
                change(&mut datagram.bytes, choices);
                self.deliver(&datagram);
            }
            9 => self.deliver(&self.invented(which, choices)),
            10 => self.now = self.now + Duration::from_millis(choices.pair().into()),
            11 => self.answer(which),
            12 => self.tend(),
            13 => self.node.sealer.set_keys(node_keys(choices.below(4))),
            14 => self.be_born(which, choices),
            _ => self.start_again(which, choices),
        }
        self.check_memory();
    }

    /// A side has something to say to the node. Returns what leaves.
    fn ask(&mut self, which: usize) -> Vec<Datagram> {
        let frame = self.frame(self.sides[which].id, NODE);
        let side = &mut self.sides[which];
        if which < HOLDERS {
            self.unopened.sealed(side.address, &frame);
        }
        let sent = side.send(self.now, self.node.address, &frame);
        self.record(&sent);
        sent
    }

    /// The node has something to say to a side.
    fn answer(&mut self, which: usize) {
        let Side { id, address, .. } = self.sides[which];
        let frame = self.frame(NODE, id);
        let sent = self.node.send(self.now, address, &frame);
        self.record(&sent);
    }

    /// The node greets where its sessions are by a former key.
    fn tend(&mut self) {
        let sent = self.node.tend(self.now);
        self.record(&sent);
    }

    /// The same as [`Self::ask`], and all that follows arrives.
    fn talk(&mut self, which: usize) {
        let mut sent = self.ask(which);
        for _ in 0..16 {
            let Some(datagram) = sent.pop() else { return };
            sent.extend(self.arrive(&datagram));
        }
    }

    fn deliver(&mut self, datagram: &Datagram) {
        self.arrive(datagram);
    }

    fn arrive(&mut self, datagram: &Datagram) -> Vec<Datagram> {
        let said = if datagram.to == self.node.address {
            let (heard, said) = self.node.hear(self.now, datagram);
            self.check(datagram, &heard, &said);
            said
        } else {
            let at = |side: &&mut Side| side.address == datagram.to;
            let Some(side) = self.sides.iter_mut().find(at) else { return Vec::new() };
            side.hear(self.now, datagram).1
        };
        self.record(&said);
        said
    }

    fn check(&mut self, datagram: &Datagram, heard: &Heard, said: &[Datagram]) {
        let from = datagram.from;
        assert!(said.iter().all(|answer| answer.to == from), "somebody else is answered");
        if let Ok(Some((_, frame))) = heard {
            self.unopened.opened(from, frame);
        }
        let has_begun = self.node.sealer.take_begun().is_some();
        if has_begun && datagram.bytes.get(3) == Some(&FINISH) {
            let finished_from = self.finishes.remove(&datagram.bytes);
            assert_eq!(finished_from, Some(from), "a session begins that nobody has finished");
        }
        if heard.is_err() && datagram.bytes.get(3) != Some(&WELCOME) {
            let is_mismatch = |answer: &Datagram| answer.bytes.get(3) == Some(&MISMATCH);
            let is_told = datagram.bytes.get(3) == Some(&HELLO) && said.iter().all(is_mismatch);
            assert!(said.is_empty() || is_told, "what is dropped is answered");
            assert!(!has_begun, "a session begins with what is dropped");
        }
        assert!(said.is_empty() || self.is_made_by_a_holder(datagram), "a stranger is answered");
        if has_begun || matches!(heard, Ok(Some(_))) {
            self.proved.insert(from);
        }
        if self.proved.contains(&from) {
            return;
        }
        let bytes: usize = said.iter().map(|answer| answer.bytes.len()).sum();
        let budget = self.budgets.entry(from).or_default();
        *budget += datagram.bytes.len();
        *budget = budget.checked_sub(bytes).expect("no more than it has sent");
    }

    /// What is answered was said before, as it is, by who holds a key.
    fn is_made_by_a_holder(&self, datagram: &Datagram) -> bool {
        self.genuine.contains(&datagram.bytes)
    }

    fn check_memory(&self) {
        let (sessions, ways) = self.node.sealer.remembered();
        assert!(ways <= sessions + SIDES, "{ways} ways");
    }

    fn record(&mut self, sent: &[Datagram]) {
        for datagram in sent {
            let is_of_holder = self.sides[..HOLDERS].iter().any(|one| one.address == datagram.from);
            if is_of_holder || datagram.from == self.sides[NAMESAKE].address {
                self.genuine.insert(datagram.bytes.clone());
            }
            if is_of_holder && datagram.bytes.get(3) == Some(&FINISH) {
                self.finishes.insert(datagram.bytes.clone(), datagram.from);
            }
            if self.recorded.len() == RECORDED_MAX {
                self.recorded.remove(0);
            }
            self.recorded.push(datagram.clone());
        }
    }

    /// One of the last datagrams. When there is none, one that says nothing.
    fn chosen(&self, choices: &mut Choices) -> Datagram {
        let back = choices.below(256);
        let (from, to) = (address_of(ServerId(9)), self.node.address);
        let none = Datagram { from, to, bytes: Vec::new() };
        self.recorded.iter().rev().nth(back).cloned().unwrap_or(none)
    }

    /// What looks like a part of a handshake, up to what it says.
    fn invented(&self, which: usize, choices: &mut Choices) -> Datagram {
        let mut bytes = b"QR\x01".to_vec();
        bytes.push(112 + u8::try_from(choices.below(4)).unwrap_or(0));
        bytes.extend(ClusterHash::of(CLUSTER).0.to_le_bytes());
        bytes.extend(choices.bytes(HANDSHAKE_BYTES - 8));
        bytes.resize(HANDSHAKE_BYTES, choices.byte());
        Datagram { from: self.sides[which].address, to: self.node.address, bytes }
    }

    fn be_born(&mut self, which: usize, choices: &mut Choices) {
        let genesis = GenesisId(7 + choices.below(2) as u64);
        self.node.sealer.set_genesis(GenesisId(7));
        self.sides[which].sealer.set_genesis(genesis);
    }

    fn start_again(&mut self, which: usize, choices: &mut Choices) {
        self.lives = self.lives.wrapping_add(1).max(1);
        if choices.flag() {
            self.node = Side::start(NODE, address_of(NODE), &node_keys(0), self.lives);
            self.finishes.clear();
        } else {
            self.sides[which] = side(which, self.lives);
        }
    }

    /// No two frames are the same.
    fn frame(&mut self, sender: ServerId, destination: ServerId) -> Vec<u8> {
        self.packets += 1;
        let header = Header {
            cluster: ClusterHash::of(CLUSTER),
            genesis: GenesisHash::default(),
            sender,
            destination,
            directory: DirectoryId(7),
            incarnation: Incarnation(1),
            life: LifeId(1),
            packet: PacketNumber(self.packets),
            echo: None,
            loss: LossShare(0),
        };
        let mut bytes = Vec::new();
        wire::encode(&header, &Message::StatusRequest(StatusRequest { nonce: 5 }), &mut bytes);
        bytes
    }
}

/// Two nodes and three clients with keys; a node with another key of the same number; a node
/// of a cluster of another name.
fn side(which: usize, life: u8) -> Side {
    let port = u16::try_from(which).unwrap_or(0);
    let port = 100 + 8 * u16::from(life) + port;
    let client = (ServerId::NONE, SocketAddr::from(([11, 0, 0, 1], port)));
    let node = |id: u16| (ServerId(id), address_of(ServerId(id)));
    let (cluster, who, keys) = match which {
        0 => (CLUSTER, node(2), "node 1 %1\nnode 4 %4"),
        1 => (CLUSTER, node(3), "node 4 %4\nnode 1 %1"),
        2 => (CLUSTER, client, "node 1 %1"),
        3 => (CLUSTER, client, "client ann 2 %2 r"),
        4 => (CLUSTER, client, "client bob 3 %3 rw b/"),
        5 => (CLUSTER, node(4), "node 1 %5"),
        _ => ("another", node(5), "node 1 %1"),
    };
    let life = life.wrapping_mul(8).wrapping_add(u8::try_from(which).unwrap_or(0)).max(9);
    Side::of_cluster(cluster, who, &ring(keys), life)
}
