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

use crate::configuration::Configuration;
use crate::entry::Entry;
use crate::store::Snapshot;
use crate::types::{DirectoryId, Incarnation, LogIndex, ServerId, Term};

/// Where a log ends: the term and index of its last entry. Of two logs that with the
/// higher end is the more up to date one.
pub type LogEnd = (Term, LogIndex);

/// The directory may have acknowledged entries that it cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// No such entry is beyond this end of a log. None: no bound is known.
    pub upto: Option<LogEnd>,
}

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
    /// What the directory may have acknowledged and cannot read, from now on. None: there
    /// is no doubt any more, and this becomes durable after everything recorded before it.
    Doubt(Option<Doubt>),
    /// The entry stands in the log; whatever stood at its index or above is void.
    Append(Entry),
    /// Up to here the log is known to be committed.
    Commit(LogIndex),
    /// The log begins anew behind this entry, which a snapshot on the disk covers; whatever
    /// stood in it is void.
    Restart {
        /// The entry's index.
        index: LogIndex,
        /// Its term.
        term: Term,
        /// Its chain value.
        chain: u32,
    },
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
    /// The newest snapshot.
    pub snapshot: Option<Snapshot>,
    /// The log, consecutive from behind the snapshot, or from index 1; empty before the
    /// genesis is complete.
    pub entries: Vec<Entry>,
    /// Entries above the first that is missing, in ascending order.
    pub aside: Vec<Entry>,
    /// What the directory may have acknowledged and cannot read, if it may have.
    pub doubt: Option<Doubt>,
}
