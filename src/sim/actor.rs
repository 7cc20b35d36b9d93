//! One simulated client: what it asks, and what it makes of the answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::disk::CLUSTER;
use super::network::Endpoint;
use crate::client::{Answer, Ask, AskId, Client, ClientConfig};
use crate::codec::Reader;
use crate::history::{Kind, Operation, Output, Status};
use crate::link::REDUNDANCY_MAX;
use crate::operation::{self, Expected, Outcome};
use crate::time::Instant;
use crate::types::{ClusterHash, LogIndex};
use crate::wire::{ListedValue, Query};

/// Few keys, so that operations meet.
pub const KEYS: u8 = 5;
/// After so many operations the keys are others.
const KEY_LIFE: usize = 400;
/// How long an operation may take before its client gives up.
const TIMEOUTS: [Duration; 3] =
    [Duration::from_millis(400), Duration::from_secs(2), Duration::from_secs(20)];

/// One client at work.
#[derive(Debug)]
pub struct Actor {
    /// Where it is reached.
    pub address: u16,
    /// Its half of the protocol.
    pub client: Client,
    /// Its operations that are not over.
    pub pending: BTreeMap<AskId, Pending>,
    /// When it may begin its next operation.
    pub acts_at: Instant,
    /// How many operations it has outstanding at most.
    pub width: usize,
    /// It is gone after a single operation.
    pub one_shot: bool,
    /// It asks one server alone.
    pub knows_one: bool,
    /// The last version and value that it knows of a key.
    known: BTreeMap<Bytes, (u64, Bytes)>,
}

/// An operation that is not over.
#[derive(Debug)]
pub struct Pending {
    /// What was asked.
    pub asked: Asked,
    /// The bytes of a read's answer so far.
    pub bytes: Vec<u8>,
}

/// What a client asked.
#[derive(Debug)]
pub enum Asked {
    /// What this record of the history tells.
    Recorded(usize),
    /// A key, of one node alone.
    Stale {
        /// The key.
        key: Bytes,
        /// When it was asked.
        call: Instant,
    },
}

impl Actor {
    /// A client at the address, with a nature drawn for it. Unless it is to know all servers
    /// it may know one alone.
    pub fn new(
        address: u16,
        (servers, knows_all): (usize, bool),
        now: Instant,
        random: &mut fastrand::Rng,
    ) -> Self {
        let one_shot = random.u8(..4) == 0;
        let mut all: Vec<SocketAddr> =
            (0..servers).map(|place| Endpoint::Node(place).address()).collect();
        random.shuffle(&mut all);
        if random.u8(..4) == 0 && !knows_all {
            all.truncate(1);
        }
        let knows_one = all.len() < servers;
        let config = ClientConfig {
            cluster: ClusterHash::of(CLUSTER),
            servers: all,
            timeout: TIMEOUTS[random.usize(..TIMEOUTS.len())],
            redundancy_max: REDUNDANCY_MAX,
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
            knows_one,
            known: BTreeMap::new(),
        }
    }

    /// Begins what is asked.
    pub fn ask(&mut self, ask: Ask, asked: Asked, now: Instant) {
        let id = self.client.ask(now, ask);
        self.pending.insert(id, Pending { asked, bytes: Vec::new() });
    }

    /// The next operation: what to ask, about which key, and how the history tells it.
    pub fn draw(
        &self,
        record: usize,
        large: f64,
        random: &mut fastrand::Rng,
    ) -> (Ask, Bytes, Kind) {
        let number = random.u8(..KEYS);
        let key = key_of(record, number);
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
                let counter = Bytes::from(format!("counter-{}.{}", record / KEY_LIFE, number % 2));
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
            Some((version, _)) => Expected::Version(LogIndex(*version)),
        };
        let kind = Kind::CompareAndSwap {
            expected: known.map(|(_, known)| known.clone()),
            value: value.clone(),
        };
        let operation = operation::Operation::CompareAndSwap { key: key.clone(), expected, value };
        (Ask::Execute(operation), key, kind)
    }

    /// Writes into the record how its operation ended: answered, refused or unknown.
    pub fn conclude(
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

/// The name of a key that clients write about the time of this operation. In a long run there
/// are others later: what is checked of a key takes long when much of it is unknown.
pub fn key_of(record: usize, number: u8) -> Bytes {
    Bytes::from(format!("key-{}.{number}", record / KEY_LIFE))
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
