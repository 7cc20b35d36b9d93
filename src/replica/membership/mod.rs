//! Changes of who counts, one voter at a time (Ongaro's thesis, chapter 4).
//!
//! docs/guarantees.md: "The members change one at a time." Majorities of two configurations
//! that differ by one voter have a node in common, so no two leaders of one term are elected
//! by them. That carries over from change to change only if each is committed before the
//! next is begun, and by a leader that has committed an entry of its own term: else a change
//! of an earlier leader may come back beside a later one, and the two differ by two voters.
//!
//! A node that lost its disk is another voter than it was: it has forgotten its votes and
//! its log. So its return is two changes and never one. If the new directory took the place
//! of the old one at once, the old one could have voted in a term for one leader and the
//! new one, in the same term, for another, and the two majorities need have nobody else in
//! common. But once the removal is committed, every later leader has it in its log; no
//! candidate counts the old directory any more, and only then does the new one get a vote.
//!
//! A vote names its candidate by the node's id alone, so the new directory may be given one
//! that the old one had asked for. That makes no second leader of a term: the new one stands
//! only in terms above the one in which the removal was committed; and whoever wins such a
//! term has the removal in its log, so the old one has not won it.

mod asked;

use std::time::Duration;

use super::state::ReplicaState;
use crate::configuration::Configuration;
use crate::time::Instant;
use crate::types::{DirectoryId, LogIndex, ServerId};
use crate::wire::Role;
use asked::Asked;

/// How long a node must have been heard with one directory before that may vote: what was
/// started by mistake is often gone by then.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// A leader begins to take back a node that lost its disk at most once in this time: a disk
/// that is lost again and again must not make a storm of changes.
const READMISSION_INTERVAL: Duration = Duration::from_secs(10);
/// Who is at most so many entries behind the commit index has caught up: the first entry
/// that needs its disk will not wait for long.
const CATCH_UP_ENTRIES_MAX: u64 = 1_024;

/// Decides, as leader, which change is next.
#[derive(Debug, Default)]
pub struct MembershipManager {
    /// When this node, as leader, last began to take back one that lost its disk.
    pub(super) readmitted_at: Option<Instant>,
    /// The change that an operator waits for.
    asked: Option<Asked>,
}

impl MembershipManager {
    /// The configuration to put into the log now, if there is a change to be made that
    /// nobody has to ask for.
    pub fn next_change(&mut self, state: &ReplicaState, now: Instant) -> Option<Configuration> {
        if !may_change(state) {
            return None;
        }
        promotion(state, now).or_else(|| self.readmission(state, now))
    }

    /// A member is heard with another directory than the one that votes: its vote is taken
    /// from it. It learns on, and gets a vote for the new directory by the next change.
    fn readmission(&mut self, state: &ReplicaState, now: Instant) -> Option<Configuration> {
        if self.readmitted_at.is_some_and(|at| now.since(at) < READMISSION_INTERVAL) {
            return None;
        }
        let members = &state.configuration().members;
        let changed = ready_peers(state, now)
            .filter(|(id, directory)| members.get(id).is_some_and(|voting| voting != directory))
            .map(|(id, _)| state.configuration().with_learner(id))
            .find(|changed| is_heard_by_majority(changed, state, now))?;
        self.readmitted_at = Some(now);
        Some(changed)
    }
}

/// Whether this leader may begin a change. docs/guarantees.md: "A change is begun only when
/// an entry of the leader's own term is committed, and the change before it."
fn may_change(state: &ReplicaState) -> bool {
    state.role == Role::Leader
        && !state.handing_over
        && state.has_committed_in_term()
        && state.configuration_index() <= state.commit
}

/// A learner that has caught up gets its vote.
fn promotion(state: &ReplicaState, now: Instant) -> Option<Configuration> {
    let configuration = state.configuration();
    ready_peers(state, now)
        .filter(|(id, _)| configuration.learners.contains(id))
        .map(|(id, directory)| configuration.with_voter(id, directory))
        .find(|changed| is_heard_by_majority(changed, state, now))
}

/// The nodes whose present directories may be given a vote: they are heard, have been for
/// a while, and have the log on their disks. Who has it was born in this cluster.
fn ready_peers(
    state: &ReplicaState,
    now: Instant,
) -> impl Iterator<Item = (ServerId, DirectoryId)> {
    state.peers.iter().filter_map(move |(&id, peer)| {
        let directory = peer.directory()?;
        let settled = now.since(peer.directory_since) >= SETTLED_AFTER;
        let reached = LogIndex(peer.progress.durable.0 + CATCH_UP_ENTRIES_MAX);
        let caught_up = peer.progress.durable > LogIndex(0) && reached >= state.commit;
        (settled && caught_up && peer.is_heard(now)).then_some((id, directory))
    })
}

/// Whether a majority of the voters of this configuration hears this leader: a change that
/// leaves none would be the last. Only who has answered this leader is heard by it: one that has
/// just begun knows of nobody whether it is there, and may lead because another is not.
fn is_heard_by_majority(configuration: &Configuration, state: &ReplicaState, now: Instant) -> bool {
    let is_heard = |(&id, &directory): (&ServerId, &DirectoryId)| {
        if id == state.server_id {
            return directory == state.identity.directory;
        }
        let peer = state.peers.get(&id);
        peer.is_some_and(|peer| {
            let has_answered = peer.progress.matched > LogIndex(0);
            has_answered && peer.directory() == Some(directory) && peer.is_heard(now)
        })
    };
    let heard = configuration.members.iter().filter(|member| is_heard(*member)).count();
    heard >= configuration.majority()
}
