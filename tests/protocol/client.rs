//! Clients, as nodes see them.

use std::net::SocketAddr;

use bytes::Bytes;
use quorate::types::{
    ClusterHash, DirectoryId, Incarnation, LifeId, LossShare, PacketNumber, ServerId,
};
use quorate::wire::{self, GenesisHash, Header, Message};

use super::members::CLUSTER;

/// Where a client is: each number is one at an address of its own.
pub fn address(client: u32) -> SocketAddr {
    let [a, b, c, d] = client.to_be_bytes();
    SocketAddr::from(([11, b, c, d], 1 + u16::from(a)))
}

/// The frame by which a client asks something.
pub fn frame(message: &Message) -> Bytes {
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
    wire::encode(&header, message, &mut frame);
    frame.into()
}
