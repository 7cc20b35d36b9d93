//! Reads: whole, in order, from one state, or not at all.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use quorate::client::{Answer, AskId, Event};
use quorate::operation::Invalid;
use quorate::types::LogIndex;
use quorate::wire::{About, DeclineReason, Message, Page, Query, Read, ReadId};

use super::stage::{Sent, Stage, TIMEOUT};

const INDEX: LogIndex = LogIndex(50);
const PIN: u64 = 6;

fn list() -> Query {
    Query::List { prefix: Bytes::from_static(b"p"), limit: 0 }
}

fn reads(sent: Vec<Sent>) -> Vec<(usize, Read)> {
    let reads = sent.into_iter().map(|sent| match sent {
        Sent { server, message: Message::Read(read) } => (server, read),
        other => panic!("{other:?}"),
    });
    reads.collect()
}

/// A client that has just asked for a list. With the server and the request.
fn asked(servers: usize) -> (Stage, usize, Read) {
    begin(Stage::new(servers), false)
}

/// The same, but the list may be stale.
fn asked_for_stale(servers: usize) -> (Stage, usize, Read) {
    begin(Stage::new(servers), true)
}

fn begin(mut on: Stage, stale: bool) -> (Stage, usize, Read) {
    on.read(list(), stale);
    let (server, read) = reads(on.sent()).remove(0);
    (on, server, read)
}

/// One page of an answer whose pages hold their own numbers.
fn page(read: ReadId, number: u32, last: bool) -> Page {
    let bytes = Bytes::copy_from_slice(&number.to_le_bytes());
    Page { read, pin: PIN, page: number, last, index: INDEX, age: None, bytes }
}

/// The numbers of the pages that were handed out, and the answer if there is one.
fn told(stage: &mut Stage) -> (Vec<u32>, Option<Answer>) {
    let mut pages = Vec::new();
    while let Some(event) = stage.client.poll_event() {
        match event {
            Event::Bytes(_, bytes) => {
                pages.push(u32::from_le_bytes(bytes[..].try_into().expect("a number")));
            }
            Event::Done(_, answer) => return (pages, Some(answer)),
        }
    }
    (pages, None)
}

const WHOLE: Answer = Answer::Read { index: INDEX, age: None };

#[test]
fn a_read_needs_no_session() {
    let mut stage = Stage::new(1);
    let query = Query::Get { key: Bytes::from_static(b"key") };
    let ask = stage.read(query.clone(), false);
    let (_, read) = reads(stage.sent()).remove(0);
    assert_eq!((read.query, read.stale, read.pin, read.page), (query, false, 0, 0));
    stage.say(0, Message::Page(Page { pin: 0, ..page(read.read, 0, true) }));
    assert_eq!(stage.client.poll_event(), Some(Event::Bytes(ask, Bytes::from_static(&[0; 4]))));
    assert_eq!(stage.client.poll_event(), Some(Event::Done(ask, WHOLE)));
    assert_eq!((stage.sent(), stage.client.next_deadline()), (Vec::new(), None));
}

#[test]
fn an_invalid_key_is_refused_before_anything_is_sent() {
    let mut stage = Stage::new(1);
    let ask = stage.read(Query::Get { key: Bytes::new() }, false);
    assert_eq!(stage.end(), Some((ask, Answer::Refused(Invalid::EmptyKey.to_string()))));
    assert_eq!((stage.sent(), stage.client.next_deadline()), (Vec::new(), None));
}

#[test]
fn pages_are_handed_out_in_order() {
    let (mut stage, server, read) = asked(1);
    for number in [2, 0, 3] {
        stage.say(server, Message::Page(page(read.read, number, number == 3)));
    }
    assert_eq!(told(&mut stage), (vec![0], None));
    stage.say(server, Message::Page(page(read.read, 1, false)));
    assert_eq!(told(&mut stage), (vec![1, 2, 3], Some(WHOLE)));
    assert_eq!(stage.client.next_deadline(), None);
}

