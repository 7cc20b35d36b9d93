//! Datagrams that must be dropped, at least one for each cause.

use std::net::SocketAddr;

use quorate::types::{ClusterHash, Incarnation, ServerId, Term};
use quorate::wire::{DropCause, Frame, GenesisHash, Header, Heartbeat, Message, seal};

use super::encode;
use super::samples::{self, address, client_header, node_header};

/// A datagram that node 1 of the samples' cluster drops.
pub struct Bad {
    pub name: &'static str,
    pub cause: DropCause,
    pub datagram: Vec<u8>,
    /// Whether the bytes alone show it; else it takes a node that knows more.
    pub by_bytes: bool,
    pub source: SocketAddr,
    /// The frame that came before it, by its vector's name.
    pub after: Option<&'static str>,
}

/// At least one for each cause.
pub fn all() -> Vec<Bad> {
    by_bytes().into_iter().chain(by_state()).collect()
}

fn bytes_of(name: &str) -> Vec<u8> {
    encode(&frame(name))
}

fn frame(name: &str) -> Frame {
    let frames = samples::frames();
    frames.into_iter().find(|(found, _)| *found == name).expect("a sample of this name").1
}

/// What the decoder itself refuses.
fn by_bytes() -> Vec<Bad> {
    let changed = |at: usize, byte: u8| {
        let mut bytes = bytes_of("open-session");
        bytes[at] = byte;
        bytes
    };
    let sealed = |at, byte| sealed(changed(at, byte));
    let longer = |more: &[u8]| self::sealed([bytes_of("open-session"), more.to_vec()].concat());
    let shorter = |less: usize| {
        let bytes = bytes_of("open-session");
        bytes[..bytes.len() - less].to_vec()
    };
    let bad = |name, cause, datagram| Bad {
        name,
        cause,
        datagram,
        by_bytes: true,
        source: client_address(),
        after: None,
    };
    vec![
        bad("shorter-than-a-header", DropCause::Length, shorter(9)),
        bad("truncated", DropCause::Length, shorter(1)),
        bad("another-protocol", DropCause::Magic, sealed(0, b'q')),
        bad("another-version", DropCause::Version, sealed(2, 2)),
        // A sealed frame has no checksum, so its key is looked at first.
        bad("an-unknown-key", DropCause::Key, changed(52, 1)),
        bad("a-flipped-bit", DropCause::Checksum, changed(60, 0x40)),
        bad("an-unknown-kind", DropCause::Kind, sealed(3, 127)),
        bad("an-age-without-echo", DropCause::Malformed, sealed(40, 1)),
        bad("message-too-short", DropCause::Malformed, self::sealed(shorter(1))),
        bad("a-byte-left-over", DropCause::Malformed, longer(&[0])),
        bad("half-an-optional-field", DropCause::Malformed, longer(&[200, 4, 0, 1, 2, 3])),
    ]
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    seal(&mut bytes);
    bytes
}

fn client_address() -> SocketAddr {
    "10.0.0.200:40000".parse().expect("an address")
}

/// What is a frame, but not one that node 1 takes from there and then.
fn by_state() -> Vec<Bad> {
    let Frame { message: open, .. } = frame("open-session");
    let Frame { message: beat, .. } = frame("heartbeat");
    let Frame { message: entries, .. } = frame("replicate-two-entries");
    let (client, node) = (client_header(), node_header(2, 1));
    let other = ClusterHash::of("another");
    let bad = |name, cause, header, message: &Message| Bad {
        name,
        cause,
        datagram: encode(&Frame { header, message: message.clone() }),
        by_bytes: false,
        source: if header.sender == ServerId::NONE { client_address() } else { address(2) },
        after: None,
    };
    let before = Header { incarnation: Incarnation(6), ..node };
    let destination = ServerId(3);
    vec![
        bad("another-cluster", DropCause::Cluster, Header { cluster: other, ..client }, &open),
        bad("another-destination", DropCause::Destination, Header { destination, ..client }, &open),
        bad(
            "another-birth",
            DropCause::Genesis,
            Header { genesis: GenesisHash(1), ..client },
            &open,
        ),
        bad("not-listed", DropCause::Sender, node_header(9, 1), &beat),
        bad("a-clients-heartbeat", DropCause::Sender, client, &beat),
        Bad { source: address(3), ..bad("elsewhere", DropCause::Address, node, &beat) },
        Bad {
            after: Some("heartbeat"),
            ..bad("of-a-former-life", DropCause::Incarnation, before, &beat)
        },
        Bad { after: Some("heartbeat"), ..bad("again", DropCause::Duplicate, node, &beat) },
        bad("another-log", DropCause::Chain, node, &after_genesis(&entries)),
        bad("an-absurd-term", DropCause::Protocol, node, &absurd(&beat)),
    ]
}

/// The same entries, said to follow the first one.
fn after_genesis(entries: &Message) -> Message {
    let Message::ReplicateOperation(mut replicate) = entries.clone() else { unreachable!() };
    replicate.previous_index.0 = 1;
    replicate.previous_term = Term(0);
    replicate.entries.truncate(1);
    replicate.entries[0].index.0 = 2;
    Message::ReplicateOperation(replicate)
}

fn absurd(beat: &Message) -> Message {
    let Message::Heartbeat(beat) = *beat else { unreachable!() };
    Message::Heartbeat(Heartbeat { term: Term((1 << 60) + 1), ..beat })
}
