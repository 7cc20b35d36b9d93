//! What a node tells of its timeouts is what it goes by.

use std::time::Duration;

use quorate::replica::HEARTBEAT_INTERVAL;
use quorate::types::{LogIndex, LossShare, ServerId, Term};
use quorate::wire::{Judgment, Message, TimeoutBasis, TimeoutsRequest};

use super::client;
use super::leader::heartbeat;
use super::members::{SECOND, directory_of, ids};
use super::net::{Journal, Net};
use super::probe::Probe;
use super::said::Sent;

/// It has nobody to tell that it lives.
#[test]
fn who_leads_alone_is_seldom_called() {
    let mut probe = Probe::serving(1);
    let begun = probe.now;
    for _ in 0..10 {
        probe.wait_and_sync();
    }
    assert!(probe.now.since(begun) >= HEARTBEAT_INTERVAL * 9);
}

/// On a way of a millisecond, without losses: a round trip takes two, five rounds in a row are
/// taken to be lost, and the interval is (50 + 6 x 2) / 5 ms.
#[test]
fn a_leader_tells_of_all_and_a_follower_of_its_leader() {
    let mut net = Net::new(3);
    for id in ids(3) {
        net.start(id, Journal::blank(id, directory_of(id)));
    }
    net.run(Duration::from_secs(10));
    let leader = net.leader().expect("one leads");
    for id in ids(3) {
        let told = net.state(id).timeouts(7);
        assert_eq!((told.nonce, told.id, told.leader_id), (7, id, Some(leader)));
        assert_eq!((told.pinned_timeout, told.pinned_interval), (None, None));
        let others: Vec<ServerId> = told.peers.iter().map(|peer| peer.id).collect();
        assert_eq!(others, ids(3).filter(|other| *other != id).collect::<Vec<_>>());
        for peer in &told.peers {
            assert_eq!(peer.judgment.is_some(), id == leader || peer.id == leader, "{peer:?}");
            let Some(judgment) = peer.judgment else { continue };
            assert!(peer.enough && !peer.congested, "{peer:?}");
            assert_eq!((peer.round_trip, peer.losses), (Some(2_000), [LossShare(0); 2]));
            // That was before the interval was tuned.
            assert_eq!(peer.longest_silence, 40_000);
            let timeout = 50_000 + 2_000 + 4 * peer.variation + 5 * 12_400;
            let basis = TimeoutBasis::Formula;
            assert_eq!(judgment, Judgment { rounds: 5, interval: 12_400, timeout, basis });
            assert_eq!(told.election_timeout, timeout);
        }
    }
}

/// Whoever did not run heard nobody, whoever spoke: that says nothing of its leader, whether what
/// is due or what has come is taken up first.
#[test]
fn a_follower_learns_how_long_its_leader_is_silent_and_not_how_long_it_sleeps() {
    let mut probe = Probe::born(3);
    for _ in 0..5 {
        hear_leader(&mut probe);
        probe.pass(Duration::from_millis(10));
        probe.time_out();
    }
    for wakes_by_a_timer in [false, true] {
        hear_leader(&mut probe);
        probe.pass(Duration::from_millis(300));
        if wakes_by_a_timer {
            probe.time_out();
        }
        hear_leader(&mut probe);
        assert_eq!(longest_silence_of_second(&probe), 10_000, "{wakes_by_a_timer}");
    }
    let silent_until = probe.now + Duration::from_millis(100);
    while probe.now < silent_until {
        probe.wait();
    }
    hear_leader(&mut probe);
    assert!(longest_silence_of_second(&probe) >= 100_000);
}

fn hear_leader(probe: &mut Probe) {
    probe.hear(SECOND, heartbeat(Term(1)));
    probe.turn();
}

fn longest_silence_of_second(probe: &Probe) -> u32 {
    let told = probe.state().timeouts(7);
    let second = told.peers.iter().find(|peer| peer.id == SECOND);
    second.expect("a peer").longest_silence
}

/// Any of them may lead next, and would be waited for the longer when it dies.
#[test]
fn a_leader_does_not_learn_how_long_it_sleeps_either() {
    let mut probe = Probe::serving(3);
    let hear_follower = |probe: &mut Probe| {
        probe.acknowledge(SECOND, LogIndex(2));
        probe.turn();
    };
    for _ in 0..5 {
        hear_follower(&mut probe);
        probe.pass(Duration::from_millis(10));
        probe.time_out();
    }
    for wakes_by_a_timer in [false, true] {
        hear_follower(&mut probe);
        let before = longest_silence_of_second(&probe);
        probe.pass(Duration::from_millis(300));
        if wakes_by_a_timer {
            probe.time_out();
        }
        hear_follower(&mut probe);
        assert_eq!(longest_silence_of_second(&probe), before, "{wakes_by_a_timer}");
    }
}

#[test]
fn whoever_asks_is_told() {
    let mut probe = Probe::leading(3);
    probe.ask(5, Message::TimeoutsRequest(TimeoutsRequest { nonce: 8 }));
    let told = Message::Timeouts(probe.state().timeouts(8));
    let said = probe.turn();
    assert!(said.contains(&Sent { to: client::address(5), message: told }), "{said:?}");
}
