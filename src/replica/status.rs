//! What a node says of itself.

use std::time::Duration;

use super::ReplicaNode;
use super::peer::Peer;
use super::state::ReplicaState;
use crate::access::Denials;
use crate::disk::GenesisState;
use crate::link::{Heard, Link};
use crate::time::{Instant, micros, short_micros};
use crate::types::{LogIndex, NODES_MAX, ServerId};
use crate::wire::{
    DiskStatus, KeyRequest, KeyStanding, NodeStatus, PeerStatus, PeerTraffic, Role, Traffic,
};

impl ReplicaNode {
    /// How the node is.
    pub fn status(&self, nonce: u64, now: Instant) -> NodeStatus {
        let state = &self.state;
        let committed = state.store.committed();
        NodeStatus {
            nonce,
            id: state.server_id,
            cluster: state.identity.cluster.clone(),
            genesis: match &state.genesis {
                GenesisState::Complete(configuration) => Some(configuration.genesis),
                GenesisState::Blank | GenesisState::Accepted(_) => None,
            },
            directory: state.identity.directory,
            incarnation: state.incarnation,
            role: state.role,
            voter: state.is_voter(),
            sealed: state.access.is_sealed(),
            term: state.term,
            leader_id: state.leader_id,
            last_index: state.log.last_index(),
            commit_index: state.commit,
            durable_index: state.log.durable(),
            keys: committed.key_count() as u64,
            sessions: u32::try_from(committed.sessions().session_count()).unwrap_or(u32::MAX),
            uptime: micros(now.since(self.started_at)),
            longest_turn: self.longest_turn,
            dropped: state.dropped.iter().map(|(cause, count)| (cause.code(), *count)).collect(),
            disk: self.disk_status(),
            peers: state
                .peers
                .iter()
                .take(NODES_MAX)
                .map(|(id, peer)| peer_status(*id, peer, state, now))
                .collect(),
        }
    }

    /// What clients were denied.
    pub fn denials(&self) -> Denials {
        self.effects.denials
    }

    /// What has come of the frames between this node and the others.
    pub fn traffic(&self, nonce: u64) -> Traffic {
        let peers = self.state.peers.iter().take(NODES_MAX);
        Traffic {
            nonce,
            id: self.state.server_id,
            port: self.port,
            repeated_answers: self.later_answers.repeated(),
            denied: self.denials().into(),
            peers: peers.map(|(id, peer)| peer_traffic(*id, &peer.link)).collect(),
        }
    }

    /// How a key stands at the node.
    pub(super) fn key_standing(&self, request: KeyRequest) -> KeyStanding {
        let KeyRequest { nonce, key } = request;
        let Self { state, .. } = self;
        let peers = state.peers.iter().take(NODES_MAX).map(|(id, peer)| (*id, peer.key));
        let taken = state.access.holds(key);
        KeyStanding { nonce, id: state.server_id, key, taken, peers: peers.collect() }
    }

    fn disk_status(&self) -> DiskStatus {
        let state = &self.state;
        DiskStatus {
            snapshot_index: state.snapshots.durable_index(),
            free: state.space.free(),
            low: state.space.is_low(),
            missing_from: state.in_doubt.is_there().then(|| state.log.last_index().next()),
            fetching: self.snapshots.fetching(),
            scrub: self.scrub,
        }
    }

    /// Whom the node waits for, as a sentence; none when it serves.
    pub fn waiting_for(&self) -> Option<String> {
        let state = &self.state;
        let now = self.effects.now;
        if !state.is_born() {
            return Some(self.genesis.waiting_for(state, now));
        }
        if state.leader_id.is_some() {
            return None;
        }
        if let Some(damage) = damage(state) {
            return Some(damage);
        }
        // Who has only just started cannot tell silence from a pause.
        let started = now.since(self.started_at) <= 2 * state.election_timeout;
        let silent = if started { Vec::new() } else { silent_members(state, now) };
        let term = state.term;
        Some(if silent.is_empty() {
            format!("no node leads in term {term} yet: an election is under way")
        } else {
            let (nodes, verb) = if silent.len() == 1 { ("node", "is") } else { ("nodes", "are") };
            format!(
                "no node leads in term {term}: {nodes} {} {verb} silent, and {} of {} must vote",
                enumerate(&silent),
                state.configuration().majority(),
                state.configuration().members.len(),
            )
        })
    }
}

/// What a node lacks since its disk was damaged.
fn damage(state: &ReplicaState) -> Option<String> {
    if !state.in_doubt.is_there() {
        return None;
    }
    let first = state.log.last_index().next();
    let entries = match state.in_doubt.missing_to() {
        Some(last) if last > first => format!("entries {first} to {last}"),
        Some(_) => format!("entry {first}"),
        None => format!("entries from {first} on"),
    };
    Some(format!(
        "{entries} of the log cannot be read on this disk, and no node that answers has what is \
         missing; start the nodes that are down, since a copy may be there"
    ))
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

fn peer_status(id: ServerId, peer: &Peer, state: &ReplicaState, now: Instant) -> PeerStatus {
    let round_trip = peer.link.round_trip().smoothed();
    let leads = state.role == Role::Leader;
    PeerStatus {
        id,
        address: peer.address,
        voter: state.is_voting_peer(id),
        listed: state.configuration().lists(id),
        key: peer.key,
        heard_age: peer.heard_at.map(|at| millis(now.since(at))),
        round_trip: round_trip.map(short_micros),
        matched: if leads { peer.progress.matched } else { LogIndex(0) },
        durable: if leads { peer.progress.durable } else { LogIndex(0) },
        retransmitted: peer.progress.retransmitted,
        falls_behind: leads && peer.progress.pace.falls_behind(peer.progress.matched),
    }
}

fn peer_traffic(id: ServerId, link: &Link) -> PeerTraffic {
    let Heard { arrived, lost, doubled, late } = link.heard();
    PeerTraffic {
        id,
        sent: link.sent(),
        copies: link.copies(),
        arrived,
        lost,
        doubled,
        late,
        losses: link.losses(),
    }
}

/// The other members that were not heard for two election timeouts.
pub fn silent_members(state: &ReplicaState, now: Instant) -> Vec<ServerId> {
    let is_silent = |id: &ServerId| {
        let heard_at = state.peers.get(id).and_then(|peer| peer.heard_at);
        heard_at
            .is_none_or(|at| now.since(at) > 2 * state.timeout_of(*id).max(state.election_timeout))
    };
    let others = state.configuration().members.keys().filter(|id| **id != state.server_id);
    others.filter(|id| is_silent(id)).copied().collect()
}

/// "1", "1 and 2", "1, 2 and 3".
pub fn enumerate(nodes: &[ServerId]) -> String {
    match nodes {
        [] => String::new(),
        [one] => one.to_string(),
        [others @ .., last] => {
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            format!("{} and {last}", others.join(", "))
        }
    }
}
