//! The end of a run: faults cease, and the cluster must recover.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::member::Member;
use super::{Cluster, Event, Phase};
use crate::sim::bounds;
use crate::sim::clock::CALM_RATES;
use crate::types::{DirectoryId, ServerId};

/// How long the cluster may take, once faults have ceased, until every operation is
/// settled, all nodes agree and each has its vote.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Those who vote, by node and directory.
type Electorate = BTreeMap<ServerId, DirectoryId>;

impl Cluster {
    /// Faults cease for a majority at least; the others are gone, or cannot hear, or cannot be
    /// heard.
    pub(super) fn calm_down(&mut self) {
        self.network.calm_down();
        self.note_repairs();
        let leaves = self.draw_leaves();
        self.phase = Phase::Calm;
        self.workload.calm_down(self.now);
        for place in 0..self.nodes.len() {
            self.cease_faults(place);
            if leaves.contains(&place) {
                self.leave(place);
            } else {
                self.schedule(Duration::from_millis(1), Event::Restart(place));
            }
        }
        self.loss = self.loss();
        self.schedule(LOOK_INTERVAL, Event::Look);
    }

    fn cease_faults(&mut self, place: usize) {
        let rate = self.random.u64(CALM_RATES.0..=CALM_RATES.1);
        let member = &mut self.nodes[place];
        member.paused_until = self.now;
        member.slow_until = self.now;
        member.clock.set_rate(self.now, rate);
        member.disk.set_trouble(None);
        member.disk.files().set_room(None);
    }

    /// Who will not be there any more: any of those without whom there is a majority of the
    /// voters. Nobody leaves while the members change, or one must get its vote, or is about to
    /// find out that its directory counts as lost: what docs/guarantees.md says of nodes that
    /// die at that moment holds. Nor may the last one leave that knows of the birth: what nobody
    /// knows of it, nothing was committed by, and it takes all nodes to begin anew.
    fn draw_leaves(&mut self) -> BTreeSet<usize> {
        let electorates = self.electorates();
        let mut leaves = BTreeSet::new();
        let may_leave = self.phase != Phase::Quiet && self.are_members_settled(&electorates);
        if !self.profile.leaves_some || !may_leave {
            return leaves;
        }
        let mut places: Vec<usize> = (0..self.nodes.len()).collect();
        self.random.shuffle(&mut places);
        for place in places {
            leaves.insert(place);
            let stays = |at: &usize| !leaves.contains(at) && !self.nodes[*at].is_refused;
            let suffices = |voters: &Electorate| {
                let is_voter = |at: &usize| {
                    let member = &self.nodes[*at];
                    voters.get(&member.id) == Some(&member.disk.id())
                };
                let staying = (0..self.nodes.len()).filter(stays).filter(is_voter).count();
                staying > voters.len() / 2
            };
            let is_born =
                (0..self.nodes.len()).filter(stays).any(|at| self.nodes[at].knows_birth());
            if !is_born || !electorates.iter().all(suffices) || self.random.bool() {
                leaves.remove(&place);
            }
        }
        leaves
    }

    fn are_members_settled(&self, electorates: &BTreeSet<Electorate>) -> bool {
        let voters = self.checks.voters();
        let is_voter = |member: &Member| voters.get(&member.id) == Some(&member.disk.id());
        electorates.len() == 1
            && self.operator.is_done()
            && !voters.is_empty()
            && self.nodes.iter().all(is_voter)
    }

    fn leave(&mut self, place: usize) {
        self.nodes[place].is_gone = true;
        let others = (0..self.nodes.len()).filter(|other| *other != place);
        let (is_heard, hears) = match self.random.u8(..4) {
            0 => (false, false),
            1 => (true, false),
            2 => (false, true),
            _ => {
                self.count("gone for good");
                return self.stop(place);
            }
        };
        self.count("cut off for good");
        for other in others {
            if !is_heard {
                self.network.cut(place, other);
            }
            if !hears {
                self.network.cut(other, place);
            }
        }
    }

    /// Looks whether every operation is settled, one that was begun in the calm was done,
    /// all nodes agree and each has its vote, also those that lost their disks.
    pub(super) fn look(&mut self) -> Result<bool, String> {
        if self.workload.is_done() && self.operator.is_done() && self.agree() {
            return self.check_at_rest().map(|()| true);
        }
        if self.now > self.faults_cease_at + RECOVERY_MAX {
            if self.loss.is_some() {
                self.waived = self.loss.take();
                return Ok(true);
            }
            return Err(format!(
                "not settled {RECOVERY_MAX:?} after the last fault: {}; {}",
                self.workload.describe(),
                self.describe_nodes(),
            ));
        }
        self.schedule(LOOK_INTERVAL, Event::Look);
        Ok(false)
    }

    /// Who sends a snapshot keeps the entries behind it for a while after.
    fn check_at_rest(&self) -> Result<(), String> {
        if self.has_fetched {
            return Ok(());
        }
        let kept = self.profile.kept_entries;
        self.present().filter_map(|member| Some((member.id, member.node.as_ref()?))).try_for_each(
            |(id, node)| {
                let checked = bounds::check_at_rest(node, kept);
                checked.map_err(|broken| format!("node {id}: {broken}"))
            },
        )
    }

    /// Those who have not left. Who has its directory refused is not there either: it waits for
    /// somebody to give it another, and the others must do without it.
    pub(super) fn present(&self) -> impl Iterator<Item = &Member> {
        self.nodes.iter().filter(|member| !member.is_gone && !member.is_refused)
    }

    fn describe_nodes(&self) -> String {
        let describe = |member: &Member| match &member.node {
            _ if member.is_gone => format!("node {} is gone", member.id),
            None => format!("node {} is down", member.id),
            Some(node) => {
                let state = node.state();
                format!(
                    "node {}: {:?}{} in term {}, log to {}, durable to {}, committed to {}, \
                     sum {:x}, {:?}, {}",
                    member.id,
                    state.role,
                    if state.is_voter() { "" } else { " without a vote" },
                    state.term,
                    state.log.last_index(),
                    state.log.durable(),
                    state.commit,
                    node.store().committed().checksum(),
                    state.in_doubt,
                    state.configuration(),
                )
            }
        };
        self.nodes.iter().map(describe).collect::<Vec<_>>().join("; ")
    }

    /// Whether all who belong to the cluster have their votes and the same state. Who was
    /// let out need not know.
    fn agree(&self) -> bool {
        let states = self.present().filter_map(|member| member.node.as_ref());
        let newest = states.map(|node| node.store().committed()).max_by_key(|state| state.index());
        let Some(newest) = newest else { return false };
        let belongs = |member: &&Member| newest.configuration().lists(member.id);
        self.present().filter(belongs).all(|member| {
            member.node.as_ref().is_some_and(|node| {
                let committed = node.store().committed();
                let at_end = node.state().commit == node.state().log.last_index();
                at_end
                    && node.state().is_voter()
                    && !node.state().in_doubt.is_there()
                    && committed.index() == newest.index()
                    && committed.checksum() == newest.checksum()
            })
        })
    }
}
