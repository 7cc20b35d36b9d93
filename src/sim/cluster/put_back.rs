//! An older copy of a directory is put back, as the restoring of a machine's image does it.
//!
//! Nobody can notice it unless another node that is asked knows better. So it happens only
//! while one does, while all nodes run and hear each other; and that stays so until the node
//! has made durable that its directory is another, or should have.

use std::time::Duration;

use super::{Cluster, Event, Phase};
use crate::disk::{Recovered, Sighting};
use crate::replica::ReplicaNode;
use crate::sim::trace;
use crate::types::{DirectoryId, LogIndex};

/// How long the others are left alone meanwhile.
const QUIET_MAX: Duration = Duration::from_secs(2);

impl Cluster {
    /// Copies the directory of a node; or puts the copy back, if there is one. Like a wiped
    /// disk, that takes a majority of the others to keep theirs.
    pub(super) fn put_back(&mut self, place: usize) -> Result<(), String> {
        let Some(copy) = self.nodes[place].disk.copied() else {
            self.nodes[place].disk.copy();
            return Ok(());
        };
        if !self.may_wipe(place) || !self.is_noticed(place, &copy) {
            return Ok(());
        }
        self.count("put back");
        self.trace.add(self.now, trace::Event::Node(place, "gets an older copy of its disk"));
        self.stop(place);
        self.nodes[place].disk.put_back();
        self.checks.forget(place);
        self.network.heal();
        self.network.hush(true);
        self.phase = Phase::Quiet;
        let directory = copy.identity.directory;
        self.schedule(QUIET_MAX, Event::Noticed { place, directory });
        self.restart(place)
    }

    /// The others have been quiet for long enough.
    pub(super) fn check_noticed(
        &mut self,
        place: usize,
        directory: DirectoryId,
    ) -> Result<(), String> {
        if self.phase == Phase::Quiet {
            self.phase = Phase::Faults;
        }
        self.network.hush(false);
        let node = self.nodes[place].node.as_ref();
        if node.is_some_and(|node| node.state().identity.directory == directory) {
            let node = place + 1;
            return Err(format!("node {node} goes on from an older copy, and nobody notices"));
        }
        Ok(())
    }

    /// Whether a node that will be asked knows better than the copy.
    fn is_noticed(&self, place: usize, copy: &Recovered) -> bool {
        let key = (self.nodes[place].id, copy.identity.directory);
        let runs = |at: usize| {
            let member = &self.nodes[at];
            member.node.is_some() && self.paused(at).is_none() && member.stop_by.is_none()
        };
        let knows = |at: usize| {
            let state = self.nodes[at].node.as_ref().map(ReplicaNode::state);
            state.is_some_and(|state| {
                let seen = state.sightings.of(key.0, key.1);
                state.peers.contains_key(&key.0) && seen.is_some_and(|seen| is_more(seen, copy))
            })
        };
        let others = || (0..self.nodes.len()).filter(|at| *at != place);
        self.phase == Phase::Faults
            && others().all(runs)
            && others().take(self.profile.nodes).any(knows)
    }
}

/// Whether what was seen is more than the copy holds.
fn is_more(seen: &Sighting, copy: &Recovered) -> bool {
    let is_entry = seen.durable > LogIndex(0) && seen.term == copy.term;
    seen.incarnation > copy.incarnation
        || (seen.term, seen.voted) > (copy.term, copy.voted_for.is_some())
        || is_entry && (seen.term, seen.durable) > copy.log_end()
}
