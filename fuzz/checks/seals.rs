//! Processes that seal what they send, and what was sealed and has not been opened yet.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use quorate::seal::{Cipher, KeyRing, LifeSecret, Opened, Sealer, SealerConfig, Secret};
use quorate::time::Instant;
use quorate::types::ServerId;
use quorate::wire::{self, DropCause};

use super::choices::Choices;
use super::life::CLUSTER;

/// One process: a node by its number, or a client.
pub struct Side {
    pub id: ServerId,
    pub address: SocketAddr,
    pub sealer: Sealer,
}

/// A datagram that is on its way.
#[derive(Clone)]
pub struct Datagram {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

/// The keys of a file with these lines, in which `%d` stands for 64 digits of d.
pub fn ring(lines: &str) -> Arc<KeyRing> {
    let mut text = lines.to_owned();
    for digit in '1'..='9' {
        text = text.replace(&format!("%{digit}"), &digit.to_string().repeat(64));
    }
    Arc::new(KeyRing::parse(&text).expect("the keys are right"))
}

impl Side {
    pub fn start(id: ServerId, address: SocketAddr, keys: &Arc<KeyRing>, life: u8) -> Self {
        Self::of_cluster(CLUSTER, (id, address), keys, life)
    }

    pub fn of_cluster(
        cluster: &str,
        (id, address): (ServerId, SocketAddr),
        keys: &Arc<KeyRing>,
        life: u8,
    ) -> Self {
        let config = SealerConfig { own: id, cluster: cluster.into(), cipher: Cipher::Aes };
        let life = LifeSecret::new(&Secret::new([life; 32]));
        Self { id, address, sealer: Sealer::new(config, Arc::clone(keys), life) }
    }

    /// Seals a frame. Returns the datagrams that leave.
    pub fn send(&mut self, now: Instant, to: SocketAddr, frame: &[u8]) -> Vec<Datagram> {
        let mut frame = frame.to_vec();
        let is_ready = self.sealer.seal(now, to, &mut frame);
        let mut sent = self.poll();
        if is_ready {
            sent.push(Datagram { from: self.address, to, bytes: frame });
        }
        sent
    }

    /// Takes a datagram in. Returns the frame that it holds, if it does, and what leaves.
    pub fn hear(&mut self, now: Instant, datagram: &Datagram) -> (Heard, Vec<Datagram>) {
        let mut bytes = datagram.bytes.clone();
        let opened = self.sealer.open(now, datagram.from, &mut bytes);
        let heard = opened.map(|opened| {
            let Opened { length, key } = opened?;
            bytes.truncate(length);
            Some((key.0, bytes))
        });
        (heard, self.poll())
    }

    /// Says what is due because keys were replaced.
    pub fn tend(&mut self, now: Instant) -> Vec<Datagram> {
        self.sealer.tend(now);
        self.poll()
    }

    fn poll(&mut self) -> Vec<Datagram> {
        let from = self.address;
        let outbox = std::iter::from_fn(|| self.sealer.poll_send());
        outbox.map(|(to, bytes)| Datagram { from, to, bytes }).collect()
    }
}

/// A frame and the number of its key, a part of a handshake, or why it is dropped.
pub type Heard = Result<Option<(u16, Vec<u8>)>, DropCause>;

/// How often each frame may still be opened: once for each time that it was sealed.
#[derive(Default)]
pub struct Unopened {
    left: BTreeMap<(SocketAddr, Vec<u8>), usize>,
}

impl Unopened {
    pub fn sealed(&mut self, from: SocketAddr, frame: &[u8]) {
        *self.left.entry((from, plain(frame))).or_default() += 1;
    }

    /// Whatever opens was sealed there, and opens once.
    pub fn opened(&mut self, from: SocketAddr, frame: &[u8]) {
        let left = self.left.get_mut(&(from, frame.to_vec())).filter(|left| **left > 0);
        *left.expect("it opens what was not sealed, or opens it twice") -= 1;
    }
}

/// The frame as it is once its seal is removed.
fn plain(frame: &[u8]) -> Vec<u8> {
    let mut plain = frame.to_vec();
    plain[52..54].fill(0);
    wire::seal(&mut plain);
    plain
}

/// Changes the bytes in some way.
pub fn change(bytes: &mut Vec<u8>, choices: &mut Choices) {
    let at = usize::from(choices.pair());
    match choices.below(4) {
        0 => bytes.truncate(at % (bytes.len() + 1)),
        1 => bytes.extend_from_slice(&choices.bytes(1 + at % 64)),
        2 => {
            let noise = choices.bytes(1 + at % 16);
            let from = usize::from(choices.pair()) % (bytes.len() + 1);
            let to = (from + noise.len()).min(bytes.len());
            bytes[from..to].copy_from_slice(&noise[..to - from]);
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << choices.below(8);
            }
        }
    }
}
