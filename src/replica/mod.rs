//! The protocol: one node, without sockets, files, clocks or threads.
//!
//! [`ReplicaNode`] owns the [`ReplicaState`] and the managers, and lends each of them
//! `&mut ReplicaState` and the sink of [`Effects`]. Managers never call each other: one
//! that wants another to act returns a small enum, and the node makes the move.
//!
//! `on_*` methods take in what happens and may ignore it; `become_*`, `step_down` and
//! `follow` change what the node is; `send_*` puts a message into the sink; `poll_*` and
//! `take_*` hand out what is to be done.

mod admission;
mod assembly;
mod callers;
mod catch_up;
mod config;
mod copies;
mod decline;
mod digest;
mod disk_stall;
mod doubt;
mod effects;
mod election;
mod genesis;
mod hand_over;
mod heartbeat;
mod in_flight;
mod index_ranges;
mod lives;
mod log;
mod membership;
mod peer;
mod peers;
mod pace;
mod pins;
mod progress;
mod reads;
mod receive;
mod refusal;
mod repair;
mod replication;
mod requests;
mod retired;
mod resumption;
mod salvage;
mod send;
mod shares;
mod sightings;
mod snapshots;
mod space;
mod state;
mod status;
mod timeouts;
mod timers;
mod unguessable;

pub use config::{
    DISK_STALL, ELECTION_TIMEOUT, HEARTBEAT_INTERVAL, KEPT_ENTRIES, ListedNode, NodeConfig,
};
pub use effects::{Batch, ClientPath, Destination, Effects, Outgoing, Timer};
pub use election::ElectionManager;
pub use heartbeat::HeartbeatManager;
pub use log::{Base, Log};
pub use membership::MembershipManager;
pub use peer::Peer;
pub use replication::ReplicationManager;
pub use retired::Retired;
pub use salvage::last_state;
pub use sightings::Life;
pub use snapshots::{OwnSnapshots, SnapshotManager};
pub use space::Room;
pub use state::ReplicaState;
pub use unguessable::Randomness;

use std::time::Duration;

use crate::access::Access;
use crate::configuration::Configuration;
use crate::disk::{Damage, Record, Recovered};
use crate::store::{Snapshot, Store};
use crate::time::Instant;
use crate::types::{LogIndex, ServerId, Term};
use crate::wire::{Message, PortStatus, Role, ScrubStatus, TurnTimes};
use callers::Callers;
use catch_up::CatchUp;
use copies::{LaterAnswers, News};
use election::Tally;
use genesis::Genesis;
use reads::ReadManager;
use repair::RepairManager;
use requests::RequestManager;
use resumption::Resumption;

/// What of the journal a snapshot that was written makes needless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    /// Everything up to this index.
    pub upto: LogIndex,
    /// The snapshot took the place of the log. The record of that, in the next batch, must be
    /// on the disk before anything is given up.
    pub installed: bool,
}

/// The whole of one node.
#[derive(Debug)]
pub struct ReplicaNode {
    state: ReplicaState,
    genesis: Genesis,
    election: ElectionManager,
    catch_up: CatchUp,
    heartbeat: HeartbeatManager,
    replication: ReplicationManager,
    membership: MembershipManager,
    requests: RequestManager,
    reads: ReadManager,
    snapshots: SnapshotManager,
    repair: RepairManager,
    effects: Effects,
    /// The leader whose frames of this turn are answered at its end.
    answer_to: Option<ServerId>,
    callers: Callers,
    later_answers: LaterAnswers,
    news: News,
    /// The commit index that the journal was last told.
    recorded_commit: LogIndex,
    /// The last heartbeat was due long before it was sent.
    overslept: bool,
    kept_entries: u64,
    started_at: Instant,
    scrub: ScrubStatus,
    longest_turn: TurnTimes,
    port: PortStatus,
}

