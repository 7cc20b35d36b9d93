//! The whole cluster: what it is made of, and what comes of whatever happens to it.

use std::collections::VecDeque;
use std::sync::Arc;

use quorate::replica::Life;
use quorate::types::{Incarnation, LifeId, LogIndex, ServerId, Term};
use quorate::wire::{GenesisHash, Message, Sighted, Verdict};
use stateright::Property;

use super::actions::{Action, is_of_lives, is_vote};
use super::disk::Disk;
use super::frames::{Frame, FrameId};
use super::locals::{Local, LocalId, Locals, Outcome, Step};
use super::node::{Input, ids};
use super::past::{self, Past};

/// More frames than it takes to compare the lives of all nodes.
const COMPARED_MAX: usize = 1_000;

/// The cluster, and what of its past the properties speak of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub nodes: Vec<LocalId>,
    /// All that was ever said, ascending.
    pub frames: Vec<FrameId>,
    pub writes: u8,
    pub past: Arc<Past>,
}

/// What a model has, and how far it goes.
pub struct Rules {
    pub name: &'static str,
    pub size: usize,
    /// All that is written is synced at once.
    pub eager: bool,
    /// How many batches of a node are written at a time, at most.
    pub unsynced: usize,
    pub terms: u64,
    /// How often a directory may be started.
    pub starts: u32,
    pub writes: u8,
    pub elections: Elections,
    /// Nodes that may stand.
    pub candidates: Vec<usize>,
    /// Nodes that may lose their power.
    pub crashes: Vec<usize>,
    /// Leaders that are heard by some go on, and change members.
    pub contacts: bool,
    /// Which kinds of frames there are.
    pub carries: fn(&Frame) -> bool,
    pub properties: fn() -> Vec<Property<Cluster>>,
}

/// How nodes come to lead.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Elections {
    None,
    /// They ask whether they would be elected, and then for votes, frame by frame.
    Whole,
    /// By votes, frame by frame.
    Votes,
    /// At one go, by one vote of another.
    Swift,
}

pub struct Cluster {
    pub rules: Rules,
    pub locals: Locals,
    beginning: State,
    is_begun: bool,
}

impl Cluster {
    /// A cluster with these directories, that goes on from where the prologue leads. In that,
    /// frames of all kinds are carried.
    pub fn new(rules: Rules, disks: Vec<Disk>, prologue: impl FnOnce(&Self, &mut State)) -> Self {
        let locals = Locals::new(rules.size, rules.eager);
        let nodes = disks.into_iter().map(|disk| locals.down(disk)).collect();
        let past = Arc::new(Past::default());
        let beginning = State { nodes, frames: Vec::new(), writes: 0, past };
        let mut cluster = Self { rules, locals, beginning, is_begun: false };
        let mut beginning = cluster.beginning();
        prologue(&cluster, &mut beginning);
        let carries = cluster.rules.carries;
        beginning.frames.retain(|frame| carries(&cluster.locals.frames.get(*frame)));
        cluster.beginning = beginning;
        cluster.is_begun = true;
        cluster
    }

    pub fn beginning(&self) -> State {
        self.beginning.clone()
    }

    pub fn local(&self, state: &State, node: usize) -> Arc<Local> {
        self.locals.get(state.nodes[node])
    }

    pub fn others(&self, node: usize) -> Vec<usize> {
        all(self.rules.size).filter(|other| *other != node).collect()
    }

    /// The lives of these nodes, of those that run.
    fn lives(&self, state: &State, nodes: &[usize]) -> Vec<Life> {
        let life = |node: &usize| Some(self.local(state, *node).running.as_ref()?.life);
        nodes.iter().filter_map(life).collect()
    }

    /// Takes the action.
    pub fn act(&self, state: &mut State, action: &Action) {
        match action {
            Action::Deliver(frame) => self.deliver(state, *frame),
            Action::AskAround(node, others) => self.ask_around(state, *node, others),
            Action::Stand(node) => self.stand(state, *node),
            Action::Elect(node, voter) => self.elect(state, *node, *voter),
            Action::Introduce(node) => self.take(state, *node, Input::GenesisTimeout),
            Action::Contact(node, heard) => {
                let heard = self.lives(state, heard);
                self.take(state, *node, Input::Contact(heard));
            }
            Action::Write(node) => {
                state.writes += 1;
                self.take(state, *node, Input::Write(state.writes));
            }
            Action::Sync(node) => self.take(state, *node, Input::Sync),
            Action::Crash(node, kept) => self.step(state, *node, &Step::Crash(*kept)),
            Action::Start(node) => self.step(state, *node, &Step::Start),
            Action::Wipe(node) => self.step(state, *node, &Step::Wipe),
        }
    }

