//! One node's disk: its directory, and the journal in it while the node runs.

use super::directory::SimDirectory;
use crate::disk::{self, DiskError, Identity, Journal, Record, Recovered, SegmentSize};
use crate::store::Snapshot;
use crate::types::{DirectoryId, LogIndex, ServerId};

/// The name of every simulated cluster.
pub const CLUSTER: &str = "simulated";

/// How often a forgetful disk notes the state that it falls back to.
const FORGETFUL_SYNCS: u64 = 8;

/// The disk, and the journal that the running node writes.
#[derive(Debug)]
pub struct Disk {
    directory: SimDirectory,
    journal: Option<Journal>,
    forgetful: Option<Forgetful>,
    /// What was there at some time before.
    copy: Option<SimDirectory>,
}

/// A disk that forgets what it has synced: after a loss of power it is as it was at some
/// time before.
#[derive(Debug)]
struct Forgetful {
    before: SimDirectory,
    syncs: u64,
}

impl Disk {
    /// A blank directory.
    pub fn blank(id: ServerId, random: &mut fastrand::Rng, is_forgetful: bool) -> Self {
        let mut directory = SimDirectory::new();
        let new = DirectoryId(random.u64(1..));
        let identity = Identity { cluster: CLUSTER.into(), id, directory: new };
        let size = SegmentSize::new(SegmentSize::BYTES_MIN.into()).expect("within the limits");
        disk::create(&mut directory, identity, size).expect("a simulated disk takes everything");
        let forgetful = is_forgetful.then(|| Forgetful { before: directory.clone(), syncs: 0 });
        Self { directory, journal: None, forgetful, copy: None }
    }

    /// Starts the directory. Returns what the node goes on from.
    ///
    /// # Errors
    /// What was found damaged: no simulated disk damages anything.
    pub fn start(&mut self) -> Result<Recovered, String> {
        let examination = disk::examine(&self.directory).map_err(|error| error.to_string())?;
        if let Some(flaw) = examination.flaws.first() {
            return Err(flaw.to_string());
        }
        let started = examination.start(&mut self.directory);
        let (journal, recovered) = started.map_err(|error| error.to_string())?;
        self.journal = Some(journal);
        match recovered.doubt {
            None => Ok(recovered),
            Some(doubt) => Err(format!("entries are missing: {doubt:?}")),
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

    /// The copy takes the place of the directory, whose node does not run.
    pub fn put_back(&mut self) {
        if let Some(copy) = self.copy.take() {
            self.journal = None;
            self.directory = copy;
        }
    }

    /// What would be found if the power failed now, and took all with it that it may.
    pub fn durable(&self) -> Option<Recovered> {
        Some(disk::examine(&self.directory.without_unsynced()).ok()?.recovered)
    }

    /// Writes a batch. It is not synced yet.
    pub fn write(&mut self, records: &[Record]) {
        self.drive(|journal, directory| journal.write(directory, records));
    }

    /// Everything written is durable.
    pub fn sync(&mut self) {
        self.drive(|journal, directory| journal.sync(directory));
        if let Some(forgetful) = &mut self.forgetful {
            forgetful.syncs += 1;
            if forgetful.syncs % FORGETFUL_SYNCS == 0 {
                forgetful.before = self.directory.clone();
            }
        }
    }

    /// Keeps the snapshot, durably.
    pub fn write_snapshot(&mut self, snapshot: &Snapshot) {
        disk::write_snapshot(&mut self.directory, snapshot)
            .expect("a simulated disk takes everything");
    }

    /// Gives up what of the journal a snapshot covers up to the index.
    pub fn cut(&mut self, upto: LogIndex) {
        self.drive(|journal, directory| journal.cut(directory, upto));
    }

    fn drive(
        &mut self,
        act: impl FnOnce(&mut Journal, &mut SimDirectory) -> Result<(), DiskError>,
    ) {
        let journal = self.journal.as_mut().expect("only a running node writes");
        act(journal, &mut self.directory).expect("a simulated disk takes everything");
    }

    /// The power fails: of what was not synced, nothing, a part or all remains.
    pub fn lose_power(&mut self, random: &mut fastrand::Rng) {
        self.journal = None;
        if let Some(forgetful) = &self.forgetful {
            self.directory = forgetful.before.clone();
        }
        self.directory.lose_power(random);
    }
}
