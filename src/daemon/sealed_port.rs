//! The socket with what seals and opens: the node behind it knows plain frames only.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::complaints::{Complaints, Dropped};
use super::udp_port::UdpPort;
use crate::seal::{Begun, KeyRing, Mismatch, Sealer, named_key};
use crate::time::Instant;
use crate::types::{GenesisId, ServerId};
use crate::wire::{DropCause, PortStatus};

/// How many who do not belong here are remembered, so that each is named once.
const STRANGERS_MAX: usize = 64;
/// How long one is remembered that is not heard any more.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// A socket whose frames are sealed, unless there is no key.
#[derive(Debug)]
pub struct SealedPort {
    port: UdpPort,
    sealer: Option<Box<Sealer>>,
    complaints: Complaints,
    /// Who does not belong here, as the log has told, and when that was last heard.
    strangers: BTreeMap<SocketAddr, (Mismatch, Instant)>,
}

/// What came in.
#[derive(Debug)]
pub enum Arrival {
    /// A frame, and the key that it was sealed with; zero: with none.
    Frame(SocketAddr, u16, Bytes),
    /// A part of a handshake, and the session that it has begun.
    Handshake(Option<Begun>),
    /// Something to be dropped, and from where it came.
    Dropped(SocketAddr, DropCause),
}

impl SealedPort {
    /// Without a sealer, frames are sent and taken as they are.
    pub fn new(port: UdpPort, sealer: Option<Sealer>) -> Self {
        let sealer = sealer.map(Box::new);
        let complaints = Complaints::default();
        Self { port, sealer, complaints, strangers: BTreeMap::new() }
    }

    /// What came of datagrams at the socket.
    pub fn status(&self) -> PortStatus {
        self.port.status()
    }

    /// The cluster that the node belongs to.
    pub fn set_genesis(&mut self, genesis: GenesisId) {
        if let Some(sealer) = &mut self.sealer {
            sealer.set_genesis(genesis);
        }
    }

    /// The key file was read again. What keys are gone for ends at once.
    ///
    /// # Errors
    /// These must not take the place of those before.
    pub fn set_keys(&mut self, keys: &Arc<KeyRing>) -> Result<(), String> {
        let Some(sealer) = &mut self.sealer else { return Ok(()) };
        sealer.keys().check_successor(keys)?;
        sealer.set_keys(Arc::clone(keys));
        Ok(())
    }

    /// The poll says that something is there.
    pub fn set_readable(&mut self) {
        self.port.set_readable();
    }

    /// Whether something may be left to be read.
    pub fn is_readable(&self) -> bool {
        self.port.is_readable()
    }

    /// The next datagram, if there is one. Which node is known to be at an address, if one is, is
    /// said by `node_at`.
    pub fn receive(
        &mut self,
        now: Instant,
        node_at: impl Fn(SocketAddr) -> Option<ServerId>,
    ) -> Option<Arrival> {
        let Self { port, sealer, complaints, .. } = self;
        let (source, datagram) = port.receive()?;
        let Some(sealer) = sealer else {
            return Some(Arrival::Frame(source, 0, own_memory(datagram)));
        };
        let arrival = match sealer.open(now, source, datagram) {
            Ok(Some(opened)) => {
                Arrival::Frame(source, opened.key.0, own_memory(&datagram[..opened.length]))
            }
            Ok(None) => {
                let begun = sealer.take_begun();
                if begun.is_some() {
                    self.forget_stranger(source);
                }
                Arrival::Handshake(begun)
            }
            Err(cause) => {
                match sealer.take_mismatch() {
                    Some(mismatch) => self.introduce(now, mismatch),
                    None => {
                        let (node, key) = (node_at(source), named_key(datagram));
                        complaints.on_dropped(now, &Dropped { source, node, key, cause });
                    }
                }
                Arrival::Dropped(source, cause)
            }
        };
        self.send_handshakes();
        Some(arrival)
    }

    /// A frame that was sent to this address, and that nobody took there; no bytes, if what came
    /// back is none of this side's. Each call takes one, whatever strangers make come back.
    pub fn take_refused(&mut self) -> Option<(SocketAddr, Bytes)> {
        let Self { port, sealer, .. } = self;
        let (to, datagram) = port.take_refused()?;
        let length = match sealer {
            Some(sealer) => sealer.reopen(to, datagram).unwrap_or(0),
            None => datagram.len(),
        };
        Some((to, own_memory(&datagram[..length])))
    }

    /// Tells who has just begun a session that it has the number of a node which is elsewhere.
    pub fn tell_double(&mut self, now: Instant, begun: &Begun) {
        if let Some(sealer) = &mut self.sealer {
            sealer.tell_double(now, begun);
        }
        self.send_handshakes();
    }

