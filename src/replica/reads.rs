//! Linearizable reads, at the leader and at followers, and stale ones.
//!
//! docs/guarantees.md: "Reads and writes are linearizable, whoever is asked. A read waits
//! for a round of heartbeats that began after it arrived and that a majority answered in
//! this term". So this leader still led when the read arrived, and its commit index covers
//! all that was acknowledged before, provided that it has committed an entry of its own
//! term. A follower asks the leader for that index and waits until its own commit index
//! has reached it.
//!
//! docs/guarantees.md: "A stale read must be asked for". It, too, is answered from the
//! committed state alone.

use std::collections::VecDeque;
use std::time::Duration;

use super::HeartbeatManager;
use super::decline::{decline, not_leader};
use super::effects::{ClientPath, Destination, Effects, Timer};
use super::pins::Pins;
use super::state::ReplicaState;
use crate::time::Instant;
use crate::types::{LogIndex, ReadRound, ServerId};
use crate::wire::{About, DeclineReason, Message, Read, ReadIndexReply, ReadIndexRequest, Role};

/// The most reads that may wait at once.
const WAITING_MAX: usize = 65_536;
/// How long a read waits for its proof: its client asks again long before.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Proves reads, and answers them from the committed state.
#[derive(Debug, Default)]
pub struct ReadManager {
    /// Reads for which no proof was asked yet.
    arrived: Vec<Pending>,
    /// Reads that wait for the same proof, oldest first.
    groups: VecDeque<Group>,
    waiting: usize,
    /// As follower: the number of the newest batch that the leader was asked for.
    batch: u64,
    pins: Pins,
}

#[derive(Debug)]
struct Pending {
    asker: Asker,
    since: Instant,
}

/// Who waits for a proof.
#[derive(Debug)]
enum Asker {
    Client(Read, ClientPath),
    Follower(ServerId, u64),
}

#[derive(Debug)]
struct Group {
    proof: Proof,
    pending: Vec<Pending>,
}

/// What a group of reads waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// As leader: a majority's answer to this round.
    Round(ReadRound),
    /// As follower: the leader's answer to this batch.
    Batch(u64),
    /// As follower: this node's own commit index.
    Commit(LogIndex),
}

impl ReadManager {
    /// Takes in a read, or a wish for further pages of one.
    pub fn on_read(
        &mut self,
        read: Read,
        client: ClientPath,
        heartbeat: &HeartbeatManager,
        state: &ReplicaState,
        fx: &mut Effects,
    ) {
        if let Err(denial) = state.access.check_read(client.key, read.query.prefix()) {
            decline(About::Read(read.read), client, DeclineReason::Denied(denial), state, fx);
        } else if read.pin != 0 || read.page > 0 {
            // What it goes on with must have begun here. No pin has the number zero.
            if let Err(reason) = self.pins.send_further_pages(&read, client, fx) {
                decline(About::Read(read.read), client, reason, state, fx);
            }
        } else if !state.is_born() {
            decline(About::Read(read.read), client, DeclineReason::NotBorn, state, fx);
        } else if read.stale {
            self.answer(&read, client, heartbeat.staleness(fx.now), state, fx);
        } else {
            self.wait(Asker::Client(read, client), state, fx);
        }
    }

    /// As leader: a follower asks at which index it may answer.
    pub fn on_read_index_request(
        &mut self,
        from: ServerId,
        request: ReadIndexRequest,
        state: &ReplicaState,
        fx: &mut Effects,
    ) {
        if state.role == Role::Leader {
            self.wait(Asker::Follower(from, request.batch), state, fx);
        }
    }

    fn wait(&mut self, asker: Asker, state: &ReplicaState, fx: &mut Effects) {
        if self.waiting >= WAITING_MAX {
            if let Asker::Client(read, client) = &asker {
                decline(About::Read(read.read), *client, DeclineReason::Busy, state, fx);
            }
            return;
        }
        self.waiting += 1;
        self.arrived.push(Pending { asker, since: fx.now });
        self.keep_sweeping(fx);
    }

    /// As follower: the leader's answer to a batch.
    pub fn on_read_index_reply(&mut self, reply: ReadIndexReply, fx: &mut Effects) {
        for group in &mut self.groups {
            if group.proof == Proof::Batch(reply.batch) {
                group.proof = Proof::Commit(reply.index);
                fx.cancel(Timer::ReadIndex);
            }
        }
    }

    /// At the end of a turn: asks for the proof of what has arrived, and answers what is
    /// proven.
    pub fn end_turn(
        &mut self,
        heartbeat: &mut HeartbeatManager,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) {
        self.pins.end_turn();
        if state.role == Role::Leader {
            self.begin_round(heartbeat, state, fx);
            let confirmed = heartbeat.confirm_rounds(state);
            if state.has_committed_in_term() {
                self.answer_proven(
                    |proof| matches!(proof, Proof::Round(round) if round <= confirmed),
                    state,
                    fx,
                );
            }
        } else {
            self.ask_leader(state, fx);
            self.answer_proven(
                |proof| matches!(proof, Proof::Commit(index) if index <= state.commit),
                state,
                fx,
            );
        }
    }

