//! The replicated state machine: what executing the log makes.
//!
//! An entry is executed when it is appended and revealed when it is committed. So there
//! is a committed root, from which everything is answered, and one tentative root for
//! each entry above it. Roots share what they have in common (persistent maps), so
//! keeping one for every uncommitted entry costs little, and both revealing and undoing
//! an execution are exact and need no second one.

mod answer;
mod checksum;
mod sessions;
mod snapshot;
mod state;

pub use answer::Answer;
pub use sessions::{Lookup, SETTLED_SESSION_BYTES, SessionTable};
pub use snapshot::{Blocks, Place, Snapshot, SnapshotBuilder};
pub use state::{State, parse_number};

use crate::chunked_deque::ChunkedDeque;
use crate::configuration::Configuration;
use crate::entry::Entry;
use crate::operation::{LoggedRequest, Settled};
use crate::types::LogIndex;

/// The state at the commit index, and at every index executed above it.
#[derive(Debug)]
pub struct Store {
    committed: State,
    /// The roots above the committed one, one for each index, ascending.
    tentative: ChunkedDeque<State>,
    /// Roots that nobody needs any more, so many that to free them takes long.
    retired: Vec<ChunkedDeque<State>>,
}

/// The most roots that are freed at once: each is the last to hold what it alone knew.
const FREED_AT_ONCE: usize = 256;

impl Store {
    /// The state after the genesis entry, whose index is 1.
    pub fn at_genesis(configuration: Configuration) -> Self {
        Self::at(State::at_genesis(configuration))
    }

    /// The store whose committed state this is.
    pub fn at(committed: State) -> Self {
        Self { committed, tentative: ChunkedDeque::default(), retired: Vec::new() }
    }

    /// Executes the next entry on the tentative root. `request` is the request that the
    /// entry completes, if it completes one. The answer, if it is one, depends on state
    /// that is not committed: it must be held back until the entry is.
    pub fn execute(&mut self, entry: &Entry, request: Option<&LoggedRequest>) -> Option<Settled> {
        assert_eq!(entry.index, self.tentative().index().next(), "entries are consecutive");
        let mut root = self.tentative().clone();
        let settled = root.execute(entry, request);
        self.tentative.push_back(root);
        settled
    }

    /// Reveals what was executed up to the index. Returns the newest state on the way there
    /// of which a snapshot is due.
    pub fn commit_to(&mut self, index: LogIndex) -> Option<State> {
        let mut due = None;
        let mut former = ChunkedDeque::default();
        while self.committed.index() < index {
            former.push_back(self.reveal_next());
            if self.committed.is_snapshot_due() {
                due = Some(self.committed.clone());
            }
        }
        self.retire(former);
        due
    }

    /// Returns the root that was committed before.
    fn reveal_next(&mut self) -> State {
        let next = self.tentative.pop_front().expect("what is committed was executed");
        std::mem::replace(&mut self.committed, next)
    }

    /// Undoes what was executed above the index, sessions and configuration included.
    pub fn roll_back_to(&mut self, index: LogIndex) {
        assert!(index >= self.committed.index(), "what is committed is never undone");
        let kept = index.0 - self.committed.index().0;
        let undone = self.tentative.split_off(usize::try_from(kept).unwrap_or(usize::MAX));
        self.retire(undone);
    }

    fn retire(&mut self, roots: ChunkedDeque<State>) {
        if roots.len() > FREED_AT_ONCE {
            self.retired.push(roots);
        }
    }

    /// Roots to free where that may take long, if there are many.
    pub fn take_retired(&mut self) -> Option<ChunkedDeque<State>> {
        self.retired.pop()
    }

    /// The state at the commit index: the only one that anybody outside may see.
    pub fn committed(&self) -> &State {
        &self.committed
    }

    /// Only the committed state.
    pub fn into_committed(self) -> State {
        self.committed
    }

    /// The state at the end of the log.
    pub fn tentative(&self) -> &State {
        self.tentative.back().unwrap_or(&self.committed)
    }
}
