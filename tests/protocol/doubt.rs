//! A node on a damaged directory: what it does not do until it is repaired, and how that
//! comes about.

use quorate::disk::{Doubt, LogEnd, Record};
use quorate::entry::{Entry, EntryKind};
use quorate::types::{DirectoryId, GenesisId, Incarnation, LifeId, LogIndex, LogTime, Term};
use quorate::wire::{
    CatchUpRequest, GenesisHash, Header, Introduce, Message, RepairReply, RepairRequest, Resume,
    Standing, Verdict, VoteRequest,
};

use super::leader::{heartbeat_that_commits, noop_after, replicate};
use super::lives::starting;
use super::members::{SECOND, THIRD, configuration, directory_of};
use super::probe::Probe;
use super::request::{put, request, session};
use super::said::{Sent, to_peer};

/// The entries 2 to 7 of a log, of the terms 1, 1, 2, 2, 2, 2.
fn log() -> Vec<Entry> {
    let mut last = Entry::genesis(&configuration(3));
    let terms = [1, 1, 2, 2, 2, 2].map(Term);
    let next = |term| {
        last = noop_after(&last, term);
        last.clone()
    };
    terms.into_iter().map(next).collect()
}

/// A node whose entries 4 and 5 are damaged, of a log that ends with 7.
fn with_a_gap(nodes: usize) -> Probe {
    let log = log();
    Probe::damaged(nodes, &log[..2], &log[4..], Some((Term(2), LogIndex(7))))
}

fn answer(first: u64, entries: &[Entry]) -> Message {
    let entries = entries.to_vec();
    Message::RepairReply(RepairReply { term: Term(3), end: None, first: LogIndex(first), entries })
}

fn end(term: u64, end: LogEnd) -> Message {
    let (end, first) = (Some(end), LogIndex(4));
    Message::RepairReply(RepairReply { term: Term(term), end, first, entries: Vec::new() })
}

fn asks_for_votes(said: &[Sent]) -> bool {
    said.iter().any(|sent| matches!(sent.message, Message::VoteRequest(_)))
}

fn stands_within_seconds(probe: &mut Probe) -> bool {
    (0..60).any(|_| asks_for_votes(&probe.wait_and_sync()))
}

#[test]
fn it_does_not_stand() {
    assert!(!stands_within_seconds(&mut with_a_gap(3)));
    assert!(stands_within_seconds(&mut Probe::born(3)), "another one does");
}

/// The founder of a cluster that has grown since: who came by the log is lost with it.
#[test]
fn it_gets_to_know_whoever_introduces_itself() {
    let upto = (Term(2), LogIndex(7));
    let request = VoteRequest {
        term: Term(9),
        pre_vote: true,
        transfer: false,
        last_index: upto.1,
        last_term: upto.0,
    };
    let introduce = Introduce { standing: Standing::Born(GenesisId(1)), list: Vec::new() };
    let introduce = Message::Introduce(introduce);
    let another_birth = |header: &mut Header| header.genesis = GenesisHash::default();
    let mut probe = Probe::damaged(1, &[], &[], Some(upto));
    let grants = |probe: &mut Probe| {
        probe.wait();
        probe.hear(SECOND, Message::VoteRequest(request));
        let said = probe.sync();
        let granted =
            |message: &&Message| matches!(message, Message::VoteReply(vote) if vote.granted);
        to_peer(&said, SECOND).iter().any(granted)
    };
    probe.hear_altered(SECOND, another_birth, introduce.clone());
    assert!(!grants(&mut probe), "that may be another cluster's");
    probe.hear(SECOND, introduce);
    assert!(grants(&mut probe));
}

