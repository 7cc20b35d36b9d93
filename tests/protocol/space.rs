//! Disks that fill: what makes the state grow is refused by name, the rest goes on.

use bytes::Bytes;
use quorate::operation::Operation;
use quorate::replica::{DISK_STALL, HEARTBEAT_INTERVAL, Room};
use quorate::types::{LogIndex, Sequence, ServerId};
use quorate::wire::{Acknowledge, DeclineReason, Message, Request, SPACE_ENOUGH, SPACE_LOW};

use super::members::{SECOND, THIRD};
use super::probe::Probe;
use super::request::{compare_in_vain, delete, put, request, session};
use super::said::{Sent, acknowledged, replies, to_peer};

/// More than is ever needed here.
const PLENTY: u64 = 1 << 40;

fn refused(said: &[Sent]) -> bool {
    said.iter().any(|sent| {
        matches!(&sent.message,
            Message::Declined(declined) if declined.reason == DeclineReason::NoSpace)
    })
}

/// Whether the leader takes the operation in.
fn takes(probe: &mut Probe, number: u64, operation: &Operation) -> bool {
    let before = probe.state().log.last_index();
    probe.ask(1, Message::Request(request(session(number), operation)));
    let said = probe.sync();
    let taken = probe.state().log.last_index() > before;
    assert_eq!(taken, !refused(&said), "{said:?}");
    taken
}

fn tell_space(probe: &mut Probe, from: ServerId, class: u8) {
    let tells = probe.acknowledgment(LogIndex(2));
    probe.hear(from, Message::Acknowledge(Acknowledge { free_space_class: class, ..tells }));
}

/// A key that is overwritten takes no more room, and one that is deleted takes none.
#[test]
fn the_room_that_a_state_takes_is_that_of_its_keys() {
    let mut probe = Probe::serving(1);
    let mut room_after = |number: u64, operation: &Operation| {
        probe.ask(1, Message::Request(request(session(number), operation)));
        assert_eq!(replies(&probe.sync()).len(), 1);
        probe.store().committed().room_for_all()
    };
    let nothing = room_after(1, &delete("key"));
    let session = room_after(2, &delete("key")) - nothing;
    let with_key = room_after(3, &put("key", "value")) - nothing;
    assert!(with_key > 2 * session, "{with_key}");
    let another = room_after(4, &put("key", "other")) - nothing - with_key;
    assert!(another <= session, "{another}");
    assert_eq!(room_after(5, &delete("key")), nothing + 2 * session + 2 * another);
}

/// What a session keeps of its answers takes room that no delete makes again.
#[test]
fn without_room_a_session_may_keep_only_a_few_answers() {
    let mut probe = Probe::serving(1);
    probe.has_free(0);
    // The first comes last.
    let kept = (2..1_000).take_while(|number| of_one_session(&mut probe, *number, 1).is_ok());
    assert_eq!(kept.count(), 40, "as many answers of 26 bytes take 1 KiB");
    assert_eq!(of_one_session(&mut probe, 500, 2), Err(DeclineReason::Busy));
    assert_eq!(of_one_session(&mut probe, 1, 1), Ok(()), "no other could raise the floor");
    assert_eq!(of_one_session(&mut probe, 500, 3), Ok(()), "it does without one of them");
    assert_eq!(of_one_session(&mut probe, 501, 3), Err(DeclineReason::Busy));
    probe.has_free(PLENTY);
    assert_eq!(of_one_session(&mut probe, 501, 3), Ok(()));
}

