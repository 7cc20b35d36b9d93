//! What each directory has made durable, as the run itself sees it: what a start has found,
//! and the batches that the disk was done with. Against that stands what nodes say and do.
//!
//! docs/guarantees.md: "Acknowledged means durable on a majority's disks". A node counts what
//! others have told it; whether they told the truth, and whether it counted those who count,
//! is seen only by who knows all disks.

use std::collections::{BTreeMap, BTreeSet};

use crate::disk::{Record, Recovered};
use crate::entry::Entry;
use crate::replica::{Log, ReplicaNode, ReplicaState};
use crate::store::Snapshot;
use crate::types::{DirectoryId, LogIndex, ServerId, Term};
use crate::wire::{self, Kind, Message, Role};

/// The kinds of frames in which a node may say what it has promised durably.
const PROMISES: [Kind; 4] =
    [Kind::VoteRequest, Kind::VoteReply, Kind::Acknowledge, Kind::RepairReply];

/// What all directories have made durable.
#[derive(Debug, Default)]
pub struct Ledger {
    directories: BTreeMap<DirectoryId, Durable>,
    /// Up to where each node, by its directory, was last seen to be committed as leader.
    led: BTreeMap<DirectoryId, (Term, LogIndex)>,
}

/// What one directory has made durable.
#[derive(Clone, Debug, Default)]
struct Durable {
    /// The log behind the snapshot: the chain value of each entry.
    log: BTreeMap<LogIndex, u32>,
    /// Each entry that the log ever held.
    ever: BTreeSet<(LogIndex, u32)>,
    /// Everything up to here is in a snapshot.
    snapshot: LogIndex,
    term: Term,
    votes: BTreeMap<Term, ServerId>,
}

impl Ledger {
    /// A directory was started, and made durable what was found in it.
    ///
    /// # Errors
    /// It votes for another in a term than before.
    pub fn started(&mut self, found: &Recovered) -> Result<(), String> {
        let durable = self.directories.entry(found.identity.directory).or_default();
        durable.log.clear();
        durable.term = found.term;
        durable.vote(found.term, found.voted_for)?;
        durable.snapshot = LogIndex(0);
        if let Some(snapshot) = &found.snapshot {
            durable.keep_snapshot(snapshot);
        }
        found.entries.iter().for_each(|entry| durable.append(entry));
        Ok(())
    }

    /// A batch of this directory was synced.
    ///
    /// # Errors
    /// It votes for another in a term than before.
    pub fn synced(&mut self, mut directory: DirectoryId, records: &[Record]) -> Result<(), String> {
        for record in records {
            if let Record::Reborn(next) = record {
                // What it holds stays where it is. No vote was given in the new name.
                let mut reborn = self.of(directory).clone();
                reborn.votes.clear();
                self.directories.insert(*next, reborn);
                directory = *next;
            } else {
                self.of(directory).take_in(record)?;
            }
        }
        Ok(())
    }

    /// A snapshot of this directory was written.
    pub fn keeps(&mut self, directory: DirectoryId, snapshot: &Snapshot) {
        self.of(directory).keep_snapshot(snapshot);
    }

    fn of(&mut self, directory: DirectoryId) -> &mut Durable {
        self.directories.entry(directory).or_default()
    }

    /// A frame leaves the node. What it promises must be durable.
    ///
    /// # Errors
    /// What is not.
    pub fn frame_leaves(&self, frame: &[u8], node: &ReplicaNode) -> Result<(), String> {
        if !PROMISES.iter().any(|kind| frame.get(3) == Some(&(*kind as u8))) {
            return Ok(());
        }
        let decoded = wire::decode(&bytes::Bytes::copy_from_slice(frame));
        let decoded = decoded.map_err(|cause| format!("a node sends a bad frame: {cause:?}"))?;
        let none = Durable::default();
        let durable = self.directories.get(&decoded.header.directory).unwrap_or(&none);
        let state = node.state();
        let (is_kept, what) = match &decoded.message {
            Message::VoteRequest(request) if !request.pre_vote => {
                (durable.votes.get(&request.term) == Some(&state.server_id), "its own vote")
            }
            Message::VoteReply(vote) if vote.granted && !vote.pre_vote => {
                (durable.votes.get(&vote.term) == Some(&decoded.header.destination), "its vote")
            }
            Message::Acknowledge(answer) => {
                (durable.holds(answer.durable, &state.log), "what it acknowledges")
            }
            Message::RepairReply(reply) if reply.end.is_some() => {
                (durable.term >= reply.term, "the term in which it says where its log ends")
            }
            _ => return Ok(()),
        };
        if is_kept {
            return Ok(());
        }
        let (sender, message) = (state.server_id, decoded.message);
        Err(format!("node {sender} has not on its disk {what}: {message:?}"))
    }

