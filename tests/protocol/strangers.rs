//! Nodes that neither the flags nor the log of this one name: which of them are heard, and until
//! when.

use quorate::configuration::Configuration;
use quorate::entry::{Entry, EntryKind};
use quorate::types::{GenesisId, LogIndex, LogTime, NODES_MAX, ServerId, Term};
use quorate::wire::{CatchUpRequest, GenesisHash, Header, Message, VoteRequest};

use super::leader::{heartbeat, heartbeat_that_commits, noop_after, replicate};
use super::members::{SECOND, THIRD, address_of, configuration, directory_of, ids};
use super::probe::Probe;
use super::said::to_peer;

const FOURTH: ServerId = ServerId(4);
const FIFTH: ServerId = ServerId(5);

/// The first of three, which has waited for a leader in vain.
fn leaderless() -> Probe {
    let mut probe = Probe::born(3);
    while probe.state().attempts == 0 {
        probe.wait_and_sync();
    }
    probe
}

/// Something that says nothing of who leads.
fn question() -> Message {
    Message::CatchUpRequest(CatchUpRequest { first: LogIndex(1) })
}

/// Whom the node follows after another says that it leads.
fn leader_after(probe: &mut Probe, alter: fn(&mut Header)) -> Option<ServerId> {
    for _ in 0..3 {
        probe.hear_altered(FOURTH, alter, heartbeat(Term(2)));
        probe.sync();
    }
    probe.state().leader_id
}

/// While this node was away, others came, and those that it knows have left.
#[test]
fn who_hears_no_leader_follows_one_that_it_does_not_know() {
    let another_birth = |header: &mut Header| header.genesis = GenesisHash::of(GenesisId(43));
    let no_birth = |header: &mut Header| header.genesis = GenesisHash::default();
    assert_eq!(leader_after(&mut leaderless(), |_| {}), Some(FOURTH));
    assert_eq!(leader_after(&mut leaderless(), another_birth), None);
    assert_eq!(leader_after(&mut leaderless(), no_birth), None);
    assert_eq!(leader_after(&mut Probe::born(3), |_| {}), None, "it has not waited yet");

    let mut probe = leaderless();
    for _ in 0..2 {
        probe.hear(SECOND, heartbeat(Term(1)));
        probe.sync();
    }
    assert_eq!(leader_after(&mut probe, |_| {}), Some(SECOND));
    assert!(!probe.state().peers.contains_key(&FOURTH));
}

#[test]
fn who_hears_no_leader_answers_a_candidate_that_it_does_not_know() {
    let (term, last_index, last_term) = (Term(1), LogIndex(9), Term(1));
    let request = VoteRequest { term, pre_vote: true, transfer: false, last_index, last_term };
    let mut probe = leaderless();
    let mut said = Vec::new();
    for _ in 0..2 {
        probe.hear(FOURTH, Message::VoteRequest(request));
        said.extend(probe.sync());
    }
    let votes = to_peer(&said, FOURTH).into_iter().filter_map(|message| match message {
        Message::VoteReply(vote) => Some(vote.granted),
        _ => None,
    });
    assert_eq!(votes.collect::<Vec<_>>(), [true]);
}

/// Each of them tells of those that it knows itself.
#[test]
fn who_was_met_stays_when_another_tells_of_others() {
    let mut probe = leaderless();
    leader_after(&mut probe, |_| {});
    let mut told = configuration(3);
    told.learners.insert(FIFTH);
    told.addresses.insert(FIFTH, address_of(FIFTH));
    probe.hear(SECOND, Message::GenesisComplete(told));
    probe.sync();
    let is_met = |probe: &Probe, id| probe.state().peers.contains_key(&id);
    assert!(is_met(&probe, FOURTH) && is_met(&probe, FIFTH));
}

#[test]
fn so_many_strangers_are_met_and_no_more() {
    let mut probe = leaderless();
    for id in ids(NODES_MAX * 2) {
        probe.hear_altered(id, |_| {}, question());
    }
    assert_eq!(probe.state().peers.len(), NODES_MAX);
}

/// Its log has every change that was ever committed.
#[test]
fn who_leads_knows_whom_its_log_names() {
    let mut probe = leaderless();
    probe.hear(FOURTH, question());
    assert!(probe.state().peers.contains_key(&FOURTH));
    probe.elect();
    assert!(!probe.state().peers.contains_key(&FOURTH));
}

/// Where the founders are stands in flags alone, and those of this node may lack one.
#[test]
fn who_leads_still_knows_where_a_founder_is_whom_its_flags_do_not_name() {
    let mut founders = configuration(3);
    founders.members.remove(&THIRD);
    founders.members.insert(FOURTH, directory_of(FOURTH));
    let mut probe = Probe::born_with(founders);
    while probe.state().attempts == 0 {
        probe.wait_and_sync();
    }
    for stranger in [FOURTH, FIFTH] {
        probe.hear(stranger, question());
    }
    probe.elect();
    let is_met = |id| probe.state().peers.contains_key(&id);
    assert!(is_met(FOURTH) && !is_met(FIFTH));
}

fn changed_to(members: &Configuration, previous: &Entry, term: Term) -> Entry {
    let (index, time, kind) = (previous.index.next(), LogTime(1), EntryKind::Configuration);
    Entry::chained(previous.chain, index, term, time, kind, members.encode())
}

/// docs/guarantees.md: "a leader that is removed leads until that is committed". Nobody could
/// commit it whose followers had forgotten where their leader is.
#[test]
fn a_leader_that_came_by_the_log_is_answered_until_its_removal_is_committed() {
    let (without, mut with) = (configuration(3), configuration(3));
    with.members.insert(FOURTH, directory_of(FOURTH));
    with.addresses.insert(FOURTH, address_of(FOURTH));
    let genesis = Entry::genesis(&without);
    let joins = changed_to(&with, &genesis, Term(1));
    let begins = noop_after(&joins, Term(2));
    let leaves = changed_to(&without, &begins, Term(2));

    let mut probe = Probe::born(3);
    probe.hear(SECOND, replicate(Term(1), &genesis, &joins, LogIndex(1)));
    probe.sync();
    probe.hear(FOURTH, replicate(Term(2), &joins, &begins, LogIndex(2)));
    probe.sync();
    probe.hear(FOURTH, replicate(Term(2), &begins, &leaves, LogIndex(3)));
    let said = probe.sync();
    assert!(!probe.state().configuration().lists(FOURTH));
    let durable = to_peer(&said, FOURTH).into_iter().rev().find_map(|message| match message {
        Message::Acknowledge(acknowledge) => Some(acknowledge.durable),
        _ => None,
    });
    assert_eq!(durable, Some(LogIndex(4)));

    probe.hear(FOURTH, heartbeat_that_commits(Term(2), LogIndex(4)));
    probe.sync();
    assert_eq!(probe.state().commit, LogIndex(4));
    assert!(!probe.state().peers.contains_key(&FOURTH));
}
