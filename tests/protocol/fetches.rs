//! Which snapshot is fetched, and from whom; and what whoever sends one keeps for that.

use std::time::Duration;

use bytes::Bytes;
use quorate::configuration::Configuration;
use quorate::entry::Entry;
use quorate::store::{Snapshot, State};
use quorate::types::{LogIndex, ServerId, Term};
use quorate::wire::{
    Message, PIECE_BYTES, SnapshotName, SnapshotOffer, SnapshotPiece, SnapshotRequest,
};

use super::leader::{heartbeat, noop_after, replicate};
use super::members::{SECOND, THIRD, configuration};
use super::probe::Probe;
use super::request::{put, request, session};
use super::said::{Sent, to_peer};

fn name(index: u64) -> SnapshotName {
    SnapshotName { index: LogIndex(index), term: Term(1), chain: 7 }
}

fn offer(index: u64) -> Message {
    Message::SnapshotOffer(SnapshotOffer { term: Term(3), snapshot: name(index) })
}

/// Which snapshots are asked for from the node.
fn asked(said: &[Sent], of: ServerId) -> Vec<SnapshotName> {
    let name = |message: &&Message| match message {
        Message::SnapshotRequest(request) => Some(request.snapshot),
        _ => None,
    };
    to_peer(said, of).iter().filter_map(name).collect()
}

/// A node that takes offers from whomever, for it does not know what it has lost.
fn damaged() -> Probe {
    let mut probe = Probe::damaged(3, &[], &[], None);
    probe.sync();
    probe
}

/// The answer to an offer of another node: of which snapshots something is asked for in that
/// turn, and from it.
fn hear(probe: &mut Probe, from: ServerId, index: u64) -> Vec<SnapshotName> {
    probe.hear(from, offer(index));
    let mut names = asked(&probe.turn(), from);
    names.dedup();
    names
}

#[test]
fn a_fetch_goes_on_elsewhere_only_when_its_node_is_silent() {
    let mut probe = damaged();
    assert_eq!(hear(&mut probe, SECOND, 9), [name(9)]);
    assert_eq!(hear(&mut probe, SECOND, 9), []);
    assert_eq!(hear(&mut probe, THIRD, 9), [], "it does not lead");
    probe.pass(Duration::from_secs(30));
    assert_eq!(hear(&mut probe, SECOND, 9), [], "time will tell");
    assert_eq!(hear(&mut probe, THIRD, 9), [name(9)]);
    assert_eq!(hear(&mut probe, THIRD, 9), []);
}

#[test]
fn another_snapshot_is_fetched_once_nothing_has_come_of_the_first_for_two_seconds() {
    let mut probe = damaged();
    assert_eq!(hear(&mut probe, SECOND, 9), [name(9)]);
    assert_eq!(hear(&mut probe, SECOND, 12), []);
    probe.pass(Duration::from_micros(1_999_999));
    assert_eq!(hear(&mut probe, SECOND, 12), []);
    probe.pass(Duration::from_micros(1));
    assert_eq!(hear(&mut probe, SECOND, 12), [name(12)]);
}

/// What was overtaken is asked for again once that may be no reordering, each block for itself,
/// and what is only late is not.
#[test]
fn what_is_lost_is_asked_for_again_in_its_time() {
    const ROUND_TRIP: Duration = Duration::from_millis(40);
    let snapshot = of_four_blocks();
    let (name, blocks) = (name_of(&snapshot), snapshot.blocks().collect::<Vec<_>>());
    let mut probe = damaged();
    probe.hear(SECOND, Message::SnapshotOffer(SnapshotOffer { term: Term(3), snapshot: name }));
    assert_eq!(wanted(&probe.turn()), (0..8).map(|block| (block, u64::MAX)).collect::<Vec<_>>());
    let bring = |probe: &mut Probe, block: u32, but: Option<u32>| {
        for piece in pieces_of(name, block, &blocks[block as usize]) {
            if Some(piece.piece) != but {
                probe.hear(SECOND, Message::SnapshotPiece(piece));
            }
        }
    };
    probe.pass(ROUND_TRIP);
    bring(&mut probe, 0, None);
    assert_eq!(wanted(&probe.turn()), [(8, u64::MAX), (9, u64::MAX)]);
    probe.pass(ROUND_TRIP);
    bring(&mut probe, 1, Some(3));
    let begun = probe.now;
    probe.pass(ROUND_TRIP / 8);
    bring(&mut probe, 2, Some(5));
    let mut asked = wanted(&probe.turn());
    assert_eq!(asked, [], "the window is full");
    let mut times = Vec::new();
    while probe.now.since(begun) < ROUND_TRIP / 2 {
        probe.wait();
        let again = wanted(&probe.turn());
        times.extend(again.iter().map(|_| probe.now.since(begun)));
        asked.extend(again);
    }
    assert_eq!(asked, [(1, 1 << 3), (2, 1 << 5)]);
    let reordering = ROUND_TRIP / 4;
    assert_eq!(times, [reordering, reordering + ROUND_TRIP / 8]);
}

