//! Whether a cluster must recover, as its directories themselves show.
//!
//! docs/guarantees.md: "Where no copy is left, the cluster stops before that entry and names
//! it." Whether a copy is left is not for the nodes to say: it is seen by the second reader,
//! and by what the run knows to be committed.

use std::collections::{BTreeMap, BTreeSet};

use super::Cluster;
use super::member::Member;
use crate::sim::second_reading::Reading;
use crate::types::{DirectoryId, LogIndex, ServerId, Term};

/// What those who are left can still read, all together.
#[derive(Debug, Default)]
struct Left {
    entries: BTreeSet<(LogIndex, u32)>,
    indexes: BTreeSet<LogIndex>,
    /// Everything up to here is in some snapshot.
    snapshot: LogIndex,
}

impl Cluster {
    /// What is lost so that those who are left need not recover; none: they must.
    pub(super) fn loss(&self) -> Option<String> {
        let left: Vec<(&Member, Reading)> = self
            .present()
            .filter(|member| !member.is_refused)
            .map(|member| (member, member.disk.second_reading()))
            .collect();
        let of_each = self.electorates().into_iter().map(|voters| self.loss_of(&left, &voters));
        of_each.flatten().next()
    }

    /// The voters that count, and those of each change of them that may be under way.
    pub(super) fn electorates(&self) -> BTreeSet<BTreeMap<ServerId, DirectoryId>> {
        let of_logs = self.nodes.iter().filter_map(|member| match &member.node {
            Some(node) if node.state().is_born() => Some(node.state().configuration().members.clone()),
            Some(_) => None,
            None => Some(member.disk.durable()?.configuration()?.1.members),
        });
        let newest = self.checks.voters().clone();
        let differs_little = |voters: &BTreeMap<ServerId, DirectoryId>| {
            voters.iter().filter(|(id, directory)| newest.get(*id) != Some(*directory)).count() <= 1
        };
        let of_logs: Vec<_> = of_logs.filter(differs_little).collect();
        of_logs.into_iter().chain([newest]).collect()
    }

    fn loss_of(
        &self,
        left: &[(&Member, Reading)],
        voters: &BTreeMap<ServerId, DirectoryId>,
    ) -> Option<String> {
        let votes = |member: &Member| voters.get(&member.id) == Some(&member.disk.id());
        let may_vote = |(member, reading): &&(&Member, Reading)| {
            votes(member) && !(reading.boundless_doubt && member.disk.may_lack_the_end())
        };
        let able = left.iter().filter(may_vote);
        let whole = able.clone().filter(|(member, _)| is_whole(member)).count();
        let majority = voters.len() / 2 + 1;
        if whole >= majority {
            return None;
        }
        let able = able.count();
        if able < majority {
            return Some(format!("{able} of {} voters may still vote", voters.len()));
        }
        self.lost_entry(left)
    }

    /// An entry that is committed, or may be, and that nobody can read.
    fn lost_entry(&self, left: &[(&Member, Reading)]) -> Option<String> {
        let readable = Left::of(left);
        let mut committed = self.checks.committed_chains();
        let is_lost = |(index, chain): &(LogIndex, u32)| {
            *index > readable.snapshot.max(LogIndex(1)) && !readable.entries.contains(&(*index, *chain))
        };
        if let Some((index, _)) = committed.find(is_lost) {
            return Some(format!("no copy of entry {index} is left"));
        }
        let in_doubt = left.iter().filter(|(member, _)| !is_whole(member));
        let said = in_doubt.map(|(member, _)| member.disk.said().1).max().unwrap_or_default();
        let first = self.checks.committed() + 1;
        (first..=said.0).map(LogIndex).find_map(|index| {
            let is_lost = !readable.indexes.contains(&index) && index > readable.snapshot;
            is_lost.then(|| format!("no copy of entry {index} is left, which may be committed"))
        })
    }
}

/// Whether nothing that it relied on is lost, or it says so itself.
fn is_whole(member: &Member) -> bool {
    let is_sure = |node: &crate::replica::ReplicaNode| !node.state().in_doubt.is_there();
    member.disk.is_whole() || member.node.as_ref().is_some_and(is_sure)
}

impl Left {
    /// Copies are in the journals and snapshots, and in the memory of nodes that run.
    fn of(left: &[(&Member, Reading)]) -> Self {
        let mut all = Self::default();
        for (member, reading) in left {
            all.entries.extend(&reading.entries);
            all.indexes.extend(reading.ends.iter().map(|(_, index): &(Term, LogIndex)| *index));
            all.snapshot = all.snapshot.max(reading.snapshot);
            let Some(node) = &member.node else { continue };
            let log = &node.state().log;
            all.snapshot = all.snapshot.max(log.base().index);
            for index in (log.base().index.0 + 1..=log.last_index().0).map(LogIndex) {
                all.entries.extend(log.chain_at(index).map(|chain| (index, chain)));
                all.indexes.insert(index);
            }
        }
        all
    }
}