#[test]
fn pages_of_one_answer_come_from_one_state() {
    let (mut stage, server, read) = asked(2);
    let other = 1 - server;
    stage.say(server, Message::Page(page(read.read, 0, false)));
    let strange = [
        (server, Page { pin: PIN + 1, ..page(read.read, 1, true) }),
        (server, Page { index: INDEX.next(), ..page(read.read, 1, true) }),
        (server, Page { age: Some(1), ..page(read.read, 1, true) }),
        (other, page(read.read, 1, true)),
        (server, page(ReadId { client: read.read.client + 1, ..read.read }, 1, true)),
        (server, page(ReadId { number: read.read.number + 1, ..read.read }, 1, true)),
    ];
    for (from, page) in strange {
        stage.say(from, Message::Page(page));
    }
    assert_eq!(told(&mut stage), (vec![0], None));
    stage.say(server, Message::Page(page(read.read, 1, true)));
    assert_eq!(told(&mut stage), (vec![1], Some(WHOLE)));
}

#[test]
fn pages_after_the_end_and_doubled_ones_change_nothing() {
    let (mut stage, server, read) = asked(1);
    for number in [0, 0, 1, 0, 2] {
        stage.say(server, Message::Page(page(read.read, number, number == 2)));
    }
    assert_eq!(told(&mut stage), (vec![0, 1, 2], Some(WHOLE)));
    stage.sent();
    stage.say(server, Message::Page(page(read.read, 2, true)));
    assert_eq!((told(&mut stage), stage.sent()), ((Vec::new(), None), Vec::new()));
}

/// The node holds a state for it, and a place that others wait for.
#[test]
fn the_node_is_told_once_that_all_pages_have_arrived() {
    let (mut stage, server, read) = asked(2);
    for number in [0, 2, 1] {
        assert_eq!(stage.sent(), Vec::new());
        stage.say(server, Message::Page(page(read.read, number, number == 2)));
    }
    let released = Read { pin: PIN, arrived: 3, page: 3, count: 1, ..read.clone() };
    assert_eq!(reads(stage.sent()), [(server, released)]);
    stage.decline(server, About::Read(read.read), DeclineReason::PinGone, None);
    assert_eq!((told(&mut stage), stage.sent()), ((vec![0, 1, 2], Some(WHOLE)), Vec::new()));
}

#[test]
fn a_page_that_was_overtaken_is_asked_for_at_once() {
    let (mut stage, server, read) = asked(1);
    for number in [0, 2, 3, 4, 5] {
        stage.say(server, Message::Page(page(read.read, number, false)));
    }
    let again = reads(stage.sent());
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!((again[0].1.pin, again[0].1.page, again[0].1.count), (PIN, 1, 1));
}

#[test]
fn the_pages_that_are_missing_are_asked_for_after_a_silence() {
    let (mut stage, server, read) = asked(1);
    stage.say(server, Message::Page(page(read.read, 0, false)));
    stage.say(server, Message::Page(page(read.read, 1, false)));
    let (sent, _) = stage.wait();
    let (_, again) = reads(sent).remove(0);
    assert_eq!((again.pin, again.arrived, again.page), (PIN, 2, 2));
}

#[test]
fn another_server_is_read_from_when_one_is_silent() {
    let (mut stage, first, read) = asked(2);
    let mut sent = reads(stage.wait().0);
    while sent[0].0 == first {
        sent = reads(stage.wait().0);
    }
    let (second, again) = sent.remove(0);
    assert_eq!((again.read, again.pin, again.page), (read.read, 0, 0));
    stage.say(second, Message::Page(page(read.read, 0, true)));
    assert_eq!(told(&mut stage), (vec![0], Some(WHOLE)));
}

