//! Clients that keep sessions, lose them, crash, retry and ask any node.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::Profile;
use super::checks::Checks;
use super::disk::CLUSTER;
use super::network::Endpoint;
use super::stale_reads::{self, StaleRead};
use crate::client::{Answer, Ask, AskId, Client, ClientConfig, Event};
use crate::codec::Reader;
use crate::history::{Kind, Operation, Output, Status};
use crate::operation::{self, Expected, Outcome};
use crate::time::Instant;
use crate::types::ClusterHash;
use crate::wire::{self, ListedValue, Query};

/// How many clients are at work at once.
const CLIENTS: usize = 6;
/// Few keys, so that operations meet.
const KEYS: u8 = 5;
/// How long an operation may take before its client gives up.
const TIMEOUTS: [Duration; 3] =
    [Duration::from_millis(400), Duration::from_secs(2), Duration::from_secs(20)];

/// All clients of a run, and what they saw.
#[derive(Debug)]
pub struct Workload {
    random: fastrand::Rng,
    servers: usize,
    operations_left: u64,
    large_values: f64,
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

/// One client at work.
#[derive(Debug)]
struct Actor {
    address: u16,
    client: Client,
    /// Its operations that are not over, by the place of their records.
    pending: BTreeMap<AskId, Pending>,
    acts_at: Instant,
    /// How many operations it has outstanding at most.
    width: usize,
    one_shot: bool,
    /// The last version and value that it knows of a key.
    known: BTreeMap<Bytes, (u64, Bytes)>,
}

#[derive(Debug)]
struct Pending {
    asked: Asked,
    bytes: Vec<u8>,
}

#[derive(Debug)]
enum Asked {
    /// What this record of the history tells.
    Recorded(usize),
    /// The key, from the asked node alone.
    Stale { key: Bytes, call: Instant },
}

impl Workload {
    /// The clients of a cluster.
    pub fn new(mut random: fastrand::Rng, profile: &Profile) -> Self {
        let servers = profile.nodes;
        let mut next_address = 0;
        let clients = (0..CLIENTS).map(|_| {
            next_address += 1;
            Actor::new(next_address, servers, Instant(0), &mut random)
        });
        let clients = clients.collect();
        Self {
            random,
            servers,
            operations_left: profile.operations,
            large_values: profile.large_values,
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
        if self.stale_share > 0.0 && self.random.f64() < self.stale_share {
            self.begin_stale_read(place, now);
        } else {
            self.begin_recorded(place, now);
        }
        let pause = if self.random.u8(..4) == 0 { 400_000 } else { 40_000 };
        let acts_at = now + Duration::from_micros(self.random.u64(..pause));
        self.clients[place].acts_at = acts_at;
    }

    fn begin_stale_read(&mut self, place: usize, now: Instant) {
        let key = key_of(self.random.u8(..KEYS));
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

    /// The client is gone, and what it had begun with it; another takes its place.
    fn crash(&mut self, place: usize, now: Instant) {
        self.next_address += 1;
        self.ended[2] += self.clients[place].pending.len() as u64;
        self.clients[place] = Actor::new(self.next_address, self.servers, now, &mut self.random);
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
            self.next_address += 1;
            self.clients[place] =
                Actor::new(self.next_address, self.servers, now, &mut self.random);
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

    /// Faults have ceased: from now on the cluster must get something done.
    pub fn calm_down(&mut self) {
        self.progress = Progress::Awaited(self.history.len());
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
        stale_reads::check(&self.stale_reads, &self.history)
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

impl Actor {
    fn new(address: u16, servers: usize, now: Instant, random: &mut fastrand::Rng) -> Self {
        let one_shot = random.u8(..4) == 0;
        let mut all: Vec<SocketAddr> =
            (0..servers).map(|place| Endpoint::Node(place).address()).collect();
        random.shuffle(&mut all);
        if random.u8(..4) == 0 {
            all.truncate(1);
        }
        let config = ClientConfig {
            cluster: ClusterHash::of(CLUSTER),
            servers: all,
            timeout: TIMEOUTS[random.usize(..TIMEOUTS.len())],
            one_shot,
            outstanding_max: 16,
        };
        Self {
            address,
            client: Client::new(config, now, random.u64(..)),
            pending: BTreeMap::new(),
            acts_at: now,
            width: if one_shot { 1 } else { random.usize(1..4) },
            one_shot,
            known: BTreeMap::new(),
        }
    }

    fn ask(&mut self, ask: Ask, asked: Asked, now: Instant) {
        let id = self.client.ask(now, ask);
        self.pending.insert(id, Pending { asked, bytes: Vec::new() });
    }

    /// The next operation: what to ask, about which key, and how the history tells it.
    fn draw(&self, record: usize, large: f64, random: &mut fastrand::Rng) -> (Ask, Bytes, Kind) {
        let number = random.u8(..KEYS);
        let key = key_of(number);
        let value = draw_value(record, large, random);
        let reads = if self.one_shot { 5..10 } else { 0..10 };
        match random.u8(reads) {
            0..=3 => {
                let stale = false;
                let ask = Ask::Read { query: Query::Get { key: key.clone() }, stale };
                (ask, key, Kind::Get)
            }
            4 => {
                let query = Query::List { prefix: key.clone(), limit: 0 };
                (Ask::Read { query, stale: false }, key, Kind::Get)
            }
            5 => {
                let operation = operation::Operation::Delete { key: key.clone() };
                (Ask::Execute(operation), key, Kind::Delete)
            }
            6 => {
                let counter = Bytes::from(format!("counter-{}", number % 2));
                let by = random.i64(1..10);
                let operation = operation::Operation::Increment { key: counter.clone(), by };
                (Ask::Execute(operation), counter, Kind::Increment { by })
            }
            7 => self.draw_compare_and_swap(key, value, random),
            _ => {
                let operation =
                    operation::Operation::Put { key: key.clone(), value: value.clone() };
                (Ask::Execute(operation), key, Kind::Put { value })
            }
        }
    }

    fn draw_compare_and_swap(
        &self,
        key: Bytes,
        value: Bytes,
        random: &mut fastrand::Rng,
    ) -> (Ask, Bytes, Kind) {
        let known = self.known.get(&key).filter(|_| random.u8(..4) > 0);
        let expected = match known {
            None => Expected::Absent,
            Some((_, known)) if random.bool() => Expected::Value(known.clone()),
            Some((version, _)) => Expected::Version(crate::types::LogIndex(*version)),
        };
        let kind = Kind::CompareAndSwap {
            expected: known.map(|(_, known)| known.clone()),
            value: value.clone(),
        };
        let operation = operation::Operation::CompareAndSwap { key: key.clone(), expected, value };
        (Ask::Execute(operation), key, kind)
    }

    /// Writes into the record how its operation ended: answered, refused or unknown.
    fn conclude(
        &mut self,
        record: &mut Operation,
        answer: Answer,
        bytes: Vec<u8>,
        now: Instant,
    ) -> usize {
        match answer {
            Answer::Settled(settled) => {
                record.index = Some(settled.index.0);
                record.out = match settled.outcome {
                    Outcome::Deleted { existed } => Output::Bool(existed),
                    Outcome::CompareFailed { .. } => Output::Bool(false),
                    Outcome::Incremented { total } => Output::Total(total),
                    _ if matches!(record.kind, Kind::CompareAndSwap { .. }) => Output::Bool(true),
                    _ => Output::None,
                };
                self.remember(record, settled.index.0);
            }
            Answer::Read { index, .. } => {
                record.index = Some(index.0);
                let found = ListedValue::decode(&mut Reader::new(bytes.into())).ok();
                if let Some(found) = &found {
                    let known = (found.version.0, found.value.clone());
                    self.known.insert(record.key.clone(), known);
                }
                record.out = Output::Value(found.map(|found| found.value));
            }
            Answer::Refused(_) | Answer::NoAnswer(_) => {
                (record.status, record.ret) = (Status::Fail, Some(now.0));
                return 1;
            }
            Answer::Unknown(_) => return 2,
        }
        (record.status, record.ret) = (Status::Ok, Some(now.0));
        0
    }

    fn remember(&mut self, record: &Operation, version: u64) {
        if let (Kind::Put { value }, _) | (Kind::CompareAndSwap { value, .. }, Output::Bool(true)) =
            (&record.kind, &record.out)
        {
            self.known.insert(record.key.clone(), (version, value.clone()));
        }
    }
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
    let life = (header.directory, header.incarnation);
    Some(StaleRead { key, call: call.0, ret: ret.0, life, index: index.0, age, bytes })
}

fn key_of(number: u8) -> Bytes {
    Bytes::from(format!("key-{number}"))
}

/// A value that no other operation writes. Some take several entries.
fn draw_value(record: usize, large: f64, random: &mut fastrand::Rng) -> Bytes {
    let mut value = format!("value-{record}-");
    let length = match random.f64() {
        draw if draw < large / 4.0 => random.usize(..20_000),
        draw if draw < large => random.usize(..3_000),
        _ => 0,
    };
    value.extend(std::iter::repeat_n('x', length));
    Bytes::from(value)
}
