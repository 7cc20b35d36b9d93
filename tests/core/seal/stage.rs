//! Two sealers, and everything that was ever on the way between them.

use std::net::SocketAddr;
use std::sync::Arc;

use ring::hkdf::{HKDF_SHA256, Salt};
use ring::hmac::{self, HMAC_SHA256};

use quorate::seal::{Begun, Cipher, KeyRing, LifeSecret, Sealer, SealerConfig, Secret};
use quorate::time::Instant;
use quorate::types::{
    ClusterHash, DirectoryId, GenesisId, Incarnation, LifeId, LossShare, PacketNumber, ServerId,
};
use quorate::wire::{self, DropCause, GenesisHash, Header, Message, StatusRequest};

pub const CLIENT: ServerId = ServerId::NONE;

/// One process: a node by its number, or a client.
pub struct Side {
    pub id: ServerId,
    pub address: SocketAddr,
    pub sealer: Sealer,
    /// The plain frames that it has taken.
    pub taken: Vec<Vec<u8>>,
    /// What it has dropped.
    pub dropped: Vec<DropCause>,
    /// The newest session that it has begun.
    pub begun: Option<Begun>,
}

/// A datagram that was on its way.
#[derive(Clone, Debug)]
pub struct Sent {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

/// The keys that a file with these lines holds; `%d` stands for 64 digits of d.
pub fn ring(lines: &str) -> Arc<KeyRing> {
    let mut text = lines.to_owned();
    for digit in '1'..='9' {
        text = text.replace(&format!("%{digit}"), &digit.to_string().repeat(64));
    }
    Arc::new(KeyRing::parse(&text).expect("the keys are right"))
}

pub fn address(of: ServerId) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9_000 + of.0))
}

impl Side {
    /// A process of the cluster `quorate`, in the life of this number.
    pub fn start(id: u16, keys: &Arc<KeyRing>, life: u8) -> Self {
        Self::of_cluster("quorate", id, keys, life)
    }

    pub fn of_cluster(cluster: &str, id: u16, keys: &Arc<KeyRing>, life: u8) -> Self {
        Self::with_cipher(Cipher::Aes, cluster, id, keys, life)
    }

    pub fn with_cipher(
        cipher: Cipher,
        cluster: &str,
        id: u16,
        keys: &Arc<KeyRing>,
        life: u8,
    ) -> Self {
        let id = ServerId(id);
        let config = SealerConfig { own: id, cluster: cluster.into(), cipher };
        let life = LifeSecret::new(&Secret::new([life; 32]));
        let sealer = Sealer::new(config, Arc::clone(keys), life);
        Self {
            id,
            address: address(id),
            sealer,
            taken: Vec::new(),
            dropped: Vec::new(),
            begun: None,
        }
    }

    /// Seals a frame for the other side. Returns the datagrams that leave.
    pub fn send(&mut self, now: Instant, to: (ServerId, SocketAddr), frame: &[u8]) -> Vec<Sent> {
        let mut frame = frame.to_vec();
        let is_ready = self.sealer.seal(now, to.1, &mut frame);
        let mut sent = self.poll();
        if is_ready {
            sent.push(Sent { from: self.address, to: to.1, bytes: frame });
        }
        sent
    }

    /// Takes a datagram in. Returns those that leave because of it.
    pub fn hear(&mut self, now: Instant, datagram: &Sent) -> Vec<Sent> {
        let mut bytes = datagram.bytes.clone();
        match self.sealer.open(now, datagram.from, &mut bytes) {
            Ok(Some(opened)) => self.taken.push(bytes[..opened.length].to_vec()),
            Ok(None) => self.begun = self.sealer.take_begun().or(self.begun),
            Err(cause) => self.dropped.push(cause),
        }
        self.poll()
    }

    /// Time passes. Returns the datagrams that leave.
    pub fn tend(&mut self, now: Instant) -> Vec<Sent> {
        self.sealer.tend(now);
        self.poll()
    }

