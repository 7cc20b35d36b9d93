//! An arbitrary schedule of events and faults on a small cluster: which frame arrives, is
//! lost or repeated, whose timer fires, whose disk is done, who loses power, which ways are
//! cut.
//!
//! The simulator's invariants hold after every turn. When the faults cease the cluster
//! serves again, all nodes agree, and every put that was acknowledged is there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quorate::operation::{Operation, Outcome};
use quorate::sim::{Checks, SimDirectory};
use quorate::time::Instant;
use quorate::types::{LogIndex, ServerId, SessionId};
use quorate::wire::{self, Message, Request, Role};

use super::choices::Choices;
use super::clients;
use super::frames::client_header;
use super::life::{self, Life, SIZE_MAX, address_of, ids};

/// An input that is longer has no more events than this.
const EVENTS_MAX: usize = 2_000;
/// Beyond it the oldest frame on the way is lost.
const FRAMES_MAX: usize = 512;
/// How long the cluster may take when the faults have ceased.
const RECOVERY_MAX: Duration = Duration::from_secs(30);
const A_HOP: Duration = Duration::from_millis(1);

/// Runs the schedule that the input describes.
pub fn cluster_faults(input: &[u8]) {
    let mut choices = Choices::new(input);
    let shape = choices.byte();
    let size = if shape & 1 == 1 { SIZE_MAX } else { 3 };
    let mut cluster = Cluster::new(size, shape & 2 == 0);
    for _ in 0..EVENTS_MAX {
        if choices.is_empty() {
            break;
        }
        cluster.event(&mut choices);
    }
    cluster.recover();
}

/// A node that runs, or the directory of one that does not.
enum Place {
    Up(Box<Life>),
    Down(SimDirectory),
}

struct Frame {
    from: ServerId,
    to: SocketAddr,
    bytes: Bytes,
}

struct Cluster {
    now: Instant,
    size: usize,
    places: BTreeMap<ServerId, Place>,
    on_the_way: VecDeque<Frame>,
    cut: BTreeSet<(ServerId, ServerId)>,
    checks: Checks,
    puts: u64,
    acknowledged: BTreeSet<u64>,
    starts: u64,
}

impl Cluster {
    fn new(size: usize, is_born: bool) -> Self {
        let directory = |id| if is_born { life::born(id, size) } else { life::blank(id) };
        let mut cluster = Self {
            now: Instant(1_000_000),
            size,
            places: ids(size).map(|id| (id, Place::Down(directory(id)))).collect(),
            on_the_way: VecDeque::new(),
            cut: BTreeSet::new(),
            checks: Checks::default(),
            puts: 0,
            acknowledged: BTreeSet::new(),
            starts: 0,
        };
        ids(size).for_each(|id| cluster.start(id));
        cluster
    }

    fn event(&mut self, choices: &mut Choices) {
        let what = choices.below(16);
        let id = ServerId(1 + u16::try_from(choices.below(self.size)).expect("few nodes"));
        match what {
            0..=2 => self.deliver_all(),
            3 => self.deliver_nth(choices.below(FRAMES_MAX)),
            4 => drop(self.take_nth(choices.below(FRAMES_MAX))),
            5 => self.repeat_nth(choices.below(FRAMES_MAX)),
            6 | 7 => self.time_out(id),
            8 => self.write_and_sync(id, choices.byte()),
            9 => self.put(id),
            10 => self.run(Duration::from_millis(choices.byte().into())),
            11 => self.now = self.now + Duration::from_millis(choices.byte().into()),
            12 => self.cut_or_mend(id, choices),
            13 => self.lose_power(id, choices.pair().into()),
            14 => self.start(id),
            _ => self.keep_snapshot(id),
        }
    }

    /// Faults cease; the cluster must serve, agree, and have all that it acknowledged.
    fn recover(&mut self) {
        self.cut.clear();
        ids(self.size).for_each(|id| self.start(id));
        let end = self.now + RECOVERY_MAX;
        while !self.has_recovered() {
            assert!(self.now < end, "not well {RECOVERY_MAX:?} after the last fault");
            self.run(Duration::from_millis(50));
            if let Some(leader) = self.leader().filter(|_| self.puts < 10_000) {
                self.puts = 10_000;
                self.put(leader);
            }
        }
        for put in &self.acknowledged {
            for life in self.lives() {
                let there = life.node.store().committed().get(&key(*put));
                assert!(there.is_some(), "put {put} was acknowledged and is lost");
            }
        }
    }

    fn has_recovered(&self) -> bool {
        let ends: BTreeSet<(LogIndex, u64)> = self
            .lives()
            .map(|life| life.node.store().committed())
            .map(|state| (state.index(), state.checksum()))
            .collect();
        let all_committed = self.lives().all(|life| {
            let state = life.node.state();
            state.commit == state.log.last_index()
        });
        self.acknowledged.contains(&10_001) && ends.len() == 1 && all_committed
    }

    fn lives(&self) -> impl Iterator<Item = &Life> {
        self.places.values().filter_map(|place| match place {
            Place::Up(life) => Some(&**life),
            Place::Down(_) => None,
        })
    }

    fn life(&mut self, id: ServerId) -> Option<&mut Life> {
        match self.places.get_mut(&id) {
            Some(Place::Up(life)) => Some(life),
            _ => None,
        }
    }

    fn leader(&self) -> Option<ServerId> {
        let leads = |life: &&Life| life.node.state().role == Role::Leader;
        self.lives().filter(leads).map(|life| life.node.state().server_id).next()
    }

