//! What the protocol wants done: frames to send, timers to arm, records to make durable.
//!
//! There are two lanes out. [`Effects::send`] is for what may be said at once;
//! [`Effects::promise`] for what may be said only after the records of this turn are
//! durable: a vote, an acknowledgment of what is on the disk. Promises travel inside
//! the [`Batch`] of records and come out only when that batch is handed back as synced,
//! so no code path can let one slip out early.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::retired::Retired;
use super::unguessable::{Randomness, Unguessable};
use crate::access::Denials;
use crate::disk::Record;
use crate::store::State;
use crate::time::Instant;
use crate::timer_wheel::TimerWheel;
use crate::types::{LossShare, PacketNumber, ServerId};
use crate::wire::Message;

/// How often what clients have left unfinished is looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The sink that managers put their effects into.
#[derive(Debug)]
pub struct Effects {
    /// The time of this turn.
    pub now: Instant,
    /// The node's own source of randomness, seeded at its start.
    pub random: fastrand::Rng,
    /// What makes the numbers that nobody may guess; none: they follow from the seed too.
    unguessable: Option<Unguessable>,
    /// What clients were denied.
    pub denials: Denials,
    timers: TimerWheel<Timer>,
    /// Heartbeats, votes, acknowledgments and the like, which nothing else may delay.
    urgent: VecDeque<Outgoing>,
    /// Entries, and all that goes to clients.
    bulk: VecDeque<Outgoing>,
    /// Pieces of snapshots, which nothing else waits for.
    background: VecDeque<Outgoing>,
    records: Vec<Record>,
    promises: Vec<Outgoing>,
    batches_taken: u64,
    /// States that nobody needs any more. To free one takes long.
    retired: Vec<Retired>,
}

/// What a node waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Introduce this blank node to the others again.
    Genesis,
    /// No leader was heard for an election timeout.
    Election,
    /// Ask those who have not answered for their vote again.
    VoteResend,
    /// Send the next round of heartbeats.
    Heartbeat,
    /// Entries sent to this node were not acknowledged in time.
    Resend(ServerId),
    /// Entries on the way to this node are to be sent once more.
    Repeat(ServerId),
    /// The pace of the way to this node allows that more is sent.
    Pace(ServerId),
    /// The same, of pieces of a snapshot.
    Pieces(ServerId),
    /// The leader was silent for a while: it is sent something that may be refused.
    Probe,
    /// How far this follower has come is to be said once more.
    Acknowledge,
    /// An answer is to be sent once more.
    Answer,
    /// Ask again for what proves reads: the leader for an index, or as leader all for a round.
    ReadIndex,
    /// Ask again for the pieces of a snapshot that have not come.
    Fetch,
    /// Ask again for what this damaged directory lacks.
    Repair,
    /// Go on with what would have made the last turn long.
    GoOn,
    /// Ask again what others have seen of this directory.
    Resume,
    /// Drop what clients have left unfinished.
    Sweep,
}

/// A message on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// To whom.
    pub to: Destination,
    /// What.
    pub message: Message,
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Another node.
    Peer(ServerId),
    /// A client.
    Client(ClientPath),
    /// This node: how it takes note of its own durable vote.
    Myself,
}

/// The way back to a client that asked something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientPath {
    /// Where it asked from.
    pub address: SocketAddr,
    /// The key that it sealed that with; zero: with none.
    pub key: u16,
    /// The number of the frame that it asked by; the answer echoes it.
    pub packet: PacketNumber,
    /// When that arrived.
    pub heard_at: Instant,
    /// The loss on the way to it, as it has measured it.
    pub loss: LossShare,
}

/// Records to write and sync together, and what may be said when that is done.
#[derive(Debug)]
#[must_use = "what it promises is said only when it is handed back as synced"]
pub struct Batch {
    sequence: u64,
    records: Vec<Record>,
    promises: Vec<Outgoing>,
}

impl Batch {
    /// What must be durable before the batch is handed back. With no record nothing
    /// needs to be written: the batch may be handed back as soon as all before it were.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The batch's place in the order of batches.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl Effects {
    /// An empty sink at `now`.
    pub fn new(now: Instant, randomness: &Randomness) -> Self {
        let (seed, unguessable) = randomness.sources();
        Self {
            now,
            random: fastrand::Rng::with_seed(seed),
            unguessable,
            denials: Denials::default(),
            timers: TimerWheel::new(now),
            urgent: VecDeque::new(),
            bulk: VecDeque::new(),
            background: VecDeque::new(),
            records: Vec::new(),
            promises: Vec::new(),
            batches_taken: 0,
            retired: Vec::new(),
        }
    }

