//! A node's place in the cluster: its starts, its turns and its end.

use std::time::Duration;

use super::{Cluster, Event};
use crate::replica::{Batch, ListedNode, NodeConfig, ReplicaNode};
use crate::sim::Profile;
use crate::sim::checks::TurningPoint;
use crate::sim::disk::Disk;
use crate::sim::network::Endpoint;
use crate::sim::trace;
use crate::store::Snapshot;
use crate::time::Instant;
use crate::types::ServerId;

/// A node's place in the cluster.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: ServerId,
    pub(super) disk: Disk,
    /// The running node; none while it is down.
    pub(super) node: Option<ReplicaNode>,
    /// How often it was started: events for a former life are void.
    pub(super) life: u64,
    /// The batch that the disk is busy with.
    writing: Option<Batch>,
    /// The snapshot that is on its way to the disk.
    writing_snapshot: Option<Snapshot>,
    wake_at: Option<Instant>,
    /// It does not run until then.
    pub(super) paused_until: Instant,
    /// It was told to stop, and does so by then at the latest.
    pub(super) stop_by: Option<Instant>,
}

impl Member {
    pub(super) fn blank(place: usize, profile: &Profile, random: &mut fastrand::Rng) -> Self {
        let id = ServerId(u16::try_from(place + 1).expect("few nodes"));
        Self {
            id,
            disk: Disk::blank(id, random, profile.forgetful_disk),
            node: None,
            life: 0,
            writing: None,
            writing_snapshot: None,
            wake_at: None,
            paused_until: Instant(0),
            stop_by: None,
        }
    }
}

impl Cluster {
    pub(super) fn restart(&mut self, place: usize) -> Result<(), String> {
        if self.nodes[place].node.is_some() {
            return Ok(());
        }
        self.trace.add(self.now, trace::Event::Node(place, "starts"));
        let config = self.config(place);
        let seed = self.random.u64(..);
        let member = &mut self.nodes[place];
        let recovered =
            member.disk.start().map_err(|found| format!("a disk is damaged: {found}"))?;
        member.life += 1;
        (member.writing, member.wake_at, member.stop_by) = (None, None, None);
        member.writing_snapshot = None;
        member.node = Some(ReplicaNode::new(&config, recovered, self.now, seed));
        self.finish_turn(place)
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
        let now = self.now;
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
        let now = self.now;
        loop {
            let Some(node) = &mut self.nodes[place].node else { return Ok(()) };
            node.end_turn(now);
            self.send_frames(place)?;
            self.write_snapshot(place);
            let Some(batch) = self.next_synced(place) else { return self.after_turn(place) };
            if let Some(node) = &mut self.nodes[place].node {
                node.on_synced(now, batch);
            }
        }
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

    /// A batch that needs no disk. Any other keeps the disk busy, one at a time.
    fn next_synced(&mut self, place: usize) -> Option<Batch> {
        let member = &mut self.nodes[place];
        if member.writing.is_some() {
            return None;
        }
        let batch = member.node.as_mut()?.take_batch()?;
        if batch.records().is_empty() {
            return Some(batch);
        }
        member.disk.write(batch.records());
        member.writing = Some(batch);
        let life = member.life;
        let takes = self.sync_time();
        self.schedule(takes, Event::Synced { place, life });
        None
    }

    fn write_snapshot(&mut self, place: usize) {
        let member = &mut self.nodes[place];
        let Some(node) = &mut member.node else { return };
        while node.take_retired().is_some() {}
        let Some(snapshot) = node.take_snapshot() else { return };
        member.writing_snapshot = Some(snapshot);
        let life = member.life;
        let takes = self.sync_time() * 10;
        self.schedule(takes, Event::SnapshotWritten { place, life });
    }

    /// The disk is done with a snapshot, unless the node that gave it is gone.
    pub(super) fn on_snapshot_written(&mut self, place: usize, life: u64) -> Result<(), String> {
        if self.nodes[place].life != life {
            return Ok(());
        }
        if let Some(until) = self.paused(place) {
            self.schedule_at(until, Event::SnapshotWritten { place, life });
            return Ok(());
        }
        let now = self.now;
        let member = &mut self.nodes[place];
        let (Some(node), Some(snapshot)) = (&mut member.node, member.writing_snapshot.take())
        else {
            return Ok(());
        };
        member.disk.write_snapshot(&snapshot);
        self.snapshots_written += 1;
        let covered = node.on_snapshot_written(now);
        if member.writing.is_none() && !covered.installed {
            member.disk.cut(covered.upto);
        }
        self.finish_turn(place)
    }

    fn sync_time(&mut self) -> Duration {
        let may_stall = !self.calm && !self.is_quiet;
        if may_stall && self.random.f64() < self.profile.disk_stalls {
            let longest = if self.random.u8(..8) == 0 { 8_000_000 } else { 1_000_000 };
            return Duration::from_micros(self.random.u64(..longest));
        }
        self.profile.sync.mul_f64(0.5 + self.random.f64())
    }

    /// The disk is done with a batch, unless the node that gave it is gone.
    pub(super) fn on_synced(&mut self, place: usize, life: u64) -> Result<(), String> {
        if self.nodes[place].life != life {
            return Ok(());
        }
        if let Some(until) = self.paused(place) {
            self.schedule_at(until, Event::Synced { place, life });
            return Ok(());
        }
        let now = self.now;
        let member = &mut self.nodes[place];
        let (Some(node), Some(batch)) = (&mut member.node, member.writing.take()) else {
            return Ok(());
        };
        member.disk.sync();
        node.on_synced(now, batch);
        self.finish_turn(place)
    }

    /// Checks the node after its turn, and lets it end or sleep.
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
        } else {
            self.wake_in_time(place);
        }
        Ok(())
    }

    fn wake_in_time(&mut self, place: usize) {
        let member = &mut self.nodes[place];
        let node_deadline = member.node.as_ref().and_then(ReplicaNode::next_deadline);
        let deadline = [node_deadline, member.stop_by].into_iter().flatten().min();
        let Some(deadline) = deadline else { return };
        let deadline = deadline.max(self.now + Duration::from_micros(1));
        if member.wake_at.is_none_or(|at| deadline < at) {
            member.wake_at = Some(deadline);
            self.schedule_at(deadline, Event::WakeNode(place));
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
        (member.writing, member.wake_at, member.paused_until) = (None, None, self.now);
        member.writing_snapshot = None;
    }
}