    fn start(&mut self, id: ServerId) {
        let Some(Place::Down(directory)) = self.places.get(&id) else { return };
        self.starts += 1;
        let life = Life::start(self.size, directory.clone(), self.now, self.starts);
        self.places.insert(id, Place::Up(Box::new(life)));
        self.end_turn(id);
    }

    fn lose_power(&mut self, id: ServerId, seed: u64) {
        let place = self.places.remove(&id).expect("every node has a place");
        let place = match place {
            Place::Up(life) => Place::Down(life.lose_power(seed)),
            Place::Down(directory) => Place::Down(directory),
        };
        self.places.insert(id, place);
    }

    fn cut_or_mend(&mut self, from: ServerId, choices: &mut Choices) {
        match choices.below(8) {
            0 => self.cut.clear(),
            to => {
                self.cut.insert((from, ServerId(to.try_into().expect("a small number"))));
            }
        }
    }

    fn time_out(&mut self, id: ServerId) {
        let now = self.now;
        let Some(life) = self.life(id) else { return };
        let due = life.node.next_deadline().map_or(now, |due| due.max(now));
        life.node.on_timeout(due);
        self.now = due;
        self.end_turn(id);
    }

    fn write_and_sync(&mut self, id: ServerId, how: u8) {
        let now = self.now;
        let Some(life) = self.life(id) else { return };
        if how & 1 == 0 {
            life.sync(now);
        }
        if how & 2 == 0 {
            life.write();
        }
        self.end_turn(id);
    }

    fn keep_snapshot(&mut self, id: ServerId) {
        let now = self.now;
        let Some(life) = self.life(id) else { return };
        life.keep_snapshot(now);
        self.end_turn(id);
    }

    fn put(&mut self, id: ServerId) {
        self.puts += 1;
        let mut frame = Vec::new();
        wire::encode(&client_header(), &Message::Request(put(self.puts)), &mut frame);
        let (now, source) = (self.now, SocketAddr::from(([11, 0, 0, 1], 1)));
        let Some(life) = self.life(id) else { return };
        life.node.on_datagram(now, source, &frame.into());
        self.end_turn(id);
    }

    /// Time passes, and for once all goes well but for what is cut.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.next_step().min(end);
            self.deliver_all();
            for id in ids(self.size) {
                let now = self.now;
                let Some(life) = self.life(id) else { continue };
                life.node.on_timeout(now);
                self.end_turn(id);
                self.catch_up(id);
            }
        }
    }

    /// When a frame arrives or, if there is none, a timer is due.
    fn next_step(&self) -> Instant {
        let soon = self.now + A_HOP;
        let due = self.lives().filter_map(|life| life.node.next_deadline()).min();
        due.filter(|_| self.on_the_way.is_empty()).map_or(soon, |due| due.max(soon))
    }

    fn catch_up(&mut self, id: ServerId) {
        let now = self.now;
        while let Some(life) = self.life(id) {
            life.keep_snapshot(now);
            life.write();
            if !life.sync(now) {
                return;
            }
            self.end_turn(id);
        }
    }

    fn deliver_all(&mut self) {
        for frame in std::mem::take(&mut self.on_the_way) {
            self.deliver(&frame);
        }
    }

    fn deliver_nth(&mut self, nth: usize) {
        if let Some(frame) = self.take_nth(nth) {
            self.deliver(&frame);
        }
    }

    fn repeat_nth(&mut self, nth: usize) {
        if let Some(frame) = self.take_nth(nth) {
            self.deliver(&frame);
            self.on_the_way.push_back(frame);
        }
    }

    fn take_nth(&mut self, nth: usize) -> Option<Frame> {
        let nth = nth.checked_rem(self.on_the_way.len())?;
        self.on_the_way.remove(nth)
    }

    fn deliver(&mut self, frame: &Frame) {
        let to = ids(self.size).find(|id| address_of(*id) == frame.to);
        let Some(to) = to else { return self.answer(frame) };
        if self.cut.contains(&(frame.from, to)) {
            return;
        }
        let now = self.now;
        if let Some(life) = self.life(to) {
            life.node.on_datagram(now, address_of(frame.from), &frame.bytes);
            self.end_turn(to);
        }
    }

    /// The client notes what was acknowledged.
    fn answer(&mut self, frame: &Frame) {
        let frame = wire::decode(&frame.bytes).expect("a node's own frame");
        if let Message::Reply(reply) = frame.message
            && reply.settled.outcome == Outcome::Written
        {
            self.acknowledged.insert(reply.session.random);
        }
    }

    fn end_turn(&mut self, id: ServerId) {
        let now = self.now;
        let Some(Place::Up(life)) = self.places.get_mut(&id) else { return };
        let sent = life.end_turn(now);
        let commit = life.node.state().commit;
        for (_, frame) in &sent {
            if let Err(broken) = self.checks.frame_leaves(frame, commit) {
                panic!("{broken}");
            }
        }
        if let Err(broken) = self.checks.node_turned(usize::from(id.0) - 1, &life.node) {
            panic!("{broken}");
        }
        let sent = sent.into_iter().map(|(to, bytes)| Frame { from: id, to, bytes });
        self.on_the_way.extend(sent);
        let too_many = self.on_the_way.len().saturating_sub(FRAMES_MAX);
        self.on_the_way.drain(..too_many);
    }
}

fn key(put: u64) -> Bytes {
    put.to_string().into()
}

/// The only operation of a session of its own.
fn put(number: u64) -> Request {
    let session = SessionId { minted_at: LogIndex(1), random: number };
    let operation = Operation::Put { key: key(number), value: vec![b'x'; 200].into() };
    clients::one_shot(session, &operation)
}
