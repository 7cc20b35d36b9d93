//! One run of a cluster, event by event: the queue of events, and what frames and clients
//! do. The nodes' turns, the faults and the recovery from them have files of their own.

mod disk_faults;
mod injection;
mod member;
mod oracle;
mod put_back;
mod recovery;
mod writing;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::checks::Checks;
use super::ledger::Ledger;
use super::network::{Arrival, Endpoint, Network};
use super::operator::{self, Operator};
use super::trace::{self, Trace};
use super::workload::Workload;
use super::{Failure, Profile, Report, random_for};
use crate::time::Instant;
use crate::types::DirectoryId;
use crate::wire::Kind;
use member::Member;

/// One run.
#[derive(Debug)]
pub struct Cluster {
    seed: u64,
    profile: Profile,
    now: Instant,
    events: BTreeMap<(Instant, u64), Event>,
    next_event: u64,
    random: fastrand::Rng,
    network: Network,
    nodes: Vec<Member>,
    workload: Workload,
    operator: Operator,
    checks: Checks,
    ledger: Ledger,
    trace: Trace,
    traced: bool,
    faults_cease_at: Instant,
    phase: Phase,
    snapshots_written: u64,
    /// Whether any node has asked another for a snapshot.
    has_fetched: bool,
    fault_counts: BTreeMap<&'static str, u64>,
    events_handled: u64,
    turns: u64,
    /// What was lost when faults ceased, so that the cluster need not recover.
    loss: Option<String>,
    /// The same, if it has not.
    waived: Option<String>,
}

/// What may happen at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Faults come when they come.
    Faults,
    /// An older copy of a directory was put back just now: nothing else happens for a while.
    Quiet,
    /// Faults have ceased.
    Calm,
}

#[derive(Debug)]
enum Event {
    Arrival {
        from: Endpoint,
        to: Endpoint,
        bytes: Bytes,
    },
    /// Node `to` is told that nobody took the frame, which it seems to have sent to node `of`.
    Refused {
        to: usize,
        of: usize,
        frame: Bytes,
    },
    WakeNode(usize),
    Synced {
        place: usize,
        life: u64,
    },
    SnapshotWritten {
        place: usize,
        life: u64,
    },
    Restart(usize),
    WakeClients,
    Fault,
    Ambush {
        place: usize,
        life: u64,
    },
    Blackout,
    Noticed {
        place: usize,
        directory: DirectoryId,
    },
    Room(usize),
    Calm,
    Look,
}

impl Cluster {
    /// The cluster of a seed, with nothing running yet.
    pub fn new(seed: u64, profile: Profile, traced: bool) -> Self {
        let mut random = random_for(seed, 2);
        let count = profile.nodes + usize::from(profile.newcomer);
        let nodes = (0..count).map(|place| Member::blank(place, &profile, &mut random));
        let nodes: Vec<Member> = nodes.collect();
        Self {
            seed,
            now: Instant(0),
            events: BTreeMap::new(),
            next_event: 0,
            network: Network::new(random_for(seed, 3)),
            workload: Workload::new(random_for(seed, 4), &profile),
            operator: operator_for(seed, &profile),
            checks: Checks::default(),
            ledger: Ledger::default(),
            trace: Trace::new(traced),
            traced,
            faults_cease_at: Instant(0) + profile.duration,
            phase: Phase::Faults,
            snapshots_written: 0,
            has_fetched: false,
            fault_counts: BTreeMap::new(),
            events_handled: 0,
            turns: 0,
            loss: None,
            waived: None,
            profile,
            random,
            nodes,
        }
    }

    /// Runs until everything is settled.
    pub fn run(mut self) -> Result<Report, Box<Failure>> {
        let untrue = |member: &&Member| !member.clock.is_true();
        let untrue = self.nodes.iter().filter(untrue).count();
        self.fault_counts.insert("clocks too fast or too slow", untrue as u64);
        self.schedule_all();
        let ended = loop {
            let Some(((at, _), event)) = self.events.pop_first() else {
                break Err("nothing is left to happen".to_owned());
            };
            self.now = self.now.max(at);
            self.events_handled += 1;
            match self.handle(event) {
                Ok(false) => {}
                Ok(true) => break self.workload.check(),
                Err(broken) => break Err(broken),
            }
        };
        match ended {
            Ok(()) => Ok(self.report()),
            Err(broken) => {
                let events = self.trace.lines(|| self.workload.lines());
                Err(Box::new(Failure { seed: self.seed, broken, events }))
            }
        }
    }

    fn schedule_all(&mut self) {
        for place in 0..self.nodes.len() {
            let after = Duration::from_millis(self.random.u64(..500));
            self.schedule(after, Event::Restart(place));
        }
        self.schedule(Duration::from_millis(200), Event::WakeClients);
        self.schedule_next_fault();
        if self.profile.blackout {
            let at = self.profile.duration.mul_f64(0.3 + 0.6 * self.random.f64());
            self.schedule(at, Event::Blackout);
        }
        self.schedule(self.profile.duration, Event::Calm);
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.schedule_at(self.now + after, event);
    }