#[test]
fn a_read_that_is_declined_begins_anew_elsewhere() {
    for reason in [DeclineReason::Busy, DeclineReason::NoLeader, DeclineReason::NotBorn] {
        let (mut stage, server, read) = asked(2);
        stage.decline(server, About::Read(read.read), reason, None);
        assert_eq!((stage.sent(), told(&mut stage)), (Vec::new(), (Vec::new(), None)));
        let (other, again) = reads(stage.wait().0).remove(0);
        assert_eq!((other, again.page), (1 - server, 0));
        stage.say(other, Message::Page(page(read.read, 0, true)));
        assert_eq!(told(&mut stage), (vec![0], Some(WHOLE)));
    }
}

#[test]
fn a_server_that_was_silent_once_and_then_declines_is_not_asked_again_at_once() {
    let (mut stage, server, read) = asked(2);
    assert_eq!(reads(stage.wait().0)[0].0, server, "a frame may have been lost");
    stage.decline(server, About::Read(read.read), DeclineReason::NoLeader, None);
    assert_eq!(reads(stage.wait().0)[0].0, 1 - server);
}

#[test]
fn a_declined_read_is_refused_only_when_it_is_invalid() {
    let (mut stage, server, read) = asked(1);
    let reason = DeclineReason::Invalid(Invalid::KeyTooLong);
    stage.decline(server, About::Read(read.read), reason, None);
    assert_eq!(told(&mut stage).1, Some(Answer::Refused(Invalid::KeyTooLong.to_string())));
}

#[test]
fn a_late_refusal_does_not_join_pages_of_two_states() {
    for reason in [DeclineReason::Busy, DeclineReason::NoLeader, DeclineReason::NotBorn] {
        let (mut stage, server, read) = asked(2);
        stage.say(server, Message::Page(page(read.read, 0, false)));
        assert_eq!(told(&mut stage), (vec![0], None));
        // The server refused an earlier copy of the read before it answered this one.
        stage.decline(server, About::Read(read.read), reason, None);
        let (again, further) = reads(stage.wait().0).remove(0);
        assert_eq!((again, further.pin, further.page), (server, PIN, 1), "{reason:?}");
        let other = 1 - server;
        stage.say(other, Message::Page(Page { pin: PIN + 1, ..page(read.read, 1, true) }));
        assert_eq!(told(&mut stage), (vec![], None));
        stage.say(server, Message::Page(page(read.read, 1, true)));
        assert_eq!(told(&mut stage), (vec![1], Some(WHOLE)));
    }
}

#[test]
fn a_state_that_is_gone_may_be_replaced_only_before_the_first_page() {
    let (mut stage, server, read) = asked(1);
    stage.say(server, Message::Page(page(read.read, 1, false)));
    stage.decline(server, About::Read(read.read), DeclineReason::PinGone, None);
    let (_, again) = reads(stage.wait().0).remove(0);
    assert_eq!((again.pin, again.page), (0, 0));
    let other = |number, last| Page { pin: PIN + 1, ..page(read.read, number, last) };
    stage.say(server, Message::Page(other(0, false)));
    assert_eq!(told(&mut stage), (vec![0], None), "page 1 of the former state is not kept");
    stage.decline(server, About::Read(read.read), DeclineReason::PinGone, None);
    assert!(matches!(told(&mut stage), (_, Some(Answer::NoAnswer(_)))));
}

#[test]
fn a_stale_read_asks_the_given_server_alone() {
    let (mut stage, server, read) = asked_for_stale(3);
    let asked_at = stage.now;
    assert_eq!((server, read.stale), (0, true));
    for reason in [DeclineReason::Busy, DeclineReason::NotBorn] {
        stage.decline(0, About::Read(read.read), reason, None);
        let again = reads(stage.wait().0);
        assert_eq!((again[0].0, again[0].1.stale), (0, true));
    }
    stage.say(1, Message::Page(page(read.read, 0, true)));
    assert_eq!(told(&mut stage), (Vec::new(), None), "another server's state");
    stage.say(0, Message::Page(Page { age: Some(9), ..page(read.read, 0, true) }));
    let age = Some(9 + stage.now.0 - asked_at.0);
    assert_eq!(told(&mut stage), (vec![0], Some(Answer::Read { index: INDEX, age })));
}

