//! What a node tells of itself and of the others: to its log, and to whoever asks.

use std::time::Duration;

use quorate::disk::LogEnd;
use quorate::entry::Entry;
use quorate::replica::{ELECTION_TIMEOUT, Room};
use quorate::types::{LogIndex, ServerId, Term};
use quorate::wire::{
    CatchUpRequest, Introduce, Message, PortStatus, ScrubStatus, Standing, TurnTimes,
};

use super::leader::{heartbeat, noop_after};
use super::members::{FIRST, SECOND, THIRD, configuration, ids};
use super::probe::Probe;

fn waiting_for(probe: &mut Probe) -> String {
    probe.node().waiting_for().expect("it waits")
}

#[test]
fn who_waits_for_a_leader_says_whom_it_misses() {
    let mut probe = Probe::born(5);
    let under_way = "no node leads in term 0 yet: an election is under way";
    assert_eq!(waiting_for(&mut probe), under_way);
    probe.pass(ELECTION_TIMEOUT * 5);
    probe.time_out();
    let silent = "no node leads in term 0: nodes 2, 3, 4 and 5 are silent, and 3 of 5 must vote";
    assert_eq!(waiting_for(&mut probe), silent);
    let speak = |probe: &mut Probe, from| {
        probe.hear(from, Message::CatchUpRequest(CatchUpRequest { first: LogIndex(1) }));
    };
    ids(4).skip(1).for_each(|id| speak(&mut probe, id));
    let silent = "no node leads in term 0: node 5 is silent, and 3 of 5 must vote";
    assert_eq!(waiting_for(&mut probe), silent);
    speak(&mut probe, ServerId(5));
    assert_eq!(waiting_for(&mut probe), under_way);
    probe.hear(SECOND, heartbeat(Term(1)));
    assert_eq!(probe.node().waiting_for(), None);
}

#[test]
fn who_was_damaged_says_what_it_lacks() {
    let mut log = vec![Entry::genesis(&configuration(3))];
    for _ in 0..5 {
        log.push(noop_after(log.last().expect("the genesis"), Term(1)));
    }
    let lacks = |kept: &[Entry], aside: &[Entry], upto: Option<LogEnd>| {
        let mut probe = Probe::damaged(3, kept, aside, upto);
        let sentence = waiting_for(&mut probe);
        let end = " of the log cannot be read on this disk, and no node that answers has what is \
                   missing; start the nodes that are down, since a copy may be there";
        sentence.strip_suffix(end).expect("it says what to do").to_owned()
    };
    let upto = Some((Term(1), LogIndex(6)));
    assert_eq!(lacks(&log[1..2], &log[4..], upto), "entries 3 to 4");
    assert_eq!(lacks(&log[1..3], &log[4..], upto), "entry 4");
    assert_eq!(lacks(&log[1..2], &[], None), "entries from 3 on");
}

#[test]
fn who_waits_for_the_birth_says_whom_it_misses() {
    let introduce = |typed: &str| {
        let list = ids(3).map(|id| (id, typed.to_owned())).collect();
        Message::Introduce(Introduce { standing: Standing::Blank, list })
    };
    let misses = |who: &str| {
        format!("the cluster is not born yet: it takes all 3 listed nodes, and {who} not answered")
    };
    let mut probe = Probe::founder(SECOND, 3);
    assert_eq!(waiting_for(&mut probe), misses("nodes 1 and 3 have"));
    probe.hear(FIRST, introduce(""));
    assert_eq!(waiting_for(&mut probe), misses("node 3 has"));
    probe.hear(THIRD, introduce(""));
    let agreeing = "the cluster is not born yet: the nodes are agreeing on its birth";
    assert_eq!(waiting_for(&mut probe), agreeing);
    assert_eq!(probe.node().contradicted(), None);
    probe.pass(Duration::from_secs(60));
    probe.time_out();
    assert_eq!(waiting_for(&mut probe), misses("nodes 1 and 3 have"));
}

#[test]
fn who_lists_other_nodes_than_the_others_says_so() {
    let mut probe = Probe::blank(SECOND, 3);
    probe.wait_and_sync();
    for node in [FIRST, THIRD] {
        let list = ids(2).map(|id| (id, String::new())).collect();
        let introduce = Introduce { standing: Standing::Blank, list };
        probe.hear(node, Message::Introduce(introduce));
    }
    let sentence = "node 1 lists other nodes than this one: it has 1 2, and here stands 1 2 3; \
                    start all nodes with the same --peer list";
    assert_eq!(probe.node().contradicted().as_deref(), Some(sentence));
    assert_eq!(waiting_for(&mut probe), sentence);
}

#[test]
fn the_status_shows_what_the_process_has_measured() {
    let mut probe = Probe::serving(3);
    assert_eq!(probe.status().disk.free, None);
    let scrub = ScrubStatus { passed_age: Some(5), damaged: 2, repaired: 1 };
    let longest = TurnTimes { wall: 7, cpu: 3 };
    let port = PortStatus { refused: 3, unsent: 4, ..probe.traffic().port };
    probe.has_room(Room { free: 123_456_789, all: u64::MAX });
    probe.node().on_scrub(scrub);
    probe.node().on_turn_times(longest);
    probe.node().on_port(port);
    let status = probe.status();
    assert_eq!((status.disk.free, status.disk.scrub), (Some(123_456_789), scrub));
    assert_eq!((status.longest_turn, probe.traffic().port), (longest, port));
}

#[test]
fn the_status_shows_how_far_others_are_as_the_leader_knows() {
    let mut probe = Probe::serving(3);
    probe.pass(Duration::from_millis(7));
    let peer = probe.status().peers[0].clone();
    assert_eq!((peer.id, peer.heard_age), (SECOND, Some(7)));
    assert_eq!((peer.matched, peer.durable), (LogIndex(2), LogIndex(2)));
    assert!(!peer.falls_behind);
    probe.hear(THIRD, heartbeat(Term(9)));
    let peer = probe.status().peers[0].clone();
    assert_eq!((peer.matched, peer.durable), (LogIndex(0), LogIndex(0)), "it leads no more");
}
