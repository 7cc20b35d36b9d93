//! One node's disk: its directory, the journal in it while the node runs, and what is known
//! of it from outside.

use std::collections::BTreeMap;

use super::directory::{SimDirectory, Trouble};
use super::second_reading::{self, Reading};
use crate::disk::{self, DiskError, Doubt, Identity, Journal, LogEnd, Record, Recovered};
use crate::disk::{Harm, SegmentSize, StartError};
use crate::replica::ReplicaNode;
use crate::store::Snapshot;
use crate::types::{DirectoryId, LogIndex, ServerId};

/// The name of every simulated cluster.
pub const CLUSTER: &str = "simulated";

/// How often a forgetful disk notes the state that it falls back to.
const FORGETFUL_SYNCS: u64 = 8;

/// The disk, and the journal that the running node writes.
#[derive(Debug)]
pub struct Disk {
    node: ServerId,
    id: DirectoryId,
    /// The id that it goes on with when what was written is synced.
    next_id: Option<DirectoryId>,
    /// What the sectors of its journal are stamped with: its first id.
    stamp: DirectoryId,
    directory: SimDirectory,
    journal: Option<Journal>,
    forgetful: Option<Forgetful>,
    /// What was there at some time before.
    copy: Option<SimDirectory>,
    /// It holds all that its node ever relied on: it was neither damaged nor replaced, or it
    /// is repaired.
    is_whole: bool,
    /// The end of the log that its node may have said to be durable.
    said: LogEnd,
    /// What was damaged since it was whole may hide how far the log went.
    may_lack_the_end: bool,
    /// Which copy of the file `meta` goes bad, if one does. Two faults that hide each other
    /// are one more than the format promises to notice.
    weak_copy: usize,
    /// The disk reported an error, and the node was told that all went well.
    is_error_ignored: bool,
}

/// A disk that forgets what it has synced: after a loss of power it is as it was at some
/// time before.
#[derive(Debug)]
struct Forgetful {
    before: SimDirectory,
    syncs: u64,
}

/// Why a node did not start.
#[derive(Debug)]
pub enum NotStarted {
    /// It may when it is tried again.
    NotNow,
    /// Never on this directory.
    Refused,
    /// It should have: what must never be.
    Broken(String),
}

impl Disk {
    /// A blank directory.
    pub fn blank(node: ServerId, random: &mut fastrand::Rng, is_forgetful: bool) -> Self {
        let (id, directory) = blank_directory(node, random);
        let forgetful = is_forgetful.then(|| Forgetful { before: directory.clone(), syncs: 0 });
        Self {
            node,
            id,
            next_id: None,
            stamp: id,
            directory,
            journal: None,
            forgetful,
            copy: None,
            is_whole: true,
            said: LogEnd::default(),
            may_lack_the_end: false,
            weak_copy: 0,
            is_error_ignored: false,
        }
    }

    /// A blank directory takes the place of what was there.
    pub fn replace(&mut self, random: &mut fastrand::Rng) {
        let (id, mut directory) = blank_directory(self.node, random);
        directory.inherit(&mut self.directory);
        (self.id, self.stamp, self.directory, self.journal) = (id, id, directory, None);
        self.copy = None;
        (self.is_whole, self.said) = (false, LogEnd::default());
        if let Some(forgetful) = &mut self.forgetful {
            forgetful.before = self.directory.clone();
        }
    }

    /// Starts the directory. Returns what the node goes on from.
    ///
    /// # Errors
    /// Why there is no node.
    pub fn start(&mut self, random: &mut fastrand::Rng) -> Result<Recovered, NotStarted> {
        let examination = match disk::examine(&self.directory) {
            Ok(examination) => examination,
            Err(StartError::MetaLost) if !self.is_whole => return Err(NotStarted::Refused),
            Err(error) => return Err(NotStarted::Broken(error.to_string())),
        };
        // A write of `meta` that failed half way leaves one copy of two, with nothing lost.
        let mut harmful = examination.flaws.iter().filter(|flaw| flaw.harm != Harm::Nothing);
        if let Some(flaw) = harmful.next().filter(|_| self.is_whole) {
            return Err(NotStarted::Broken(format!("an intact disk is damaged: {flaw}")));
        }
        let (journal, recovered) =
            examination.start(&mut self.directory).map_err(|_| NotStarted::NotNow)?;
        self.check(&recovered).map_err(NotStarted::Broken)?;
        self.journal = Some(journal);
        (self.id, self.next_id) = (recovered.identity.directory, None);
        self.weak_copy = random.usize(..2);
        Ok(recovered)
    }

