//! The three datagrams by which two sides come to a session, the one that says why they do
//! not, and the keys that follow.
//!
//! All have one layout and one length, so no answer is longer than what it answers:
//! `Hello` with the random bits of who begins, `Welcome` with those of the other side, which
//! keeps nothing for it, and `Finish` that repeats both. docs/security.md says why.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ring::aead::{AES_256_GCM, Algorithm, CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::hmac::{self, HMAC_SHA256};

use super::keys::{Key, KeyId, Secret};
use crate::time::Instant;
use crate::types::{ClusterHash, GenesisId, ServerId};
use crate::wire::{CLUSTER_NAME_BYTES_MAX, DropCause, Envelope, is_cluster_name};

/// The length of each of them.
pub const HANDSHAKE_BYTES: usize = 128;
/// How much of it the tag at its end vouches for.
const VOUCHED_BYTES: usize = 96;
/// How long a `Welcome` may be answered. What came of it is remembered for longer.
pub(super) const WELCOME_LIFE: Duration = Duration::from_secs(5);

const NONCE_BYTES: usize = 32;
/// Where the random bits of who begins end: what lies before is not the same twice.
const FRESH_BYTES: usize = 64;
const HANDSHAKE_LABEL: &[u8] = b"quorate 1 handshake";
const NAME_LABEL: &[u8] = b"quorate 1 name";
const SESSION_LABEL: &[u8] = b"quorate 1 session";

/// Random bits of one side for one handshake.
pub type Nonce = [u8; NONCE_BYTES];

/// Which of them it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// Who begins says that it wants a session.
    Hello = 112,
    /// The other side adds its own random bits, and forgets about it.
    Welcome = 113,
    /// Who began repeats them: it was reached at its address, just now.
    Finish = 114,
    /// Instead of `Welcome`: the other side is not who is greeted, or of another cluster.
    Mismatch = 115,
}

impl Step {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Hello, Self::Welcome, Self::Finish, Self::Mismatch];

    /// The step that a datagram's kind stands for.
    pub fn from_kind(kind: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|step| *step as u8 == kind)
    }
}

/// How the frames of a session are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cipher {
    /// AES-256-GCM, where both processors have instructions for it.
    Aes = 1,
    /// ChaCha20-Poly1305, elsewhere.
    ChaCha = 2,
}

impl Cipher {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Aes, Self::ChaCha].into_iter().find(|cipher| *cipher as u8 == byte)
    }

    /// The one that is fast on both sides.
    pub(super) fn for_both(self, other: Self) -> Self {
        if self == other { self } else { Self::ChaCha }
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes => &AES_256_GCM,
            Self::ChaCha => &CHACHA20_POLY1305,
        }
    }
}

/// One of these datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Which.
    pub step: Step,
    /// The cluster's name, in short.
    pub cluster: ClusterHash,
    /// Who sends it; none: a client.
    pub sender: ServerId,
    /// Whom it is for; none: a client, or whichever node receives it.
    pub destination: ServerId,
    /// The key that the tag is made with, and the session will be.
    pub key: KeyId,
    /// The cipher that is best for the sender; from `Welcome` on the session's.
    pub cipher: Cipher,
    /// The birth of the cluster as far as the sender knows; in `Finish`, as either knows.
    pub genesis: GenesisId,
    /// When the `Welcome` was made, by the clock of who made it.
    pub issued: Instant,
    /// The random bits of who begins.
    pub beginner: Nonce,
    /// Those of the other side; in `Hello` and `Mismatch` the name of the sender's cluster,
    /// hidden.
    pub answerer: Nonce,
}

impl Handshake {
    /// The number of the session that it leads to.
    pub fn session(&self) -> u32 {
        let [a, b, c, d, ..] = self.answerer;
        u32::from_le_bytes([a, b, c, d])
    }

    /// Its bytes, with a tag by the key.
    pub fn encode(&self, key: &hmac::Key) -> Vec<u8> {
        let mut out = self.vouched();
        let tag = hmac::sign(key, &out);
        out.extend_from_slice(tag.as_ref());
        out
    }

    /// The bytes with which the name must be brought so that only a holder of the key reads it.
    pub fn hide(&self, name: &str, key: &hmac::Key) -> Nonce {
        const { assert!(CLUSTER_NAME_BYTES_MAX <= NONCE_BYTES) };
        let mut hidden = self.cover(key);
        hidden.iter_mut().zip(name.bytes()).for_each(|(byte, of_name)| *byte ^= of_name);
        hidden
    }

    /// The name that it brings, if a cluster may have it. Nothing tells yet whether whoever made
    /// it holds the key.
    pub fn reveal(&self, key: &hmac::Key) -> Option<String> {
        let cover = self.cover(key);
        let mut name: Vec<u8> = cover.iter().zip(self.answerer).map(|(a, b)| a ^ b).collect();
        let length = name.iter().rposition(|byte| *byte != 0)? + 1;
        name.truncate(length);
        String::from_utf8(name).ok().filter(|name| is_cluster_name(name))
    }

    fn cover(&self, key: &hmac::Key) -> Nonce {
        let mut cover = [0; NONCE_BYTES];
        cover.copy_from_slice(hmac::sign(key, &self.vouched()[..FRESH_BYTES]).as_ref());
        cover
    }

