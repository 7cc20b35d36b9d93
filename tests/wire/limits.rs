//! Every message fits into a frame, and promises of length cost nothing.

use std::net::SocketAddr;

use proptest::prelude::*;
use quorate::configuration::Configuration;
use quorate::entry::Entry;
use quorate::operation::{INLINE_BYTES_MAX, Outcome};
use quorate::types::{
    ENTRY_BYTES_MAX, GenesisId, KEY_BYTES_MAX, LogIndex, LossShare, NODES_MAX, ServerId, Term,
};
use quorate::wire::{
    self, Acknowledge, CLUSTER_NAME_BYTES_MAX, DropCause, FRAME_BYTES_MAX, Frame, HEADER_BYTES,
    Header, Introduce, Kind, Message, NodeStatus, PIECE_BYTES, Query, RANGES_MAX, Standing,
    Timeouts, seal,
};

use super::samples::{configuration, directory, frames};
use super::{decode, encode, strategies};

/// The largest message of each kind that a correct process sends.
fn largest(mut message: Message) -> Message {
    match &mut message {
        Message::Introduce(introduce) => fill_list(introduce),
        Message::GenesisPropose(configuration) | Message::GenesisComplete(configuration) => {
            fill_configuration(configuration);
        }
        Message::Acknowledge(acknowledge) => fill_ranges(acknowledge),
        Message::ReplicateOperation(replicate) => {
            replicate.entries.truncate(1);
            for entry in &mut replicate.entries {
                entry.payload = vec![0; ENTRY_BYTES_MAX].into();
            }
        }
        Message::RepairReply(reply) => {
            reply.end = Some((Term(1), LogIndex(1)));
            reply.entries.truncate(1);
            for entry in &mut reply.entries {
                entry.payload = vec![0; ENTRY_BYTES_MAX].into();
            }
        }
        Message::CatchUpReply(reply) => {
            reply.entries.truncate(1);
            for entry in &mut reply.entries {
                entry.payload = vec![0; ENTRY_BYTES_MAX].into();
            }
        }
        Message::Request(request) => request.bytes = vec![0; PIECE_BYTES].into(),
        Message::Reply(reply) => {
            let value = Some(vec![0; INLINE_BYTES_MAX].into());
            let version = Some(LogIndex(1));
            reply.settled.outcome = Outcome::CompareFailed { version, value };
        }
        Message::Read(read) => {
            read.query = Query::List { prefix: vec![0; KEY_BYTES_MAX].into(), limit: 1 };
        }
        Message::SnapshotPiece(piece) => piece.bytes = vec![0; PIECE_BYTES].into(),
        Message::Page(page) => {
            page.bytes = vec![0; PIECE_BYTES].into();
            page.age = Some(1);
        }
        Message::Status(status) => fill_status(status),
        Message::Timeouts(timeouts) => fill_timeouts(timeouts),
        Message::Traffic(traffic) => traffic.peers = vec![traffic.peers[0]; NODES_MAX - 1],
        Message::MemberReply(reply) => fill_configuration(&mut reply.configuration),
        _ => {}
    }
    message
}

fn fill_configuration(configuration: &mut Configuration) {
    let address: SocketAddr = "[2001:db8::1]:9717".parse().expect("an address");
    configuration.learners.clear();
    configuration.members = (1..=15).map(|id| (ServerId(id), directory(id))).collect();
    configuration.addresses = (1..=15).map(|id| (ServerId(id), address)).collect();
}

fn fill_list(introduce: &mut Introduce) {
    introduce.list = (1..=15).map(|id| (ServerId(id), "x".repeat(64))).collect();
}

fn fill_ranges(acknowledge: &mut Acknowledge) {
    let matched = acknowledge.matched.0;
    let range = |nth: u64| (LogIndex(matched + 2 * nth), LogIndex(matched + 2 * nth));
    acknowledge.received = (1..=RANGES_MAX as u64).map(range).collect();
}

fn fill_status(status: &mut NodeStatus) {
    status.cluster = "x".repeat(CLUSTER_NAME_BYTES_MAX);
    status.genesis = Some(GenesisId(1));
    status.dropped = DropCause::ALL.iter().map(|cause| (cause.code(), 1)).collect();
    status.disk.missing_from = Some(LogIndex(1));
    status.disk.fetching = Some((LogIndex(1), 1));
    status.disk.scrub.passed_age = Some(1);
    let address: SocketAddr = "[2001:db8::1]:9717".parse().expect("an address");
    let mut peer = status.peers[0].clone();
    (peer.address, peer.heard_age, peer.round_trip) = (address, Some(1), Some(1));
    status.peers = vec![peer; NODES_MAX - 1];
}

fn fill_timeouts(timeouts: &mut Timeouts) {
    (timeouts.pinned_timeout, timeouts.pinned_interval) = (Some(1), Some(1));
    let mut peer = timeouts.peers[0];
    peer.round_trip = Some(1);
    timeouts.peers = vec![peer; NODES_MAX - 1];
}

