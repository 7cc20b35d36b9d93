//! The list of nodes: as typed, resolved and checked.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{SocketAddr, ToSocketAddrs};

use super::error::RunError;
use crate::configuration::Configuration;
use crate::replica::ListedNode;
use crate::types::{NODES_MAX, ServerId};
use crate::wire::ADDRESS_BYTES_MAX;

/// The nodes of the cluster, by their ids.
pub type PeerList = BTreeMap<ServerId, ListedNode>;

/// The address to listen on.
///
/// # Errors
/// A usage error when it is none, or its name is not known.
pub fn resolve_listen(typed: &str) -> Result<SocketAddr, RunError> {
    let found = addresses("--listen", typed)?.first().copied();
    found.ok_or_else(|| RunError::usage(format!("--listen {typed}: the name has no address")))
}

/// Resolves and checks the nodes that were named on the command line. The node itself is
/// added when it was not named.
///
/// # Errors
/// A usage error that says what contradicts what.
pub fn resolve_peers(
    own_id: ServerId,
    listen: SocketAddr,
    typed: &[(ServerId, String)],
) -> Result<PeerList, RunError> {
    if own_id == ServerId::NONE {
        return Err(RunError::usage("--id 0 is not a node's id; ids count from 1"));
    }
    let mut nodes = PeerList::new();
    for (id, typed) in typed {
        let flag = format!("--peer {id}");
        if *id == ServerId::NONE {
            return Err(RunError::usage(format!("--peer 0={typed}: ids count from 1")));
        }
        if typed.len() > ADDRESS_BYTES_MAX {
            return Err(RunError::usage(format!(
                "{flag}={typed}: an address has at most {ADDRESS_BYTES_MAX} bytes; use a shorter \
                 name, or the IP address"
            )));
        }
        let address = one_of_family(&flag, typed, listen)?;
        check_reachable(&flag, address)?;
        match nodes.entry(*id) {
            Entry::Vacant(vacant) => {
                vacant.insert(ListedNode { address, typed: typed.clone() });
            }
            Entry::Occupied(former) if former.get().typed == *typed => {}
            Entry::Occupied(former) => {
                return Err(RunError::usage(format!(
                    "{flag} is given twice, as {} and as {typed}; name each node once",
                    former.get().typed
                )));
            }
        }
    }
    nodes.entry(own_id).or_insert(ListedNode { address: listen, typed: String::new() });
    check_distinct(&nodes)?;
    check_not_anothers(own_id, listen, &nodes)?;
    Ok(nodes)
}

/// Checks the list against the cluster that the directory belongs to. The log says who
/// belongs to it, the list where they are; the log knows that of those who came later.
///
/// # Errors
/// A usage error that shows both lists, if a node is in neither with its address.
pub fn check_members(nodes: &PeerList, configuration: &Configuration) -> Result<(), RunError> {
    let members = || configuration.members.keys().chain(&configuration.learners);
    let is_found =
        |id: &&ServerId| nodes.contains_key(id) || configuration.addresses.contains_key(id);
    if !members().all(|id| is_found(&id)) {
        return Err(RunError::usage(format!(
            "the flags list the nodes {}, and the cluster of this directory has the nodes {}; \
             give every node the list that the cluster was born with",
            ids(nodes.keys()),
            ids(members()),
        )));
    }
    let mut strangers = nodes.keys().filter(|id| !configuration.lists(**id)).peekable();
    if strangers.peek().is_some() {
        log::warn!(
            "the flags list nodes that are no members of this cluster: {}; `quorate member add` \
             makes a node one",
            ids(strangers)
        );
    }
    Ok(())
}

fn addresses(flag: &str, typed: &str) -> Result<Vec<SocketAddr>, RunError> {
    let found = typed.to_socket_addrs().map_err(|error| {
        RunError::usage(format!("{flag} {typed}: {error}; an address is written HOST:PORT"))
    })?;
    Ok(found.collect())
}

fn one_of_family(flag: &str, typed: &str, listen: SocketAddr) -> Result<SocketAddr, RunError> {
    let found = addresses(flag, typed)?;
    let fitting = found.iter().find(|address| address.is_ipv4() == listen.is_ipv4());
    fitting.copied().ok_or_else(|| {
        let family = if listen.is_ipv4() { "IPv4" } else { "IPv6" };
        RunError::usage(format!(
            "{flag} {typed}: has no {family} address, and this node listens on {listen}; listen on \
             an address of the same family"
        ))
    })
}

