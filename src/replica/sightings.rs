//! What this node has seen that the directories of others held durably, so that one which
//! was rolled back or cloned is noticed.
//!
//! docs/guarantees.md: "A directory that has forgotten what it promised counts as lost". An
//! older copy of a directory lacks whatever that has made durable since. So it is enough that
//! one such thing was seen. What is seen of a directory grows in this order, and what it
//! holds never falls behind it unless something was forgotten:
//!
//! - Its term never falls, and whatever it says durably is said in a term that is durable.
//! - Within one term it votes once, and does not take that back.
//! - Within one term there is one leader, and what of that leader's own entries is on the
//!   directory's disk is removed only by a leader of a later term. Hence the pair of the
//!   directory's term and the last entry *of that term*. The term of its last entry is no
//!   measure: where an entry of term 5 stood, an entry of term 4 may stand again, once term 6
//!   has begun; but then the directory's own term is at least 6.
//!
//! A directory in doubt has lost something and knows it: what it says of its end includes
//! all that it may have lost, and it takes up a new term when a doubt ends with less.
//!
//! What a life says counts only once it has said what its directory held when it began, and
//! that was compared. From then on it cannot go back: it is one process.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::disk::{self, Record, SIGHTINGS_MAX, Sighting};
use crate::types::{DirectoryId, Incarnation, LifeId, LogIndex, ServerId, Term};
use crate::wire::{Header, Resume, Verdict};

/// One life of a directory of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Life {
    /// The node.
    pub node: ServerId,
    /// Its directory.
    pub directory: DirectoryId,
    /// Which start of it.
    pub incarnation: Incarnation,
    /// What tells the life from others of the same start.
    pub id: LifeId,
}

impl Life {
    /// Whose life the header's frame is of.
    pub fn of(header: &Header) -> Self {
        Self {
            node: header.sender,
            directory: header.directory,
            incarnation: header.incarnation,
            id: header.life,
        }
    }

    /// Whether both are lives of the same start of the same directory, and not the same.
    fn is_twin_of(self, other: Self) -> bool {
        self != other && Self { id: self.id, ..other } == self
    }

    fn key(self) -> (ServerId, DirectoryId) {
        (self.node, self.directory)
    }
}

/// Something that a directory holds durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its term.
    pub term: Term,
    /// Whether it has voted in that term.
    pub voted: bool,
    /// Its last entry of that term; zero: none is known.
    pub durable: LogIndex,
}

/// All that was seen, and what of it is not on this node's own disk yet.
#[derive(Debug, Default)]
pub struct Sightings {
    pub(super) seen: disk::Sightings,
    pub(super) unrecorded: BTreeSet<(ServerId, DirectoryId)>,
}

impl Sightings {
    /// What a start has found.
    pub fn recovered(seen: disk::Sightings) -> Self {
        Self { seen, unrecorded: BTreeSet::new() }
    }

    /// What was seen of a directory.
    pub fn of(&self, node: ServerId, directory: DirectoryId) -> Option<&Sighting> {
        self.seen.get(&(node, directory))
    }

    /// Whether the directory counts as lost.
    pub fn is_lost(&self, node: ServerId, directory: DirectoryId) -> bool {
        self.of(node, directory).is_some_and(|seen| seen.lost)
    }

    /// Whether what is said in this life counts.
    pub fn counts(&self, life: Life) -> bool {
        self.of(life.node, life.directory).is_some_and(|seen| {
            (seen.incarnation, seen.life) == (life.incarnation, life.id) && !seen.lost
        })
    }

    /// A frame of this life has come, of whatever age; the node's present life is `heard`.
    /// Returns false when its directory counts as lost: also if another life of the same
    /// start was seen, for a directory counts its start durably before it says anything in
    /// it.
    pub fn meet(&mut self, life: Life, heard: Option<Life>) -> bool {
        let seen = self.of(life.node, life.directory);
        let judged = seen.map(|seen| Life { incarnation: seen.incarnation, id: seen.life, ..life });
        if [judged, heard].into_iter().flatten().any(|other| other.is_twin_of(life)) {
            self.lose(life);
        }
        !self.is_lost(life.node, life.directory)
    }

