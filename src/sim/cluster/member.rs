//! A node's place in the cluster: its starts, its turns and its end.

use std::time::Duration;

use super::{Cluster, Event};
use crate::replica::{ListedNode, NodeConfig, Randomness, ReplicaNode};
use crate::sim::Profile;
use crate::sim::checks::TurningPoint;
use crate::sim::clock::SimClock;
use crate::sim::disk::{Disk, NotStarted};
use crate::sim::network::Endpoint;
use crate::sim::trace;
use crate::time::Instant;
use crate::types::ServerId;

use super::writing::Writing;

/// How long it takes until a node is tried again that could not be started.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A synced image is looked at once in so many turns.
const TURNS_PER_SAMPLE: u64 = 4_000;

/// A node's place in the cluster.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: ServerId,
    pub(super) disk: Disk,
    /// The running node; none while it is down.
    pub(super) node: Option<ReplicaNode>,
    /// How often it was started: events for a former life are void.
    pub(super) life: u64,
    /// What the disk is busy with.
    pub(super) writing: Writing,
    pub(super) clock: SimClock,
    wake_at: Option<Instant>,
    /// It does not run until then.
    pub(super) paused_until: Instant,
    /// Its disk is slow until then.
    pub(super) slow_until: Instant,
    /// It was told to stop, and does so by then at the latest.
    pub(super) stop_by: Option<Instant>,
    /// Its directory is refused: it waits for another.
    pub(super) is_refused: bool,
    /// It will not be there any more.
    pub(super) is_gone: bool,
}

impl Member {
    pub(super) fn blank(place: usize, profile: &Profile, random: &mut fastrand::Rng) -> Self {
        let id = ServerId(u16::try_from(place + 1).expect("few nodes"));
        let (slowest, fastest) = profile.clock_rates;
        let rate = random.u64(slowest..=fastest);
        Self {
            id,
            disk: Disk::blank(id, random, profile.forgetful_disk),
            node: None,
            life: 0,
            writing: Writing::default(),
            clock: SimClock::new(Instant(0), Instant(random.u64(..1 << 40)), rate),
            wake_at: None,
            paused_until: Instant(0),
            slow_until: Instant(0),
            stop_by: None,
            is_refused: false,
            is_gone: false,
        }
    }

    /// Whether it can tell others that the cluster is born, and of whom.
    pub(super) fn knows_birth(&self) -> bool {
        let running = self.node.as_ref().is_some_and(|node| node.state().is_born());
        running || self.disk.durable().is_some_and(|found| found.configuration().is_some())
    }
}

/// How often a node listens for its cluster before the birth. Clients do not wait for as long as
/// it does elsewhere.
const LISTENING_ROUNDS: u32 = 4;

impl Cluster {
    pub(super) fn restart(&mut self, place: usize) -> Result<(), String> {
        let is_down = self.nodes[place].node.is_none();
        if !is_down || self.nodes[place].is_gone || self.nodes[place].is_refused {
            return Ok(());
        }
        let config = self.config(place);
        let seed = self.random.u64(..);
        let now = self.local(place);
        let member = &mut self.nodes[place];
        let started = member.disk.start(&mut self.random);
        self.note_mishaps(place);
        let recovered = match started {
            Ok(recovered) => recovered,
            Err(why) => return self.not_started(place, why),
        };
        self.trace.add(self.now, trace::Event::Node(place, "starts"));
        let member = &mut self.nodes[place];
        member.life += 1;
        (member.writing, member.wake_at, member.stop_by) = (Writing::default(), None, None);
        self.ledger.started(&recovered)?;
        member.node = Some(ReplicaNode::new(&config, recovered, now, &Randomness::Seed(seed)));
        self.finish_turn(place)
    }

    fn not_started(&mut self, place: usize, why: NotStarted) -> Result<(), String> {
        match why {
            NotStarted::Broken(what) => return Err(format!("node {}: {what}", place + 1)),
            NotStarted::Refused => {
                self.count("directory refused");
                self.trace.add(self.now, trace::Event::Node(place, "has its directory refused"));
                self.nodes[place].is_refused = true;
            }
            NotStarted::NotNow => self.schedule(RETRY_AFTER, Event::Restart(place)),
        }
        Ok(())
    }

    /// What the node takes for the time.
    pub(super) fn local(&self, place: usize) -> Instant {
        self.nodes[place].clock.shows(self.now)
    }

    /// What the node is told. Those who were there from the birth list no newcomer.
    fn config(&self, place: usize) -> NodeConfig {
        let listed = |place| ListedNode {
            address: Endpoint::Node(place).address(),
            typed: format!("node-{place}"),
        };
        let known = self.profile.nodes.max(place + 1);
        let members = self.nodes.iter().enumerate().take(known);
        let listed = members.map(|(place, member)| (member.id, listed(place))).collect();
        NodeConfig {
            snapshot_bytes: self.profile.snapshot_bytes,
            kept_entries: self.profile.kept_entries,
            session_limit: self.profile.session_limit,
            listening_rounds: LISTENING_ROUNDS,
            pinned: self.profile.pinned,
            ..NodeConfig::new(listed)
        }
    }

