//! What clients ask of a node.

use bytes::Bytes;
use quorate::operation::{Expected, Operation};
use quorate::types::{Digest, LogIndex, LogTime, Sequence, SessionId};
use quorate::wire::{PIECE_BYTES, Query, Read, ReadId, Request};

/// A session that was minted when only the genesis was committed.
pub fn session(random: u64) -> SessionId {
    SessionId { minted_at: LogIndex(1), random }
}

pub fn put(key: &str, value: impl Into<Bytes>) -> Operation {
    Operation::Put { key: Bytes::copy_from_slice(key.as_bytes()), value: value.into() }
}

pub fn delete(key: &str) -> Operation {
    Operation::Delete { key: Bytes::copy_from_slice(key.as_bytes()) }
}

pub fn increment(key: &str) -> Operation {
    Operation::Increment { key: Bytes::copy_from_slice(key.as_bytes()), by: 1 }
}

/// A comparison with what never stands there.
pub fn compare_in_vain(key: &str) -> Operation {
    Operation::CompareAndSwap {
        key: Bytes::copy_from_slice(key.as_bytes()),
        expected: Expected::Value("never there".into()),
        value: Bytes::new(),
    }
}

/// The session's first operation; its first piece, if it is longer than one.
pub fn request(session: SessionId, operation: &Operation) -> Request {
    pieces(session, operation).remove(0)
}

/// The session's first operation in pieces.
pub fn pieces(session: SessionId, operation: &Operation) -> Vec<Request> {
    let mut bytes = Vec::new();
    operation.encode(&mut bytes);
    let whole = Request {
        session,
        sequence: Sequence(1),
        floor: Sequence(1),
        not_after: LogTime(0),
        hops: 0,
        one_shot: false,
        settle: false,
        digest: Digest::of(&bytes),
        length: u32::try_from(bytes.len()).expect("a short operation"),
        piece: 0,
        bytes: Bytes::new(),
    };
    let bytes = bytes.chunks(PIECE_BYTES).map(Bytes::copy_from_slice);
    (0..).zip(bytes).map(|(piece, bytes)| Request { piece, bytes, ..whole.clone() }).collect()
}

/// A linearizable read of the key.
pub fn get(key: &str) -> Read {
    read(Query::Get { key: Bytes::copy_from_slice(key.as_bytes()) })
}

/// A stale read of everything.
pub fn list_stale() -> Read {
    Read { stale: true, ..read(Query::List { prefix: Bytes::new(), limit: 0 }) }
}

/// A linearizable read of all keys that begin with the prefix.
pub fn list(prefix: &str) -> Read {
    read(Query::List { prefix: Bytes::copy_from_slice(prefix.as_bytes()), limit: 0 })
}

fn read(query: Query) -> Read {
    let read = ReadId { client: 1, number: 1 };
    Read { read, query, stale: false, pin: 0, arrived: 0, page: 0, count: 64 }
}