/// Where there is room, too, what cannot be deleted must not come to fill it.
#[test]
fn all_sessions_together_keep_no_more_than_they_may() {
    let mut probe = Probe::serving(1);
    probe.ask(1, Message::Request(request(session(1), &put("key", vec![b'v'; 512]))));
    probe.sync();
    let compare = |probe: &mut Probe, number, sequence| {
        let compare = request(session(number), &compare_in_vain("key"));
        let request = Request { sequence: Sequence(sequence), ..compare };
        probe.ask(1, Message::Request(request));
    };
    let busy = |said: &[Sent]| {
        said.iter().any(|sent| {
            matches!(&sent.message,
                Message::Declined(declined) if declined.reason == DeclineReason::Busy)
        })
    };
    let full = (2..1_000).find(|number| {
        (2..1_025).for_each(|sequence| compare(&mut probe, *number, sequence));
        let mut said = probe.sync();
        while probe.state().commit < probe.state().log.last_index() {
            said.extend(probe.sync());
        }
        busy(&said)
    });
    assert!(full.is_some());
    let kept = probe.store().committed().sessions().volume();
    assert!((64 << 20..65 << 20).contains(&kept), "{kept} bytes are kept");
    compare(&mut probe, 2_000, 1);
    let said = probe.sync();
    assert!(replies(&said).len() == 1 && !busy(&said), "one that keeps little may go on");
}

/// Deletes in a session that still wants all answers from the floor on.
fn of_one_session(probe: &mut Probe, number: u64, floor: u64) -> Result<(), DeclineReason> {
    let (sequence, floor) = (Sequence(number), Sequence(floor));
    let request = Request { sequence, floor, ..request(session(1), &delete("key")) };
    probe.ask(1, Message::Request(request));
    declined(&probe.sync())
}

#[test]
fn a_leader_without_room_takes_deletes_alone_until_there_is_room_again() {
    let mut probe = Probe::serving(3);
    assert!(takes(&mut probe, 1, &put("key", "value")), "what is not measured is no obstacle");
    probe.has_free(0);
    assert!(!takes(&mut probe, 2, &put("key", "value")));
    assert!(takes(&mut probe, 3, &delete("key")));
    probe.has_free(PLENTY);
    assert!(takes(&mut probe, 4, &put("key", "value")));
}

/// Whoever is refused settles that, which begins a session. A full disk has room for so many, and
/// then for none that makes no room.
#[test]
fn without_room_for_sessions_none_is_begun_but_by_what_makes_room() {
    let mut probe = Probe::serving(1);
    assert!(takes(&mut probe, 1, &put("key", "value")));
    let settles = |probe: &mut Probe, number, sequence| {
        let (sequence, floor) = (Sequence(sequence), Sequence(sequence));
        let settle =
            Request { settle: true, length: 0, ..request(session(number), &put("a", "b")) };
        let before = probe.state().log.last_index();
        probe.ask(1, Message::Request(Request { sequence, floor, bytes: Bytes::new(), ..settle }));
        probe.sync();
        probe.state().log.last_index() > before
    };
    // One part in 16 is enough for 20 sessions, and one is there.
    probe.has_room(Room { free: 0, all: 20 * 16 * 63 });
    let begun = (100..200).filter(|number| settles(&mut probe, *number, 2)).count();
    assert_eq!(begun, 19);
    assert!(settles(&mut probe, 100, 3), "a session that is there may go on");
    let declined = Err(DeclineReason::Busy);
    assert_eq!(of_session(&mut probe, 300, &delete("another")), declined, "no such key");
    assert_eq!(of_session(&mut probe, 300, &delete("key")), Ok(()));
    probe.has_room(Room { free: PLENTY, all: PLENTY });
    assert!(settles(&mut probe, 400, 2));
}

fn of_session(probe: &mut Probe, number: u64, operation: &Operation) -> Result<(), DeclineReason> {
    probe.ask(1, Message::Request(request(session(number), operation)));
    declined(&probe.sync())
}

fn declined(said: &[Sent]) -> Result<(), DeclineReason> {
    let reason = said.iter().find_map(|sent| match &sent.message {
        Message::Declined(declined) => Some(declined.reason),
        _ => None,
    });
    reason.map_or(Ok(()), Err)
}

#[test]
fn what_no_majority_has_room_for_is_refused() {
    let mut probe = Probe::serving(3);
    probe.has_free(PLENTY);
    for peer in [SECOND, THIRD] {
        tell_space(&mut probe, peer, SPACE_ENOUGH);
    }
    tell_space(&mut probe, SECOND, SPACE_LOW);
    assert!(takes(&mut probe, 1, &put("key", "value")), "two of three have room");
    tell_space(&mut probe, THIRD, SPACE_LOW);
    assert!(!takes(&mut probe, 2, &put("key", "value")));
    assert!(takes(&mut probe, 3, &delete("key")));
    tell_space(&mut probe, SECOND, SPACE_ENOUGH);
    assert!(takes(&mut probe, 4, &put("key", "value")));
}

