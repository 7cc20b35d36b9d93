//! Elections: timeouts, pre-votes, votes.
//!
//! A node that hears no leader first asks whether it would be elected (pre-vote); only
//! a majority's yes makes it take a new term. So a node that was cut off, or that hears
//! nobody, disturbs no one.

use std::collections::BTreeSet;

use super::effects::{Destination, Effects, Timer};
use super::state::ReplicaState;
use crate::disk::Record;
use crate::types::{ServerId, Term};
use crate::wire::{Message, Role, VoteReply, VoteRequest};

/// Runs this node's elections and answers those of others.
#[derive(Debug, Default, Hash)]
pub struct ElectionManager {
    stage: Stage,
    /// The present election was asked for by the leader itself.
    transfer: bool,
    /// Who refused this node its pre-vote for its log alone, and hears no leader.
    leaderless: BTreeSet<ServerId>,
}

/// How far a candidate has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Stage {
    /// Not a candidate.
    #[default]
    Idle,
    /// It asks whether it would be elected; its term has not changed.
    PreVote,
    /// It stands in its term.
    Vote,
}

/// What the counting of votes found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// No majority yet.
    Pending,
    /// A majority would vote for this node: it may stand.
    MayStand,
    /// A majority has voted for this node: it leads.
    Won,
    /// The voter knows this higher term.
    HigherTerm(Term),
    /// A majority hears no leader, and this voter refuses only because this node's log lacks
    /// what its own holds.
    Lacks(ServerId),
}

impl ElectionManager {
    /// Waits for a leader, for a time drawn anew.
    pub fn wait_for_leader(state: &mut ReplicaState, fx: &mut Effects) {
        let wait = state.patience(fx);
        state.election_timer = fx.now + wait;
        fx.arm(Timer::Election, wait);
    }

    /// No leader was heard in time: asks the others whether they would elect this node.
    pub fn on_timeout(&mut self, state: &mut ReplicaState, fx: &mut Effects) -> Tally {
        state.leader_id = None;
        state.leader_contact = None;
        state.attempts = state.attempts.saturating_add(1);
        Self::wait_for_leader(state, fx);
        if !Self::may_stand(state) {
            return Tally::Pending;
        }
        log::debug!(
            "node {}: no leader in term {}, asks for pre-votes",
            state.server_id,
            state.term
        );
        self.transfer = false;
        self.become_candidate(Stage::PreVote, state);
        state.votes_received.insert(state.server_id);
        self.ask_for_votes(state, fx);
        self.tally(state)
    }

    /// Whether this node may lead: its vote counts, its log lacks nothing that its directory
    /// may have acknowledged, and it has asked whether that has forgotten anything.
    pub fn may_stand(state: &ReplicaState) -> bool {
        state.is_voter() && !state.in_doubt.is_there() && state.resumption.may_promise()
    }

    /// Takes the next term and stands in it. The vote for itself, like any other, counts
    /// when it is durable, and no one is asked before: so that a second life of this
    /// node never stands in the same term with a shorter log.
    pub fn stand(&mut self, transfer: bool, state: &mut ReplicaState, fx: &mut Effects) {
        state.take_up_term(state.term.next(), fx);
        log::info!("node {}: stands for election in term {}", state.server_id, state.term);
        self.transfer = transfer;
        self.become_candidate(Stage::Vote, state);
        state.voted_for = Some(state.server_id);
        fx.record(Record::HardState { term: state.term, voted_for: state.voted_for });
        let own_vote = VoteReply {
            term: state.term,
            pre_vote: false,
            granted: true,
            voter_term: state.term,
            lacks: false,
        };
        fx.promise(Destination::Myself, Message::VoteReply(own_vote));
        Self::wait_for_leader(state, fx);
        self.ask_for_votes(state, fx);
    }

    fn become_candidate(&mut self, stage: Stage, state: &mut ReplicaState) {
        self.stage = stage;
        state.asked = 0;
        state.role = Role::Candidate;
        state.votes_received.clear();
        self.leaderless.clear();
    }

    /// Asks those who have not granted theirs for their vote, and will ask again: a lost
    /// vote does not cost a term.
    pub fn ask_for_votes(&self, state: &mut ReplicaState, fx: &mut Effects) {
        let (term, pre_vote) = match self.stage {
            Stage::Idle => return,
            Stage::PreVote => (state.term.next(), true),
            Stage::Vote => (state.term, false),
        };
        let request = VoteRequest {
            term,
            pre_vote,
            transfer: self.transfer,
            last_index: state.log.last_index(),
            last_term: state.log.last_term(),
        };
        for &peer in state.configuration().members.keys() {
            if peer == state.server_id || state.votes_received.contains(&peer) {
                continue;
            }
            let (to, message) = (Destination::Peer(peer), Message::VoteRequest(request));
            if pre_vote { fx.send(to, message) } else { fx.promise(to, message) }
        }
        fx.arm(Timer::VoteResend, state.ask_votes_again_after());
        state.asked = state.asked.saturating_add(1);
    }