    pub(super) fn wake_node(&mut self, place: usize) -> Result<(), String> {
        if self.nodes[place].wake_at != Some(self.now) {
            return Ok(());
        }
        self.nodes[place].wake_at = None;
        if let Some(until) = self.paused(place) {
            self.nodes[place].wake_at = Some(until);
            self.schedule_at(until, Event::WakeNode(place));
            return Ok(());
        }
        let now = self.local(place);
        if let Some(node) = &mut self.nodes[place].node {
            node.on_timeout(now);
            self.finish_turn(place)?;
        }
        Ok(())
    }

    pub(super) fn paused(&self, place: usize) -> Option<Instant> {
        Some(self.nodes[place].paused_until).filter(|until| *until > self.now)
    }

    /// Ends the node's turn as the daemon's event loop does: frames first, then the disk.
    pub(super) fn finish_turn(&mut self, place: usize) -> Result<(), String> {
        let now = self.local(place);
        loop {
            let Some(node) = &mut self.nodes[place].node else { return Ok(()) };
            node.end_turn(now);
            self.send_frames(place)?;
            self.tend_disk(place);
            let Some(batch) = self.next_synced(place) else { return self.after_turn(place) };
            if let Some(node) = &mut self.nodes[place].node {
                node.on_synced(now, batch);
            }
        }
    }

    fn send_frames(&mut self, place: usize) -> Result<(), String> {
        let mut frame = Vec::new();
        let from = Endpoint::Node(place);
        while let Some(node) = &mut self.nodes[place].node
            && let Some(to) = node.poll_send(&mut frame)
        {
            self.ledger.frame_leaves(&frame, node)?;
            let commit = node.state().commit;
            if let Some(candidate) = self.checks.frame_leaves(&frame, commit)? {
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

    /// Checks the node after its turn, and lets it end or sleep.
    fn after_turn(&mut self, place: usize) -> Result<(), String> {
        let member = &mut self.nodes[place];
        let Some(node) = &member.node else { return Ok(()) };
        let checked = member.disk.check_errors();
        checked.map_err(|broken| format!("node {}: {broken}", place + 1))?;
        member.disk.note_said(node);
        self.ledger.node_turned(node)?;
        let (term, may_stop) = (node.state().term, node.may_stop());
        if let Some(point) = self.checks.node_turned(place, node)? {
            if point == TurningPoint::Leads {
                self.trace.add(self.now, trace::Event::Leads(place, term.0));
            }
            self.maybe_ambush(place, point);
        }
        self.sample(place)?;
        if self.nodes[place].stop_by.is_some_and(|by| by <= self.now || may_stop) {
            self.stop(place);
        } else {
            self.wake_in_time(place);
        }
        Ok(())
    }

    /// Now and then the synced image is looked at: that takes too long for every turn.
    fn sample(&mut self, place: usize) -> Result<(), String> {
        self.turns += 1;
        if !self.turns.is_multiple_of(TURNS_PER_SAMPLE) {
            return Ok(());
        }
        let checked = self.nodes[place].disk.check_synced();
        checked.map_err(|broken| format!("node {}: {broken}", place + 1))
    }

    fn wake_in_time(&mut self, place: usize) {
        let member = &mut self.nodes[place];
        let node_deadline = member.node.as_ref().and_then(ReplicaNode::next_deadline);
        let node_deadline = node_deadline.map(|at| member.clock.will_show(at));
        let deadline = [node_deadline, member.stop_by].into_iter().flatten().min();
        let Some(deadline) = deadline else { return };
        let deadline = deadline.max(self.now + Duration::from_micros(1));
        if member.wake_at.is_none_or(|at| deadline < at) {
            member.wake_at = Some(deadline);
            self.schedule_at(deadline, Event::WakeNode(place));
        }
    }

    /// The clock of the node jumps forward: what is due by it is due now.
    pub(super) fn jump(&mut self, place: usize, by: Duration) {
        self.nodes[place].clock.jump(self.now, by);
        if self.nodes[place].node.is_some() {
            self.wake_in_time(place);
        }
    }

    /// Ends the process; what it wrote stays.
    pub(super) fn stop(&mut self, place: usize) {
        let member = &mut self.nodes[place];
        if member.node.take().is_some() && member.stop_by.take().is_some() {
            let down = Duration::from_millis(self.random.u64(1..1_000));
            self.schedule(down, Event::Restart(place));
        }
        let member = &mut self.nodes[place];
        member.life += 1;
        (member.wake_at, member.paused_until) = (None, self.now);
        member.writing = Writing::default();
        member.disk.close();
    }
}