#[test]
fn it_votes_only_for_logs_that_cannot_lack_what_it_has_lost() {
    let grants = |upto, last: LogEnd| {
        let mut probe = Probe::damaged(3, &log()[..2], &[], upto);
        let request = VoteRequest {
            term: Term(9),
            pre_vote: true,
            transfer: false,
            last_term: last.0,
            last_index: last.1,
        };
        probe.hear(SECOND, Message::VoteRequest(request));
        probe.hear(SECOND, Message::VoteRequest(VoteRequest { pre_vote: false, ..request }));
        let said = probe.sync();
        let votes = to_peer(&said, SECOND).into_iter().filter_map(|message| match message {
            Message::VoteReply(vote) => Some(vote.granted),
            _ => None,
        });
        let votes: Vec<bool> = votes.collect();
        assert_eq!(votes.len(), 2);
        assert_eq!(votes[0], votes[1], "a pre-vote says what the vote will be");
        votes[0]
    };
    let bound = Some((Term(2), LogIndex(7)));
    assert!(!grants(bound, (Term(2), LogIndex(6))));
    assert!(grants(bound, (Term(2), LogIndex(7))));
    assert!(grants(bound, (Term(3), LogIndex(5))));
    assert!(
        !grants(Some((Term(1), LogIndex(2))), (Term(1), LogIndex(2))),
        "its own log counts too"
    );
    assert!(!grants(None, (Term(8), LogIndex(1_000))), "with no bound it cannot know");
}

#[test]
fn it_asks_all_others_for_what_lies_between() {
    let said = with_a_gap(3).wait_and_sync();
    let bound = Some((Term(2), LogIndex(7)));
    let request = RepairRequest { first: LogIndex(4), last: LogIndex(5), bound };
    for peer in [SECOND, THIRD] {
        assert!(to_peer(&said, peer).contains(&&Message::RepairRequest(request)), "{said:?}");
    }
}

#[test]
fn what_closes_the_gap_ends_the_doubt() {
    let mut probe = with_a_gap(3);
    let log = log();
    probe.hear(SECOND, answer(4, &log[2..3]));
    assert_eq!(probe.state().log.last_index(), LogIndex(3), "a half is of no use yet");
    probe.hear(THIRD, answer(5, &log[3..4]));
    assert_eq!(probe.state().log.last_index(), LogIndex(7));
    let batch = probe.write();
    let appended = batch.records().iter().filter(|record| matches!(record, Record::Append(_)));
    assert_eq!(appended.count(), 4, "all that was put back is written again");
    assert_eq!(batch.records().last(), Some(&Record::Doubt(None)), "and then the doubt is over");
    probe.synced(batch);
    assert!(stands_within_seconds(&mut probe));
}

#[test]
fn entries_of_another_log_close_nothing() {
    let mut probe = with_a_gap(3);
    let log = log();
    let fourth = noop_after(&log[1], Term(3));
    let fifth = noop_after(&fourth, Term(3));
    probe.hear(SECOND, answer(4, &[fourth.clone(), fifth]));
    assert_eq!(probe.state().log.last_index(), LogIndex(3));
    probe.hear(SECOND, answer(4, &[fourth]));
    probe.hear(THIRD, answer(5, &log[3..4]));
    assert_eq!(probe.state().log.last_index(), LogIndex(3));
    probe.hear(SECOND, answer(4, &log[3..4]));
    assert_eq!(probe.state().log.last_index(), LogIndex(3), "nor does one that fits nowhere");
    probe.hear(THIRD, answer(4, &log[2..4]));
    assert_eq!(probe.state().log.last_index(), LogIndex(7), "and the right ones are still taken");
}

/// It has come to what could be read behind the gap, and that does not go on from it.
#[test]
fn who_gave_entries_of_another_log_may_give_the_right_ones() {
    let mut probe = with_a_gap(3);
    let log = log();
    let fourth = noop_after(&log[1], Term(3));
    let fifth = noop_after(&fourth, Term(3));
    probe.hear(SECOND, answer(4, &[fourth, fifth]));
    probe.hear(SECOND, answer(4, &log[2..4]));
    assert_eq!(probe.state().log.last_index(), LogIndex(7));
}

/// A directory that came later never had what is in doubt, whoever has it.
#[test]
fn only_ends_of_voters_lower_the_bound() {
    let mut probe = Probe::damaged(3, &log()[..2], &[], Some((Term(2), LogIndex(7))));
    probe.wait_and_sync();
    probe.hear(SECOND, end(3, (Term(1), LogIndex(3))));
    let blank = (DirectoryId(999), Incarnation(1));
    probe.hear_in_life(THIRD, blank, end(3, (Term(1), LogIndex(3))));
    assert!(probe.state().in_doubt.is_there());
    probe.hear_in_life(SECOND, blank, end(3, (Term(1), LogIndex(3))));
    assert!(probe.state().in_doubt.is_there());
}

