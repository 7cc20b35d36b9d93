//! Changes of the members: in which order, and which are refused.

use std::time::Duration;

use quorate::configuration::Configuration;
use quorate::replica::HEARTBEAT_INTERVAL;
use quorate::time::micros;
use quorate::types::{DirectoryId, Incarnation, LogIndex, NODES_MAX, ServerId, Term};
use quorate::wire::{
    About, Acknowledge, DeclineReason, MemberChange, MemberOutcome, MemberRequest, Message, Role,
};

use super::leader::heartbeat;
use super::members::{FIRST, SECOND, THIRD, address_of, configuration, directory_of, ids};
use super::probe::Probe;
use super::said::{Sent, to_peer};

const FOURTH: ServerId = ServerId(4);
const WIPED: DirectoryId = DirectoryId(999);
/// Longer than a directory must have been heard.
const LONG: Duration = Duration::from_secs(3);
/// Longer than between two nodes that are taken back.
const VERY_LONG: Duration = Duration::from_secs(11);

#[test]
fn a_wiped_node_gets_its_vote_back_by_two_changes() {
    let mut probe = Probe::serving(3);
    let mut seen = vec![probe.state().configuration().clone()];
    let before = seen[0].clone();
    live_on(&mut probe, LONG, &mut seen, |probe| {
        answer(probe, SECOND, directory_of(SECOND));
        answer(probe, THIRD, WIPED);
    });
    let learns = before.with_learner(THIRD);
    assert_eq!(seen, [before, learns.clone(), learns.with_voter(THIRD, WIPED)]);
}

/// The first change is in the log, and nobody has it yet.
#[test]
fn the_second_change_waits_for_the_first() {
    let mut probe = Probe::serving(3);
    let mut seen = vec![probe.state().configuration().clone()];
    live_on(&mut probe, VERY_LONG, &mut seen, |probe| {
        answer_with(probe, SECOND, directory_of(SECOND), LogIndex(2));
        answer_with(probe, THIRD, WIPED, LogIndex(2));
    });
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(probe.state().configuration().learners.contains(&THIRD));
}

#[test]
fn no_change_is_made_before_a_commit_in_the_term() {
    let mut probe = Probe::leading(3);
    let mut seen = vec![probe.state().configuration().clone()];
    live_on(&mut probe, LONG, &mut seen, |probe| {
        answer_with(probe, SECOND, directory_of(SECOND), LogIndex(1));
        answer_with(probe, THIRD, WIPED, LogIndex(1));
    });
    assert_eq!(probe.state().role, Role::Leader);
    assert_eq!(seen.len(), 1, "{seen:?}");

    ask(&mut probe, 7, add(FOURTH));
    let said = probe.turn();
    let busy = |sent: &Sent| {
        matches!(&sent.message, Message::Declined(declined)
        if declined.about == About::Members(7) && declined.reason == DeclineReason::Busy)
    };
    assert!(said.iter().any(busy), "{said:?}");
}

#[test]
fn a_wiped_node_is_taken_back_while_another_is_silent() {
    let mut probe = serving_five();
    let mut seen = vec![probe.state().configuration().clone()];
    live_on(&mut probe, LONG, &mut seen, |probe| {
        answer(probe, SECOND, directory_of(SECOND));
        answer(probe, THIRD, directory_of(THIRD));
        answer(probe, FOURTH, WIPED);
    });
    assert_eq!(seen.len(), 3, "three of the four others are heard");
}