impl ReplicaNode {
    /// A node that goes on from what its directory held.
    pub fn new(
        config: &NodeConfig,
        recovered: Recovered,
        now: Instant,
        randomness: &Randomness,
    ) -> Self {
        let mut effects = Effects::new(now, randomness);
        let mut state = ReplicaState::recovered(config, recovered, &mut effects);
        if state.is_born() {
            ElectionManager::wait_for_leader(&mut state, &mut effects);
        } else {
            effects.arm(Timer::Genesis, Duration::ZERO);
        }
        if state.in_doubt.is_there() {
            effects.arm(Timer::Repair, Duration::ZERO);
        }
        Self {
            recorded_commit: state.commit,
            state,
            genesis: Genesis::new(config),
            election: ElectionManager::default(),
            catch_up: CatchUp::default(),
            heartbeat: HeartbeatManager::default(),
            replication: ReplicationManager::default(),
            membership: MembershipManager::default(),
            requests: RequestManager::default(),
            reads: ReadManager::default(),
            snapshots: SnapshotManager::default(),
            repair: RepairManager::default(),
            answer_to: None,
            callers: Callers::new(effects.random_packet()),
            later_answers: LaterAnswers::default(),
            news: News::default(),
            effects,
            overslept: false,
            kept_entries: config.kept_entries,
            started_at: now,
            scrub: ScrubStatus::default(),
            longest_turn: TurnTimes::default(),
            port: PortStatus::default(),
        }
    }

    /// Ends a turn: what came in during it goes on as one set of frames per node.
    pub fn end_turn(&mut self, now: Instant) {
        self.effects.now = now;
        let Self { state, effects: fx, .. } = self;
        state.meet_peers(fx);
        if state.role == Role::Leader {
            ReplicationManager::advance_commit(state);
            self.requests.release(state, fx);
            self.membership.release(state, fx);
            self.leave_if_removed();
        }
        let Self { state, effects: fx, .. } = self;
        if state.role == Role::Leader {
            self.reads.end_turn(&mut self.heartbeat, state, fx);
            self.replication.send_to_all(state, fx);
        } else {
            self.reads.end_turn(&mut self.heartbeat, state, fx);
            if let Some(leader) = self.answer_to.take() {
                self.acknowledge(leader);
            }
        }
        let Self { state, effects: fx, .. } = self;
        self.snapshots.end_turn(state, fx);
        state.peers.values_mut().for_each(|peer| peer.delivery.end_turn());
        state.end_turn(fx);
        state.forget_entries(self.kept_entries, self.snapshots.oldest_sent());
    }

    fn acknowledge(&mut self, leader: ServerId) {
        let Self { state, effects: fx, .. } = self;
        let mut acknowledge = self.replication.acknowledge(state, fx);
        acknowledge.round = self.heartbeat.heard_round(state);
        let copies = state.copies_to(leader);
        if let Some(until) = self.news.wait(&acknowledge, copies.times, fx.now) {
            return fx.arm(Timer::Acknowledge, until.since(fx.now));
        }
        let left = self.news.on_said(&acknowledge, copies);
        let message = Message::Acknowledge(acknowledge);
        let at_once = if copies.spacing.is_zero() { left } else { 0 };
        for _ in 0..at_once {
            fx.send(Destination::Peer(leader), message.clone());
        }
        state.count_copies(leader, at_once);
        fx.send(Destination::Peer(leader), message);
        if at_once < left {
            fx.arm(Timer::Acknowledge, copies.spacing);
        } else {
            fx.cancel(Timer::Acknowledge);
        }
    }

    /// The leader may not have heard the newest news. If it is not answered anyway, and nothing
    /// has waited for the disk, the frame is a copy.
    fn acknowledge_again(&mut self) {
        let Self { state, answer_to, news, .. } = self;
        let leader = HeartbeatManager::leader_to_answer(state);
        let is_copy = answer_to.is_none() && !news.is_waiting();
        if let Some(leader) = leader.filter(|_| is_copy) {
            state.count_copies(leader, 1);
        }
        *answer_to = leader;
    }