/// Enough is what fits the log up to the next snapshot, at its worst, and that snapshot with
/// the sessions that may still come; and who was low needs a little more to be no longer.
#[test]
fn room_is_kept_for_the_next_snapshot() {
    let mut probe = Probe::serving(3);
    let root = probe.store().tentative();
    let needed = root.room_to_next_snapshot() + root.room_for_sessions(u64::MAX);
    assert!(needed >= 110 << 20, "seven times 16 MiB of log: {needed}");
    probe.has_free(needed);
    assert!(!probe.state().space.is_low());
    probe.has_free(needed - 1);
    assert!(probe.state().space.is_low());
    probe.has_free(needed);
    assert!(probe.state().space.is_low());
    probe.has_free(needed + needed / 4);
    assert!(!probe.state().space.is_low());
}

/// After the next snapshot there must be room for another, and what a turn has taken in counts
/// before the disk is measured anew.
#[test]
fn room_is_kept_for_the_snapshot_after_the_next_one() {
    let mut probe = Probe::serving(3);
    let root = probe.store().tentative();
    let all = root.room_for_all() + 2 * root.room_for_sessions(u64::MAX);
    probe.has_room(Room { free: PLENTY, all: all - 1 });
    assert!(!takes(&mut probe, 1, &put("key", "value")));
    probe.has_room(Room { free: PLENTY, all: all + all / 4 });
    probe.has_room(Room { free: PLENTY, all: all + 100 });
    assert!(takes(&mut probe, 2, &put("key", "value")));
    assert!(!takes(&mut probe, 3, &put("another", "value")));
    assert!(takes(&mut probe, 4, &delete("key")));
}

#[test]
fn while_a_snapshot_waits_for_room_nothing_grows() {
    let mut probe = Probe::serving(3);
    probe.has_free(PLENTY);
    probe.snapshot_refused();
    assert!(!takes(&mut probe, 1, &put("key", "value")));
    probe.has_free(PLENTY);
    assert!(!takes(&mut probe, 2, &put("key", "value")));
    probe.snapshot_written();
    assert!(takes(&mut probe, 3, &put("key", "value")));
}

#[test]
fn a_leader_without_room_hands_over_to_a_follower_that_has_some() {
    let hands_over = |said: &[Sent], to| {
        to_peer(said, to).iter().any(|message| matches!(message, Message::TimeoutNow(_)))
    };
    let mut probe = Probe::serving(3);
    let beat = |probe: &mut Probe| {
        probe.pass(HEARTBEAT_INTERVAL);
        probe.time_out();
        probe.sync()
    };
    probe.has_free(0);
    tell_space(&mut probe, SECOND, SPACE_LOW);
    let said = beat(&mut probe);
    assert!(!hands_over(&said, SECOND) && !hands_over(&said, THIRD), "{said:?}");
    tell_space(&mut probe, THIRD, SPACE_ENOUGH);
    let said = beat(&mut probe);
    assert!(hands_over(&said, THIRD), "{said:?}");
    tell_space(&mut probe, THIRD, SPACE_ENOUGH);
    assert!(!hands_over(&beat(&mut probe), THIRD), "not again within {:?}", 10 * DISK_STALL);
}

#[test]
fn a_follower_says_how_much_room_it_has() {
    let mut probe = Probe::born(3);
    let class = |probe: &mut Probe| {
        let term = quorate::types::Term(1);
        probe.hear(SECOND, super::leader::heartbeat(term));
        acknowledged(&probe.sync()).expect("heartbeats are answered").free_space_class
    };
    assert_eq!(class(&mut probe), 0);
    probe.has_free(PLENTY);
    assert_eq!(class(&mut probe), SPACE_ENOUGH);
    probe.has_free(0);
    assert_eq!(class(&mut probe), SPACE_LOW);
}
