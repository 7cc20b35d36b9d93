//! Every message fits into a frame, and promises of length cost nothing.

use std::net::SocketAddr;

use proptest::prelude::*;
use quorate::codec::Reader;
use quorate::configuration::Configuration;
use quorate::entry::Entry;
use quorate::operation::{INLINE_BYTES_MAX, Outcome};
use quorate::types::{
    ENTRY_BYTES_MAX, GenesisId, KEY_BYTES_MAX, LogIndex, LossShare, NODES_MAX, PacketNumber,
    ServerId, Term, VALUE_BYTES_MAX,
};
use quorate::wire::{
    self, Acknowledge, CLUSTER_NAME_BYTES_MAX, DropCause, Echo, FRAME_BYTES_MAX, Frame,
    HEADER_BYTES, Header, Introduce, Kind, ListedValue, Message, NodeStatus, PAGES_MAX,
    PIECE_BYTES, Query, RANGES_MAX, Standing, Timeouts, seal,
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

fn sample(name: &str) -> Frame {
    frames().into_iter().find(|(known, _)| *known == name).expect("a sample").1
}

/// What comes out at the other side.
fn arrived(frame: &Frame) -> Frame {
    decode(&encode(frame)).expect("it was encoded")
}

/// wire-format.md: "how many pages are wanted, 1 to 64".
#[test]
fn a_read_wants_some_pages_and_not_too_many() {
    let mut frame = sample("read-get");
    let mut wanted = |pages: u16| {
        let Message::Read(read) = &mut frame.message else { panic!("it is a read") };
        read.count = pages;
        decode(&encode(&frame)).is_ok()
    };
    assert_eq!([0, 1, PAGES_MAX, PAGES_MAX + 1].map(&mut wanted), [false, true, true, false]);
}

#[test]
fn a_listed_value_is_as_long_as_a_value_may_be() {
    let is_taken = |length: usize| {
        let (key, version) = ("key".into(), LogIndex(1));
        let mut bytes = Vec::new();
        ListedValue { key, version, value: vec![0; length].into() }.encode(&mut bytes);
        ListedValue::decode(&mut Reader::new(bytes.into())).is_ok()
    };
    let most = VALUE_BYTES_MAX;
    assert_eq!([0, most, most + 1, most + 2].map(is_taken), [true, true, false, false]);
}

#[test]
fn a_text_that_is_too_long_is_cut_at_a_character() {
    let mut frame = sample("status");
    let mut shown = |name: String| {
        let Message::Status(status) = &mut frame.message else { panic!("it is a status") };
        status.cluster = name;
        let Message::Status(status) = arrived(&frame).message else { panic!("it is a status") };
        status.cluster
    };
    let most = CLUSTER_NAME_BYTES_MAX;
    assert_eq!(shown("x".repeat(most + 1)), "x".repeat(most));
    let (two, four) = ("\u{e9}", "\u{1f980}");
    assert_eq!(shown("x".repeat(most - 1) + two), "x".repeat(most - 1));
    assert_eq!(shown("x".repeat(most - 3) + four), "x".repeat(most - 3));
    assert_eq!(shown("x".repeat(most - 2) + two + two), "x".repeat(most - 2) + two);
}

/// What was heard longer ago than the field can say is still what was heard.
#[test]
fn the_oldest_echo_is_not_taken_for_none() {
    let mut frame = sample("read-get");
    for (age, expected) in [(7, 7), (u32::MAX - 1, u32::MAX - 1), (u32::MAX, u32::MAX - 1)] {
        let packet = PacketNumber(3);
        frame.header.echo = Some(Echo { packet, age });
        assert_eq!(arrived(&frame).header.echo, Some(Echo { packet, age: expected }));
    }
}

/// What cannot be said of what was received is left out, and the rest arrives.
#[test]
fn ranges_begin_behind_what_is_matched() {
    let mut frame = sample("acknowledge");
    let mut said = |first: u64| {
        let Message::Acknowledge(said) = &mut frame.message else { panic!("another") };
        said.matched = LogIndex(10);
        said.received = vec![(LogIndex(first), LogIndex(20))];
        let Message::Acknowledge(heard) = arrived(&frame).message else { panic!("another") };
        heard.received
    };
    assert_eq!([9, 10].map(&mut said), [vec![], vec![]]);
    assert_eq!(said(11), [(LogIndex(11), LogIndex(20))]);
}

/// A later version may drop frames for causes that this one does not know.
#[test]
fn causes_of_a_later_version_are_shown_by_their_codes() {
    let mut frame = sample("status");
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
