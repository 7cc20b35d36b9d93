//! The nodes, the clients and what lies between them, event by event.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::checks::{Checks, TurningPoint};
use super::disk::Disk;
use super::faults::Fault;
use super::network::{Endpoint, Network};
use super::trace::{self, Trace};
use super::workload::Workload;
use super::{Failure, Profile, Report, random_for};
use crate::replica::{Batch, ListedNode, NodeConfig, ReplicaNode};
use crate::time::Instant;
use crate::types::ServerId;
use crate::wire::Kind;

/// How long the cluster may take, once faults have ceased, until every operation is
/// settled and all nodes agree.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long a node that was told to stop may take to hand over.
const STOP_MAX: Duration = Duration::from_secs(3);

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
    checks: Checks,
    trace: Trace,
    faults_cease_at: Instant,
    calm: bool,
    wiped: usize,
    fault_counts: BTreeMap<&'static str, u64>,
    events_handled: u64,
}

/// A node's place in the cluster.
#[derive(Debug)]
struct Member {
    id: ServerId,
    disk: Disk,
    /// The running node; none while it is down.
    node: Option<ReplicaNode>,
    /// How often it was started: events for a former life are void.
    life: u64,
    /// The batch that the disk is busy with.
    writing: Option<Batch>,
    wake_at: Option<Instant>,
    /// It does not run until then.
    paused_until: Instant,
    /// It was told to stop, and does so by then at the latest.
    stop_by: Option<Instant>,
}

#[derive(Debug)]
enum Event {
    Arrival { from: Endpoint, to: Endpoint, bytes: Bytes },
    WakeNode(usize),
    Synced { place: usize, life: u64 },
    Restart(usize),
    WakeClients,
    Fault,
    Ambush { place: usize, life: u64 },
    Blackout,
    Calm,
    Look,
}

impl Cluster {
    /// The cluster of a seed, with nothing running yet.
    pub fn new(seed: u64, profile: Profile) -> Self {
        let mut random = random_for(seed, 2);
        let nodes = (0..profile.nodes).map(|place| Member::blank(place, &profile, &mut random));
        let nodes: Vec<Member> = nodes.collect();
        Self {
            seed,
            now: Instant(0),
            events: BTreeMap::new(),
            next_event: 0,
            network: Network::new(random_for(seed, 3)),
            workload: Workload::new(random_for(seed, 4), &profile),
            checks: Checks::default(),
            trace: Trace::default(),
            faults_cease_at: Instant(0) + profile.duration,
            calm: false,
            wiped: 0,
            fault_counts: BTreeMap::new(),
            events_handled: 0,
            profile,
            random,
            nodes,
        }
    }