    /// Who began the newest session does not belong at its address. Returns what leaves.
    pub fn tell_double(&mut self, now: Instant) -> Vec<Sent> {
        self.sealer.tell_double(now, &self.begun.expect("a session has begun"));
        self.poll()
    }

    fn poll(&mut self) -> Vec<Sent> {
        let from = self.address;
        let outbox = std::iter::from_fn(|| self.sealer.poll_send());
        outbox.map(|(to, bytes)| Sent { from, to, bytes }).collect()
    }

    /// Why it drops the datagram. It says nothing to it.
    #[track_caller]
    pub fn refuses(&mut self, now: Instant, datagram: &Sent) -> DropCause {
        let (taken, dropped) = (self.taken.len(), self.dropped.len());
        let said = self.hear(now, datagram);
        assert!(said.is_empty(), "it answers what it must not take");
        assert_eq!(self.taken.len(), taken, "it takes what it must not");
        *self.dropped.get(dropped).expect("it drops the datagram")
    }
}

/// The part of a handshake that a holder of the key of ones makes of this one, for that node.
pub fn readdressed(said: &Sent, destination: ServerId) -> Sent {
    let mut bytes = said.bytes[..96].to_vec();
    bytes[10..12].copy_from_slice(&destination.0.to_le_bytes());
    let secret = Salt::new(HKDF_SHA256, b"quorate 1 handshake").extract(&[0x11; 32]);
    let key: hmac::Key = secret.expand(&[b"quorate"], HMAC_SHA256).expect("short").into();
    bytes.extend_from_slice(hmac::sign(&key, &bytes).as_ref());
    Sent { bytes, ..said.clone() }
}

/// A frame that says little, with this number.
pub fn frame(from: ServerId, to: ServerId, packet: u64) -> Vec<u8> {
    let header = Header {
        cluster: ClusterHash::of("quorate"),
        genesis: GenesisHash::default(),
        sender: from,
        destination: to,
        directory: DirectoryId(7),
        incarnation: Incarnation(1),
        life: LifeId(1),
        packet: PacketNumber(packet),
        echo: None,
        loss: LossShare(0),
    };
    let mut bytes = Vec::new();
    wire::encode(&header, &Message::StatusRequest(StatusRequest { nonce: 5 }), &mut bytes);
    bytes
}

/// Sends a frame from one to the other, and lets all that follows arrive. Returns all
/// datagrams, in their order.
pub fn talk(now: Instant, from: &mut Side, to: &mut Side, packet: u64) -> Vec<Sent> {
    let sent = from.send(now, (to.id, to.address), &frame(from.id, to.id, packet));
    deliver(now, sent, from, to)
}

/// Lets the datagrams arrive, and all that follow.
pub fn deliver(now: Instant, sent: Vec<Sent>, one: &mut Side, other: &mut Side) -> Vec<Sent> {
    let mut all = sent;
    let mut at = 0;
    while let Some(datagram) = all.get(at).cloned() {
        let side = if datagram.to == one.address { &mut *one } else { &mut *other };
        all.extend(side.hear(now, &datagram));
        at += 1;
    }
    all
}

/// Two nodes that have a session by these keys, and what they have said for it: the three of
/// the handshake, a frame each way.
pub fn acquainted(keys: &Arc<KeyRing>) -> (Side, Side, Vec<Sent>) {
    let (mut one, mut two) = (Side::start(1, keys, 1), Side::start(2, keys, 2));
    let mut sent = talk(Instant(0), &mut one, &mut two, 1);
    sent.extend(talk(Instant(0), &mut two, &mut one, 1));
    assert_eq!((one.taken.len(), two.taken.len(), sent.len()), (1, 1, 5));
    (one, two, sent)
}

/// The birth of the cluster.
pub const GENESIS: GenesisId = GenesisId(77);