/// A node says how old its state was when it answered. Until the answer is whole it gets older.
#[test]
fn a_stale_answer_that_comes_late_is_older_than_its_page_says() {
    let (mut stage, _, read) = asked_for_stale(1);
    let aged = |number, last| Page { age: Some(9), ..page(read.read, number, last) };
    stage.say(0, Message::Page(aged(0, false)));
    stage.now = stage.now + Duration::from_secs(2);
    stage.say(0, Message::Page(aged(1, true)));
    let whole = Answer::Read { index: INDEX, age: Some(2_000_009) };
    assert_eq!(told(&mut stage), (vec![0, 1], Some(whole)));
}

#[test]
fn a_stale_read_does_not_move_on_when_its_server_is_silent() {
    let (mut stage, _, _) = asked_for_stale(3);
    let sent = reads(stage.wait_to_the_end());
    assert!(sent.len() > 5 && sent.iter().all(|(server, read)| *server == 0 && read.stale));
    let Some(Answer::NoAnswer(sentence)) = told(&mut stage).1 else { panic!("it is answered") };
    assert!(sentence.contains("from 127.0.0.1:9000, which alone is asked"), "{sentence}");
}

#[test]
fn a_read_without_an_answer_is_never_unknown() {
    let (mut stage, _, _) = asked(2);
    let began = stage.now;
    let sent = reads(stage.wait_to_the_end());
    assert!(sent.iter().any(|(server, _)| *server == 1), "both servers are tried");
    assert!(matches!(stage.end(), Some((AskId(1), Answer::NoAnswer(_)))));
    assert_eq!(stage.now.since(began), TIMEOUT);
}

/// The time that an operation may take bounds each page of a long answer, not all.
#[test]
fn a_long_answer_may_take_longer_than_the_timeout() {
    let (mut stage, server, read) = asked(1);
    let began = stage.now;
    for number in 0..20 {
        stage.now = stage.now + Duration::from_millis(300);
        stage.client.on_timeout(stage.now);
        stage.sent();
        stage.say(server, Message::Page(page(read.read, number, number == 19)));
    }
    assert_eq!(told(&mut stage), ((0..20).collect(), Some(WHOLE)));
    assert!(stage.now.since(began) > TIMEOUT);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Requests and pages get lost, doubled and out of order; the answer is whole.
    #[test]
    fn a_long_answer_is_whole_though_much_is_lost(count in 1..200_u32, seed in any::<u64>()) {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut stage, _, first) = asked(1);
        let mut requests = vec![first];
        let mut pages = Vec::new();
        let mut under_way: Vec<Page> = Vec::new();
        loop {
            for request in requests.drain(..) {
                let wanted = request.page..count.min(request.page + u32::from(request.count));
                let arriving = wanted.filter(|_| random.u8(0..10) >= 3);
                under_way.extend(
                    arriving.map(|number| page(request.read, number, number + 1 == count)),
                );
            }
            if under_way.is_empty() {
                requests.extend(reads(stage.wait().0).into_iter().map(|(_, read)| read));
            } else {
                let near = random.usize(..under_way.len().min(6));
                let next = under_way.remove(near);
                if random.u8(0..10) == 0 {
                    under_way.push(next.clone());
                }
                stage.say(0, Message::Page(next));
                requests.extend(reads(stage.sent()).into_iter().map(|(_, read)| read));
            }
            let (more, answer) = told(&mut stage);
            pages.extend(more);
            if let Some(answer) = answer {
                prop_assert_eq!(answer, WHOLE);
                break;
            }
        }
        prop_assert_eq!(pages, (0..count).collect::<Vec<_>>());
    }
}
