//! Whom a node knows: the nodes that its flags list, those that came by the log, and those that
//! it was told of or has met.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Effects, Peer, ReplicaState};
use crate::configuration::Configuration;
use crate::disk::GenesisState;
use crate::link::Timing;
use crate::store::State;
use crate::time::Instant;
use crate::types::{NODES_MAX, PacketNumber, ServerId};
use crate::wire::{GenesisHash, Header};

/// More than a node can send to another.
const PACKETS_PER_MICROSECOND_MAX: u64 = 16;

impl ReplicaState {
    /// Those who came by the log are peers as long as it says so.
    pub fn meet_peers(&mut self, fx: &mut Effects) {
        if self.met != self.naming_configurations() {
            self.gather_peers(fx);
        }
    }

    /// The configurations whose nodes are peers: the one that is committed, and the one in force.
    ///
    /// docs/guarantees.md: "a leader that is removed leads until that is committed". Its followers
    /// must hear and answer it until then.
    fn naming_configurations(&self) -> [Arc<Configuration>; 2] {
        [self.store.committed(), self.store.tentative()].map(State::shared_configuration)
    }

    /// A node may go and come again in one life of this one, and its packets must not look
    /// older to it than those before. No node sends so many in a microsecond.
    fn first_packet_of_link(&self, now: Instant) -> PacketNumber {
        PacketNumber(self.first_packet.0 + now.0 * PACKETS_PER_MICROSECOND_MAX)
    }

    /// Another node tells of those who came by the log. Who was met before stays: each tells of
    /// those that its own log names, and that may be others.
    pub fn be_told_of(&mut self, mut told: BTreeMap<ServerId, SocketAddr>, fx: &mut Effects) {
        for (id, address) in &self.told {
            if told.len() < NODES_MAX {
                told.entry(*id).or_insert(*address);
            }
        }
        if self.told != told {
            self.told = told;
            self.gather_peers(fx);
        }
    }

    /// A node is heard that is neither listed nor in the log. Where this node may lack who came by
    /// the log it is believed to be one of them: else nobody could be asked for what is missing,
    /// and no leader be followed. Votes and quorums go by the log all the same.
    pub fn be_introduced_to(
        &mut self,
        header: &Header,
        address: SocketAddr,
        key: u16,
        fx: &mut Effects,
    ) {
        let has_room = self.peers.len() < NODES_MAX && header.sender != self.server_id;
        if has_room && self.may_lack_others() && self.is_of_its_birth(header) {
            self.told.insert(header.sender, address);
            self.gather_peers(fx);
            if let Some(peer) = self.peers.get_mut(&header.sender) {
                peer.key = key;
            }
        }
    }

    /// The node that is known to be at the address.
    pub fn node_at(&self, address: SocketAddr) -> Option<ServerId> {
        let mut peers = self.peers.iter();
        peers.find(|(_, peer)| peer.address == address).map(|(id, _)| *id)
    }

    /// Whether others may have come by a part of the log that this node has lost, has not got, or
    /// has never had.
    fn may_lack_others(&self) -> bool {
        let waits_in_vain = self.leader_id.is_none() && self.attempts > 0;
        !self.is_born() || self.in_doubt.is_there() || waits_in_vain
    }

    /// Whether the frame is of the cluster that this node belongs to; if it belongs to none yet,
    /// of any.
    fn is_of_its_birth(&self, header: &Header) -> bool {
        match &self.genesis {
            GenesisState::Complete(own) => GenesisHash::of(own.genesis) == header.genesis,
            GenesisState::Blank | GenesisState::Accepted(_) => {
                header.genesis != GenesisHash::default()
            }
        }
    }

    /// As leader: its log names all who ever came, as far as that is committed. Of those who were
    /// there from the beginning it does not say where they are.
    pub fn forget_told(&mut self, fx: &mut Effects) {
        let configuration = self.store.tentative().shared_configuration();
        let lacks_address = |id: &ServerId| !configuration.addresses.contains_key(id);
        let count = self.told.len();
        self.told.retain(|id, _| configuration.lists(*id) && lacks_address(id));
        if self.told.len() < count {
            self.gather_peers(fx);
        }
    }

    /// Meets those that are new, and forgets those that nothing names any more.
    pub(super) fn gather_peers(&mut self, fx: &mut Effects) {
        let configurations = self.naming_configurations();
        let mut known = self.told.clone();
        for configuration in &configurations {
            known.extend(&configuration.addresses);
        }
        for (id, address) in &self.listed {
            let logged = self.configuration().addresses.get(id);
            known.insert(*id, *address);
            if logged.is_some_and(|logged| logged != address) {
                log::warn!(
                    "node {}: node {id} joined at another address than the flags give, {address}; \
                     that of the flags is used",
                    self.server_id
                );
            }
        }
        known.remove(&self.server_id);
        self.peers.retain(|id, peer| known.get(id) == Some(&peer.address));
        let (next, first_packet) =
            (self.log.last_index().next(), self.first_packet_of_link(fx.now));
        let timing = Timing::new(self.pinned, self.election_timeout);
        for (id, address) in known {
            let peer = || Peer::new(address, first_packet, timing.clone(), next, fx.now);
            self.peers.entry(id).or_insert_with(peer);
        }
        self.met = configurations;
    }
}
