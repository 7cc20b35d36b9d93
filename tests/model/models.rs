//! The models: each with bounds so small that all of its states are seen.

use std::collections::BTreeMap;

use quorate::configuration::Configuration;
use quorate::types::GenesisId;
use quorate::wire::Message;

use super::actions::{Action, is_of_birth, is_of_catch_up, is_of_election, is_of_log, is_vote};
use super::cluster::{Cluster, Elections, Rules, State, all, place};
use super::disk::Disk;
use super::frames::Frame;
use super::node::ids;
use super::properties;

/// A cluster of three that does nothing yet.
fn still(name: &'static str) -> Rules {
    Rules {
        name,
        size: 3,
        eager: true,
        unsynced: 0,
        terms: 1,
        starts: 1,
        writes: 0,
        elections: Elections::None,
        candidates: all(3).collect(),
        crashes: Vec::new(),
        contacts: false,
        carries: |_| true,
        properties: properties::safety,
    }
}

/// One whose disks take their time, and where these nodes may lose their power once.
fn failing(name: &'static str, unsynced: usize, crashes: Vec<usize>) -> Rules {
    Rules { eager: false, unsynced, starts: 2, crashes, ..still(name) }
}

/// Elections with the question before them, whether a node would be elected.
pub fn pre_votes(terms: u64) -> Cluster {
    let rules = Rules { elections: Elections::Whole, ..still("pre-votes") };
    election(rules, terms)
}

/// Elections, frame by frame.
pub fn votes(terms: u64) -> Cluster {
    let rules = Rules { elections: Elections::Votes, ..still("votes") };
    election(rules, terms)
}

/// The same, where votes take their time to be durable, and are lost with the power.
pub fn votes_and_crashes(terms: u64, crashes: Vec<usize>) -> Cluster {
    let rules = failing("votes and crashes", 1, crashes);
    election(Rules { elections: Elections::Votes, ..rules }, terms)
}

fn election(rules: Rules, terms: u64) -> Cluster {
    let properties = if terms > 1 { properties::elections } else { properties::election };
    Cluster::new(
        Rules { terms, carries: |frame| is_of_election(&frame.message), properties, ..rules },
        born(3),
        start_all,
    )
}

/// Only the third node reaches the others. It lacks an entry of the first, which has led, and
/// one of the second, which leads, and which the others' logs contradict. So it must take over
/// the log of one of them before that one elects it, and give up that entry for the other's.
pub fn constrained_partition(terms: u64) -> Cluster {
    let rules = Rules {
        terms,
        elections: Elections::Whole,
        candidates: vec![2],
        carries: |frame| {
            let is_of_third = place(frame.to) == 2 || place(frame.from.node) == 2;
            is_of_third && (is_of_catch_up(&frame.message) || is_of_log(&frame.message))
        },
        properties: properties::catch_up,
        ..still("constrained partition")
    };
    Cluster::new(rules, born(3), |cluster, state| {
        lead(cluster, state);
        cluster.act(state, &Action::Write(0));
        cluster.elect(state, 1, 2);
    })
}

/// The third node has asked the first for what it lacks. Before the answer comes it has voted for
/// the second, and got an entry of that which is committed.
pub fn late_catch_up(terms: u64) -> Cluster {
    let rules = Rules {
        terms,
        elections: Elections::Whole,
        candidates: vec![2],
        carries: |frame| is_of_catch_up(&frame.message),
        properties: properties::late_catch_up,
        ..still("late catch-up")
    };
    Cluster::new(rules, born(3), |cluster, state| {
        lead(cluster, state);
        cluster.act(state, &Action::Write(0));
        let log_to = |to, state: &mut State| {
            cluster.pass_on(state, |frame| is_of_log(&frame.message) && place(frame.to) == to);
        };
        cluster.stand(state, 2);
        cluster.pass_on(state, |frame| is_vote(&frame.message, false));
        // The first leads no more: what it sends is answered with the term of the third.
        log_to(2, state);
        log_to(0, state);
        cluster.act(state, &Action::AskAround(2, vec![0]));
        cluster.pass_on(state, |frame| matches!(frame.message, Message::CatchUpRequest(_)));
        cluster.elect(state, 1, 2);
        log_to(2, state);
        log_to(1, state);
    })
}