/// Which blocks the second node is asked for, and which of their first pieces.
fn wanted(said: &[Sent]) -> Vec<(u32, u64)> {
    let wanted = |message: &&Message| match message {
        Message::SnapshotRequest(request) if request.wanted == 0 => None,
        Message::SnapshotRequest(request) => Some((request.block, request.wanted)),
        _ => None,
    };
    to_peer(said, SECOND).iter().filter_map(wanted).collect()
}

/// docs/wire-format.md: "One that wants nothing tells by its echo what has come".
#[test]
fn of_eight_pieces_their_sender_learns_that_they_have_come() {
    let snapshot = of_four_blocks();
    let name = name_of(&snapshot);
    let mut probe = damaged();
    probe.hear(SECOND, Message::SnapshotOffer(SnapshotOffer { term: Term(3), snapshot: name }));
    probe.turn();
    let block = snapshot.blocks().next().expect("there are four");
    let mut told_after = Vec::new();
    for piece in pieces_of(name, 0, &block).into_iter().take(17) {
        let number = piece.piece;
        probe.hear(SECOND, Message::SnapshotPiece(piece));
        told_after.extend(asked(&probe.turn(), SECOND).iter().map(|_| number + 1));
    }
    assert_eq!(told_after, [8, 16]);
}

fn of_four_blocks() -> Snapshot {
    let pair = |key: &'static str| (key.into(), LogIndex(1), vec![b'v'; 60 << 10].into());
    let state = State::of_keys(LogIndex(9), configuration(3), ["a", "b", "c", "d"].map(pair));
    Snapshot::new(state, Term(1), 7)
}

fn pieces_of(snapshot: SnapshotName, block: u32, bytes: &Bytes) -> Vec<SnapshotPiece> {
    let length = u32::try_from(bytes.len()).expect("a short block");
    let (checksum, last) = (crc32fast::hash(bytes), false);
    let parts = bytes.chunks(PIECE_BYTES).map(Bytes::copy_from_slice);
    let piece =
        |(piece, bytes)| SnapshotPiece { snapshot, block, last, length, checksum, piece, bytes };
    (0..).zip(parts).map(piece).collect()
}

#[test]
fn nothing_is_fetched_that_the_log_has_brought_meanwhile() {
    let mut probe = Probe::born(3);
    probe.hear(SECOND, heartbeat(Term(3)));
    probe.sync();
    let genesis = Entry::genesis(&configuration(3));
    let entry = noop_after(&genesis, Term(3));
    assert_eq!(hear(&mut probe, SECOND, 2), [name(2)]);
    assert_eq!(probe.status().disk.fetching, Some((LogIndex(2), 0)));
    probe.hear(SECOND, replicate(Term(3), &genesis, &entry, LogIndex(2)));
    probe.sync();
    let until = probe.now + Duration::from_secs(3);
    let mut requests = 0;
    while probe.now < until {
        probe.hear(SECOND, heartbeat(Term(3)));
        requests += asked(&probe.wait_and_sync(), SECOND).len();
    }
    assert!(requests <= 1, "{requests} more");
    assert_eq!(probe.status().disk.fetching, None);
}

/// A leader of which a snapshot is on the disk, and a follower that has all.
fn leader() -> Probe {
    let mut probe = Probe::born_with(Configuration { snapshot_bytes: 40_000, ..configuration(3) });
    probe.elect();
    grow(&mut probe, 1);
    probe
}

/// Sixty more values, and the snapshot that is due then.
fn grow(probe: &mut Probe, nth: u64) {
    for number in 0..60 {
        let operation = put(&format!("key-{number}"), vec![b'x'; 900]);
        probe.ask(1, Message::Request(request(session(nth << 32 | number), &operation)));
    }
    probe.acknowledge(SECOND, probe.state().log.last_index());
    probe.sync();
    probe.take_snapshot().expect("one is due");
    probe.snapshot_written();
    probe.sync();
}