fn check_reachable(flag: &str, address: SocketAddr) -> Result<(), RunError> {
    if address.port() != 0 {
        return Ok(());
    }
    Err(RunError::usage(format!("{flag}: nobody is reached at port 0; give the node's own port")))
}

/// A command line that was copied from another node may still have that one's `--listen`.
fn check_not_anothers(own: ServerId, listen: SocketAddr, nodes: &PeerList) -> Result<(), RunError> {
    let is_anothers = |(id, node): &(&ServerId, &ListedNode)| **id != own && node.address == listen;
    match nodes.iter().find(is_anothers) {
        None => Ok(()),
        Some((other, _)) => Err(RunError::usage(format!(
            "this is node {own}, and --listen {listen} is the address of node {other}; correct \
             --id or --listen"
        ))),
    }
}

fn check_distinct(nodes: &PeerList) -> Result<(), RunError> {
    if nodes.len() > NODES_MAX {
        return Err(RunError::usage(format!(
            "{} nodes are listed; a cluster has at most {NODES_MAX}",
            nodes.len()
        )));
    }
    let mut by_address = BTreeMap::new();
    for (id, node) in nodes {
        if let Some(other) = by_address.insert(node.address, id) {
            return Err(RunError::usage(format!(
                "nodes {other} and {id} have the same address {}; give each its own",
                node.address
            )));
        }
    }
    Ok(())
}

fn ids<'a>(nodes: impl Iterator<Item = &'a ServerId>) -> String {
    nodes.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{DirectoryId, GenesisId};

    fn resolve(own: u16, peers: &[(u16, &str)]) -> Result<PeerList, String> {
        let listen = SocketAddr::from(([127, 0, 0, 1], 9717));
        let typed: Vec<_> =
            peers.iter().map(|(id, typed)| (ServerId(*id), (*typed).to_owned())).collect();
        resolve_peers(ServerId(own), listen, &typed).map_err(|error| error.to_string())
    }

    #[test]
    fn the_node_itself_may_be_named_or_not() {
        let alone = resolve(1, &[]).unwrap();
        assert_eq!(alone[&ServerId(1)].typed, "");
        let named = resolve(1, &[(1, "127.0.0.1:9"), (2, "127.0.0.1:10")]).unwrap();
        assert_eq!(named[&ServerId(1)].address.port(), 9);
        assert_eq!(named.len(), 2);
        assert_eq!(resolve(3, &[(2, "127.0.0.1:10")]).unwrap().len(), 2);
    }

    #[test]
    fn contradictions_are_named() {
        let same = (2, "127.0.0.1:10");
        assert!(resolve(1, &[same, same]).is_ok());
        let many: Vec<_> = (1..=16).map(|id| (id, format!("127.0.0.1:{id}"))).collect();
        let many: Vec<_> = many.iter().map(|(id, typed)| (*id, typed.as_str())).collect();
        let cases: [(&[(u16, &str)], &str); 8] = [
            (&[(0, "127.0.0.1:10")], "ids count from 1"),
            (&[same, (2, "127.0.0.1:11")], "given twice"),
            (&[same, (3, "127.0.0.1:10")], "same address"),
            (&[(2, "[::1]:10")], "has no IPv4 address"),
            (&[(2, "nowhere")], "HOST:PORT"),
            (&[(2, "127.0.0.1:0")], "port 0"),
            (&[(1, "127.0.0.1:10"), (2, "127.0.0.1:9717")], "is the address of node 2"),
            (&many, "at most 15"),
        ];
        assert!(resolve(0, &[]).unwrap_err().contains("ids count from 1"));
        for (peers, expected) in cases {
            let sentence = resolve(1, peers).unwrap_err();
            assert!(sentence.contains(expected), "{sentence}");
        }
    }

    #[test]
    fn the_born_cluster_is_compared_by_ids() {
        let members = [1, 2].map(|id| (ServerId(id), DirectoryId(7)));
        let born = Configuration::at_genesis(GenesisId(1), members.into());
        let alike = resolve(1, &[(2, "127.0.0.1:10")]).unwrap();
        check_members(&alike, &born).unwrap();
        let sentence = check_members(&resolve(1, &[]).unwrap(), &born).unwrap_err().to_string();
        assert!(
            sentence.contains("nodes 1, and") && sentence.contains("nodes 1, 2;"),
            "{sentence}"
        );
    }
}