#[test]
fn the_largest_message_of_each_kind_fits_into_a_frame() {
    assert_eq!(configuration().members.len(), 3, "the samples are small");
    let mut kinds: Vec<Kind> = Vec::new();
    for (name, Frame { header, message }) in frames() {
        let frame = Frame { header, message: largest(message) };
        let bytes = encode(&frame);
        assert!(bytes.len() <= FRAME_BYTES_MAX, "{name}: {} bytes", bytes.len());
        assert_eq!(decode(&bytes), Ok(frame), "{name}");
        kinds.push(Kind::of(&decode(&bytes).expect("it decodes").message));
    }
    assert!(Kind::ALL.iter().all(|kind| kinds.contains(kind)));
}

/// What is lost is told in all frames that have room for it.
#[test]
fn only_a_full_frame_does_not_tell_of_losses() {
    let has_entries = |frame: &Frame| match &frame.message {
        Message::ReplicateOperation(replicate) => !replicate.entries.is_empty(),
        _ => false,
    };
    let mut samples = frames().into_iter().map(|(_, frame)| frame);
    let sample = samples.find(has_entries).expect("a sample");
    for loss in [0, 7].map(LossShare) {
        let told = |room: usize| {
            let mut frame = Frame { header: Header { loss, ..sample.header }, ..sample.clone() };
            fill(&mut frame, FRAME_BYTES_MAX - room);
            let mut bytes = Vec::new();
            wire::encode_to_fit(&frame.header, &frame.message, &mut bytes);
            assert!(bytes.len() <= FRAME_BYTES_MAX);
            decode(&bytes).expect("it was encoded").header.loss
        };
        assert_eq!([told(0), told(3)], [LossShare(0); 2]);
        assert_eq!([told(4), told(100)], [loss; 2]);
    }
}

/// Makes the frame so long, without what it tells of losses, by two entries.
fn fill(frame: &mut Frame, length: usize) {
    let Message::ReplicateOperation(replicate) = &mut frame.message else { unreachable!() };
    let entry = replicate.entries[0].clone();
    replicate.entries = [200, 0].map(|length| with_payload(&entry, length)).into();
    let mut bytes = Vec::new();
    let header = Header { loss: LossShare(0), ..frame.header };
    wire::encode(&header, &frame.message, &mut bytes);
    let Message::ReplicateOperation(replicate) = &mut frame.message else { unreachable!() };
    replicate.entries[1] = with_payload(&entry, length - bytes.len());
}

fn with_payload(entry: &Entry, length: usize) -> Entry {
    Entry { payload: vec![0; length].into(), ..entry.clone() }
}

#[test]
fn nobody_is_of_a_birth_that_has_no_number() {
    let mut samples = frames().into_iter().map(|(_, frame)| frame);
    let is_introduce = |frame: &Frame| matches!(frame.message, Message::Introduce(_));
    let mut frame = samples.find(is_introduce).expect("a sample");
    for standing in [Standing::Accepted, Standing::Born] {
        for (genesis, expected) in [(1, Ok(())), (0, Err(DropCause::Malformed))] {
            let list = Vec::new();
            frame.message =
                Message::Introduce(Introduce { standing: standing(GenesisId(genesis)), list });
            assert_eq!(decode(&encode(&frame)).map(|_| ()), expected);
        }
    }
}

/// A later version may drop frames for causes that this one does not know.
#[test]
fn causes_of_a_later_version_are_shown_by_their_codes() {
    let (_, mut frame) =
        frames().into_iter().find(|(name, _)| *name == "status").expect("a sample");
    let Message::Status(status) = &mut frame.message else { panic!("it is a status") };
    let known = u8::try_from(DropCause::ALL.len()).expect("few");
    status.dropped = (0..=known).map(|code| (code, 1)).collect();
    assert_eq!(decode(&encode(&frame)), Ok(frame));
}

/// The most memory that is used while the bytes are decoded.
fn memory_to_decode(bytes: Vec<u8>) -> u64 {
    let datagram = bytes::Bytes::from(bytes);
    allocation_counter::measure(|| drop(quorate::wire::decode(&datagram))).bytes_max
}

/// Each length field of each sample promises the most it can: the message is refused, or
/// holds no more than is there.
#[test]
fn promises_of_length_allocate_nothing() {
    for (name, frame) in frames() {
        let bytes = encode(&frame);
        for at in HEADER_BYTES..bytes.len() {
            for width in [1, 2, 4] {
                let mut greedy = bytes.clone();
                greedy[at..(at + width).min(bytes.len())].fill(0xff);
                seal(&mut greedy);
                let memory = memory_to_decode(greedy);
                assert!(memory <= most_memory(bytes.len()), "{name}, byte {at}: {memory} bytes");
            }
        }
    }
}

/// An entry takes 24 bytes in a frame and 88 in memory, where a growing list doubles;
/// nothing takes more for what it is in the frame.
fn most_memory(frame_bytes: usize) -> u64 {
    12 * frame_bytes as u64
}

proptest! {
    #[test]
    fn memory_is_bounded_by_what_is_there(frame in strategies::frame()) {
        let bytes = encode(&frame);
        let most = most_memory(bytes.len());
        prop_assert!(memory_to_decode(bytes) <= most);
    }
}
