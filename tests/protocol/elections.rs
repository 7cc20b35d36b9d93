//! Who leads, for how long, and what it must not forget when it ceases to.

use std::time::Duration;

use quorate::entry::Entry;
use quorate::replica::ELECTION_TIMEOUT;
use quorate::types::{LogIndex, ServerId, Term};
use quorate::wire::{Acknowledge, DropCause, Message, Role, VoteReply};

use super::leader::{heartbeat, noop_after, replicate};
use super::members::{FIRST, SECOND, THIRD};
use super::probe::Probe;
use super::said::{Sent, acknowledged, to_peer};

#[test]
fn a_leader_that_is_late_once_draws_no_conclusion() {
    let mut probe = Probe::serving(3);
    be_late(&mut probe, ELECTION_TIMEOUT * 2);
    assert_eq!(probe.state().role, Role::Leader, "the answers may still be unread");
}

#[test]
fn a_leader_that_is_always_late_steps_down_without_its_quorum() {
    let mut probe = Probe::serving(3);
    be_late(&mut probe, ELECTION_TIMEOUT * 2);
    be_late(&mut probe, ELECTION_TIMEOUT * 2);
    assert_eq!(probe.state().role, Role::Follower);
}

#[test]
fn a_leader_that_is_always_late_leads_on_with_its_quorum() {
    let mut probe = Probe::serving(3);
    for _ in 0..10 {
        be_late(&mut probe, ELECTION_TIMEOUT * 4 / 5);
        probe.acknowledge(SECOND, LogIndex(2));
    }
    assert_eq!(probe.state().role, Role::Leader);
}

/// What its leader has said meanwhile may still be unread.
#[test]
fn a_follower_that_is_late_does_not_stand_at_once() {
    let mut probe = Probe::born(3);
    for _ in 0..2 {
        probe.hear(SECOND, heartbeat(Term(1)));
        probe.sync();
    }
    be_late(&mut probe, ELECTION_TIMEOUT * 4);
    assert_eq!(probe.state().role, Role::Follower);
    let until = probe.now + ELECTION_TIMEOUT * 4;
    while probe.now < until && probe.state().role == Role::Follower {
        probe.wait_and_sync();
    }
    assert_eq!(probe.state().role, Role::Candidate);
}

/// The node is not called for so long, and all its timers are overdue.
fn be_late(probe: &mut Probe, time: Duration) {
    probe.pass(time);
    probe.time_out();
    probe.sync();
}

#[test]
fn a_term_has_one_leader() {
    let mut follower = Probe::born(3);
    follower.hear(SECOND, heartbeat(Term(1)));
    for mut probe in [follower, Probe::serving(3)] {
        let leader = probe.state().leader_id;
        probe.hear(THIRD, heartbeat(Term(1)));
        assert_eq!(probe.state().leader_id, leader);
        assert_eq!(probe.state().dropped.get(&DropCause::Protocol), Some(&1));
    }
}

/// It may speak of the log of another leader.
#[test]
fn what_was_acknowledged_to_a_former_leader_does_not_count() {
    let mut probe = Probe::leading(3);
    let former = Acknowledge { term: Term(0), ..probe.acknowledgment(LogIndex(2)) };
    probe.hear(SECOND, Message::Acknowledge(former));
    probe.sync();
    assert_eq!(probe.state().commit, LogIndex(1));
}

/// What the node has matched with a leader of its term, it has noted before it led in
/// that term itself and committed more.
#[test]
fn a_former_leader_never_cuts_its_log_below_its_commit() {
    let mut probe = Probe::born(3);
    let genesis = Entry::genesis(probe.state().configuration());
    let old = noop_after(&genesis, Term(1));
    probe.hear(SECOND, replicate(Term(1), &genesis, &old, LogIndex(1)));
    probe.sync();
    stand(&mut probe);
    assert_eq!(probe.state().term, Term(2));
    probe.hear(SECOND, heartbeat(Term(1)));
    let said = probe.turn();
    let acknowledge = acknowledged(&said).expect("a late leader is told the term");
    assert_eq!((acknowledge.term, acknowledge.matched), (Term(2), LogIndex(1)));

    probe.elect();
    assert_eq!(probe.state().term, Term(2));
    probe.acknowledge(THIRD, LogIndex(3));
    probe.sync();
    assert_eq!(probe.state().commit, LogIndex(3));
    let end = probe.now + 4 * ELECTION_TIMEOUT;
    while probe.state().role == Role::Leader {
        probe.wait_and_sync();
        assert!(probe.now < end, "nobody hears it");
    }

    // Nobody else leads in this term, but a frame that is not sealed may claim it.
    let other = noop_after(&genesis, Term(2));
    probe.hear(SECOND, replicate(Term(2), &genesis, &other, LogIndex(1)));
    let said = probe.sync();
    assert_eq!(probe.state().log.entry(LogIndex(2)), Some(&old));
    assert_eq!(acknowledged(&said).map(|said| said.matched), Some(LogIndex(3)));

    // The next leader's log has all that is committed; it may begin to send below that.
    let own = probe.state().log.entry(LogIndex(3)).expect("the term's first entry").clone();
    let next = noop_after(&own, Term(3));
    probe.hear(THIRD, replicate(Term(3), &genesis, &old, LogIndex(3)));
    probe.hear(THIRD, replicate(Term(3), &own, &next, LogIndex(4)));
    probe.sync();
    assert_eq!((probe.state().commit, probe.state().log.last_index()), (LogIndex(4), LogIndex(4)));
}

