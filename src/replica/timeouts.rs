//! How long a silence counts as one, as this node sees its leader, its followers, and an
//! election that leads to nothing.
//!
//! `link/timing.rs` has the formula, by which each of two nodes judges the other. No promise
//! rests on it: a leader that was given up in error loses its office to an election, which
//! is safe at any time, and answers no read without a round that a majority has answered.

use std::time::Duration;

use super::effects::Effects;
use super::peer::Peer;
use super::state::ReplicaState;
use crate::time::{Instant, micros, short_micros};
use crate::types::{NODES_MAX, ServerId, Term};
use crate::wire::{Heartbeat, Judgment, PeerTimeouts, Role, Timeouts};

/// A candidate waits at least so long for votes, which need a disk.
const VOTES_MIN: Duration = Duration::from_millis(40);
/// The wait for votes doubles at most this often.
const DOUBLED_MAX: u32 = 8;
/// Votes are asked for so often before the pause between doubles.
const ASKED_BEFORE_DOUBLED: u32 = 4;
/// Votes are asked for again no sooner.
const ASK_AGAIN_MIN: Duration = Duration::from_millis(5);

impl Peer {
    /// As leader: whether this follower has heard it, and lately said so.
    pub fn is_heard(&self, now: Instant) -> bool {
        now.since(self.progress.contact) < self.timing.timeout()
    }
}

impl ReplicaState {
    /// How long this node may be silent.
    pub fn timeout_of(&self, node: ServerId) -> Duration {
        self.peers.get(&node).map_or(self.election_timeout, |peer| peer.timing.timeout())
    }

    /// The election timeout: how long the leader may be silent, or the followers of this one.
    pub fn timeout(&self) -> Duration {
        let of_followers = || self.peers.values().map(|peer| peer.timing.timeout()).max();
        match self.leader_id {
            Some(leader) if leader != self.server_id => self.timeout_of(leader),
            Some(_) => of_followers().unwrap_or(self.election_timeout),
            None => self.election_timeout,
        }
    }

    /// Whether the leader was heard freshly within the election timeout.
    pub fn has_leader_contact(&self, now: Instant) -> bool {
        self.leader_contact.is_some_and(|at| now.since(at) < self.timeout()) && !self.is_refused()
    }

    /// How long to wait for a leader from now on.
    pub fn patience(&self, fx: &mut Effects) -> Duration {
        let between = |from: Duration, to: Duration, fx: &mut Effects| {
            Duration::from_micros(fx.random.u64(micros(from)..=micros(to)))
        };
        if let Some(leader) = self.leader_id.filter(|leader| *leader != self.server_id) {
            return self.timeout_of(leader) + self.turn_after(leader, fx);
        }
        let votes = self.time_for_votes();
        between(votes, votes * 2, fx)
    }

    /// How much longer than others this node waits when the leader falls silent: each has its
    /// share of the time over which they are scattered, so that they do not all stand at once.
    pub fn turn_after(&self, leader: ServerId, fx: &mut Effects) -> Duration {
        let Some(peer) = self.peers.get(&leader) else { return Duration::ZERO };
        let others = self.configuration().members.keys().filter(|id| **id != leader);
        let before = others.clone().filter(|id| **id < self.server_id).count();
        let shares = u32::try_from(others.count().max(1)).unwrap_or(1);
        let share = peer.timing.scatter() / shares;
        let within = Duration::from_micros(fx.random.u64(0..=micros(share / 2)));
        share * u32::try_from(before).unwrap_or(0).min(shares) + within
    }

    /// How long to wait for an election, which takes round trips and disks. Each that came to
    /// nothing may have been too short, so the next one gets twice the time.
    fn time_for_votes(&self) -> Duration {
        if self.attempts == 0 || self.pinned.timeout.is_some() {
            return self.election_timeout;
        }
        let shortest = (self.slowest_answer() * 3).max(VOTES_MIN);
        let doubled = shortest * (1 << (self.attempts - 1).min(DOUBLED_MAX));
        doubled.min(self.election_timeout.max(shortest))
    }

