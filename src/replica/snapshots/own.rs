//! The snapshots that a node has on its disk, and those on their way there.

use crate::store::{Snapshot, State};
use crate::types::LogIndex;

/// What a node knows of its own snapshots. One is written at a time.
#[derive(Debug, Default)]
pub struct OwnSnapshots {
    /// The newest that is on the disk.
    durable: Option<Snapshot>,
    writing: Option<Snapshot>,
    /// The newest that is due.
    due: Option<Snapshot>,
    /// Fetched from another node, whole, and ahead of what is committed here.
    fetched: Option<Snapshot>,
    /// States that nobody needs any more. To free one takes long.
    retired: Vec<State>,
}

impl OwnSnapshots {
    /// The snapshots of a node that has started with this one on its disk.
    pub fn recovered(durable: Option<Snapshot>) -> Self {
        Self { durable, ..Self::default() }
    }

    /// The newest that is on the disk.
    pub fn durable(&self) -> Option<&Snapshot> {
        self.durable.as_ref()
    }

    /// The index of the newest that is on the disk, or zero.
    pub fn durable_index(&self) -> LogIndex {
        self.durable().map_or(LogIndex(0), Snapshot::index)
    }

    /// A snapshot is due: it is written next.
    pub fn want(&mut self, snapshot: Snapshot) {
        let former = self.due.replace(snapshot);
        self.retire(former);
    }

    /// A snapshot was fetched whole: it is written, and installed then.
    pub fn on_fetched(&mut self, snapshot: Snapshot) {
        let former = self.fetched.replace(snapshot);
        self.retire(former);
    }

    /// The index up to which a snapshot is on the disk or on its way there from another node.
    pub fn covered_to(&self) -> LogIndex {
        let coming = [&self.fetched, &self.writing].into_iter().flatten().map(Snapshot::index);
        coming.fold(self.durable_index(), LogIndex::max)
    }

    /// The snapshot to write next, unless one is being written.
    pub fn take_to_write(&mut self) -> Option<Snapshot> {
        if self.writing.is_some() {
            return None;
        }
        self.writing = self.fetched.take().or_else(|| self.due.take());
        self.writing.clone()
    }

    /// The one that was being written is on the disk. Returns it.
    pub fn on_written(&mut self) -> Option<Snapshot> {
        let written = self.writing.take()?;
        if written.index() <= self.durable_index() {
            self.retire(Some(written));
            return None;
        }
        let former = self.durable.replace(written.clone());
        self.retire(former);
        Some(written)
    }

    /// The one that was being written has found no room; what is on the disk stays.
    pub fn on_refused(&mut self) {
        let refused = self.writing.take();
        self.retire(refused);
    }

    /// Nobody needs this state any more.
    pub fn retire_state(&mut self, state: State) {
        self.retired.push(state);
    }

    fn retire(&mut self, snapshot: Option<Snapshot>) {
        self.retired.extend(snapshot.map(Snapshot::into_state));
    }

    /// A state to free where that may take long.
    pub fn take_retired(&mut self) -> Option<State> {
        self.retired.pop()
    }
}
