//! The search for an order of one key's operations that explains all answers.
//!
//! This is the algorithm of Wing and Gong with Lowe's memory of configurations: walk the
//! calls and returns in the order of time; place any operation that has been called and
//! whose answer fits; go back when an operation returns that could not be placed. Five
//! things keep it fast. An operation whose answer tells that it changed nothing is placed
//! at once where it fits, for good: that never spoils another's place. A configuration is
//! not searched again that has placed the same answered operations, is in the same state,
//! and has used up at least the same unknown ones. Of unknown ones that ask the same the
//! first is used first. An unknown write whose value nobody can have seen is left out. And
//! an unknown operation is placed only directly before one that needs it: it never
//! returns, so it may always come later, and if nothing needs it, then it need not have
//! happened.

use std::collections::HashMap;

use bytes::Bytes;

use super::values::{ABSENT, ValueId, Values};
use super::{Kind, Operation, Output, Status};

/// How many events and remembered configurations are looked at before the search is
/// given up. The memory of configurations grows with them, to some hundred bytes for each.
const STEPS_MAX: u64 = 10_000_000;
/// How many values are told that the key had where an operation was tried in vain.
pub const STATES_MAX: usize = 8;

/// What the search found.
pub(super) enum Found {
    /// An order that explains everything.
    Order,
    /// There is none: however the others are placed, one has no place.
    Misfit {
        /// The place of that operation among those that were given.
        position: usize,
        /// What the key had wherever it was tried, in the order of trying.
        states: Vec<Option<Bytes>>,
    },
    /// Too many orders are possible.
    TooMany,
}

/// Searches for an order of these operations, all of one key and none failed.
pub(super) fn check_key(operations: &[&Operation]) -> Found {
    Search::new(operations).run()
}

struct Search<'a> {
    operations: Vec<Item<'a>>,
    values: Values,
    events: Events,
    state: ValueId,
    /// Placed operations, newest last, with the state before each.
    placed: Vec<(usize, ValueId)>,
    known_left: usize,
    known_hash: u64,
    unknown_used: Vec<u64>,
    visited: HashMap<Configuration, Vec<Vec<u64>>>,
    steps: u64,
}

/// What a search goes on from, but for the unknown operations that are used up.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Configuration {
    known_hash: u64,
    state: ValueId,
    /// The unknown operation placed last, if the next must need it, and the state before.
    needed: Option<(usize, ValueId)>,
}

struct Item<'a> {
    operation: &'a Operation,
    /// Its place among the operations that were given.
    position: usize,
    /// Its bit among the unknown ones.
    unknown: Option<usize>,
    /// The bit of the unknown one that asks the same and was called just before it.
    alike: Option<usize>,
    /// A random word for the hash of placed operations.
    word: u64,
    /// The states that its answer did not fit, as far as they are told.
    refused_by: Vec<ValueId>,
}

impl<'a> Search<'a> {
    fn new(operations: &[&'a Operation]) -> Self {
        let hidden = hides_nothing(operations);
        let mut items: Vec<Item<'a>> = Vec::new();
        let mut unknown_count = 0;
        let mut newest: HashMap<&Kind, usize> = HashMap::new();
        let mut by_call: Vec<(usize, &Operation)> =
            operations.iter().copied().enumerate().collect();
        by_call.sort_by_key(|(_, operation)| operation.call);
        for (position, operation) in by_call {
            let unknown = operation.status == Status::Unknown;
            let no_effect = operation.kind == Kind::Get;
            if unknown && (no_effect || (hidden && is_unseen(operation, operations))) {
                continue;
            }
            let bit = unknown.then_some(unknown_count);
            unknown_count += usize::from(unknown);
            let alike = bit.and_then(|bit| newest.insert(&operation.kind, bit));
            let word = scramble(position as u64 + 1);
            let refused_by = Vec::new();
            items.push(Item { operation, position, unknown: bit, alike, word, refused_by });
        }
        Self {
            events: Events::new(&items),
            values: Values::default(),
            state: ABSENT,
            placed: Vec::new(),
            known_left: items.iter().filter(|item| item.unknown.is_none()).count(),
            known_hash: 0,
            unknown_used: vec![0; unknown_count.div_ceil(64)],
            visited: HashMap::new(),
            steps: 0,
            operations: items,
        }
    }

    fn run(mut self) -> Found {
        let mut at = self.events.first();
        let mut furthest = (usize::MAX, 0);
        while self.known_left > 0 {
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return Found::TooMany;
            }
            match self.events.get(at) {
                Some(Event::Call(item)) => {
                    if self.try_to_place(item) {
                        at = self.events.first();
                    } else {
                        at = self.events.after(at);
                    }
                }
                blocked => {
                    if let Some(Event::Return(item)) = blocked
                        && self.known_left < furthest.0
                    {
                        furthest = (self.known_left, item);
                    }
                    match self.take_back() {
                        Some(next) => at = next,
                        None => return self.misfit(furthest.1),
                    }
                }
            }
        }
        Found::Order
    }

