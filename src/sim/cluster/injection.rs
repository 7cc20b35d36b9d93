//! Faults, as they are injected.

use std::time::Duration;

use bytes::Bytes;

use super::{Cluster, Event, Phase};
use crate::sim::checks::TurningPoint;
use crate::sim::faults::Fault;
use crate::sim::network::Endpoint;
use crate::sim::trace;

/// How far a clock jumps, in microseconds, as powers of two: 16 ms up to two minutes.
const JUMPS: std::ops::Range<u32> = 14..26;
/// How long a node that was told to stop may take to hand over.
const STOP_MAX: Duration = Duration::from_secs(3);

impl Cluster {
    pub(super) fn schedule_next_fault(&mut self) {
        if let Some(interval) = self.profile.interval {
            let after = interval.mul_f64(2.0 * self.random.f64());
            self.schedule(after, Event::Fault);
        }
    }

    /// Injects one fault, and sees to the next.
    pub(super) fn inject_next(&mut self) -> Result<(), String> {
        if let Some(fault) = self.profile.weights.pick(&mut self.random) {
            self.inject(fault)?;
        }
        self.schedule_next_fault();
        Ok(())
    }

    fn inject(&mut self, fault: Fault) -> Result<(), String> {
        let place = self.random.usize(..self.nodes.len());
        match fault {
            Fault::Crash => self.crash(place),
            Fault::Split => self.split(),
            Fault::OneWay => self.cut_one_way(place),
            Fault::Tangle => self.tangle(),
            Fault::Heal => self.network.heal(),
            Fault::Pause => self.pause(place),
            Fault::Jump => self.jump_far(place),
            Fault::Stop => return self.tell_to_stop(place),
            Fault::Wipe => self.wipe(place),
            Fault::PutBack => return self.put_back(place),
            Fault::Damage => return self.damage(place),
            Fault::Stray => self.let_a_write_stray(place),
            Fault::Failure => self.let_the_disk_fail(place),
            Fault::Full => self.fill_the_disk(place),
            Fault::Slow => self.slow_the_disk(place),
        }
        Ok(())
    }

    fn crash(&mut self, place: usize) {
        self.count("crash");
        self.lose_power_for_a_while(place);
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

    fn cut_one_way(&mut self, from: usize) {
        let to = self.random.usize(..self.nodes.len());
        self.count("cut one way");
        self.network.cut(from, to);
    }

    /// No two nodes need be cut from the same others.
    fn tangle(&mut self) {
        self.count("tangle of cuts");
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                if self.random.u8(..3) == 0 {
                    self.network.cut(from, to);
                }
            }
        }
    }

    fn jump_far(&mut self, place: usize) {
        self.count("clock jump");
        let least = 1 << self.random.u32(JUMPS);
        let by = Duration::from_micros(least + self.random.u64(..least));
        self.trace.add(self.now, trace::Event::Node(place, "has its clock jump forward"));
        self.jump(place, by);
    }

    fn pause(&mut self, place: usize) {
        self.count("pause");
        self.trace.add(self.now, trace::Event::Node(place, "is paused"));
        let pause = Duration::from_millis(self.random.u64(10..3_000));
        self.nodes[place].paused_until = self.now + pause;
    }

    fn tell_to_stop(&mut self, place: usize) -> Result<(), String> {
        let now = self.local(place);
        let Some(node) = &mut self.nodes[place].node else { return Ok(()) };
        node.hand_over(now);
        self.nodes[place].stop_by = Some(self.now + STOP_MAX);
        self.count("stop");
        self.trace.add(self.now, trace::Event::Node(place, "is told to stop"));
        self.finish_turn(place)
    }

    /// All nodes lose their power together.
    pub(super) fn black_out(&mut self) {
        self.count("blackout");
        for place in 0..self.nodes.len() {
            self.lose_power(place);
            let down = Duration::from_millis(self.random.u64(1..2_000));
            self.schedule(down, Event::Restart(place));
        }
    }

    /// A turning point of a node is a bad moment for a fault.
    pub(super) fn maybe_ambush(&mut self, place: usize, point: TurningPoint) {
        let share = if point == TurningPoint::Commits { 0.05 } else { 1.0 };
        if self.phase == Phase::Faults && self.random.f64() < self.profile.ambush * share {
            let latest = if self.random.bool() { 1 } else { 20_000 };
            let after = Duration::from_micros(self.random.u64(..latest));
            let life = self.nodes[place].life;
            self.schedule(after, Event::Ambush { place, life });
        }
    }

    /// The node is cut off or not heard any more, or it or another loses its power. The
    /// others may just now be able to hear each other again.
    pub(super) fn ambush(&mut self, place: usize, life: u64) {
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
        self.mute(place);
        for other in (0..self.nodes.len()).filter(|other| *other != place) {
            self.network.cut(other, place);
        }
    }

    fn mute(&mut self, place: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != place) {
            self.network.cut(place, other);
        }
    }

    /// For a very short time, or for long enough that the others do without it.
    pub(super) fn lose_power_for_a_while(&mut self, place: usize) {
        self.lose_power(place);
        let longest = if self.random.bool() { 30 } else { 3_000 };
        let down = Duration::from_millis(self.random.u64(1..longest));
        self.schedule(down, Event::Restart(place));
    }

    pub(super) fn lose_power(&mut self, place: usize) {
        self.trace.add(self.now, trace::Event::Node(place, "loses power"));
        self.stop(place);
        let member = &mut self.nodes[place];
        member.disk.lose_power(&mut self.random);
    }

    /// The system of a node that is down says so to whoever sends it something. Somebody may
    /// say it of one that is up.
    pub(super) fn maybe_refuse(&mut self, from: Endpoint, of: usize, frame: &Bytes) {
        let Endpoint::Node(to) = from else { return };
        let is_down = self.nodes[of].node.is_none();
        let is_forged = self.profile.refusals > 0.0 && self.random.f64() < self.profile.refusals;
        if is_down || is_forged {
            self.count(if is_down { "frame refused" } else { "frame said to be refused" });
            let (delay, frame) = (self.profile.delay.0, frame.clone());
            self.schedule(delay, Event::Refused { to, of, frame });
        }
    }

    pub(super) fn say_refused(&mut self, to: usize, of: usize, frame: Bytes) -> Result<(), String> {
        let is_cut = self.network.is_cut(Endpoint::Node(of), Endpoint::Node(to));
        if let Some(until) = self.paused(to) {
            self.schedule_at(until, Event::Refused { to, of, frame });
            return Ok(());
        }
        let now = self.local(to);
        let Some(node) = self.nodes[to].node.as_mut().filter(|_| !is_cut) else { return Ok(()) };
        node.on_refused(now, Endpoint::Node(of).address(), &frame);
        self.finish_turn(to)
    }

    pub(super) fn count(&mut self, kind: &'static str) {
        *self.fault_counts.entry(kind).or_default() += 1;
    }
}
