//! The pages of an answer come from one state.

use quorate::types::{LogIndex, Term};
use quorate::wire::{About, DeclineReason, Declined, Message, Read, ReadIndexReply};

use super::leader::heartbeat;
use super::members::{SECOND, THIRD};
use super::probe::Probe;
use super::request::{get, pieces, put, session};
use super::said::{pages, replies, to_peer};

#[test]
fn an_answer_begins_with_its_first_page() {
    let mut probe = with_long_value();
    // A client goes on with what another node has begun to answer.
    let read = Read { arrived: 1, page: 1, ..get("key") };
    probe.ask(1, Message::Read(read.clone()));
    let said = probe.sync();
    assert_eq!(pages(&said), Vec::<&_>::new());
    let declined =
        Declined { about: About::Read(read.read), reason: DeclineReason::PinGone, leader: None };
    assert_eq!(said.last().map(|sent| &sent.message), Some(&Message::Declined(declined)));
}

#[test]
fn a_repeated_read_keeps_the_state_of_its_first_answer() {
    let mut probe = with_long_value();
    probe.ask(1, Message::Read(get("key")));
    let first = probe.sync();
    write(&mut probe, 2, b'b');
    probe.ask(1, Message::Read(get("key")));
    let again = probe.sync();
    assert_eq!(pages(&first).len(), 2);
    assert_eq!(pages(&again), pages(&first));
}

/// Nobody else knows what was acknowledged.
#[test]
fn a_follower_heeds_the_index_of_its_leader_alone() {
    let mut probe = Probe::born(3);
    probe.hear(SECOND, heartbeat(Term(1)));
    probe.sync();
    probe.ask(1, Message::Read(get("key")));
    let said = probe.sync();
    let batch = to_peer(&said, SECOND).into_iter().find_map(|message| match message {
        Message::ReadIndexRequest(request) => Some(request.batch),
        _ => None,
    });
    let asked = ReadIndexReply {
        term: Term(1),
        batch: batch.expect("the leader is asked"),
        index: LogIndex(1),
    };
    let earlier = ReadIndexReply { term: Term(0), ..asked };
    let before = ReadIndexReply { batch: asked.batch - 1, ..asked };
    for (from, reply) in [(THIRD, asked), (SECOND, earlier), (SECOND, before)] {
        probe.hear(from, Message::ReadIndexReply(reply));
        assert_eq!(pages(&probe.sync()).len(), 0, "{reply:?} of {from}");
    }
    probe.hear(SECOND, Message::ReadIndexReply(asked));
    assert_eq!(pages(&probe.sync()).len(), 1);
}

/// A cluster of one, with a value of two pages under "key".
fn with_long_value() -> Probe {
    let mut probe = Probe::serving(1);
    write(&mut probe, 1, b'a');
    assert!(probe.state().commit > LogIndex(2));
    probe
}

fn write(probe: &mut Probe, number: u64, byte: u8) {
    for piece in pieces(session(number), &put("key", vec![byte; 1_500])) {
        probe.ask(1, Message::Request(piece));
    }
    assert_eq!(replies(&probe.sync()).len(), 1);
}
