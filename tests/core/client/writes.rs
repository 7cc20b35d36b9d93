//! Operations: sent again, redirected, settled, given up, and never answered wrongly.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use quorate::client::{Answer, AskId, ClientConfig};
use quorate::operation::{Invalid, Operation, Outcome, Settled};
use quorate::types::{Digest, LogIndex, Sequence, SessionId};
use quorate::wire::{About, DeclineReason, Message, Request};

use super::stage::{SESSION, Sent, Stage, TIMEOUT, config, put};

/// A client with a session that has just sent its second operation.
fn asked(servers: usize) -> (Stage, usize, Request) {
    let mut stage = Stage::with_session(config(servers));
    stage.execute(put("value"));
    let (server, request) = stage.sent_request();
    (stage, server, request)
}

fn about(request: &Request) -> About {
    About::Request(request.session, request.sequence)
}

fn settled(answer: Option<(AskId, Answer)>) -> Option<Settled> {
    match answer {
        Some((_, Answer::Settled(settled))) => Some(settled),
        _ => None,
    }
}

#[test]
fn an_operation_is_sent_in_a_session_and_answered() {
    let mut stage = Stage::new(1);
    let ask = stage.execute(put("value"));
    stage.open_session(SESSION, 1_024);
    let (_, request) = stage.sent_request();
    let mut bytes = Vec::new();
    put("value").encode(&mut bytes);
    assert_eq!(
        (request.session, request.sequence, request.floor),
        (SESSION, Sequence(1), Sequence(1))
    );
    assert_eq!((request.digest, request.length as usize), (Digest::of(&bytes), bytes.len()));
    assert_eq!((request.piece, &request.bytes[..], request.settle), (0, &bytes[..], false));
    stage.settle(0, SESSION, Sequence(1), Outcome::Deleted { existed: true });
    let settled = Settled { index: LogIndex(101), outcome: Outcome::Deleted { existed: true } };
    assert_eq!(stage.end(), Some((ask, Answer::Settled(settled))));
    assert_eq!((stage.sent(), stage.client.next_deadline()), (Vec::new(), None));
}

#[test]
fn what_breaks_a_limit_is_refused_before_anything_is_sent() {
    let mut stage = Stage::new(1);
    for (key, invalid) in [(Vec::new(), Invalid::EmptyKey), (vec![b'k'; 1025], Invalid::KeyTooLong)]
    {
        let ask = stage.execute(Operation::Delete { key: key.into() });
        assert_eq!(stage.end(), Some((ask, Answer::Refused(invalid.to_string()))));
    }
    let value = Bytes::from(vec![0; (1 << 20) + 1]);
    let ask = stage.execute(Operation::Put { key: Bytes::from_static(b"k"), value });
    assert_eq!(stage.end(), Some((ask, Answer::Refused(Invalid::ValueTooLong.to_string()))));
    assert_eq!((stage.sent(), stage.client.next_deadline()), (Vec::new(), None));
}

#[test]
fn the_same_request_is_sent_again_until_it_is_answered() {
    let (mut stage, first_server, first) = asked(2);
    let mut servers = vec![vec![first_server]];
    let mut waits = Vec::new();
    for _ in 0..6 {
        let (sent, waited) = stage.wait();
        let request = Message::Request(first.clone());
        assert!(sent.iter().all(|sent| sent.message == request), "{sent:?}");
        servers.push(sent.iter().map(|sent| sent.server).collect());
        waits.push(waited);
    }
    let expected: [&[usize]; 7] = [&[0], &[0], &[1], &[1, 0], &[0, 1], &[0, 1], &[1, 0]];
    assert_eq!(servers, expected, "one is tried twice, and another, then all are asked");
    assert!(waits.is_sorted() && waits[5] >= waits[0] * 3, "not more and more patient: {waits:?}");
    stage.settle(1, SESSION, first.sequence, Outcome::Written);
    assert!(settled(stage.end()).is_some());
    assert_eq!(stage.client.next_deadline(), None);
}

/// Backing off has a limit: however long the silence, somebody is asked again soon.
#[test]
fn no_pause_is_longer_than_half_a_second() {
    let (mut stage, _, _) = asked(3);
    while stage.client.outstanding() > 0 {
        let (_, waited) = stage.wait();
        assert!(waited <= Duration::from_millis(500), "{waited:?}");
    }
}

