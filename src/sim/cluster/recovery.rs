//! The end of a run: faults cease, and the cluster must recover.

use std::time::Duration;

use super::member::Member;
use super::{Cluster, Event};

/// How long the cluster may take, once faults have ceased, until every operation is
/// settled, all nodes agree and each has its vote.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

impl Cluster {
    /// Faults cease, and everything is started again.
    pub(super) fn calm_down(&mut self) {
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
    /// all nodes agree and each has its vote, also those that lost their disks.
    pub(super) fn look(&mut self) -> Result<bool, String> {
        if self.workload.is_done() && self.operator.is_done() && self.agree() {
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
                    "node {}: {:?}{} in term {}, log to {}, durable to {}, committed to {}, \
                     sum {:x}, {}",
                    member.id,
                    state.role,
                    if state.is_voter() { "" } else { " without a vote" },
                    state.term,
                    state.log.last_index(),
                    state.log.durable(),
                    state.commit,
                    node.store().committed().checksum(),
                    state.configuration(),
                )
            }
        };
        self.nodes.iter().map(describe).collect::<Vec<_>>().join("; ")
    }

    /// Whether all who belong to the cluster have their votes and the same state. Who was
    /// let out need not know.
    fn agree(&self) -> bool {
        let states = self.nodes.iter().filter_map(|member| member.node.as_ref());
        let newest = states.map(|node| node.store().committed()).max_by_key(|state| state.index());
        let Some(newest) = newest else { return false };
        let belongs = |member: &&Member| newest.configuration().lists(member.id);
        self.nodes.iter().filter(belongs).all(|member| {
            member.node.as_ref().is_some_and(|node| {
                let committed = node.store().committed();
                let at_end = node.state().commit == node.state().log.last_index();
                at_end
                    && node.state().is_voter()
                    && committed.index() == newest.index()
                    && committed.checksum() == newest.checksum()
            })
        })
    }
}
