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

    /// Takes note of whoever has told so by the datagram that the sealer has just opened or
    /// dropped. With whom a session begins is none of them, whoever has told so from its address:
    /// what is asked is sent there.
    pub fn note(&mut self, sealer: &mut Sealer) {
        if let Some(begun) = sealer.take_begun() {
            self.told.remove(&begun.address);
        }
        if let Some(mismatch) = sealer.take_mismatch() {
            self.told.insert(mismatch.address, mismatch);
        }
    }

    /// The cluster of whoever is at the address, if that is another one.
    pub fn cluster_at(&self, address: SocketAddr) -> Option<&str> {
        self.told.get(&address).map(|mismatch| mismatch.cluster.as_str())
    }

    /// Why the servers cannot answer, if all of them are of other clusters. There is no session
    /// with any, so what was asked was sent to nobody, and has certainly not been done.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::seal::{Cipher, KeyRing, LifeSecret, SealerConfig, Secret};
    use crate::time::Instant;
    use crate::types::{ClusterHash, DirectoryId, PacketNumber, ServerId};
    use crate::wire::{self, Header, Message, StatusRequest};

    const NOW: Instant = Instant(1_000_000);

    fn sealer(own: ServerId, cluster: &str) -> Sealer {
        let keys = KeyRing::parse(&format!("node 1 {}", "1".repeat(64))).unwrap();
        let config = SealerConfig { own, cluster: cluster.into(), cipher: Cipher::Aes };
        Sealer::new(config, Arc::new(keys), LifeSecret::new(&Secret::new([7; 32])))
    }

    /// What the sealer answers to this datagram.
    fn answer(sealer: &mut Sealer, datagram: &[u8]) -> Vec<u8> {
        let client = SocketAddr::from(([127, 0, 0, 1], 9_000));
        sealer.open(NOW, client, &mut datagram.to_vec()).ok();
        sealer.poll_send().expect("it answers").1
    }

    /// What waited for the session is sent then, and may be done.
    #[test]
    fn who_comes_to_a_session_is_no_stranger_whatever_was_told_before() {
        let server = SocketAddr::from(([127, 0, 0, 1], 9_001));
        let (cluster, servers) = ("prod-a".to_owned(), vec![server]);
        let mut strangers = Strangers { cluster, servers, told: BTreeMap::new() };
        let mut client = sealer(ServerId::NONE, "prod-a");
        let header = Header::of_client(ClusterHash::of("prod-a"), DirectoryId(1), PacketNumber(1));
        let mut frame = Vec::new();
        wire::encode(&header, &Message::StatusRequest(StatusRequest { nonce: 1 }), &mut frame);
        assert!(!client.seal(NOW, server, &mut frame));
        let (_, hello) = client.poll_send().expect("it greets");

        let mut mismatch = answer(&mut sealer(ServerId(1), "prod-b"), &hello);
        let mut welcome = answer(&mut sealer(ServerId(1), "prod-a"), &hello);
        client.open(NOW, server, &mut mismatch).ok();
        strangers.note(&mut client);
        assert!(strangers.failure().is_some());
        client.open(NOW, server, &mut welcome).expect("a session begins");
        strangers.note(&mut client);
        assert_eq!(strangers.failure(), None);
    }
}