    /// Whether it is seen at once that nothing comes of it.
    pub fn is_idle(&self, state: &State, action: &Action) -> bool {
        let Action::Deliver(frame) = action else { return false };
        let to = place(self.locals.frames.get(*frame).to);
        if self.local(state, to).running.is_none() {
            return true;
        }
        let outcome = self.locals.step(state.nodes[to], &Step::Take(Input::Frame(*frame)));
        outcome.next == state.nodes[to]
            && outcome.acknowledged.is_none()
            && outcome.frames.iter().all(|frame| state.frames.binary_search(frame).is_ok())
    }

    pub fn is_within_bounds(&self, state: &State) -> bool {
        let Rules { terms, unsynced, .. } = self.rules;
        all(self.rules.size).all(|node| {
            let local = self.local(state, node);
            let running = local.running.as_ref();
            running.is_none_or(|node| node.term.0 <= terms && node.unsynced <= unsynced)
        })
    }

    fn take(&self, state: &mut State, node: usize, input: Input) {
        self.step(state, node, &Step::Take(input));
    }

    fn deliver(&self, state: &mut State, frame: FrameId) {
        let to = place(self.locals.frames.get(frame).to);
        if self.local(state, to).running.is_some() {
            self.take(state, to, Input::Frame(frame));
        }
    }

    /// Those of the frames that were said arrive, and stay.
    pub fn pass_on(&self, state: &mut State, arrives: impl Fn(&Frame) -> bool) {
        for frame in state.frames.clone() {
            if arrives(&self.locals.frames.get(frame)) {
                self.act(state, &Action::Deliver(frame));
            }
        }
    }

    /// Everything that was said arrives, until nothing new comes of it; then it is forgotten.
    pub fn settle(&self, state: &mut State) {
        loop {
            let before = state.clone();
            for &frame in &before.frames {
                self.deliver(state, frame);
            }
            all(self.rules.size).for_each(|node| self.sync_all(state, node));
            if *state == before {
                break;
            }
        }
        state.frames.clear();
    }

    /// All that is written is synced.
    pub fn sync_all(&self, state: &mut State, node: usize) {
        while self.local(state, node).running.as_ref().is_some_and(|node| node.unsynced > 0) {
            self.take(state, node, Input::Sync);
        }
    }

    /// Who is asked answers at once: to be asked changes nobody.
    fn ask_around(&self, state: &mut State, node: usize, others: &[usize]) {
        self.take(state, node, Input::ElectionTimeout);
        for other in others {
            self.exchange(state, (node, *other), true);
        }
        self.forget_votes(state, true);
    }

    pub fn stand(&self, state: &mut State, node: usize) {
        let voters = self.lives(state, &self.others(node));
        self.take(state, node, Input::Stand(voters));
    }

    /// An election in which nothing comes between. Other models take it apart.
    pub fn elect(&self, state: &mut State, node: usize, voter: usize) {
        self.stand(state, node);
        self.sync_all(state, node);
        self.exchange(state, (node, voter), false);
        self.forget_votes(state, false);
    }

    /// One node asks another for its vote, or `pre`, whether it would have that, and is
    /// answered.
    fn exchange(&self, state: &mut State, (asks, answers): (usize, usize), pre: bool) {
        for (from, to) in [(asks, answers), (answers, asks)] {
            for frame in self.votes_between(state, from, to, pre) {
                self.deliver(state, frame);
                self.sync_all(state, to);
            }
        }
    }

    /// Who has not heard of it by now never does.
    fn forget_votes(&self, state: &mut State, pre: bool) {
        state.frames.retain(|frame| !is_vote(&self.locals.frames.get(*frame).message, pre));
    }

