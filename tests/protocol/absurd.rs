//! What no node ever says, and a stranger may: numbers that nothing could follow. A node that
//! took them in would stop at the next one, and again whenever it is started.

use quorate::entry::Entry;
use quorate::types::{LogIndex, Term};
use quorate::wire::{
    Acknowledge, CatchUpReply, DropCause, Message, RepairReply, RepairRequest, Resume,
    SnapshotName, SnapshotOffer, VoteReply, VoteRequest,
};

use super::leader::{heartbeat, noop_after, replicate};
use super::members::{SECOND, configuration};
use super::probe::Probe;
use super::said::{Sent, to_peer};

const TERM: Term = Term(1);
/// The last one that a node takes up.
const TERM_MAX: Term = Term(1 << 60);
const LAST_TERM: Term = Term(u64::MAX);

#[test]
fn nobody_is_elected_in_a_term_that_nothing_could_follow() {
    for (term, is_absurd) in [(TERM_MAX, false), (TERM_MAX.next(), true), (LAST_TERM, true)] {
        let (last_term, last_index) = (TERM, LogIndex(1));
        let asked = VoteRequest { term, pre_vote: false, transfer: false, last_term, last_index };
        let refused = VoteReply {
            term: TERM,
            pre_vote: false,
            granted: false,
            voter_term: term,
            lacks: false,
        };
        for message in [Message::VoteRequest(asked), Message::VoteReply(refused)] {
            let mut probe = Probe::born(3);
            probe.hear(SECOND, message.clone());
            assert_eq!(dropped(&probe) == 1, is_absurd, "{message:?}");
            assert_eq!(probe.state().term == term, !is_absurd, "{message:?}");
        }
    }
}

#[test]
fn an_acknowledgment_of_what_no_log_reaches_is_dropped() {
    let beyond = [LogIndex::MAX.next(), LogIndex(u64::MAX)];
    for index in [LogIndex(2), LogIndex::MAX].into_iter().chain(beyond) {
        let plain = Probe::leading(3).acknowledgment(LogIndex(1));
        let range = (index, index);
        for acknowledge in [
            Acknowledge { matched: index, ..plain.clone() },
            Acknowledge { durable: index, ..plain.clone() },
            Acknowledge { hint_index: index, ..plain.clone() },
            Acknowledge { matched: LogIndex(index.0 - 2), received: vec![range], ..plain.clone() },
        ] {
            let mut probe = Probe::leading(3);
            probe.hear(SECOND, Message::Acknowledge(acknowledge.clone()));
            probe.sync();
            assert_eq!(dropped(&probe) == 1, beyond.contains(&index), "{acknowledge:?}");
        }
    }
}

#[test]
fn an_entry_of_a_later_term_than_its_leaders_is_dropped() {
    let mut probe = Probe::born(3);
    let genesis = Entry::genesis(probe.state().configuration());
    let absurd = noop_after(&genesis, LAST_TERM);
    probe.hear(SECOND, replicate(TERM, &genesis, &absurd, LogIndex(1)));
    assert_eq!(dropped(&probe), 1);
    assert_eq!(probe.state().log.last_index(), LogIndex(1));
}

#[test]
fn a_snapshot_that_nothing_could_follow_is_not_asked_for() {
    for (index, term, is_absurd) in [
        (LogIndex(u64::MAX), TERM, true),
        (LogIndex(LogIndex::MAX.0 + 1), TERM, true),
        (LogIndex(9), LAST_TERM, true),
        (LogIndex(9), TERM_MAX, false),
        (LogIndex::MAX, TERM, false),
    ] {
        let mut probe = Probe::born(3);
        probe.hear(SECOND, heartbeat(TERM));
        let snapshot = SnapshotName { index, term, chain: 7 };
        probe.hear(SECOND, Message::SnapshotOffer(SnapshotOffer { term: TERM, snapshot }));
        assert_eq!(dropped(&probe) == 1, is_absurd, "{snapshot:?}");
        assert_eq!(asks(&probe.turn()), !is_absurd, "{snapshot:?}");
    }
}

