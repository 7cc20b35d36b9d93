//! A disk that works, as the protocol sees it: what records have made of a directory. How it
//! stands there in bytes, and how it is read back, is checked elsewhere (`tests/disk`).

use quorate::configuration::Configuration;
use quorate::disk::{GenesisState, Identity, Record, Recovered, Sightings};
use quorate::entry::Entry;
use quorate::types::{DirectoryId, Incarnation, LogIndex, ServerId, Term};

pub const CLUSTER: &str = "model";

/// What a directory holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Disk {
    pub id: ServerId,
    pub directory: DirectoryId,
    pub incarnation: Incarnation,
    pub genesis: GenesisState,
    pub term: Term,
    pub voted_for: Option<ServerId>,
    pub commit: LogIndex,
    pub entries: Vec<Entry>,
    sightings: Sightings,
}

impl Disk {
    pub fn blank(id: ServerId, wipes: u64) -> Self {
        Self {
            id,
            directory: DirectoryId(u64::from(id.0) + 100 * wipes),
            incarnation: Incarnation(0),
            genesis: GenesisState::Blank,
            term: Term(0),
            voted_for: None,
            commit: LogIndex(0),
            entries: Vec::new(),
            sightings: Sightings::new(),
        }
    }

    /// That of a node of a cluster which was just born.
    pub fn born(id: ServerId, genesis: &Configuration) -> Self {
        let mut disk = Self::blank(id, 0);
        disk.write(&Record::GenesisComplete(genesis.clone()));
        disk
    }

    pub fn write(&mut self, record: &Record) {
        match record {
            Record::GenesisAccepted(_) | Record::GenesisComplete(_)
                if matches!(self.genesis, GenesisState::Complete(_)) => {}
            Record::GenesisAccepted(accepted) => {
                self.genesis = GenesisState::Accepted(accepted.clone());
            }
            Record::GenesisComplete(complete) => {
                self.genesis = GenesisState::Complete(complete.clone());
                self.entries = vec![Entry::genesis(complete)];
                self.commit = LogIndex(1);
            }
            Record::HardState { term, voted_for } => {
                (self.term, self.voted_for) = (*term, *voted_for);
            }
            Record::Append(entry) => {
                self.entries.retain(|before| before.index < entry.index);
                self.entries.push(entry.clone());
            }
            Record::Commit(index) => self.commit = *index,
            Record::Sighted(node, directory, Some(sighting)) => {
                self.sightings.insert((*node, *directory), *sighting);
            }
            Record::Sighted(node, directory, None) => {
                self.sightings.remove(&(*node, *directory));
            }
            Record::Reborn(directory) => self.directory = *directory,
            Record::Doubt(_) | Record::Restart { .. } => {
                unreachable!("no model has snapshots or damage: {record:?}")
            }
        }
    }

    /// The log's last index on the disk.
    pub fn last_index(&self) -> LogIndex {
        self.entries.last().map_or(LogIndex(0), |entry| entry.index)
    }

    /// What the next start of it finds, which is counted already.
    pub fn recovered(&self) -> Recovered {
        let of_last = self.entries.last().map_or(Term(0), |entry| entry.term);
        let voted_for = self.voted_for.filter(|_| self.term >= of_last);
        Recovered {
            identity: Identity { cluster: CLUSTER.into(), id: self.id, directory: self.directory },
            incarnation: self.incarnation,
            genesis: self.genesis.clone(),
            term: self.term.max(of_last),
            voted_for,
            commit: self.commit.min(self.last_index()),
            snapshot: None,
            entries: self.entries.clone(),
            aside: Vec::new(),
            doubt: None,
            sightings: self.sightings.clone(),
        }
    }
}
