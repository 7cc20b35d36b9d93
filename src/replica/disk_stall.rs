//! Leaders whose disks have stalled.
//!
//! Entries may be committed through the disks of the followers alone, but then the leader
//! is the one member that adds nothing to anyone's safety. docs/guarantees.md: "A leader
//! whose disk has stalled does not stay": when its oldest entry has waited for longer than
//! [`ReplicaState::disk_stall`], it hands over; after twice that, its followers drop it.
//! Both only if there is a disk that is clearly better, and at most once in ten times the
//! bound: a storm on every disk must not become a storm of elections.

use std::time::Duration;

use super::state::ReplicaState;
use crate::time::{Instant, micros};
use crate::types::{ServerId, Term};

/// A disk is clearly better if its oldest entry has waited for at most this part of the
/// time that the other's has.
const CLEARLY_BETTER: u32 = 4;
/// Leadership moves for a disk at most once in so many times the bound.
const MOVE_INTERVAL: u32 = 10;

/// What a node knows of the present leader's disk, and of moves because of one.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskWatch {
    /// How long the leader's oldest entry had waited for its disk by its newest heartbeat,
    /// in microseconds, and of which term that was.
    told: (Term, u32),
    /// When leadership last moved for a disk, as far as this node knows.
    moved_at: Option<Instant>,
}

impl DiskWatch {
    /// The leader of the term tells of its disk.
    pub fn leader_tells(&mut self, term: Term, durability_age: u32) {
        self.told = (term, durability_age);
    }

    /// Leadership moves now because of a disk.
    pub fn moves(&mut self, now: Instant) {
        self.moved_at = Some(now);
    }
}

impl ReplicaState {
    /// As follower: whether contact with the leader counts for nothing, since its disk has
    /// stalled for too long and this node's own has not.
    pub fn leader_is_stalled(&self, now: Instant) -> bool {
        let (term, age) = self.disk_watch.told;
        term == self.term
            && is_longer(age, 2 * self.disk_stall)
            && is_clearly_better(self.durability_age(now), age)
            && self.may_move_for_disk(now)
    }

    /// As leader: who should lead instead, since this node's disk has stalled: of those
    /// whose disks are clearly better the one that has most of the log.
    pub fn successor_for_disk(&self, now: Instant) -> Option<ServerId> {
        let age = self.durability_age(now);
        if !is_longer(age, self.disk_stall) || !self.may_move_for_disk(now) {
            return None;
        }
        let better = self.peers.iter().filter(|(id, peer)| {
            self.is_voting_peer(**id)
                && now.since(peer.progress.contact) < self.election_timeout
                && is_clearly_better(peer.progress.durability_age, age)
        });
        better.max_by_key(|(_, peer)| peer.progress.matched).map(|(&id, _)| id)
    }

    fn may_move_for_disk(&self, now: Instant) -> bool {
        let interval = MOVE_INTERVAL * self.disk_stall;
        self.disk_watch.moved_at.is_none_or(|at| now.since(at) >= interval)
    }
}

fn is_longer(age: u32, bound: Duration) -> bool {
    u64::from(age) > micros(bound)
}

fn is_clearly_better(age: u32, than: u32) -> bool {
    age <= than / CLEARLY_BETTER
}
