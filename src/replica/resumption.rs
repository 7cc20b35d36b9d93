//! A node that was started asks the others what they have seen of its directory, before it
//! promises anything.
//!
//! docs/guarantees.md: "A node that is started asks all others what they have seen of its
//! directory, and gives no vote before they have answered, or an election timeout has
//! passed." Those who did not answer by then count for nothing what this life says until it
//! has asked them: so a candidate at least knows its voters itself.

use std::time::Duration;

use super::effects::{Destination, Effects, Timer};
use super::state::ReplicaState;
use crate::disk::{Doubt, Recovered};
use crate::time::Instant;
use crate::types::{DirectoryId, ServerId};
use crate::wire::{Message, Resume, Sighted};

/// How a life has begun.
#[derive(Debug)]
pub struct Resumption {
    /// What the directory held.
    pub(super) held: Resume,
    /// While it asks: until when.
    pub(super) asks_until: Option<Instant>,
    /// The directory counts as lost, and what it holds goes on as this one.
    pub(super) reborn_as: Option<DirectoryId>,
}

impl Resumption {
    /// That of a life which begins with what the directory holds, and now.
    pub fn new(recovered: &Recovered, election_timeout: Duration, fx: &mut Effects) -> Self {
        fx.arm(Timer::Resume, Duration::ZERO);
        Self {
            held: held_by(recovered),
            asks_until: Some(fx.now + election_timeout),
            reborn_as: None,
        }
    }

    /// Whether the node may vote and acknowledge.
    pub fn may_promise(&self) -> bool {
        self.asks_until.is_none() && self.reborn_as.is_none()
    }

    /// Asks those who have not answered, and will ask again, unless it was asked for long
    /// enough. Returns whether the asking ends.
    pub fn on_timeout(state: &mut ReplicaState, fx: &mut Effects) -> bool {
        let Some(until) = state.resumption.asks_until else { return false };
        if fx.now >= until || !awaits_voters(state) {
            state.resumption.asks_until = None;
            return true;
        }
        let unanswered = state.peers.iter().filter(|(_, peer)| !peer.has_answered);
        for (&peer, _) in unanswered {
            fx.send(Destination::Peer(peer), Message::Resume(state.resumption.held));
        }
        fx.arm(Timer::Resume, state.election_timeout / 8);
        false
    }

    /// Another node has not heard what this life began with.
    pub fn say_again(to: ServerId, state: &mut ReplicaState, fx: &mut Effects) {
        let Some(peer) = state.peers.get_mut(&to) else { return };
        peer.has_answered = false;
        // Two that do not understand each other must not answer each other without end.
        let pause = state.election_timeout / 8;
        if peer.told_again_at.is_none_or(|at| fx.now.since(at) >= pause) {
            peer.told_again_at = Some(fx.now);
            fx.send(Destination::Peer(to), Message::Resume(state.resumption.held));
        }
    }

    /// Another node has heard it, and knows nothing better. Returns whether the asking ends.
    pub fn on_answer(from: ServerId, state: &mut ReplicaState) -> bool {
        if let Some(peer) = state.peers.get_mut(&from) {
            peer.has_answered = true;
        }
        let ends = state.resumption.asks_until.is_some() && !awaits_voters(state);
        if ends {
            state.resumption.asks_until = None;
        }
        ends
    }

    /// Another node knows better. Returns the id that the directory is to go on with, unless
    /// that is known already.
    pub fn on_loss(
        from: ServerId,
        sighted: &Sighted,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) -> Option<DirectoryId> {
        if state.resumption.reborn_as.is_some() {
            return None;
        }
        log::error!("node {}: {}", state.server_id, sentence(from, sighted, state));
        let next = DirectoryId(fx.random.u64(1..));
        state.resumption.reborn_as = Some(next);
        Some(next)
    }

    /// It is durable that the directory goes on as another. As that it has said nothing, and
    /// is a stranger to all.
    pub fn be_reborn(state: &mut ReplicaState, fx: &mut Effects) {
        let Some(directory) = state.resumption.reborn_as.take() else { return };
        state.identity.directory = directory;
        state.resumption.asks_until = Some(fx.now + state.election_timeout);
        for peer in state.peers.values_mut() {
            peer.has_answered = false;
            peer.life = None;
        }
        fx.arm(Timer::Resume, Duration::ZERO);
        log::warn!(
            "node {}: goes on as the directory {directory}, without a vote until the log gives it \
             one",
            state.server_id
        );
    }
}

/// What a directory held, as its node tells the others. What it has lost for certain, as
/// its doubt says, it once held.
fn held_by(recovered: &Recovered) -> Resume {
    let end = match recovered.doubt {
        Some(Doubt { upto: None }) => None,
        Some(Doubt { upto: Some(upto) }) => Some(upto.max(recovered.log_end())),
        None => Some(recovered.log_end()),
    };
    Resume { term: recovered.term, voted: recovered.voted_for.is_some(), end }
}

/// Whether another voter may still answer.
fn awaits_voters(state: &ReplicaState) -> bool {
    state
        .peers
        .iter()
        .any(|(id, peer)| !peer.has_answered && state.configuration().members.contains_key(id))
}

fn sentence(from: ServerId, sighted: &Sighted, state: &ReplicaState) -> String {
    let Sighted { directory, seen_term, seen_index, .. } = sighted;
    let held = &state.resumption.held;
    let seen = if sighted.seen_incarnation >= sighted.incarnation {
        format!("start {} of it before", sighted.seen_incarnation)
    } else if sighted.seen_index.0 > 0 {
        format!("it in term {seen_term} with the entries up to {seen_index}")
    } else {
        let voted = if sighted.seen_vote { ", with its vote given" } else { "" };
        format!("it in term {seen_term}{voted}")
    };
    format!(
        "the directory {directory} has forgotten what it had promised: node {from} has seen \
         {seen}, and this is start {} with what was there in term {}; an older copy was put back, \
         or it was cloned, so it counts as lost",
        sighted.incarnation, held.term
    )
}
