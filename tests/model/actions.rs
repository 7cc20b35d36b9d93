//! What may happen in a state, as the model checker asks for it.

use quorate::disk::GenesisState;
use quorate::wire::{Message, Role};
use stateright::{Model, Property};

use super::cluster::{Cluster, Elections, State, all};
use super::frames::FrameId;
use super::locals::Local;

/// What may happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Deliver(FrameId),
    /// It hears no leader, and asks these others whether it would be elected.
    AskAround(usize, Vec<usize>),
    /// It stands for election without having asked whether it would be elected.
    Stand(usize),
    /// The same, and it is done with by the vote of this other node.
    Elect(usize, usize),
    /// It is not born, and introduces itself again.
    Introduce(usize),
    /// As leader, it is heard by these nodes and no others for a while.
    Contact(usize, Vec<usize>),
    /// As leader, it is asked for a client's next operation.
    Write(usize),
    /// Its oldest batch is durable.
    Sync(usize),
    /// Its power fails. So many of the batches under way are on the disk.
    Crash(usize, usize),
    Start(usize),
    /// Its disk is replaced by a blank one.
    Wipe(usize),
}

impl Model for Cluster {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.beginning()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for node in all(self.rules.size) {
            let local = self.local(state, node);
            if local.running.is_some() {
                self.actions_of(state, node, &local, actions);
            } else if local.disk.incarnation.0 < self.rules.starts {
                actions.push(Action::Start(node));
            }
        }
        actions.extend(state.frames.iter().copied().map(Action::Deliver));
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        if self.is_idle(before, &action) {
            return None;
        }
        let mut state = before.clone();
        self.act(&mut state, &action);
        (state != *before && self.is_within_bounds(&state)).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        (self.rules.properties)()
    }
}

impl Cluster {
    fn actions_of(&self, state: &State, node: usize, local: &Local, actions: &mut Vec<Action>) {
        let Some(running) = &local.running else { return };
        let rules = &self.rules;
        let is_born = matches!(local.disk.genesis, GenesisState::Complete(_));
        let leads = running.role == Role::Leader;
        if is_born && !leads && rules.candidates.contains(&node) {
            self.elections(node, actions);
        }
        if !is_born {
            actions.push(Action::Introduce(node));
        }
        if leads && state.writes < rules.writes {
            actions.push(Action::Write(node));
        }
        if leads && rules.contacts {
            let others = self.others(node);
            actions.extend(subsets(&others).map(|heard| Action::Contact(node, heard)));
        }
        if running.unsynced > 0 {
            actions.push(Action::Sync(node));
        }
        if rules.crashes.contains(&node) && local.disk.incarnation.0 < rules.starts {
            actions.extend((0..=running.unsynced).map(|kept| Action::Crash(node, kept)));
        }
    }

    fn elections(&self, node: usize, actions: &mut Vec<Action>) {
        let others = self.others(node);
        match self.rules.elections {
            Elections::None => {}
            Elections::Whole => {
                actions.extend(subsets(&others).map(|asked| Action::AskAround(node, asked)));
            }
            Elections::Votes => actions.push(Action::Stand(node)),
            Elections::Swift => {
                actions.extend(others.into_iter().map(|voter| Action::Elect(node, voter)));
            }
        }
    }
}

/// Whether it is about votes; or `pre`, about pre-votes.
pub fn is_vote(message: &Message, pre: bool) -> bool {
    match message {
        Message::VoteRequest(request) => request.pre_vote == pre,
        Message::VoteReply(vote) => vote.pre_vote == pre,
        _ => false,
    }
}

/// Whether it is about elections. All refusals are lost: they make nobody lead, and each would
/// double the states.
pub fn is_of_election(message: &Message) -> bool {
    match message {
        Message::VoteRequest(_) => true,
        Message::VoteReply(vote) => vote.granted,
        _ => false,
    }
}

/// Whether it is about elections where who lacks entries takes them over: of the refusals, those
/// are heard which say that it does.
pub fn is_of_catch_up(message: &Message) -> bool {
    match message {
        Message::CatchUpRequest(_) | Message::CatchUpReply(_) => true,
        Message::VoteReply(vote) => vote.granted || vote.lacks,
        other => is_of_election(other),
    }
}

pub fn is_of_log(message: &Message) -> bool {
    matches!(message, Message::ReplicateOperation(_) | Message::Acknowledge(_))
}

pub fn is_of_birth(message: &Message) -> bool {
    matches!(
        message,
        Message::Introduce(_)
            | Message::GenesisPropose(_)
            | Message::GenesisAccept(_)
            | Message::GenesisComplete(_)
    )
}

/// Whether the lives of nodes are compared by it.
pub fn is_of_lives(message: &Message) -> bool {
    matches!(message, Message::Resume(_) | Message::Sighted(_))
}

fn subsets(of: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    (0..1_usize << of.len()).map(move |bits| {
        let chosen = of.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
        chosen.map(|(_, node)| *node).collect()
    })
}