    /// Runs until everything is settled.
    pub fn run(mut self) -> Result<Report, Box<Failure>> {
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
                Err(Box::new(Failure { seed: self.seed, broken, events: self.trace.lines() }))
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

    fn schedule_next_fault(&mut self) {
        if let Some(interval) = self.profile.interval {
            let after = interval.mul_f64(2.0 * self.random.f64());
            self.schedule(after, Event::Fault);
        }
    }

    /// Handles one event. Returns whether the run is over.
    fn handle(&mut self, event: Event) -> Result<bool, String> {
        match event {
            Event::Arrival { from, to, bytes } => self.deliver(from, to, bytes)?,
            Event::WakeNode(place) => self.wake_node(place)?,
            Event::Synced { place, life } => self.on_synced(place, life)?,
            Event::Restart(place) => self.restart(place)?,
            Event::WakeClients => self.wake_clients(),
            Event::Fault if !self.calm => {
                if let Some(fault) = self.profile.weights.pick(&mut self.random) {
                    self.inject(fault)?;
                }
                self.schedule_next_fault();
            }
            Event::Blackout if !self.calm => self.black_out(),
            Event::Ambush { place, life } if !self.calm => self.ambush(place, life),
            Event::Fault | Event::Ambush { .. } | Event::Blackout => {}
            Event::Calm => self.calm_down(),
            Event::Look => return self.look(),
        }
        Ok(false)
    }

    fn deliver(&mut self, from: Endpoint, to: Endpoint, bytes: Bytes) -> Result<(), String> {
        match to {
            Endpoint::Client(number) => {
                self.workload.on_datagram(self.now, number, from.address(), &bytes);
                self.flush_clients();
                Ok(())
            }
            Endpoint::Node(place) => {
                // What is on the way when a link breaks is lost with it.
                if self.network.is_cut(from, to) {
                    return Ok(());
                }
                if let Some(until) = self.paused(place) {
                    self.schedule_at(until, Event::Arrival { from, to, bytes });
                    return Ok(());
                }
                let now = self.now;
                if let Some(node) = &mut self.nodes[place].node {
                    node.on_datagram(now, from.address(), &bytes);
                    self.finish_turn(place)?;
                }
                Ok(())
            }
        }
    }

    fn paused(&self, place: usize) -> Option<Instant> {
        Some(self.nodes[place].paused_until).filter(|until| *until > self.now)
    }

    fn wake_node(&mut self, place: usize) -> Result<(), String> {
        if self.nodes[place].wake_at != Some(self.now) {
            return Ok(());
        }
        self.nodes[place].wake_at = None;
        if let Some(until) = self.paused(place) {
            self.nodes[place].wake_at = Some(until);
            self.schedule_at(until, Event::WakeNode(place));
            return Ok(());
        }
        let now = self.now;
        if let Some(node) = &mut self.nodes[place].node {
            node.on_timeout(now);
            self.finish_turn(place)?;
        }
        Ok(())
    }

    /// Ends the node's turn as the daemon's event loop does: frames first, then the disk.
    fn finish_turn(&mut self, place: usize) -> Result<(), String> {
        let now = self.now;
        loop {
            let Some(node) = &mut self.nodes[place].node else { return Ok(()) };
            node.end_turn(now);
            self.send_frames(place)?;
            let member = &mut self.nodes[place];
            let Some(node) = &mut member.node else { return Ok(()) };
            if member.writing.is_some() {
                break;
            }
            let Some(batch) = node.take_batch() else { break };
            if batch.records().is_empty() {
                node.on_synced(now, batch);
                continue;
            }
            member.disk.write(batch.records());
            member.writing = Some(batch);
            let life = member.life;
            let takes = self.sync_time();
            self.schedule(takes, Event::Synced { place, life });
            break;
        }
        self.after_turn(place)
    }

    fn sync_time(&mut self) -> Duration {
        if !self.calm && self.random.f64() < self.profile.disk_stalls {
            let longest = if self.random.u8(..8) == 0 { 8_000_000 } else { 1_000_000 };
            return Duration::from_micros(self.random.u64(..longest));
        }
        self.profile.sync.mul_f64(0.5 + self.random.f64())
    }

    fn send_frames(&mut self, place: usize) -> Result<(), String> {
        let mut frame = Vec::new();
        let from = Endpoint::Node(place);
        while let Some(to) =
            self.nodes[place].node.as_mut().and_then(|node| node.poll_send(&mut frame))
        {
            if let Some(candidate) = self.checks.frame_leaves(&frame)? {
                let elected = usize::from(candidate.0) - 1;
                let place = if self.random.bool() { place } else { elected };
                self.maybe_ambush(place, TurningPoint::Votes);
            }
            if let Some(to) = Endpoint::at(to) {
                self.transmit(from, to, &frame);
            }
        }
        Ok(())
    }

    fn transmit(&mut self, from: Endpoint, to: Endpoint, frame: &[u8]) {
        let kind = frame.get(3).and_then(|byte| Kind::from_byte(*byte));
        if let Some(kind) = kind {
            self.trace.add(self.now, trace::Event::Frame(kind, from, to));
        }
        for arrival in self.network.transmit(self.now, (from, to), frame, &self.profile) {
            self.schedule_at(arrival.at, Event::Arrival { from, to, bytes: arrival.bytes });
        }
    }

    /// Checks the node after its turn, and sees when it wants to be woken.
    fn after_turn(&mut self, place: usize) -> Result<(), String> {
        let Some(node) = &self.nodes[place].node else { return Ok(()) };
        let (term, may_stop) = (node.state().term, node.may_stop());
        if let Some(point) = self.checks.node_turned(place, node)? {
            if point == TurningPoint::Leads {
                self.trace.add(self.now, trace::Event::Leads(place, term.0));
            }
            self.maybe_ambush(place, point);
        }
        if self.nodes[place].stop_by.is_some_and(|by| by <= self.now || may_stop) {
            self.stop(place);
            return Ok(());
        }
        let Some(node) = &self.nodes[place].node else { return Ok(()) };
        let deadline =
            [node.next_deadline(), self.nodes[place].stop_by].into_iter().flatten().min();
        if let Some(deadline) = deadline {
            let deadline = deadline.max(self.now + Duration::from_micros(1));
            let member = &mut self.nodes[place];
            if member.wake_at.is_none_or(|at| deadline < at) {
                member.wake_at = Some(deadline);
                self.schedule_at(deadline, Event::WakeNode(place));
            }
        }
        Ok(())
    }

    fn on_synced(&mut self, place: usize, life: u64) -> Result<(), String> {
        let now = self.now;
        if self.nodes[place].life == life
            && let Some(until) = self.paused(place)
        {
            self.schedule_at(until, Event::Synced { place, life });
            return Ok(());
        }
        let member = &mut self.nodes[place];
        if member.life != life {
            return Ok(());
        }
        let (Some(node), Some(batch)) = (&mut member.node, member.writing.take()) else {
            return Ok(());
        };
        member.disk.sync();
        node.on_synced(now, batch);
        self.finish_turn(place)
    }

    fn restart(&mut self, place: usize) -> Result<(), String> {
        if self.nodes[place].node.is_some() {
            return Ok(());
        }
        self.trace.add(self.now, trace::Event::Node(place, "starts"));
        let config = self.config();
        let seed = self.random.u64(..);
        let member = &mut self.nodes[place];
        let recovered =
            member.disk.start().map_err(|damage| format!("a journal is damaged: {damage}"))?;
        Checks::node_starts(place, &recovered)?;
        member.life += 1;
        (member.writing, member.wake_at, member.stop_by) = (None, None, None);
        member.node = Some(ReplicaNode::new(&config, recovered, self.now, seed));
        self.finish_turn(place)
    }

    fn config(&self) -> NodeConfig {
        let listed = |place| ListedNode {
            address: Endpoint::Node(place).address(),
            typed: format!("node-{place}"),
        };
        NodeConfig {
            nodes: self
                .nodes
                .iter()
                .enumerate()
                .map(|(place, member)| (member.id, listed(place)))
                .collect(),
            election_timeout: Duration::from_millis(250),
            heartbeat_interval: Duration::from_millis(40),
            disk_stall: Duration::from_secs(1),
        }
    }

    fn wake_clients(&mut self) {
        self.workload.act(self.now);
        self.flush_clients();
        self.schedule(Duration::from_millis(2), Event::WakeClients);
    }

    fn flush_clients(&mut self) {
        for (number, to, frame) in self.workload.take_frames() {
            if let Some(to) = Endpoint::at(to) {
                self.transmit(Endpoint::Client(number), to, &frame);
            }
        }
    }

    fn inject(&mut self, fault: Fault) -> Result<(), String> {
        let place = self.random.usize(..self.nodes.len());
        match fault {
            Fault::Crash => self.crash(place),
            Fault::Split => self.split(),
            Fault::OneWay => {
                let to = self.random.usize(..self.nodes.len());
                self.count("cut one way");
                self.network.cut(place, to);
            }
            Fault::Heal => self.network.heal(),
            Fault::Pause => {
                self.count("pause");
                self.trace.add(self.now, trace::Event::Node(place, "is paused"));
                let pause = Duration::from_millis(self.random.u64(10..3_000));
                self.nodes[place].paused_until = self.now + pause;
            }
            Fault::Stop => return self.tell_to_stop(place),
            Fault::Wipe => self.wipe(place),
        }
        Ok(())
    }

    fn maybe_ambush(&mut self, place: usize, point: TurningPoint) {
        let share = if point == TurningPoint::Commits { 0.05 } else { 1.0 };
        if !self.calm && self.random.f64() < self.profile.ambush * share {
            let latest = if self.random.bool() { 1 } else { 20_000 };
            let after = Duration::from_micros(self.random.u64(..latest));
            let life = self.nodes[place].life;
            self.schedule(after, Event::Ambush { place, life });
        }
    }

    /// Something happens at a bad moment: the node, or another, loses its power, is cut off
    /// or not heard any more. The others may just now be able to hear each other again.
    fn ambush(&mut self, place: usize, life: u64) {
        if self.nodes[place].life != life {
            return;
        }
        self.count("ambush");
        if self.random.bool() {
            self.network.heal();
        }
        let other = self.random.usize(..self.nodes.len());
        match self.random.u8(..5) {
            0 => self.isolate(place),
            // The one that is just being elected, perhaps: it leads, and nobody hears it.
            1 | 2 => self.mute(place),
            3 => self.lose_power_for_a_while(other),
            _ => self.lose_power_for_a_while(place),
        }
    }

    fn isolate(&mut self, place: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != place) {
            self.network.cut(place, other);
            self.network.cut(other, place);
        }
    }