/// The nodes of a cluster may be far from each other, and the client near the leader. Answers
/// to requests that were asked again tell no time, so it has to grow patient without any.
#[test]
fn a_client_stops_asking_again_before_answers_that_take_longer_than_it_expects() {
    let mut stage = Stage::with_session(config(1));
    let asked_again = |stage: &mut Stage| {
        stage.execute(put("value"));
        let (_, request) = stage.sent_request();
        let answered_at = stage.now + Duration::from_millis(150);
        let mut again = 0;
        while let Some(next) = stage.client.next_deadline().filter(|next| *next < answered_at) {
            stage.now = next;
            stage.client.on_timeout(next);
            again += stage.sent().len();
        }
        stage.now = answered_at;
        stage.settle(0, SESSION, request.sequence, Outcome::Written);
        assert!(matches!(stage.end(), Some((_, Answer::Settled(_)))));
        again
    };
    let again: Vec<usize> = (0..20).map(|_| asked_again(&mut stage)).collect();
    assert!(again[0] > 1, "it does not know as yet: {again:?}");
    assert_eq!(again[10..], [0; 10], "{again:?}");
}

#[test]
fn a_redirection_is_followed_at_once_and_remembered() {
    let (mut stage, server, request) = asked(2);
    assert_eq!(server, 0);
    stage.decline(0, about(&request), DeclineReason::NotLeader, Some(1));
    assert_eq!(stage.sent_request(), (1, request.clone()));
    stage.settle(1, SESSION, request.sequence, Outcome::Written);
    assert!(settled(stage.end()).is_some());
    stage.execute(put("next"));
    assert_eq!(stage.sent_request().0, 1);
}

#[test]
fn a_leader_that_the_client_was_not_given_is_learned() {
    let (mut stage, _, request) = asked(1);
    stage.decline(0, about(&request), DeclineReason::NotLeader, Some(4));
    assert_eq!(stage.sent_request(), (4, request.clone()));
    stage.settle(4, SESSION, request.sequence, Outcome::Written);
    assert!(settled(stage.end()).is_some());
}

#[test]
fn nodes_that_name_each_other_are_not_asked_in_a_frenzy() {
    let (mut stage, mut at, request) = asked(2);
    let mut at_once = 0;
    for _ in 0..20 {
        stage.decline(at, about(&request), DeclineReason::NotLeader, Some(1 - at));
        let mut sent = stage.sent();
        if sent.is_empty() {
            let (later, waited) = stage.wait();
            assert!(waited >= Duration::from_millis(5), "came back after {waited:?}");
            sent = later;
            at_once = 0;
        } else {
            at_once += 1;
            assert!(at_once <= 2, "followed every redirection");
        }
        at = sent[0].server;
    }
}

#[test]
fn a_redirection_by_a_node_that_was_not_asked_moves_nothing() {
    let (mut stage, _, request) = asked(3);
    stage.decline(1, about(&request), DeclineReason::NoLeader, None);
    stage.decline(2, about(&request), DeclineReason::Busy, None);
    assert_eq!(stage.sent(), []);
    let (sent, _) = stage.wait();
    assert_eq!(sent, [Sent { server: 0, message: Message::Request(request) }]);
}

/// When all are asked since one was silent, any of them may know who leads now.
#[test]
fn a_node_that_was_asked_beside_another_may_name_the_leader() {
    let (mut stage, _, request) = asked(4);
    let asked_beside: Vec<usize> =
        (0..3).flat_map(|_| stage.wait().0).map(|sent| sent.server).collect();
    assert_eq!(asked_beside, [0, 1, 1, 0, 2, 3]);
    stage.decline(2, about(&request), DeclineReason::NotLeader, Some(0));
    assert_eq!(stage.sent(), [], "that one was asked in vain");
    stage.decline(2, about(&request), DeclineReason::NotLeader, Some(3));
    assert_eq!(stage.sent(), [Sent { server: 3, message: Message::Request(request) }]);
}

#[test]
fn busy_is_no_answer_but_a_reason_to_ask_again() {
    let (mut stage, server, request) = asked(3);
    for _ in 0..10 {
        stage.decline(server, about(&request), DeclineReason::Busy, None);
        assert_eq!((stage.sent(), stage.end()), (Vec::new(), None));
        let (sent, waited) = stage.wait();
        assert!((5..100).contains(&waited.as_millis()), "{waited:?}");
        assert_eq!(sent.len(), 1);
        let Message::Request(again) = &sent[0].message else { panic!("{sent:?}") };
        assert_eq!((again.sequence, again.settle), (request.sequence, false));
        if sent[0].server != server {
            return assert_eq!(sent[0].server, (server + 1) % 3);
        }
    }
    stage.settle(server, SESSION, request.sequence, Outcome::Written);
    assert!(settled(stage.end()).is_some());
}

