//! The bytes of what a node says of itself.

use bytes::BufMut;

use super::fields::{
    put_address, put_count, put_option, put_text, take_address, take_list, take_option, take_text,
};
use super::kind::Body;
use super::status_message::{
    DiskStatus, NodeStatus, PeerStatus, Role, ScrubStatus, StatusRequest, TurnTimes,
};
use crate::codec::{Malformed, Reader};
use crate::types::{DirectoryId, GenesisId, Incarnation, LogIndex, NODES_MAX, ServerId, Term};

/// The longest name of a cluster, in bytes. It has room in each datagram of a handshake.
pub const CLUSTER_NAME_BYTES_MAX: usize = 32;

/// Whether a cluster may have this name. It stands in log lines and on terminals as it is, so
/// nothing in it may end a line, or be a command.
pub fn is_cluster_name(name: &str) -> bool {
    let fits = (1..=CLUSTER_NAME_BYTES_MAX).contains(&name.len());
    fits && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What is told in one byte: whether its vote counts, and whether its frames are sealed.
const VOTER: u8 = 1;
const SEALED: u8 = 2;
/// The bit beside a node's standing that says that it falls behind.
const FALLS_BEHIND: u8 = 4;

impl Body for StatusRequest {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.nonce);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self { nonce: reader.u64()? })
    }
}

impl Body for NodeStatus {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.nonce);
        out.put_u16_le(self.id.0);
        put_text(out, &self.cluster, CLUSTER_NAME_BYTES_MAX);
        out.put_u64_le(self.genesis.map_or(0, |genesis| genesis.0));
        out.put_u64_le(self.directory.0);
        out.put_u32_le(self.incarnation.0);
        out.put_u8(match self.role {
            Role::Follower => 0,
            Role::Candidate => 1,
            Role::Leader => 2,
        });
        let (voter, sealed) = (u8::from(self.voter) * VOTER, u8::from(self.sealed) * SEALED);
        out.put_u8(voter | sealed);
        out.put_u64_le(self.term.0);
        out.put_u16_le(self.leader_id.unwrap_or_default().0);
        out.put_u64_le(self.last_index.0);
        out.put_u64_le(self.commit_index.0);
        out.put_u64_le(self.durable_index.0);
        out.put_u64_le(self.keys);
        out.put_u32_le(self.sessions);
        out.put_u64_le(self.uptime);
        self.longest_turn.put(out);
        put_count(out, self.dropped.len());
        for (cause, count) in &self.dropped {
            out.put_u8(*cause);
            out.put_u64_le(*count);
        }
        self.disk.put(out);
        put_count(out, self.peers.len());
        for peer in &self.peers {
            put_peer(out, peer);
        }
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        let nonce = reader.u64()?;
        let id = ServerId(reader.u16()?);
        let cluster = take_text(reader, CLUSTER_NAME_BYTES_MAX)?;
        let genesis = Some(GenesisId(reader.u64()?)).filter(|genesis| genesis.0 != 0);
        let directory = DirectoryId(reader.u64()?);
        let incarnation = Incarnation(reader.u32()?);
        let role = take_role(reader)?;
        let (voter, sealed) = take_flags(reader)?;
        Ok(Self {
            nonce,
            id,
            cluster,
            genesis,
            directory,
            incarnation,
            role,
            voter,
            sealed,
            term: Term(reader.u64()?),
            leader_id: Some(ServerId(reader.u16()?)).filter(|leader| *leader != ServerId::NONE),
            last_index: LogIndex(reader.u64()?),
            commit_index: LogIndex(reader.u64()?),
            durable_index: LogIndex(reader.u64()?),
            keys: reader.u64()?,
            sessions: reader.u32()?,
            uptime: reader.u64()?,
            longest_turn: TurnTimes::take(reader)?,
            // A later version may count more causes than this one knows.
            dropped: take_list(reader, usize::from(u8::MAX), |reader| {
                Ok((reader.u8()?, reader.u64()?))
            })?,
            disk: DiskStatus::take(reader)?,
            peers: take_list(reader, NODES_MAX, take_peer)?,
        })
    }
}

impl TurnTimes {
    fn put(self, out: &mut Vec<u8>) {
        out.put_u16_le(self.wall);
        out.put_u16_le(self.cpu);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self { wall: reader.u16()?, cpu: reader.u16()? })
    }
}

impl DiskStatus {
    fn put(self, out: &mut Vec<u8>) {
        out.put_u64_le(self.snapshot_index.0);
        put_option(out, self.free, BufMut::put_u64_le);
        out.put_u8(u8::from(self.low));
        put_option(out, self.missing_from, |out, index| out.put_u64_le(index.0));
        put_option(out, self.fetching, |out, (index, bytes)| {
            out.put_u64_le(index.0);
            out.put_u64_le(bytes);
        });
        put_option(out, self.scrub.passed_age, BufMut::put_u32_le);
        out.put_u16_le(self.scrub.damaged);
        out.put_u16_le(self.scrub.repaired);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            snapshot_index: LogIndex(reader.u64()?),
            free: take_option(reader, Reader::u64)?,
            low: reader.bool()?,
            missing_from: take_option(reader, |reader| Ok(LogIndex(reader.u64()?)))?,
            fetching: take_option(reader, |reader| Ok((LogIndex(reader.u64()?), reader.u64()?)))?,
            scrub: ScrubStatus {
                passed_age: take_option(reader, Reader::u32)?,
                damaged: reader.u16()?,
                repaired: reader.u16()?,
            },
        })
    }
}

fn take_role(reader: &mut Reader) -> Result<Role, Malformed> {
    match reader.u8()? {
        0 => Ok(Role::Follower),
        1 => Ok(Role::Candidate),
        2 => Ok(Role::Leader),
        _ => Err(Malformed),
    }
}

fn take_flags(reader: &mut Reader) -> Result<(bool, bool), Malformed> {
    match reader.u8()? {
        flags if flags <= VOTER | SEALED => Ok((flags & VOTER != 0, flags & SEALED != 0)),
        _ => Err(Malformed),
    }
}

fn put_peer(out: &mut Vec<u8>, peer: &PeerStatus) {
    out.put_u16_le(peer.id.0);
    put_address(out, peer.address);
    let standing = match (peer.voter, peer.listed) {
        (true, _) => 1,
        (false, true) => 2,
        (false, false) => 0,
    };
    out.put_u8(if peer.falls_behind { standing | FALLS_BEHIND } else { standing });
    out.put_u16_le(peer.key);
    put_option(out, peer.heard_age, BufMut::put_u32_le);
    put_option(out, peer.round_trip, BufMut::put_u32_le);
    out.put_u64_le(peer.matched.0);
    out.put_u64_le(peer.durable.0);
    out.put_u32_le(peer.retransmitted);
}

fn take_peer(reader: &mut Reader) -> Result<PeerStatus, Malformed> {
    let (id, address) = (ServerId(reader.u16()?), take_address(reader)?);
    let standing = reader.u8()?;
    let (voter, listed) = match standing & !FALLS_BEHIND {
        0 => (false, false),
        1 => (true, true),
        2 => (false, true),
        _ => return Err(Malformed),
    };
    Ok(PeerStatus {
        id,
        address,
        voter,
        listed,
        key: reader.u16()?,
        heard_age: take_option(reader, Reader::u32)?,
        round_trip: take_option(reader, Reader::u32)?,
        matched: LogIndex(reader.u64()?),
        durable: LogIndex(reader.u64()?),
        retransmitted: reader.u32()?,
        falls_behind: standing & FALLS_BEHIND != 0,
    })
}
