//! Faults of disks.

use std::time::Duration;

use super::member::Member;
use super::{Cluster, Event};
use crate::disk::{self, Directory, SECTOR_BYTES};
use crate::sim::damage::Damage;
use crate::sim::directory::Trouble;
use crate::sim::trace;

impl Cluster {
    /// Replaces the disk of a node, as long as a majority of those that vote keeps its own.
    /// The cluster must have been born: before, a blank disk is nothing new.
    pub(super) fn wipe(&mut self, place: usize) {
        self.note_repairs();
        if !self.may_wipe(place) {
            return;
        }
        self.count("wipe");
        self.stop(place);
        self.trace.add(self.now, trace::Event::Node(place, "gets a blank disk"));
        let member = &mut self.nodes[place];
        member.is_refused = false;
        member.disk.replace(&mut self.random);
        self.schedule(Duration::from_millis(100), Event::Restart(place));
    }

    /// Nothing survives the loss of a majority. So the disks of a majority must be left
    /// without this one, and all of them must know the configuration that makes them one:
    /// else those that do not may be a majority of an earlier one.
    pub(super) fn may_wipe(&self, place: usize) -> bool {
        let known = |member: &Member| member.disk.durable()?.configuration();
        let on_disks: Vec<_> = self.nodes.iter().map(known).collect();
        let Some(newest) = on_disks.iter().flatten().max_by_key(|(index, _)| *index) else {
            return false;
        };
        let votes = |at: &usize| {
            let member = &self.nodes[*at];
            newest.1.is_voter(member.id, member.disk.id()) && member.disk.is_whole()
        };
        let others = (0..self.nodes.len()).filter(|at| *at != place).filter(votes);
        let running = self.nodes.iter().flat_map(|member| &member.node);
        let is_begun =
            running.into_iter().any(|node| node.state().configuration_index() > newest.0);
        let mut left = 0;
        for at in others {
            if on_disks[at].as_ref() != Some(newest) {
                return false;
            }
            left += 1;
        }
        let is_safe = !is_begun && !self.operator.lets_out();
        on_disks[place].is_some() && is_safe && left >= newest.1.majority()
    }

    /// Sees who holds again all that it ever relied on.
    pub(super) fn note_repairs(&mut self) {
        for member in &mut self.nodes {
            if let Some(node) = member.node.as_ref().filter(|_| member.writing.is_idle()) {
                member.disk.note_repair(node);
            }
        }
    }

    /// Whether this disk may lose something: so many others hold all that they said, unless
    /// this run may lose everything.
    fn may_damage(&mut self, place: usize) -> bool {
        self.note_repairs();
        let at_fault = |(at, member): &(usize, &Member)| *at != place && !member.disk.is_whole();
        let at_fault = self.nodes.iter().enumerate().filter(at_fault).count() + 1;
        self.profile.widespread_damage || 2 * at_fault < self.nodes.len()
    }

    /// Damages sectors of what a node has on its disk: while it runs, or between a loss of
    /// power and the start that follows.
    pub(super) fn damage(&mut self, place: usize) -> Result<(), String> {
        if !self.may_damage(place) {
            return Ok(());
        }
        if self.nodes[place].node.is_some() && self.random.bool() {
            self.damage_running(place);
            return Ok(());
        }
        if self.nodes[place].node.is_some() {
            self.count("crash");
            self.lose_power_for_a_while(place);
        }
        for _ in 0..self.random.u8(1..4) {
            self.damage_stopped(place)?;
        }
        Ok(())
    }

    /// What lies before the last batch is damaged; the batch itself is proven by nothing but a
    /// marker that is not synced. Damage to it is for when the power is off.
    fn damage_running(&mut self, place: usize) {
        let disk = &mut self.nodes[place].disk;
        let last_batch = disk.durable_reading().last_batch;
        let weak_copy = disk.weak_copy();
        let Some((name, sectors)) = pick_file(disk.files(), &mut self.random) else { return };
        let sector = match (&last_batch, name.as_str()) {
            (_, "meta") => weak_copy * 8 + self.random.usize(..4),
            (Some((segment, at)), _) if *segment == name => self.random.usize(..=*at),
            (Some((segment, _)), _) if name.starts_with("journal") && *segment < name => return,
            (None, _) if name.starts_with("journal") => return,
            _ => self.random.usize(..sectors),
        };
        if last_batch.as_ref().is_some_and(|batch| *batch == (name.clone(), sector)) {
            return;
        }
        let damage = [Damage::Zeroed, Damage::Flipped, Damage::Misplaced][self.random.usize(..3)];
        let also_cached = self.random.bool();
        if self.nodes[place].disk.files().damage(&name, (sector, damage), also_cached) {
            self.nodes[place].disk.note_damage(false);
            self.count("damage while running");
            self.trace.add(self.now, trace::Event::Node(place, "has a sector damaged"));
        }
    }