#[test]
fn a_cluster_without_a_leader_is_asked_until_it_has_one() {
    for reason in [DeclineReason::NoLeader, DeclineReason::NotBorn] {
        let (mut stage, mut at, request) = asked(3);
        for _ in 0..6 {
            stage.decline(at, about(&request), reason, None);
            assert_eq!((stage.sent(), stage.end()), (Vec::new(), None));
            let (sent, _) = stage.wait();
            assert_eq!(sent.len(), 1);
            assert_ne!(sent[0].server, at, "another node may know more");
            at = sent[0].server;
        }
        stage.settle(at, SESSION, request.sequence, Outcome::Written);
        assert!(settled(stage.end()).is_some());
    }
}

#[test]
fn an_invalid_request_is_refused_for_good() {
    let (mut stage, server, request) = asked(1);
    let reason = DeclineReason::Invalid(Invalid::NotAnOperation);
    stage.decline(server, about(&request), reason, None);
    let sentence = Invalid::NotAnOperation.to_string();
    assert_eq!(stage.end(), Some((AskId(2), Answer::Refused(sentence))));
    assert_eq!(stage.client.next_deadline(), None);
}

/// A copy of the refused datagram may arrive when there is room again, so the client has it
/// settled that it never will be executed before it says that it was not.
#[test]
fn what_finds_no_space_is_settled_and_then_refused_by_name() {
    let (mut stage, server, request) = asked(1);
    stage.decline(server, about(&request), DeclineReason::NoSpace, None);
    let sent = stage.sent();
    let settles = |sent: &Sent| matches!(&sent.message, Message::Request(r) if r.settle);
    assert!(sent.len() == 1 && settles(&sent[0]), "{sent:?}");
    assert_eq!(stage.end(), None);
    stage.settle(server, SESSION, request.sequence, Outcome::Forbidden);
    let Some((_, Answer::Refused(sentence))) = stage.end() else { panic!("it is refused") };
    assert!(sentence.contains("no space"), "{sentence}");

    let (mut stage, server, request) = asked(1);
    stage.decline(server, about(&request), DeclineReason::NoSpace, None);
    stage.settle(server, SESSION, request.sequence, Outcome::Written);
    assert!(settled(stage.end()).is_some(), "a copy that came first was done");

    let (mut stage, server, request) = asked(1);
    stage.decline(server, about(&request), DeclineReason::NoSpace, None);
    stage.decline(server, about(&request), DeclineReason::Busy, None);
    let _: Vec<Sent> = stage.wait_to_the_end();
    let Some((_, Answer::Unknown(sentence))) = stage.end() else { panic!("it is not settled") };
    assert!(sentence.contains("no space"), "{sentence}");
}

#[test]
fn nothing_is_unknown_of_what_was_never_sent() {
    let mut stage = Stage::new(2);
    let began = stage.now;
    let ask = stage.execute(put("value"));
    let sent = stage.wait_to_the_end();
    assert!(sent.iter().all(|sent| matches!(sent.message, Message::OpenSession(_))), "{sent:?}");
    assert!(sent.iter().any(|sent| sent.server == 1), "both servers are tried");
    assert!(matches!(stage.end(), Some((id, Answer::NoAnswer(_))) if id == ask));
    assert_eq!(stage.now.since(began), TIMEOUT);
}

#[test]
fn the_outcome_of_what_was_sent_in_vain_is_unknown() {
    let (mut stage, _, _) = asked(2);
    let began = stage.now;
    let _: Vec<Sent> = stage.wait_to_the_end();
    assert!(matches!(stage.end(), Some((AskId(2), Answer::Unknown(_)))));
    assert_eq!(stage.now.since(began), TIMEOUT);
}

/// Lets the client be silently ignored until it asks to settle.
fn settling() -> (Stage, usize, Request) {
    let (mut stage, _, first) = asked(2);
    loop {
        let (sent, _) = stage.wait();
        let Some(Sent { server, message: Message::Request(request) }) = sent.first() else {
            panic!("gave up without settling")
        };
        assert_eq!((request.session, request.sequence), (first.session, first.sequence));
        assert_eq!(request.digest, first.digest);
        if request.settle {
            assert_eq!((request.length, request.bytes.len()), (0, 0));
            return (stage, *server, request.clone());
        }
    }
}

