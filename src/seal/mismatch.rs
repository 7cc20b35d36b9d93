//! Who is there instead: what two sides tell each other that hold one key and do not belong
//! together.
//!
//! A `Hello` brings its sender's cluster name, hidden by the key, so whoever holds the key can
//! tell that it is genuine although the name is another. The answer, `Mismatch`, brings the name
//! of who answers in the same way. Who has the number of another node is told by one as well,
//! when it has begun a session. Nothing follows from any of it but a line in the log.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ring::hmac;

use super::budget::Budget;
use super::handshake::{Handshake, Nonce, handshake_key, name_key, vouch};
use super::keys::{Key, KeyId, KeyRing};
use crate::time::Instant;
use crate::types::{ClusterHash, GenesisId, ServerId};
use crate::wire::DropCause;

/// How often one address is told.
const TOLD_PER_SECOND_MAX: u32 = 1;

/// Who speaks from an address, though it should not, or is not who was greeted there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// From where it speaks.
    pub address: SocketAddr,
    /// Which node it says to be; none: a client.
    pub node: ServerId,
    /// The name of its cluster.
    pub cluster: String,
    /// The birth of its cluster, as far as it knows.
    pub genesis: GenesisId,
    /// Why the two do not belong together.
    pub cause: DropCause,
}

impl Mismatch {
    /// What this node, of the cluster of this name, says of it.
    pub fn sentence(&self, own: ServerId, own_cluster: &str) -> String {
        let Self { address, node, cluster, cause, .. } = self;
        let who = match *node {
            ServerId::NONE => format!("{address} is a client of cluster {cluster}"),
            node => format!("{address} is node {node} of cluster {cluster}"),
        };
        match cause {
            DropCause::Cluster => format!("{who}; this is node {own} of cluster {own_cluster}"),
            DropCause::Genesis => format!("{who}, which was born another time than this one's"),
            DropCause::Address => format!(
                "{who}, and knows node {own} at another address than this one's, so it does not \
                 hear this node; give each node a number of its own, and correct --peer where it \
                 names another address"
            ),
            _ => format!("{who}, this is node {own}, and one takes the other for a third"),
        }
    }
}

/// What is needed to tell, and what was told.
#[derive(Debug)]
pub struct Mismatches {
    cluster: String,
    name_keys: BTreeMap<KeyId, hmac::Key>,
    told: Budget<IpAddr>,
    found: Option<Mismatch>,
}

impl Mismatches {
    /// Of a side that belongs to the cluster of this name.
    pub fn new(cluster: String, keys: &KeyRing) -> Self {
        let (told, found) = (Budget::new(TOLD_PER_SECOND_MAX), None);
        Self { cluster, name_keys: name_keys(keys), told, found }
    }

    /// The key file was read again.
    pub fn set_keys(&mut self, keys: &KeyRing) {
        self.name_keys = name_keys(keys);
    }

    /// The name of this side's cluster, as it is hidden in what is said.
    pub fn hidden_name(&self, said: &Handshake) -> Nonce {
        let key = self.name_keys.get(&said.key);
        key.map_or_else(Default::default, |key| said.hide(&self.cluster, key))
    }

    /// The cluster whose name the datagram brings, if a holder of the key has made it.
    pub fn cluster_of(&self, said: &Handshake, datagram: &[u8], key: &Key) -> Option<String> {
        let name = said.reveal(self.name_keys.get(&said.key)?)?;
        let is_likely = ClusterHash::of(&name) == said.cluster;
        let is_genuine = is_likely && vouch(datagram, &handshake_key(key, &name)).is_ok();
        is_genuine.then_some(name)
    }

    /// Whether this address may be told now.
    pub fn may_tell(&mut self, now: Instant, to: SocketAddr) -> bool {
        self.told.spend(now, to.ip())
    }

    /// Takes note of who has said this, and why it does not belong here.
    pub fn note(
        &mut self,
        address: SocketAddr,
        said: &Handshake,
        cluster: String,
        cause: DropCause,
    ) {
        let Handshake { sender: node, genesis, .. } = *said;
        self.found = Some(Mismatch { address, node, cluster, genesis, cause });
    }

    /// What was noted of the last datagram.
    pub fn take(&mut self) -> Option<Mismatch> {
        self.found.take()
    }
}

/// What keeps a side of this cluster apart from who has said this, and was greeted as that node.
pub fn cause(
    said: &Handshake,
    own: ClusterHash,
    greeted: ServerId,
    has_session: bool,
) -> DropCause {
    if said.cluster != own {
        DropCause::Cluster
    } else if ![ServerId::NONE, said.sender].contains(&greeted) {
        DropCause::Destination
    } else if has_session {
        DropCause::Address
    } else {
        DropCause::Genesis
    }
}

fn name_keys(keys: &KeyRing) -> BTreeMap<KeyId, hmac::Key> {
    keys.iter().map(|key| (key.id, name_key(key))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_who_is_there_and_what_keeps_the_two_apart() {
        let sentence = |node, cause| {
            let address = SocketAddr::from(([10, 0, 0, 7], 9_717));
            let (cluster, genesis) = ("prod-b".to_owned(), GenesisId(0));
            Mismatch { address, node, cluster, genesis, cause }.sentence(ServerId(1), "prod-a")
        };
        let cases = [
            (
                ServerId(2),
                DropCause::Cluster,
                "10.0.0.7:9717 is node 2 of cluster prod-b; this is node 1 of cluster prod-a",
            ),
            (
                ServerId::NONE,
                DropCause::Genesis,
                "10.0.0.7:9717 is a client of cluster prod-b, which was born another time than \
                 this one's",
            ),
            (
                ServerId(2),
                DropCause::Destination,
                "10.0.0.7:9717 is node 2 of cluster prod-b, this is node 1, and one takes the \
                 other for a third",
            ),
        ];
        for (node, cause, expected) in cases {
            assert_eq!(sentence(node, cause), expected);
        }
    }
}
