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
                    "node {}: {:?}{} in term {}, log to {}, durable to {}, committed to {}, \
                     sum {:x}",
                    member.id,
                    state.role,
                    if state.is_voter() { "" } else { " without a vote" },
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
                (at_end && node.state().is_voter()).then(|| node.store().committed())
            })
            .collect();
        let Some(ends) = ends else { return false };
        ends.windows(2).all(|pair| pair[0].index() == pair[1].index())
            && ends.windows(2).all(|pair| pair[0].checksum() == pair[1].checksum())
    }
}