/// Two directories take turns, and neither stays for long enough.
#[test]
fn a_node_that_changes_its_directory_all_the_time_gets_no_vote() {
    let mut probe = Probe::serving(3);
    let mut seen = vec![probe.state().configuration().clone()];
    for life in 0..8 {
        let directory = DirectoryId(900 + life % 2);
        let incarnation = Incarnation(1 + u32::try_from(life).expect("few"));
        live_on(&mut probe, LONG / 2, &mut seen, |probe| {
            answer(probe, SECOND, directory_of(SECOND));
            let all = Message::Acknowledge(probe.acknowledgment(probe.state().log.last_index()));
            probe.hear_in_life(THIRD, (directory, incarnation), all);
        });
        assert_eq!(probe.state().peers[&THIRD].directory(), Some(directory));
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[test]
fn a_second_node_is_taken_back_after_a_while() {
    let mut probe = serving_five();
    let mut seen = vec![probe.state().configuration().clone()];
    let two_wiped = |probe: &mut Probe| {
        answer(probe, SECOND, directory_of(SECOND));
        answer(probe, THIRD, directory_of(THIRD));
        answer(probe, FOURTH, WIPED);
        answer(probe, ServerId(5), WIPED);
    };
    live_on(&mut probe, LONG * 2, &mut seen, two_wiped);
    assert_eq!(seen.len(), 3, "{seen:?}");
    live_on(&mut probe, VERY_LONG, &mut seen, two_wiped);
    assert_eq!(seen.len(), 5, "{seen:?}");
}

#[test]
fn a_node_that_is_added_learns_until_it_has_caught_up() {
    let mut probe = Probe::serving(3);
    let before = probe.state().configuration().clone();
    probe.ask_to_put(1);
    assert_eq!(outcomes(&mut probe, add(FOURTH)), [], "the answer waits for the commit");
    let changed = probe.state().configuration().clone();
    assert_eq!((&changed.members, changed.node_count()), (&before.members, 4));
    assert_eq!(changed.addresses[&FOURTH], address_of(FOURTH));

    assert_eq!(outcomes(&mut probe, add(FOURTH)), [], "who asks again waits, too");
    ask(&mut probe, 8, MemberChange::Remove { node: THIRD });
    assert_eq!(said_of_members(&probe.sync()), [MemberOutcome::Pending]);
    probe.acknowledge(SECOND, LogIndex(3));
    assert_eq!(said_of_members(&probe.sync()), [], "what stands before it is committed");
    probe.acknowledge(SECOND, LogIndex(4));
    assert_eq!(said_of_members(&probe.sync()), [MemberOutcome::Changed]);
    assert_eq!(outcomes(&mut probe, add(FOURTH)), [MemberOutcome::AlreadySo]);

    let mut seen = vec![changed.clone()];
    live_on(&mut probe, LONG, &mut seen, |probe| {
        answer(probe, SECOND, directory_of(SECOND));
        answer_with(probe, FOURTH, directory_of(FOURTH), LogIndex(0));
    });
    assert_eq!(seen.len(), 1, "it has nothing yet");
    live_on(&mut probe, LONG, &mut seen, |probe| {
        answer(probe, SECOND, directory_of(SECOND));
        answer(probe, FOURTH, directory_of(FOURTH));
    });
    assert_eq!(seen[1..], [changed.with_voter(FOURTH, directory_of(FOURTH))]);
}

/// "A node may go and come again in one life of this one, and its packets must not look older
/// to it than those before. No node sends so many in a microsecond."
#[test]
fn packets_to_a_node_that_comes_again_are_newer_than_those_before() {
    let mut probe = Probe::serving(3);
    let change = |probe: &mut Probe, change| {
        let asked_at = probe.now;
        ask(probe, 7, change);
        for _ in 0..2 {
            probe.acknowledge(SECOND, probe.state().log.last_index());
            probe.sync();
        }
        while probe.now.since(asked_at) < HEARTBEAT_INTERVAL * 2 {
            probe.wait_and_sync();
        }
        (asked_at, probe.newest_to(FOURTH).0)
    };
    let (first_added, before) = change(&mut probe, add(FOURTH));
    change(&mut probe, MemberChange::Remove { node: FOURTH });
    assert!(!probe.state().peers.contains_key(&FOURTH));
    let (then_added, after) = change(&mut probe, add(FOURTH));
    assert!(after > before, "{before}, and then {after}");
    let per_microsecond = (after - before) / micros(then_added.since(first_added));
    assert!((15..=16).contains(&per_microsecond), "{per_microsecond} in a microsecond");
}

/// A majority that counts it would wait for it with every write.
#[test]
fn who_is_far_behind_gets_no_vote() {
    let mut probe = Probe::serving(3);
    probe.ask_to_put(1_100);
    ask(&mut probe, 7, add(FOURTH));
    let mut seen = vec![probe.state().configuration().clone()];
    let mut live_with_fourth_at = |probe: &mut Probe, index: u64| {
        live_on(probe, LONG, &mut seen, |probe| {
            answer(probe, SECOND, directory_of(SECOND));
            answer_with(probe, FOURTH, directory_of(FOURTH), LogIndex(index));
        });
        probe.state().configuration().members.contains_key(&FOURTH)
    };
    assert!(!live_with_fourth_at(&mut probe, 2));
    let last = probe.state().commit.0;
    assert!(last > 1_100 && !live_with_fourth_at(&mut probe, last - 1_025));
    assert!(live_with_fourth_at(&mut probe, last - 1_024));
}

#[test]
fn what_may_not_be_is_refused_by_name() {
    let mut probe = Probe::serving(3);
    let elsewhere = MemberChange::Add { node: SECOND, address: address_of(FOURTH) };
    let taken = MemberChange::Add { node: FOURTH, address: address_of(SECOND) };
    let unheard = MemberChange::Remove { node: SECOND };
    let cases = [
        (elsewhere, MemberOutcome::AddressTaken),
        (taken, MemberOutcome::AddressTaken),
        (MemberChange::Remove { node: FOURTH }, MemberOutcome::AlreadySo),
        (MemberChange::None, MemberOutcome::AlreadySo),
        // Of the two that would be left, only the leader itself is heard.
        (unheard, MemberOutcome::QuorumLost),
    ];
    let silent = quorate::replica::ELECTION_TIMEOUT * 9 / 10;
    probe.pass(silent);
    probe.acknowledge(SECOND, LogIndex(2));
    probe.pass(silent / 5);
    for (change, expected) in cases {
        assert_eq!(outcomes(&mut probe, change), [expected], "{change:?}");
    }

    let mut alone = Probe::leading(1);
    alone.sync();
    let last = MemberChange::Remove { node: FIRST };
    assert_eq!(outcomes(&mut alone, last), [MemberOutcome::LastVoter]);

    let mut full = configuration(3);
    full.learners = ids(NODES_MAX).filter(|id| !full.members.contains_key(id)).collect();
    let mut probe = Probe::born_with(full);
    probe.elect();
    probe.acknowledge(SECOND, LogIndex(2));
    probe.sync();
    let one_more = ServerId(u16::try_from(NODES_MAX).expect("few") + 1);
    assert_eq!(outcomes(&mut probe, add(one_more)), [MemberOutcome::TooManyNodes]);
}

/// The last leader died, which is why this one leads: it is not there because it was once.
#[test]
fn who_has_not_answered_a_new_leader_is_not_counted() {
    let mut probe = Probe::serving(3);
    let remove = MemberChange::Remove { node: SECOND };
    assert_eq!(outcomes(&mut probe, remove), [MemberOutcome::QuorumLost]);
    probe.acknowledge(THIRD, LogIndex(2));
    assert_eq!(outcomes(&mut probe, remove), [], "the answer waits for the commit");
}

#[test]
fn a_leader_that_is_removed_leads_until_that_is_committed() {
    let mut probe = Probe::serving(3);
    for peer in [SECOND, THIRD] {
        probe.acknowledge(peer, LogIndex(2));
    }
    probe.ask_to_put(1);
    assert_eq!(outcomes(&mut probe, MemberChange::Remove { node: FIRST }), []);
    probe.acknowledge(SECOND, LogIndex(4));
    probe.sync();
    assert_eq!(probe.state().commit, LogIndex(2), "its own disk counts no more");
    assert_eq!(probe.state().role, Role::Leader);
    probe.acknowledge(THIRD, LogIndex(3));
    probe.sync();
    assert_eq!(probe.state().commit, LogIndex(3));
    assert_eq!(probe.state().role, Role::Leader);

    probe.acknowledge(THIRD, LogIndex(4));
    let said = probe.sync();
    assert_eq!(probe.state().commit, LogIndex(4));
    assert_eq!(probe.state().role, Role::Follower);
    assert_eq!(said_of_members(&said), [MemberOutcome::Changed]);
    let asked = |peer| to_peer(&said, peer).iter().any(|m| matches!(m, Message::TimeoutNow(_)));
    assert!(asked(SECOND) != asked(THIRD), "one of them is to lead: {said:?}");
    for _ in 0..20 {
        let said = probe.wait_and_sync();
        assert!(!said.iter().any(|sent| matches!(sent.message, Message::VoteRequest(_))));
    }
}

#[test]
fn an_operator_is_told_when_the_leader_leads_no_more() {
    let mut probe = Probe::serving(3);
    assert_eq!(outcomes(&mut probe, add(FOURTH)), []);
    probe.hear(SECOND, heartbeat(Term(2)));
    let said = probe.sync();
    let is_told = |sent: &Sent| {
        matches!(&sent.message, Message::Declined(declined)
        if declined.about == About::Members(7) && declined.reason == DeclineReason::NoLeader)
    };
    assert!(said.iter().any(is_told), "{said:?}");
}

/// The network holds a copy of each request back for as long as it likes.
#[test]
fn a_late_copy_of_a_request_changes_nothing() {
    let mut probe = Probe::serving(3);
    let (remove, add) = (MemberChange::Remove { node: THIRD }, add(THIRD));
    for (then, now) in [(remove, add), (add, remove)] {
        let late = request(1, probe.state().configuration_index(), then);
        make(&mut probe, 1, then);
        make(&mut probe, 2, now);
        let last = probe.state().log.last_index();
        probe.ask(1, late);
        assert_eq!(said_of_members(&probe.sync()), [MemberOutcome::Outdated]);
        assert_eq!(probe.state().log.last_index(), last, "nobody has asked for that again");
        make(&mut probe, 3, then);
        assert_eq!(outcomes(&mut probe, then), [MemberOutcome::AlreadySo]);
    }
}

/// Whoever has seen no members yet, or former ones, learns from the answer which there are.
#[test]
fn only_the_members_that_were_seen_are_changed() {
    let mut probe = Probe::serving(3);
    make(&mut probe, 1, add(FOURTH));
    let present = probe.state().configuration_index();
    let remove = MemberChange::Remove { node: FOURTH };
    for seen in [LogIndex(0), LogIndex(1), LogIndex(present.0 - 1), present.next()] {
        probe.ask(1, request(1, seen, remove));
        let said = probe.sync();
        let Some(Message::MemberReply(reply)) = said.last().map(|sent| &sent.message) else {
            panic!("it is answered: {said:?}");
        };
        assert_eq!((reply.outcome, reply.index), (MemberOutcome::Outdated, present));
        probe.ask(1, request(1, seen, add(FOURTH)));
        assert_eq!(said_of_members(&probe.sync()), [MemberOutcome::AlreadySo]);
    }
    assert_eq!(probe.state().configuration_index(), present);
    make(&mut probe, 2, remove);
}

/// The first of five, whose first entry of its term is committed.
fn serving_five() -> Probe {
    let mut probe = Probe::leading(5);
    for peer in [SECOND, THIRD] {
        probe.acknowledge(peer, LogIndex(2));
    }
    probe.sync();
    probe
}

/// Time passes, with a turn every few milliseconds. Each configuration that comes into
/// force is noted.
fn live_on(
    probe: &mut Probe,
    time: Duration,
    seen: &mut Vec<Configuration>,
    mut act: impl FnMut(&mut Probe),
) {
    let end = probe.now + time;
    while probe.now < end {
        probe.pass(Duration::from_millis(10));
        act(probe);
        probe.time_out();
        probe.sync();
        let now = probe.state().configuration();
        if seen.last() != Some(now) {
            seen.push(now.clone());
        }
    }
}

/// The node, on this directory, has all of the log.
fn answer(probe: &mut Probe, from: ServerId, directory: DirectoryId) {
    let last = probe.state().log.last_index();
    answer_with(probe, from, directory, last);
}

fn answer_with(probe: &mut Probe, from: ServerId, directory: DirectoryId, index: LogIndex) {
    let acknowledge = if index == LogIndex(0) { blank(probe) } else { probe.acknowledgment(index) };
    let message = Message::Acknowledge(acknowledge);
    probe.hear_in_life(from, (directory, Incarnation(1)), message);
}

fn blank(probe: &Probe) -> Acknowledge {
    let nothing = LogIndex(0);
    let known = probe.acknowledgment(LogIndex(1));
    Acknowledge { matched: nothing, durable: nothing, hint_index: nothing, ..known }
}

fn request(nonce: u64, seen: LogIndex, change: MemberChange) -> Message {
    Message::MemberRequest(MemberRequest { nonce, seen, change })
}

fn add(node: ServerId) -> MemberChange {
    MemberChange::Add { node, address: address_of(node) }
}

/// An operator who knows the members asks for this.
fn ask(probe: &mut Probe, nonce: u64, change: MemberChange) {
    let seen = probe.state().configuration_index();
    probe.ask(1, request(nonce, seen, change));
}

/// What an operator who asks this is told in the same turn.
fn outcomes(probe: &mut Probe, change: MemberChange) -> Vec<MemberOutcome> {
    ask(probe, 7, change);
    said_of_members(&probe.sync())
}

/// The second has all of the log, and takes in what is asked for.
fn make(probe: &mut Probe, nonce: u64, change: MemberChange) {
    answer(probe, SECOND, directory_of(SECOND));
    ask(probe, nonce, change);
    assert_eq!(said_of_members(&probe.sync()), [], "{change:?}");
    answer(probe, SECOND, directory_of(SECOND));
    assert_eq!(said_of_members(&probe.sync()), [MemberOutcome::Changed], "{change:?}");
}

fn said_of_members(said: &[Sent]) -> Vec<MemberOutcome> {
    let outcome = |sent: &Sent| match &sent.message {
        Message::MemberReply(reply) => Some(reply.outcome),
        _ => None,
    };
    said.iter().filter_map(outcome).collect()
}
