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

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::Duration;

use super::HeartbeatManager;
use super::decline::{decline, not_leader};
use super::effects::{ClientPath, Destination, Effects, Timer};
use super::state::ReplicaState;
use crate::store::Answer;
use crate::time::Instant;
use crate::types::{LogIndex, ReadRound, ServerId};
use crate::wire::{
    About, DeclineReason, Message, PAGES_MAX, Page, Read, ReadId, ReadIndexReply, ReadIndexRequest,
    Role,
};

/// The most reads that may wait at once.
const WAITING_MAX: usize = 65_536;
/// The most answers that are pinned at once, and how long one is without being asked for.
const PINS_MAX: usize = 64;
/// The most pages of one turn: a burst of small reads must not hold the loop. Clients ask
/// again for what does not come.
const PAGES_PER_TURN_MAX: u32 = 512;
const PIN_IDLE_MAX: Duration = Duration::from_secs(10);
/// How long a read waits for its proof: its client asks again long before.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Proves reads, and keeps the states that long answers are read from.
#[derive(Debug, Default)]
pub struct ReadManager {
    /// Reads for which no proof was asked yet.
    arrived: Vec<Pending>,
    /// Reads that wait for the same proof, oldest first.
    groups: VecDeque<Group>,
    waiting: usize,
    /// As follower: the number of the newest batch that the leader was asked for.
    batch: u64,
    pins: BTreeMap<ReadId, Pin>,
    /// How many further pages this turn may send.
    pages: PageBudget,
}

#[derive(Debug)]
struct PageBudget(u32);

impl Default for PageBudget {
    fn default() -> Self {
        Self(PAGES_PER_TURN_MAX)
    }
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

/// A state from which further pages will be asked for.
#[derive(Debug)]
struct Pin {
    number: u64,
    answer: Answer,
    index: LogIndex,
    age: Option<u64>,
    touched: Instant,
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
        if read.pin == 0 && read.page > 0 {
            // What it wants to go on with is unknown here, and an answer begins at its
            // beginning: pages of two states must not come together.
            decline(About::Read(read.read), client, DeclineReason::PinGone, state, fx);
        } else if read.pin != 0 {
            self.send_further_pages(&read, client, state, fx);
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
        state: &ReplicaState,
        fx: &mut Effects,
    ) {
        self.pages = PageBudget::default();
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
        state: &ReplicaState,
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

    /// Answers from the committed state, which is pinned if one page does not hold the
    /// answer.
    fn answer(
        &mut self,
        read: &Read,
        client: ClientPath,
        age: Option<u64>,
        state: &ReplicaState,
        fx: &mut Effects,
    ) {
        if let Some(pin) = self.pins.get_mut(&read.read) {
            // The same read was asked for twice: it keeps the state of its first answer.
            return pin.send_pages(read, client, &mut self.pages, fx);
        }
        let committed = state.store.committed();
        let mut answer = Answer::new(committed.clone(), read.query.clone());
        let index = committed.index();
        let Some((bytes, last)) = answer.page(0) else { return };
        if last {
            let page = Page { read: read.read, pin: 0, page: 0, last, index, age, bytes };
            fx.send(Destination::Client(client), Message::Page(page));
            return;
        }
        if !self.make_room_for_pin(fx.now) {
            return decline(About::Read(read.read), client, DeclineReason::Busy, state, fx);
        }
        let number = fx.random.u64(1..);
        let mut pin = Pin { number, answer, index, age, touched: fx.now };
        pin.send_pages(read, client, &mut self.pages, fx);
        self.pins.insert(read.read, pin);
        self.keep_sweeping(fx);
    }

    fn send_further_pages(
        &mut self,
        read: &Read,
        client: ClientPath,
        state: &ReplicaState,
        fx: &mut Effects,
    ) {
        match self.pins.get_mut(&read.read).filter(|pin| pin.number == read.pin) {
            Some(pin) => pin.send_pages(read, client, &mut self.pages, fx),
            None => decline(About::Read(read.read), client, DeclineReason::PinGone, state, fx),
        }
    }

    fn make_room_for_pin(&mut self, now: Instant) -> bool {
        self.drop_idle_pins(now);
        self.pins.len() < PINS_MAX
    }

    fn drop_idle_pins(&mut self, now: Instant) {
        self.pins.retain(|_, pin| now.since(pin.touched) < PIN_IDLE_MAX);
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
        self.drop_idle_pins(now);
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

impl Pin {
    fn send_pages(
        &mut self,
        read: &Read,
        client: ClientPath,
        budget: &mut PageBudget,
        fx: &mut Effects,
    ) {
        self.touched = fx.now;
        self.answer.release_before(read.arrived);
        let beyond = read.page.saturating_add(read.count.min(PAGES_MAX).into());
        for page in read.page..beyond {
            if budget.0 == 0 {
                return;
            }
            let Some((bytes, last)) = self.answer.page(page) else { return };
            budget.0 -= 1;
            let message = Message::Page(Page {
                read: read.read,
                pin: self.number,
                page,
                last,
                index: self.index,
                age: self.age,
                bytes,
            });
            fx.send(Destination::Client(client), message);
            if last {
                return;
            }
        }
    }
}
