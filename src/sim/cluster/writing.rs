//! What a node's disk is busy with: one batch, and one snapshot beside it, as the daemon's
//! threads write them.

use std::time::Duration;

use super::{Cluster, Event, Phase};
use crate::disk::DiskError;
use crate::replica::{Batch, Room};
use crate::sim::trace;
use crate::store::Snapshot;
use crate::types::LogIndex;

/// How long what found no room waits before it is tried again.
const NO_SPACE_PAUSE: Duration = Duration::from_secs(1);
/// How much longer than a batch a snapshot takes.
const SNAPSHOT_SYNCS: u32 = 10;
/// How much longer a slow disk takes.
const SLOWNESS: u32 = 30;

/// What is on its way to the disk.
#[derive(Debug, Default)]
pub(super) struct Writing {
    batch: Option<Batch>,
    /// There was no room for the batch.
    batch_waits: bool,
    snapshot: Option<Snapshot>,
    /// There was no room for the snapshot.
    snapshot_waits: bool,
    /// What of the journal is given up when the present batch is durable; and when the next
    /// one is, which has the record that a snapshot took the place of the log.
    cut_after: Option<LogIndex>,
    cut_after_next: Option<LogIndex>,
}

impl Writing {
    /// Whether no batch is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.batch.is_none()
    }
}

impl Cluster {
    /// Tells the node of its room, and takes a snapshot that it wants written.
    pub(super) fn tend_disk(&mut self, place: usize) {
        let member = &mut self.nodes[place];
        let Some(node) = &mut member.node else { return };
        node.on_room(Room { free: member.disk.files().free().unwrap_or(u64::MAX), all: u64::MAX });
        while node.take_retired().is_some() {}
        let Some(snapshot) = node.take_snapshot() else { return };
        member.writing.snapshot = Some(snapshot);
        let life = member.life;
        let takes = self.sync_time(place, SNAPSHOT_SYNCS);
        self.schedule(takes, Event::SnapshotWritten { place, life });
    }

    /// A batch that needs no disk. Any other keeps the disk busy, one at a time.
    pub(super) fn next_synced(&mut self, place: usize) -> Option<Batch> {
        let member = &mut self.nodes[place];
        if member.writing.batch.is_some() {
            return None;
        }
        let batch = member.node.as_mut()?.take_batch()?;
        if batch.records().is_empty() {
            return Some(batch);
        }
        member.writing.batch = Some(batch);
        member.writing.cut_after = member.writing.cut_after_next.take();
        self.write_batch(place);
        None
    }

    fn write_batch(&mut self, place: usize) {
        let member = &mut self.nodes[place];
        let Some(batch) = &member.writing.batch else { return };
        let written = member.disk.write(batch.records());
        member.writing.batch_waits = written == Err(DiskError::NoSpace);
        let life = member.life;
        self.note_mishaps(place);
        match written {
            Ok(()) => {
                let takes = self.sync_time(place, 1);
                self.schedule(takes, Event::Synced { place, life });
            }
            Err(DiskError::NoSpace) => {
                self.schedule(NO_SPACE_PAUSE, Event::Synced { place, life });
            }
            Err(DiskError::Failed(_)) => self.end_by_disk(place),
        }
    }

    /// The disk is done with a batch, unless the node that gave it is gone.
    pub(super) fn on_synced(&mut self, place: usize, life: u64) -> Result<(), String> {
        if self.nodes[place].life != life {
            return Ok(());
        }
        if let Some(until) = self.paused(place) {
            self.schedule_at(until, Event::Synced { place, life });
            return Ok(());
        }
        if self.nodes[place].writing.batch_waits {
            self.write_batch(place);
            return Ok(());
        }
        let now = self.local(place);
        let member = &mut self.nodes[place];
        let directory = member.disk.id();
        let synced = match (member.disk.sync(), member.writing.cut_after.take()) {
            (Ok(()), Some(upto)) => member.disk.cut(upto),
            (synced, _) => synced,
        };
        if synced.is_err() {
            self.end_by_disk(place);
            return Ok(());
        }
        if let (Some(node), Some(batch)) = (&mut member.node, member.writing.batch.take()) {
            self.ledger.synced(directory, batch.records())?;
            node.on_synced(now, batch);
        }
        self.note_mishaps(place);
        self.finish_turn(place)
    }

    /// The disk is done with a snapshot, unless the node that gave it is gone.
    pub(super) fn on_snapshot_written(&mut self, place: usize, life: u64) -> Result<(), String> {
        if self.nodes[place].life != life {
            return Ok(());
        }
        if let Some(until) = self.paused(place) {
            self.schedule_at(until, Event::SnapshotWritten { place, life });
            return Ok(());
        }
        let member = &mut self.nodes[place];
        let Some(snapshot) = member.writing.snapshot.take() else { return Ok(()) };
        if std::mem::take(&mut member.writing.snapshot_waits) {
            member.node.as_mut().expect("it lives").on_snapshot_refused();
            return self.finish_turn(place);
        }
        match member.disk.write_snapshot(&snapshot) {
            Ok(()) => {
                self.ledger.keeps(member.disk.id(), &snapshot);
                self.keep_snapshot(place);
            }
            Err(DiskError::NoSpace) => {
                (member.writing.snapshot, member.writing.snapshot_waits) = (Some(snapshot), true);
                self.schedule(NO_SPACE_PAUSE, Event::SnapshotWritten { place, life });
            }
            Err(DiskError::Failed(_)) => self.end_by_disk(place),
        }
        self.note_mishaps(place);
        self.finish_turn(place)
    }

    fn keep_snapshot(&mut self, place: usize) {
        self.snapshots_written += 1;
        let now = self.local(place);
        let member = &mut self.nodes[place];
        let Some(node) = &mut member.node else { return };
        let covered = node.on_snapshot_written(now);
        let writing = &mut member.writing;
        let is_free = writing.batch.is_none() || writing.batch_waits;
        if covered.installed {
            writing.cut_after_next = Some(covered.upto);
        } else if !is_free {
            writing.cut_after = Some(covered.upto);
        } else if member.disk.cut(covered.upto).is_err() {
            self.end_by_disk(place);
        }
    }

    /// docs/guarantees.md: "An error from write or fdatasync ends the process".
    fn end_by_disk(&mut self, place: usize) {
        self.trace.add(self.now, trace::Event::Node(place, "ends, since its disk failed"));
        self.stop(place);
        if self.random.bool() {
            self.lose_power(place);
        }
        let down = Duration::from_millis(self.random.u64(1..2_000));
        self.schedule(down, Event::Restart(place));
    }

    /// How long the disk takes for what is so many times as much as a batch.
    fn sync_time(&mut self, place: usize, times: u32) -> Duration {
        let may_stall = self.phase == Phase::Faults;
        if may_stall && self.random.f64() < self.profile.disk_stalls {
            self.count("disk stalls");
            let longest = if self.random.u8(..8) == 0 { 8_000_000 } else { 1_000_000 };
            return Duration::from_micros(self.random.u64(..longest));
        }
        let usual = times * self.profile.sync.mul_f64(0.5 + self.random.f64());
        if self.nodes[place].slow_until > self.now { usual * SLOWNESS } else { usual }
    }

    /// Counts what went wrong on the disk.
    pub(super) fn note_mishaps(&mut self, place: usize) {
        for (kind, count) in self.nodes[place].disk.take_mishaps() {
            *self.fault_counts.entry(kind).or_default() += count;
        }
    }
}
