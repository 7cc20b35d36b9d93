//! Who counts: the configuration that the log carries from index 1.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use bytes::{BufMut, Bytes};

use crate::codec::{Malformed, Reader, put_address, take_address};
use crate::types::{DirectoryId, GenesisId, NODES_MAX, ServerId};

/// The voters, each with the directory that its vote belongs to; those that learn until
/// they may vote; and the limits that every node must apply alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Configuration {
    /// The cluster's birth.
    pub genesis: GenesisId,
    /// The voters.
    pub members: BTreeMap<ServerId, DirectoryId>,
    /// Those that are to vote once they have caught up. None of them is a member.
    pub learners: BTreeSet<ServerId>,
    /// Where members and learners are reached that came after the birth.
    pub addresses: BTreeMap<ServerId, SocketAddr>,
    /// How many sessions the session table keeps.
    pub session_limit: u32,
    /// How many sequences above its floor a session may use.
    pub session_window: u32,
    /// How many bytes of log, at least, lie between two snapshots.
    pub snapshot_bytes: u64,
}

/// The default of [`Configuration::session_limit`].
pub const SESSION_LIMIT: u32 = 65_536;
/// The default of [`Configuration::session_window`].
pub const SESSION_WINDOW: u32 = 1_024;
/// The default of [`Configuration::snapshot_bytes`].
pub const SNAPSHOT_BYTES: u64 = 16 << 20;

impl Configuration {
    /// The configuration of a cluster that is born with these members.
    pub fn at_genesis(genesis: GenesisId, members: BTreeMap<ServerId, DirectoryId>) -> Self {
        Self {
            genesis,
            members,
            learners: BTreeSet::new(),
            addresses: BTreeMap::new(),
            session_limit: SESSION_LIMIT,
            session_window: SESSION_WINDOW,
            snapshot_bytes: SNAPSHOT_BYTES,
        }
    }

    /// That of a node which is part of no cluster yet: nobody votes.
    pub fn unborn() -> Self {
        Self::at_genesis(GenesisId(0), BTreeMap::new())
    }

    /// The configuration of a cluster that is born with this one member, and with the limits
    /// that held here.
    #[must_use]
    pub fn reborn(&self, genesis: GenesisId, id: ServerId, directory: DirectoryId) -> Self {
        let members = BTreeMap::from([(id, directory)]);
        let (learners, addresses) = (BTreeSet::new(), BTreeMap::new());
        Self { genesis, members, learners, addresses, ..self.clone() }
    }

    /// How many members make a majority.
    pub fn majority(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// Whether the node with this directory is a voter.
    ///
    /// Quorums are counted over (node id, directory id) pairs: a wiped disk has a new
    /// directory id, so it cannot vote.
    pub fn is_voter(&self, node: ServerId, directory: DirectoryId) -> bool {
        self.members.get(&node) == Some(&directory)
    }

    /// Whether the node is a member or a learner.
    pub fn lists(&self, node: ServerId) -> bool {
        self.members.contains_key(&node) || self.learners.contains(&node)
    }

    /// How many members and learners there are.
    pub fn node_count(&self) -> usize {
        self.members.len() + self.learners.len()
    }

    /// The configuration in which the node learns; its vote, if it had one, is taken from
    /// it.
    #[must_use]
    pub fn with_learner(&self, node: ServerId) -> Self {
        let mut changed = self.clone();
        changed.members.remove(&node);
        changed.learners.insert(node);
        changed
    }

    /// The configuration in which the node votes with this directory.
    #[must_use]
    pub fn with_voter(&self, node: ServerId, directory: DirectoryId) -> Self {
        let mut changed = self.clone();
        changed.learners.remove(&node);
        changed.members.insert(node, directory);
        changed
    }

    /// The configuration without the node.
    #[must_use]
    pub fn without(&self, node: ServerId) -> Self {
        let mut changed = self.clone();
        changed.members.remove(&node);
        changed.learners.remove(&node);
        changed.addresses.remove(&node);
        changed
    }

    /// This one, of the birth, with the addresses of those who came since, as far as there
    /// is room for more nodes.
    #[must_use]
    pub fn telling_of(&self, present: &Self) -> Self {
        let mut told = self.clone();
        for (node, address) in &present.addresses {
            if told.lists(*node) || told.node_count() < NODES_MAX {
                told.addresses.insert(*node, *address);
            }
            if told.addresses.contains_key(node) && !told.members.contains_key(node) {
                told.learners.insert(*node);
            }
        }
        told
    }

    /// The configuration of the birth, without what was told beside it.
    #[must_use]
    pub fn at_birth_of(told: &Self) -> Self {
        Self { learners: BTreeSet::new(), addresses: BTreeMap::new(), ..told.clone() }
    }

    /// The configuration's bytes, as `docs/wire-format.md` gives them.
    pub fn encode(&self) -> Bytes {
        let others = self.others();
        let mut out = Vec::with_capacity(26 + 10 * self.members.len() + 21 * others.len());
        out.put_u64_le(self.genesis.0);
        out.put_u32_le(self.session_limit);
        out.put_u32_le(self.session_window);
        out.put_u64_le(self.snapshot_bytes);
        out.put_u8(u8::try_from(self.members.len()).unwrap_or(u8::MAX));
        out.put_u8(u8::try_from(others.len()).unwrap_or(u8::MAX));
        for (node, directory) in &self.members {
            out.put_u16_le(node.0);
            out.put_u64_le(directory.0);
        }
        for node in others {
            out.put_u16_le(node.0);
            match self.addresses.get(&node) {
                Some(address) => put_address(&mut out, *address),
                None => out.put_u8(NO_ADDRESS),
            }
        }
        Bytes::from(out)
    }

    /// Those that more is to be said of than a member's directory: learners, and members
    /// with an address.
    fn others(&self) -> BTreeSet<ServerId> {
        self.learners.iter().chain(self.addresses.keys()).copied().collect()
    }

    /// Takes one configuration off the reader.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are none: members must be 1 to [`NODES_MAX`], and so
    /// many with the learners, each in ascending order, and no limit may be zero.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let genesis = GenesisId(reader.u64()?);
        let session_limit = reader.u32()?;
        let session_window = reader.u32()?;
        let snapshot_bytes = reader.u64()?;
        let (members, others) = (reader.u8()?, reader.u8()?);
        let no_room = session_limit == 0 || session_window == 0 || snapshot_bytes == 0;
        if members == 0 || genesis.0 == 0 || no_room {
            return Err(Malformed);
        }
        let mut configuration = Self::at_genesis(genesis, take_members(reader, members)?);
        configuration.session_limit = session_limit;
        configuration.session_window = session_window;
        configuration.snapshot_bytes = snapshot_bytes;
        configuration.take_others(reader, others)?;
        if configuration.node_count() > NODES_MAX { Err(Malformed) } else { Ok(configuration) }
    }

