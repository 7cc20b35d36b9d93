//! The client's half of the protocol, without sockets or clocks.
//!
//! A [`Client`] is one session. It is asked for operations and reads, retransmits by its
//! own measurements, finds out who leads, and says what came of each ask: done,
//! certainly not done, or unknown. Requests wait for nothing but themselves.
//!
//! Calls come in three kinds: `ask` and `on_*` take in what happens, `poll_*` hands out
//! frames to send and events to act on, `next_deadline` says when to call again.

mod closing;
mod operations;
mod pages;
mod reads;
mod repeats;
mod servers;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::operation::{Operation, Settled, check_key};
use crate::time::Instant;
use crate::timer_wheel::TimerWheel;
use crate::types::{ClusterHash, LogIndex, Sequence, SessionId};
use crate::wire::{
    self, About, DeclineReason, Declined, DropCause, Frame, Message, OpenSession, Query,
    SessionOpened,
};
use operations::PendingOperation;
use reads::PendingRead;
use repeats::Repeat;
use servers::{ServerIndex, Servers};

/// How long to wait where the cluster is asked to try again: it has no leader yet, or
/// too much to do.
const PAUSE: Duration = Duration::from_millis(20);

/// What a client is told at its start.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The cluster's name, in short.
    pub cluster: ClusterHash,
    /// Nodes to ask. Further ones are learned from their answers.
    pub servers: Vec<SocketAddr>,
    /// How long one operation may take before the client gives up.
    pub timeout: Duration,
    /// How often a frame is sent at most where loss was measured, before anything is known of
    /// its own.
    pub redundancy_max: u8,
    /// The session will have a single operation.
    pub one_shot: bool,
    /// How many operations may be outstanding at once; further ones wait.
    pub outstanding_max: usize,
}

/// What a client is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Change the store.
    Execute(Operation),
    /// Read from it.
    Read {
        /// What.
        query: Query,
        /// From the asked node alone, without asking the others.
        stale: bool,
    },
}

/// The client's number for something it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// What a client has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The next bytes of a read's answer, in order.
    Bytes(AskId, Bytes),
    /// The ask is over.
    Done(AskId, Answer),
}

/// How an ask ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The operation was settled in the log.
    Settled(Settled),
    /// The read is complete; its bytes came before.
    Read {
        /// The index whose state was answered from.
        index: LogIndex,
        /// Of a stale read: the most that the state is old by now, in microseconds, if known.
        age: Option<u64>,
    },
    /// Certainly not done, and why.
    Refused(String),
    /// It may have taken effect once, or not at all; and what is missing.
    Unknown(String),
    /// Certainly not done, since nobody answered in time; and what is missing.
    NoAnswer(String),
}

/// One client: a session and what is outstanding in it.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    now: Instant,
    random: fastrand::Rng,
    /// Random bits that tell this client's reads from others'.
    identity: u64,
    servers: Servers,
    session: SessionState,
    operations: BTreeMap<AskId, PendingOperation>,
    /// Operations that wait for the session or for room in its window.
    queue: VecDeque<AskId>,
    reads: BTreeMap<AskId, PendingRead>,
    repeats: BTreeMap<AskId, Repeat>,
    timers: TimerWheel<Timer>,
    sends: VecDeque<(ServerIndex, Message)>,
    events: VecDeque<Event>,
    next_ask: AskId,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Timer {
    /// The request for a session is not answered.
    Session,
    /// Nothing has come for this ask for a while.
    Retry(AskId),
    /// The ask is to be sent once more before anything is known of its loss.
    Repeat(AskId),
    /// The ask's time is up.
    GiveUp(AskId),
}

/// The way to a session.
#[derive(Clone, Copy, Debug)]
enum SessionState {
    None,
    Opening { nonce: u64, asked: ServerIndex, attempts: u32 },
    Open { id: SessionId, window: u64 },
}

