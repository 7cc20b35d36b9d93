//! A client that puts one key, and what it is told.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use bytes::Bytes;
use quorate::operation::Operation;
use quorate::types::{
    ClusterHash, Digest, DirectoryId, Incarnation, LifeId, LogIndex, LogTime, LossShare,
    PacketNumber, Sequence, ServerId, SessionId,
};
use quorate::wire::{self, GenesisHash, Header, Message, Request};

use super::disk::CLUSTER;

/// Where it asks from.
pub const ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(11, 0, 0, 1), 7));

/// The frame that asks for its `nth` operation.
pub fn put(nth: u8) -> Bytes {
    let (key, value) = (Bytes::from_static(b"key"), Bytes::copy_from_slice(&[nth]));
    let mut bytes = Vec::new();
    Operation::Put { key, value }.encode(&mut bytes);
    let request = Request {
        session: SessionId { minted_at: LogIndex(1), random: u64::from(nth) + 1 },
        sequence: Sequence(1),
        floor: Sequence(1),
        not_after: LogTime(0),
        hops: 0,
        one_shot: true,
        settle: false,
        digest: Digest::of(&bytes),
        length: u32::try_from(bytes.len()).expect("a short operation"),
        piece: 0,
        bytes: bytes.into(),
    };
    let header = Header {
        cluster: ClusterHash::of(CLUSTER),
        genesis: GenesisHash::default(),
        sender: ServerId::NONE,
        destination: ServerId::NONE,
        directory: DirectoryId(9),
        incarnation: Incarnation(0),
        life: LifeId(0),
        packet: PacketNumber(1),
        echo: None,
        loss: LossShare(0),
    };
    let mut frame = Vec::new();
    wire::encode(&header, &Message::Request(request), &mut frame);
    frame.into()
}

/// The index at which the answer says that the operation took effect.
pub fn acknowledged(message: &Message) -> Option<LogIndex> {
    match message {
        Message::Reply(reply) => Some(reply.settled.index),
        _ => None,
    }
}
