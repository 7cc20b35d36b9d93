//! Nodes of other clusters that were asked by mistake. They tell so to whoever holds their key.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::args::ClientFlags;
use super::exit::Failure;
use crate::seal::{Mismatch, Sealer};

/// The nodes of other clusters that have told who they are.
#[derive(Clone, Debug, Default)]
pub struct Strangers {
    /// The cluster that is asked, and the servers that were given for it.
    cluster: String,
    servers: Vec<SocketAddr>,
    told: BTreeMap<SocketAddr, Mismatch>,
}

impl Strangers {
    /// None has told so yet.
    pub fn new(flags: &ClientFlags) -> Self {
        let (cluster, servers) = (flags.cluster.clone(), flags.servers.clone());
        Self { cluster, servers, told: BTreeMap::new() }
    }

    /// Takes note of whoever has told so by the datagram that the sealer has just dropped.
    pub fn note(&mut self, sealer: &mut Sealer) {
        if let Some(mismatch) = sealer.take_mismatch() {
            self.told.insert(mismatch.address, mismatch);
        }
    }

    /// The cluster of whoever is at the address, if that is another one.
    pub fn cluster_at(&self, address: SocketAddr) -> Option<&str> {
        self.told.get(&address).map(|mismatch| mismatch.cluster.as_str())
    }

    /// Why the servers cannot answer, if all of them are of other clusters. What was asked has
    /// certainly not been done.
    pub fn failure(&self) -> Option<Failure> {
        let all = self.servers.iter().all(|server| self.told.contains_key(server));
        self.sentence().filter(|_| all).map(Failure::usage)
    }

    /// Who they are, and what to do, if there are any.
    pub fn sentence(&self) -> Option<String> {
        let is = |told: &Mismatch| {
            format!("{} is node {} of cluster {}", told.address, told.node, told.cluster)
        };
        let all: Vec<String> = self.told.values().map(is).collect();
        (!all.is_empty()).then(|| {
            format!(
                "{}, and cluster {} is asked; correct --cluster or --server",
                all.join(" and "),
                self.cluster
            )
        })
    }
}
