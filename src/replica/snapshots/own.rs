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
    /// The one on the disk was found damaged: one of the same index may take its place.
    is_damaged: bool,
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

    /// Damage was found on the disk, which this snapshot of what is committed may mend, unless
    /// the one on the disk is the same and intact. Once written it takes the place of that,
    /// and of the journal up to its index.
    pub fn mend(&mut self, snapshot: Snapshot, durable_is_damaged: bool) {
        self.is_damaged = durable_is_damaged;
        if self.writing.is_none() {
            self.want(snapshot);
            self.drop_overtaken();
        } else {
            self.retire(Some(snapshot));
        }
    }

    /// A snapshot was fetched whole: it is written, and installed then.
    pub fn on_fetched(&mut self, snapshot: Snapshot) {
        let former = self.fetched.replace(snapshot);
        self.retire(former);
        self.drop_overtaken();
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
        self.drop_overtaken();
        self.writing = self.fetched.take().or_else(|| self.due.take());
        self.writing.clone()
    }

    /// One that is older than what is on the disk, or on its way there, must never be written
    /// after that: the journal between the two is given up.
    fn drop_overtaken(&mut self) {
        let index = |snapshot: &Option<Snapshot>| snapshot.as_ref().map(Snapshot::index);
        let (writing, coming) = (index(&self.writing), index(&self.fetched));
        let (durable, is_damaged) = (self.durable_index(), self.is_damaged);
        let is_behind = |index: LogIndex| {
            index < durable || (index == durable && !is_damaged) || Some(index) <= writing
        };
        let due = self.due.take_if(|due| is_behind(due.index()) || Some(due.index()) <= coming);
        self.retire(due);
        let fetched = self.fetched.take_if(|fetched| is_behind(fetched.index()));
        self.retire(fetched);
    }

    /// The one that was being written is on the disk. Returns it.
    pub fn on_written(&mut self) -> Option<Snapshot> {
        let written = self.writing.take()?;
        self.is_damaged = false;
        let former = self.durable.replace(written.clone());
        self.retire(former);
        Some(written)
    }

    /// The one that was being written has found no room; what is on the disk stays. It is
    /// written again, unless a newer one waits by then. In which place it waits is all the
    /// same: whether it lies ahead shows when it is written.
    pub fn on_refused(&mut self) {
        let Some(refused) = self.writing.take() else { return };
        let waiting = [&self.fetched, &self.due].into_iter().flatten().map(Snapshot::index);
        if waiting.max().is_none_or(|newest| newest < refused.index()) {
            self.on_fetched(refused);
        } else {
            self.retire(Some(refused));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Configuration;
    use crate::entry::{Entry, EntryKind};
    use crate::store::Store;
    use crate::types::{DirectoryId, GenesisId, LogTime, ServerId, Term};
    use bytes::Bytes;

    fn at(index: u64) -> Snapshot {
        let members = [(ServerId(1), DirectoryId(1))].into();
        let mut store = Store::at_genesis(Configuration::at_genesis(GenesisId(1), members));
        for index in (2..=index).map(LogIndex) {
            let (time, kind) = (LogTime(0), EntryKind::Noop);
            let entry = Entry::chained(0, index, Term(1), time, kind, Bytes::new());
            assert!(store.execute(&entry, None).is_none());
            store.commit_to(index);
        }
        Snapshot::new(store.committed().clone(), Term(1), 0)
    }

    fn taken(own: &mut OwnSnapshots) -> Option<u64> {
        own.take_to_write().map(|snapshot| snapshot.index().0)
    }

    /// The journal before a snapshot on the disk is given up: one that is older must not
    /// take its place.
    #[test]
    fn an_older_snapshot_is_never_written_after_a_newer_one() {
        let mut own = OwnSnapshots::default();
        own.want(at(2));
        assert_eq!(taken(&mut own), Some(2));
        own.want(at(4));
        own.on_fetched(at(6));
        own.on_written();
        assert_eq!(taken(&mut own), Some(6));
        own.on_written();
        assert_eq!((taken(&mut own), own.durable_index()), (None, LogIndex(6)));

        own.want(at(9));
        assert_eq!(taken(&mut own), Some(9));
        own.on_fetched(at(8));
        own.on_written();
        assert_eq!((taken(&mut own), own.durable_index()), (None, LogIndex(9)));
    }

    #[test]
    fn a_damaged_one_is_written_again_in_its_place() {
        let mut own = OwnSnapshots::default();
        own.want(at(2));
        assert_eq!(taken(&mut own), Some(2));
        own.on_written();
        own.mend(at(2), false);
        assert_eq!(taken(&mut own), None, "it is intact and covers as much");
        own.mend(at(2), true);
        assert_eq!(taken(&mut own), Some(2));
        own.on_refused();
        assert_eq!(taken(&mut own), Some(2), "there was no room, and it is damaged still");
        own.on_written();
        own.mend(at(3), false);
        assert_eq!((taken(&mut own), own.durable_index()), (Some(3), LogIndex(2)));
    }

    #[test]
    fn what_found_no_room_is_written_again_unless_a_newer_one_waits() {
        let mut own = OwnSnapshots::default();
        own.want(at(2));
        assert_eq!(taken(&mut own), Some(2));
        own.on_refused();
        assert_eq!(taken(&mut own), Some(2));
        own.want(at(4));
        own.on_refused();
        assert_eq!(taken(&mut own), Some(4));
        own.on_written();
        assert_eq!(taken(&mut own), None);
    }

    #[test]
    fn what_found_no_room_is_written_again_rather_than_an_older_one() {
        let mut own = OwnSnapshots::default();
        own.on_fetched(at(9));
        assert_eq!(taken(&mut own), Some(9));
        own.want(at(7));
        own.on_refused();
        assert_eq!(taken(&mut own), Some(9));
    }
}
