//! Linearizable reads, at the leader and at followers, and stale ones.
//!
//! docs/guarantees.md: "Reads and writes are linearizable, whoever is asked. A read waits
//! for a round of heartbeats that began after it arrived and that a majority answered in
//! this term". So this leader still led when the read arrived, and its commit index covers
//! all that was acknowledged before, provided that it has committed an entry of its own
//! term. A follower asks the leader for that index and waits until its own commit index
//! has reached it.
//!
//! What asks for a proof may be lost, and so may what gives it. Reads wait for nothing but
//! their own proof: what arrives in a turn is asked for at its end, whatever was asked before,
//! and a later round or batch proves the earlier ones as well. Where loss was measured, the
//! last of them is followed by others before anything is known of it.
//!
//! docs/guarantees.md: "A stale read must be asked for". It, too, is answered from the
//! committed state alone.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::HeartbeatManager;
use super::decline::{decline, not_leader};
use super::effects::{ClientPath, Destination, Effects, Timer};
use super::pins::Pins;
use super::shares::{Claimant, Shares};
use super::state::ReplicaState;
use crate::link::Copies;
use crate::time::Instant;
use crate::types::{LogIndex, ReadRound, ServerId};
use crate::wire::{
    About, DeclineReason, Message, Read, ReadId, ReadIndexReply, ReadIndexRequest, Role,
};

/// The most reads that may wait at once.
const WAITING_MAX: usize = 65_536;
/// How long a read waits for its proof: its client asks again long before.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// The most batches that a follower asks for at once. Each of them costs the leader a round.
const BATCHES_MAX: usize = 32;

/// Proves reads, and answers them from the committed state.
#[derive(Debug, Default)]
pub struct ReadManager {
    /// Reads for which no proof was asked yet.
    arrived: Vec<Pending>,
    /// Reads that wait for the same proof, oldest first.
    groups: VecDeque<Group>,
    waiting: Waiters,
    /// As follower: the number of the newest batch that the leader was asked for.
    batch: u64,
    /// How often the newest proof is to be asked for once more, before anything is known of its
    /// loss.
    copies_left: u8,
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

/// Those who wait. A copy of what waits is answered with it: that arrived before.
#[derive(Debug, Default)]
struct Waiters {
    known: BTreeSet<WaiterId>,
    shares: Shares<WAITING_MAX>,
}

/// What an asker is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum WaiterId {
    Client(SocketAddr, u16, ReadId),
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

impl Asker {
    fn id(&self) -> WaiterId {
        match self {
            Self::Client(read, client) => WaiterId::Client(client.address, client.key, read.read),
            Self::Follower(from, batch) => WaiterId::Follower(*from, *batch),
        }
    }

    fn claimant(&self) -> Claimant {
        match self {
            Self::Client(_, client) => client.claimant(),
            Self::Follower(node, _) => Claimant::Node(*node),
        }
    }
}

impl Waiters {
    fn has(&self, asker: &Asker) -> bool {
        self.known.contains(&asker.id())
    }

    fn have_room_for(&self, asker: &Asker) -> bool {
        self.shares.may_take(asker.claimant(), 1)
    }

    fn add(&mut self, asker: &Asker) {
        self.known.insert(asker.id());
        self.shares.take(asker.claimant(), 1);
    }

    fn remove(&mut self, asker: &Asker) {
        if self.known.remove(&asker.id()) {
            self.shares.give_back(asker.claimant(), 1);
        }
    }

    fn is_empty(&self) -> bool {
        self.shares.is_whole()
    }
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
        if self.waiting.has(&asker) {
            return;
        }
        if !self.waiting.have_room_for(&asker) {
            if let Asker::Client(read, client) = &asker {
                decline(About::Read(read.read), *client, DeclineReason::Busy, state, fx);
            }
            return;
        }
        self.waiting.add(&asker);
        self.arrived.push(Pending { asker, since: fx.now });
        self.keep_sweeping(fx);
    }

    /// As follower: the leader's answer to a batch. It is of this term and of this term's leader.
    ///
    /// docs/guarantees.md: "A read waits for a round of heartbeats that began after it arrived".
    /// The round began after the batch was asked for. The batches before it were asked for
    /// earlier, so it began after their reads had arrived too, and proves them. Of those behind
    /// it nothing is known. The number alone does not tell which they are: it may be that of a
    /// batch of a former life, and those are numbered from anywhere. So an answer counts only if
    /// it names a batch that waits; no other life has drawn that number.
    pub fn on_read_index_reply(&mut self, reply: ReadIndexReply, fx: &mut Effects) {
        let answered = Proof::Batch(reply.batch);
        let Some(place) = self.groups.iter().rposition(|group| group.proof == answered) else {
            return;
        };
        for group in self.groups.iter_mut().take(place + 1) {
            if matches!(group.proof, Proof::Batch(_)) {
                group.proof = Proof::Commit(reply.index);
            }
        }
        if self.batches_asked().next().is_none() {
            fx.cancel(Timer::ReadIndex);
        }
    }

