//! What may be said only when it is durable, and is not said before.

use quorate::configuration::Configuration;
use quorate::disk::Record;
use quorate::replica::Batch;
use quorate::types::{GenesisId, LogIndex, ServerId, Term};
use quorate::wire::{Introduce, Message, Standing, VoteReply, VoteRequest};

use super::members::{FIRST, SECOND, THIRD, configuration, ids};
use super::probe::Probe;
use super::said::{Sent, to_peer};

#[test]
fn a_vote_leaves_when_it_is_durable() {
    let mut probe = Probe::born(3);
    probe.hear(SECOND, Message::VoteRequest(vote_request(Term(1))));
    assert_eq!(probe.turn(), []);
    let batch = probe.write();
    let vote = Record::HardState { term: Term(1), voted_for: Some(SECOND) };
    assert!(batch.records().contains(&vote));

    // Who asks again while the disk is busy is no earlier told.
    probe.hear(SECOND, Message::VoteRequest(vote_request(Term(1))));
    assert_eq!(probe.turn(), []);
    let granted = vote_reply(Term(1), true);
    probe.synced(batch);
    let said = probe.turn();
    assert_eq!(to_peer(&said, SECOND), [&Message::VoteReply(granted)]);
    assert_eq!(said.len(), 1);
}

#[test]
fn a_second_candidate_is_refused_at_once() {
    let mut probe = Probe::born(3);
    probe.hear(SECOND, Message::VoteRequest(vote_request(Term(1))));
    probe.hear(THIRD, Message::VoteRequest(vote_request(Term(1))));
    let refused = vote_reply(Term(1), false);
    let said = probe.turn();
    assert_eq!(to_peer(&said, THIRD), [&Message::VoteReply(refused)]);
    assert_eq!(said.len(), 1);
}

#[test]
fn a_candidate_asks_for_votes_when_its_own_is_durable() {
    let mut probe = Probe::born(3);
    while probe.state().term == Term(0) {
        let asked = probe.wait_and_sync();
        probe.grant(&asked);
    }
    assert_eq!(probe.turn(), []);
    let batch = probe.write();
    let vote = Record::HardState { term: Term(1), voted_for: Some(FIRST) };
    assert_eq!(batch.records().last(), Some(&vote));
    assert_eq!(probe.turn(), []);
    assert!(!probe.state().votes_received.contains(&FIRST), "its own vote counts then, too");

    probe.synced(batch);
    let request = Message::VoteRequest(vote_request(Term(1)));
    let said = probe.turn();
    assert_eq!(to_peer(&said, SECOND), [&request]);
    assert_eq!(to_peer(&said, THIRD), [&request]);
    assert_eq!(said.len(), 2);
    assert!(probe.state().votes_received.contains(&FIRST));
}

#[test]
fn a_genesis_is_accepted_when_that_is_durable() {
    let mut probe = Probe::founder(SECOND, 3);
    let proposed = configuration(3);
    probe.hear(FIRST, Message::GenesisPropose(proposed.clone()));
    assert_eq!(probe.turn(), []);
    let batch = probe.write();
    assert_eq!(batch.records(), [Record::GenesisAccepted(proposed.clone())]);
    probe.hear(FIRST, Message::GenesisPropose(proposed.clone()));
    assert_eq!(probe.turn(), []);

    probe.synced(batch);
    let said = probe.turn();
    assert_eq!(to_peer(&said, FIRST), [&Message::GenesisAccept(proposed.genesis)]);
    assert_eq!(said.len(), 1);
}

#[test]
fn a_genesis_is_proposed_when_it_is_durable() {
    let (mut probe, accepted, genesis) = accepting();
    assert_eq!(proposals(&probe.turn()), []);
    probe.synced(accepted);
    assert_eq!(proposals(&probe.turn()), [genesis.genesis; 2]);
}

