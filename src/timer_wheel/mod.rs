//! A hierarchical timer wheel (Varghese and Lauck, 1987): arming, cancelling and arming
//! anew take constant time, however many timers there are.
//!
//! A deadline is a number with eleven digits of base 64. The wheel stands at a position
//! in time, and a timer lies at the level of the highest digit in which its deadline
//! differs from the position, in the slot that this digit names:
//!
//! ```text
//!   level 10   16 slots of 2^60 µs  [ | | | ...  |x]   never
//!     ...
//!   level  2   64 slots of 4,096 µs [ | | |x| ...| ]   later in these 262 ms
//!   level  1   64 slots of 64 µs    [ | | | | ...|x]   later in these 4,096 µs
//!   level  0   64 slots of 1 µs     [ |p|x| | ...| ]   in these 64 µs
//!                                      ^ the position; overdue timers lie here too
//! ```
//!
//! So all timers of a level are due before any of a higher one, and those of a slot
//! before any of a later one. When the first slot that holds timers begins, the position
//! moves to its beginning and its timers spread over the levels below; each timer moves
//! down ten times at most. What is due lies at level 0, to the microsecond.
//!
//! The timers of a slot are a doubly linked list in the order in which they were armed.
//! Those with the same deadline are always in the same slot, so they fire in that order.

mod slots;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash};

use slab::Slab;

use crate::time::Instant;
use slots::{Place, Slot, Slots};

/// Timers by key.
#[derive(Debug)]
pub struct TimerWheel<K> {
    /// No slot before the position's own holds a timer.
    position: Instant,
    timers: Slab<Timer<K>>,
    /// Only ever looked up, never iterated.
    by_key: HashMap<K, TimerIndex, BuildHasherDefault<DefaultHasher>>,
    slots: Slots,
}

/// A timer's place in the slab.
type TimerIndex = usize;

#[derive(Clone, Copy, Debug)]
struct Timer<K> {
    key: K,
    deadline: Instant,
    previous: Option<TimerIndex>,
    next: Option<TimerIndex>,
}

impl<K: Copy + Eq + Hash> TimerWheel<K> {
    /// An empty wheel that stands at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            position: now,
            timers: Slab::new(),
            by_key: HashMap::default(),
            slots: Slots::default(),
        }
    }

    /// Arms the timer, or arms it anew. A deadline that has passed is due at once.
    pub fn arm(&mut self, key: K, deadline: Instant) {
        self.cancel(key);
        let timer = self.timers.insert(Timer { key, deadline, previous: None, next: None });
        self.by_key.insert(key, timer);
        self.link(timer);
    }

    /// Cancels the timer if it is armed.
    pub fn cancel(&mut self, key: K) {
        if let Some(&timer) = self.by_key.get(&key) {
            self.remove(timer);
        }
    }

    /// Whether the timer is armed.
    pub fn is_armed(&self, key: K) -> bool {
        self.by_key.contains_key(&key)
    }

    /// When to call [`Self::pop_expired`] again: the next deadline, or a little earlier
    /// where the timer that was next has been cancelled.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.slots.first().map(|place| self.slots.get(place).earliest)
    }

    /// Takes out one timer that is due at `now`, with its deadline: the earliest, and of
    /// several with one deadline the one that was armed first.
    pub fn pop_expired(&mut self, now: Instant) -> Option<(K, Instant)> {
        while let Some(place) = self.slots.first() {
            if place.level == 0 {
                let first = self.slots.get(place).first?;
                if self.timers[first].deadline <= now {
                    let timer = self.remove(first);
                    return Some((timer.key, timer.deadline));
                }
                break;
            }
            let begins_at = place.begins_at(self.position);
            if begins_at > now {
                break;
            }
            self.position = begins_at;
            self.spread(place);
        }
        self.position = self.position.max(now);
        None
    }

    /// Moves the timers of a slot that begins now to the levels below, in their order.
    fn spread(&mut self, place: Place) {
        let mut next = self.slots.take(place).first;
        while let Some(timer) = next {
            next = self.timers[timer].next;
            self.link(timer);
        }
    }

    /// Puts the timer at the end of its slot; an overdue one before those due later.
    fn link(&mut self, timer: TimerIndex) {
        let deadline = self.timers[timer].deadline;
        let place = Place::of(deadline, self.position);
        let mut slot = self.slots.get(place);
        let mut previous = slot.last;
        if deadline < self.position {
            while let Some(later) = previous
                && self.timers[later].deadline > deadline
            {
                previous = self.timers[later].previous;
            }
        }
        let next = previous.map_or(slot.first, |previous| self.timers[previous].next);
        (self.timers[timer].previous, self.timers[timer].next) = (previous, next);
        self.join(&mut slot, previous, Some(timer));
        self.join(&mut slot, Some(timer), next);
        slot.earliest = slot.earliest.min(deadline);
        self.slots.set(place, slot);
    }

    /// Takes the timer out of its slot, its key and the slab.
    fn remove(&mut self, timer: TimerIndex) -> Timer<K> {
        let timer = self.timers.remove(timer);
        self.by_key.remove(&timer.key);
        let place = Place::of(timer.deadline, self.position);
        let mut slot = self.slots.get(place);
        self.join(&mut slot, timer.previous, timer.next);
        self.slots.set(place, slot);
        timer
    }

    /// Makes the two timers neighbours; none stands for the end of the slot's list.
    fn join(&mut self, slot: &mut Slot, one: Option<TimerIndex>, other: Option<TimerIndex>) {
        match one {
            Some(one) => self.timers[one].next = other,
            None => slot.first = other,
        }
        match other {
            Some(other) => self.timers[other].previous = one,
            None => slot.last = one,
        }
    }
}
