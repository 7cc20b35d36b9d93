//! A session: two keys, and the numbers of what was sealed and opened with them.

use std::net::SocketAddr;

use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};

use super::handshake::{self, Handshake};
use super::keys::KeyId;
use super::replay_window::ReplayWindow;
use super::way::WayId;
use crate::time::Instant;
use crate::types::ServerId;
use crate::wire::{DropCause, HEADER_BYTES, SealedHeader};

const TAG_BYTES: usize = 16;
const NUMBER_BYTES: usize = 8;
/// By how much a sealed frame is longer.
pub const SEAL_BYTES: usize = TAG_BYTES + NUMBER_BYTES;

/// What two sides have in common for a while.
#[derive(Debug)]
pub struct Session {
    /// Its number, on both sides.
    pub id: u32,
    /// The key that it follows from.
    pub key: KeyId,
    /// The random bits of who began it.
    pub beginner: handshake::Nonce,
    /// The other side; none: a client.
    pub peer: ServerId,
    /// Where that has proved to be.
    pub address: SocketAddr,
    /// When the other side was last heard in it, or when it began.
    pub heard_at: Instant,
    /// Since when neither side sends in it any more.
    pub left_at: Option<Instant>,
    /// What is to be sent again until the other side is heard, and when it was last sent.
    pub finish: Option<(Vec<u8>, Instant)>,
    sealing: LessSafeKey,
    opening: LessSafeKey,
    sealed: u64,
    opened: ReplayWindow,
}

impl Session {
    /// The session that the handshake has led to, with these keys.
    pub fn new(
        finish: &Handshake,
        (peer, address): (ServerId, SocketAddr),
        [sealing, opening]: [LessSafeKey; 2],
        now: Instant,
    ) -> Self {
        Self {
            id: finish.session(),
            key: finish.key,
            beginner: finish.beginner,
            peer,
            address,
            heard_at: now,
            left_at: None,
            finish: None,
            sealing,
            opening,
            sealed: 0,
            opened: ReplayWindow::default(),
        }
    }

    /// Which other side it is with, and where that is.
    pub fn way(&self) -> WayId {
        (self.address, self.peer)
    }

    /// Seals the frame where it lies. No number is ever used twice, and no session survives
    /// the process.
    pub fn seal(&mut self, frame: &mut Vec<u8>) {
        self.sealed += 1;
        let length = frame.len() - HEADER_BYTES + SEAL_BYTES;
        SealedHeader { key: self.key.0, session: self.id }.write(frame, length);
        let (header, message) = frame.split_at_mut(HEADER_BYTES);
        let (nonce, header) = (nonce(self.sealed), Aad::from(&*header));
        let tag = self.sealing.seal_in_place_separate_tag(nonce, header, message);
        let tag = tag.expect("a frame is shorter than what a cipher may take");
        frame.extend_from_slice(tag.as_ref());
        frame.extend_from_slice(&self.sealed.to_le_bytes());
    }

    /// Whether so much was sealed that there should be another one.
    pub fn is_worn(&self) -> bool {
        self.sealed.max(self.opened.newest()) >= WORN_AT
    }

    /// Opens a sealed frame where it lies. Returns its length as a plain frame.
    ///
    /// # Errors
    /// The cause for which it must be dropped. Then its bytes are of no use.
    pub fn open(&mut self, datagram: &mut [u8], source: SocketAddr) -> Result<usize, DropCause> {
        if source != self.address {
            return Err(DropCause::Address);
        }
        let number = number_of(datagram)?;
        if number == 0 || number > NUMBER_MAX || !self.opened.is_new(number) {
            return Err(DropCause::Replay);
        }
        let length = open_in_place(&self.opening, number, datagram)?;
        self.opened.mark(number);
        Ok(length)
    }

