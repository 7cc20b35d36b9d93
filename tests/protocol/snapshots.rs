//! Snapshots: what they cover is forgotten, and who lacks that is brought up to date.

use std::time::Duration;

use quorate::configuration::Configuration;
use quorate::disk::{Damage, Doubt, GenesisState, Record, Recovered};
use quorate::replica::HEARTBEAT_INTERVAL;
use quorate::types::{LogIndex, Term};
use quorate::wire::{CatchUpRequest, Message, Role, SnapshotOffer};

use super::leader::heartbeat;
use super::members::{FIRST, SECOND, THIRD, configuration};
use super::probe::{Probe, blank};
use super::request::{pieces, put, session};
use super::said::{Sent, acknowledged, to_peer};

/// A leader with some 40 entries, of which a snapshot is due, and a follower that has all.
fn leader() -> Probe {
    lead(Probe::born_with(limits()))
}

fn limits() -> Configuration {
    Configuration { snapshot_bytes: 10_000, ..configuration(3) }
}

fn lead(mut probe: Probe) -> Probe {
    probe.elect();
    probe.ask_to_put(40);
    let last = probe.state().log.last_index();
    probe.acknowledge(SECOND, last);
    probe.sync();
    assert_eq!(probe.state().commit, last);
    probe
}

/// The same, with the snapshot on its disk.
fn leader_with_snapshot() -> Probe {
    with_snapshot(leader())
}

fn with_snapshot(mut probe: Probe) -> Probe {
    probe.take_snapshot().expect("one is due");
    probe.snapshot_written();
    probe.sync();
    probe
}

fn offers(said: &[Sent]) -> Vec<SnapshotOffer> {
    let offers = to_peer(said, THIRD).into_iter().filter_map(|message| match message {
        Message::SnapshotOffer(offer) => Some(*offer),
        _ => None,
    });
    offers.collect()
}

#[test]
fn entries_are_forgotten_only_when_a_snapshot_of_them_is_on_the_disk() {
    let mut probe = leader();
    let snapshot = probe.take_snapshot().expect("one is due");
    assert!(probe.take_snapshot().is_none(), "one is written at a time");
    probe.sync();
    assert_eq!(probe.state().log.base().index, LogIndex(0));
    probe.snapshot_written();
    probe.sync();
    assert_eq!(probe.state().log.base().index, snapshot.index());
    assert_eq!(probe.state().snapshots.durable_index(), snapshot.index());
}

#[test]
fn who_lacks_what_is_forgotten_is_offered_the_snapshot_and_no_entries() {
    let mut probe = leader_with_snapshot();
    probe.acknowledge(SECOND, probe.state().log.last_index());
    let said = hear_from_laggard(&mut probe);
    assert_eq!(offers(&said).len(), 1, "{said:?}");
    assert_eq!(offers(&said)[0].snapshot.index, probe.state().snapshots.durable_index());
    assert!(
        to_peer(&said, THIRD)
            .iter()
            .all(|message| !matches!(message, Message::ReplicateOperation(_))),
        "what it could not use"
    );
}

/// It may fetch it from there.
#[test]
fn a_candidate_that_lacks_what_is_forgotten_is_told_of_the_snapshot() {
    let mut probe = leader_with_snapshot();
    probe.hear(THIRD, Message::CatchUpRequest(CatchUpRequest { first: LogIndex(2) }));
    let said = probe.turn();
    let told = to_peer(&said, THIRD).into_iter().find_map(|message| match message {
        Message::CatchUpReply(reply) => Some((reply.snapshot?.index, reply.entries.len())),
        _ => None,
    });
    assert_eq!(told, Some((probe.state().snapshots.durable_index(), 0)));
}

