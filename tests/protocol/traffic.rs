//! Each frame is counted for what came of it, by the node that knows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::entry::Entry;
use quorate::types::{LogIndex, LossShare, ServerId, Term};
use quorate::wire::{DropCause, Header, Message, PeerTraffic, TrafficRequest};

use super::client;
use super::leader::{heartbeat, noop_after, replicate};
use super::members::{FIRST, SECOND, THIRD, address_of, configuration, directory_of, ids};
use super::net::{Fate, Journal, Net};
use super::probe::Probe;
use super::request::{put, request, session};
use super::said::{Sent, to_peer};

/// How many frames of each way were sent, lost, doubled and delayed.
type Counts = BTreeMap<(ServerId, ServerId), [u64; 4]>;

/// So many frames of each way are disturbed, and those after them are not.
const DISTURBED: u64 = 1_000;

#[test]
fn losses_doubles_and_late_comers_are_counted_exactly() {
    let mut net = Net::new(3);
    for id in ids(3) {
        net.start(id, Journal::blank(id, directory_of(id)));
    }
    net.run(Duration::from_secs(5));
    let leader = net.leader().expect("one leads");
    let before = counted(&mut net);
    let fates = Arc::new(Mutex::new(Counts::new()));
    let shared = Arc::clone(&fates);
    net.disturb(move |from, to| {
        decide(shared.lock().expect("nobody panics with it").entry((from, to)).or_default())
    });
    net.run(Duration::from_secs(60));
    let after = counted(&mut net);
    let fates = fates.lock().expect("nobody panics with it");
    for (&(from, to), &[sent, lost, doubled, late]) in fates.iter() {
        if from != leader && to != leader {
            continue;
        }
        assert!(sent > DISTURBED, "{from} to {to}: {sent}");
        let since = |of: fn(&PeerTraffic) -> u64, way| of(&after[&way]) - of(&before[&way]);
        assert_eq!(since(|peer| peer.sent, (from, to)), sent, "{from} to {to}");
        let heard = (to, from);
        assert_eq!(since(|peer| peer.arrived, heard), sent - lost, "{from} to {to}");
        assert_eq!(since(|peer| peer.lost, heard), lost, "{from} to {to}");
        assert_eq!(since(|peer| peer.doubled, heard), doubled, "{from} to {to}");
        assert_eq!(since(|peer| peer.late, heard), late, "{from} to {to}");
        assert!(lost == 100 && doubled == 100 && late == 100, "{from} to {to}: {fates:?}");
    }
    assert_eq!(net.leader(), Some(leader));
}

/// A node tells in each frame how many it misses, and so the other learns what is lost.
#[test]
fn whoever_sends_is_told_how_much_is_lost() {
    let mut net = Net::new(3);
    for id in ids(3) {
        net.start(id, Journal::blank(id, directory_of(id)));
    }
    net.run(Duration::from_secs(5));
    let leader = net.leader().expect("one leads");
    let mut sent = 0_u32;
    net.disturb(move |from, _| {
        sent += u32::from(from == leader);
        if from == leader && sent.is_multiple_of(4) { Fate::Lost } else { Fate::Arrives }
    });
    net.run(Duration::from_secs(60));
    for peer in net.traffic(leader).peers {
        let [there, back] = peer.losses;
        assert!((40..90).contains(&there.0), "a quarter of 256, and not {}", there.0);
        assert_eq!(back.0, 0);
    }
}

/// Of ten frames one is lost, one comes twice, and one comes so late that it counts as lost
/// before.
fn decide([sent, lost, doubled, late]: &mut [u64; 4]) -> Fate {
    *sent += 1;
    let (count, fate) = match *sent % 10 {
        2 => (lost, Fate::Lost),
        5 => (doubled, Fate::Twice),
        8 => (late, Fate::Late(100)),
        _ => return Fate::Arrives,
    };
    if *sent > DISTURBED {
        return Fate::Arrives;
    }
    *count += 1;
    fate
}