    fn schedule_at(&mut self, at: Instant, event: Event) {
        self.events.insert((at.max(self.now), self.next_event), event);
        self.next_event += 1;
    }

    /// Handles one event. Returns whether the run is over.
    fn handle(&mut self, event: Event) -> Result<bool, String> {
        match event {
            Event::Arrival { from, to, bytes } => self.deliver(from, to, bytes)?,
            Event::Refused { to, of, frame } => self.say_refused(to, of, frame)?,
            Event::WakeNode(place) => self.wake_node(place)?,
            Event::Synced { place, life } => self.on_synced(place, life)?,
            Event::SnapshotWritten { place, life } => self.on_snapshot_written(place, life)?,
            Event::Restart(place) => self.restart(place)?,
            Event::WakeClients => self.wake_clients(),
            Event::Noticed { place, directory } => self.check_noticed(place, directory)?,
            Event::Fault if self.phase == Phase::Quiet => self.schedule_next_fault(),
            Event::Fault if self.phase == Phase::Faults => self.inject_next()?,
            Event::Blackout if self.phase == Phase::Faults => self.black_out(),
            Event::Ambush { place, life } if self.phase == Phase::Faults => {
                self.ambush(place, life);
            }
            Event::Fault | Event::Ambush { .. } | Event::Blackout => {}
            Event::Room(place) => self.nodes[place].disk.files().set_room(None),
            Event::Calm => self.calm_down(),
            Event::Look => return self.look(),
        }
        Ok(false)
    }

    fn deliver(&mut self, from: Endpoint, to: Endpoint, bytes: Bytes) -> Result<(), String> {
        match to {
            Endpoint::Client(operator::NUMBER) => {
                self.operator.on_datagram(self.now, &bytes);
                Ok(())
            }
            Endpoint::Client(number) => {
                self.workload.on_datagram(self.now, number, from.address(), &bytes);
                self.flush_clients();
                Ok(())
            }
            // A forged frame may have told somebody of a node that there is not.
            Endpoint::Node(place) if place >= self.nodes.len() => Ok(()),
            Endpoint::Node(place) => {
                // What is on the way when a link breaks is lost with it.
                if self.network.is_cut(from, to) {
                    return Ok(());
                }
                if let Some(until) = self.paused(place) {
                    self.schedule_at(until, Event::Arrival { from, to, bytes });
                    return Ok(());
                }
                self.maybe_refuse(from, place, &bytes);
                let now = self.local(place);
                if let Some(node) = &mut self.nodes[place].node {
                    node.on_datagram(now, from.address(), &bytes);
                    self.finish_turn(place)?;
                }
                Ok(())
            }
        }
    }

    fn transmit(&mut self, from: Endpoint, to: Endpoint, frame: &[u8]) {
        let kind = frame.get(3).and_then(|byte| Kind::from_byte(*byte));
        if let Some(kind) = kind {
            self.has_fetched |= kind == Kind::SnapshotRequest;
            self.trace.add(self.now, trace::Event::Frame(kind, from, to));
        }
        for arrival in self.network.transmit(self.now, (from, to), frame, &self.profile) {
            let Arrival { at, to, bytes } = arrival;
            self.schedule_at(at, Event::Arrival { from, to, bytes });
        }
    }

    fn wake_clients(&mut self) {
        self.workload.act(self.now);
        self.flush_clients();
        if let Some((to, frame)) = self.operator.act(self.now, self.nodes.len()) {
            self.transmit(Endpoint::Client(operator::NUMBER), to, &frame);
        }
        self.schedule(Duration::from_millis(2), Event::WakeClients);
    }

    fn flush_clients(&mut self) {
        for (number, to, frame) in self.workload.take_frames() {
            if let Some(to) = Endpoint::at(to) {
                self.transmit(Endpoint::Client(number), to, &frame);
            }
        }
    }

    fn report(self) -> Report {
        let mut faults: Vec<(&'static str, u64)> = self.network.counts().collect();
        faults.extend(self.fault_counts);
        let states = self.nodes.iter().flat_map(|member| &member.node);
        let sums = states.map(|node| node.store().committed().checksum());
        let seen = self.workload.checksum();
        Report {
            seed: self.seed,
            nodes: self.nodes.len(),
            virtual_time: self.now.0,
            events: self.events_handled,
            leaders: self.checks.leaders(),
            committed: self.checks.committed(),
            snapshots: [self.snapshots_written, self.checks.installed()],
            changes: self.checks.changes(),
            operations: self.workload.ended(),
            stale_reads: self.workload.stale_reads(),
            faults,
            trace: if self.traced {
                self.trace.lines(|| self.workload.lines())
            } else {
                Vec::new()
            },
            waived: self.waived,
            checksum: sums.fold(seen, |sum, state| sum.rotate_left(7) ^ state),
        }
    }
}

fn operator_for(seed: u64, profile: &Profile) -> Operator {
    let random = random_for(seed, 5);
    if profile.newcomer {
        Operator::of(profile.nodes + 1, profile.duration, random)
    } else {
        Operator::idle(random)
    }
}