    /// Says whether this node would vote for the sender, which is a voter by its own log.
    /// Whether this node's vote counts is for the sender to judge, by that log too.
    pub fn on_pre_vote_request(
        from: ServerId,
        request: VoteRequest,
        state: &ReplicaState,
        fx: &mut Effects,
    ) {
        let end = (request.last_term, request.last_index);
        let is_free = !Self::is_content(state, fx)
            && state.resumption.may_promise()
            && request.term > state.term;
        let granted = is_free && state.is_covered_by(end);
        let lacks = is_free && end < state.log.end();
        let vote = VoteReply { lacks, ..reply(request, granted, state) };
        fx.send(Destination::Peer(from), Message::VoteReply(vote));
    }

    /// Whether a request for a vote is heeded at all: while a leader is heard its term
    /// is not disturbed, unless the leader itself asked for the election.
    pub fn heeds(request: VoteRequest, state: &ReplicaState, fx: &Effects) -> bool {
        request.transfer || !Self::is_content(state, fx)
    }

    /// Whether the node has a leader that it is content with: itself, or one it hears.
    fn is_content(state: &ReplicaState, fx: &Effects) -> bool {
        state.role == Role::Leader || state.has_leader_contact(fx.now)
    }

    /// Answers a request for a vote that is heeded and not of a later term.
    ///
    /// docs/guarantees.md: "A directory votes once in a term, and its vote leaves only
    /// after it is durable." And only a log that lacks nothing of this node's gets it
    /// (Raft, sections 5.2 and 5.4.1), nothing of what its disk has lost either.
    pub fn on_vote_request(
        from: ServerId,
        request: VoteRequest,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) {
        let free = state.voted_for.is_none_or(|candidate| candidate == from);
        let granted = request.term == state.term
            && free
            && state.resumption.may_promise()
            && state.leader_id.is_none()
            && state.is_covered_by((request.last_term, request.last_index));
        if !granted {
            let refused = Message::VoteReply(reply(request, false, state));
            fx.send(Destination::Peer(from), refused);
            return;
        }
        if state.voted_for.is_none() {
            state.voted_for = Some(from);
            fx.record(Record::HardState { term: state.term, voted_for: state.voted_for });
        }
        Self::wait_for_leader(state, fx);
        fx.promise(Destination::Peer(from), Message::VoteReply(reply(request, true, state)));
    }

    /// Counts a vote. The sender is a voter, or this node itself.
    pub fn on_vote_reply(
        &mut self,
        from: ServerId,
        vote: VoteReply,
        state: &mut ReplicaState,
    ) -> Tally {
        if vote.voter_term > state.term && !vote.granted {
            return Tally::HigherTerm(vote.voter_term);
        }
        let asked = match self.stage {
            Stage::Idle => return Tally::Pending,
            Stage::PreVote => vote.pre_vote && vote.term == state.term.next(),
            Stage::Vote => !vote.pre_vote && vote.term == state.term,
        };
        if asked && vote.granted {
            state.votes_received.insert(from);
        }
        if asked && vote.lacks {
            self.leaderless.insert(from);
            let leaderless = state.votes_received.union(&self.leaderless);
            if state.is_voter() && state.is_majority(count(leaderless, state)) {
                return Tally::Lacks(from);
            }
        }
        self.tally(state)
    }

    fn tally(&self, state: &ReplicaState) -> Tally {
        let votes = count(state.votes_received.iter(), state);
        if !state.is_voter() || !state.is_majority(votes) {
            return Tally::Pending;
        }
        match self.stage {
            Stage::Idle => Tally::Pending,
            Stage::PreVote => Tally::MayStand,
            Stage::Vote => Tally::Won,
        }
    }

    /// Whether this node asks for pre-votes.
    pub fn is_asking(&self) -> bool {
        self.stage == Stage::PreVote
    }

    /// Whether contact that is not fresh may end the present candidacy. A leader that
    /// hears nobody must not talk its followers out of electing another; but who stands
    /// in a term that has a leader has lost.
    pub fn yields_to_stale_contact(&self) -> bool {
        self.stage != Stage::PreVote
    }

    /// Ends a candidacy, if there is one.
    pub fn give_up(&mut self, state: &mut ReplicaState, fx: &mut Effects) {
        self.stage = Stage::Idle;
        self.transfer = false;
        state.votes_received.clear();
        if state.role == Role::Candidate {
            state.role = Role::Follower;
        }
        fx.cancel(Timer::VoteResend);
    }
}

/// How many of these nodes count. While a node only asks for pre-votes its log may take in
/// that another is no member any more; and at any time a directory may turn out to have
/// forgotten what it had promised.
fn count<'a>(nodes: impl Iterator<Item = &'a ServerId>, state: &ReplicaState) -> usize {
    let members = &state.configuration().members;
    let voters = nodes.filter_map(|node| members.get_key_value(node));
    voters.filter(|(node, voter)| !state.sightings.is_lost(**node, **voter)).count()
}

fn reply(request: VoteRequest, granted: bool, state: &ReplicaState) -> VoteReply {
    VoteReply {
        term: request.term,
        pre_vote: request.pre_vote,
        granted,
        voter_term: state.term,
        lacks: false,
    }
}
