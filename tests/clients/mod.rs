//! What a client says, for the tests that have nodes and no client.

use bytes::Bytes;
use quorate::operation::Operation;
use quorate::types::{
    ClusterHash, Digest, DirectoryId, LogTime, PacketNumber, Sequence, SessionId,
};
use quorate::wire::{self, Header, Message, Request};

/// The header of a client's frame.
pub fn header(cluster: &str) -> Header {
    Header::of_client(ClusterHash::of(cluster), DirectoryId(9), PacketNumber(1))
}

/// The frame by which a client asks something.
pub fn frame(cluster: &str, message: &Message) -> Bytes {
    let mut frame = Vec::new();
    wire::encode(&header(cluster), message, &mut frame);
    frame.into()
}

/// The only operation of a session.
pub fn one_shot(session: SessionId, operation: &Operation) -> Request {
    let mut bytes = Vec::new();
    operation.encode(&mut bytes);
    Request {
        session,
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
    }
}