    /// How soon to ask again for votes.
    pub fn ask_votes_again_after(&self) -> Duration {
        let doubled = self.asked / ASKED_BEFORE_DOUBLED;
        let pause = self.slowest_answer().max(ASK_AGAIN_MIN) * (1 << doubled.min(DOUBLED_MAX));
        pause.min(self.election_timeout / 8)
    }

    fn slowest_answer(&self) -> Duration {
        let voters = self.peers.iter().filter(|(id, _)| self.is_voting_peer(**id));
        voters.map(|(_, peer)| peer.link.round_trip().timeout()).max().unwrap_or_default()
    }

    /// As leader: how long a majority may take to answer a round.
    pub fn time_for_round(&self) -> Duration {
        let voters = self.peers.iter().filter(|(id, _)| self.is_voting_peer(**id));
        let mut times: Vec<Duration> =
            voters.map(|(_, peer)| peer.link.round_trip().timeout()).collect();
        times.sort_unstable();
        let needed = self.configuration().majority() - usize::from(self.is_voter());
        let last = times.get(needed.saturating_sub(1));
        last.copied().unwrap_or(self.heartbeat_interval)
    }

    /// A frame has come from who leads in the term, or did. How long it was silent before is
    /// learned, also if it was given up meanwhile.
    pub fn note_leader(&mut self, leader: ServerId, term: Term, now: Instant) {
        let Some(peer) = self.peers.get_mut(&leader) else { return };
        if peer.led_in != term {
            peer.led_in = term;
            peer.timing.restart();
        }
        peer.timing.hear(now);
        peer.timing.listen(peer.timing.interval(), &peer.link.measured());
    }

    /// The leader says how often it will speak.
    pub fn note_interval(&mut self, leader: ServerId, heartbeat: &Heartbeat) {
        let Some(peer) = self.peers.get_mut(&leader) else { return };
        let interval = Duration::from_micros(heartbeat.interval.into());
        peer.timing.listen(interval, &peer.link.measured());
    }

    /// As leader: when the next heartbeat is due anywhere.
    pub fn next_beat(&self) -> Option<Instant> {
        debug_assert_eq!(self.role, Role::Leader);
        self.peers.values().map(|peer| peer.timing.next_beat()).min()
    }

    /// How long others may be silent, and what that follows from, for whoever asks.
    pub fn timeouts(&self, nonce: u64) -> Timeouts {
        let peers = self.peers.iter().take(NODES_MAX);
        Timeouts {
            nonce,
            id: self.server_id,
            leader_id: self.leader_id,
            election_timeout: short_micros(self.timeout()),
            pinned_timeout: self.pinned.timeout.map(short_micros),
            pinned_interval: self.pinned.interval.map(short_micros),
            peers: peers.map(|(id, peer)| self.timeouts_of(*id, peer)).collect(),
        }
    }

    fn timeouts_of(&self, id: ServerId, peer: &Peer) -> PeerTimeouts {
        let Peer { link, timing, .. } = peer;
        let measured = link.measured();
        let judgment = Judgment {
            rounds: u8::try_from(timing.lost()).unwrap_or(u8::MAX),
            interval: short_micros(timing.interval()),
            timeout: short_micros(timing.timeout()),
            basis: timing.basis(),
        };
        let leads = |node| self.leader_id == Some(node);
        PeerTimeouts {
            id,
            round_trip: measured.round_trip.smoothed().map(short_micros),
            variation: short_micros(measured.round_trip.variation()),
            losses: measured.losses,
            enough: measured.enough,
            congested: measured.round_trip.is_congested(),
            longest_silence: short_micros(timing.longest_silence()),
            judgment: (leads(id) || leads(self.server_id)).then_some(judgment),
        }
    }
}
