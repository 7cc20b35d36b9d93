//! What a node does when a timer fires.

use std::time::Duration;

use super::ReplicaNode;
use super::effects::Timer;
use super::election::ElectionManager;
use super::heartbeat::{HeartbeatManager, Quorum};
use super::replication::ReplicationManager;
use super::resumption::Resumption;
use crate::time::Instant;
use crate::wire::Role;

/// A node has fewer timers.
const FIRED_AT_ONCE: usize = 256;
/// A node whose timers are due for longer than this did not run.
const LATE_MAX: Duration = Duration::from_millis(20);

impl ReplicaNode {
    /// Fires the timers that are due, but not without end: the loop comes again at once for
    /// more, and one that is due whenever it fires would let no other input in.
    pub fn on_timeout(&mut self, now: Instant) {
        self.effects.now = now;
        self.excuse_others();
        for _ in 0..FIRED_AT_ONCE {
            let Some((timer, deadline)) = self.effects.pop_expired() else { break };
            self.fire(timer, deadline);
        }
    }

    /// Whoever did not run heard nobody, whoever spoke: what it hears first thereafter ends no
    /// silence, of its leader or of its followers, who may lead next. That nobody has answered a
    /// leader meanwhile is excused below, but once.
    pub(super) fn excuse_others(&mut self) {
        let Self { state, effects: fx, .. } = self;
        let is_late = fx.next_deadline().is_some_and(|due| fx.now.since(due) > LATE_MAX);
        if is_late {
            state.peers.values_mut().for_each(|peer| peer.timing.restart());
        }
    }

    fn fire(&mut self, timer: Timer, deadline: Instant) {
        let Self { state, effects: fx, .. } = self;
        // Who wakes up so late may have been dead: it knows nothing of what others said
        // meanwhile, and draws no conclusion from their silence. But only once: a leader
        // that is late every time is as good as silent itself.
        let overslept = fx.now.since(deadline) > state.timeout() / 2;
        match timer {
            Timer::Genesis => {
                self.genesis.on_timeout(state, fx);
                self.genesis.coordinate(state, fx);
            }
            Timer::Election if overslept => ElectionManager::wait_for_leader(state, fx),
            Timer::Election => {
                self.genesis.ask_around(state, fx);
                self.catch_up.begin();
                let tally = self.election.on_timeout(state, fx);
                self.reads.start_over(fx);
                self.act_on(tally);
            }
            Timer::VoteResend => self.election.ask_for_votes(state, fx),
            Timer::Heartbeat => {
                let excused = overslept && !self.overslept;
                self.overslept = overslept;
                if HeartbeatManager::check_quorum(state, fx.now) == Quorum::Lost && !excused {
                    ::log::warn!("node {}: no majority hears it, steps down", state.server_id);
                    self.step_down();
                } else {
                    self.heartbeat.beat(state, fx);
                    ReplicationManager::note_pace(state, fx.now);
                    self.snapshots.offer(state, fx);
                    self.hand_over_if_asked();
                    self.hand_over_if_stalled();
                    self.hand_over_if_full();
                    self.change_members();
                }
            }
            // The end of the turn says it.
            Timer::Repeat(_) | Timer::Pace(_) | Timer::Pieces(_) | Timer::Answer => {}
            // Who lives hears nothing new; of who does not, the system there may tell.
            Timer::Probe => {
                self.answer_to = HeartbeatManager::leader_to_answer(state);
                if let Some(leader) = self.answer_to {
                    state.watch_for_refusal(leader, fx);
                }
            }
            Timer::Acknowledge => self.acknowledge_again(),
            Timer::Resend(peer) => self.replication.on_silence(peer, state, fx),
            Timer::ReadIndex => self.reads.ask_again(&mut self.heartbeat, state, fx),
            Timer::Fetch => self.snapshots.on_silence(state, fx),
            Timer::Repair => self.repair.on_timeout(state, fx),
            Timer::GoOn if state.role == Role::Leader => {}
            Timer::GoOn => {
                self.replication.go_on(state, fx);
                self.answer_to = HeartbeatManager::leader_to_answer(state);
            }
            Timer::Resume => {
                let ends = Resumption::on_timeout(state, fx);
                self.promise_from_now_on(ends);
            }
            Timer::Sweep => {
                self.requests.sweep(fx);
                self.reads.sweep(fx);
            }
        }
    }
}