/// What is damaged beside the journal and the snapshot is mended in other ways.
#[test]
fn only_damage_to_the_state_of_a_born_node_is_mended_by_a_snapshot() {
    let is_due = |mut probe: Probe, damage: &Damage| {
        probe.finds(damage);
        probe.take_snapshot().is_some()
    };
    let of_segment = Damage { segments: vec![1], ..Damage::default() };
    let of_snapshot = Damage { snapshot: true, ..Damage::default() };
    assert!(is_due(Probe::serving(3), &of_segment) && is_due(Probe::serving(3), &of_snapshot));
    assert!(!is_due(Probe::serving(3), &Damage::default()));
    assert!(!is_due(Probe::blank(FIRST, 3), &of_segment));
}

/// What a node says to the third goes to `other`, as from the second, and back.
fn exchange(fetching: &mut Probe, sending: &mut Probe, lose: impl Fn(usize) -> bool) -> usize {
    let mut frames = 0;
    let mut pass_on = |said: Vec<Sent>, to: &mut Probe, as_from| {
        for sent in said {
            let is_of_fetch =
                matches!(sent.message, Message::SnapshotRequest(_) | Message::SnapshotPiece(_));
            if is_of_fetch {
                frames += 1;
                if !lose(frames) {
                    to.hear(as_from, sent.message);
                }
            }
        }
    };
    pass_on(fetching.turn(), sending, THIRD);
    pass_on(sending.turn(), fetching, SECOND);
    frames
}

/// A follower that has heard the offer of the leader.
fn follower(offer: SnapshotOffer) -> Probe {
    let mut probe = Probe::born_with(limits());
    probe.hear(SECOND, heartbeat(offer.term));
    probe.sync();
    probe.hear(SECOND, Message::SnapshotOffer(offer));
    probe
}

fn offer_of(leader: &mut Probe) -> SnapshotOffer {
    offers(&hear_from_laggard(leader))[0]
}

/// The third node has nothing but the genesis. Returns what the leader says then.
fn hear_from_laggard(leader: &mut Probe) -> Vec<Sent> {
    let mut behind = leader.acknowledgment(leader.state().log.last_index());
    (behind.hint_index, behind.hint_term) = (LogIndex(1), Term(0));
    (behind.matched, behind.durable) = (LogIndex(1), LogIndex(1));
    leader.hear(THIRD, Message::Acknowledge(behind));
    leader.pass(HEARTBEAT_INTERVAL);
    leader.time_out();
    leader.turn()
}

/// Passes frames on until the follower has fetched the whole.
fn fetch(follower: &mut Probe, leader: &mut Probe, lose: impl Fn(usize) -> bool) {
    let mut frames = 0;
    for _ in 0..1_000 {
        frames += exchange(follower, leader, |frame| lose(frames + frame));
        if follower.take_snapshot().is_some() {
            return;
        }
        follower.wait();
        // It keeps a pace.
        leader.pass(Duration::from_millis(1));
    }
    panic!("{frames} frames do not bring the snapshot");
}

#[test]
fn a_follower_fetches_it_and_goes_on_from_it_once_it_is_on_its_disk() {
    for loss in [false, true] {
        let mut leader = leader_with_snapshot();
        let offer = offer_of(&mut leader);
        let mut follower = follower(offer);
        fetch(&mut follower, &mut leader, |frame| loss && frame % 3 == 0);
        follower.sync();
        assert_eq!(follower.state().commit, LogIndex(1), "it is not on the disk yet");
        follower.hear(SECOND, Message::SnapshotOffer(offer));
        assert!(!asks(&follower.turn()), "it is not fetched again");
        follower.snapshot_written();
        let said = follower.sync();
        assert_eq!(follower.state().commit, offer.snapshot.index);
        assert_eq!(follower.state().log.last_index(), offer.snapshot.index);
        let acknowledge = acknowledged(&said).expect("the leader is told at once");
        assert_eq!(acknowledge.durable, offer.snapshot.index);
        let sum = |probe: &Probe| {
            let durable = probe.state().snapshots.durable().expect("there is one");
            durable.state().checksum()
        };
        assert_eq!(sum(&follower), sum(&leader));
        assert_eq!(follower.state().role, Role::Follower);
    }
}

