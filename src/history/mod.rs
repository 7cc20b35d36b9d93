//! Client-side histories, and whether they are linearizable.

mod checker;
#[cfg(feature = "daemon")]
pub mod json_lines;
mod values;
mod witness;

use std::collections::BTreeMap;

use bytes::Bytes;

pub use checker::STATES_MAX;

/// One operation as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The client, which has one operation at a time.
    pub client: u64,
    /// What it asked.
    pub kind: Kind,
    /// About which key.
    pub key: Bytes,
    /// When it began, on a clock that all clients share.
    pub call: u64,
    /// When its answer came; none when the outcome is unknown.
    pub ret: Option<u64>,
    /// How it ended.
    pub status: Status,
    /// What was answered.
    pub out: Output,
    /// The log index that was answered.
    pub index: Option<u64>,
    /// Where the history tells it, for messages.
    pub line: usize,
}

/// What an operation asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Sets the value.
    Put {
        /// The value.
        value: Bytes,
    },
    /// Reads it.
    Get,
    /// Sets it if it is as expected.
    CompareAndSwap {
        /// What is expected; none: absent.
        expected: Option<Bytes>,
        /// The new value.
        value: Bytes,
    },
    /// Removes it.
    Delete,
    /// Appends to it; absent is empty.
    Append {
        /// What is appended.
        value: Bytes,
    },
    /// Adds to the decimal number; absent is zero.
    Increment {
        /// The addend.
        by: i64,
    },
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It took effect and was answered.
    Ok,
    /// It certainly had no effect.
    Fail,
    /// It may have taken effect once, at any time after its call, or never.
    Unknown,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nothing beyond that it is done.
    None,
    /// The value read; none: absent.
    Value(Option<Bytes>),
    /// Whether it replaced, or was there to be removed.
    Bool(bool),
    /// The new total.
    Total(i64),
}

/// Whether a history is linearizable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Linearizable,
    /// It is not: this operation fits nowhere.
    NotLinearizable {
        /// Its place in the history.
        position: usize,
        /// What its key had wherever it could have stood; none: absent. At most
        /// [`STATES_MAX`] are told.
        states: Vec<Option<Bytes>>,
    },
    /// The search was given up: too many orders are possible.
    Undecided {
        /// The key whose operations were searched.
        key: Bytes,
    },
}

/// Checks a history. Keys are independent of each other, so each is checked alone.
pub fn check(operations: &[Operation]) -> Verdict {
    let mut by_key: BTreeMap<&Bytes, Vec<usize>> = BTreeMap::new();
    for (position, operation) in operations.iter().enumerate() {
        if operation.status != Status::Fail {
            by_key.entry(&operation.key).or_default().push(position);
        }
    }
    let mut undecided = None;
    for (key, positions) in by_key {
        let of_key: Vec<&Operation> = positions.iter().map(|at| &operations[*at]).collect();
        if witness::explains(&of_key) {
            continue;
        }
        match checker::check_key(&of_key) {
            checker::Found::Order => {}
            checker::Found::Misfit { position, states } => {
                return Verdict::NotLinearizable { position: positions[position], states };
            }
            checker::Found::TooMany => undecided = undecided.or(Some(key.clone())),
        }
    }
    undecided.map_or(Verdict::Linearizable, |key| Verdict::Undecided { key })
}