/// An older copy that was put back lacks what its directory had acknowledged.
#[test]
fn ends_of_directories_that_have_forgotten_lower_no_bound() {
    let damaged = || Probe::damaged(3, &log()[..2], &[], Some((Term(2), LogIndex(7))));
    let said = || end(3, (Term(1), LogIndex(3)));
    let life = |number| (Incarnation(number), LifeId(number));
    let held = |term| Resume { term: Term(term), voted: false, end: Some((Term(1), LogIndex(3))) };

    // It has not said yet what it holds.
    let mut probe = damaged();
    probe.hear(SECOND, said());
    probe.hear_from((THIRD, directory_of(THIRD), life(2)), said());
    assert!(probe.state().in_doubt.is_there());

    // It has said its end, and turns out lost thereafter.
    let mut probe = damaged();
    probe.hear(THIRD, said());
    probe.hear_from((THIRD, directory_of(THIRD), life(2)), Message::Resume(held(2)));
    probe.hear(SECOND, said());
    assert!(probe.state().in_doubt.is_there());

    let mut probe = damaged();
    probe.hear(THIRD, said());
    probe.hear_from((THIRD, directory_of(THIRD), life(2)), Message::Resume(held(3)));
    probe.hear(SECOND, said());
    assert!(!probe.state().in_doubt.is_there(), "one that has forgotten nothing counts on");
}

/// Its own directory may be one that has forgotten.
#[test]
fn who_was_just_started_does_not_say_where_its_log_ends() {
    let mut probe = starting(None);
    let request = RepairRequest {
        first: LogIndex(2),
        last: LogIndex(7),
        bound: Some((Term(2), LogIndex(7))),
    };
    let says_its_end = |probe: &mut Probe| {
        probe.hear(SECOND, Message::RepairRequest(request));
        let said = probe.sync();
        to_peer(&said, SECOND)
            .iter()
            .any(|message| matches!(message, Message::RepairReply(reply) if reply.end.is_some()))
    };
    assert!(!says_its_end(&mut probe));
    for peer in [SECOND, THIRD] {
        probe.answer_resume(peer, Verdict::Whole);
    }
    assert!(says_its_end(&mut probe));
}

#[test]
fn what_could_be_read_behind_is_not_put_to_what_it_does_not_follow() {
    let log = log();
    let of_another_log = noop_after(&Entry { chain: log[1].chain ^ 1, ..log[1].clone() }, Term(2));
    let mut probe = Probe::damaged(3, &log[..2], &[of_another_log], Some((Term(2), LogIndex(4))));
    probe.wait_and_sync();
    assert_eq!(probe.state().log.last_index(), LogIndex(3));
    assert!(probe.state().in_doubt.is_there());
}

#[test]
fn a_lost_end_comes_back_only_as_it_was() {
    let log = log();
    let mut probe = Probe::damaged(3, &log[..2], &[], Some((Term(2), LogIndex(5))));
    probe.hear(SECOND, answer(4, &log[2..3]));
    assert!(probe.state().in_doubt.is_there(), "more may have been there");
    probe.hear(SECOND, answer(5, &log[3..4]));
    assert!(!probe.state().in_doubt.is_there());
    assert_eq!(probe.state().log.last_index(), LogIndex(5));
}

