//! A TCP flow that others share a link with: CUBIC (RFC 9438), which always has more to send.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate::time::Instant;

/// Bytes of a full segment, with TCP's headers but without those of IP and Ethernet.
pub const SEGMENT_BYTES: usize = 1_466;
/// A segment that so many later ones have overtaken is lost.
const OVERTAKEN_BY: usize = 3;
/// A flow that is not answered for so long begins anew.
const TIMEOUT: Duration = Duration::from_millis(500);
const BETA: f64 = 0.7;
const C: f64 = 0.4;

/// The sending side.
#[derive(Debug)]
pub struct Cubic {
    window: f64,
    threshold: f64,
    /// The window that Reno would have by now, as often as it halves.
    renos: f64,
    /// The window before the last loss, and when that was.
    greatest: f64,
    lost_at: Option<Instant>,
    next: u64,
    /// What was sent up to here counts for one loss.
    recovered_at: u64,
    in_flight: BTreeSet<u64>,
    heard_at: Instant,
    /// How many segments have arrived.
    pub arrived: u64,
}

impl Cubic {
    pub fn new(now: Instant) -> Self {
        Self {
            window: 10.0,
            threshold: f64::MAX,
            renos: 0.0,
            greatest: 0.0,
            lost_at: None,
            next: 0,
            recovered_at: 0,
            in_flight: BTreeSet::new(),
            heard_at: now,
            arrived: 0,
        }
    }

    /// The number of a segment to send now.
    pub fn next_to_send(&mut self) -> Option<u64> {
        let in_flight = u32::try_from(self.in_flight.len()).expect("few segments");
        if f64::from(in_flight) >= self.window {
            return None;
        }
        self.next += 1;
        self.in_flight.insert(self.next);
        Some(self.next)
    }

    /// The segment is acknowledged.
    pub fn on_acknowledged(&mut self, segment: u64, now: Instant) {
        self.heard_at = now;
        self.arrived += u64::from(self.in_flight.remove(&segment));
        self.grow(now);
        while let Some(&oldest) = self.in_flight.first()
            && oldest + (OVERTAKEN_BY as u64) <= segment
        {
            self.in_flight.remove(&oldest);
            self.on_lost(oldest, now);
        }
    }

    fn grow(&mut self, now: Instant) {
        let Some(lost_at) = self.lost_at.filter(|_| self.window >= self.threshold) else {
            self.window += 1.0;
            return;
        };
        let back = (self.greatest * (1.0 - BETA) / C).cbrt();
        let target = C * (now.since(lost_at).as_secs_f64() - back).powi(3) + self.greatest;
        let alpha =
            if self.renos < self.greatest { 3.0 * (1.0 - BETA) / (1.0 + BETA) } else { 1.0 };
        self.renos += alpha / self.window;
        self.window += (target.min(1.5 * self.window) - self.window).max(0.0) / self.window;
        self.window = self.window.max(self.renos);
    }

    fn on_lost(&mut self, segment: u64, now: Instant) {
        if segment <= self.recovered_at {
            return;
        }
        self.recovered_at = self.next;
        // Fast convergence: who has less than before leaves room for others.
        let less = self.window < self.greatest;
        self.greatest = if less { self.window * (1.0 + BETA) / 2.0 } else { self.window };
        self.window = (self.window * BETA).max(2.0);
        (self.threshold, self.renos, self.lost_at) = (self.window, self.window, Some(now));
    }

    /// Time passes.
    pub fn on_time(&mut self, now: Instant) {
        if now.since(self.heard_at) >= TIMEOUT {
            self.in_flight.clear();
            self.on_lost(self.next, now);
            (self.window, self.heard_at) = (2.0, now);
        }
    }
}
