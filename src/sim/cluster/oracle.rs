//! Whether a cluster must recover, as its directories themselves show.
//!
//! docs/guarantees.md: "Where no copy is left, the cluster stops before that entry and names
//! it." Whether a copy is left is not for the nodes to say: it is seen by the second reader,
//! and by what the run knows to be committed.

use std::collections::{BTreeMap, BTreeSet};

use super::Cluster;
use super::member::Member;
use crate::disk::LogEnd;
use crate::entry::Entry;
use crate::sim::second_reading::Reading;
use crate::types::{DirectoryId, LogIndex, ServerId};

/// What those who are left can still read, all together.
#[derive(Debug, Default)]
struct Left {
    entries: BTreeMap<(LogIndex, u32), Entry>,
    /// Everything up to here is in some snapshot.
    snapshot: LogIndex,
}

impl Cluster {
    /// What is lost so that those who are left need not recover; none: they must.
    pub(super) fn loss(&self) -> Option<String> {
        let left: Vec<(&Member, Reading)> =
            self.present().map(|member| (member, member.disk.second_reading())).collect();
        let of_each = self.electorates().into_iter().map(|voters| self.loss_of(&left, &voters));
        of_each.flatten().next()
    }

    /// The voters that count, and those of each change of them that may be under way.
    pub(super) fn electorates(&self) -> BTreeSet<BTreeMap<ServerId, DirectoryId>> {
        let of_logs = self.nodes.iter().filter_map(|member| match &member.node {
            Some(node) if node.state().is_born() => {
                Some(node.state().configuration().members.clone())
            }
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
            votes(member) && !is_vote_lost(member, reading)
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
        // Who lacks the change that brought a newcomer in does not know where to ask it.
        let voters = self.checks.voters();
        let is_known = |member: &Member| {
            let place = usize::from(member.id.0) - 1;
            place < self.profile.nodes || voters.contains_key(&member.id)
        };
        let readable = Left::of(left.iter().filter(|(member, _)| is_known(member)));
        let mut committed = self.checks.committed_chains();
        let is_lost = |(index, chain): &(LogIndex, u32)| {
            *index > readable.snapshot.max(LogIndex(1))
                && !readable.entries.contains_key(&(*index, *chain))
        };
        if let Some((index, _)) = committed.find(is_lost) {
            return Some(format!("no copy of entry {index} is left"));
        }
        let in_doubt = left.iter().filter(|(member, _)| !is_whole(member));
        let ends = in_doubt.map(|(member, reading)| member.disk.said().max(reading.may_end));
        let bound = ends.max().unwrap_or_default();
        let lost = readable.first_lost(self.checks.committed_chains().last()?, bound)?;
        Some(format!("no copy of entry {lost} is left, which may be committed"))
    }
}

/// Whether the end of its journal was hit, so that nobody knows what it has acknowledged. It
/// says so, or will as soon as it is started.
fn is_vote_lost(member: &Member, reading: &Reading) -> bool {
    let will_doubt = member.node.is_none() && member.disk.has_boundless_doubt();
    member.disk.may_lack_the_end() && (reading.boundless_doubt || will_doubt)
}

/// Whether nothing that it relied on is lost, or it says so itself.
fn is_whole(member: &Member) -> bool {
    let is_sure = |node: &crate::replica::ReplicaNode| !node.state().in_doubt.is_there();
    member.disk.is_whole() || member.node.as_ref().is_some_and(is_sure)
}

impl Left {
    /// Copies are in the journals and snapshots, and in the memory of nodes that run.
    fn of<'a>(left: impl Iterator<Item = &'a (&'a Member, Reading)>) -> Self {
        let mut all = Self::default();
        for (member, reading) in left {
            all.snapshot = all.snapshot.max(reading.snapshot);
            all.add(reading.entries.iter().cloned());
            let Some(node) = &member.node else { continue };
            let log = &node.state().log;
            all.snapshot = all.snapshot.max(log.base().index);
            let indexes = (log.base().index.0 + 1..=log.last_index().0).map(LogIndex);
            all.add(indexes.filter_map(|index| log.entry(index).cloned()));
        }
        all
    }

    fn add(&mut self, entries: impl Iterator<Item = Entry>) {
        self.entries.extend(entries.map(|entry| ((entry.index, entry.chain), entry)));
    }

    /// Whether the copies that go on from the last entry that is certainly committed come to a
    /// log which ends no lower than this: who is in doubt up to there votes for no other. If not,
    /// the first entry of which there is no copy. It is no help that another entry has its index.
    fn first_lost(&self, (committed, chain): (LogIndex, u32), bound: LogEnd) -> Option<LogIndex> {
        let last = self.entries.get(&(committed, chain));
        let mut newest = last.map_or(bound.0, |entry| entry.term);
        let (mut index, mut chains) = (committed, BTreeSet::from([chain]));
        while (newest, index) < bound {
            index = index.next();
            let here = self.entries.range((index, 0)..=(index, u32::MAX)).map(|(_, entry)| entry);
            let goes_on = |entry: &&Entry| {
                chains.iter().any(|chain| entry.chain_after(*chain) == entry.chain)
            };
            let found: Vec<&Entry> = here.filter(goes_on).collect();
            newest = found.iter().map(|entry| entry.term).max().unwrap_or_default();
            chains = found.iter().map(|entry| entry.chain).collect();
            if chains.is_empty() {
                return Some(index.min(bound.1));
            }
        }
        None
    }
}