/// Of three members, both others must lack an entry before this one can have been the only
/// one that ever had it.
#[test]
fn what_too_many_others_never_had_is_in_doubt_no_more() {
    let log = log();
    let damaged = || Probe::damaged(3, &log[..2], &[], Some((Term(2), LogIndex(7))));
    let mut probe = damaged();
    probe.hear(SECOND, end(3, (Term(1), LogIndex(3))));
    assert!(probe.state().in_doubt.is_there(), "the third may have it");
    probe.hear(SECOND, end(3, (Term(1), LogIndex(3))));
    assert!(probe.state().in_doubt.is_there(), "the same one counts once");
    probe.hear(THIRD, end(2, (Term(1), LogIndex(3))));
    assert!(probe.state().in_doubt.is_there(), "in that term it may still accept it");
    probe.hear(THIRD, end(3, (Term(2), LogIndex(5))));
    assert!(probe.state().in_doubt.is_there(), "what lies between may change the members");
    probe.hear(THIRD, answer(4, &log[2..4]));
    assert!(!probe.state().in_doubt.is_there(), "nothing was committed beyond, and all is here");
    let lowered = Record::Doubt(Some(Doubt { upto: Some((Term(2), LogIndex(5))) }));
    assert!(probe.write().records().contains(&lowered));
    assert_eq!(probe.state().log.last_index(), LogIndex(5));

    let mut probe = damaged();
    let with_fourth = Entry::chained(
        log[1].chain,
        LogIndex(4),
        Term(2),
        LogTime(1),
        EntryKind::Configuration,
        configuration(4).encode(),
    );
    probe.hear(THIRD, answer(4, &[with_fourth]));
    probe.hear(SECOND, end(3, (Term(1), LogIndex(3))));
    probe.hear(THIRD, end(3, (Term(2), LogIndex(4))));
    assert!(probe.state().in_doubt.is_there(), "a fourth may have made a majority with this one");

    let mut probe = damaged();
    probe.hear(SECOND, end(3, (Term(1), LogIndex(3))));
    probe.hear(THIRD, end(3, (Term(1), LogIndex(2))));
    assert!(!probe.state().in_doubt.is_there());
}

#[test]
fn a_leader_that_has_committed_in_its_term_ends_any_doubt() {
    let log = log();
    let mut probe = Probe::damaged(3, &log[..2], &[], None);
    let led = noop_after(&log[1], Term(4));
    probe.hear(SECOND, super::leader::replicate(Term(4), &log[1], &led, LogIndex(3)));
    probe.hear(SECOND, heartbeat_that_commits(Term(4), LogIndex(4)));
    assert!(probe.state().in_doubt.is_there(), "it may be a frame of any age");
    probe.sync();
    probe.hear(SECOND, heartbeat_that_commits(Term(4), LogIndex(3)));
    assert!(probe.state().in_doubt.is_there(), "entries of earlier terms prove nothing");
    probe.hear(SECOND, heartbeat_that_commits(Term(4), LogIndex(4)));
    assert!(!probe.state().in_doubt.is_there());
    assert_eq!(probe.state().term, Term(4), "a later term than that of the damage is kept");
}

/// It led when the directory was whole: what that acknowledged then may lie further on.
#[test]
fn a_leader_of_the_term_of_the_damage_does_not_end_a_doubt_that_has_a_bound() {
    let log = log();
    let led = noop_after(&log[1], Term(3));
    for (bound, stays) in [(Some((Term(3), LogIndex(6))), true), (None, false)] {
        let mut probe = Probe::damaged(3, &log[..2], &[], bound);
        probe.hear(SECOND, super::leader::replicate(Term(3), &log[1], &led, LogIndex(3)));
        probe.sync();
        probe.hear(SECOND, heartbeat_that_commits(Term(3), LogIndex(4)));
        assert_eq!(probe.state().in_doubt.is_there(), stays, "{bound:?}");
        assert_eq!(probe.state().term == Term(3), stays, "the term of the damage is left");
    }
}

#[test]
fn a_whole_node_gives_what_it_has() {
    let log = log();
    let mut probe = with_a_gap(3);
    probe.hear(SECOND, answer(4, &log[2..4]));
    probe.sync();
    let bound = Some((Term(2), LogIndex(7)));
    let request = RepairRequest { first: LogIndex(3), last: LogIndex(5), bound };
    probe.hear(THIRD, Message::RepairRequest(request));
    let said = probe.turn();
    let replies: Vec<_> = to_peer(&said, THIRD);
    let expected =
        RepairReply { term: Term(3), end: None, first: LogIndex(3), entries: log[1..4].to_vec() };
    assert!(replies.contains(&&Message::RepairReply(expected)), "{replies:?}");
}

