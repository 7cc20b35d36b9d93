//! Clients, as nodes see them.

use std::net::SocketAddr;

use bytes::Bytes;
use quorate::wire::Message;

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
