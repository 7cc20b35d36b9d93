//! Leaders whose disks have stalled.
//!
//! Entries may be committed through the disks of the followers alone, but then the leader
//! is the one member that adds nothing to anyone's safety. docs/guarantees.md: "A leader
//! whose disk has stalled does not stay": when its oldest entry has waited for longer than
//! the bound, it hands over; after twice that, its followers drop it. Both only if there
//! is a disk that is clearly better, and at most once in ten times the bound: a storm on
//! every disk must not become a storm of elections.

use std::time::Duration;

use crate::time::{Instant, micros};
use crate::types::Term;

/// A disk is clearly better if its oldest entry has waited for at most this part of the
/// time that the other's has.
const CLEARLY_BETTER: u32 = 4;
/// Leadership moves for a disk at most once in so many times the bound.
const MOVE_INTERVAL: u32 = 10;

/// What a node knows of the present leader's disk, and of moves because of one. Ages are
/// microseconds that the oldest entry which is not durable has waited.
#[derive(Clone, Copy, Debug)]
pub struct DiskWatch {
    bound: Duration,
    /// The age by the leader's newest heartbeat, and of which term that was.
    told: (Term, u32),
    /// When leadership last moved for a disk, as far as this node knows.
    moved_at: Option<Instant>,
}

impl DiskWatch {
    /// Nothing is known yet; a leader's oldest entry may wait for `bound`.
    pub fn new(bound: Duration) -> Self {
        Self { bound, told: (Term(0), 0), moved_at: None }
    }

    /// The leader of the term tells of its disk.
    pub fn leader_tells(&mut self, term: Term, age: u32) {
        self.told = (term, age);
    }

    /// Leadership moves now because of a disk.
    pub fn moves(&mut self, now: Instant) {
        self.moved_at = Some(now);
    }

    /// As follower in the term: whether contact with the leader counts for nothing, since
    /// its disk has stalled for too long and this node's own has not.
    pub fn leader_is_stalled(&self, term: Term, own_age: u32, now: Instant) -> bool {
        let (told_in, age) = self.told;
        told_in == term
            && is_longer(age, 2 * self.bound)
            && is_clearly_better(own_age, age)
            && self.may_move(now)
    }

    /// As leader: whether it should hand over to a node whose disk is clearly better.
    pub fn must_hand_over(&self, own_age: u32, now: Instant) -> bool {
        is_longer(own_age, self.bound) && self.may_move(now)
    }

    /// Whether leadership may move for a disk again.
    pub fn may_move(&self, now: Instant) -> bool {
        let interval = MOVE_INTERVAL * self.bound;
        self.moved_at.is_none_or(|at| now.since(at) >= interval)
    }
}

/// Whether a disk of this age is clearly better than the other.
pub fn is_clearly_better(age: u32, than: u32) -> bool {
    age <= than / CLEARLY_BETTER
}

fn is_longer(age: u32, bound: Duration) -> bool {
    u64::from(age) > micros(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_clearly_better_whose_age_is_a_fraction_of_the_others() {
        assert!(is_clearly_better(10, 10 * CLEARLY_BETTER));
        assert!(!is_clearly_better(11, 10 * CLEARLY_BETTER));
        assert!(is_clearly_better(0, 0));
    }
}