    /// A life says what its directory held when it began.
    pub fn judge(&mut self, life: Life, held: &Resume) -> Verdict {
        let Some(&seen) = self.seen.get(&life.key()) else {
            self.begin(life, held);
            return Verdict::Whole;
        };
        match life.incarnation.cmp(&seen.incarnation) {
            // It may be a frame of the past: then nobody heeds the answer.
            Ordering::Less => return Verdict::Lost,
            Ordering::Equal if life.id != seen.life => self.lose(life),
            Ordering::Equal => {}
            Ordering::Greater if falls_short(held, &seen) => self.lose(life),
            Ordering::Greater => self.begin(life, held),
        }
        if self.is_lost(life.node, life.directory) { Verdict::Lost } else { Verdict::Whole }
    }

    /// Something is seen of a directory, in a life that counts.
    pub fn saw(&mut self, (node, directory): (ServerId, DirectoryId), held: Held) {
        let Some(seen) = self.seen.get_mut(&(node, directory)) else { return };
        let before = *seen;
        if held.term > seen.term {
            (seen.term, seen.voted, seen.durable) = (held.term, held.voted, held.durable);
        } else if held.term == seen.term {
            seen.voted |= held.voted;
            seen.durable = seen.durable.max(held.durable);
        }
        if *seen != before {
            self.unrecorded.insert((node, directory));
        }
    }

    /// Makes room for another directory, if there is none, by forgetting one that is not
    /// `kept`.
    pub fn make_room(&mut self, kept: impl Fn(ServerId, DirectoryId) -> bool) {
        if self.seen.len() < SIGHTINGS_MAX {
            return;
        }
        let Some(&key) = self.seen.keys().find(|(node, directory)| !kept(*node, *directory)) else {
            return;
        };
        self.seen.remove(&key);
        self.unrecorded.insert(key);
    }

    /// What has changed since it was last recorded.
    pub fn take_unrecorded(&mut self) -> Vec<Record> {
        let changed = std::mem::take(&mut self.unrecorded);
        let record = |key: (ServerId, DirectoryId)| {
            Record::Sighted(key.0, key.1, self.seen.get(&key).copied())
        };
        changed.into_iter().map(record).collect()
    }

    /// A life of which all that was said before it may be relied on.
    fn begin(&mut self, life: Life, held: &Resume) {
        let seen = self.seen.entry(life.key()).or_default();
        (seen.incarnation, seen.life) = (life.incarnation, life.id);
        self.unrecorded.insert(life.key());
        let of_its_term = held.end.filter(|(term, _)| *term == held.term);
        let durable = of_its_term.map_or(LogIndex(0), |(_, index)| index);
        let held = Held { term: held.term, voted: held.voted, durable };
        self.saw(life.key(), held);
    }

    fn lose(&mut self, life: Life) {
        let seen = self.seen.entry(life.key()).or_insert(Sighting {
            incarnation: life.incarnation,
            life: life.id,
            ..Sighting::default()
        });
        if !seen.lost {
            log::warn!(
                "the directory {} of node {} lacks what was seen of it, or lives twice: it counts \
                 as lost",
                life.directory,
                life.node
            );
            seen.lost = true;
            self.unrecorded.insert(life.key());
        }
    }
}

/// Whether a directory that holds this has forgotten something of what was seen.
fn falls_short(held: &Resume, seen: &Sighting) -> bool {
    match held.term.cmp(&seen.term) {
        Ordering::Less => true,
        Ordering::Greater => false,
        Ordering::Equal => {
            let lacks_vote = seen.voted && !held.voted;
            // Of two logs that end with entries of one leader the longer one holds the other.
            let lacks_entry = seen.durable > LogIndex(0)
                && held.end.is_some_and(|end| end < (seen.term, seen.durable));
            lacks_vote || lacks_entry
        }
    }
}