    /// Whether what was found can be all that the node said to be durable, and nothing is in
    /// doubt without need.
    fn check(&self, found: &Recovered) -> Result<(), String> {
        match found.doubt {
            Some(doubt) if self.is_whole => Err(format!("nothing was damaged, and yet {doubt:?}")),
            _ => self.check_noticed(found),
        }
    }

    /// Copies what would be there if the power failed now.
    pub fn copy(&mut self) {
        self.copy = Some(self.directory.without_unsynced());
    }

    /// What the copy holds, if there is one.
    pub fn copied(&self) -> Option<Recovered> {
        Some(disk::examine(self.copy.as_ref()?).ok()?.recovered)
    }

    /// The copy takes the place of the directory, whose node does not run. Nothing that was
    /// said since is held against it: it counts as lost.
    pub fn put_back(&mut self) {
        if let Some(copy) = self.copy.take() {
            self.journal = None;
            self.directory = copy;
            self.said = LogEnd::default();
        }
    }

    /// docs/guarantees.md: "Damage is not taken for a torn write".
    fn check_noticed(&self, found: &Recovered) -> Result<(), String> {
        let covers = |doubt: Doubt| doubt.upto.is_none_or(|upto| upto >= self.said);
        if found.log_end() >= self.said || found.doubt.is_some_and(covers) {
            return Ok(());
        }
        let (said, end, doubt) = (self.said, found.log_end(), found.doubt);
        Err(format!("said to be durable to {said:?}, found to {end:?}, in doubt: {doubt:?}"))
    }

    /// The node says, or may say, that its log is durable to this end. What it had said and has
    /// lost counts for as long as it is in doubt about it.
    pub fn note_said(&mut self, node: &ReplicaNode) {
        let state = node.state();
        let durable = state.log.durable();
        let end = (state.log.term_at(durable).unwrap_or_default(), durable);
        self.said = match (state.in_doubt.is_there(), state.in_doubt.bound()) {
            (false, _) => end,
            (true, None) => self.said.max(end),
            (true, Some(bound)) => self.said.min(bound).max(end),
        };
    }

    /// Whether the synced image holds what the node said to be durable.
    ///
    /// # Errors
    /// What it lacks.
    pub fn check_synced(&self) -> Result<(), String> {
        if !self.is_whole {
            return Ok(());
        }
        let found = disk::examine(&self.directory.without_unsynced());
        self.check(&found.map_err(|error| error.to_string())?.recovered)
    }

    /// docs/guarantees.md: "An error from write or fdatasync ends the process".
    ///
    /// # Errors
    /// That one has not.
    pub fn check_errors(&self) -> Result<(), String> {
        if self.is_error_ignored { Err("an error of its disk is ignored".into()) } else { Ok(()) }
    }

    /// The directory.
    pub fn id(&self) -> DirectoryId {
        self.id
    }

    /// The files, to be damaged or looked at.
    pub fn files(&mut self) -> &mut SimDirectory {
        &mut self.directory
    }

    /// What a process would read now, by the second reader.
    pub fn second_reading(&self) -> Reading {
        second_reading::read(&self.directory, self.stamp)
    }

    /// What the disk has for certain, by the second reader.
    pub fn durable_reading(&self) -> Reading {
        second_reading::read(&self.directory.without_unsynced(), self.stamp)
    }

    /// What would be found if the power failed now, and took all with it that it may.
    pub fn durable(&self) -> Option<Recovered> {
        Some(disk::examine(&self.directory.without_unsynced()).ok()?.recovered)
    }

    /// Whether it holds all that its node ever relied on.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Something of it may be lost; also the end of the journal, after which nobody knows
    /// whether there was more?
    pub fn note_damage(&mut self, also_the_end: bool) {
        self.is_whole = false;
        self.may_lack_the_end |= also_the_end;
    }

    /// Whether what was damaged may hide how far the log went.
    pub fn may_lack_the_end(&self) -> bool {
        self.may_lack_the_end
    }

    /// Whether a start would find that nobody knows how far the log went.
    pub fn has_boundless_doubt(&self) -> bool {
        let found = disk::examine(&self.directory);
        found.is_ok_and(|found| found.recovered.doubt == Some(Doubt { upto: None }))
    }

    /// The end of the log that its node may have said to be durable.
    pub fn said(&self) -> LogEnd {
        self.said
    }

