//! What must hold of a single node after each of its turns, whatever it was told.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::replica::ReplicaNode;
use quorate::types::{LogIndex, NODES_MAX, ServerId, Term};
use quorate::wire::{self, Message};

/// More frames than one turn with one datagram in it can make: a full window for each peer,
/// the pieces of snapshots, and the pages of an answer.
const FRAMES_MAX: usize = 4_096;
/// The nodes that flags, log and other nodes may name.
const PEERS_MAX: usize = 3 * NODES_MAX;
/// Former directories that may be remembered of one node.
const RETIRED_MAX: usize = 64;

/// What was seen of a node, across its restarts.
#[derive(Default)]
pub struct Seen {
    term: Term,
    commit: LogIndex,
    voted_for: Option<ServerId>,
    /// Whom it has granted its vote, by term, in a frame that has left it.
    votes: BTreeMap<Term, ServerId>,
    /// What it last knew to be on its disk: the index, and the chain value there.
    durable: Option<(LogIndex, u32)>,
}

impl Seen {
    /// Checks the node after a turn in which it sent these frames.
    pub fn turn<'a>(&mut self, node: &ReplicaNode, sent: impl ExactSizeIterator<Item = &'a Bytes>) {
        assert!(sent.len() <= FRAMES_MAX, "{} frames in one turn", sent.len());
        for frame in sent {
            self.frame(frame);
        }
        let state = node.state();
        assert!(state.term >= self.term, "the term falls from {} to {}", self.term, state.term);
        assert!(state.commit >= self.commit, "the commit index falls");
        assert!(state.commit <= state.log.last_index(), "it commits what it has not");
        assert!(state.log.durable() <= state.log.last_index());
        let keeps =
            state.term > self.term || self.voted_for.is_none() || state.voted_for == self.voted_for;
        assert!(keeps, "a vote of term {} changes", state.term);
        assert!(state.peers.len() <= PEERS_MAX);
        assert!(state.peers.values().all(|peer| peer.retired.len() <= RETIRED_MAX));
        (self.term, self.commit, self.voted_for) = (state.term, state.commit, state.voted_for);
        let durable = state.log.durable();
        self.durable = state.log.chain_at(durable).map(|chain| (durable, chain));
    }

    /// docs/guarantees.md: "A directory votes once in a term, and its vote leaves only after
    /// it is durable."
    fn frame(&mut self, frame: &Bytes) {
        let frame = wire::decode(frame).expect("a node sends frames that can be read");
        let Message::VoteReply(vote) = frame.message else { return };
        if vote.granted && !vote.pre_vote {
            let candidate = frame.header.destination;
            let first = *self.votes.entry(vote.term).or_insert(candidate);
            assert_eq!(first, candidate, "two votes in term {}", vote.term);
        }
    }

    /// Checks a node that was started again on the same directory.
    pub fn restart(&mut self, node: &ReplicaNode) {
        let state = node.state();
        if let Some((&term, &candidate)) = self.votes.last_key_value() {
            assert!(state.term >= term, "a vote of term {term} is forgotten");
            let kept = state.term > term || state.voted_for == Some(candidate);
            assert!(kept, "the vote of term {term} is forgotten");
        }
        if let Some((index, chain)) = self.durable {
            let covered = index < state.log.base().index;
            let kept = state.log.chain_at(index) == Some(chain);
            assert!(covered || kept, "entry {index}, which was on the disk, is lost");
        }
        (self.term, self.commit, self.voted_for) = (state.term, LogIndex(0), state.voted_for);
    }
}