#[test]
fn what_is_sent_for_a_repair_is_dropped_with_an_absurd_term() {
    let genesis = Entry::genesis(Probe::born(3).state().configuration());
    let absurd = RepairReply {
        term: TERM,
        end: None,
        first: LogIndex(2),
        entries: vec![noop_after(&genesis, LAST_TERM)],
    };
    let end = Some((LAST_TERM, LogIndex(1)));
    for reply in [RepairReply { end, entries: Vec::new(), ..absurd.clone() }, absurd] {
        let mut probe = Probe::damaged(3, &[], &[], None);
        probe.hear(SECOND, Message::RepairReply(reply));
        assert_eq!(dropped(&probe), 1);
        assert_eq!(probe.state().log.last_index(), LogIndex(1));
    }
}

#[test]
fn a_directory_that_was_in_an_absurd_term_is_not_heeded() {
    for (term, is_absurd) in [(TERM_MAX, false), (TERM_MAX.next(), true), (LAST_TERM, true)] {
        let mut probe = Probe::born(3);
        probe.hear(SECOND, Message::Resume(Resume { term, voted: false, end: None }));
        assert_eq!(dropped(&probe) == 1, is_absurd, "{term}");
    }
}

#[test]
fn who_is_in_doubt_about_an_absurd_term_is_not_answered() {
    for (term, is_absurd) in [(TERM_MAX.0 - 1, false), (TERM_MAX.0, false), (TERM_MAX.0 + 1, true)]
    {
        let mut probe = Probe::born(3);
        let bound = Some((Term(term), LogIndex(1)));
        let request = RepairRequest { first: LogIndex(2), last: LogIndex(2), bound };
        probe.hear(SECOND, Message::RepairRequest(request));
        assert_eq!(dropped(&probe) == 1, is_absurd, "{term}");
    }
    let mut probe = Probe::damaged(3, &[], &[], None);
    let end = Some((TERM_MAX, LogIndex(1)));
    let last = RepairReply { term: TERM_MAX, end, first: LogIndex(2), entries: Vec::new() };
    probe.hear(SECOND, Message::RepairReply(last));
    assert_eq!(dropped(&probe), 0);
}

#[test]
fn what_a_candidate_catches_up_with_has_no_absurd_numbers() {
    let genesis = Entry::genesis(&configuration(3));
    let possible = CatchUpReply {
        term: TERM_MAX,
        log_end: (TERM_MAX, LogIndex::MAX),
        snapshot: Some(SnapshotName { index: LogIndex::MAX, term: TERM_MAX, chain: 7 }),
        first: LogIndex(2),
        entries: vec![noop_after(&genesis, TERM_MAX)],
    };
    let beyond = LogIndex(LogIndex::MAX.0 + 1);
    let snapshot = |index, term| Some(SnapshotName { index, term, chain: 7 });
    for (reply, is_absurd) in [
        (possible.clone(), false),
        (CatchUpReply { term: TERM_MAX.next(), ..possible.clone() }, true),
        (short(), false),
        (CatchUpReply { log_end: (TERM.next(), LogIndex(2)), ..short() }, true),
        (CatchUpReply { log_end: (TERM, beyond), ..short() }, true),
        (CatchUpReply { snapshot: snapshot(LogIndex(9), TERM.next()), ..short() }, true),
        (CatchUpReply { snapshot: snapshot(beyond, TERM), ..short() }, true),
        (CatchUpReply { entries: vec![noop_after(&genesis, LAST_TERM)], ..short() }, true),
    ] {
        let mut probe = Probe::born(3);
        probe.hear(SECOND, Message::CatchUpReply(reply.clone()));
        assert_eq!(dropped(&probe) == 1, is_absurd, "{reply:?}");
    }
}

/// What a log of two entries gives.
fn short() -> CatchUpReply {
    CatchUpReply {
        term: TERM,
        log_end: (TERM, LogIndex(2)),
        snapshot: None,
        first: LogIndex(2),
        entries: vec![noop_after(&Entry::genesis(&configuration(3)), TERM)],
    }
}

fn dropped(probe: &Probe) -> u64 {
    probe.state().dropped.get(&DropCause::Protocol).copied().unwrap_or(0)
}

fn asks(said: &[Sent]) -> bool {
    let said = to_peer(said, SECOND);
    said.iter().any(|message| matches!(message, Message::SnapshotRequest(_)))
}