    /// Anything may be damaged, as long as something is left that tells of it.
    fn damage_stopped(&mut self, place: usize) -> Result<(), String> {
        let disk = &mut self.nodes[place].disk;
        let reading = disk.second_reading();
        let weak_copy = disk.weak_copy();
        let Some((name, sectors)) = pick_file(disk.files(), &mut self.random) else {
            return Ok(());
        };
        let near_end = reading.last_batch.clone().filter(|(segment, _)| *segment == name);
        let mut damage = Damage::ALL[self.random.usize(..4)];
        let sector = match near_end {
            _ if name == "meta" => {
                damage = if damage == Damage::Cut { Damage::Zeroed } else { damage };
                weak_copy * 8 + self.random.usize(..4)
            }
            Some((_, at)) if self.random.bool() => (at + self.random.usize(..4)).min(sectors - 1),
            Some((_, at)) => self.random.usize(..=at),
            None => self.random.usize(..sectors),
        };
        let is_at_end = reading.last_batch.as_ref().is_none_or(|(segment, at)| {
            name.starts_with("journal") && (segment, *at) <= (&name, sector)
        });
        let before = disk.files().clone();
        if !disk.files().damage(&name, (sector, damage), true) {
            return Ok(());
        }
        if !disk.is_noticed() {
            *disk.files() = before;
            // docs/disk-format.md: "Damage to the sector of a last batch whose marker a loss of
            // power took". Nothing else may pass.
            return if reading.is_proven && !disk.may_lack_the_end() {
                Err(format!("node {}: {damage:?} of sector {sector} of {name} passes", place + 1))
            } else {
                Ok(())
            };
        }
        disk.note_damage(damage == Damage::Cut || is_at_end);
        self.count("damage while down");
        self.trace.add(self.now, trace::Event::Node(place, "has a sector damaged while down"));
        Ok(())
    }

    pub(super) fn let_a_write_stray(&mut self, place: usize) {
        if self.may_damage(place) {
            let draw = self.random.bool().then(|| self.random.usize(..1 << 20));
            let meta_copy = self.nodes[place].disk.weak_copy();
            self.nodes[place].disk.set_trouble(Some(Trouble::Stray { draw, meta_copy }));
        }
    }

    pub(super) fn let_the_disk_fail(&mut self, place: usize) {
        let trouble = if self.random.bool() {
            Trouble::WriteFails
        } else {
            Trouble::SyncFails { forgets: self.random.bool() }
        };
        self.nodes[place].disk.set_trouble(Some(trouble));
    }

    /// The disk has room for little more than it holds, or for nothing, and later again.
    pub(super) fn fill_the_disk(&mut self, place: usize) {
        self.count("full disk");
        self.trace.add(self.now, trace::Event::Node(place, "has its disk full"));
        let left = if self.random.bool() { self.random.u64(..200_000) } else { 0 };
        let files = self.nodes[place].disk.files();
        files.set_room(Some(files.used() + left));
        let lasts = Duration::from_millis(self.random.u64(100..10_000));
        self.schedule(lasts, Event::Room(place));
    }

    pub(super) fn slow_the_disk(&mut self, place: usize) {
        self.count("slow disk");
        let lasts = Duration::from_millis(self.random.u64(100..10_000));
        self.nodes[place].slow_until = self.now + lasts;
    }
}

/// A file that holds something, and how many sectors it has.
fn pick_file(files: &dyn Directory, random: &mut fastrand::Rng) -> Option<(String, usize)> {
    let is_kept = |name: &String| {
        !name.starts_with("spare-") && !name.contains(".new") && !disk::is_set_aside(name)
    };
    let mut names: Vec<String> = files.names().ok()?.into_iter().filter(is_kept).collect();
    let name = names.swap_remove(random.usize(..names.len()));
    let sectors = files.read(&name).ok()?.len().div_ceil(SECTOR_BYTES);
    (sectors > 0).then_some((name, sectors))
}
