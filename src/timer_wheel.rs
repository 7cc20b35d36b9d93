//! A hierarchical timer wheel. (Interface; the implementation replaces this stub.)

use std::hash::Hash;

use crate::time::Instant;

/// Timers by key.
#[derive(Debug)]
pub struct TimerWheel<K> {
    keys: Vec<(Instant, K)>,
}

impl<K: Copy + Eq + Hash + Ord> TimerWheel<K> {
    /// An empty wheel that starts turning at `now`.
    pub fn new(_now: Instant) -> Self {
        Self { keys: Vec::new() }
    }

    /// Arms the timer, or arms it anew.
    pub fn arm(&mut self, key: K, deadline: Instant) {
        self.cancel(key);
        self.keys.push((deadline, key));
        self.keys.sort_unstable();
    }

    /// Cancels the timer if it is armed.
    pub fn cancel(&mut self, key: K) {
        self.keys.retain(|(_, k)| *k != key);
    }

    /// Whether the timer is armed.
    pub fn is_armed(&self, key: K) -> bool {
        self.keys.iter().any(|(_, k)| *k == key)
    }

    /// When the loop must look again.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.keys.first().map(|(deadline, _)| *deadline)
    }

    /// Takes out one timer that is due at `now`, with its deadline.
    pub fn pop_expired(&mut self, now: Instant) -> Option<(K, Instant)> {
        let (deadline, key) = *self.keys.first()?;
        (deadline <= now).then(|| {
            self.keys.remove(0);
            (key, deadline)
        })
    }
}