    /// As follower: the batches that the leader has not answered, the newest first.
    fn batches_asked(&self) -> impl Iterator<Item = u64> {
        self.groups.iter().rev().map_while(|group| match group.proof {
            Proof::Batch(batch) => Some(batch),
            Proof::Round(_) | Proof::Commit(_) => None,
        })
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
            let copies = state.copies_of_round();
            let round = heartbeat.begin_round(state, fx);
            self.wait_for(Proof::Round(round), copies);
            self.ask_again_later(copies, state.time_for_round(), fx);
        }
    }

    /// As follower: asks for the proof of what has arrived.
    fn ask_leader(&mut self, state: &ReplicaState, fx: &mut Effects) {
        if self.arrived.is_empty() {
            return;
        }
        let Some(leader) = HeartbeatManager::leader_to_answer(state) else {
            return self.refuse_arrived(state, fx);
        };
        if self.batches_asked().count() >= BATCHES_MAX {
            return;
        }
        // Batches of a former life must not be taken for this one's.
        self.batch = if self.batch == 0 { fx.random.u64(1..1 << 62) } else { self.batch + 1 };
        self.wait_for(Proof::Batch(self.batch), state.copies_for(leader));
        self.send_batch(self.batch, leader, state, fx);
    }

    /// What has arrived waits for this proof, which is asked for now. Copies of what was asked for
    /// before are not needed any more: this is one.
    fn wait_for(&mut self, proof: Proof, copies: Copies) {
        self.copies_left = copies.times.saturating_sub(1);
        self.groups.push_back(Group { proof, pending: std::mem::take(&mut self.arrived) });
    }

    fn send_batch(&self, batch: u64, leader: ServerId, state: &ReplicaState, fx: &mut Effects) {
        let request = ReadIndexRequest { term: state.term, batch };
        fx.send(Destination::Peer(leader), Message::ReadIndexRequest(request));
        // The answer takes a round trip, and before that a round of the leader's another.
        let patience = state.peers.get(&leader).map_or(state.heartbeat_interval, |peer| {
            let round_trip = peer.link.round_trip();
            round_trip.smoothed().unwrap_or_default() + round_trip.timeout()
        });
        self.ask_again_later(state.copies_for(leader), patience, fx);
    }

    fn ask_again_later(&self, copies: Copies, patience: Duration, fx: &mut Effects) {
        let after = if self.copies_left > 0 { copies.spacing } else { patience };
        fx.arm(Timer::ReadIndex, after);
    }

    /// The newest proof has not come, or is to be asked for more often where so much is lost.
    pub fn ask_again(
        &mut self,
        heartbeat: &mut HeartbeatManager,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) {
        let copies = self.copies_left.min(1);
        self.copies_left -= copies;
        if state.role == Role::Leader {
            self.begin_round_again(copies, heartbeat, state, fx);
        } else if let Some(newest) = self.batches_asked().next() {
            match HeartbeatManager::leader_to_answer(state) {
                Some(leader) => {
                    state.count_copies(leader, copies);
                    self.send_batch(newest, leader, state, fx);
                }
                None => fx.arm(Timer::ReadIndex, state.heartbeat_interval),
            }
        }
    }

    /// As leader: another round proves what those before it would have proven.
    fn begin_round_again(
        &mut self,
        copies: u8,
        heartbeat: &mut HeartbeatManager,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) {
        let newest = self.groups.back().map(|group| group.proof);
        if matches!(newest, Some(Proof::Round(round)) if !heartbeat.is_confirmed(round)) {
            heartbeat.begin_round(state, fx);
            for peer in state.peers.values_mut() {
                peer.link.count_copies(copies);
            }
            self.ask_again_later(state.copies_of_round(), state.time_for_round(), fx);
        }
    }

    fn refuse_arrived(&mut self, state: &ReplicaState, fx: &mut Effects) {
        for pending in std::mem::take(&mut self.arrived) {
            self.waiting.remove(&pending.asker);
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
                    Asker::Follower(..) => self.waiting.remove(&pending.asker),
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
            for pending in group.pending {
                self.waiting.remove(&pending.asker);
                match pending.asker {
                    Asker::Client(read, client) => self.answer(&read, client, None, state, fx),
                    Asker::Follower(from, batch) => {
                        let reply = ReadIndexReply { term: state.term, batch, index: state.commit };
                        fx.send(Destination::Peer(from), Message::ReadIndexReply(reply));
                    }
                }
            }
            if self.groups.is_empty() {
                fx.cancel(Timer::ReadIndex);
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
        let idle = self.pins.is_empty() && self.waiting.is_empty();
        if !idle {
            fx.keep_sweeping();
        }
    }

    /// Drops what clients have not come back for.
    pub fn sweep(&mut self, fx: &mut Effects) {
        let now = fx.now;
        self.pins.drop_idle(fx);
        let waiting = &mut self.waiting;
        let mut waits_on = |pending: &Pending| {
            let is_in_time = now.since(pending.since) < WAIT_MAX;
            if !is_in_time {
                waiting.remove(&pending.asker);
            }
            is_in_time
        };
        self.arrived.retain(&mut waits_on);
        for group in &mut self.groups {
            group.pending.retain(&mut waits_on);
        }
        self.groups.retain(|group| !group.pending.is_empty());
        self.keep_sweeping(fx);
    }
}