    fn misfit(&self, item: usize) -> Found {
        let Item { position, refused_by, .. } = &self.operations[item];
        let states = refused_by.iter().map(|state| self.values.value(*state).cloned()).collect();
        Found::Misfit { position: *position, states }
    }

    /// Places the operation if its answer fits the state, and that was not tried before.
    fn try_to_place(&mut self, item: usize) -> bool {
        if self.operations[item].alike.is_some_and(|bit| !self.is_used(bit)) {
            return false;
        }
        let Some(next) = self.values.apply(self.state, self.operations[item].operation) else {
            let refused_by = &mut self.operations[item].refused_by;
            if refused_by.len() < STATES_MAX && !refused_by.contains(&self.state) {
                refused_by.push(self.state);
            }
            return false;
        };
        // An unknown operation without effect need not be placed.
        let is_unknown = self.operations[item].unknown.is_some();
        if (is_unknown && next == self.state) || !self.needs_the_last(item, next) {
            return false;
        }
        let before = self.state;
        self.mark(item);
        self.state = next;
        if !self.is_new(is_unknown.then_some((item, before))) {
            self.mark(item);
            self.state = before;
            return false;
        }
        self.events.lift(item);
        self.known_left -= usize::from(self.operations[item].unknown.is_none());
        self.placed.push((item, before));
        true
    }

    /// Whether the operation would not be what it is without the unknown one that was
    /// placed last, if one was. `next` is the state after both.
    fn needs_the_last(&mut self, item: usize, next: ValueId) -> bool {
        let Some(&(last, before)) = self.placed.last() else { return true };
        if self.operations[last].unknown.is_none() {
            return true;
        }
        let without = self.values.apply(before, self.operations[item].operation);
        let is_known = self.operations[item].unknown.is_none();
        let appends = matches!(self.operations[item].operation.kind, Kind::Append { .. });
        if is_known && !appends { without.is_none() } else { without != Some(next) }
    }

    /// Whether the unknown operation with this bit is placed.
    fn is_used(&self, bit: usize) -> bool {
        self.unknown_used[bit / 64] >> (bit % 64) & 1 == 1
    }

    /// Toggles the operation in the configuration.
    fn mark(&mut self, item: usize) {
        match self.operations[item].unknown {
            Some(bit) => self.unknown_used[bit / 64] ^= 1 << (bit % 64),
            None => self.known_hash ^= self.operations[item].word,
        }
    }

    /// Whether no configuration was visited that could do all that this one can.
    fn is_new(&mut self, needed: Option<(usize, ValueId)>) -> bool {
        let Self { known_hash, state, ref unknown_used, .. } = *self;
        let free = Configuration { known_hash, state, needed: None };
        let this = Configuration { needed, ..free };
        let covers = |other: &Vec<u64>| {
            other.iter().zip(unknown_used).all(|(other, used)| other & !used == 0)
        };
        for configuration in [free, this] {
            let visited = self.visited.get(&configuration).map_or(&[][..], Vec::as_slice);
            self.steps += visited.len() as u64;
            if visited.iter().any(covers) {
                return false;
            }
        }
        self.visited.entry(this).or_default().push(unknown_used.clone());
        true
    }

    /// Takes back the newest placement that might have been another, and goes on behind
    /// its call. None when there is none.
    fn take_back(&mut self) -> Option<usize> {
        while let Some((item, before)) = self.placed.pop() {
            self.mark(item);
            self.state = before;
            self.events.put_back(item);
            self.known_left += usize::from(self.operations[item].unknown.is_none());
            if !changed_nothing(self.operations[item].operation) {
                return Some(self.events.after(self.events.call_of(item)));
            }
        }
        None
    }
}

