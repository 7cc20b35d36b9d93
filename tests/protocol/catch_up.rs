//! A candidate that voters refuse for its log alone takes over what it lacks, and nothing that
//! it must not.

use std::time::Duration;

use quorate::entry::Entry;
use quorate::types::{DirectoryId, Incarnation, LogIndex, ServerId, Term};
use quorate::wire::{
    CatchUpReply, CatchUpRequest, DropCause, Message, Role, SnapshotName, VoteReply, VoteRequest,
};

use super::leader::{heartbeat, heartbeat_that_commits, noop_after, replicate};
use super::members::{SECOND, THIRD, configuration};
use super::probe::Probe;
use super::said::{Sent, acknowledged, to_peer};

/// The genesis, and behind it an entry of each of these terms.
fn log(terms: &[u64]) -> Vec<Entry> {
    let mut log = vec![Entry::genesis(&configuration(3))];
    for &term in terms {
        log.push(noop_after(log.last().expect("the genesis"), Term(term)));
    }
    log
}

/// A node whose log has entries of these terms, in `term`, that hears no leader any more and
/// asks for pre-votes.
fn candidate(terms: &[u64], term: u64) -> Probe {
    candidate_that_knows(terms, term, LogIndex(1))
}

/// The same, and it knows as much to be committed.
fn candidate_that_knows(terms: &[u64], term: u64, commit: LogIndex) -> Probe {
    let mut probe = Probe::born(3);
    for pair in log(terms).windows(2) {
        probe.hear(SECOND, replicate(pair[1].term, &pair[0], &pair[1], commit));
        probe.sync();
    }
    probe.hear(SECOND, heartbeat_that_commits(Term(term), commit));
    probe.sync();
    assert_eq!(probe.state().log.last_index().0, terms.len() as u64 + 1);
    while probe.state().role != Role::Candidate {
        probe.wait_and_sync();
    }
    probe
}

fn lacks(probe: &Probe) -> Message {
    refusal(probe, true)
}

/// A refused pre-vote of a voter in the candidate's term.
fn refusal(probe: &Probe, lacks: bool) -> Message {
    let term = probe.state().term;
    let (granted, pre_vote) = (false, true);
    Message::VoteReply(VoteReply { term: term.next(), pre_vote, granted, voter_term: term, lacks })
}

/// What a voter in the candidate's term gives of a log, from `first` on.
fn reply(probe: &Probe, log: &[Entry], first: u64) -> Message {
    let last = log.last().expect("a log");
    let entries = log.iter().filter(|entry| entry.index.0 >= first).cloned().collect();
    Message::CatchUpReply(CatchUpReply {
        term: probe.state().term,
        log_end: (last.term, last.index),
        snapshot: None,
        first: LogIndex(first),
        entries,
    })
}

fn requests(said: &[Sent], to: ServerId) -> Vec<CatchUpRequest> {
    let request = |message: &&Message| match message {
        Message::CatchUpRequest(request) => Some(*request),
        _ => None,
    };
    to_peer(said, to).iter().filter_map(request).collect()
}

/// The ends of the log that the candidate asks a pre-vote for.
fn asks_with(said: &[Sent], of: ServerId) -> Vec<(Term, LogIndex)> {
    let asked = |message: &&Message| match message {
        Message::VoteRequest(request) if request.pre_vote => {
            Some((request.last_term, request.last_index))
        }
        _ => None,
    };
    to_peer(said, of).iter().filter_map(asked).collect()
}

fn log_of(probe: &Probe) -> Vec<Term> {
    let log = &probe.state().log;
    let entries = (2..=log.last_index().0).map(|index| log.entry(LogIndex(index)));
    entries.map(|entry| entry.expect("an entry").term).collect()
}

#[test]
fn it_fetches_what_it_lacks_and_asks_again() {
    let mut probe = candidate(&[1], 1);
    probe.hear(THIRD, lacks(&probe));
    let said = probe.turn();
    assert_eq!(requests(&said, THIRD), [CatchUpRequest { first: LogIndex(2) }]);
    probe.hear(THIRD, reply(&probe, &log(&[1, 1, 1]), 2));
    let said = probe.turn();
    assert_eq!(log_of(&probe), [Term(1); 3]);
    assert_eq!(asks_with(&said, THIRD), [(Term(1), LogIndex(4))], "it asks at once");
    assert_eq!(probe.state().term, Term(1), "nothing was removed");
}

/// Each part of a long log says where that ends, and nobody stands before all of it is there.
#[test]
fn a_log_of_several_frames_is_taken_part_by_part() {
    let mut probe = candidate(&[1], 1);
    probe.hear(THIRD, lacks(&probe));
    let whole = reply(&probe, &log(&[1, 1, 1]), 3);
    let Message::CatchUpReply(whole) = whole else { unreachable!() };
    let mut asked = Vec::new();
    for entry in &whole.entries {
        let part =
            CatchUpReply { first: entry.index, entries: vec![entry.clone()], ..whole.clone() };
        probe.hear(THIRD, Message::CatchUpReply(part));
        asked.push(asks_with(&probe.turn(), THIRD).len());
    }
    assert_eq!(log_of(&probe), [Term(1); 3]);
    assert_eq!(asked, [0, 1]);
}

