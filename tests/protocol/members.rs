//! Who the nodes of these tests are.

use std::net::SocketAddr;

use quorate::configuration::Configuration;
use quorate::replica::{ListedNode, NodeConfig};
use quorate::types::{DirectoryId, GenesisId, ServerId};

pub const CLUSTER: &str = "test";
pub const FIRST: ServerId = ServerId(1);
pub const SECOND: ServerId = ServerId(2);
pub const THIRD: ServerId = ServerId(3);

/// What each of so many nodes is told at its start.
pub fn config(nodes: usize) -> NodeConfig {
    let listed = |id| (id, ListedNode { address: address_of(id), typed: String::new() });
    NodeConfig { kept_entries: 0, ..NodeConfig::new(ids(nodes).map(listed).collect()) }
}

/// That of a cluster born with so many nodes, each on its [`directory_of`].
pub fn configuration(nodes: usize) -> Configuration {
    let members = ids(nodes).map(|id| (id, directory_of(id))).collect();
    Configuration::at_genesis(GenesisId(42), members)
}

pub fn ids(nodes: usize) -> impl Iterator<Item = ServerId> {
    (1_u16..).take(nodes).map(ServerId)
}

pub fn address_of(id: ServerId) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 9_000 + id.0))
}

pub fn directory_of(id: ServerId) -> DirectoryId {
    DirectoryId(100 + u64::from(id.0))
}
