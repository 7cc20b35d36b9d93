//! What arrives of what is sent, a round trip at a time.

use std::time::Duration;

use super::super::{SENT_TIMES, slot};
use crate::time::Instant;
use crate::types::PacketNumber;

/// Counts the bytes that are sent, and finds out how many of them were on the way in a round.
#[derive(Debug)]
pub struct Rounds {
    /// How many bytes were sent.
    sent: u64,
    /// The same up to each of the newest packets, with it: as many as may be echoed.
    sent_up_to: Vec<u64>,
    /// How many of them were sent up to the newest packet that is known to have arrived.
    reached: u64,
    /// Of so many bytes none is under way any more: they arrived, or count as lost.
    settled: u64,
    /// When the last of them did.
    settled_at: Instant,
    round: Round,
}

/// A time in which what was sent at its beginning arrives.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// How many bytes were sent up to its end.
    upto: u64,
    /// How many had arrived at its beginning, and when that was.
    reached: u64,
    began: Instant,
    /// The shortest round trip in it.
    shortest: Duration,
    /// There was less to send than the way would have carried.
    was_idle: bool,
}

/// What a round tells that has ended.
#[derive(Clone, Copy, Debug)]
pub struct EndedRound {
    /// When it ended.
    pub at: Instant,
    /// How long it was.
    pub took: Duration,
    /// How many bytes arrived in it, or were lost.
    pub bytes: u64,
    /// The shortest round trip in it.
    pub round_trip: Duration,
    /// There was less to send than the way would have carried.
    pub was_idle: bool,
}

impl Rounds {
    /// Nothing was sent yet.
    pub fn new(now: Instant) -> Self {
        let (sent, reached) = (0, 0);
        let round = Round::beginning(now, sent, reached);
        let (settled, settled_at) = (reached, now);
        Self { sent, sent_up_to: vec![0; SENT_TIMES], reached, settled, settled_at, round }
    }

    /// A frame of so many bytes leaves.
    pub fn on_sent(&mut self, packet: PacketNumber, bytes: usize) {
        self.sent += bytes as u64;
        self.sent_up_to[slot(packet)] = self.sent;
    }

    /// There is less to send in this round than the way would carry.
    pub fn note_idle(&mut self) {
        self.round.was_idle = true;
    }

    /// The packet, one of the newest, has arrived, after such a round trip.
    pub fn on_arrived(&mut self, packet: PacketNumber, at: Instant, round_trip: Duration) {
        self.reached = self.reached.max(self.sent_up_to[slot(packet)]);
        self.settled = self.settled.max(self.reached);
        self.settled_at = self.settled_at.max(at);
        self.round.shortest = self.round.shortest.min(round_trip);
    }

    /// How many bytes were sent that are not known to have arrived, and do not count as lost.
    pub fn under_way(&self) -> u64 {
        self.sent - self.settled
    }

    /// Nothing was heard for so long that all that is under way counts as lost.
    pub fn give_up(&mut self, now: Instant) {
        (self.settled, self.settled_at) = (self.sent, now);
    }

    /// When the last arrived that did, or was given up.
    pub fn settled_at(&self) -> Instant {
        self.settled_at
    }

    /// Ends the round if that has taken so long at least, and all has arrived that it was for.
    pub fn end(&mut self, at: Instant, least: Duration) -> Option<EndedRound> {
        let Round { upto, reached, began, shortest, was_idle } = self.round;
        let took = at.since(began);
        if self.reached < upto || took < least {
            return None;
        }
        self.round = Round::beginning(at, self.sent, self.reached);
        let bytes = self.reached - reached;
        Some(EndedRound { at, took, bytes, round_trip: shortest, was_idle })
    }
}

impl Round {
    fn beginning(now: Instant, upto: u64, reached: u64) -> Self {
        Self { upto, reached, began: now, shortest: Duration::MAX, was_idle: upto == 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_is_no_more_under_way_whatever_comes_late() {
        let mut rounds = Rounds::new(Instant(0));
        rounds.on_sent(PacketNumber(1), 100);
        rounds.on_sent(PacketNumber(2), 100);
        let echo = |rounds: &mut Rounds| {
            rounds.on_arrived(PacketNumber(1), Instant(5), Duration::from_micros(5));
            (rounds.under_way(), rounds.settled_at())
        };
        assert_eq!(echo(&mut rounds), (100, Instant(5)));
        rounds.give_up(Instant(60));
        assert_eq!(echo(&mut rounds), (0, Instant(60)));
    }
}
