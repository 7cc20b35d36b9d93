//! By which times a node judges who is silent, as it tells clients.

use bytes::BufMut;

use super::fields::{put_count, put_option, take_list, take_option};
use super::kind::Body;
use crate::codec::{Malformed, Reader};
use crate::types::{LossShare, NODES_MAX, ServerId};

/// A client asks for the times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeoutsRequest {
    /// Repeated in the answer.
    pub nonce: u64,
}

/// How long others may be silent to a node, and what that follows from. All times are in
/// microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// That of the request.
    pub nonce: u64,
    /// The node.
    pub id: ServerId,
    /// The leader that it follows, or is.
    pub leader_id: Option<ServerId>,
    /// How long its leader may be silent; or, if it leads, the last of its followers.
    pub election_timeout: u32,
    /// The election timeout that the command line pins.
    pub pinned_timeout: Option<u32>,
    /// The heartbeat interval that the command line pins.
    pub pinned_interval: Option<u32>,
    /// The other nodes.
    pub peers: Vec<PeerTimeouts>,
}

/// What is known of the way to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerTimeouts {
    /// The other node.
    pub id: ServerId,
    /// The smoothed round trip; none: not measured.
    pub round_trip: Option<u32>,
    /// How much a round trip differs from that.
    pub variation: u32,
    /// The losses on the way to it, and on the way back.
    pub losses: [LossShare; 2],
    /// Frames enough were judged for the losses to be relied on.
    pub enough: bool,
    /// Frames wait in a queue on the way.
    pub congested: bool,
    /// The longest silence of the last ten minutes that ended.
    pub longest_silence: u32,
    /// What follows; none where neither of the two leads the other.
    pub judgment: Option<Judgment>,
}

/// When a node counts as silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgment {
    /// How many rounds may fail in a row.
    pub rounds: u8,
    /// How often the leader of the two speaks to the other.
    pub interval: u32,
    /// How long the other node may be silent.
    pub timeout: u32,
    /// What has decided that.
    pub basis: TimeoutBasis,
}

/// What has decided how long a node may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutBasis {
    /// Too little is known of the way.
    Unmeasured,
    /// Round trip, losses and interval.
    Formula,
    /// The longest silence.
    Silence,
    /// The command line.
    Pinned,
}

/// What is told in one byte: whether enough is known, and whether there is a queue.
const ENOUGH: u8 = 1;
const CONGESTED: u8 = 2;

impl Body for TimeoutsRequest {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.nonce);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self { nonce: reader.u64()? })
    }
}

impl Body for Timeouts {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.nonce);
        out.put_u16_le(self.id.0);
        out.put_u16_le(self.leader_id.unwrap_or_default().0);
        out.put_u32_le(self.election_timeout);
        put_option(out, self.pinned_timeout, BufMut::put_u32_le);
        put_option(out, self.pinned_interval, BufMut::put_u32_le);
        put_count(out, self.peers.len());
        for peer in &self.peers {
            put_peer(out, peer);
        }
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            nonce: reader.u64()?,
            id: ServerId(reader.u16()?),
            leader_id: Some(ServerId(reader.u16()?)).filter(|leader| *leader != ServerId::NONE),
            election_timeout: reader.u32()?,
            pinned_timeout: take_option(reader, Reader::u32)?,
            pinned_interval: take_option(reader, Reader::u32)?,
            peers: take_list(reader, NODES_MAX, take_peer)?,
        })
    }
}

fn put_peer(out: &mut Vec<u8>, peer: &PeerTimeouts) {
    out.put_u16_le(peer.id.0);
    put_option(out, peer.round_trip, BufMut::put_u32_le);
    out.put_u32_le(peer.variation);
    out.put_slice(&peer.losses.map(|loss| loss.0));
    let (enough, congested) = (u8::from(peer.enough), u8::from(peer.congested));
    out.put_u8((enough * ENOUGH) | (congested * CONGESTED));
    out.put_u32_le(peer.longest_silence);
    put_option(out, peer.judgment, |out, judgment| {
        out.put_u8(judgment.rounds);
        out.put_u32_le(judgment.interval);
        out.put_u32_le(judgment.timeout);
        out.put_u8(match judgment.basis {
            TimeoutBasis::Unmeasured => 0,
            TimeoutBasis::Formula => 1,
            TimeoutBasis::Silence => 2,
            TimeoutBasis::Pinned => 3,
        });
    });
}

fn take_peer(reader: &mut Reader) -> Result<PeerTimeouts, Malformed> {
    let id = ServerId(reader.u16()?);
    let round_trip = take_option(reader, Reader::u32)?;
    let variation = reader.u32()?;
    let losses = [LossShare(reader.u8()?), LossShare(reader.u8()?)];
    let flags = reader.u8()?;
    if flags > ENOUGH | CONGESTED {
        return Err(Malformed);
    }
    Ok(PeerTimeouts {
        id,
        round_trip,
        variation,
        losses,
        enough: flags & ENOUGH != 0,
        congested: flags & CONGESTED != 0,
        longest_silence: reader.u32()?,
        judgment: take_option(reader, take_judgment)?,
    })
}

fn take_judgment(reader: &mut Reader) -> Result<Judgment, Malformed> {
    Ok(Judgment {
        rounds: reader.u8()?,
        interval: reader.u32()?,
        timeout: reader.u32()?,
        basis: match reader.u8()? {
            0 => TimeoutBasis::Unmeasured,
            1 => TimeoutBasis::Formula,
            2 => TimeoutBasis::Silence,
            3 => TimeoutBasis::Pinned,
            _ => return Err(Malformed),
        },
    })
}
