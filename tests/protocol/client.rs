//! Clients, as nodes see them.

use std::net::SocketAddr;

use bytes::Bytes;
use quorate::types::LossShare;
use quorate::wire::{self, Header, Message};

use super::clients;
use super::members::CLUSTER;

/// Where a client is: each number is one at an address of its own.
pub fn address(client: u32) -> SocketAddr {
    let [a, b, c, d] = client.to_be_bytes();
    SocketAddr::from(([11, b, c, d], 1 + u16::from(a)))
}

/// The frame by which a client asks something.
pub fn frame(message: &Message) -> Bytes {
    clients::frame(CLUSTER, message)
}

/// The same, of a client that loses such a share of what nodes send to it.
pub fn frame_of_one_that_loses(loss: LossShare, message: &Message) -> Bytes {
    let header = Header { loss, ..clients::header(CLUSTER) };
    let mut frame = Vec::new();
    wire::encode(&header, message, &mut frame);
    frame.into()
}