#[test]
fn only_what_a_voter_gives_is_taken() {
    let mut probe = candidate(&[1], 1);
    probe.hear(THIRD, lacks(&probe));
    let longer = reply(&probe, &log(&[1, 1]), 2);
    probe.hear_in_life(THIRD, (DirectoryId(999), Incarnation(1)), longer);
    assert_eq!(log_of(&probe), [Term(1)]);
}

#[test]
fn who_refuses_for_another_reason_is_not_asked() {
    let mut probe = candidate(&[1], 1);
    probe.hear(THIRD, refusal(&probe, false));
    assert_eq!(requests(&probe.turn(), THIRD), []);
}

#[test]
fn nobody_is_asked_before_a_majority_hears_no_leader() {
    let mut probe = Probe::born(5);
    probe.hear(SECOND, heartbeat(Term(1)));
    while probe.state().role != Role::Candidate {
        probe.wait_and_sync();
    }
    probe.hear(THIRD, lacks(&probe));
    assert_eq!(requests(&probe.turn(), THIRD), []);
    probe.hear(SECOND, lacks(&probe));
    assert_eq!(requests(&probe.turn(), SECOND).len(), 1);
}

#[test]
fn a_voter_says_that_the_candidate_lacks_something_only_without_a_leader() {
    let mut probe = candidate(&[1, 1], 1);
    let request = VoteRequest {
        term: Term(2),
        pre_vote: true,
        transfer: false,
        last_index: LogIndex(2),
        last_term: Term(1),
    };
    let asked = |probe: &mut Probe| {
        probe.hear(THIRD, Message::VoteRequest(request));
        let said = probe.turn();
        let vote = to_peer(&said, THIRD).into_iter().find_map(|message| match message {
            Message::VoteReply(vote) => Some(*vote),
            _ => None,
        });
        let vote = vote.expect("an answer");
        assert!(!vote.granted);
        vote.lacks
    };
    assert!(asked(&mut probe));
    probe.hear(SECOND, heartbeat(Term(1)));
    assert!(!asked(&mut probe), "it hears its leader again");
}

/// Else the leader of that term could count this node for what it has removed, and the
/// others would take its directory for one that was put back.
#[test]
fn it_leaves_its_term_before_it_removes_anything() {
    let mut probe = candidate(&[1, 1], 3);
    probe.hear(THIRD, lacks(&probe));
    probe.hear(THIRD, reply(&probe, &log(&[1, 2, 2]), 2));
    assert_eq!(log_of(&probe), [Term(1), Term(2), Term(2)]);
    assert_eq!((probe.state().term, probe.state().role), (Term(4), Role::Candidate));
    let asked = asks_with(&probe.sync(), THIRD);
    assert_eq!(asked, [(Term(2), LogIndex(4))]);
    probe.hear(THIRD, lacks(&probe));
    probe.hear(THIRD, reply(&probe, &log(&[1, 3]), 2));
    assert_eq!(log_of(&probe), [Term(1), Term(3)]);
    assert_eq!(probe.state().term, Term(4), "one candidacy takes up one term");
}

/// What a leader says is taken in and acknowledged also where it is too old for contact, by
/// which the candidacy would end. Nothing of that may be removed in the leader's term.
#[test]
fn it_leaves_the_term_that_it_took_up_once_it_has_acknowledged_something_there() {
    let mut probe = candidate(&[1, 1], 3);
    probe.hear(THIRD, lacks(&probe));
    let taken_over = log(&[1, 2]);
    probe.hear(THIRD, reply(&probe, &taken_over, 2));
    probe.sync();
    assert_eq!((probe.state().term, probe.state().role), (Term(4), Role::Candidate));

    let stale = replicate(Term(4), &taken_over[1], &taken_over[2], LogIndex(1));
    probe.hear_altered(SECOND, |header| header.echo = None, stale);
    let said = probe.sync();
    let durable = acknowledged(&said).map(|acknowledge| acknowledge.durable);
    assert_eq!(durable, Some(LogIndex(3)));
    assert_eq!(probe.state().role, Role::Candidate);
    probe.hear(THIRD, lacks(&probe));
    probe.hear(THIRD, reply(&probe, &log(&[1, 3]), 2));
    assert_eq!((log_of(&probe), probe.state().term), (vec![Term(1), Term(3)], Term(5)));

    // The leader has committed what was removed here.
    let commits = heartbeat_that_commits(Term(4), LogIndex(3));
    probe.hear_altered(SECOND, |header| header.echo = None, commits);
    assert_eq!(probe.state().commit, LogIndex(1));
}

