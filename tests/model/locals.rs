//! The states of single nodes, each kept once. A node is not copied: its state is the directory
//! that its life began with and the inputs since, and it is brought about again to be given one
//! input more. What came of that is remembered, so each input is given once to each state.
//!
//! That counts as one state which has one digest, whatever inputs have led to it. So of each
//! state a second way to it is remembered, too, and [`Locals::compare_ways`] goes on from there.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, RwLock};

use quorate::replica::Life;
use quorate::time::Instant;
use quorate::types::{LogIndex, Term};
use quorate::wire::{Message, Role};

use super::actions::{is_of_birth, is_of_lives};
use super::disk::Disk;
use super::frames::{Frame, FrameId, Frames};
use super::node::{Input, Node, Said};

pub type LocalId = u32;

/// A node in some state, and its disk.
#[derive(Debug)]
pub struct Local {
    /// The node while it runs.
    pub running: Option<Running>,
    /// What is synced.
    pub disk: Disk,
    /// The directory that this life began with.
    began_with: Disk,
    inputs: Vec<Input>,
    /// How late it is after them.
    now: Instant,
}

/// What is seen of a node that runs.
#[derive(Debug)]
pub struct Running {
    pub life: Life,
    pub role: Role,
    pub term: Term,
    pub commit: LogIndex,
    /// The term and the chain value of each entry.
    pub log: Vec<(Term, u32)>,
    /// Batches that are taken and not synced.
    pub unsynced: usize,
    /// Whether its vote counts, by its own log.
    pub votes: bool,
}

/// What a step of one node has led to.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub next: LocalId,
    pub frames: Arc<[FrameId]>,
    pub acknowledged: Option<LogIndex>,
}

/// Whatever happens to a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Take(Input),
    /// The power fails. So many of the batches under way are on the disk.
    Crash(usize),
    Start,
    /// The directory is replaced by a blank one.
    Wipe,
}

/// All states of nodes that were seen.
pub struct Locals {
    size: usize,
    eager: bool,
    pub frames: Frames,
    all: RwLock<Vec<Arc<Local>>>,
    by_digest: RwLock<HashMap<u64, LocalId>>,
    /// The same states, as other inputs have led to them.
    other_ways: RwLock<HashMap<LocalId, Arc<Local>>>,
    outcomes: RwLock<HashMap<(LocalId, Step), Outcome>>,
}

const UNHARMED: &str = "nobody panics with it";

impl Locals {
    /// None yet, of a cluster of so many. If disks are `eager`, all is synced at once.
    pub fn new(size: usize, eager: bool) -> Self {
        Self {
            size,
            eager,
            frames: Frames::default(),
            all: RwLock::default(),
            by_digest: RwLock::default(),
            other_ways: RwLock::default(),
            outcomes: RwLock::default(),
        }
    }

    pub fn get(&self, id: LocalId) -> Arc<Local> {
        self.all.read().expect(UNHARMED)[id as usize].clone()
    }

    /// How many states of single nodes there are.
    pub fn count(&self) -> usize {
        self.all.read().expect(UNHARMED).len()
    }

    /// A node that does not run.
    pub fn down(&self, disk: Disk) -> LocalId {
        let digest = digest_of(&("down", &disk));
        let (began_with, inputs, now) = (disk.clone(), Vec::new(), Instant::default());
        let local = Local { running: None, disk, began_with, inputs, now };
        self.id_of(digest, local)
    }

    /// What comes of the step.
    pub fn step(&self, id: LocalId, step: &Step) -> Outcome {
        let key = (id, step.clone());
        if let Some(known) = self.outcomes.read().expect(UNHARMED).get(&key) {
            return known.clone();
        }
        let outcome = self.bring_about(&self.get(id), step);
        self.outcomes.write().expect(UNHARMED).insert(key, outcome.clone());
        outcome
    }

    fn bring_about(&self, local: &Local, step: &Step) -> Outcome {
        match step {
            Step::Take(input) => {
                let mut node = self.replay(local);
                let said = node.take(input, &self.frames);
                let mut inputs = local.inputs.clone();
                inputs.push(input.clone());
                self.outcome(&node, local.began_with.clone(), inputs, said)
            }
            Step::Crash(kept) => {
                let mut disk = local.disk.clone();
                let node = self.replay(local);
                for batch in node.batches().iter().take(*kept) {
                    batch.records().iter().for_each(|record| disk.write(record));
                }
                silent(self.down(disk))
            }
            Step::Start => {
                let mut disk = local.disk.clone();
                disk.incarnation.0 += 1;
                let (node, said) = Node::start(disk.clone(), self.size, self.eager);
                self.outcome(&node, disk, Vec::new(), said)
            }
            Step::Wipe => silent(self.down(Disk::blank(local.disk.id, 1))),
        }
    }

