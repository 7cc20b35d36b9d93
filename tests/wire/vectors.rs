//! Each vector of the document is what the code reads and writes, in both directions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use bytes::Bytes;
use quorate::codec::Reader;
use quorate::disk::{GenesisState, Identity, Recovered};
use quorate::entry::Entry;
use quorate::operation::{LoggedRequest, Operation, Settled};
use quorate::replica::{ListedNode, NodeConfig, Randomness, ReplicaNode};
use quorate::time::Instant;
use quorate::types::{Incarnation, LogIndex, LossShare, ServerId, Term};
use quorate::wire::{DropCause, Frame, Header, Kind, ListedValue, seal};

use super::bad_samples::{self, Bad};
use super::document::{self, Vector, Vectors};
use super::{decode, encode, readable, samples, sealed};

#[test]
fn frames() {
    let expected = vectors(&samples::frames(), |frame| Vector {
        bytes: encode(frame),
        meaning: [readable::header(&frame.header), readable::value(&frame.message)].concat(),
    });
    document::check("frame", &expected);
    let found = document::vectors("frame");
    for (name, frame) in samples::frames() {
        assert_eq!(decode(&found[name].bytes), Ok(frame), "{name}");
    }
    let shown: BTreeSet<u8> = found.values().map(|vector| vector.bytes[3]).collect();
    let kinds: BTreeSet<u8> = Kind::ALL.iter().map(|kind| *kind as u8).collect();
    assert_eq!(shown, kinds, "each kind has a vector");
}

#[test]
fn a_frame_with_optional_fields() {
    let (name, frame) = samples::frames().pop().expect("there are samples");
    let fields: &[u8] = &[200, 3, 0, 1, 2, 3, 201, 0, 0];
    let mut bytes = [encode(&frame), fields.to_vec()].concat();
    seal(&mut bytes);
    let meaning = vec![format!("the frame `{name}`, and two fields that version 1 skips")];
    let loss = LossShare(51);
    let lossy = Frame { header: Header { loss, ..frame.header }, message: frame.message.clone() };
    let told =
        vec![format!("the frame `{name}`, whose sender misses a fifth of the receiver's frames")];
    let lossy_name = format!("{name}-of-a-lossy-link");
    let expected = [
        (name.into(), Vector { bytes, meaning }),
        (lossy_name.clone(), Vector { bytes: encode(&lossy), meaning: told }),
    ];
    document::check("extended", &expected.into());
    let found = document::vectors("extended");
    assert_eq!(decode(&found[name].bytes), Ok(frame));
    assert_eq!(decode(&found[&lossy_name].bytes), Ok(lossy));
}

#[test]
fn operations() {
    check_parts("operation", &samples::operations(), samples::bytes_of, |bytes| {
        Operation::decode(&mut Reader::new(bytes)).ok()
    });
    let shown = document::vectors("operation").into_values().map(|vector| vector.bytes[0]);
    let known = (0..=u8::MAX).filter(|tag| {
        Operation::decode(&mut Reader::new([&[*tag], &[0; 64][..]].concat().into())).is_ok()
    });
    assert_eq!(shown.collect::<BTreeSet<u8>>(), known.collect(), "each operation has a vector");
}

#[test]
fn logged_requests() {
    check_parts("logged", &samples::logged_requests(), LoggedRequest::encode, |bytes| {
        LoggedRequest::decode(bytes).ok()
    });
}

#[test]
fn answers() {
    let encode = |settled: &Settled| {
        let mut bytes = Vec::new();
        settled.encode(&mut bytes);
        bytes
    };
    check_parts("answer", &samples::answers(), encode, |bytes| {
        Settled::decode(&mut Reader::new(bytes)).ok()
    });
    let shown = document::vectors("answer").into_values().map(|vector| vector.bytes[8]);
    let known = (0..=u8::MAX).filter(|tag| {
        Settled::decode(&mut Reader::new([&[0; 8][..], &[*tag], &[0; 64]].concat().into())).is_ok()
    });
    assert_eq!(shown.collect::<BTreeSet<u8>>(), known.collect(), "each outcome has a vector");
}

#[test]
fn listed_values() {
    let encode = |value: &ListedValue| {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        bytes
    };
    check_parts("value", &samples::listed_values(), encode, |bytes| {
        ListedValue::decode(&mut Reader::new(bytes)).ok()
    });
}

