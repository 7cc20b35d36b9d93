//! What must hold after every step, and of what the clients saw.

use std::collections::BTreeMap;

use super::bounds;
use crate::codec::Reader;
use crate::configuration::Configuration;
use crate::entry::EntryKind;
use crate::history::{self, Operation, Verdict};
use crate::replica::ReplicaNode;
use crate::types::{DirectoryId, Incarnation, LogIndex, ServerId, Term};
use crate::wire::{self, Header, Kind, Message, Role};

/// What is known of the run so far, across crashes and restarts.
#[derive(Debug, Default)]
pub struct Checks {
    /// Who led in each term.
    leaders: BTreeMap<Term, (ServerId, DirectoryId)>,
    /// Whom each directory voted for in each term.
    votes: BTreeMap<(DirectoryId, Term), ServerId>,
    /// Each committed entry, from index 1.
    committed: Vec<Committed>,
    /// The voters of the last committed configuration.
    voters: BTreeMap<ServerId, DirectoryId>,
    /// How many configurations were committed after the first.
    changes: u64,
    /// What each node was last seen with.
    seen: BTreeMap<usize, Seen>,
    /// How many snapshots of other nodes took the place of a log.
    installed: u64,
}

/// Something that a node has just done, and that it must not forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurningPoint {
    /// It has given its vote, or is about to get one.
    Votes,
    /// It has begun to lead.
    Leads,
    /// It has, as leader, committed the first entry of its term.
    Serves,
    /// It has, as leader, committed more entries.
    Commits,
}

#[derive(Clone, Copy, Debug)]
struct Committed {
    /// Its chain value, which stands for the entry and all before it.
    chain: u32,
    /// The term of the node that was first seen to commit it.
    in_term: Term,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    life: (DirectoryId, Incarnation),
    term: Term,
    voted_for: Option<ServerId>,
    commit: LogIndex,
    configuration: LogIndex,
    role: Role,
}

impl Checks {
    /// Checks a node after its turn. Returns what it has done that matters.
    ///
    /// # Errors
    /// What it broke.
    pub fn node_turned(
        &mut self,
        place: usize,
        node: &ReplicaNode,
    ) -> Result<Option<TurningPoint>, String> {
        bounds::check(node).map_err(|broken| format!("node {}: {broken}", place + 1))?;
        let state = node.state();
        let now = Seen {
            life: (state.identity.directory, state.incarnation),
            term: state.term,
            voted_for: state.voted_for,
            commit: state.commit,
            configuration: state.configuration_index(),
            role: state.role,
        };
        let before = self.seen.insert(place, now).filter(|before| before.life == now.life);
        if let Some(before) = before {
            check_progress(place, before, now)?;
            check_change(place, before, now, node)?;
        }
        let known_commit = before.map_or(LogIndex(0), |before| before.commit);
        if now.commit > known_commit {
            self.check_commits(place, known_commit, node)?;
        }
        let begins = now.role == Role::Leader
            && before.is_none_or(|before| (before.role, before.term) != (now.role, now.term));
        if begins {
            self.check_leader(place, node)?;
            return Ok(Some(TurningPoint::Leads));
        }
        if now.role != Role::Leader || now.commit == known_commit {
            return Ok(None);
        }
        let served = state.log.term_at(known_commit) == Some(now.term);
        Ok(Some(if served { TurningPoint::Commits } else { TurningPoint::Serves }))
    }

    /// The node's directory is an older one: it may say less than before.
    pub fn forget(&mut self, place: usize) {
        self.seen.remove(&place);
    }

    /// State-machine safety and log matching: an index is committed with one entry, on
    /// all nodes and for ever.
    fn check_commits(
        &mut self,
        place: usize,
        known: LogIndex,
        node: &ReplicaNode,
    ) -> Result<(), String> {
        let state = node.state();
        let base = state.log.base().index;
        if base > known {
            self.installed += 1;
        }
        // What a snapshot covers is in the chain value of its last entry.
        for index in known.next().max(base).0.max(1)..=state.commit.0 {
            let chain = state.log.chain_at(LogIndex(index));
            let chain =
                chain.ok_or_else(|| format!("node {}: commits what it has not", place + 1))?;
            match self.committed.get(position_of(LogIndex(index))) {
                Some(first) if first.chain != chain => {
                    return Err(format!(
                        "state-machine safety: node {} commits another entry at index {index}",
                        place + 1
                    ));
                }
                Some(_) => {}
                None if position_of(LogIndex(index)) > self.committed.len() => {
                    return Err(format!(
                        "node {}: has a snapshot of what none committed",
                        place + 1
                    ));
                }
                None => {
                    self.committed.push(Committed { chain, in_term: state.term });
                    self.check_voters(LogIndex(index), node)?;
                }
            }
        }
        Ok(())
    }

    /// Two configurations that follow each other differ by one voter at most.
    fn check_voters(&mut self, index: LogIndex, node: &ReplicaNode) -> Result<(), String> {
        let entry = node.state().log.entry(index);
        let Some(entry) = entry.filter(|entry| entry.kind == EntryKind::Configuration) else {
            return Ok(());
        };
        let configuration = Configuration::decode(&mut Reader::new(entry.payload.clone()))
            .map_err(|_| format!("no configuration stands at index {index}"))?;
        let former = std::mem::replace(&mut self.voters, configuration.members);
        if index == LogIndex(1) {
            return Ok(());
        }
        self.changes += 1;
        let gone = former.iter().filter(|(id, directory)| self.voters.get(id) != Some(*directory));
        let come = self.voters.iter().filter(|(id, directory)| former.get(id) != Some(*directory));
        if gone.count() + come.count() > 1 {
            return Err(format!("the change at index {index} is of more than one voter"));
        }
        Ok(())
    }