    fn replay(&self, local: &Local) -> Node {
        let (mut node, _) = Node::start(local.began_with.clone(), self.size, self.eager);
        for input in &local.inputs {
            node.take(input, &self.frames);
        }
        node
    }

    fn outcome(&self, node: &Node, began_with: Disk, inputs: Vec<Input>, said: Said) -> Outcome {
        let running = Some(look_at(node));
        let (disk, now) = (node.disk.clone(), node.now());
        let local = Local { running, disk, began_with, inputs, now };
        let next = self.id_of(digest_of_running(node), local);
        let ids = said.frames.into_iter().map(|frame| self.frames.id_of(forget_echo(frame)));
        // What is said again while time passes is said.
        let frames: BTreeSet<FrameId> = ids.collect();
        let frames = frames.into_iter().collect();
        Outcome { next, frames, acknowledged: said.acknowledged }
    }

    fn id_of(&self, digest: u64, local: Local) -> LocalId {
        let mut by_digest = self.by_digest.write().expect(UNHARMED);
        if let Some(known) = by_digest.get(&digest) {
            if !self.get(*known).is_brought_about_like(&local) {
                let mut other_ways = self.other_ways.write().expect(UNHARMED);
                other_ways.entry(*known).or_insert_with(|| Arc::new(local));
            }
            return *known;
        }
        let mut all = self.all.write().expect(UNHARMED);
        all.push(Arc::new(local));
        let id = LocalId::try_from(all.len() - 1).expect("a small model");
        by_digest.insert(digest, id);
        id
    }

    /// Takes each step that was taken from a state from where another way has led to as well:
    /// nodes with one digest go on alike. Returns how many steps that were.
    pub fn compare_ways(&self) -> usize {
        let taken = self.outcomes.read().expect(UNHARMED).clone();
        let other_ways = self.other_ways.read().expect(UNHARMED).clone();
        let compare = |((id, step), outcome): (&(LocalId, Step), &Outcome)| {
            let other = other_ways.get(id)?;
            let one = self.get(*id);
            // An entry names the time at which it was made.
            if one.now != other.now && self.leads_to_more_entries(&one, outcome) {
                return None;
            }
            let (first, second) = (outcome, self.bring_about(other, step));
            let (first, second) = (self.seen_of(first), self.seen_of(&second));
            let (one, other) = (&one.inputs, &other.inputs);
            assert_eq!(first, second, "{step:?} after {one:?}, and after {other:?}");
            Some(())
        };
        taken.iter().filter_map(compare).count()
    }

    /// But for what is said again at most once in a while.
    fn seen_of(&self, outcome: &Outcome) -> (LocalId, Vec<FrameId>, Option<LogIndex>) {
        let is_timed =
            |frame: FrameId| matches!(self.frames.get(frame).message, Message::Resume(_));
        let frames = outcome.frames.iter().copied().filter(|frame| !is_timed(*frame));
        (outcome.next, frames.collect(), outcome.acknowledged)
    }

    fn leads_to_more_entries(&self, before: &Local, outcome: &Outcome) -> bool {
        let entries = |local: &Local| local.running.as_ref().map_or(0, |seen| seen.log.len());
        entries(&self.get(outcome.next)) > entries(before)
    }
}

impl Local {
    fn is_brought_about_like(&self, other: &Self) -> bool {
        (&self.began_with, &self.inputs) == (&other.began_with, &other.inputs)
    }
}

/// A step in which nothing is said.
fn silent(next: LocalId) -> Outcome {
    Outcome { next, frames: Arc::new([]), acknowledged: None }
}

/// What a frame echoes makes a difference where a node is not born, and nowhere else here: no
/// leader is held on to because it was heard lately.
fn forget_echo(frame: Frame) -> Frame {
    let matters = is_of_birth(&frame.message) || is_of_lives(&frame.message);
    Frame { hears: frame.hears.filter(|_| matters), ..frame }
}

fn look_at(node: &Node) -> Running {
    let state = node.core().state();
    let indexes = (1..=state.log.last_index().0).map(LogIndex);
    let entries = indexes.filter_map(|index| state.log.entry(index));
    Running {
        life: state.life(),
        role: state.role,
        term: state.term,
        commit: state.commit,
        log: entries.map(|entry| (entry.term, entry.chain)).collect(),
        unsynced: node.batches().len(),
        votes: state.is_voter(),
    }
}

/// A batch's number is of no account, only what is in it, and the order.
fn digest_of_running(node: &Node) -> u64 {
    let shown = node.batches().iter().map(|batch| format!("{batch:?}"));
    let batches: Vec<_> = shown.map(|shown| shown.split_once("records").map(own)).collect();
    digest_of(&(node.core().digest(), &node.disk, batches))
}

fn own((_, rest): (&str, &str)) -> String {
    rest.to_owned()
}

fn digest_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
