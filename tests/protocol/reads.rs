//! The pages of an answer come from one state.

use std::time::Duration;

use quorate::entry::Entry;
use quorate::replica::ELECTION_TIMEOUT;
use quorate::time::micros;
use quorate::types::{LogIndex, LossShare, ServerId, Term};
use quorate::wire::{
    About, DeclineReason, Declined, Heartbeat, Message, Page, Read, ReadId, ReadIndexReply,
    ReadIndexRequest,
};

use super::leader::{heartbeat, heartbeat_that_commits, noop_after, replicate};
use super::members::{SECOND, THIRD};
use super::probe::Probe;
use super::request::{get, list_stale, pieces, put, session};
use super::said::{Sent, pages, replies, to_peer};

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
    let former_life = ReadIndexReply { batch: asked.batch + 1, ..asked };
    for (from, reply) in
        [(THIRD, asked), (SECOND, earlier), (SECOND, before), (SECOND, former_life)]
    {
        probe.hear(from, Message::ReadIndexReply(reply));
        assert_eq!(pages(&probe.sync()).len(), 0, "{reply:?} of {from}");
    }
    probe.hear(SECOND, Message::ReadIndexReply(asked));
    assert_eq!(pages(&probe.sync()).len(), 1);
}

/// The batch that the leader was last asked for.
fn asked(said: &[Sent]) -> Option<(Term, u64)> {
    to_peer(said, SECOND).into_iter().rev().find_map(|message| match message {
        Message::ReadIndexRequest(request) => Some((request.term, request.batch)),
        _ => None,
    })
}

/// A follower in the first term, with a read that it has asked its leader about, and the batch.
fn asking() -> (Probe, u64) {
    let mut probe = Probe::born(3);
    probe.hear(SECOND, heartbeat(Term(1)));
    probe.sync();
    probe.ask(1, Message::Read(get("key")));
    let (_, batch) = asked(&probe.sync()).expect("the leader is asked");
    (probe, batch)
}

fn reply(batch: u64) -> Message {
    Message::ReadIndexReply(ReadIndexReply { term: Term(1), batch, index: LogIndex(1) })
}

#[test]
fn each_batch_of_reads_has_a_number_of_its_own_that_no_former_life_used() {
    let (mut probe, first) = asking();
    assert!(first > 1, "{first}");
    probe.hear(SECOND, reply(first));
    probe.sync();
    probe.ask(1, Message::Read(get("key")));
    assert_eq!(asked(&probe.sync()), Some((Term(1), first + 1)));
}

#[test]
fn the_leader_is_asked_again_until_it_answers() {
    let (mut probe, batch) = asking();
    let again = |probe: &mut Probe| {
        let until = probe.now + ELECTION_TIMEOUT / 2;
        let mut times = 0;
        while probe.now < until {
            probe.hear(SECOND, heartbeat(Term(1)));
            times += usize::from(asked(&probe.wait_and_sync()) == Some((Term(1), batch)));
        }
        times
    };
    assert!(again(&mut probe) > 0);
    probe.hear(SECOND, reply(batch));
    assert_eq!(pages(&probe.sync()).len(), 1);
    assert_eq!(again(&mut probe), 0);
}

/// So many clients each ask in a turn of their own. Returns the batches that the leader is asked
/// for.
fn ask_one_after_another(probe: &mut Probe, clients: std::ops::Range<u32>) -> Vec<u64> {
    let ask = |client| {
        probe.ask(client, Message::Read(get("key")));
        asked(&probe.sync()).map(|(_, batch)| batch)
    };
    clients.filter_map(ask).collect()
}

/// Its round began when their reads had arrived, too. Reads of later batches may have arrived
/// after it.
#[test]
fn an_answer_proves_the_batches_before_it_and_none_behind_it() {
    let (mut probe, first) = asking();
    let next = ask_one_after_another(&mut probe, 2..5);
    assert_eq!(next, [first + 1, first + 2, first + 3], "none waits for another");
    for (batch, proven) in [(first + 2, 3), (first + 1, 0), (first + 2, 0), (first + 3, 1)] {
        probe.hear(SECOND, reply(batch));
        assert_eq!(pages(&probe.sync()).len(), proven, "batch {batch} after {first}");
    }
}