/// Checks the vectors of what frames carry.
fn check_parts<T: Debug + PartialEq + Clone>(
    kind: &str,
    samples: &[samples::Named<T>],
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(Bytes) -> Option<T>,
) {
    let show = |value: &T| Vector { bytes: encode(value), meaning: readable::value(value) };
    document::check(kind, &vectors(samples, show));
    let found = document::vectors(kind);
    for (name, value) in samples {
        assert_eq!(decode(found[*name].bytes.clone().into()).as_ref(), Some(value), "{name}");
    }
}

fn vectors<T>(samples: &[samples::Named<T>], vector: impl Fn(&T) -> Vector) -> Vectors {
    let count = samples.len();
    let vectors: Vectors =
        samples.iter().map(|(name, value)| ((*name).into(), vector(value))).collect();
    assert_eq!(vectors.len(), count, "names are unique");
    vectors
}

#[test]
fn bad_frames() {
    let bad = bad_samples::all();
    let expected = bad.iter().map(|bad| (bad.name.to_string(), bad_vector(bad))).collect();
    document::check("bad", &expected);
    let found = document::vectors("bad");
    for bad in &bad {
        check_dropped(bad, &found[bad.name].bytes);
    }
    let shown = bad.iter().map(|bad| bad.cause).chain(sealed::CAUSES);
    let shown: BTreeSet<DropCause> = shown.collect();
    assert_eq!(shown, DropCause::ALL.iter().copied().collect(), "each cause has a vector");
}

fn bad_vector(bad: &Bad) -> Vector {
    let mut meaning = vec![format!("dropped: {} ({})", bad.cause.name(), bad.cause.code())];
    if !bad.by_bytes {
        meaning.push(format!("by node 1, from {}", bad.source));
    }
    meaning.extend(bad.after.map(|name| format!("after the frame `{name}`")));
    Vector { bytes: bad.datagram.clone(), meaning }
}

/// A node drops the datagram, for its cause and no other; what the bytes alone show, the
/// decoder refuses.
fn check_dropped(bad: &Bad, datagram: &[u8]) {
    let refused = decode(datagram).err();
    assert_eq!(refused, bad.by_bytes.then_some(bad.cause), "{}", bad.name);
    let mut node = node_1();
    if let Some(before) = bad.after {
        let before = document::vectors("frame")[before].bytes.clone();
        node.on_datagram(Instant(1_000), bad.source, &before.into());
        assert_eq!(node.state().dropped, BTreeMap::new(), "{}: what came before", bad.name);
    }
    node.on_datagram(Instant(2_000), bad.source, &Bytes::copy_from_slice(datagram));
    assert_eq!(node.state().dropped, BTreeMap::from([(bad.cause, 1)]), "{}", bad.name);
}

/// Node 1 of the samples' cluster, just after its birth.
fn node_1() -> ReplicaNode {
    let listed = |node| ListedNode { address: samples::address(node), typed: String::new() };
    let nodes = [1, 2, 3].map(|node| (ServerId(node), listed(node)));
    let config = NodeConfig::new(nodes.into());
    let identity =
        Identity { cluster: "quorate".into(), id: ServerId(1), directory: samples::directory(1) };
    let recovered = Recovered {
        identity,
        incarnation: Incarnation(4),
        genesis: GenesisState::Complete(samples::configuration()),
        term: Term(1),
        voted_for: None,
        commit: LogIndex(1),
        snapshot: None,
        entries: vec![Entry::genesis(&samples::configuration())],
        aside: Vec::new(),
        doubt: None,
        sightings: [].into(),
    };
    ReplicaNode::new(&config, recovered, Instant(0), &Randomness::Seed(1))
}

/// The frame that the document takes apart, line by line, is the vector of that name.
#[test]
fn the_frame_taken_apart() {
    let text = document::text();
    let block = text.split("```frame-taken-apart\n").nth(1).expect("the document has one");
    let block = block.split("```").next().expect("it ends");
    let bytes: Vec<u8> = block
        .lines()
        .flat_map(|line| document::parse_hex(line.split("  ").next().unwrap_or_default()))
        .collect();
    let (_, frame) = samples::frames()
        .into_iter()
        .find(|(name, _)| *name == "read-get")
        .expect("a sample of this name");
    assert_eq!(bytes, encode(&frame));
}