impl Client {
    /// A client that has said nothing yet. `seed` must be random.
    pub fn new(config: ClientConfig, now: Instant, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let identity = random.u64(..);
        let servers = Servers::new(&config, &mut random);
        Self {
            config,
            now,
            identity,
            servers,
            random,
            session: SessionState::None,
            operations: BTreeMap::new(),
            queue: VecDeque::new(),
            reads: BTreeMap::new(),
            repeats: BTreeMap::new(),
            timers: TimerWheel::new(now),
            sends: VecDeque::new(),
            events: VecDeque::new(),
            next_ask: AskId(1),
        }
    }

    /// Begins something. Its events bear the number returned.
    pub fn ask(&mut self, now: Instant, ask: Ask) -> AskId {
        self.now = now;
        let id = self.next_ask;
        self.next_ask.0 += 1;
        match ask {
            Ask::Execute(operation) => self.begin_operation(id, &operation),
            Ask::Read { query, stale } => self.begin_read(id, query, stale),
        }
        id
    }

    /// How many asks are not over.
    pub fn outstanding(&self) -> usize {
        self.operations.len() + self.reads.len()
    }

    fn begin_operation(&mut self, id: AskId, operation: &Operation) {
        if let Err(invalid) = operation.check() {
            return self.finish(id, Answer::Refused(invalid.to_string()));
        }
        let give_up_at = self.now + self.config.timeout;
        self.operations.insert(id, PendingOperation::new(operation, give_up_at));
        self.timers.arm(Timer::GiveUp(id), give_up_at);
        self.queue.push_back(id);
        self.start_queued();
    }

    fn begin_read(&mut self, id: AskId, query: Query, stale: bool) {
        if let Query::Get { key } = &query
            && let Err(invalid) = check_key(key)
        {
            return self.finish(id, Answer::Refused(invalid.to_string()));
        }
        let target = if stale { ServerIndex::FIRST } else { self.servers.preferred() };
        self.reads.insert(id, PendingRead::new(query, stale, target, self.now));
        self.timers.arm(Timer::GiveUp(id), self.now + self.config.timeout);
        self.send_read(id);
    }

    /// Starts what waits, as far as there is a session and room in its window.
    fn start_queued(&mut self) {
        let SessionState::Open { id: session, window } = self.session else {
            if !self.queue.is_empty() && matches!(self.session, SessionState::None) {
                self.open_session(0);
            }
            return;
        };
        while let Some(&id) = self.queue.front() {
            let started = self.operations.len() - self.queue.len();
            let floor = self.floor(session);
            let room = (id.0 - floor.0) < window && started < self.config.outstanding_max;
            if !room && started > 0 {
                return;
            }
            self.queue.pop_front();
            let target = self.servers.preferred();
            if let Some(operation) = self.operations.get_mut(&id) {
                operation.start(session, target);
                self.send_operation(id);
            }
        }
    }

    /// The lowest sequence of the session that an answer is still wanted for. Sequences
    /// are the numbers of asks, so they only grow.
    fn floor(&self, session: SessionId) -> Sequence {
        let outstanding = self.operations.iter().find(|(_, operation)| {
            operation.session.is_none_or(|its_session| its_session == session)
        });
        Sequence(outstanding.map_or(self.next_ask.0, |(id, _)| id.0))
    }

    fn open_session(&mut self, attempts: u32) {
        let asked = self.servers.nth_choice(attempts);
        let nonce = match self.session {
            SessionState::Opening { nonce, .. } => nonce,
            _ => self.random.u64(..),
        };
        self.session = SessionState::Opening { nonce, asked, attempts };
        self.sends.push_back((asked, Message::OpenSession(OpenSession { nonce })));
        let patience = self.servers.patience(asked, attempts);
        self.timers.arm(Timer::Session, self.now + patience);
    }

    fn on_session_opened(&mut self, from: ServerIndex, opened: SessionOpened) {
        match self.session {
            SessionState::Opening { nonce, .. } if nonce == opened.nonce => {
                self.session =
                    SessionState::Open { id: opened.session, window: opened.window.into() };
                self.timers.cancel(Timer::Session);
                self.servers.suggest(from);
                self.start_queued();
            }
            _ => {}
        }
    }