    /// A number that nobody may guess.
    pub fn unguessable(&mut self) -> u64 {
        match &mut self.unguessable {
            Some(unguessable) => unguessable.draw(),
            None => self.random.u64(..),
        }
    }

    /// A packet number to start from: random, and far from the largest.
    pub fn random_packet(&mut self) -> PacketNumber {
        PacketNumber(self.random.u64(1..1 << 62))
    }

    /// Sends the message at once.
    pub fn send(&mut self, to: Destination, message: Message) {
        self.queue(Outgoing { to, message });
    }

    fn queue(&mut self, outgoing: Outgoing) {
        match (outgoing.to, &outgoing.message) {
            (_, Message::SnapshotPiece(_)) => self.background.push_back(outgoing),
            (Destination::Client(_), _) | (_, Message::ReplicateOperation(_)) => {
                self.bulk.push_back(outgoing);
            }
            _ => self.urgent.push_back(outgoing),
        }
    }

    /// Sends the message once everything recorded so far is durable.
    pub fn promise(&mut self, to: Destination, message: Message) {
        self.promises.push(Outgoing { to, message });
    }

    /// Nobody needs this state any more.
    pub fn retire(&mut self, state: State) {
        self.retired.push(Retired::State(state));
    }

    /// Something to free where that may take long.
    pub(super) fn take_retired(&mut self) -> Option<Retired> {
        self.retired.pop()
    }

    /// Makes the record durable.
    pub fn record(&mut self, record: Record) {
        self.records.push(record);
    }

    /// The sequence of the batch that will hold what is recorded now.
    pub fn batch_sequence(&self) -> u64 {
        self.batches_taken + 1
    }

    /// Arms the timer, or arms it anew, to fire `after` from now.
    pub fn arm(&mut self, timer: Timer, after: Duration) {
        self.timers.arm(timer, self.now + after);
    }

    /// There will be another turn at once: what is left for it would make this one long.
    pub fn go_on_in_next_turn(&mut self) {
        self.arm(Timer::GoOn, Duration::from_micros(1));
    }

    /// Cancels the timer if it is armed.
    pub fn cancel(&mut self, timer: Timer) {
        self.timers.cancel(timer);
    }

    /// Something may be left unfinished: a sweep will come, if none was to come before.
    pub fn keep_sweeping(&mut self) {
        if !self.timers.is_armed(Timer::Sweep) {
            self.arm(Timer::Sweep, SWEEP_INTERVAL);
        }
    }

    /// When the next timer is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// A timer that is due, with the time that it was due at.
    pub(super) fn pop_expired(&mut self) -> Option<(Timer, Instant)> {
        self.timers.pop_expired(self.now)
    }

    /// The next message to send.
    pub(super) fn pop_send(&mut self) -> Option<Outgoing> {
        let mut lanes = [&mut self.urgent, &mut self.bulk, &mut self.background].into_iter();
        lanes.find_map(VecDeque::pop_front)
    }

    /// Whether something must be written before the next promises may be kept.
    pub(super) fn has_records(&self) -> bool {
        !self.records.is_empty()
    }

    /// Everything recorded and promised since the last batch, if there is any.
    pub(super) fn take_batch(&mut self) -> Option<Batch> {
        if self.records.is_empty() && self.promises.is_empty() {
            return None;
        }
        self.batches_taken += 1;
        Some(Batch {
            sequence: self.batches_taken,
            records: std::mem::take(&mut self.records),
            promises: std::mem::take(&mut self.promises),
        })
    }

    /// Lets out what the batch promised. Returns what the node promised itself.
    pub(super) fn keep_promises(&mut self, batch: Batch) -> Vec<Message> {
        let mut to_myself = Vec::new();
        for outgoing in batch.promises {
            if outgoing.to == Destination::Myself {
                to_myself.push(outgoing.message);
            } else {
                self.queue(outgoing);
            }
        }
        to_myself
    }
}
