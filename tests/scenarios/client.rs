//! What clients ask.

use std::net::SocketAddr;

use bytes::Bytes;
use quorate::operation::{Expected, Operation};
use quorate::types::{LogIndex, SessionId};
use quorate::wire::{Message, Query, Read, ReadId};

use super::clients;
use super::member::CLUSTER;

/// The name of a client is one letter; its address follows from that.
pub fn address_of(client: char) -> SocketAddr {
    SocketAddr::from(([11, 0, 0, 1], u16::try_from(u32::from(client)).expect("a letter")))
}

/// Who is at the address.
pub fn at(address: SocketAddr) -> Option<char> {
    ('a'..='z').find(|client| address_of(*client) == address)
}

/// The frame by which the client asks this; the session of its `nth` operation has no other.
pub fn frame(client: char, nth: u64, words: &[&str]) -> Result<Bytes, String> {
    let session = SessionId { minted_at: LogIndex(1), random: u64::from(client) << 32 | nth };
    let bytes = |word: &str| Bytes::copy_from_slice(word.as_bytes());
    let message = match *words {
        ["get", key] => Message::Read(read(session.random, bytes(key))),
        ["put", key, value] => {
            let (key, value) = (bytes(key), bytes(value));
            Message::Request(clients::one_shot(session, &Operation::Put { key, value }))
        }
        ["swap", key, old, "for", new] => {
            let (key, expected) = (bytes(key), Expected::Value(bytes(old)));
            let operation = Operation::CompareAndSwap { key, expected, value: bytes(new) };
            Message::Request(clients::one_shot(session, &operation))
        }
        _ => return Err("a client puts, swaps or gets".into()),
    };
    Ok(clients::frame(CLUSTER, &message))
}

fn read(client: u64, key: Bytes) -> Read {
    let read = ReadId { client, number: 1 };
    let query = Query::Get { key };
    Read { read, query, stale: false, pin: 0, arrived: 0, page: 0, count: 1 }
}
