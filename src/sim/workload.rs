//! Clients that keep sessions, lose them, crash, retry and ask any node.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::Profile;
use super::actor::{Actor, Asked, KEYS, Pending, key_of};
use super::checks::Checks;
use super::clock::CALM_RATES;
use super::stale_reads::{self, StaleRead};
use crate::client::{Answer, Ask, Event};
use crate::history::{Kind, Operation, Output, Status};
use crate::time::Instant;
use crate::wire::{self, Query};

/// How many clients are at work at once.
const CLIENTS: usize = 6;

/// All clients of a run, and what they saw.
#[derive(Debug)]
pub struct Workload {
    random: fastrand::Rng,
    servers: usize,
    operations_left: u64,
    large_values: f64,
    slowest_clock: u64,
    stale_share: f64,
    clients: Vec<Actor>,
    next_address: u16,
    /// One record for each operation, each under a client of its own: only then may
    /// one that ended unknown overlap what came after it.
    history: Vec<Operation>,
    /// Stale reads stand apart: they are not linearizable.
    stale_reads: Vec<StaleRead>,
    ended: [u64; 3],
    progress: Progress,
}

/// Whether the cluster works again once faults have ceased: nothing else shows it when
/// every client has given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Faults go on.
    NotAsked,
    /// No write from this record on was done yet.
    Awaited(usize),
    /// One was.
    Seen,
}

impl Workload {
    /// The clients of a cluster.
    pub fn new(mut random: fastrand::Rng, profile: &Profile) -> Self {
        let servers = profile.nodes;
        let mut next_address = 0;
        let clients = (0..CLIENTS).map(|_| {
            next_address += 1;
            Actor::new(next_address, (servers, false), Instant(0), &mut random)
        });
        let clients = clients.collect();
        Self {
            random,
            servers,
            operations_left: profile.operations,
            large_values: profile.large_values,
            slowest_clock: profile.clock_rates.0.min(CALM_RATES.0),
            stale_share: profile.stale_reads,
            clients,
            next_address,
            history: Vec::new(),
            stale_reads: Vec::new(),
            ended: [0; 3],
            progress: Progress::NotAsked,
        }
    }

    /// Lets every client do what it is time for.
    pub fn act(&mut self, now: Instant) {
        for place in 0..self.clients.len() {
            let actor = &mut self.clients[place];
            if actor.client.next_deadline().is_some_and(|at| at <= now) {
                actor.client.on_timeout(now);
            }
            self.take_events(place, now, None);
            let actor = &self.clients[place];
            if actor.acts_at <= now && actor.pending.len() < actor.width && self.may_begin() {
                self.begin(place, now);
            }
        }
    }

    /// As long as the run has operations left; and then one at a time, until a write of the
    /// calm is done.
    fn may_begin(&self) -> bool {
        let owed = matches!(self.progress, Progress::Awaited(_)) && self.outstanding() == 0;
        self.operations_left > 0 || owed
    }

    fn begin(&mut self, place: usize, now: Instant) {
        if self.random.u8(..40) == 0 {
            self.crash(place, now);
        }
        self.operations_left = self.operations_left.saturating_sub(1);
        // In the calm the one node that a stale read is asked of may be gone for good.
        let faults_go_on = self.progress == Progress::NotAsked;
        if faults_go_on && self.stale_share > 0.0 && self.random.f64() < self.stale_share {
            self.begin_stale_read(place, now);
        } else {
            self.begin_recorded(place, now);
        }
        let pause = if self.random.u8(..4) == 0 { 400_000 } else { 40_000 };
        let acts_at = now + Duration::from_micros(self.random.u64(..pause));
        self.clients[place].acts_at = acts_at;
    }

    fn begin_stale_read(&mut self, place: usize, now: Instant) {
        let key = key_of(self.history.len(), self.random.u8(..KEYS));
        let query = Query::Get { key: key.clone() };
        let asked = Asked::Stale { key, call: now };
        self.clients[place].ask(Ask::Read { query, stale: true }, asked, now);
    }

    fn begin_recorded(&mut self, place: usize, now: Instant) {
        let record = self.history.len();
        let actor = &mut self.clients[place];
        let (ask, key, kind) = actor.draw(record, self.large_values, &mut self.random);
        self.history.push(Operation {
            client: record as u64,
            kind,
            key,
            call: now.0,
            ret: None,
            status: Status::Unknown,
            out: Output::None,
            index: None,
            line: record + 1,
        });
        actor.ask(ask, Asked::Recorded(record), now);
    }

    /// The client is gone, and what it had begun with it; another takes its place. It may have
    /// the same address: then the answers to its frames that are under way come to the other.
    fn crash(&mut self, place: usize, now: Instant) {
        self.ended[2] += self.clients[place].pending.len() as u64;
        if self.random.bool() {
            self.replace(place, self.clients[place].address, now);
        } else {
            self.begin_another(place, now);
        }
    }

    fn begin_another(&mut self, place: usize, now: Instant) {
        self.next_address += 1;
        self.replace(place, self.next_address, now);
    }

    fn replace(&mut self, place: usize, address: u16, now: Instant) {
        let knows_all = self.progress != Progress::NotAsked;
        let servers = (self.servers, knows_all);
        self.clients[place] = Actor::new(address, servers, now, &mut self.random);
    }