    /// Opens, where it lies, what this side has sealed and the network has brought back.
    /// Returns its length as a plain frame. Whether it came back before is not looked at.
    ///
    /// # Errors
    /// This side has not sealed it, or not all of it is there.
    pub fn reopen(&self, datagram: &mut [u8]) -> Result<usize, DropCause> {
        open_in_place(&self.sealing, number_of(datagram)?, datagram)
    }
}

fn number_of(datagram: &[u8]) -> Result<u64, DropCause> {
    if datagram.len() < HEADER_BYTES + SEAL_BYTES {
        return Err(DropCause::Length);
    }
    datagram.last_chunk().map(|bytes| u64::from_le_bytes(*bytes)).ok_or(DropCause::Length)
}

fn open_in_place(key: &LessSafeKey, number: u64, datagram: &mut [u8]) -> Result<usize, DropCause> {
    let sealed_to = datagram.len() - NUMBER_BYTES;
    let (header, message) = datagram[..sealed_to].split_at_mut(HEADER_BYTES);
    let opened = key.open_in_place(nonce(number), Aad::from(&*header), message);
    Ok(HEADER_BYTES + opened.map_err(|_| DropCause::Seal)?.len())
}

/// With 75 blocks of a cipher to a frame, what so many frames tell of the key is worth less
/// than a chance of 2^-57, which is what RFC 9001, section 6.6, asks for.
const WORN_AT: u64 = 1 << 30;

/// Nobody seals that many frames. Beyond it, the window's sums might not fit.
const NUMBER_MAX: u64 = 1 << 62;

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - NUMBER_BYTES..].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
impl Session {
    /// With keys that everybody knows.
    pub(super) fn sample(id: u32, peer: ServerId, address: SocketAddr) -> Self {
        use super::handshake::{Cipher, Step};
        let [a, b, c, d] = id.to_le_bytes();
        let mut answerer = [0; 32];
        answerer[..4].copy_from_slice(&[a, b, c, d]);
        let finish = Handshake {
            step: Step::Finish,
            cluster: crate::types::ClusterHash(0),
            sender: peer,
            destination: ServerId(1),
            key: KeyId(1),
            cipher: Cipher::Aes,
            genesis: crate::types::GenesisId(0),
            issued: Instant(0),
            beginner: [0; 32],
            answerer,
        };
        let key = || {
            let key = ring::aead::UnboundKey::new(&ring::aead::AES_256_GCM, &[1; 32]);
            LessSafeKey::new(key.expect("a key has 32 bytes"))
        };
        Self::new(&finish, (peer, address), [key(), key()], Instant(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::sample(1, ServerId(2), SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    /// wire-format.md: "when 2^30 frames were sealed", by whichever side.
    #[test]
    fn a_session_is_worn_by_what_either_side_has_sealed() {
        let mut sending = session();
        sending.sealed = WORN_AT - 1;
        assert!(!sending.is_worn());
        sending.seal(&mut vec![0; HEADER_BYTES]);
        assert!(sending.is_worn());
        let mut receiving = session();
        receiving.opened.mark(WORN_AT - 1);
        assert!(!receiving.is_worn());
        receiving.opened.mark(WORN_AT);
        assert!(receiving.is_worn());
    }

    #[test]
    fn numbers_that_nobody_gives_are_refused_unopened() {
        let mut session = session();
        let mut refuse = |length: usize, number: u64| {
            let mut datagram = vec![0; length];
            datagram[length - NUMBER_BYTES..].copy_from_slice(&number.to_le_bytes());
            let address = session.address;
            session.open(&mut datagram, address).expect_err("it is forged")
        };
        let shortest = HEADER_BYTES + SEAL_BYTES;
        assert_eq!(refuse(shortest - 1, 1), DropCause::Length);
        for number in [0, NUMBER_MAX + 1, u64::MAX] {
            assert_eq!(refuse(shortest, number), DropCause::Replay, "{number}");
        }
        for number in [1, NUMBER_MAX] {
            assert_eq!(refuse(shortest, number), DropCause::Seal, "{number}");
        }
    }
}
