//! How a key stands at a node, by its number, as it tells clients.

use bytes::BufMut;

use super::fields::{put_count, take_list};
use super::kind::Body;
use crate::codec::{Malformed, Reader};
use crate::types::{NODES_MAX, ServerId};

/// A client asks how a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRequest {
    /// Repeated in the answer.
    pub nonce: u64,
    /// The key.
    pub key: u16,
}

/// Whether a node takes a key, and which keys are in use between it and others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStanding {
    /// That of the request.
    pub nonce: u64,
    /// The node.
    pub id: ServerId,
    /// The key that was asked about.
    pub key: u16,
    /// The node takes what is sealed with it.
    pub taken: bool,
    /// The other nodes, and the key of the newest session with each; zero: there was none.
    pub peers: Vec<(ServerId, u16)>,
}

impl Body for KeyRequest {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.nonce);
        out.put_u16_le(self.key);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self { nonce: reader.u64()?, key: reader.u16()? })
    }
}

impl Body for KeyStanding {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.nonce);
        out.put_u16_le(self.id.0);
        out.put_u16_le(self.key);
        out.put_u8(u8::from(self.taken));
        put_count(out, self.peers.len());
        for (peer, key) in &self.peers {
            out.put_u16_le(peer.0);
            out.put_u16_le(*key);
        }
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            nonce: reader.u64()?,
            id: ServerId(reader.u16()?),
            key: reader.u16()?,
            taken: reader.bool()?,
            peers: take_list(reader, NODES_MAX, |reader| {
                Ok((ServerId(reader.u16()?), reader.u16()?))
            })?,
        })
    }
}