/// However late it comes: it may be of a log that the voter had once.
#[test]
fn nothing_is_taken_from_a_log_that_ends_earlier() {
    let mut probe = candidate(&[1, 3], 3);
    probe.hear(THIRD, lacks(&probe));
    for earlier in [&[1, 2][..], &[1, 2, 2, 2], &[1, 3]] {
        probe.hear(THIRD, reply(&probe, &log(earlier), 2));
        assert_eq!(log_of(&probe), [Term(1), Term(3)], "{earlier:?}");
    }
}

#[test]
fn nothing_is_taken_from_one_log_once_a_later_one_is_known() {
    let mut probe = candidate(&[1], 3);
    probe.hear(THIRD, lacks(&probe));
    let later = log(&[1, 1, 3]);
    let Message::CatchUpReply(mut part) = reply(&probe, &later, 2) else { unreachable!() };
    part.entries.pop();
    probe.hear(THIRD, Message::CatchUpReply(part));
    assert_eq!(log_of(&probe), [Term(1), Term(1)]);
    probe.hear(SECOND, reply(&probe, &log(&[1, 2]), 2));
    assert_eq!(log_of(&probe), [Term(1), Term(1)], "the log of the third node ends later");

    // The third node falls silent, and the next candidacy has only the second one.
    let begun = probe.now;
    while probe.now.since(begun) < Duration::from_secs(2) {
        probe.wait_and_sync();
    }
    probe.hear(SECOND, lacks(&probe));
    probe.hear(SECOND, reply(&probe, &log(&[1, 2]), 2));
    assert_eq!(log_of(&probe), [Term(1), Term(2)]);
}

#[test]
fn what_is_committed_is_not_removed() {
    let mut probe = candidate_that_knows(&[1, 1], 3, LogIndex(3));
    assert_eq!(probe.state().commit, LogIndex(3));
    probe.hear(THIRD, lacks(&probe));
    probe.hear(THIRD, reply(&probe, &log(&[1, 2, 2]), 3));
    assert_eq!(log_of(&probe), [Term(1), Term(1)]);
    assert_eq!(probe.state().dropped.get(&DropCause::Chain), Some(&1));
}

/// Nor does it ask for ever behind the end of a log that has become shorter.
#[test]
fn it_asks_from_its_commit_on_when_the_other_log_has_changed() {
    let mut probe = candidate(&[1, 1], 1);
    probe.hear(THIRD, reply(&probe, &log(&[1, 1, 1]), 2));
    probe.turn();
    probe.hear(THIRD, lacks(&probe));
    assert_eq!(requests(&probe.turn(), THIRD), [CatchUpRequest { first: LogIndex(5) }]);
    let Message::CatchUpReply(nothing) = reply(&probe, &log(&[1, 1, 1, 1]), 6) else {
        unreachable!()
    };
    probe.hear(THIRD, Message::CatchUpReply(nothing));
    probe.hear(THIRD, lacks(&probe));
    assert_eq!(requests(&probe.turn(), THIRD), [CatchUpRequest { first: LogIndex(2) }]);
}

#[test]
fn who_stands_or_follows_takes_nothing() {
    let mut probe = candidate(&[1], 1);
    probe.hear(THIRD, lacks(&probe));
    let late = reply(&probe, &log(&[1, 1]), 2);
    probe.hear(SECOND, heartbeat(Term(1)));
    probe.hear(THIRD, late);
    assert_eq!(log_of(&probe), [Term(1)]);
}

#[test]
fn a_voter_in_a_higher_term_is_followed_there_first() {
    let mut probe = candidate(&[1], 1);
    probe.hear(THIRD, lacks(&probe));
    let Message::CatchUpReply(reply) = reply(&probe, &log(&[1, 2]), 2) else { unreachable!() };
    probe.hear(THIRD, Message::CatchUpReply(CatchUpReply { term: Term(2), ..reply }));
    assert_eq!((probe.state().term, log_of(&probe)), (Term(2), vec![Term(1)]));
}

#[test]
fn a_voter_gives_what_it_has() {
    let mut probe = candidate(&[1, 1], 1);
    probe.hear(THIRD, Message::CatchUpRequest(CatchUpRequest { first: LogIndex(2) }));
    let expected = reply(&probe, &log(&[1, 1]), 2);
    assert!(to_peer(&probe.turn(), THIRD).contains(&&expected));
}

/// The snapshot comes from the voter, who is not taken for the leader.
#[test]
fn a_snapshot_is_fetched_where_the_log_does_not_reach_back() {
    let mut probe = candidate(&[1], 1);
    probe.hear(THIRD, lacks(&probe));
    let name = SnapshotName { index: LogIndex(9), term: Term(1), chain: 7 };
    let compacted = CatchUpReply {
        term: Term(1),
        log_end: (Term(1), LogIndex(9)),
        snapshot: Some(name),
        first: LogIndex(2),
        entries: Vec::new(),
    };
    probe.hear(THIRD, Message::CatchUpReply(compacted));
    let said = probe.turn();
    let asks = |message: &&Message| matches!(message, Message::SnapshotRequest(_));
    assert!(to_peer(&said, THIRD).iter().any(asks));
    assert_eq!(probe.state().leader_id, None);
}