/// The birth of a cluster, frame by frame.
pub fn birth() -> Cluster {
    of_birth(still("birth"))
}

/// The same of a cluster of two, where what they accept takes its time to be durable, and is lost
/// with the power.
pub fn birth_and_crashes(crashes: Vec<usize>) -> Cluster {
    of_birth(Rules { size: 2, ..failing("birth and crashes", 1, crashes) })
}

fn of_birth(rules: Rules) -> Cluster {
    let blank = ids(rules.size).map(|id| Disk::blank(id, 0)).collect();
    let rules = Rules {
        carries: |frame| is_of_birth(&frame.message),
        properties: properties::birth,
        ..rules
    };
    Cluster::new(rules, blank, start_all)
}

/// The third node has lost its disk, and is taken back.
pub fn readmission() -> Cluster {
    of_readmission(still("readmission"))
}

/// The same, where what is written takes its time to be durable, and is lost with the power.
pub fn readmission_and_crashes(crashes: Vec<usize>) -> Cluster {
    of_readmission(failing("readmission and crashes", 1, crashes))
}

fn of_readmission(rules: Rules) -> Cluster {
    let rules = Rules {
        contacts: true,
        carries: |frame| is_of_log(&frame.message),
        properties: properties::readmission,
        ..rules
    };
    Cluster::new(rules, born(3), |cluster, state| {
        lead(cluster, state);
        lose_disk(cluster, state);
    })
}

/// The third node has voted for the second, and loses its disk while its vote is under way. The
/// leader hears the third, and not the second.
pub fn readmission_in_an_election() -> Cluster {
    let rules = Rules {
        terms: 2,
        contacts: true,
        carries: |frame| {
            let is_for_candidate = place(frame.to) == 1;
            match frame.message {
                Message::VoteRequest(_) => true,
                Message::VoteReply(vote) => vote.granted,
                _ => is_of_log(&frame.message) && !is_for_candidate && place(frame.from.node) != 1,
            }
        },
        properties: properties::elections,
        ..still("readmission in an election")
    };
    Cluster::new(rules, born(3), |cluster, state| {
        lead(cluster, state);
        cluster.stand(state, 1);
        for frame in cluster.votes_between(state, 1, 2, false) {
            cluster.act(state, &Action::Deliver(frame));
        }
        lose_disk(cluster, state);
    })
}

/// The third node loses its disk, and meets the others again.
fn lose_disk(cluster: &Cluster, state: &mut State) {
    cluster.act(state, &Action::Wipe(2));
    cluster.act(state, &Action::Start(2));
    cluster.introduce(state, 2);
}

/// A leader, its followers, and what clients write, under one leader after the other.
pub fn replication(terms: u64, writes: u8) -> Cluster {
    of_log(Rules { terms, writes, ..still("replication") })
}

/// The same, where entries take their time to be durable, and are lost with the power.
pub fn replication_and_crashes(terms: u64, writes: u8, crashes: Vec<usize>) -> Cluster {
    of_log(Rules { terms, writes, ..failing("replication and crashes", 2, crashes) })
}

fn of_log(rules: Rules) -> Cluster {
    let properties = match (rules.writes, rules.terms) {
        (0, _) => properties::successions,
        // That it is committed is told with the next entry, or by the next leader.
        (1, 1) => properties::answers,
        _ => properties::writes,
    };
    let carries = |frame: &Frame| is_of_log(&frame.message);
    let rules = Rules { elections: Elections::Swift, carries, properties, ..rules };
    Cluster::new(rules, born(3), lead)
}

fn genesis(size: usize) -> Configuration {
    let members: BTreeMap<_, _> = ids(size).map(|id| (id, Disk::blank(id, 0).directory)).collect();
    Configuration::at_genesis(GenesisId(42), members)
}

fn born(size: usize) -> Vec<Disk> {
    ids(size).map(|id| Disk::born(id, &genesis(size))).collect()
}

fn start_all(cluster: &Cluster, state: &mut State) {
    for node in all(cluster.rules.size) {
        cluster.act(state, &Action::Start(node));
        cluster.sync_all(state, node);
    }
}

/// The first node leads, and all have what begins its term.
fn lead(cluster: &Cluster, state: &mut State) {
    start_all(cluster, state);
    cluster.elect(state, 0, 1);
    cluster.settle(state);
}
