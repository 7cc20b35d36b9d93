//! Heartbeats: the leader says that it lives, the followers watch that it does, and
//! rounds of both confirm that it still leads.

use std::collections::VecDeque;
use std::time::Duration;

use super::effects::{Destination, Effects, Timer};
use super::peer::Peer;
use super::state::ReplicaState;
use crate::time::{Instant, micros, short_micros};
use crate::types::{LogIndex, ReadRound, ServerId, Term};
use crate::wire::{Heartbeat, Message};

/// Time goes on between two heartbeats.
const TIMER_MIN: Duration = Duration::from_millis(1);
/// What was acknowledged longer ago than this is in the state of a node that is in touch.
const IN_TOUCH: Duration = Duration::from_secs(2);
/// With heartbeats that are pinned to be rare: so many of them. It takes three until a follower
/// knows how old its state is.
const IN_TOUCH_BEATS: u32 = 4;

/// Sends heartbeats and counts who answers, as leader; watches the leader, as follower.
#[derive(Debug, Default)]
pub struct HeartbeatManager {
    /// As leader: the newest round begun.
    round: ReadRound,
    /// As leader: rounds begun and not confirmed yet, with their beginnings.
    unconfirmed: VecDeque<(ReadRound, Instant)>,
    /// As leader: the newest round that a majority has answered.
    confirmed: ReadRound,
    /// As leader: when that began.
    confirmed_begun: Option<Instant>,
    /// As follower: the newest round heard, and of which term.
    heard: (Term, ReadRound),
    /// A commit index that is complete as of a time, once this node has reached it.
    promised: Option<(LogIndex, Instant)>,
    /// All that was acknowledged before this is in this node's committed state.
    complete_as_of: Option<Instant>,
}

/// What the watch over the quorum found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// A majority hears this leader.
    Held,
    /// It does not: the leader must step down.
    Lost,
}

impl HeartbeatManager {
    /// Begins to lead.
    pub fn lead(&mut self, state: &mut ReplicaState, fx: &mut Effects) {
        self.unconfirmed.clear();
        self.confirmed = self.round;
        self.confirmed_begun = None;
        self.begin_round(state, fx);
        Self::wait_for_next_beat(state, fx);
    }

    /// Begins the next regular round, by a heartbeat to those who would else hear nothing for
    /// too long.
    pub fn beat(&mut self, state: &mut ReplicaState, fx: &mut Effects) {
        let due =
            |(id, peer): (&ServerId, &Peer)| (peer.timing.next_beat() <= fx.now).then_some(*id);
        let due: Vec<ServerId> = state.peers.iter().filter_map(due).collect();
        if !due.is_empty() || state.peers.is_empty() {
            self.begin_round_with(&due, state, fx);
        }
        Self::wait_for_next_beat(state, fx);
    }

    fn wait_for_next_beat(state: &ReplicaState, fx: &mut Effects) {
        let next = state.next_beat().unwrap_or(fx.now + state.heartbeat_interval);
        fx.arm(Timer::Heartbeat, next.since(fx.now).max(TIMER_MIN));
    }

    /// Begins a round, by a heartbeat to every other node. Returns its number.
    pub fn begin_round(&mut self, state: &mut ReplicaState, fx: &mut Effects) -> ReadRound {
        let all: Vec<ServerId> = state.peers.keys().copied().collect();
        self.begin_round_with(&all, state, fx)
    }

    fn begin_round_with(
        &mut self,
        nodes: &[ServerId],
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) -> ReadRound {
        self.round = self.round.next();
        self.unconfirmed.push_back((self.round, fx.now));
        let heartbeat = Heartbeat {
            term: state.term,
            round: self.round,
            commit: state.commit,
            confirmed_age: self
                .complete_as_of
                .and_then(|at| u32::try_from(micros(fx.now.since(at))).ok()),
            durability_age: state.durability_age(fx.now),
            configuration_index: state.configuration_index(),
            durable: state.durable_in_term(),
            interval: 0,
        };
        for node in nodes {
            let Some(peer) = state.peers.get_mut(node) else { continue };
            peer.timing.beat(&peer.link.measured(), fx.now);
            let interval = short_micros(peer.timing.interval());
            let heartbeat = Heartbeat { interval, ..heartbeat };
            fx.send(Destination::Peer(*node), Message::Heartbeat(heartbeat));
        }
        self.round
    }

