//! Where frames between nodes have died, as a node tells clients: each way, and its own socket.

use bytes::BufMut;

use super::fields::{put_count, put_option, take_list, take_option};
use super::kind::Body;
use crate::access::Denials;
use crate::codec::{Malformed, Reader};
use crate::types::{LossShare, NODES_MAX, ServerId};

/// A client asks for the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrafficRequest {
    /// Repeated in the answer.
    pub nonce: u64,
}

/// What has come of frames, as one node knows. All is counted since it was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// That of the request.
    pub nonce: u64,
    /// The node.
    pub id: ServerId,
    /// Its socket.
    pub port: PortStatus,
    /// How often it has sent an answer to a client again, unasked.
    pub repeated_answers: u64,
    /// What it has denied clients.
    pub denied: DenialCounts,
    /// The ways to and from the other nodes.
    pub peers: Vec<PeerTraffic>,
}

/// How many requests of clients a node has denied, by the right that was missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DenialCounts {
    /// To write, by who may only read.
    pub read_only: u64,
    /// Keys, to who has no right to them.
    pub other_keys: u64,
    /// To change the members, by clients.
    pub clients_key: u64,
}

impl From<Denials> for DenialCounts {
    fn from(denials: Denials) -> Self {
        let Denials { read_only, other_keys, clients_key, .. } = denials;
        Self { read_only, other_keys, clients_key }
    }
}

/// What came of datagrams at a node's own socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStatus {
    /// How many the system has dropped, since they came in faster than they were read; none:
    /// it does not tell.
    pub overflowed: Option<u64>,
    /// How many it did not take to be sent, since too many waited.
    pub refused: u64,
    /// How many could not be sent for other reasons.
    pub unsent: u64,
    /// How many bytes each buffer of the socket should have.
    pub buffer_wanted: u32,
    /// How many bytes of datagrams may wait to be read.
    pub receive_buffer: u32,
    /// How many bytes of datagrams may wait to be sent.
    pub send_buffer: u32,
}

/// What has come of the frames to and from another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerTraffic {
    /// The other node.
    pub id: ServerId,
    /// How many were sent to it.
    pub sent: u64,
    /// How many of them only since others might be lost.
    pub copies: u64,
    /// How many of its frames have arrived.
    pub arrived: u64,
    /// How many of its frames are lost.
    pub lost: u64,
    /// How many of its frames came once more.
    pub doubled: u64,
    /// How many of its frames came after later ones.
    pub late: u64,
    /// The losses of late, on the way to it, as it says, and on the way back.
    pub losses: [LossShare; 2],
}

impl Body for TrafficRequest {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.nonce);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self { nonce: reader.u64()? })
    }
}

impl Body for Traffic {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.nonce);
        out.put_u16_le(self.id.0);
        self.port.put(out);
        out.put_u64_le(self.repeated_answers);
        self.denied.put(out);
        put_count(out, self.peers.len());
        for peer in &self.peers {
            put_peer(out, peer);
        }
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            nonce: reader.u64()?,
            id: ServerId(reader.u16()?),
            port: PortStatus::take(reader)?,
            repeated_answers: reader.u64()?,
            denied: DenialCounts::take(reader)?,
            peers: take_list(reader, NODES_MAX, take_peer)?,
        })
    }
}

impl DenialCounts {
    fn put(self, out: &mut Vec<u8>) {
        out.put_u64_le(self.read_only);
        out.put_u64_le(self.other_keys);
        out.put_u64_le(self.clients_key);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        let (read_only, other_keys) = (reader.u64()?, reader.u64()?);
        Ok(Self { read_only, other_keys, clients_key: reader.u64()? })
    }
}

impl PortStatus {
    fn put(self, out: &mut Vec<u8>) {
        put_option(out, self.overflowed, BufMut::put_u64_le);
        out.put_u64_le(self.refused);
        out.put_u64_le(self.unsent);
        out.put_u32_le(self.buffer_wanted);
        out.put_u32_le(self.receive_buffer);
        out.put_u32_le(self.send_buffer);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            overflowed: take_option(reader, Reader::u64)?,
            refused: reader.u64()?,
            unsent: reader.u64()?,
            buffer_wanted: reader.u32()?,
            receive_buffer: reader.u32()?,
            send_buffer: reader.u32()?,
        })
    }
}

fn put_peer(out: &mut Vec<u8>, peer: &PeerTraffic) {
    out.put_u16_le(peer.id.0);
    out.put_u64_le(peer.sent);
    out.put_u64_le(peer.copies);
    out.put_u64_le(peer.arrived);
    out.put_u64_le(peer.lost);
    out.put_u64_le(peer.doubled);
    out.put_u64_le(peer.late);
    out.put_slice(&peer.losses.map(|loss| loss.0));
}

fn take_peer(reader: &mut Reader) -> Result<PeerTraffic, Malformed> {
    Ok(PeerTraffic {
        id: ServerId(reader.u16()?),
        sent: reader.u64()?,
        copies: reader.u64()?,
        arrived: reader.u64()?,
        lost: reader.u64()?,
        doubled: reader.u64()?,
        late: reader.u64()?,
        losses: [LossShare(reader.u8()?), LossShare(reader.u8()?)],
    })
}