    fn mute(&mut self, place: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != place) {
            self.network.cut(place, other);
        }
    }

    /// For a very short time, or for long enough that the others do without it.
    fn lose_power_for_a_while(&mut self, place: usize) {
        self.lose_power(place);
        let longest = if self.random.bool() { 30 } else { 3_000 };
        let down = Duration::from_millis(self.random.u64(1..longest));
        self.schedule(down, Event::Restart(place));
    }

    fn count(&mut self, kind: &'static str) {
        *self.fault_counts.entry(kind).or_default() += 1;
    }

    fn crash(&mut self, place: usize) {
        self.count("crash");
        self.lose_power_for_a_while(place);
    }

    fn lose_power(&mut self, place: usize) {
        self.trace.add(self.now, trace::Event::Node(place, "loses power"));
        self.stop(place);
        let member = &mut self.nodes[place];
        member.disk.lose_power(&mut self.random);
    }

    /// Ends the process; what it wrote stays.
    fn stop(&mut self, place: usize) {
        let member = &mut self.nodes[place];
        if member.node.take().is_some() && member.stop_by.take().is_some() {
            let down = Duration::from_millis(self.random.u64(1..1_000));
            self.schedule(down, Event::Restart(place));
        }
        let member = &mut self.nodes[place];
        member.life += 1;
        (member.writing, member.wake_at, member.paused_until) = (None, None, self.now);
    }

    fn tell_to_stop(&mut self, place: usize) -> Result<(), String> {
        let now = self.now;
        let Some(node) = &mut self.nodes[place].node else { return Ok(()) };
        node.hand_over(now);
        self.nodes[place].stop_by = Some(now + STOP_MAX);
        self.count("stop");
        self.trace.add(self.now, trace::Event::Node(place, "is told to stop"));
        self.finish_turn(place)
    }

    fn split(&mut self) {
        self.count("split");
        let side: Vec<bool> = self.nodes.iter().map(|_| self.random.bool()).collect();
        for from in 0..side.len() {
            for to in 0..side.len() {
                if side[from] != side[to] {
                    self.network.cut(from, to);
                }
            }
        }
    }

    /// Replaces the disk of a node, as long as a majority keeps its own. The cluster must
    /// have been born: before, a blank disk is nothing new.
    fn wipe(&mut self, place: usize) {
        let most = (self.nodes.len() - 1) / 2;
        let born = self.nodes[place].node.as_ref().is_some_and(|node| node.state().is_born());
        if self.wiped >= most || !born {
            return;
        }
        self.wiped += 1;
        self.count("wipe");
        self.stop(place);
        self.trace.add(self.now, trace::Event::Node(place, "gets a blank disk"));
        let member = &mut self.nodes[place];
        member.disk = Disk::blank(member.id, &mut self.random, self.profile.forgetful_disk);
        self.schedule(Duration::from_millis(100), Event::Restart(place));
    }

    fn black_out(&mut self) {
        self.count("blackout");
        for place in 0..self.nodes.len() {
            self.lose_power(place);
            let down = Duration::from_millis(self.random.u64(1..2_000));
            self.schedule(down, Event::Restart(place));
        }
    }

    /// Faults cease, and everything is started again.
    fn calm_down(&mut self) {
        self.calm = true;
        self.workload.calm_down();
        self.network.calm_down();
        for place in 0..self.nodes.len() {
            self.nodes[place].paused_until = self.now;
            self.schedule(Duration::from_millis(1), Event::Restart(place));
        }
        self.schedule(LOOK_INTERVAL, Event::Look);
    }

    /// Looks whether every operation is settled, one that was begun in the calm was done,
    /// and all nodes agree.
    fn look(&mut self) -> Result<bool, String> {
        if self.workload.is_done() && self.agree() {
            return Ok(true);
        }
        if self.now > self.faults_cease_at + RECOVERY_MAX {
            return Err(format!(
                "not settled {RECOVERY_MAX:?} after the last fault: {}; {}",
                self.workload.describe(),
                self.describe_nodes(),
            ));
        }
        self.schedule(LOOK_INTERVAL, Event::Look);
        Ok(false)
    }

    fn describe_nodes(&self) -> String {
        let describe = |member: &Member| match &member.node {
            None => format!("node {} is down", member.id),
            Some(node) => {
                let state = node.state();
                format!(
                    "node {}: {:?} in term {}, log to {}, durable to {}, committed to {}, sum {:x}",
                    member.id,
                    state.role,
                    state.term,
                    state.log.last_index(),
                    state.log.durable(),
                    state.commit,
                    node.store().committed().checksum(),
                )
            }
        };
        self.nodes.iter().map(describe).collect::<Vec<_>>().join("; ")
    }

    fn agree(&self) -> bool {
        let ends: Option<Vec<_>> = self
            .nodes
            .iter()
            .map(|member| {
                let node = member.node.as_ref()?;
                let at_end = node.state().commit == node.state().log.last_index();
                (at_end && node.state().is_born()).then(|| node.store().committed())
            })
            .collect();
        let Some(ends) = ends else { return false };
        ends.windows(2).all(|pair| pair[0].index() == pair[1].index())
            && ends.windows(2).all(|pair| pair[0].checksum() == pair[1].checksum())
    }

    fn report(self) -> Report {
        let [lost, repeated, straggled, corrupted] = self.network.counts;
        let mut faults: Vec<(&'static str, u64)> = vec![
            ("lost frames", lost),
            ("repeated frames", repeated),
            ("stragglers", straggled),
            ("corrupted frames", corrupted),
        ];
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
            operations: self.workload.ended(),
            stale_reads: self.workload.stale_reads(),
            faults,
            checksum: sums.fold(seen, |sum, state| sum.rotate_left(7) ^ state),
        }
    }
}

impl Member {
    fn blank(place: usize, profile: &Profile, random: &mut fastrand::Rng) -> Self {
        let id = ServerId(u16::try_from(place + 1).expect("few nodes"));
        Self {
            id,
            disk: Disk::blank(id, random, profile.forgetful_disk),
            node: None,
            life: 0,
            writing: None,
            wake_at: None,
            paused_until: Instant(0),
            stop_by: None,
        }
    }
}
