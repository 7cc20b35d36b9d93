//! What a node's future depends on, as one number: so a model checker tells which of the nodes
//! that it has seen are alike.
//!
//! Times are left out, and whatever they alone decide: round trips, the numbers of packets and
//! the rounds of reads. So are the answers that clients wait for, which the log tells, and what
//! no model has: snapshots, reads, damaged directories. What is not synced yet is in the batches
//! that were taken; whoever holds those tells nodes apart by them.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::ReplicaNode;
use super::genesis::Genesis;
use super::peer::Peer;
use super::progress::Progress;
use super::state::ReplicaState;
use crate::types::LogIndex;

impl ReplicaNode {
    /// A digest of all that decides what the node does next, but for times.
    pub fn digest(&self) -> u64 {
        let into = &mut DefaultHasher::new();
        digest_state(&self.state, into);
        digest_genesis(&self.genesis, into);
        self.election.hash(into);
        self.catch_up.hash(into);
        self.replication.intake.hash(into);
        self.membership.readmitted_at.is_some().hash(into);
        into.finish()
    }
}

fn digest_state(state: &ReplicaState, into: &mut impl Hasher) {
    (state.role, state.term, state.leader_id, state.voted_for).hash(into);
    (&state.votes_received, state.life(), state.handing_over).hash(into);
    (state.commit, state.known_commit).hash(into);
    (state.leader_contact.is_some(), state.is_refused()).hash(into);
    let resumption = &state.resumption;
    (resumption.held, resumption.asks_until.is_some(), resumption.reborn_as).hash(into);
    (&state.sightings.seen, &state.sightings.unrecorded).hash(into);
    (&state.genesis, state.is_born().then(|| state.configuration())).hash(into);
    digest_log(state, into);
    for (id, peer) in &state.peers {
        id.hash(into);
        digest_peer(peer, into);
    }
}

/// An entry's chain value stands for all entries up to it.
fn digest_log(state: &ReplicaState, into: &mut impl Hasher) {
    let log = &state.log;
    (log.base().index, log.durable(), log.last_index()).hash(into);
    for index in log.base().index.0..=log.last_index().0 {
        (log.term_at(LogIndex(index)), log.chain_at(LogIndex(index))).hash(into);
    }
}

fn digest_peer(peer: &Peer, into: &mut impl Hasher) {
    (peer.life, peer.has_answered, &peer.retired).hash(into);
    peer.heard_at.is_some().hash(into);
    digest_progress(&peer.progress, into);
}

fn digest_progress(progress: &Progress, into: &mut impl Hasher) {
    (progress.matched, progress.durable, progress.first, progress.next).hash(into);
    (&progress.lost, progress.is_silent()).hash(into);
    progress.in_flight.hash(into);
}

fn digest_genesis(genesis: &Genesis, into: &mut impl Hasher) {
    (&genesis.accepted_by, genesis.completing).hash(into);
    for (id, heard) in &genesis.heard {
        (id, heard.directory, heard.standing, heard.contradiction.is_some()).hash(into);
    }
}