    /// Takes in one datagram.
    pub fn on_datagram(&mut self, now: Instant, source: SocketAddr, datagram: &Bytes) {
        self.now = now;
        // What is not a node's answer is ignored: nobody here counts it.
        if let Ok((from, message)) = self.admit(source, datagram) {
            self.on_message(from, message);
        }
    }

    fn admit(
        &mut self,
        source: SocketAddr,
        datagram: &Bytes,
    ) -> Result<(ServerIndex, Message), DropCause> {
        let Frame { header, message } = wire::decode(datagram)?;
        let from = self.servers.admit(source, &header, self.now)?;
        Ok((from, message))
    }

    fn on_message(&mut self, from: ServerIndex, message: Message) {
        match message {
            Message::SessionOpened(opened) => self.on_session_opened(from, opened),
            Message::RequestProgress(progress) => self.on_progress(from, progress),
            Message::Reply(reply) => self.on_reply(from, reply),
            Message::Page(page) => self.on_page(from, page),
            Message::Declined(declined) => self.on_declined(from, &declined),
            _ => {}
        }
    }

    fn on_declined(&mut self, from: ServerIndex, declined: &Declined) {
        let leader =
            declined.leader.map(|(_, address)| self.servers.learn(address, &mut self.random));
        if declined.reason == DeclineReason::NotLeader
            && let Some(leader) = leader
        {
            self.servers.prefer(leader);
        }
        match declined.about {
            About::Open(nonce) => self.on_open_declined(from, nonce),
            About::Request(session, sequence) => {
                self.on_operation_declined(from, session, sequence, declined.reason, leader);
            }
            About::Read(read) if read.client == self.identity => {
                self.on_read_declined(from, AskId(read.number), declined.reason);
            }
            About::Read(_) | About::Members(_) => {}
        }
    }

    fn on_open_declined(&mut self, from: ServerIndex, declined: u64) {
        match self.session {
            SessionState::Opening { nonce, asked, .. } if nonce == declined && asked == from => {
                let pause = self.pause();
                self.timers.arm(Timer::Session, self.now + pause);
            }
            _ => {}
        }
    }

    /// Acts on what is due.
    pub fn on_timeout(&mut self, now: Instant) {
        self.now = now;
        while let Some((timer, _)) = self.timers.pop_expired(now) {
            match timer {
                Timer::Session => {
                    if let SessionState::Opening { attempts, .. } = self.session {
                        self.open_session(attempts + 1);
                    }
                }
                Timer::Retry(id) if self.reads.contains_key(&id) => self.retry_read(id),
                Timer::Retry(id) => self.retry_operation(id),
                Timer::Repeat(id) => self.repeat(id),
                Timer::GiveUp(id) if self.reads.contains_key(&id) => self.give_up_read(id),
                Timer::GiveUp(id) => self.give_up_operation(id),
            }
        }
    }

    /// When the client must be called again, at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// Writes the next frame to send into `frame`, and says where to.
    pub fn poll_send(&mut self, frame: &mut Vec<u8>) -> Option<SocketAddr> {
        let (to, message) = self.sends.pop_front()?;
        let (address, header) = self.servers.header(to, self.now);
        wire::encode_to_fit(&header, &message, frame);
        Some(address)
    }

    /// What the client has to say.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn finish(&mut self, id: AskId, answer: Answer) {
        self.timers.cancel(Timer::Retry(id));
        self.timers.cancel(Timer::Repeat(id));
        self.timers.cancel(Timer::GiveUp(id));
        self.operations.remove(&id);
        self.reads.remove(&id);
        self.repeats.remove(&id);
        self.events.push_back(Event::Done(id, answer));
    }

    /// A pause with jitter, so that many clients do not come back at once.
    fn pause(&mut self) -> Duration {
        PAUSE.mul_f64(0.5 + self.random.f64())
    }
}