    /// Takes what the client has to say, after a timeout or the arrival of a frame.
    fn take_events(&mut self, place: usize, now: Instant, frame: Option<&Bytes>) {
        let mut done = false;
        while let Some(event) = self.clients[place].client.poll_event() {
            let actor = &mut self.clients[place];
            match event {
                Event::Bytes(id, bytes) => {
                    if let Some(pending) = actor.pending.get_mut(&id) {
                        pending.bytes.extend_from_slice(&bytes);
                    }
                }
                Event::Done(id, answer) => {
                    let Some(pending) = actor.pending.remove(&id) else { continue };
                    done = true;
                    self.conclude(place, pending, answer, now, frame);
                }
            }
        }
        let actor = &self.clients[place];
        if done && actor.one_shot && actor.pending.is_empty() {
            self.begin_another(place, now);
        }
    }

    fn conclude(
        &mut self,
        place: usize,
        pending: Pending,
        answer: Answer,
        now: Instant,
        frame: Option<&Bytes>,
    ) {
        let ended = match pending.asked {
            Asked::Recorded(record) => {
                let done = matches!(answer, Answer::Settled(_));
                if done && matches!(self.progress, Progress::Awaited(from) if record >= from) {
                    self.progress = Progress::Seen;
                }
                let actor = &mut self.clients[place];
                actor.conclude(&mut self.history[record], answer, pending.bytes, now)
            }
            Asked::Stale { key, call } => {
                let read = frame.and_then(|frame| {
                    stale_read(key, (call, now), &answer, pending.bytes.into(), frame)
                });
                let ended = usize::from(read.is_none());
                self.stale_reads.extend(read);
                ended
            }
        };
        self.ended[ended] += 1;
    }

    /// A datagram arrives at a client's address.
    pub fn on_datagram(&mut self, now: Instant, to: u16, from: SocketAddr, bytes: &Bytes) {
        if let Some(place) = self.clients.iter().position(|actor| actor.address == to) {
            self.clients[place].client.on_datagram(now, from, bytes);
            self.take_events(place, now, Some(bytes));
        }
    }

    /// The frames that the clients have to send: from whom, where to, what.
    pub fn take_frames(&mut self) -> Vec<(u16, SocketAddr, Vec<u8>)> {
        let mut frames = Vec::new();
        for actor in &mut self.clients {
            let mut frame = Vec::new();
            while let Some(to) = actor.client.poll_send(&mut frame) {
                frames.push((actor.address, to, frame.clone()));
            }
        }
        frames
    }

    /// Faults have ceased: from now on the cluster must get something done. Who asks one server
    /// alone gives up: it may be one that is gone.
    pub fn calm_down(&mut self, now: Instant) {
        self.progress = Progress::Awaited(self.history.len());
        for place in 0..self.clients.len() {
            if self.clients[place].knows_one {
                self.crash(place, now);
            }
        }
    }

    /// Whether every operation was begun and is over, and the cluster works.
    pub fn is_done(&self) -> bool {
        self.operations_left == 0 && self.outstanding() == 0 && self.progress == Progress::Seen
    }

    /// What is not done, for messages.
    pub fn describe(&self) -> String {
        let pending = self.outstanding();
        let works = if self.progress == Progress::Seen { "a" } else { "no" };
        format!("{pending} operations are pending, and {works} write begun since was done")
    }

    fn outstanding(&self) -> usize {
        self.clients.iter().map(|actor| actor.pending.len()).sum()
    }

    /// How many operations were answered, were refused, ended unknown.
    pub fn ended(&self) -> [u64; 3] {
        self.ended
    }

    /// How many stale reads were answered.
    pub fn stale_reads(&self) -> u64 {
        self.stale_reads.len() as u64
    }

    /// Checks what the clients saw.
    ///
    /// # Errors
    /// What of it must not be.
    pub fn check(&self) -> Result<(), String> {
        Checks::history(&self.history)?;
        stale_reads::check(&self.stale_reads, &self.history, self.slowest_clock)
    }

    /// What the clients saw, readably: each operation when it began, and when it ended.
    pub fn lines(&self) -> Vec<(Instant, String)> {
        let mut lines = Vec::new();
        for operation in &self.history {
            let Operation { line, key, kind, status, out, index, .. } = operation;
            let key = key.escape_ascii();
            let asked = format!("operation {line}: {} {key}", name_of(kind));
            lines.push((Instant(operation.call), asked));
            if let Some(ret) = operation.ret {
                let ended = format!("operation {line}: {status:?}, {}, {index:?}", show(out));
                lines.push((Instant(ret), ended));
            }
        }
        lines
    }

    /// A sum over what the clients saw.
    pub fn checksum(&self) -> u64 {
        let mut hasher = crc32fast::Hasher::new();
        for operation in &self.history {
            hasher.update(format!("{operation:?}").as_bytes());
        }
        for read in &self.stale_reads {
            hasher.update(format!("{read:?}").as_bytes());
        }
        u64::from(hasher.finalize()) << 32 | self.history.len() as u64
    }
}

fn name_of(kind: &Kind) -> &'static str {
    match kind {
        Kind::Put { .. } => "puts",
        Kind::Get => "gets",
        Kind::CompareAndSwap { .. } => "compares and swaps",
        Kind::Delete => "deletes",
        Kind::Append { .. } => "appends to",
        Kind::Increment { .. } => "increments",
    }
}

/// The beginning of what was answered: values may be long.
fn show(out: &Output) -> String {
    format!("{out:?}").chars().take(50).collect()
}

/// The stale read that ended with this answer, which the last of its frames completed;
/// none if it ended without.
fn stale_read(
    key: Bytes,
    (call, ret): (Instant, Instant),
    answer: &Answer,
    bytes: Bytes,
    frame: &Bytes,
) -> Option<StaleRead> {
    let Answer::Read { index, age } = *answer else { return None };
    let header = wire::decode(frame).ok()?.header;
    let life = (header.directory, header.life);
    Some(StaleRead { key, call: call.0, ret: ret.0, life, index: index.0, age, bytes })
}
