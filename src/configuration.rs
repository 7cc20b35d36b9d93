//! Who counts: the configuration that the log carries from index 1.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes};

use crate::codec::{Malformed, Reader};
use crate::types::{DirectoryId, GenesisId, NODES_MAX, ServerId};

/// The voters, each with the directory that its vote belongs to, and the limits that
/// every node must apply alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Configuration {
    /// The cluster's birth.
    pub genesis: GenesisId,
    /// The voters.
    pub members: BTreeMap<ServerId, DirectoryId>,
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
            session_limit: SESSION_LIMIT,
            session_window: SESSION_WINDOW,
            snapshot_bytes: SNAPSHOT_BYTES,
        }
    }

    /// That of a node which is part of no cluster yet: nobody votes.
    pub fn unborn() -> Self {
        Self::at_genesis(GenesisId(0), BTreeMap::new())
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

    /// The configuration's bytes, as `docs/wire-format.md` gives them.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(28 + 10 * self.members.len());
        out.put_u64_le(self.genesis.0);
        out.put_u32_le(self.session_limit);
        out.put_u32_le(self.session_window);
        out.put_u64_le(self.snapshot_bytes);
        out.put_u16_le(u16::try_from(self.members.len()).unwrap_or(u16::MAX));
        for (node, directory) in &self.members {
            out.put_u16_le(node.0);
            out.put_u64_le(directory.0);
        }
        Bytes::from(out)
    }

    /// Takes one configuration off the reader.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are none: members must be 1 to [`NODES_MAX`], in
    /// ascending order, and no limit may be zero.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let genesis = GenesisId(reader.u64()?);
        let session_limit = reader.u32()?;
        let session_window = reader.u32()?;
        let snapshot_bytes = reader.u64()?;
        let count = usize::from(reader.u16()?);
        let no_room = session_limit == 0 || session_window == 0 || snapshot_bytes == 0;
        if count == 0 || count > NODES_MAX || genesis.0 == 0 || no_room {
            return Err(Malformed);
        }
        let mut members = BTreeMap::new();
        for _ in 0..count {
            let node = ServerId(reader.u16()?);
            let directory = DirectoryId(reader.u64()?);
            let ascending = members.last_key_value().is_none_or(|(last, _)| *last < node);
            if node == ServerId::NONE || !ascending {
                return Err(Malformed);
            }
            members.insert(node, directory);
        }
        Ok(Self { genesis, members, session_limit, session_window, snapshot_bytes })
    }
}