fn newest(probe: &Probe) -> SnapshotName {
    name_of(probe.state().snapshots.durable().expect("there is one"))
}

fn name_of(snapshot: &Snapshot) -> SnapshotName {
    SnapshotName { index: snapshot.index(), term: snapshot.term(), chain: snapshot.chain() }
}

/// The third node asks for a single piece.
fn ask_for(probe: &mut Probe, snapshot: SnapshotName, first: u32) {
    let request = SnapshotRequest { snapshot, block: 0, first, wanted: 1 };
    probe.hear(THIRD, Message::SnapshotRequest(request));
}

/// The pieces that the third node is sent within the next tenth of a second.
fn sent(probe: &mut Probe) -> Vec<SnapshotPiece> {
    sent_within(100, probe)
}

/// The same, within so many milliseconds.
fn sent_within(millis: u64, probe: &mut Probe) -> Vec<SnapshotPiece> {
    let mut pieces = Vec::new();
    for _ in 0..millis {
        pieces.extend(to_peer(&probe.turn(), THIRD).into_iter().filter_map(
            |message| match message {
                Message::SnapshotPiece(piece) => Some(piece.clone()),
                _ => None,
            },
        ));
        probe.pass(Duration::from_millis(1));
        probe.time_out();
    }
    pieces
}

/// One that asks for more than that asks again.
#[test]
fn so_many_requests_of_one_node_wait_and_each_is_answered_once() {
    let mut probe = leader();
    let snapshot = newest(&probe);
    for first in (0..36).chain(0..36) {
        ask_for(&mut probe, snapshot, first);
    }
    let numbers: Vec<u32> = sent(&mut probe).iter().map(|piece| piece.piece).collect();
    assert_eq!(numbers, (0..32).collect::<Vec<u32>>());
}

/// The queue before a narrow way would be filled by what is asked for at once.
#[test]
fn pieces_do_not_run_far_ahead_on_a_way_that_is_not_known() {
    let mut probe = leader();
    let snapshot = newest(&probe);
    let request = |wanted| SnapshotRequest { snapshot, block: 0, first: 0, wanted };
    probe.hear(THIRD, Message::SnapshotRequest(request(u64::MAX)));
    let ahead = sent_within(30, &mut probe).len();
    assert!((14..20).contains(&ahead), "{ahead}");
    probe.hear(THIRD, Message::SnapshotRequest(request(0)));
    let more = sent_within(5, &mut probe).len();
    assert!((14..20).contains(&more), "they have come: {more}");
    assert!(!sent(&mut probe).is_empty(), "when nothing is heard, they are lost");
}

/// No transfer of a snapshot delays a heartbeat, though the socket stands still for a while.
#[test]
fn heartbeats_leave_before_pieces() {
    let mut probe = leader();
    let snapshot = newest(&probe);
    (0..20).for_each(|first| ask_for(&mut probe, snapshot, first));
    for _ in 0..100 {
        probe.end_turn();
        probe.pass(Duration::from_millis(1));
        probe.time_out();
    }
    let said = probe.turn();
    let is_piece = |sent: &Sent| matches!(sent.message, Message::SnapshotPiece(_));
    let first_piece = said.iter().position(is_piece).expect("some are sent");
    let is_heartbeat = |sent: &Sent| matches!(sent.message, Message::Heartbeat(_));
    let last_heartbeat = said.iter().rposition(is_heartbeat).expect("some are sent");
    assert!(last_heartbeat < first_piece, "{last_heartbeat} {first_piece}");
}

#[test]
fn a_snapshot_that_is_fetched_is_kept_beside_a_newer_one_for_ten_seconds() {
    let mut probe = leader();
    let old = newest(&probe);
    let is_sent = |probe: &mut Probe, snapshot, piece| {
        ask_for(probe, snapshot, piece);
        sent(probe).iter().any(|sent| (sent.snapshot, sent.piece) == (snapshot, piece))
    };
    assert!(is_sent(&mut probe, old, 0));
    grow(&mut probe, 2);
    let new = newest(&probe);
    assert_ne!(old, new);
    assert!(is_sent(&mut probe, old, 1) && is_sent(&mut probe, new, 0));
    assert!(is_sent(&mut probe, old, 2));
    assert_eq!(probe.state().log.base().index, old.index, "who has it needs what follows");

    probe.pass(Duration::from_secs(10));
    probe.turn();
    assert_eq!(probe.state().log.base().index, new.index);
    assert!(!is_sent(&mut probe, old, 3));
}
