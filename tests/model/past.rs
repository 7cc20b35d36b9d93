//! What of a cluster's past its nodes may have forgotten, and the properties speak of.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate::replica::Life;
use quorate::types::{DirectoryId, LogIndex, ServerId, Term};
use quorate::wire::{Message, Role};

use super::frames::Frame;
use super::locals::Running;

/// What was once so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Past {
    /// Who led in each term.
    pub leaders: BTreeMap<Term, (ServerId, DirectoryId)>,
    /// The newest vote that each directory has said, or asked others to follow.
    pub votes: BTreeMap<DirectoryId, (Term, ServerId)>,
    /// What each directory has said last to be durable, and in which term.
    pub durable: BTreeMap<DirectoryId, (Term, LogIndex)>,
    /// The chain value of each committed entry, and the term of the leader that committed it.
    pub committed: Vec<(Term, u32)>,
    /// The last index of which a client was told.
    pub acknowledged: LogIndex,
    pub broken: Option<Broken>,
}

/// What must never happen, and is seen when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    TwoLeaders,
    TwoVotes,
    Replaced,
}

/// Takes in how a node is. Most often that is nothing new, and all states share one past.
pub fn see(past: &mut Arc<Past>, node: &Running) {
    let who = (node.life.node, node.life.directory);
    if node.role == Role::Leader && past.leaders.get(&node.term) != Some(&who) {
        let past = Arc::make_mut(past);
        if past.leaders.insert(node.term, who).is_some() {
            past.broken = Some(Broken::TwoLeaders);
        }
    }
    let committed = node.log.iter().take(entries_up_to(node.commit));
    for (at, (_, chain)) in committed.enumerate() {
        match past.committed.get(at) {
            Some((_, before)) if before == chain => {}
            Some(_) => Arc::make_mut(past).broken = Some(Broken::Replaced),
            None => Arc::make_mut(past).committed.push((node.term, *chain)),
        }
    }
}

/// Takes in what a node says.
pub fn hear(past: &mut Arc<Past>, frame: &Frame) {
    let Life { node, directory, .. } = frame.from;
    match &frame.message {
        Message::VoteRequest(ask) if !ask.pre_vote => vote(past, directory, ask.term, node),
        Message::VoteReply(reply) if !reply.pre_vote && reply.granted => {
            vote(past, directory, reply.term, frame.to);
        }
        Message::Acknowledge(answer) => {
            let said = (answer.term, answer.durable.min(answer.matched));
            if past.durable.get(&directory).is_none_or(|before| *before < said) {
                Arc::make_mut(past).durable.insert(directory, said);
            }
        }
        _ => {}
    }
}

fn vote(past: &mut Arc<Past>, voter: DirectoryId, term: Term, candidate: ServerId) {
    match past.votes.get(&voter) {
        Some((at, _)) if *at > term => {}
        Some((at, other)) if *at == term => {
            if *other != candidate {
                Arc::make_mut(past).broken = Some(Broken::TwoVotes);
            }
        }
        _ => {
            Arc::make_mut(past).votes.insert(voter, (term, candidate));
        }
    }
}

/// Takes in that a client was told of this index.
pub fn be_told(past: &mut Arc<Past>, index: LogIndex) {
    if index > past.acknowledged {
        Arc::make_mut(past).acknowledged = index;
    }
}

/// How many entries there are up to this one.
pub fn entries_up_to(index: LogIndex) -> usize {
    usize::try_from(index.0).expect("a short log")
}