    /// Checks the node after a turn: whoever leads has the durable votes of a majority, and
    /// commits only what is on a majority's disks, with an entry of its own term.
    ///
    /// # Errors
    /// What does not hold.
    pub fn node_turned(&mut self, node: &ReplicaNode) -> Result<(), String> {
        let state = node.state();
        if state.role != Role::Leader {
            return Ok(());
        }
        let now = (state.term, state.commit);
        let before = self.led.insert(state.identity.directory, now);
        if before == Some(now) {
            return Ok(());
        }
        match before.filter(|(term, _)| *term == state.term) {
            None => self.check_votes(state),
            Some(_) => self.check_commit(state),
        }
    }

    fn check_votes(&self, state: &ReplicaState) -> Result<(), String> {
        let voters = state.configuration().members.values();
        let durable = voters.filter_map(|voter| self.directories.get(voter));
        let given = durable.filter(|one| one.votes.get(&state.term) == Some(&state.server_id));
        let given = given.count();
        if given * 2 > state.configuration().members.len() {
            return Ok(());
        }
        let (node, term) = (state.server_id, state.term);
        Err(format!("node {node} leads in term {term}, and has {given} durable votes"))
    }

    fn check_commit(&self, state: &ReplicaState) -> Result<(), String> {
        let voters = state.configuration().members.values();
        let reached = voters
            .map(|voter| self.directories.get(voter).map_or(LogIndex(0), |one| one.reaches(state)));
        let mut reached: Vec<LogIndex> = reached.collect();
        reached.sort_unstable();
        // More than half of them have all up to here.
        let on_a_majority = reached[(reached.len() - 1) / 2];
        let is_of_term = state.log.term_at(on_a_majority) == Some(state.term);
        if state.commit <= on_a_majority && is_of_term {
            return Ok(());
        }
        // It may have fetched, before it led, what others have committed.
        let own = self.directories.get(&state.identity.directory);
        if own.is_some_and(|own| state.commit <= own.snapshot) {
            return Ok(());
        }
        let (node, term, commit) = (state.server_id, state.term, state.commit);
        Err(format!(
            "node {node} commits in term {term} up to {commit}, and {on_a_majority} is on the \
             disks of a majority"
        ))
    }
}

impl Durable {
    fn take_in(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::HardState { term, voted_for } => {
                self.term = *term;
                self.vote(*term, *voted_for)?;
            }
            Record::Append(entry) => self.append(entry),
            Record::Restart { .. } => self.log.clear(),
            Record::GenesisComplete(birth) => self.append(&Entry::genesis(birth)),
            _ => {}
        }
        Ok(())
    }

    fn vote(&mut self, term: Term, voted_for: Option<ServerId>) -> Result<(), String> {
        let Some(candidate) = voted_for else { return Ok(()) };
        let first = *self.votes.entry(term).or_insert(candidate);
        if first == candidate {
            return Ok(());
        }
        Err(format!("a directory has voted for nodes {first} and {candidate} in term {term}"))
    }

    fn append(&mut self, entry: &Entry) {
        self.log.split_off(&entry.index);
        self.log.insert(entry.index, entry.chain);
        self.ever.insert((entry.index, entry.chain));
    }

    fn keep_snapshot(&mut self, snapshot: &Snapshot) {
        self.snapshot = self.snapshot.max(snapshot.index());
        self.ever.insert((snapshot.index(), snapshot.chain()));
    }

    /// Whether the log is durable as far as this index.
    fn holds(&self, index: LogIndex, log: &Log) -> bool {
        index <= self.snapshot || self.log.get(&index).copied() == log.chain_at(index)
    }

    /// Up to where the directory ever had the same log as this leader, which is committed
    /// up to an index: below that it does not matter.
    fn reaches(&self, state: &ReplicaState) -> LogIndex {
        let mut indexes = (state.commit.0..=state.log.last_index().0).rev().map(LogIndex);
        let has = |index: &LogIndex| {
            let chain = state.log.chain_at(*index);
            *index <= self.snapshot
                || chain.is_some_and(|chain| self.ever.contains(&(*index, chain)))
        };
        indexes.find(has).unwrap_or_default()
    }
}
