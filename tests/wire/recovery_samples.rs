//! The values that show how a node gets what it lacks.

use bytes::Bytes;
use quorate::types::{Incarnation, LifeId, LogIndex, Term};
use quorate::wire::{
    CatchUpReply, CatchUpRequest, Message, RepairReply, RepairRequest, Resume, Sighted,
    SnapshotName, SnapshotOffer, SnapshotPiece, SnapshotRequest, Verdict,
};

use super::samples::{Between, Named, TERM, directory, entries};

pub fn resume_messages() -> Vec<Named<Between>> {
    let held = Resume { term: TERM, voted: true, end: Some((Term(2), LogIndex(1040))) };
    let unbounded = Resume { end: None, ..held };
    let whole = Sighted {
        directory: directory(1),
        incarnation: Incarnation(7),
        life: LifeId(0x11fe_0007),
        verdict: Verdict::Whole,
        seen_incarnation: Incarnation(6),
        seen_term: TERM,
        seen_vote: true,
        seen_index: LogIndex(0),
    };
    let lost = Sighted { verdict: Verdict::Lost, seen_index: LogIndex(1044), ..whole };
    vec![
        ("resume", (1, 2, Message::Resume(held))),
        ("resume-unbounded", (1, 2, Message::Resume(unbounded))),
        ("sighted", (2, 1, Message::Sighted(whole))),
        ("sighted-lost", (2, 1, Message::Sighted(lost))),
    ]
}

pub fn snapshot_messages() -> Vec<Named<Between>> {
    let snapshot = SnapshotName { index: LogIndex(1_000), term: TERM, chain: 0x5eed_c4a1 };
    let offer = SnapshotOffer { term: TERM, snapshot };
    let request = SnapshotRequest { snapshot, block: 2, first: 64, wanted: 0b101 };
    let piece = SnapshotPiece {
        snapshot,
        block: 2,
        last: true,
        length: 67_590,
        checksum: 0xb10c_b10c,
        piece: 66,
        bytes: Bytes::from_static(b"\x04\x01\0\0\0\0"),
    };
    vec![
        ("snapshot-offer", (2, 1, Message::SnapshotOffer(offer))),
        ("snapshot-request", (1, 2, Message::SnapshotRequest(request))),
        ("snapshot-piece", (2, 1, Message::SnapshotPiece(piece))),
    ]
}

pub fn catch_up_messages() -> Vec<Named<Between>> {
    let request = CatchUpRequest { first: LogIndex(1041) };
    let reply = CatchUpReply {
        term: TERM,
        log_end: (TERM, LogIndex(1041)),
        snapshot: None,
        first: LogIndex(1041),
        entries: entries()[..1].to_vec(),
    };
    let name = SnapshotName { index: LogIndex(1_000), term: TERM, chain: 0x5eed_c4a1 };
    let first = LogIndex(7);
    let compacted =
        CatchUpReply { snapshot: Some(name), first, entries: Vec::new(), ..reply.clone() };
    vec![
        ("catch-up-request", (1, 2, Message::CatchUpRequest(request))),
        ("catch-up-reply", (2, 1, Message::CatchUpReply(reply))),
        ("catch-up-reply-compacted", (2, 1, Message::CatchUpReply(compacted))),
    ]
}

pub fn repair_messages() -> Vec<Named<Between>> {
    let bound = Some((TERM, LogIndex(1044)));
    let request = RepairRequest { first: LogIndex(1041), last: LogIndex(1043), bound };
    let entries = entries()[..1].to_vec();
    let reply = RepairReply { term: TERM, end: None, first: LogIndex(1041), entries };
    let first = LogIndex(1043);
    let nothing = RepairReply { term: Term(4), end: bound, first, entries: Vec::new() };
    vec![
        ("repair-request", (1, 2, Message::RepairRequest(request))),
        ("repair-reply", (2, 1, Message::RepairReply(reply))),
        ("repair-reply-without", (3, 1, Message::RepairReply(nothing))),
    ]
}