/// That of the coordinator itself counts, too, when it is durable.
#[test]
fn a_birth_takes_the_acceptance_of_all() {
    for last in [FIRST, SECOND, THIRD] {
        let (mut probe, accepted, genesis) = accepting();
        let accept = Message::GenesisAccept(genesis.genesis);
        for peer in [SECOND, THIRD].into_iter().filter(|peer| *peer != last) {
            probe.hear(peer, accept.clone());
        }
        if last == FIRST {
            assert!(probe.has_nothing_to_write());
            probe.synced(accepted);
        } else {
            probe.synced(accepted);
            assert!(probe.has_nothing_to_write());
            probe.hear(last, accept);
        }
        assert_eq!(probe.write().records(), [Record::GenesisComplete(genesis)]);
    }
}

#[test]
fn a_birth_is_announced_when_it_is_durable() {
    let (mut probe, accepted, genesis) = accepting();
    for peer in [SECOND, THIRD] {
        probe.hear(peer, Message::GenesisAccept(genesis.genesis));
    }
    assert_eq!(probe.turn(), []);
    probe.synced(accepted);
    let said = probe.turn();
    assert_eq!(proposals(&said).len(), said.len(), "only late copies of the proposal");

    let complete = probe.write();
    assert_eq!(complete.records(), [Record::GenesisComplete(genesis.clone())]);
    assert_eq!(probe.turn(), []);
    assert!(!probe.state().is_born());
    probe.synced(complete);
    assert!(probe.state().is_born());
    let said = probe.turn();
    for peer in [SECOND, THIRD] {
        assert_eq!(to_peer(&said, peer), [&Message::GenesisComplete(genesis.clone())]);
    }
}

fn vote_reply(term: Term, granted: bool) -> VoteReply {
    VoteReply { term, pre_vote: false, granted, voter_term: term, lacks: false }
}

fn vote_request(term: Term) -> VoteRequest {
    let (last_index, last_term) = (LogIndex(1), Term(0));
    VoteRequest { term, pre_vote: false, transfer: false, last_index, last_term }
}

/// One of the nodes was born before, and the cluster that it belongs to may still be there.
#[test]
fn no_genesis_is_drawn_beside_a_born_node() {
    let mut probe = Probe::founder(FIRST, 3);
    hear_introduction(&mut probe, SECOND, Standing::Blank);
    hear_introduction(&mut probe, THIRD, Standing::Born(GenesisId(7)));
    probe.wait();
    assert!(probe.has_nothing_to_write());
    hear_introduction(&mut probe, THIRD, Standing::Blank);
    probe.wait();
    assert!(!probe.has_nothing_to_write(), "it waited for nothing else");
}

fn hear_introduction(probe: &mut Probe, from: ServerId, standing: Standing) {
    let list = ids(3).map(|id| (id, String::new())).collect();
    probe.hear(from, Message::Introduce(Introduce { standing, list }));
}

/// The lowest of three blank nodes, which has just drawn a genesis.
fn coordinator() -> Probe {
    let mut probe = Probe::founder(FIRST, 3);
    for peer in [SECOND, THIRD] {
        hear_introduction(&mut probe, peer, Standing::Blank);
    }
    probe.wait();
    assert_eq!(proposals(&probe.turn()), []);
    probe
}

/// The same, while its disk is busy with the acceptance of that genesis.
fn accepting() -> (Probe, Batch, Configuration) {
    let mut probe = coordinator();
    let accepted = probe.write();
    let [Record::GenesisAccepted(genesis)] = accepted.records() else { panic!("{accepted:?}") };
    let genesis = genesis.clone();
    (probe, accepted, genesis)
}

/// The genesis of each proposal.
fn proposals(said: &[Sent]) -> Vec<GenesisId> {
    let proposed = |sent: &Sent| match &sent.message {
        Message::GenesisPropose(configuration) => Some(configuration.genesis),
        _ => None,
    };
    said.iter().filter_map(proposed).collect()
}