#[test]
fn the_leader_of_the_term_alone_asks_another_to_stand() {
    let mut probe = Probe::born(3);
    probe.hear(SECOND, heartbeat(Term(1)));
    probe.sync();
    for (from, term) in [(THIRD, Term(1)), (SECOND, Term(0)), (SECOND, Term(2))] {
        probe.hear(from, Message::TimeoutNow(term));
        probe.sync();
        assert_eq!(probe.state().role, Role::Follower, "asked by {from} in {term}");
    }
    probe.hear(SECOND, Message::TimeoutNow(Term(1)));
    probe.sync();
    assert_eq!((probe.state().role, probe.state().term), (Role::Candidate, Term(2)));
}

/// Who lacks entries is not elected, or not before it has caught up.
#[test]
fn leadership_is_handed_to_one_that_has_everything_and_is_heard() {
    let mut probe = Probe::serving(3);
    probe.ask_to_put(1);
    probe.sync();
    assert!(!asks_to_stand(&hand_over_again(&mut probe)), "both lack the last entry");
    probe.acknowledge(SECOND, LogIndex(3));
    assert!(asks_to_stand(&hand_over_again(&mut probe)));

    probe.pass(ELECTION_TIMEOUT);
    assert!(!asks_to_stand(&hand_over_again(&mut probe)), "it is not heard any more");
}

/// The next leader may need its vote.
#[test]
fn who_led_stays_until_another_leads_or_none_can() {
    for mut probe in [Probe::blank(FIRST, 3), Probe::serving(1)] {
        probe.hand_over();
        assert!(probe.may_stop(), "there is nobody to hand over to");
    }
    let mut probe = Probe::serving(3);
    assert!(probe.may_stop(), "it was not asked to");
    for peer in [SECOND, THIRD] {
        probe.acknowledge(peer, LogIndex(2));
    }
    probe.hand_over();
    assert!(!probe.may_stop());
    probe.hear(SECOND, heartbeat(Term(2)));
    assert!(probe.may_stop(), "another leads");

    let mut probe = Probe::serving(3);
    probe.hand_over();
    probe.pass(Duration::from_secs(10));
    probe.acknowledge(SECOND, LogIndex(2));
    assert!(!probe.may_stop(), "two of three are a majority");
    probe.pass(Duration::from_secs(10));
    assert!(!probe.may_stop(), "time is what the node was told last");
    probe.time_out();
    assert!(probe.may_stop(), "nobody is heard");
}

fn hand_over_again(probe: &mut Probe) -> Vec<Sent> {
    probe.hand_over();
    probe.turn()
}

fn asks_to_stand(said: &[Sent]) -> bool {
    said.iter().any(|sent| matches!(sent.message, Message::TimeoutNow(_)))
}

/// What was granted for an earlier term, or as a vote, says nothing of now.
#[test]
fn a_pre_vote_counts_for_the_term_that_was_asked_about() {
    let mut probe = Probe::born(3);
    while !asks_for_votes(&probe.wait_and_sync(), THIRD) {}
    let granted = |term, pre_vote| {
        let (granted, voter_term, lacks) = (true, Term(0), false);
        Message::VoteReply(VoteReply { term, pre_vote, granted, voter_term, lacks })
    };
    for other in [granted(Term(0), true), granted(Term(2), true), granted(Term(1), false)] {
        probe.hear(SECOND, other.clone());
        assert_eq!(probe.state().term, Term(0), "{other:?}");
    }
    probe.hear(SECOND, granted(Term(1), true));
    assert_eq!(probe.state().term, Term(1));
}

#[test]
fn who_has_granted_its_vote_is_not_asked_again() {
    let mut probe = Probe::born(5);
    stand(&mut probe);
    let term = probe.state().term;
    let (pre_vote, granted, lacks) = (false, true, false);
    let vote = VoteReply { term, pre_vote, granted, voter_term: term, lacks };
    probe.hear(SECOND, Message::VoteReply(vote));
    let said = (0..4).flat_map(|_| probe.wait_and_sync()).collect::<Vec<_>>();
    assert!(asks_for_votes(&said, THIRD) && !asks_for_votes(&said, SECOND));
}

/// Another leads the term in which this node stands, however late it hears of that.
#[test]
fn a_candidate_has_lost_when_its_term_has_a_leader() {
    let mut probe = Probe::born(3);
    stand(&mut probe);
    let beat = heartbeat(probe.state().term);
    probe.hear_altered(SECOND, |header| header.echo = None, beat);
    assert_eq!((probe.state().role, probe.state().leader_id), (Role::Follower, Some(SECOND)));
}

fn asks_for_votes(said: &[Sent], of: ServerId) -> bool {
    to_peer(said, of).iter().any(|message| matches!(message, Message::VoteRequest(_)))
}

/// Stands in the next term, in which nobody has voted for the node yet.
fn stand(probe: &mut Probe) {
    let term = probe.state().term;
    while probe.state().term == term {
        let said = probe.wait_and_sync();
        probe.grant(&said);
        probe.sync();
    }
    assert_eq!(probe.state().role, Role::Candidate);
}