    fn take_others(&mut self, reader: &mut Reader, count: u8) -> Result<(), Malformed> {
        let mut last = ServerId::NONE;
        for _ in 0..count {
            let node = take_node_after(last, reader)?;
            last = node;
            let is_member = self.members.contains_key(&node);
            match reader.u8()? {
                NO_ADDRESS if is_member => return Err(Malformed),
                NO_ADDRESS => {}
                family => {
                    self.addresses.insert(node, take_address(family, reader)?);
                }
            }
            if !is_member {
                self.learners.insert(node);
            }
        }
        Ok(())
    }
}

impl fmt::Display for Configuration {
    /// "voters 1 2 3, learners 4"
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("voters")?;
        self.members.keys().try_for_each(|node| write!(f, " {node}"))?;
        if !self.learners.is_empty() {
            f.write_str(", learners")?;
        }
        self.learners.iter().try_for_each(|node| write!(f, " {node}"))
    }
}

/// Stands in the place of an address's family when there is no address.
const NO_ADDRESS: u8 = 0;

fn take_members(
    reader: &mut Reader,
    count: u8,
) -> Result<BTreeMap<ServerId, DirectoryId>, Malformed> {
    let mut members = BTreeMap::new();
    let mut last = ServerId::NONE;
    for _ in 0..count {
        last = take_node_after(last, reader)?;
        members.insert(last, DirectoryId(reader.u64()?));
    }
    Ok(members)
}

fn take_node_after(last: ServerId, reader: &mut Reader) -> Result<ServerId, Malformed> {
    let node = ServerId(reader.u16()?);
    if node > last { Ok(node) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBER: ServerId = ServerId(1);

    fn with_others() -> Configuration {
        let members = BTreeMap::from([(MEMBER, DirectoryId(11)), (ServerId(2), DirectoryId(12))]);
        let address = SocketAddr::from(([10, 0, 0, 2], 9_717));
        Configuration {
            addresses: BTreeMap::from([(ServerId(2), address)]),
            session_limit: 5,
            ..Configuration::at_genesis(GenesisId(7), members).with_learner(ServerId(3))
        }
    }

    #[test]
    fn a_cluster_is_born_again_with_one_member_and_the_former_limits() {
        let reborn = with_others().reborn(GenesisId(8), MEMBER, DirectoryId(21));
        let alone = BTreeMap::from([(MEMBER, DirectoryId(21))]);
        let expected =
            Configuration { session_limit: 5, ..Configuration::at_genesis(GenesisId(8), alone) };
        assert_eq!(reborn, expected);
    }

    /// "no limit may be zero", nor the genesis, and there are members.
    #[test]
    fn a_configuration_of_nothing_is_refused() {
        let whole = with_others();
        let decoded = |configuration: &Configuration| {
            Configuration::decode(&mut Reader::new(configuration.encode()))
        };
        assert_eq!(decoded(&whole), Ok(whole.clone()));
        let wrong = [
            Configuration { genesis: GenesisId(0), ..whole.clone() },
            Configuration { session_limit: 0, ..whole.clone() },
            Configuration { session_window: 0, ..whole.clone() },
            Configuration { snapshot_bytes: 0, ..whole.clone() },
            Configuration { members: BTreeMap::new(), ..whole.clone() },
        ];
        assert!(wrong.iter().all(|configuration| decoded(configuration).is_err()));
    }

    #[test]
    fn it_is_shown_by_its_nodes() {
        assert_eq!(with_others().to_string(), "voters 1 2, learners 3");
        assert_eq!(with_others().without(ServerId(3)).to_string(), "voters 1 2");
    }
}
