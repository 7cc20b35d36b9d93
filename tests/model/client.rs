//! A client that puts one key, and what it is told.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use bytes::Bytes;
use quorate::operation::Operation;
use quorate::types::{LogIndex, SessionId};
use quorate::wire::Message;

use super::clients;
use super::disk::CLUSTER;

/// Where it asks from.
pub const ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(11, 0, 0, 1), 7));

/// The frame that asks for its `nth` operation.
pub fn put(nth: u8) -> Bytes {
    let (key, value) = (Bytes::from_static(b"key"), Bytes::copy_from_slice(&[nth]));
    let session = SessionId { minted_at: LogIndex(1), random: u64::from(nth) + 1 };
    let request = clients::one_shot(session, &Operation::Put { key, value });
    clients::frame(CLUSTER, &Message::Request(request))
}

/// The index at which the answer says that the operation took effect.
pub fn acknowledged(message: &Message) -> Option<LogIndex> {
    match message {
        Message::Reply(reply) => Some(reply.settled.index),
        _ => None,
    }
}
