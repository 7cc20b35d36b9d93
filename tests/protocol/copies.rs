//! What clients are told more than once, since much of it is lost on the way to them.

use std::time::Duration;

use quorate::types::{LossShare, Term};
use quorate::wire::{Message, StatusRequest};

use super::client;
use super::leader::heartbeat;
use super::members::SECOND;
use super::probe::Probe;
use super::request::{get, pieces, put, request, session};
use super::said::Sent;

/// Half of all frames: each answer is sent as often as any may be.
const HALF: LossShare = LossShare(128);

fn to_client(said: &[Sent]) -> Vec<&Message> {
    said.iter().filter(|sent| sent.to == client::address(1)).map(|sent| &sent.message).collect()
}

/// What a node that is alone says to a client that loses this share, and asks this.
fn answers(probe: &mut Probe, loss: LossShare, message: &Message) -> Vec<Message> {
    probe.ask_over_loss(1, loss, message);
    to_client(&probe.sync()).into_iter().cloned().collect()
}

#[test]
fn an_answer_of_one_frame_is_sent_more_often_where_frames_are_lost() {
    let mut probe = Probe::serving(1);
    let put = Message::Request(request(session(1), &put("key", "value")));
    let read = Message::Read(get("key"));
    for message in [put, read] {
        assert_eq!(answers(&mut probe, LossShare(0), &message).len(), 1, "{message:?}");
        let said = answers(&mut probe, HALF, &message);
        assert_eq!(said.len(), 3, "{message:?}");
        assert!(said.iter().all(|answer| *answer == said[0]), "{message:?}");
    }
    assert_eq!(probe.traffic().repeated_answers, 4, "each but the first of three, twice");
    let status = Message::StatusRequest(StatusRequest { nonce: 1 });
    assert_eq!(answers(&mut probe, HALF, &status).len(), 1, "who wants it asks again");
}

/// Those that are lost are asked for while others come.
#[test]
fn of_many_pages_each_is_sent_once() {
    let mut probe = Probe::serving(1);
    for piece in pieces(session(1), &put("key", vec![b'x'; 3_000])) {
        probe.ask(2, Message::Request(piece));
    }
    probe.sync();
    let said = answers(&mut probe, HALF, &Message::Read(get("key")));
    assert_eq!(said.len(), 3);
    assert!(said[0] != said[1] && said[1] != said[2]);
}

#[test]
fn copies_of_an_answer_leave_at_equal_pauses() {
    let mut probe = Probe::born(2);
    for _ in 0..2 {
        probe.hear(SECOND, heartbeat(Term(1)));
        probe.sync();
        probe.pass(Duration::from_millis(10));
    }
    let asked = Message::Request(request(session(1), &put("key", "value")));
    let begun = probe.now;
    let mut times = Vec::new();
    probe.ask_over_loss(1, HALF, &asked);
    probe.ask_over_loss(2, HALF, &asked);
    while probe.now.since(begun) < Duration::from_millis(100) {
        times.extend(to_client(&probe.turn()).iter().map(|_| probe.now.since(begun)));
        probe.wait();
    }
    let pause = times[1];
    assert!(!pause.is_zero());
    assert_eq!(times, [Duration::ZERO, pause, pause * 2]);
}
