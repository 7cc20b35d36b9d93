//! The journal: what a node must not forget, as bytes.
//!
//! Here are only the records and their format; the file itself is written by
//! `daemon::journal_file` and by the simulator's disk. `docs/disk-format.md` gives the
//! bytes.

mod format;
mod recovery;
mod replay;

pub use format::{FORMAT_VERSION, encode_batch, encode_header, encode_start};
pub use recovery::{Damage, Recovery, recover};

use crate::codec::Reader;
use crate::configuration::Configuration;
use crate::entry::{Entry, EntryKind};
use crate::types::{DirectoryId, Incarnation, LogIndex, ServerId, Term};

/// One thing that a node must not forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// This genesis is accepted; it is not known complete.
    GenesisAccepted(Configuration),
    /// This genesis is complete. The log begins with [`Entry::genesis`], which is not
    /// recorded apart.
    GenesisComplete(Configuration),
    /// The term, and whom the node voted for in it.
    HardState {
        /// The term.
        term: Term,
        /// The candidate that has the node's vote in this term.
        voted_for: Option<ServerId>,
    },
    /// The entry stands in the log; whatever stood at its index or above is void.
    Append(Entry),
    /// Up to here the log is known to be committed.
    Commit(LogIndex),
}

/// Whose directory it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// The node.
    pub id: ServerId,
    /// The directory.
    pub directory: DirectoryId,
}

/// How far a directory has come towards a genesis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GenesisState {
    /// It knows of none.
    #[default]
    Blank,
    /// It has accepted this one.
    Accepted(Configuration),
    /// It belongs to this cluster.
    Complete(Configuration),
}

/// What a directory held when its node was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Whose directory it is.
    pub identity: Identity,
    /// The present start's number, already durable.
    pub incarnation: Incarnation,
    /// How far it has come towards a genesis.
    pub genesis: GenesisState,
    /// The term; at least that of the last entry.
    pub term: Term,
    /// Whom the node voted for in that term.
    pub voted_for: Option<ServerId>,
    /// Up to here the log is known to be committed; at most the last entry's index.
    pub commit: LogIndex,
    /// The log, consecutive from index 1; empty before the genesis is complete.
    pub entries: Vec<Entry>,
}

impl Recovered {
    /// The newest configuration in the log, and where it stands.
    pub fn configuration(&self) -> Option<(LogIndex, Configuration)> {
        let mut configurations =
            self.entries.iter().rev().filter(|entry| entry.kind == EntryKind::Configuration);
        let entry = configurations.next()?;
        let decoded = Configuration::decode(&mut Reader::new(entry.payload.clone()));
        Some((entry.index, decoded.ok()?))
    }
}
