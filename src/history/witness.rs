//! The short way: where every answer names its log index, the log itself is the order.
//!
//! An order that explains all answers proves the history, however it was found. So the
//! answered operations are tried in the order of their indexes, and where an answer does
//! not fit, unknown ones are put before it that make it fit. If that leads nowhere,
//! nothing is proved, and the search of all orders decides.

use super::values::{ABSENT, ValueId, Values};
use super::{Kind, Operation, Status};

/// How many unknown operations may be put before one answered one.
const UNKNOWN_BETWEEN_MAX: usize = 3;

/// Whether the order of the log indexes explains these operations, all of one key.
pub(super) fn explains(operations: &[&Operation]) -> bool {
    let (mut answered, mut unknown): (Vec<&Operation>, Vec<&Operation>) =
        operations.iter().partition(|operation| operation.status == Status::Ok);
    if answered.iter().any(|operation| operation.index.is_none()) {
        return false;
    }
    // A read at an index sees the entry that stands there.
    answered.sort_by_key(|read| (read.index, read.kind == Kind::Get, read.call));
    unknown.sort_by_key(|operation| operation.call);
    let mut order = Order { values: Values::default(), state: ABSENT, latest_call: 0, unknown };
    answered.into_iter().all(|operation| order.place(operation))
}

struct Order<'a> {
    values: Values,
    state: ValueId,
    /// The latest call of those placed: none after them may have returned before.
    latest_call: u64,
    /// The unknown operations that are not placed.
    unknown: Vec<&'a Operation>,
}

impl Order<'_> {
    fn place(&mut self, operation: &Operation) -> bool {
        let Some(next) = (0..=UNKNOWN_BETWEEN_MAX).find_map(|count| self.reach(count, operation))
        else {
            return false;
        };
        self.state = next;
        self.latest_call = self.latest_call.max(operation.call);
        operation.ret.is_some_and(|ret| ret >= self.latest_call)
    }

    /// The state after the operation, with exactly `count` unknown ones put before it.
    fn reach(&mut self, count: usize, operation: &Operation) -> Option<ValueId> {
        if count == 0 {
            return self.values.apply(self.state, operation);
        }
        let before = (self.state, self.latest_call);
        for place in 0..self.unknown.len() {
            let unknown = self.unknown[place];
            let began = operation.ret.is_some_and(|ret| unknown.call <= ret);
            let changed = self.values.apply(self.state, unknown);
            let Some(changed) = changed.filter(|next| began && *next != self.state) else {
                continue;
            };
            self.unknown.remove(place);
            self.state = changed;
            self.latest_call = self.latest_call.max(unknown.call);
            if let Some(next) = self.reach(count - 1, operation) {
                return Some(next);
            }
            self.unknown.insert(place, unknown);
            (self.state, self.latest_call) = before;
        }
        None
    }
}
