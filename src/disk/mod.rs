//! What a node must not forget, on its disk.
//!
//! A data directory holds the node's identity and promises (`meta`), the log in segments
//! of one size, and a snapshot. Here is the format, how it is written, and how it is read
//! back after anything that a disk may do; the files themselves are a [`Directory`], which
//! the daemon and the simulator give. `docs/disk-format.md` gives the bytes, and why
//! nothing that was acknowledged is lost unnoticed.

mod directory;
mod names;
mod journal;
mod meta;
mod writer;
mod batch;
mod record;
mod sector;
mod snapshot_file;
mod birth;
mod recovery;
mod restoring;
mod image;
mod proof;
mod scan;
mod tail;
mod replay;
mod set_aside;
mod scrub;

pub use birth::{begin, create, is_born};
pub use directory::{Directory, DiskError};
pub use journal::Journal;
pub use meta::{FORMAT_VERSION, META_BYTES};
pub use names::{META, SNAPSHOT_AT_BIRTH, is_owned, is_set_aside};
pub use recovery::{Examination, SegmentSummary, examine};
pub use scan::{Flaw, Harm};
pub use scrub::{Damage, Findings, SLICE_BYTES, Scrub};
pub use sector::SECTOR_BYTES;
pub use snapshot_file::{decode_snapshot, encode_snapshot, is_snapshot, write_snapshot};

use std::collections::BTreeMap;
use std::fmt;

use crate::codec::Reader;
use crate::configuration::Configuration;
use crate::entry::{Entry, EntryKind};
use crate::store::Snapshot;
use crate::types::{DirectoryId, GenesisId, Incarnation, LifeId, LogIndex, ServerId, Term};

/// Where a log ends: the term and index of its last entry. Of two logs that with the
/// higher end is the more up to date one.
pub type LogEnd = (Term, LogIndex);

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
    /// The log begins anew after the snapshot at this index, which is durable. Everything
    /// in the log before is void.
    Restart {
        /// The index of the snapshot's last entry.
        index: LogIndex,
        /// That entry's term.
        term: Term,
        /// That entry's chain value.
        chain: u32,
    },
    /// What was seen of another node's directory; none: that may be forgotten.
    Sighted(ServerId, DirectoryId, Option<Sighting>),
    /// The directory counts as lost. What it holds goes on as another, with this id.
    Reborn(DirectoryId),
}

/// What a node has seen that a directory of another held durably.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sighting {
    /// The start of the directory that was seen last.
    pub incarnation: Incarnation,
    /// The life that was seen in it.
    pub life: LifeId,
    /// The highest term in which it promised anything.
    pub term: Term,
    /// Whether it voted in that term.
    pub voted: bool,
    /// The last entry of that term on its disk; zero: none was seen.
    pub durable: LogIndex,
    /// It turned out to hold less than this, or to live twice: it never counts again.
    pub lost: bool,
}

/// The most sightings that a node keeps.
pub const SIGHTINGS_MAX: usize = 64;

/// Sightings, by node and directory.
pub type Sightings = BTreeMap<(ServerId, DirectoryId), Sighting>;

/// Whose directory it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's name, of at most
    /// [`CLUSTER_NAME_BYTES_MAX`](crate::wire::CLUSTER_NAME_BYTES_MAX) bytes.
    pub cluster: String,
    /// The node.
    pub id: ServerId,
    /// The directory.
    pub directory: DirectoryId,
}

/// How far a directory has come towards a genesis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum GenesisState {
    /// It knows of none.
    #[default]
    Blank,
    /// It has accepted this one.
    Accepted(Configuration),
    /// It belongs to this cluster.
    Complete(Configuration),
}

impl GenesisState {
    /// The cluster that the directory belongs to, if it belongs to one.
    pub fn complete(&self) -> Option<GenesisId> {
        match self {
            Self::Complete(genesis) => Some(genesis.genesis),
            Self::Blank | Self::Accepted(_) => None,
        }
    }
}

/// The directory may have acknowledged entries that it cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// No such entry is beyond this end of a log. None: no bound is known.
    pub upto: Option<LogEnd>,
}