    /// Sends what is due because keys were replaced.
    pub fn tend(&mut self, now: Instant) {
        if let Some(sealer) = &mut self.sealer {
            sealer.tend(now);
        }
        self.send_handshakes();
    }

    /// Sends the frame, or loses it. Its bytes are of no use afterwards.
    pub fn send(&mut self, now: Instant, to: SocketAddr, frame: &mut Vec<u8>) {
        let is_ready = self.sealer.as_mut().is_none_or(|sealer| sealer.seal(now, to, frame));
        self.send_handshakes();
        if is_ready {
            self.port.send(to, frame);
        }
    }

    fn send_handshakes(&mut self) {
        let Self { port, sealer, .. } = self;
        let Some(sealer) = sealer else { return };
        while let Some((to, datagram)) = sealer.poll_send() {
            port.send(to, &datagram);
        }
    }

    /// Who was named and comes to a session is no stranger any more. One that does not hear this
    /// node, for it has the number of another, comes to sessions as well, and would be named
    /// anew for each.
    fn forget_stranger(&mut self, source: SocketAddr) {
        let known = self.strangers.get(&source);
        if known.is_some_and(|(known, _)| known.cause != DropCause::Address) {
            self.strangers.remove(&source);
        }
    }

    /// Who holds a key and does not belong here is named once, and again when something about it
    /// has changed.
    fn introduce(&mut self, now: Instant, mismatch: Mismatch) {
        let Some(sealer) = &self.sealer else { return };
        self.strangers.retain(|_, (_, heard_at)| now.since(*heard_at) < FORGET_AFTER);
        let known = self.strangers.get(&mismatch.address).map(|(known, _)| known);
        if known != Some(&mismatch) {
            if known.is_none() && self.strangers.len() >= STRANGERS_MAX {
                return;
            }
            let config = sealer.config();
            log::warn!("{}", mismatch.sentence(config.own, &config.cluster));
        }
        self.strangers.insert(mismatch.address, (mismatch, now));
    }
}

/// An entry that stays in the log must not hold on to a whole buffer of frames that are long
/// gone, so its memory is its own, and just as long.
fn own_memory(datagram: &[u8]) -> Bytes {
    Bytes::copy_from_slice(datagram)
}

#[cfg(test)]
mod tests {
    use mio::{Poll, Token};

    use super::*;
    use crate::seal::{Cipher, LifeSecret, SealerConfig, Secret};
    use crate::types::{
        ClusterHash, DirectoryId, Incarnation, LifeId, LossShare, PacketNumber, ServerId,
    };
    use crate::wire::{self, GenesisHash, Header, Message, StatusRequest};

    fn bind(poll: &Poll) -> UdpPort {
        UdpPort::bind("127.0.0.1:0".parse().unwrap(), poll.registry(), Token(0)).unwrap()
    }

    /// A greeting that nobody took says nothing of a leader. It counts all the same as one that a
    /// turn has looked at: else whoever forges such messages would hold the loop.
    #[test]
    fn what_comes_back_and_is_no_frame_is_one_of_those_that_a_turn_takes() {
        let keys = KeyRing::parse(&format!("node 1 {}", "1".repeat(64))).unwrap();
        let config =
            SealerConfig { own: ServerId(1), cluster: "quorate".into(), cipher: Cipher::Aes };
        let life = LifeSecret::new(&Secret::new([7; 32]));
        let poll = Poll::new().unwrap();
        let sealer = Sealer::new(config, Arc::new(keys), life);
        let mut here = SealedPort::new(bind(&poll), Some(sealer));
        let nobody = bind(&Poll::new().unwrap()).local_address().unwrap();

        here.send(Instant(1), nobody, &mut frame_to(ServerId(2)));
        assert!(here.receive(Instant(1), |_| None).is_none());
        assert_eq!(here.take_refused(), Some((nobody, Bytes::new())));
        assert_eq!(here.take_refused(), None);
    }

    fn frame_to(destination: ServerId) -> Vec<u8> {
        let header = Header {
            cluster: ClusterHash::of("quorate"),
            genesis: GenesisHash::default(),
            sender: ServerId(1),
            destination,
            directory: DirectoryId(1),
            incarnation: Incarnation(1),
            life: LifeId(1),
            packet: PacketNumber(1),
            echo: None,
            loss: LossShare(0),
        };
        let mut frame = Vec::new();
        wire::encode(&header, &Message::StatusRequest(StatusRequest { nonce: 1 }), &mut frame);
        frame
    }
}