#[test]
fn a_follower_bounds_how_many_batches_it_asks_for_at_once() {
    let (mut probe, first) = asking();
    let batches = ask_one_after_another(&mut probe, 2..100);
    assert_eq!(batches.last(), Some(&(first + 31)));
    probe.hear(SECOND, reply(first));
    let said = probe.sync();
    assert_eq!(pages(&said).len(), 1);
    assert_eq!(asked(&said), Some((Term(1), first + 32)), "all others");
    probe.hear(SECOND, reply(first + 32));
    assert_eq!(pages(&probe.sync()).len(), 98);
}

#[test]
fn a_copy_of_a_read_that_waits_is_answered_with_it() {
    let (mut probe, batch) = asking();
    probe.ask(1, Message::Read(get("key")));
    assert_eq!(asked(&probe.sync()), None);
    probe.hear(SECOND, reply(batch));
    assert_eq!(pages(&probe.sync()).len(), 1);
    probe.ask(1, Message::Read(get("key")));
    assert_eq!(asked(&probe.sync()), Some((Term(1), batch + 1)), "its answer may be lost");
}

/// How many answers to batches there are for the third node.
fn replies_to_third(said: &[Sent]) -> usize {
    let reply = |message: &&&Message| matches!(message, Message::ReadIndexReply(_));
    to_peer(said, THIRD).iter().filter(reply).count()
}

#[test]
fn a_copy_of_what_a_follower_asks_is_answered_with_it() {
    let mut probe = Probe::serving(3);
    let request = Message::ReadIndexRequest(ReadIndexRequest { term: Term(1), batch: 7 });
    for _ in 0..3 {
        probe.hear(THIRD, request.clone());
        probe.sync();
    }
    probe.acknowledge(SECOND, LogIndex(2));
    assert_eq!(replies_to_third(&probe.sync()), 1);
    probe.hear(THIRD, request);
    probe.sync();
    probe.acknowledge(SECOND, LogIndex(2));
    assert_eq!(replies_to_third(&probe.sync()), 1, "that answer may be lost");
}

/// Beats are rarer than a round trip, and rarer still while entries are sent.
#[test]
fn a_round_that_nobody_answers_is_begun_again_after_a_round_trip() {
    let mut probe = Probe::serving(3);
    let rounds = |said: &[Sent]| {
        let rounds = to_peer(said, SECOND).into_iter().filter_map(|message| match message {
            Message::Heartbeat(beat) => Some(beat.round),
            _ => None,
        });
        rounds.collect::<Vec<_>>()
    };
    probe.ask(1, Message::Read(get("key")));
    let first = rounds(&probe.sync());
    let asked_at = probe.now;
    let again = loop {
        let again = rounds(&probe.wait_and_sync());
        if !again.is_empty() {
            break again;
        }
    };
    assert_eq!((first.len(), again.len()), (1, 1));
    assert!(probe.now.since(asked_at) <= Duration::from_millis(5), "no beat was due");
    // Nobody has answered the first.
    probe.acknowledge(SECOND, LogIndex(2));
    assert_eq!(pages(&probe.sync()).len(), 1);
}

/// Half of what is sent there is lost, as the other node says.
fn hear_of_loss(probe: &mut Probe, from: ServerId, message: Message) {
    probe.hear_altered(from, |header| header.loss = LossShare(128), message);
}

#[test]
fn what_asks_for_a_proof_and_what_gives_it_is_said_more_often_where_frames_are_lost() {
    let mut follower = Probe::born(3);
    hear_of_loss(&mut follower, SECOND, heartbeat(Term(1)));
    follower.sync();
    follower.ask(1, Message::Read(get("key")));
    let mut said = follower.sync();
    follower.time_out();
    said.extend(follower.sync());
    let batches: Vec<_> =
        said.iter().filter_map(|sent| asked(std::slice::from_ref(sent))).collect();
    assert_eq!(batches.len(), 3);
    assert!(batches.iter().all(|batch| *batch == batches[0]), "{batches:?}");

    let mut leader = Probe::serving(3);
    let request = ReadIndexRequest { term: Term(1), batch: 7 };
    hear_of_loss(&mut leader, THIRD, Message::ReadIndexRequest(request));
    let mut said = leader.sync();
    leader.time_out();
    said.extend(leader.sync());
    let begins = |message: &&&Message| matches!(message, Message::Heartbeat(_));
    assert_eq!(to_peer(&said, THIRD).iter().filter(begins).count(), 3, "each is another round");
    leader.acknowledge(SECOND, LogIndex(2));
    assert_eq!(replies_to_third(&leader.sync()), 3);
}