/// The record of that tells how far the log went, should the snapshot's file be lost one day.
#[test]
fn nothing_of_it_is_said_to_be_durable_before_the_journal_says_that_the_log_begins_there() {
    let mut leader = leader_with_snapshot();
    let offer = offer_of(&mut leader);
    let mut follower = follower(offer);
    fetch(&mut follower, &mut leader, |_| false);
    follower.sync();
    follower.snapshot_written();
    let said = follower.turn();
    let acknowledge = acknowledged(&said).expect("the leader is told at once");
    assert_eq!(acknowledge.matched, offer.snapshot.index);
    assert_eq!(acknowledge.durable, LogIndex(0));
    let begins = follower.write();
    assert!(matches!(begins.records(), [Record::Restart { index, .. }, ..]
        if *index == offer.snapshot.index));
    follower.synced(begins);
    let said = follower.turn();
    let acknowledge = acknowledged(&said).expect("the leader is told at once");
    assert_eq!(acknowledge.durable, offer.snapshot.index);
}

/// The power may have failed before that record was durable, in doubt or not.
#[test]
fn a_start_on_nothing_but_a_snapshot_records_that_the_log_begins_there() {
    let leader = leader_with_snapshot();
    let snapshot = leader.state().snapshots.durable().expect("there is one");
    let index = snapshot.index();
    for doubt in [None, Some(Doubt { upto: Some((Term(1), LogIndex(2))) })] {
        let recovered = Recovered {
            genesis: GenesisState::Complete(limits()),
            term: snapshot.term(),
            commit: index,
            snapshot: Some(snapshot.clone()),
            doubt,
            ..blank(FIRST)
        };
        let mut probe = Probe::started_unheard(recovered, limits());
        probe.turn();
        assert_eq!(probe.state().log.durable(), LogIndex(0));
        let begins = probe.write();
        let is_restart =
            |record: &Record| matches!(record, Record::Restart { index: at, .. } if *at == index);
        assert!(begins.records().iter().any(is_restart), "{doubt:?}: {begins:?}");
        probe.synced(begins);
        assert_eq!(probe.state().log.durable(), index);
    }
}

/// They may come late, of a snapshot that was fetched before, and their checksums are right.
#[test]
fn pieces_of_another_snapshot_are_left_out() {
    let mut leader = leader_with_snapshot();
    let mut follower = follower(offer_of(&mut leader));
    for _ in 0..20 {
        for sent in follower.turn() {
            leader.hear(THIRD, sent.message);
        }
        for sent in leader.turn() {
            if let Message::SnapshotPiece(mut piece) = sent.message {
                piece.snapshot.index = piece.snapshot.index.previous();
                follower.hear(SECOND, Message::SnapshotPiece(piece));
            }
        }
        assert!(follower.take_snapshot().is_none());
        follower.wait();
    }
    fetch(&mut follower, &mut leader, |_| false);
}

/// The index that it would be installed at is that of another state.
#[test]
fn a_snapshot_under_a_wrong_name_is_left_out() {
    let mut leader = leader_with_snapshot();
    let offer = offer_of(&mut leader);
    let mut wrong = offer.snapshot;
    wrong.index = wrong.index.next();
    let mut follower = follower(SnapshotOffer { snapshot: wrong, ..offer });
    for _ in 0..40 {
        for sent in follower.turn() {
            if let Message::SnapshotRequest(mut request) = sent.message {
                request.snapshot = offer.snapshot;
                leader.hear(THIRD, Message::SnapshotRequest(request));
            }
        }
        for sent in leader.turn() {
            if let Message::SnapshotPiece(mut piece) = sent.message {
                piece.snapshot = wrong;
                follower.hear(SECOND, Message::SnapshotPiece(piece));
            }
        }
        assert!(follower.take_snapshot().is_none());
        follower.wait();
    }
}

