//! A link that carries only so much, with a queue before it.

use std::time::Duration;

use quorate::time::Instant;

/// What Ethernet, IPv4 and UDP add to each datagram.
const HEADERS: usize = 14 + 20 + 8;

/// A link that carries only so much. What does not fit into the queue before it is lost.
#[derive(Clone, Debug)]
pub struct Uplink {
    bytes_per_second: u64,
    /// How long a frame may wait for those before it.
    queue: Duration,
    /// When the last of those in the queue will have left.
    free_at: Instant,
}

impl Uplink {
    pub fn new(bytes_per_second: u64, queue: Duration) -> Self {
        Self { bytes_per_second, queue, free_at: Instant(0) }
    }

    /// When a datagram of this length will have left; none: there was no room for it.
    pub fn carry(&mut self, now: Instant, length: usize) -> Option<Instant> {
        let begins = self.free_at.max(now);
        if begins.since(now) > self.queue {
            return None;
        }
        let micros = (length + HEADERS) as u64 * 1_000_000 / self.bytes_per_second;
        self.free_at = begins + Duration::from_micros(micros);
        Some(self.free_at)
    }
}
