//! What nodes hold for others is bounded, and whoever comes beyond that is told at once.

use std::time::Duration;

use quorate::disk::SIGHTINGS_MAX;
use quorate::types::{DirectoryId, Incarnation, Sequence, Term};
use quorate::wire::{Message, Request};

use super::leader::heartbeat;
use super::members::{SECOND, THIRD, directory_of, ids};
use super::probe::Probe;
use super::request::{list_stale, pieces, put, request, session};
use super::said::{is_busy, pages, replies};

/// The bounds, in pieces of 1 KiB, in clients and in pages; of pieces and pages what one client
/// may have of them.
const PIECES_HELD_MAX: usize = 32 << 10;
const CLIENTS_WAITING_MAX: usize = 65_536;
const PAGES_PER_TURN_MAX: usize = 256;
const ENTRIES_UNCOMMITTED_MAX: usize = 16_384;

#[test]
fn operations_in_pieces_are_bounded_in_bytes() {
    let mut probe = Probe::serving(1);
    let operations: Vec<Vec<Request>> =
        (0..80).map(|number| pieces(session(number), &put("key", vec![7; 1 << 20]))).collect();
    let mut held = 0;
    for number in 0..operations[0].len() - 1 {
        for operation in &operations {
            probe.ask(1, Message::Request(operation[number].clone()));
            held += usize::from(!is_busy(&probe.turn()));
        }
    }
    assert!(held > PIECES_HELD_MAX * 9 / 10, "{held} pieces are held");
    assert!(held <= PIECES_HELD_MAX, "{held} pieces are held");
}

#[test]
fn what_is_seen_of_directories_is_bounded_and_voters_are_kept() {
    let mut probe = Probe::serving(3);
    let strangers = (1_000..1_100).map(|directory| (SECOND, DirectoryId(directory)));
    for (node, directory) in strangers.clone() {
        probe.hear_in_life(node, (directory, Incarnation(1)), heartbeat(Term(1)));
        probe.sync();
    }
    let seen = |node, directory| probe.state().sightings.of(node, directory).is_some();
    let listed = ids(9).map(|id| (id, directory_of(id)));
    let all = listed.chain(strangers).filter(|(node, directory)| seen(*node, *directory));
    assert_eq!(all.count(), SIGHTINGS_MAX);
    for (node, directory) in [SECOND, THIRD].map(|id| (id, directory_of(id))) {
        assert!(seen(node, directory), "{node} is a voter");
    }
    assert!(seen(SECOND, DirectoryId(1_099)), "it is heard");
}

/// The followers are silent, and what is uncommitted would have to be rolled back.
#[test]
fn entries_that_are_not_committed_are_bounded() {
    let mut probe = Probe::serving(3);
    let mut number = 0;
    let mut taken_in = |probe: &mut Probe| {
        number += 1;
        probe.ask(1, Message::Request(request(session(number), &put("key", ""))));
        !is_busy(&probe.sync())
    };
    let held = (0..ENTRIES_UNCOMMITTED_MAX + 10).filter(|_| taken_in(&mut probe)).count();
    assert_eq!(held, ENTRIES_UNCOMMITTED_MAX);
    probe.acknowledge(SECOND, probe.state().log.last_index());
    probe.sync();
    assert!(taken_in(&mut probe));
}

/// The disk stands still, and many clients ask for the same few operations.
#[test]
fn waiting_clients_are_bounded() {
    let mut probe = Probe::serving(1);
    let (mut waiting, clients) = (0, 70_000);
    let request = request(session(1), &put("key", ""));
    for client in 0..clients {
        let sequence = Sequence(u64::from(client % 64) + 1);
        let request = Request { sequence, ..request.clone() };
        probe.ask(client, Message::Request(request));
        waiting += usize::from(!is_busy(&probe.turn()));
    }
    assert_eq!(waiting, CLIENTS_WAITING_MAX);
    assert_eq!(replies(&probe.sync()).len(), CLIENTS_WAITING_MAX);
    probe.ask(1, Message::Request(Request { sequence: Sequence(65), ..request }));
    assert!(!is_busy(&probe.turn()), "they wait no more");
}

#[test]
fn a_burst_of_reads_is_answered_within_bounds() {
    let mut probe = Probe::serving(1);
    probe.ask_to_put(300);
    let mut answered = replies(&probe.sync()).len();
    while answered < 300 {
        answered += replies(&probe.wait_and_sync()).len();
    }
    for _ in 0..1_000 {
        probe.ask(1, Message::Read(list_stale()));
    }
    assert_eq!(pages(&probe.turn()).len(), PAGES_PER_TURN_MAX);
    probe.ask(1, Message::Read(list_stale()));
    assert_eq!(pages(&probe.turn()).len(), 64, "the next turn has a budget of its own");
}

/// Whoever has sent some pieces of an operation and no more for five seconds begins anew.
#[test]
fn an_operation_whose_pieces_stop_coming_is_forgotten() {
    for (seconds, is_kept) in [(4, true), (7, false)] {
        let mut probe = Probe::serving(1);
        let mut pieces = pieces(session(1), &put("key", vec![7; 3_000]));
        let last = pieces.pop().expect("several");
        for piece in pieces {
            probe.ask(1, Message::Request(piece));
        }
        let until = probe.now + Duration::from_secs(seconds);
        while probe.now < until {
            probe.wait_and_sync();
        }
        probe.ask(1, Message::Request(last));
        assert_eq!(replies(&probe.sync()).len() == 1, is_kept, "after {seconds} s");
    }
}