#[test]
fn what_the_cluster_forbade_is_certainly_not_done() {
    let (mut stage, server, request) = settling();
    stage.settle(server, SESSION, request.sequence, Outcome::Forbidden);
    assert!(matches!(stage.end(), Some((AskId(2), Answer::Refused(_)))));
    assert_eq!(stage.client.next_deadline(), None);
}

#[test]
fn settling_may_find_that_it_was_done() {
    let (mut stage, server, request) = settling();
    stage.settle(server, SESSION, request.sequence, Outcome::Incremented { total: 5 });
    let outcome = settled(stage.end()).map(|settled| settled.outcome);
    assert_eq!(outcome, Some(Outcome::Incremented { total: 5 }));
}

#[test]
fn settling_goes_on_until_time_is_up() {
    let (mut stage, server, request) = settling();
    stage.decline(server, about(&request), DeclineReason::NotLeader, Some(1 - server));
    let (at, again) = stage.sent_request();
    assert_eq!((at, again.settle), (1 - server, true));
    let rest = stage.wait_to_the_end();
    let settles = |sent: &Sent| matches!(&sent.message, Message::Request(again) if again.settle);
    assert!(rest.iter().all(settles), "the operation itself is not sent any more: {rest:?}");
    assert!(matches!(stage.end(), Some((AskId(2), Answer::Unknown(_)))));
}

proptest! {
    /// Whatever the time that the client has: it asks to settle before it gives up.
    #[test]
    fn there_is_time_left_to_settle(milliseconds in 200..10_000_u64) {
        let timeout = Duration::from_millis(milliseconds);
        let mut stage = Stage::with_session(ClientConfig { timeout, ..config(3) });
        stage.execute(put("value"));
        let began = stage.now;
        let mut settled_at = None;
        while stage.client.outstanding() > 0 && settled_at.is_none() {
            let (sent, _) = stage.wait();
            let settles = |sent: &Sent| matches!(&sent.message, Message::Request(r) if r.settle);
            settled_at = sent.iter().any(settles).then_some(stage.now);
        }
        let Some(settled_at) = settled_at else { panic!("gave up without settling") };
        let waited = settled_at.since(began);
        prop_assert!(waited >= timeout / 2, "settled after {:?}, too early", waited);
        prop_assert!(waited <= timeout * 4 / 5, "settled after {:?}, too late", waited);
    }
}

#[test]
fn late_and_doubled_answers_change_nothing() {
    let (mut stage, _, request) = asked(2);
    stage.settle(0, SESSION, request.sequence, Outcome::Incremented { total: 1 });
    assert!(settled(stage.end()).is_some());
    stage.execute(put("next"));
    stage.sent();
    let deadline = stage.client.next_deadline();
    stage.settle(0, SESSION, request.sequence, Outcome::Incremented { total: 1 });
    stage.settle(1, SESSION, request.sequence, Outcome::Forbidden);
    stage.settle(0, SESSION, Sequence(99), Outcome::Written);
    let other = SessionId { random: 71, ..SESSION };
    stage.settle(0, other, request.sequence.next(), Outcome::Written);
    stage.decline(0, about(&request), DeclineReason::NotLeader, None);
    assert_eq!((stage.end(), stage.sent()), (None, Vec::new()));
    assert_eq!(stage.client.next_deadline(), deadline);
    assert_eq!(stage.client.outstanding(), 1);
}

#[test]
fn outcomes_are_told_for_what_they_are() {
    for outcome in [Outcome::Expired, Outcome::OtherOperation, Outcome::Forbidden] {
        let (mut stage, _, request) = asked(1);
        stage.settle(0, SESSION, request.sequence, outcome);
        assert!(matches!(stage.end(), Some((_, Answer::Refused(_)))));
    }
    for outcome in [Outcome::NotANumber, Outcome::Overflow] {
        let (mut stage, _, request) = asked(1);
        stage.settle(0, SESSION, request.sequence, outcome.clone());
        assert_eq!(settled(stage.end()).map(|settled| settled.outcome), Some(outcome));
    }
}

#[test]
fn a_session_that_was_forgotten_is_replaced() {
    let (mut stage, _, request) = asked(1);
    stage.settle(0, SESSION, request.sequence, Outcome::Forgotten);
    assert!(matches!(stage.end(), Some((_, Answer::Unknown(_)))));
    stage.execute(put("next"));
    let fresh = SessionId { minted_at: LogIndex(200), random: 3 };
    stage.open_session(fresh, 1_024);
    let (_, request) = stage.sent_request();
    assert_eq!(request.session, fresh);
}