    fn begin_round(
        &mut self,
        heartbeat: &mut HeartbeatManager,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) {
        if !self.arrived.is_empty() {
            let round = heartbeat.begin_round(state, fx);
            let pending = std::mem::take(&mut self.arrived);
            self.groups.push_back(Group { proof: Proof::Round(round), pending });
        }
    }

    /// One batch is asked for at a time; what arrives meanwhile makes the next.
    fn ask_leader(&mut self, state: &ReplicaState, fx: &mut Effects) {
        if self.arrived.is_empty() {
            return;
        }
        let Some(leader) = HeartbeatManager::leader_to_answer(state) else {
            return self.refuse_arrived(state, fx);
        };
        if self.groups.iter().any(|group| matches!(group.proof, Proof::Batch(_))) {
            return;
        }
        // Batches of a former life must not be taken for this one's.
        self.batch = if self.batch == 0 { fx.random.u64(1..1 << 62) } else { self.batch + 1 };
        let pending = std::mem::take(&mut self.arrived);
        self.groups.push_back(Group { proof: Proof::Batch(self.batch), pending });
        self.send_batch(leader, state, fx);
    }

    fn send_batch(&self, leader: ServerId, state: &ReplicaState, fx: &mut Effects) {
        let request = ReadIndexRequest { term: state.term, batch: self.batch };
        fx.send(Destination::Peer(leader), Message::ReadIndexRequest(request));
        let timeout = state
            .peers
            .get(&leader)
            .map_or(state.heartbeat_interval, |peer| peer.link.round_trip().timeout());
        fx.arm(Timer::ReadIndex, timeout * 2);
    }

    /// The leader has not answered: asks it, or its successor, again.
    pub fn on_silence(&mut self, state: &ReplicaState, fx: &mut Effects) {
        if !self.groups.iter().any(|group| group.proof == Proof::Batch(self.batch)) {
            return;
        }
        match HeartbeatManager::leader_to_answer(state) {
            Some(leader) => self.send_batch(leader, state, fx),
            None => fx.arm(Timer::ReadIndex, state.heartbeat_interval),
        }
    }

    fn refuse_arrived(&mut self, state: &ReplicaState, fx: &mut Effects) {
        for pending in std::mem::take(&mut self.arrived) {
            self.waiting -= 1;
            if let Asker::Client(read, client) = &pending.asker {
                decline(About::Read(read.read), *client, not_leader(state), state, fx);
            }
        }
    }

    /// The role or the leader changed: proofs that were asked for are void, and asked
    /// for anew. Followers that wait ask the new leader themselves.
    pub fn start_over(&mut self, fx: &mut Effects) {
        fx.cancel(Timer::ReadIndex);
        for group in std::mem::take(&mut self.groups) {
            for pending in group.pending {
                match pending.asker {
                    Asker::Client(..) => self.arrived.push(pending),
                    Asker::Follower(..) => self.waiting -= 1,
                }
            }
        }
    }

    fn answer_proven(
        &mut self,
        is_proven: impl Fn(Proof) -> bool,
        state: &ReplicaState,
        fx: &mut Effects,
    ) {
        while self.groups.front().is_some_and(|group| is_proven(group.proof)) {
            let Some(group) = self.groups.pop_front() else { return };
            self.waiting -= group.pending.len();
            for pending in group.pending {
                match pending.asker {
                    Asker::Client(read, client) => self.answer(&read, client, None, state, fx),
                    Asker::Follower(from, batch) => {
                        let reply = ReadIndexReply { term: state.term, batch, index: state.commit };
                        fx.send(Destination::Peer(from), Message::ReadIndexReply(reply));
                    }
                }
            }
        }
    }

    fn answer(
        &mut self,
        read: &Read,
        client: ClientPath,
        age: Option<u64>,
        state: &ReplicaState,
        fx: &mut Effects,
    ) {
        let committed = state.store.committed();
        // It may have waited, and its key may have been taken back meanwhile.
        let may = state.access.check_read(client.key, read.query.prefix());
        let answered = may
            .map_err(DeclineReason::Denied)
            .and_then(|()| self.pins.answer(read, client, age, committed, fx));
        if let Err(reason) = answered {
            decline(About::Read(read.read), client, reason, state, fx);
        }
    }

    fn keep_sweeping(&self, fx: &mut Effects) {
        let idle = self.pins.is_empty() && self.waiting == 0;
        if !idle {
            fx.keep_sweeping();
        }
    }

    /// Drops what clients have not come back for.
    pub fn sweep(&mut self, fx: &mut Effects) {
        let now = fx.now;
        self.pins.drop_idle(fx);
        let in_time = |pending: &Pending| now.since(pending.since) < WAIT_MAX;
        self.arrived.retain(in_time);
        for group in &mut self.groups {
            group.pending.retain(in_time);
        }
        self.groups.retain(|group| !group.pending.is_empty());
        let grouped: usize = self.groups.iter().map(|group| group.pending.len()).sum();
        self.waiting = self.arrived.len() + grouped;
        self.keep_sweeping(fx);
    }
}