    /// Whether a majority of the voters has heard this leader, each within its election
    /// timeout. Contact counts only by a frame of this leader's that they echo: what was
    /// sent longer ago proves nothing about now.
    pub fn check_quorum(state: &ReplicaState, now: Instant) -> Quorum {
        let hearing = state
            .peers
            .iter()
            .filter(|(id, peer)| state.is_voting_peer(**id) && peer.is_heard(now))
            .count();
        let hearing = hearing + usize::from(state.is_voter());
        if state.is_majority(hearing) { Quorum::Held } else { Quorum::Lost }
    }

    /// Counts the answers to rounds. Returns the newest round that a majority has
    /// answered in this term.
    pub fn confirm_rounds(&mut self, state: &ReplicaState) -> ReadRound {
        let mut rounds: Vec<ReadRound> = state
            .peers
            .iter()
            .filter(|(id, _)| state.is_voting_peer(**id))
            .map(|(_, peer)| peer.progress.round)
            .chain(state.is_voter().then_some(self.round))
            .collect();
        rounds.sort_unstable_by(|a, b| b.cmp(a));
        let majority = state.configuration().majority();
        if let Some(&answered) = rounds.get(majority - 1) {
            self.confirmed = self.confirmed.max(answered.min(self.round));
        }
        while let Some(&(round, begun)) = self.unconfirmed.front() {
            if round > self.confirmed {
                break;
            }
            self.unconfirmed.pop_front();
            self.confirmed_begun = Some(begun);
        }
        // Whatever was acknowledged before a confirmed round began was acknowledged by this
        // leader or before it, so it lies below its commit index.
        if state.has_committed_in_term() {
            self.complete_as_of = self.complete_as_of.max(self.confirmed_begun);
        }
        self.confirmed
    }

    /// As leader: whether a majority is known to have answered the round, or a later one.
    pub fn is_confirmed(&self, round: ReadRound) -> bool {
        round <= self.confirmed
    }

    /// Takes in a heartbeat of the leader of this term. `echoed` is when the newest of
    /// this node's frames that the leader had heard was sent: the heartbeat is younger.
    pub fn on_heartbeat(
        &mut self,
        heartbeat: &Heartbeat,
        echoed: Option<Instant>,
        state: &mut ReplicaState,
    ) {
        state.disk_watch.leader_tells(heartbeat.term, heartbeat.durability_age);
        if self.heard.0 != heartbeat.term {
            self.heard = (heartbeat.term, ReadRound(0));
            self.promised = None;
        }
        self.heard.1 = self.heard.1.max(heartbeat.round);
        if let (Some(echoed), Some(age)) = (echoed, heartbeat.confirmed_age) {
            let as_of = echoed - Duration::from_micros(age.into());
            self.promised.get_or_insert((heartbeat.commit, as_of));
        }
        self.keep_promise(state);
    }

    fn keep_promise(&mut self, state: &ReplicaState) {
        if let Some((commit, as_of)) = self.promised
            && state.commit >= commit
        {
            self.complete_as_of = self.complete_as_of.max(Some(as_of));
            self.promised = None;
        }
    }

    /// The newest round of this term that this follower has heard.
    pub fn heard_round(&self, state: &ReplicaState) -> ReadRound {
        if self.heard.0 == state.term { self.heard.1 } else { ReadRound(0) }
    }

    /// How old the committed state can be: microseconds since a time before which all
    /// that was acknowledged is in it. None while that is not known.
    pub fn staleness(&self, now: Instant) -> Option<u64> {
        self.complete_as_of.map(|at| micros(now.since(at)))
    }

    /// Whether this node is in touch with a majority, as leader or by its leader, and its
    /// committed state is not far behind theirs.
    pub fn is_in_touch(&self, state: &ReplicaState, now: Instant) -> bool {
        let most = IN_TOUCH.max(state.heartbeat_interval * IN_TOUCH_BEATS);
        self.complete_as_of.is_some_and(|at| now.since(at) <= most)
    }

    /// A follower answers the leader at most once a turn; this is to whom.
    pub fn leader_to_answer(state: &ReplicaState) -> Option<ServerId> {
        state.leader_id.filter(|leader| *leader != state.server_id)
    }
}