#[test]
fn a_read_that_waits_at_a_leader_goes_on_when_it_follows() {
    let mut probe = Probe::serving(3);
    probe.ask(1, Message::Read(get("key")));
    assert_eq!(pages(&probe.sync()).len(), 0);
    probe.hear(SECOND, heartbeat(Term(2)));
    let said = probe.sync();
    assert!(matches!(asked(&said), Some((Term(2), _))), "{said:?}");
}

/// It would be answered in the leader's term, and no batch of another waits there.
#[test]
fn a_follower_of_another_term_is_not_answered() {
    for (term, is_answered) in [(Term(0), false), (Term(1), true)] {
        let mut probe = Probe::serving(3);
        let request = ReadIndexRequest { term, batch: 7 };
        probe.hear(THIRD, Message::ReadIndexRequest(request));
        probe.sync();
        probe.acknowledge(SECOND, LogIndex(2));
        let said = probe.sync();
        let reply = |message: &&Message| matches!(message, Message::ReadIndexReply(_));
        assert_eq!(to_peer(&said, THIRD).iter().any(reply), is_answered);
    }
}

/// Its client asks again long before, and nobody else bounds what waits for a silent leader.
#[test]
fn a_read_is_dropped_that_its_leader_does_not_answer() {
    for (seconds, is_kept) in [(4, true), (7, false)] {
        let (mut probe, batch) = asking();
        let until = probe.now + Duration::from_secs(seconds);
        while probe.now < until {
            probe.hear(SECOND, heartbeat(Term(1)));
            probe.wait_and_sync();
        }
        probe.hear(SECOND, reply(batch));
        assert_eq!(pages(&probe.sync()).len() == 1, is_kept, "after {seconds} s");
    }
}

/// A client that comes back for further pages within ten seconds finds them, and later not.
#[test]
fn a_pinned_answer_is_kept_while_its_client_may_come_back() {
    for (seconds, is_kept) in [(8, true), (12, false)] {
        let mut probe = with_long_value();
        probe.ask(1, Message::Read(get("key")));
        let said = probe.sync();
        let pin = pages(&said)[0].pin;
        let until = probe.now + Duration::from_secs(seconds);
        while probe.now < until {
            probe.wait_and_sync();
        }
        let next = Read { pin, arrived: 1, page: 1, ..get("key") };
        probe.ask(1, Message::Read(next));
        assert_eq!(pages(&probe.sync()).len() == 1, is_kept, "after {seconds} s");
    }
}

/// Those who have gone away keep nobody else from reading.
#[test]
fn pins_that_nobody_uses_make_room_for_others() {
    let mut probe = with_long_value();
    let is_read = |probe: &mut Probe, number| first_page(probe, number, 1).is_some();
    let held = (0..10_000).take_while(|number| is_read(&mut probe, *number)).count();
    assert_eq!(held, 32, "half of all");
    probe.pass(Duration::from_secs(9));
    assert!(!is_read(&mut probe, 20_000), "they may come back");
    probe.pass(Duration::from_secs(1));
    assert!(is_read(&mut probe, 30_000));
}

#[test]
fn a_client_that_has_all_pages_makes_room_for_others_at_once() {
    let mut probe = with_long_value();
    for number in 0..200 {
        let page = first_page(&mut probe, number, 32);
        let pin = page.unwrap_or_else(|| panic!("read {number} gets no page")).pin;
        go_on(&mut probe, number, pin, 2);
        assert_eq!(pages(&probe.sync()).len(), 0);
    }
}

#[test]
fn a_client_that_lacks_a_page_keeps_its_answer() {
    let mut probe = with_long_value();
    let pin = first_page(&mut probe, 1, 32).expect("there is room").pin;
    for arrived in [0, 1, 1] {
        go_on(&mut probe, 1, pin, arrived);
        assert!(!pages(&probe.sync()).is_empty(), "{arrived} have arrived");
    }
    let pin = first_page(&mut probe, 2, 1).expect("there is room").pin;
    go_on(&mut probe, 2, pin, 2);
    assert_eq!(pages(&probe.sync()).len(), 0, "the last page was not sent yet");
    go_on(&mut probe, 2, pin, 1);
    assert_eq!(pages(&probe.sync()).len(), 1);
}