#[test]
fn a_sequence_outside_the_window_settles_nothing() {
    let (mut stage, _, request) = asked(1);
    stage.settle(0, SESSION, request.sequence, Outcome::OutsideWindow);
    assert_eq!((stage.end(), stage.sent()), (None, Vec::new()));
    let (sent, _) = stage.wait();
    assert_eq!(sent, [Sent { server: 0, message: Message::Request(request) }]);
}

#[test]
fn a_session_that_nobody_opens_is_asked_for_in_turn() {
    let mut stage = Stage::new(3);
    stage.execute(put("value"));
    let mut nonces = Vec::new();
    let mut servers = Vec::new();
    for sent in std::iter::once(stage.sent_one()).chain((0..5).flat_map(|_| stage.wait().0)) {
        let Message::OpenSession(open) = sent.message else { panic!("{sent:?}") };
        nonces.push(open.nonce);
        servers.push(sent.server);
    }
    assert_eq!(servers, [0, 1, 2, 0, 1, 2]);
    assert!(nonces.iter().all(|nonce| *nonce == nonces[0]), "any answer will do");
}

#[test]
fn no_more_are_outstanding_than_allowed() {
    let mut stage = Stage::with_session(ClientConfig { outstanding_max: 3, ..config(1) });
    for number in 0..5 {
        stage.execute(put(&number.to_string()));
    }
    let sequences = |sent: Vec<Sent>| -> Vec<(u64, u64)> {
        let requests = sent.into_iter().map(|sent| match sent.message {
            Message::Request(request) => (request.sequence.0, request.floor.0),
            other => panic!("{other:?}"),
        });
        requests.collect()
    };
    assert_eq!(sequences(stage.sent()), [(2, 2), (3, 2), (4, 2)]);
    stage.settle(0, SESSION, Sequence(3), Outcome::Written);
    assert_eq!(sequences(stage.sent()), [(5, 2)], "2 still wants its answer");
    stage.settle(0, SESSION, Sequence(2), Outcome::Written);
    assert_eq!(sequences(stage.sent()), [(6, 4)], "nothing below 4 is wanted any more");
}

#[test]
fn the_window_of_the_session_holds_later_operations_back() {
    let mut stage = Stage::new(1);
    for number in 0..5 {
        stage.execute(put(&number.to_string()));
    }
    stage.open_session(SESSION, 3);
    assert_eq!(stage.sent().len(), 3);
    stage.settle(0, SESSION, Sequence(2), Outcome::Written);
    assert_eq!(stage.sent(), [], "sequence 4 lies outside while 1 is outstanding");
    stage.settle(0, SESSION, Sequence(1), Outcome::Written);
    assert_eq!(stage.sent().len(), 2);
}

/// With a time for each operation that is too short to ask a second node, one that is gone
/// would else be asked for ever.
#[test]
fn after_an_operation_in_vain_the_next_begins_with_another_node() {
    let timeout = Duration::from_millis(25);
    let mut stage = Stage::with_session(ClientConfig { timeout, ..config(3) });
    let mut first_asked = Vec::new();
    for value in ["a", "b", "c"] {
        stage.execute(put(value));
        first_asked.push(stage.sent()[0].server);
        stage.wait_to_the_end();
        assert!(matches!(stage.end(), Some((_, Answer::Unknown(_)))));
    }
    assert_eq!(first_asked, [0, 1, 2]);
}

/// Nor is a pair that is gone asked for ever, where the time is long enough for two.
#[test]
fn after_two_nodes_in_vain_the_next_operation_begins_with_a_third() {
    let timeout = Duration::from_millis(100);
    let mut stage = Stage::with_session(ClientConfig { timeout, ..config(4) });
    let mut next = 0;
    for value in ["a", "b", "c"] {
        stage.execute(put(value));
        let first = stage.sent()[0].server;
        assert_eq!(first, next);
        let mut last = first;
        while stage.client.outstanding() > 0 {
            // Whoever is asked beside it comes behind.
            last = stage.wait().0.first().map_or(last, |sent| sent.server);
        }
        assert_ne!(last, first, "there was time for two");
        assert!(matches!(stage.end(), Some((_, Answer::Unknown(_)))));
        next = (last + 1) % 4;
    }
}
