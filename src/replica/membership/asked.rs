//! Changes that an operator asks for.

use std::net::SocketAddr;

use super::{MembershipManager, is_heard_by_majority, may_change};
use crate::configuration::Configuration;
use crate::replica::decline::{decline, not_leader};
use crate::replica::effects::{ClientPath, Destination, Effects};
use crate::replica::state::ReplicaState;
use crate::time::Instant;
use crate::types::{LogIndex, NODES_MAX, ServerId};
use crate::wire::{
    About, DeclineReason, MemberChange, MemberOutcome, MemberReply, MemberRequest, Message, Role,
};

/// A change that stands in the log, and who waits for it. There is one at a time.
#[derive(Debug)]
pub(super) struct Asked {
    client: ClientPath,
    nonce: u64,
    index: LogIndex,
}

impl MembershipManager {
    /// An operator asks. Returns the configuration to put into the log, if the change may
    /// be made; the answer waits until that is committed.
    pub fn on_request(
        &mut self,
        request: MemberRequest,
        client: ClientPath,
        state: &ReplicaState,
        fx: &mut Effects,
    ) -> Option<Configuration> {
        let nonce = request.nonce;
        if let Some(reason) = objection(request.change, client, state) {
            decline(About::Members(nonce), client, reason, state, fx);
            return None;
        }
        if let Some(asked) = self.asked.as_mut().filter(|asked| asked.nonce == nonce) {
            asked.client = client;
            return None;
        }
        match changed_by(request, state, fx.now) {
            Ok(changed) => {
                let index = state.log.last_index().next();
                self.asked = Some(Asked { client, nonce, index });
                Some(changed)
            }
            Err(outcome) => {
                reply(nonce, outcome, client, state, fx);
                None
            }
        }
    }

    /// Answers who waits for a change that is committed now.
    pub fn release(&mut self, state: &ReplicaState, fx: &mut Effects) {
        if let Some(asked) = self.asked.take_if(|asked| asked.index <= state.commit) {
            reply(asked.nonce, MemberOutcome::Changed, asked.client, state, fx);
        }
    }

    /// The node no longer leads: what is pending may or may not be committed by another.
    pub fn dismiss(&mut self, state: &ReplicaState, fx: &mut Effects) {
        if let Some(asked) = self.asked.take() {
            decline(About::Members(asked.nonce), asked.client, not_leader(state), state, fx);
        }
    }
}

/// Why this node does not say anything of members at present, or not to this client. Who they
/// are is told to whoever has a key.
fn objection(
    change: MemberChange,
    client: ClientPath,
    state: &ReplicaState,
) -> Option<DeclineReason> {
    let right = state.access.check_operator(client.key);
    if let Err(denial) = right
        && change != MemberChange::None
    {
        Some(DeclineReason::Denied(denial))
    } else if !state.is_born() {
        Some(DeclineReason::NotBorn)
    } else if state.role != Role::Leader {
        Some(not_leader(state))
    } else if state.handing_over || !state.has_committed_in_term() {
        Some(DeclineReason::Busy)
    } else {
        None
    }
}

/// The configuration after the change; or, if nothing is to be changed, why. What the operator
/// saw must be in force still: a copy that comes late would undo what was done since.
fn changed_by(
    request: MemberRequest,
    state: &ReplicaState,
    now: Instant,
) -> Result<Configuration, MemberOutcome> {
    let MemberRequest { seen, change, .. } = request;
    if change == MemberChange::None {
        return Err(MemberOutcome::AlreadySo);
    }
    if !may_change(state) {
        return Err(MemberOutcome::Pending);
    }
    match applied(change, state, now) {
        Err(MemberOutcome::AlreadySo) => Err(MemberOutcome::AlreadySo),
        _ if seen != state.configuration_index() => Err(MemberOutcome::Outdated),
        otherwise => otherwise,
    }
}

fn applied(
    change: MemberChange,
    state: &ReplicaState,
    now: Instant,
) -> Result<Configuration, MemberOutcome> {
    match change {
        MemberChange::Add { node, address } => with_node(node, address, state),
        MemberChange::Remove { node } => without_node(node, state, now),
        MemberChange::None => Err(MemberOutcome::AlreadySo),
    }
}

fn with_node(
    node: ServerId,
    address: SocketAddr,
    state: &ReplicaState,
) -> Result<Configuration, MemberOutcome> {
    let configuration = state.configuration();
    let known = || state.listed.iter().chain(&configuration.addresses);
    let elsewhere = known().any(|(id, at)| *id == node && *at != address);
    let another = known().any(|(id, at)| *id != node && *at == address);
    if elsewhere || another {
        return Err(MemberOutcome::AddressTaken);
    }
    if configuration.lists(node) {
        return Err(MemberOutcome::AlreadySo);
    }
    if configuration.node_count() == NODES_MAX {
        return Err(MemberOutcome::TooManyNodes);
    }
    let mut changed = configuration.with_learner(node);
    changed.addresses.insert(node, address);
    Ok(changed)
}

fn without_node(
    node: ServerId,
    state: &ReplicaState,
    now: Instant,
) -> Result<Configuration, MemberOutcome> {
    let configuration = state.configuration();
    if !configuration.lists(node) {
        return Err(MemberOutcome::AlreadySo);
    }
    let changed = configuration.without(node);
    if changed.members.is_empty() {
        return Err(MemberOutcome::LastVoter);
    }
    let takes_a_vote = configuration.members.contains_key(&node);
    if takes_a_vote && !is_heard_by_majority(&changed, state, now) {
        return Err(MemberOutcome::QuorumLost);
    }
    Ok(changed)
}

fn reply(
    nonce: u64,
    outcome: MemberOutcome,
    client: ClientPath,
    state: &ReplicaState,
    fx: &mut Effects,
) {
    let reply = MemberReply {
        nonce,
        outcome,
        index: state.configuration_index(),
        commit: state.commit,
        configuration: state.configuration().clone(),
    };
    fx.send(Destination::Client(client), Message::MemberReply(reply));
}