/// The leader may still send it more in that term, and needs no other.
#[test]
fn who_hears_a_leader_does_not_say_where_its_log_ends() {
    let mut follower = Probe::born(3);
    for _ in 0..2 {
        follower.hear(SECOND, heartbeat_that_commits(Term(1), LogIndex(1)));
        follower.sync();
    }
    for mut probe in [follower, Probe::serving(3)] {
        let (first, last) = (LogIndex(4), LogIndex(9));
        let request = RepairRequest { first, last, bound: Some((Term(1), last)) };
        probe.hear(THIRD, Message::RepairRequest(request));
        let is_reply = |message: &&Message| matches!(message, Message::RepairReply(_));
        assert!(!to_peer(&probe.sync(), THIRD).iter().any(is_reply));
        assert_eq!(probe.state().term, Term(1));
    }
}

#[test]
fn what_one_frame_does_not_hold_comes_in_several() {
    let mut probe = Probe::serving(3);
    for number in 0..100 {
        let length = if number % 10 == 0 { 900 } else { 1 };
        let operation = put("key", vec![b'x'; length]);
        probe.ask(1, Message::Request(request(session(number), &operation)));
    }
    probe.sync();
    let first = LogIndex(3);
    let last = probe.state().log.last_index();
    let given = |probe: &mut Probe, request: Message| -> Vec<u64> {
        probe.hear(THIRD, request);
        let said = probe.sync();
        let entries = to_peer(&said, THIRD).into_iter().filter_map(|message| match message {
            Message::RepairReply(reply) => Some((reply.first, reply.entries.clone())),
            Message::CatchUpReply(reply) => Some((reply.first, reply.entries.clone())),
            _ => None,
        });
        let some = entries.filter(|(_, entries)| !entries.is_empty());
        let checked = some.inspect(|(first, entries)| assert_eq!(*first, entries[0].index));
        checked.flat_map(|(_, entries)| entries).map(|entry| entry.index.0).collect()
    };
    let expected: Vec<u64> = (first.0..=last.0).collect();
    let repair = RepairRequest { first, last, bound: Some((Term(1), last)) };
    assert_eq!(given(&mut probe, Message::RepairRequest(repair)), expected);
    let catch_up = CatchUpRequest { first };
    assert_eq!(given(&mut probe, Message::CatchUpRequest(catch_up)), expected);
}

/// It says what it does not have when it can no longer get it from a leader of that term.
#[test]
fn a_whole_node_says_where_its_log_ends_once_its_term_is_durable() {
    let mut probe = Probe::born(3);
    let bound = Some((Term(5), LogIndex(9)));
    let request = RepairRequest { first: LogIndex(4), last: LogIndex(9), bound };
    probe.hear(THIRD, Message::RepairRequest(request));
    let is_reply = |message: &&Message| matches!(message, Message::RepairReply(_));
    assert!(!to_peer(&probe.turn(), THIRD).iter().any(is_reply), "the term is not durable yet");
    let said = probe.sync();
    let replies: Vec<_> = to_peer(&said, THIRD).into_iter().filter(is_reply).cloned().collect();
    let (term, first) = (Term(6), LogIndex(4));
    let end = Some((Term(0), LogIndex(1)));
    assert_eq!(replies, [Message::RepairReply(RepairReply { term, end, first, entries: vec![] })]);
}

/// What SECOND gave first is of another log than what it brings as leader.
#[test]
fn what_the_leader_brings_displaces_what_was_held_for_the_gap() {
    let log = log();
    let mut probe = with_a_gap(3);
    probe.hear(SECOND, answer(4, &[noop_after(&log[1], Term(1))]));
    probe.hear(SECOND, replicate(Term(3), &log[1], &log[2], LogIndex(1)));
    probe.sync();
    assert_eq!(probe.state().log.last_index(), LogIndex(4));
    probe.hear(SECOND, answer(5, &log[3..4]));
    probe.sync();
    assert_eq!(probe.state().log.last_index(), LogIndex(7));
}