/// Another leader has the same snapshot: the fetch goes on where it was.
#[test]
fn a_fetch_goes_on_from_another_leader() {
    let (mut first, mut second) = (leader_with_snapshot(), leader_with_snapshot());
    let (offer, other) = (offer_of(&mut first), offer_of(&mut second));
    assert_eq!(offer.snapshot, other.snapshot, "equal logs make equal snapshots");
    let mut follower = follower(offer);
    let asked = |said: &[Sent], of| {
        let requests = to_peer(said, of).into_iter();
        requests.filter(|message| matches!(message, Message::SnapshotRequest(_))).count()
    };
    assert!(asked(&follower.turn(), SECOND) > 0);
    let term = Term(offer.term.0 + 1);
    follower.hear(THIRD, heartbeat(term));
    follower.hear(THIRD, Message::SnapshotOffer(SnapshotOffer { term, ..other }));
    let said = follower.turn();
    assert!(asked(&said, THIRD) > 0 && asked(&said, SECOND) == 0, "{said:?}");
}

#[test]
fn what_does_not_lie_ahead_is_not_fetched() {
    let mut leader = leader_with_snapshot();
    let offer = offer_of(&mut leader);
    let mut snapshot = offer.snapshot;
    snapshot.index = LogIndex(1);
    let mut follower = follower(SnapshotOffer { snapshot, ..offer });
    assert!(!asks(&follower.turn()));
}

/// Whoever is asked for a snapshot may offer one. A node that took that for leading would refuse
/// the frames of whom the term's voters have elected.
#[test]
fn who_offers_a_snapshot_need_not_lead() {
    let offer = offer_of(&mut leader_with_snapshot());
    let mut probe = Probe::born(3);
    probe.hear(SECOND, Message::SnapshotOffer(offer));
    assert!(!asks(&probe.turn()));
    assert_eq!(probe.state().leader_id, None);
    probe.hear(THIRD, heartbeat(offer.term));
    assert_eq!(probe.state().leader_id, Some(THIRD));
    probe.hear(SECOND, Message::SnapshotOffer(offer));
    assert!(!asks(&probe.turn()), "it follows another");
    probe.hear(THIRD, Message::SnapshotOffer(offer));
    assert!(asks(&probe.turn()));
}

fn asks(said: &[Sent]) -> bool {
    said.iter().any(|sent| matches!(sent.message, Message::SnapshotRequest(_)))
}

/// Damage is mended by a snapshot of what is committed, but not while that ends between the
/// parts of an operation: whoever began with such a state could not execute it.
#[test]
fn no_snapshot_ends_between_the_parts_of_an_operation() {
    let mut probe = Probe::serving(3);
    for piece in pieces(session(1), &put("long", vec![b'x'; 2_000])) {
        probe.ask(1, Message::Request(piece));
    }
    probe.sync();
    let (first, last) = (LogIndex(3), probe.state().log.last_index());
    assert!(first < last, "the operation has parts");
    probe.acknowledge(SECOND, first);
    probe.sync();
    assert_eq!(probe.state().commit, first);
    probe.finds_damage();
    assert!(probe.take_snapshot().is_none());

    probe.acknowledge(SECOND, last);
    probe.sync();
    probe.finds_damage();
    assert_eq!(probe.take_snapshot().map(|snapshot| snapshot.index()), Some(last));
}

/// It led once, and wrote more than the snapshot covers, which nobody else has.
#[test]
fn a_longer_log_of_a_former_leader_gives_way_to_the_snapshot() {
    let mut former = Probe::born_with(limits());
    former.elect();
    former.ask_to_put(90);
    former.sync();
    let mut leader = Probe::born_with(limits());
    leader.hear(SECOND, heartbeat(former.state().term));
    leader.sync();
    let mut leader = with_snapshot(lead(leader));
    let offer = offer_of(&mut leader);
    assert!(former.state().log.last_index() > offer.snapshot.index);
    former.hear(SECOND, heartbeat(offer.term));
    former.sync();
    former.hear(SECOND, Message::SnapshotOffer(offer));
    fetch(&mut former, &mut leader, |_| false);
    former.snapshot_written();
    former.sync();
    let log = &former.state().log;
    assert_eq!((log.last_index(), log.last_term()), (offer.snapshot.index, offer.snapshot.term));
    assert_eq!(former.state().commit, offer.snapshot.index);
}