/// What each node has counted of each other, once no frame is on its way.
fn counted(net: &mut Net) -> BTreeMap<(ServerId, ServerId), PeerTraffic> {
    while !net.is_quiet() {
        net.run(Duration::from_millis(1));
    }
    let of_node = |id| net.traffic(id).peers.into_iter().map(move |peer| ((id, peer.id), peer));
    ids(3).flat_map(of_node).collect()
}

fn loses_a_fifth(header: &mut Header) {
    header.loss = LossShare(51);
}

fn counts_of(probe: &Probe, peer: ServerId) -> PeerTraffic {
    *probe.traffic().peers.iter().find(|known| known.id == peer).expect("a peer")
}

/// Where every fifth frame is lost, entries are sent twice to begin with.
#[test]
fn a_leader_tells_copies_from_what_it_sends_again() {
    let mut probe = Probe::serving(3);
    let known = Message::Acknowledge(probe.acknowledgment(LogIndex(2)));
    probe.hear_altered(SECOND, loses_a_fifth, known);
    probe.sync();
    let before = counts_of(&probe, SECOND);
    assert_eq!((before.copies, before.losses[0]), (0, LossShare(51)));

    probe.ask(1, Message::Request(request(session(1), &put("key", "value"))));
    let said = probe.sync();
    let to = |peer| to_peer(&said, peer).len() as u64;
    assert_eq!((to(SECOND), to(THIRD)), (2, 1));
    let after = counts_of(&probe, SECOND);
    assert_eq!((after.sent - before.sent, after.copies), (2, 1));
    assert_eq!(counts_of(&probe, THIRD).copies, 0);

    // Nobody answers: what is sent again now is no copy, but has one.
    let retransmitted = |probe: &Probe| probe.state().peers[&SECOND].progress.retransmitted;
    assert_eq!(retransmitted(&probe), 0);
    while retransmitted(&probe) == 0 {
        probe.wait_and_sync();
    }
    assert_eq!((retransmitted(&probe), counts_of(&probe, SECOND).copies), (1, 2));
    // Another term forgets what was on the way, and not what was counted.
    probe.hear(THIRD, heartbeat(Term(7)));
    probe.sync();
    assert!(retransmitted(&probe) > 0);
}

#[test]
fn a_follower_counts_the_copies_of_its_acknowledgments() {
    let mut probe = Probe::born(3);
    let genesis = Entry::genesis(&configuration(3));
    probe.hear(SECOND, heartbeat(Term(1)));
    probe.sync();
    let entry = noop_after(&genesis, Term(1));
    let entries = replicate(Term(1), &genesis, &entry, LogIndex(1));
    probe.hear_altered(SECOND, loses_a_fifth, entries);
    let said = probe.sync();
    let acknowledged = to_peer(&said, SECOND);
    let (last, others) = acknowledged.split_last().expect("it acknowledges");
    let copies = others.iter().filter(|other| *other == last).count();
    assert_eq!(copies, 1, "{said:?}");
    assert_eq!(counts_of(&probe, SECOND).copies, 1);
}

/// What is sealed, and comes again, is turned away by the seal before a node sees it.
#[test]
fn a_datagram_of_a_peer_that_is_turned_away_as_a_repetition_is_a_double() {
    let mut probe = Probe::born(3);
    for cause in [DropCause::Replay, DropCause::Checksum, DropCause::Replay] {
        probe.turned_away(address_of(SECOND), cause);
    }
    probe.turned_away(client::address(1), DropCause::Replay);
    assert_eq!(counts_of(&probe, SECOND).doubled, 2);
    assert_eq!(counts_of(&probe, THIRD).doubled, 0);
    assert_eq!(probe.state().dropped[&DropCause::Replay], 3);
}

#[test]
fn whoever_asks_is_told_what_became_of_frames() {
    let mut probe = Probe::leading(3);
    probe.sync();
    let told = probe.traffic();
    assert_eq!((told.id, told.peers.len()), (FIRST, 2));
    probe.ask(5, Message::TrafficRequest(TrafficRequest { nonce: 0 }));
    let said = probe.turn();
    assert!(said.contains(&Sent { to: client::address(5), message: Message::Traffic(told) }));
}