    pub fn votes_between(&self, state: &State, from: usize, to: usize, pre: bool) -> Vec<FrameId> {
        let is_one = |id: &FrameId| {
            let frame = self.locals.frames.get(*id);
            (place(frame.from.node), place(frame.to)) == (from, to) && is_vote(&frame.message, pre)
        };
        state.frames.iter().copied().filter(is_one).collect()
    }

    /// One step of one node; and where lives are compared by it, all of that comparison: it
    /// takes no time, and is lost on no way.
    fn step(&self, state: &mut State, node: usize, step: &Step) {
        let mut about_lives = VecDeque::new();
        let outcome = self.locals.step(state.nodes[node], step);
        self.take_in(state, node, &outcome, &mut about_lives);
        let mut compared = 0;
        while let Some(id) = about_lives.pop_front() {
            compared += 1;
            assert!(compared < COMPARED_MAX, "the comparing of lives does not end");
            let frame = self.locals.frames.get(id);
            let (from, to) = (place(frame.from.node), place(frame.to));
            let receiver = self.local(state, to);
            let (to, id) = match &receiver.running {
                Some(_) => (to, id),
                None => (from, self.knows_nothing_better(&receiver.disk, frame.from)),
            };
            if self.local(state, to).running.is_some() {
                let outcome = self.locals.step(state.nodes[to], &Step::Take(Input::Frame(id)));
                self.take_in(state, to, &outcome, &mut about_lives);
            }
        }
    }

    /// What a node that does not run would say of a life: it asks again when it is started.
    fn knows_nothing_better(&self, disk: &Disk, of: Life) -> FrameId {
        let (node, directory) = (disk.id, disk.directory);
        let from = Life { node, directory, incarnation: Incarnation(0), id: LifeId(1) };
        let message = Message::Sighted(Sighted {
            directory: of.directory,
            incarnation: of.incarnation,
            life: of.id,
            verdict: Verdict::Whole,
            seen_incarnation: Incarnation(0),
            seen_term: Term(0),
            seen_vote: false,
            seen_index: LogIndex(0),
        });
        let genesis = disk.genesis.complete().map(GenesisHash::of).unwrap_or_default();
        self.locals.frames.id_of(Frame { from, to: of.node, hears: None, genesis, message })
    }

    fn take_in(
        &self,
        state: &mut State,
        node: usize,
        outcome: &Outcome,
        about_lives: &mut VecDeque<FrameId>,
    ) {
        state.nodes[node] = outcome.next;
        if let Some(running) = &self.locals.get(outcome.next).running {
            past::see(&mut state.past, running);
        }
        if let Some(index) = outcome.acknowledged {
            past::be_told(&mut state.past, index);
        }
        for &id in outcome.frames.iter() {
            let frame = self.locals.frames.get(id);
            past::hear(&mut state.past, &frame);
            if is_of_lives(&frame.message) {
                about_lives.push_back(id);
            } else if self.is_carried(&frame)
                && let Err(at) = state.frames.binary_search(&id)
            {
                state.frames.insert(at, id);
            }
        }
    }

    fn is_carried(&self, frame: &Frame) -> bool {
        // An election at one go is over before anything else happens.
        let is_at_once = self.rules.elections == Elections::Swift && is_vote(&frame.message, false);
        !self.is_begun || is_at_once || (self.rules.carries)(frame)
    }

    /// A blank node meets the others, which are born.
    pub fn introduce(&self, state: &mut State, node: usize) {
        for _ in 0..2 {
            let outcome = self.locals.step(state.nodes[node], &Step::Take(Input::GenesisTimeout));
            let mut frames = Vec::from(&*outcome.frames);
            self.take_in(state, node, &outcome, &mut VecDeque::new());
            while let Some(frame) = frames.pop() {
                let to = place(self.locals.frames.get(frame).to);
                if self.local(state, to).running.is_some() {
                    let step = Step::Take(Input::Frame(frame));
                    frames.extend(self.locals.step(state.nodes[to], &step).frames.iter());
                    self.step(state, to, &step);
                }
            }
        }
    }
}

/// Nodes are numbered from 1, and stand from 0.
pub fn place(id: ServerId) -> usize {
    usize::from(id.0) - 1
}

/// All nodes of a cluster.
pub fn all(size: usize) -> impl Iterator<Item = usize> {
    ids(size).map(place)
}