    /// When the node must be called again, at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.effects.next_deadline()
    }

    /// What must be made durable. Batches must be synced in the order they are taken.
    pub fn take_batch(&mut self) -> Option<Batch> {
        // Whatever is written anyway takes the commit index along, so that a restarted
        // node knows it; for its own sake nothing is written.
        if self.effects.has_records() && self.state.commit > self.recorded_commit {
            self.recorded_commit = self.state.commit;
            self.effects.record(Record::Commit(self.state.commit));
        }
        self.record_sightings();
        self.effects.take_batch()
    }

    /// The batch is durable: what it promised may be said.
    pub fn on_synced(&mut self, now: Instant, batch: Batch) {
        self.effects.now = now;
        let durable_before = self.state.log.durable();
        self.state.log.on_synced(batch.sequence());
        if self.state.role != Role::Leader {
            self.replication.go_on(&mut self.state, &mut self.effects);
        }
        if self.state.log.durable() > durable_before {
            self.answer_to = HeartbeatManager::leader_to_answer(&self.state);
        }
        for message in self.effects.keep_promises(batch) {
            self.on_own_message(message);
        }
    }

    /// A snapshot to write to the disk, beside the batches. It comes when the one before it
    /// was written, or was refused.
    pub fn take_snapshot(&mut self) -> Option<Snapshot> {
        self.state.snapshots.take_to_write()
    }

    /// The snapshot that was taken is on the disk, under its name. Returns what of the journal
    /// is no longer needed.
    pub fn on_snapshot_written(&mut self, now: Instant) -> Covered {
        self.effects.now = now;
        let Self { state, effects: fx, .. } = self;
        let mut installed = false;
        state.space.snapshot_waits(false);
        if let Some(snapshot) = state.snapshots.on_written()
            && snapshot.index() > state.commit
        {
            installed = true;
            ::log::info!("node {}: goes on from a snapshot, {}", state.server_id, snapshot.index());
            state.install(&snapshot, fx);
            self.answer_to = HeartbeatManager::leader_to_answer(state);
        }
        Covered { upto: state.snapshots.durable_index(), installed }
    }

    /// There was no room on the disk for the snapshot that was taken.
    pub fn on_snapshot_refused(&mut self) {
        self.state.space.snapshot_waits(true);
        self.state.snapshots.on_refused();
    }

    /// Damage was found on the disk, which waits for its repair. This may be said again until
    /// it is repaired: what can be done depends on what is committed by then.
    pub fn on_damage(&mut self, damage: &Damage) {
        let is_of_state = damage.snapshot || !damage.segments.is_empty();
        if is_of_state && self.state.is_born() {
            self.state.mend_disk(damage.snapshot);
        }
    }

    /// How reading the disk again goes.
    pub fn on_scrub(&mut self, scrub: ScrubStatus) {
        self.scrub = scrub;
    }

    /// What was measured of the disk.
    pub fn on_room(&mut self, room: Room) {
        self.state.space.measured(room, self.state.store.tentative());
    }

    /// The keys are others now, and so is what their holders may do.
    pub fn set_access(&mut self, access: Access) {
        self.state.access = access;
    }

    /// The longest turns of the loop that runs the node, which its status shows.
    pub fn on_turn_times(&mut self, longest: TurnTimes) {
        self.longest_turn = longest;
    }

    /// What came of datagrams at the node's own socket, which its status shows.
    pub fn on_port(&mut self, port: PortStatus) {
        self.port = port;
    }

    /// What nobody needs any more. To free it takes long: drop it beside the loop.
    pub fn take_retired(&mut self) -> Option<Retired> {
        let roots = self.state.store.take_retired().map(Retired::Roots);
        roots.or_else(|| self.state.take_retired()).or_else(|| self.effects.take_retired())
    }

    /// What this node promised itself has become durable.
    fn on_own_message(&mut self, message: Message) {
        let Self { state, effects: fx, .. } = self;
        let myself = state.server_id;
        match message {
            Message::VoteReply(vote) => {
                let tally = self.election.on_vote_reply(myself, vote, state);
                self.act_on(tally);
            }
            Message::GenesisAccept(genesis) => {
                let directory = state.identity.directory;
                self.genesis.on_accept(myself, directory, genesis, state, fx);
            }
            Message::GenesisComplete(configuration) => self.be_born(&configuration),
            Message::Resume(_) => Resumption::be_reborn(state, fx),
            other => unreachable!("a node promises itself no {other:?}"),
        }
    }

    fn be_born(&mut self, configuration: &Configuration) {
        let Self { state, effects: fx, .. } = self;
        if state.is_born() {
            return;
        }
        ::log::info!("node {}: the cluster {} is born", state.server_id, configuration.genesis);
        state.be_born(configuration.clone());
        self.recorded_commit = state.commit;
        for &peer in state.peers.keys() {
            let message = Message::GenesisComplete(configuration.clone());
            fx.send(Destination::Peer(peer), message);
        }
        fx.cancel(Timer::Genesis);
        ElectionManager::wait_for_leader(state, fx);
    }

    fn act_on(&mut self, tally: Tally) {
        match tally {
            Tally::Pending => {}
            Tally::MayStand => self.election.stand(false, &mut self.state, &mut self.effects),
            Tally::Won => self.become_leader(),
            Tally::HigherTerm(term) => self.step_down_to(term),
            Tally::Lacks(voter) => self.catch_up.ask(voter, &self.state, &mut self.effects),
        }
    }

    fn become_leader(&mut self) {
        let Self { state, effects: fx, .. } = self;
        ::log::info!("node {}: leads in term {}", state.server_id, state.term);
        self.election.give_up(state, fx);
        state.role = Role::Leader;
        state.leader_id = Some(state.server_id);
        state.attempts = 0;
        fx.cancel(Timer::Election);
        state.forget_told(fx);
        self.reads.start_over(fx);
        self.replication.lead(state, fx);
        self.heartbeat.lead(state, fx);
    }

    /// Takes up a higher term, as follower.
    fn step_down_to(&mut self, term: Term) {
        self.state.take_up_term(term, &mut self.effects);
        self.step_down();
    }

    /// Ceases to lead or to stand; waits for a leader.
    fn step_down(&mut self) {
        let Self { state, effects: fx, .. } = self;
        self.election.give_up(state, fx);
        if state.role == Role::Leader {
            state.role = Role::Follower;
            state.leader_id = None;
            self.requests.dismiss(state, fx);
            self.membership.dismiss(state, fx);
            fx.cancel(Timer::Heartbeat);
            for &peer in state.peers.keys() {
                fx.cancel(Timer::Resend(peer));
                fx.cancel(Timer::Repeat(peer));
                fx.cancel(Timer::Pace(peer));
            }
        }
        self.reads.start_over(fx);
        ElectionManager::wait_for_leader(state, fx);
    }

    /// Makes the next change of the members that nobody has to ask for.
    fn change_members(&mut self) {
        let Self { state, effects: fx, .. } = self;
        if let Some(changed) = self.membership.next_change(state, fx.now) {
            self.replication.propose_configuration(&changed, state, fx);
        }
    }

    /// A leader that is no member any more leads only until that is committed: then it
    /// hands over and steps down.
    fn leave_if_removed(&mut self) {
        let state = &self.state;
        if state.is_voter() || state.configuration_index() > state.commit {
            return;
        }
        ::log::info!("node {}: is no member any more, steps down", state.server_id);
        self.ask_successor();
        self.step_down();
    }

    /// Whether nothing keeps the node from stopping. Who led stays until another leads,
    /// since the successor may need its vote, unless so few are heard that none can.
    pub fn may_stop(&self) -> bool {
        let state = &self.state;
        let alone = !state.is_born() || state.configuration().members.len() == 1;
        if alone || !state.handing_over {
            return true;
        }
        let succeeded = state.leader_id.is_some_and(|leader| leader != state.server_id);
        let silent = status::silent_members(state, self.effects.now).len();
        succeeded || !state.is_majority(state.configuration().members.len() - silent)
    }

    /// Why the node must not go on, as a sentence: most listed nodes contradict its list.
    pub fn contradicted(&self) -> Option<String> {
        if self.state.is_born() { None } else { self.genesis.contradicted(self.effects.now) }
    }

    /// Who the node is, and how it sees the others.
    pub fn state(&self) -> &ReplicaState {
        &self.state
    }

    /// The replicated state machine.
    pub fn store(&self) -> &Store {
        &self.state.store
    }
}
