//! What no node ever says, and a stranger may: numbers that nothing could follow. A node that
//! took them in would stop at the next one, and again whenever it is started.

use quorate::entry::Entry;
use quorate::types::{LogIndex, Term};
use quorate::wire::{DropCause, Message, RepairReply, SnapshotName, SnapshotOffer};

use super::leader::{heartbeat, noop_after, replicate};
use super::members::SECOND;
use super::probe::Probe;
use super::said::{Sent, to_peer};

const TERM: Term = Term(1);
const LAST_TERM: Term = Term(u64::MAX);

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

fn dropped(probe: &Probe) -> u64 {
    probe.state().dropped.get(&DropCause::Protocol).copied().unwrap_or(0)
}

fn asks(said: &[Sent]) -> bool {
    let said = to_peer(said, SECOND);
    said.iter().any(|message| matches!(message, Message::SnapshotRequest(_)))
}