/// Calls and returns in the order of time, as a list from which placed operations are
/// taken out and into which they are put back.
struct Events {
    list: Vec<Node>,
    /// Where each operation's call stands.
    calls: Vec<usize>,
    returns: Vec<Option<usize>>,
}

#[derive(Clone, Copy)]
struct Node {
    event: Option<Event>,
    previous: usize,
    next: usize,
}

#[derive(Clone, Copy)]
enum Event {
    Call(usize),
    Return(usize),
}

/// The head of the list, which is also its end.
const HEAD: usize = 0;

impl Events {
    fn new(items: &[Item<'_>]) -> Self {
        // At one instant calls come before returns: such operations overlap.
        let mut moments: Vec<(u64, u8, usize)> = Vec::new();
        for (item, Item { operation, unknown, .. }) in items.iter().enumerate() {
            moments.push((operation.call, 0, item));
            if let (None, Some(ret)) = (unknown, operation.ret) {
                moments.push((ret, 1, item));
            }
        }
        moments.sort_unstable();
        let length = moments.len() + 1;
        let mut events = Self {
            list: vec![Node { event: None, previous: length - 1, next: 1 % length }],
            calls: vec![HEAD; items.len()],
            returns: vec![None; items.len()],
        };
        for (place, (_, is_return, item)) in moments.into_iter().enumerate() {
            let at = place + 1;
            let event = if is_return == 1 {
                events.returns[item] = Some(at);
                Event::Return(item)
            } else {
                events.calls[item] = at;
                Event::Call(item)
            };
            events.list.push(Node { event: Some(event), previous: place, next: (at + 1) % length });
        }
        events
    }

    fn first(&self) -> usize {
        self.list[HEAD].next
    }

    fn after(&self, at: usize) -> usize {
        self.list[at].next
    }

    fn get(&self, at: usize) -> Option<Event> {
        self.list[at].event
    }

    fn call_of(&self, item: usize) -> usize {
        self.calls[item]
    }

    fn lift(&mut self, item: usize) {
        self.unlink(self.calls[item]);
        if let Some(at) = self.returns[item] {
            self.unlink(at);
        }
    }

    /// Undoes [`Self::lift`]; placements are taken back in the opposite order.
    fn put_back(&mut self, item: usize) {
        if let Some(at) = self.returns[item] {
            self.link(at);
        }
        self.link(self.calls[item]);
    }

    fn unlink(&mut self, at: usize) {
        let Node { previous, next, .. } = self.list[at];
        self.list[previous].next = next;
        self.list[next].previous = previous;
    }

    fn link(&mut self, at: usize) {
        let Node { previous, next, .. } = self.list[at];
        self.list[previous].next = at;
        self.list[next].previous = at;
    }
}

/// Whether the answer alone tells that the operation changed nothing, in whatever state it
/// was executed. A put of what stood there already changed nothing either, but there may
/// be another state in which it is needed.
fn changed_nothing(operation: &Operation) -> bool {
    matches!(operation.out, Output::Value(_) | Output::Bool(false))
}

/// Whether nothing in the history can tell of a value except by naming it. A failed
/// comparison, a removal, a sum or an append tell that something stood there, whatever
/// it was.
fn hides_nothing(operations: &[&Operation]) -> bool {
    operations.iter().all(|operation| match operation.kind {
        Kind::Put { .. } | Kind::Get => true,
        Kind::CompareAndSwap { .. } => operation.out == Output::Bool(true),
        Kind::Delete | Kind::Append { .. } | Kind::Increment { .. } => false,
    })
}

/// Whether nobody names the value that an unknown operation may have written.
fn is_unseen(unknown: &Operation, operations: &[&Operation]) -> bool {
    let (Kind::Put { value } | Kind::CompareAndSwap { value, .. }) = &unknown.kind else {
        return false;
    };
    !operations.iter().any(|operation| {
        operation.out == Output::Value(Some(value.clone()))
            || matches!(&operation.kind,
                Kind::CompareAndSwap { expected, .. } if expected.as_ref() == Some(value))
    })
}

/// A word that looks random, the same in every run.
fn scramble(number: u64) -> u64 {
    let mut word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}