impl Doubt {
    /// Both doubts in one.
    pub fn join(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (Some(ours), Some(theirs)) = (one, other) else { return one.or(other) };
        let upto = ours.upto.zip(theirs.upto).map(|(ours, theirs)| ours.max(theirs));
        Some(Self { upto })
    }
}

/// What a directory held when its node was started.
#[derive(Clone, Debug)]
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
    /// What the log begins after; none: it begins with the genesis.
    pub snapshot: Option<Snapshot>,
    /// The log, consecutive from behind the snapshot, or else from index 1; empty before
    /// the genesis is complete.
    pub entries: Vec<Entry>,
    /// Entries above the first that is missing, in ascending order.
    pub aside: Vec<Entry>,
    /// What the directory may have acknowledged and cannot read, if it may have.
    pub doubt: Option<Doubt>,
    /// What was seen of other nodes' directories.
    pub sightings: Sightings,
}

impl Recovered {
    /// The newest configuration, and where it stands in the log.
    pub fn configuration(&self) -> Option<(LogIndex, Configuration)> {
        let mut newest_first = self.entries.iter().rev();
        let in_log = newest_first.find(|entry| entry.kind == EntryKind::Configuration);
        if let Some(entry) = in_log {
            let decoded = Configuration::decode(&mut Reader::new(entry.payload.clone()));
            return Some((entry.index, decoded.ok()?));
        }
        let state = self.snapshot.as_ref()?.state();
        Some((state.configuration_index(), state.configuration().clone()))
    }

    /// Counts to the log what was laid aside and goes on from it, as the node will once it has
    /// started: what was missing between can be read again by now.
    pub fn rejoin(&mut self) {
        let goes_on = |next: &Entry, (last, chain): (LogIndex, u32)| {
            next.index == last.next() && next.chain_after(chain) == next.chain
        };
        let mut end = self.log_chain();
        let mut aside = std::mem::take(&mut self.aside).into_iter().peekable();
        while let Some(next) = aside.next_if(|next| goes_on(next, end)) {
            end = (next.index, next.chain);
            self.entries.push(next);
        }
        self.aside = aside.collect();
    }

    /// The index and the chain value of the last entry of the log.
    fn log_chain(&self) -> (LogIndex, u32) {
        let of_snapshot = self.snapshot.as_ref().map(|at| (at.index(), at.chain()));
        let of_entry = self.entries.last().map(|entry| (entry.index, entry.chain));
        of_entry.or(of_snapshot).unwrap_or_default()
    }

    /// The end of the log.
    pub fn log_end(&self) -> LogEnd {
        let of_snapshot = self.snapshot.as_ref().map(|at| (at.term(), at.index()));
        let of_entry = self.entries.last().map(|entry| (entry.term, entry.index));
        of_entry.or(of_snapshot).unwrap_or_default()
    }
}

/// How long each segment of the journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSize(u32);

impl SegmentSize {
    /// The shortest, in bytes.
    pub const BYTES_MIN: u32 = 64 << 10;
    /// The longest, in bytes.
    pub const BYTES_MAX: u32 = 1 << 30;

    /// Segments of so many bytes: a multiple of 512 within the limits.
    pub fn new(bytes: u64) -> Option<Self> {
        let bytes = u32::try_from(bytes).ok()?;
        let fits = (Self::BYTES_MIN..=Self::BYTES_MAX).contains(&bytes);
        (fits && bytes % 512 == 0).then_some(Self(bytes))
    }

    /// Their length in bytes.
    pub fn bytes(self) -> u32 {
        self.0
    }

    /// Their length in sectors.
    pub fn sectors(self) -> usize {
        self.0 as usize / SECTOR_BYTES
    }
}

impl Default for SegmentSize {
    fn default() -> Self {
        Self(4 << 20)
    }
}

/// Why a directory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The disk says so.
    Disk(DiskError),
    /// It is intact, but of another format.
    Version(u16),
    /// Whose directory it is and what its node has promised cannot be read.
    MetaLost,
}

impl From<DiskError> for StartError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::Version(version) => write!(
                f,
                "it is in format {version} and this program reads format {FORMAT_VERSION}; \
                 use the program that wrote it, or a newer one"
            ),
            Self::MetaLost => f.write_str(
                "both copies of its identity and promises in the file meta are lost, so its node \
                 may have promised anything",
            ),
        }
    }
}

impl std::error::Error for StartError {}