/// What says that all pages have arrived may be lost. Whoever was sent all of them, and has not
/// come back for any, makes room, first of all who has been silent for longest.
#[test]
fn answers_that_were_sent_in_whole_make_room_when_there_is_none() {
    let mut probe = with_long_value();
    let pins: Vec<u64> = (0..32).map(|number| pin_of(&mut probe, number)).collect();
    probe.pass(Duration::from_millis(1_500));
    for number in (0..32).filter(|number| *number != 5) {
        go_on(&mut probe, number, pins[usize::try_from(number).expect("a few")], 1);
        assert_eq!(pages(&probe.sync()).len(), 1);
    }
    assert_eq!(first_page(&mut probe, 100, 32), None, "any of them may lack a page");
    probe.pass(Duration::from_millis(500));
    pin_of(&mut probe, 101);
    assert_eq!(first_page(&mut probe, 102, 32), None, "the others have come back since");
    go_on(&mut probe, 5, pins[5], 1);
    assert_eq!(pages(&probe.sync()).len(), 0, "it has made room");
    go_on(&mut probe, 6, pins[6], 1);
    assert_eq!(pages(&probe.sync()).len(), 1);
}

/// The first page of a client's answer, which may take so many at once, if it is answered.
fn first_page(probe: &mut Probe, number: u64, count: u16) -> Option<Page> {
    let read = ReadId { client: 1, number };
    probe.ask(1, Message::Read(Read { read, count, ..get("key") }));
    pages(&probe.sync()).first().map(|page| (*page).clone())
}

/// The pin of an answer that was sent in whole.
#[track_caller]
fn pin_of(probe: &mut Probe, number: u64) -> u64 {
    first_page(probe, number, 32).expect("there is room").pin
}

/// So many pages of the answer have arrived, and the client asks for what follows.
fn go_on(probe: &mut Probe, number: u64, pin: u64, arrived: u32) {
    let read = ReadId { client: 1, number };
    probe.ask(1, Message::Read(Read { read, pin, arrived, page: arrived, ..get("key") }));
}

#[test]
fn reads_that_were_answered_make_room_for_others() {
    let mut alone = Probe::serving(1);
    let mut without_leader = Probe::born(3);
    let refused = |sent: &Sent| match &sent.message {
        Message::Declined(declined) => declined.reason != DeclineReason::Busy,
        _ => false,
    };
    for _ in 0..66_000 {
        for probe in [&mut alone, &mut without_leader] {
            probe.ask(1, Message::Read(get("key")));
        }
        assert_eq!(pages(&alone.turn()).len(), 1);
        assert!(without_leader.turn().iter().any(refused));
    }
}

/// How old the state can be that a stale read shows, in microseconds, as the node says.
fn age(probe: &mut Probe) -> Option<u64> {
    probe.ask(1, Message::Read(list_stale()));
    pages(&probe.sync()).first()?.age
}

#[test]
fn a_leaders_state_is_as_old_as_the_newest_round_that_was_answered() {
    assert_eq!(age(&mut Probe::leading(3)), None, "nothing of its term is committed");
    let mut probe = Probe::serving(3);
    let begins_round =
        |said: &[Sent]| said.iter().any(|sent| matches!(sent.message, Message::Heartbeat(_)));
    while !begins_round(&probe.wait_and_sync()) {}
    let begun = probe.now;
    probe.pass(Duration::from_millis(3));
    probe.acknowledge(SECOND, LogIndex(2));
    probe.sync();
    assert_eq!(age(&mut probe), Some(3_000));
    while !begins_round(&probe.wait_and_sync()) {}
    assert_eq!(age(&mut probe), Some(micros(probe.now.since(begun))), "nobody answered that one");
}

#[test]
fn a_followers_state_is_as_old_as_its_leader_says_once_it_has_committed_as_far() {
    let mut probe = Probe::born(3);
    let genesis = Entry::genesis(probe.state().configuration());
    let entry = noop_after(&genesis, Term(1));
    let tells = |commit, confirmed_age| {
        let Message::Heartbeat(beat) = heartbeat_that_commits(Term(1), commit) else {
            unreachable!("it is one")
        };
        Message::Heartbeat(Heartbeat { confirmed_age, ..beat })
    };
    probe.hear(SECOND, tells(LogIndex(1), Some(9_000)));
    assert_eq!(age(&mut probe), None, "nobody knows when that was said");
    probe.hear(SECOND, tells(LogIndex(2), Some(2_000)));
    assert_eq!(age(&mut probe), None, "it lacks what is committed");
    probe.pass(Duration::from_millis(3));
    probe.hear(SECOND, replicate(Term(1), &genesis, &entry, LogIndex(2)));
    probe.hear(SECOND, tells(LogIndex(2), None));
    assert_eq!(age(&mut probe), Some(5_000));
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