    fn vouched(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HANDSHAKE_BYTES);
        Envelope { kind: self.step as u8, cluster: self.cluster }.put(&mut out);
        out.extend_from_slice(&self.sender.0.to_le_bytes());
        out.extend_from_slice(&self.destination.0.to_le_bytes());
        out.extend_from_slice(&self.key.0.to_le_bytes());
        out.extend_from_slice(&[self.cipher as u8, 0]);
        out.extend_from_slice(&self.genesis.0.to_le_bytes());
        out.extend_from_slice(&self.issued.0.to_le_bytes());
        out.extend_from_slice(&self.beginner);
        out.extend_from_slice(&self.answerer);
        out
    }

    /// What the datagram says, whoever made it: its tag is looked at by [`vouch`].
    pub fn decode(datagram: &[u8]) -> Result<Self, DropCause> {
        let envelope = Envelope::take(datagram)?;
        let step = Step::from_kind(envelope.kind).ok_or(DropCause::Kind)?;
        let bytes: &[u8; HANDSHAKE_BYTES] = datagram.try_into().map_err(|_| DropCause::Length)?;
        if bytes[15] != 0 {
            return Err(DropCause::Malformed);
        }
        Ok(Self {
            step,
            cluster: envelope.cluster,
            sender: ServerId(u16::from_le_bytes(field(bytes, 8))),
            destination: ServerId(u16::from_le_bytes(field(bytes, 10))),
            key: KeyId(u16::from_le_bytes(field(bytes, 12))),
            cipher: Cipher::from_byte(bytes[14]).ok_or(DropCause::Malformed)?,
            genesis: GenesisId(u64::from_le_bytes(field(bytes, 16))),
            issued: Instant(u64::from_le_bytes(field(bytes, 24))),
            beginner: field(bytes, 32),
            answerer: field(bytes, 64),
        })
    }
}

fn field<const N: usize>(bytes: &[u8; HANDSHAKE_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

/// Whether the tag at the datagram's end was made with the key.
pub fn vouch(datagram: &[u8], key: &hmac::Key) -> Result<(), DropCause> {
    let (vouched, tag) = datagram.split_at_checked(VOUCHED_BYTES).ok_or(DropCause::Length)?;
    hmac::verify(key, vouched, tag).map_err(|_| DropCause::Seal)
}

/// The key of the tags: it follows from the secret and the cluster's name, which is all that
/// a blank node knows.
pub fn handshake_key(key: &Key, cluster: &str) -> hmac::Key {
    let secret = Salt::new(HKDF_SHA256, HANDSHAKE_LABEL).extract(key.secret());
    let info = [cluster.as_bytes()];
    secret.expand(&info, HMAC_SHA256).expect("a tag's key is short enough").into()
}

/// The key that hides the names of clusters.
pub fn name_key(key: &Key) -> hmac::Key {
    let secret = Salt::new(HKDF_SHA256, NAME_LABEL).extract(key.secret());
    secret.expand(&[], HMAC_SHA256).expect("a tag's key is short enough").into()
}

/// The two keys of a session: of what who began it sends, and of what the other side sends.
/// They follow from the secret, from the random bits of both sides, and from all else that
/// the `Finish` says.
pub fn session_keys(finish: &Handshake, key: &Key, cluster: &str) -> [LessSafeKey; 2] {
    let nonces = [finish.beginner, finish.answerer].concat();
    let secret = Salt::new(HKDF_SHA256, &nonces).extract(key.secret());
    let said = finish.vouched();
    [1, 2].map(|direction: u8| {
        let direction = [direction];
        let info = [SESSION_LABEL, &direction, &said, cluster.as_bytes()];
        let derived = secret.expand(&info, finish.cipher.algorithm());
        LessSafeKey::new(UnboundKey::from(derived.expect("a key is short enough")))
    })
}

/// Random bits of one life of a process, and all random bits that follow from them.
pub struct LifeSecret {
    key: hmac::Key,
    drawn: u64,
}

impl LifeSecret {
    /// `random` must be fresh in each life of the process.
    pub fn new(random: &Secret) -> Self {
        Self { key: hmac::Key::new(HMAC_SHA256, random.as_ref()), drawn: 0 }
    }

    /// Random bits that this life has not drawn before.
    pub(super) fn draw(&mut self) -> Nonce {
        self.drawn += 1;
        self.tag(&[b"drawn".as_slice(), &self.drawn.to_le_bytes()].concat())
    }

    /// The random bits of a `Welcome` that is issued now for this `Hello` from this address.
    /// Nothing needs to be kept for it: when they come back, they are made again.
    pub(super) fn answer(&self, hello: &Handshake, from: SocketAddr, issued: Instant) -> Nonce {
        self.tag(&answered(hello, from, issued))
    }

    /// Whether the `Finish` repeats what this life has said to that address.
    pub(super) fn has_answered(&self, finish: &Handshake, from: SocketAddr) -> bool {
        let answered = answered(finish, from, finish.issued);
        hmac::verify(&self.key, &answered, &finish.answerer).is_ok()
    }

    /// From now on nothing counts that was said before.
    pub(super) fn renew(&mut self) {
        *self = Self::new(&Secret::new(self.draw()));
    }

    fn tag(&self, of: &[u8]) -> Nonce {
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(hmac::sign(&self.key, of).as_ref());
        nonce
    }
}

/// What the random bits of a `Welcome` follow from.
fn answered(hello: &Handshake, from: SocketAddr, issued: Instant) -> Vec<u8> {
    let ip = match from.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let numbers = [from.port(), hello.sender.0, hello.key.0, hello.cipher as u16];
    let mut of = b"answer".to_vec();
    of.extend(ip.octets());
    of.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    of.extend(issued.0.to_le_bytes());
    of.extend(hello.beginner);
    of
}

impl std::fmt::Debug for LifeSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LifeSecret")
    }
}