    /// Election safety and leader completeness.
    fn check_leader(&mut self, place: usize, node: &ReplicaNode) -> Result<(), String> {
        let state = node.state();
        let life = (state.server_id, state.identity.directory);
        let first = *self.leaders.entry(state.term).or_insert(life);
        if first != life {
            return Err(format!(
                "election safety: nodes {} and {} lead in term {}",
                first.0,
                place + 1,
                state.term
            ));
        }
        // A node that slept may begin to lead in a term that is long past: what was
        // committed in later ones it need not have.
        let earlier = self.committed.iter().rposition(|entry| entry.in_term < state.term);
        let Some(position) = earlier else { return Ok(()) };
        let last = LogIndex(position as u64 + 1);
        if state.log.chain_at(last) != Some(self.committed[position].chain) {
            return Err(format!(
                "leader completeness: node {} leads in term {} without the committed entry {last}",
                place + 1,
                state.term
            ));
        }
        Ok(())
    }

    /// A frame leaves a node that has committed up to here: a directory votes for one
    /// candidate in a term, and no effect is shown that is not committed. Returns who is given
    /// a vote by it.
    ///
    /// # Errors
    /// What it broke.
    pub fn frame_leaves(
        &mut self,
        frame: &[u8],
        commit: LogIndex,
    ) -> Result<Option<ServerId>, String> {
        let tells = [Kind::VoteRequest, Kind::VoteReply, Kind::Reply, Kind::Page];
        let tells = tells.map(|kind| kind as u8);
        if !frame.get(3).is_some_and(|kind| tells.contains(kind)) {
            return Ok(None);
        }
        let decoded = wire::decode(&bytes::Bytes::copy_from_slice(frame));
        let decoded = decoded.map_err(|cause| format!("a node sends a bad frame: {cause:?}"))?;
        let header = decoded.header;
        let shown = match decoded.message {
            // Whoever asks for votes has given its own to itself.
            Message::VoteRequest(request) if !request.pre_vote => {
                return self.vote_leaves(&header, request.term, header.sender).map(|()| None);
            }
            Message::VoteReply(vote) if vote.granted && !vote.pre_vote => {
                let candidate = header.destination;
                return self.vote_leaves(&header, vote.term, candidate).map(|()| Some(candidate));
            }
            Message::Reply(reply) => reply.settled.index,
            Message::Page(page) => page.index,
            _ => return Ok(None),
        };
        if shown <= commit {
            return Ok(None);
        }
        Err(format!(
            "node {} shows index {shown} to a client, and has committed up to {commit}",
            header.sender
        ))
    }

    fn vote_leaves(
        &mut self,
        header: &Header,
        term: Term,
        candidate: ServerId,
    ) -> Result<(), String> {
        let first = *self.votes.entry((header.directory, term)).or_insert(candidate);
        if first == candidate {
            return Ok(());
        }
        let voter = header.sender;
        Err(format!("node {voter} votes for nodes {first} and {candidate} in term {term}"))
    }

    /// What the clients saw is linearizable.
    ///
    /// # Errors
    /// That it is not.
    pub fn history(operations: &[Operation]) -> Result<(), String> {
        match history::check(operations) {
            Verdict::Linearizable => Ok(()),
            verdict => Err(format!("the clients' history: {verdict:?}")),
        }
    }

    /// Each committed entry, by its index and chain value.
    pub fn committed_chains(&self) -> impl Iterator<Item = (LogIndex, u32)> {
        (1..).map(LogIndex).zip(self.committed.iter().map(|entry| entry.chain))
    }

    /// The voters of the last committed configuration.
    pub fn voters(&self) -> &BTreeMap<ServerId, DirectoryId> {
        &self.voters
    }

    /// In how many terms a leader was seen.
    pub fn leaders(&self) -> u64 {
        self.leaders.len() as u64
    }

    /// How many snapshots of other nodes took the place of a log.
    pub fn installed(&self) -> u64 {
        self.installed
    }

    /// How many changes of the members were committed.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// How many entries were committed.
    pub fn committed(&self) -> u64 {
        self.committed.len() as u64
    }
}

/// Where the index stands among the committed entries.
fn position_of(index: LogIndex) -> usize {
    usize::try_from(index.0 - 1).expect("a simulated log is short")
}

/// What never goes back in one life of a node.
fn check_progress(place: usize, before: Seen, now: Seen) -> Result<(), String> {
    let node = place + 1;
    if now.term < before.term {
        return Err(format!("node {node}: its term falls from {} to {}", before.term, now.term));
    }
    if now.commit < before.commit {
        return Err(format!(
            "node {node}: its commit index falls from {} to {}",
            before.commit, now.commit
        ));
    }
    let vote_changed = before.voted_for.is_some() && now.voted_for != before.voted_for;
    if now.term == before.term && vote_changed {
        return Err(format!("node {node}: changes its vote in term {}", now.term));
    }
    Ok(())
}

/// A leader begins a change only when an entry of its own term is committed, and the
/// change before it.
fn check_change(place: usize, before: Seen, now: Seen, node: &ReplicaNode) -> Result<(), String> {
    let led = before.role == Role::Leader && before.term == now.term;
    if !led || now.configuration <= before.configuration {
        return Ok(());
    }
    let node_id = place + 1;
    if node.state().log.term_at(before.commit) != Some(now.term) {
        return Err(format!(
            "node {node_id} changes the members before it has committed in its term"
        ));
    }
    if before.configuration > before.commit {
        return Err(format!("node {node_id} begins a change of the members before another's end"));
    }
    Ok(())
}
