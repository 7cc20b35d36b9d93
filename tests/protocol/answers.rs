//! Every answer that depends on state waits until that state is committed.

use quorate::operation::Outcome;
use quorate::types::LogIndex;
use quorate::wire::{Acknowledge, Message};

use super::members::{SECOND, THIRD};
use super::probe::Probe;
use super::request::{compare_in_vain, get, put, request, session};
use super::said::{Sent, pages, replies};

#[test]
fn a_refused_compare_is_held_until_it_is_committed() {
    let mut probe = Probe::serving(3);
    probe.ask(1, Message::Request(request(session(1), &compare_in_vain("key"))));
    assert_silent(&probe.sync());
    // Received is not durable, and one node is no majority.
    let received = Acknowledge { durable: LogIndex(2), ..probe.acknowledgment(LogIndex(3)) };
    probe.hear(SECOND, Message::Acknowledge(received));
    assert_silent(&probe.sync());

    probe.acknowledge(SECOND, LogIndex(3));
    let said = probe.sync();
    let [settled] = replies(&said)[..] else { panic!("{said:?}") };
    assert_eq!(settled.index, LogIndex(3));
    assert_eq!(settled.outcome, Outcome::CompareFailed { version: None, value: None });
}

#[test]
fn a_duplicate_of_a_pending_operation_waits_with_it() {
    let mut probe = Probe::serving(3);
    let put = Message::Request(request(session(1), &put("key", "value")));
    for client in [1, 1, 2] {
        probe.ask(client, put.clone());
        assert_silent(&probe.sync());
    }
    assert_eq!(probe.state().log.last_index(), LogIndex(3), "it is executed once");

    probe.acknowledge(SECOND, LogIndex(3));
    let said = probe.sync();
    let clients: Vec<_> = said.iter().filter(|sent| is_reply(sent)).map(|sent| sent.to).collect();
    assert_eq!(clients.len(), 2);
    assert_ne!(clients[0], clients[1]);
    for settled in replies(&said) {
        assert_eq!((settled.index, &settled.outcome), (LogIndex(3), &Outcome::Written));
    }
    probe.ask(3, put);
    assert_eq!(replies(&probe.sync()).len(), 1, "then it is answered at once");
}

/// What a leader knows to be committed may be less than what its predecessor has
/// acknowledged, until an entry of its own term is committed.
#[test]
fn a_read_waits_for_the_first_commit_of_the_term() {
    let mut probe = Probe::leading(3);
    probe.ask(1, Message::Read(get("key")));
    assert_silent(&probe.sync());
    let answered = Acknowledge { durable: LogIndex(1), ..probe.acknowledgment(LogIndex(2)) };
    probe.hear(SECOND, Message::Acknowledge(answered.clone()));
    probe.hear(THIRD, Message::Acknowledge(answered));
    assert_silent(&probe.sync());

    probe.acknowledge(SECOND, LogIndex(2));
    let said = probe.sync();
    let [page] = pages(&said)[..] else { panic!("{said:?}") };
    assert_eq!(page.index, LogIndex(2));
}

#[test]
fn a_read_waits_for_a_round_that_began_after_it() {
    let mut probe = Probe::serving(3);
    let earlier = probe.acknowledgment(LogIndex(2));
    probe.ask(1, Message::Read(get("key")));
    assert_silent(&probe.sync());
    probe.hear(SECOND, Message::Acknowledge(earlier));
    assert_silent(&probe.sync());
    probe.acknowledge(SECOND, LogIndex(2));
    assert_eq!(pages(&probe.sync()).len(), 1);
}

#[test]
fn a_read_shows_nothing_that_is_not_committed() {
    let mut probe = Probe::serving(3);
    probe.ask(1, Message::Request(request(session(1), &put("key", "value"))));
    probe.ask(2, Message::Read(get("key")));
    probe.sync();
    let answered = Acknowledge { durable: LogIndex(2), ..probe.acknowledgment(LogIndex(3)) };
    probe.hear(SECOND, Message::Acknowledge(answered));
    let said = probe.sync();
    let [page] = pages(&said)[..] else { panic!("{said:?}") };
    assert_eq!((page.index, page.bytes.len()), (LogIndex(2), 0));

    probe.acknowledge(SECOND, LogIndex(3));
    assert_eq!(replies(&probe.sync()).len(), 1);
    probe.ask(2, Message::Read(get("key")));
    probe.sync();
    probe.acknowledge(SECOND, LogIndex(3));
    let said = probe.sync();
    let [page] = pages(&said)[..] else { panic!("{said:?}") };
    assert_eq!(page.index, LogIndex(3));
    assert!(page.bytes.ends_with(b"value"));
}

/// No client is told anything.
#[track_caller]
fn assert_silent(said: &[Sent]) {
    assert_eq!((replies(said), pages(said)), (vec![], vec![]));
    assert!(!said.iter().any(|sent| matches!(sent.message, Message::Declined(_))));
}

fn is_reply(sent: &Sent) -> bool {
    matches!(sent.message, Message::Reply(_))
}