    /// Looks whether it is repaired, and holds again all that its running node relies on, which
    /// has no batch under way.
    pub fn note_repair(&mut self, node: &ReplicaNode) {
        let is_sure = !node.state().in_doubt.is_there() && node.state().is_voter();
        if self.is_whole || !is_sure || self.directory.is_straying() {
            return;
        }
        let found = disk::examine(&self.directory.without_unsynced());
        // None is under way: what looks like a torn batch was synced, and has lost something.
        self.is_whole = found.is_ok_and(|found| {
            found.flaws.is_empty()
                && found.torn_sectors == 0
                && found.recovered.doubt.is_none()
                && self.check(&found.recovered).is_ok()
        });
        self.may_lack_the_end &= !self.is_whole;
    }

    /// Which copy of the file `meta` may go bad.
    pub fn weak_copy(&self) -> usize {
        self.weak_copy
    }

    /// Lets this go wrong with what is written next.
    pub fn set_trouble(&mut self, trouble: Option<Trouble>) {
        self.directory.set_trouble(trouble);
    }

    /// What went wrong since this was asked last.
    pub fn take_mishaps(&mut self) -> BTreeMap<&'static str, u64> {
        let mishaps = self.directory.take_mishaps();
        if ["misdirected writes", "lost writes"].iter().any(|kind| mishaps.contains_key(kind)) {
            self.note_damage(true);
        }
        mishaps
    }

    /// Writes a batch. It is not synced yet.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&mut self, records: &[Record]) -> Result<(), DiskError> {
        let reborn = records.iter().rev().find_map(|record| match record {
            Record::Reborn(directory) => Some(*directory),
            _ => None,
        });
        self.next_id = reborn.or(self.next_id);
        self.drive(|journal, directory| journal.write(directory, records))
    }

    /// Everything written is durable.
    ///
    /// # Errors
    /// The disk's.
    pub fn sync(&mut self) -> Result<(), DiskError> {
        self.drive(|journal, directory| journal.sync(directory))?;
        self.id = self.next_id.take().unwrap_or(self.id);
        if let Some(forgetful) = &mut self.forgetful {
            forgetful.syncs += 1;
            if forgetful.syncs % FORGETFUL_SYNCS == 0 {
                forgetful.before = self.directory.clone();
            }
        }
        Ok(())
    }

    /// Keeps the snapshot, durably.
    ///
    /// # Errors
    /// The disk's.
    pub fn write_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), DiskError> {
        disk::write_snapshot(&mut self.directory, snapshot)
    }

    /// Gives up what of the journal a snapshot covers up to the index.
    ///
    /// # Errors
    /// The disk's.
    pub fn cut(&mut self, upto: LogIndex) -> Result<(), DiskError> {
        self.drive(|journal, directory| journal.cut(directory, upto))
    }

    fn drive(
        &mut self,
        act: impl FnOnce(&mut Journal, &mut SimDirectory) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        let journal = self.journal.as_mut().expect("only a running node writes");
        let errors_before = self.directory.errors();
        let done = act(journal, &mut self.directory);
        self.is_error_ignored |= done.is_ok() && self.directory.errors() > errors_before;
        done
    }

    /// The process is gone.
    pub fn close(&mut self) {
        self.journal = None;
        self.directory.set_trouble(None);
    }

    /// The power fails: of what was not synced, nothing, a part or all remains.
    pub fn lose_power(&mut self, random: &mut fastrand::Rng) {
        self.close();
        if let Some(forgetful) = &self.forgetful {
            self.directory = forgetful.before.clone();
        }
        let before = (!self.is_whole).then(|| self.directory.clone());
        self.directory.lose_power(random);
        // What was damaged and the marker behind it are gone, and nothing is left that tells of
        // it: docs/disk-format.md, "What is not noticed". Then nothing was lost at all.
        if let Some(mut before) = before.filter(|_| !self.is_noticed()) {
            before.settle();
            self.directory = before;
        }
    }

    /// Whether a start would find, or see that it cannot find, all that was said to be durable.
    pub fn is_noticed(&self) -> bool {
        let found = disk::examine(&self.directory);
        found.map_or(true, |found| self.check_noticed(&found.recovered).is_ok())
    }
}

fn blank_directory(node: ServerId, random: &mut fastrand::Rng) -> (DirectoryId, SimDirectory) {
    let mut directory = SimDirectory::new();
    let id = DirectoryId(random.u64(1..));
    let identity = Identity { cluster: CLUSTER.into(), id: node, directory: id };
    let size = SegmentSize::new(SegmentSize::BYTES_MIN.into()).expect("within the limits");
    disk::create(&mut directory, identity, size).expect("an empty disk has room");
    (id, directory)
}
