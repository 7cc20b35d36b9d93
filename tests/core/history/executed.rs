//! Histories of a store that did everything right.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use quorate::history::{Kind, Operation, Output, Status};

use super::model::{self, Values};

/// One operation as it is going to happen.
#[derive(Clone, Debug)]
pub struct Plan {
    pub client: u64,
    pub key: Bytes,
    pub kind: Kind,
    /// How long the client waits before it asks.
    pub pause: u64,
    /// How long after the call it takes effect.
    pub effect_after: u64,
    /// How long after that the client stops waiting.
    pub return_after: u64,
    pub fate: Fate,
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It takes effect and is answered.
    Answered,
    /// It takes effect, at once or this much later, and is not answered.
    Unanswered { later: u64 },
    /// It has no effect and is not answered.
    Lost,
}

pub fn plan(clients: u64) -> impl Strategy<Value = Plan> {
    let times = (0..3_u64, 0..8_u64, 0..8_u64);
    (0..clients, key(), kind(), times, fate()).prop_map(
        |(client, key, kind, (pause, effect_after, return_after), fate)| Plan {
            client,
            key,
            kind,
            pause,
            effect_after,
            return_after,
            fate,
        },
    )
}

fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![5 => Just("k"), 1 => Just("l")].prop_map(Bytes::from)
}

pub fn value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "b", "1", "2"]).prop_map(Bytes::from)
}

fn kind() -> impl Strategy<Value = Kind> {
    let expected = prop::option::of(value());
    prop_oneof![
        3 => value().prop_map(|value| Kind::Put { value }),
        4 => Just(Kind::Get),
        2 => (expected, value())
            .prop_map(|(expected, value)| Kind::CompareAndSwap { expected, value }),
        1 => Just(Kind::Delete),
        1 => value().prop_map(|value| Kind::Append { value }),
        2 => (-1..3_i64).prop_map(|by| Kind::Increment { by }),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Answered),
        1 => (0..9_u64).prop_map(|later| Fate::Unanswered { later }),
        1 => Just(Fate::Lost),
    ]
}

/// Lets the plans happen: each client does its own one after the other, and each takes
/// effect at its moment. The history is in the order of the plans.
pub fn happen(plans: &[Plan]) -> Vec<Operation> {
    let mut clocks: BTreeMap<u64, u64> = BTreeMap::new();
    let mut history = Vec::new();
    let mut moments = Vec::new();
    for (place, plan) in plans.iter().enumerate() {
        let clock = clocks.entry(plan.client).or_default();
        let call = *clock + plan.pause;
        let effect = call + plan.effect_after;
        let ret = effect + plan.return_after;
        *clock = ret + 1;
        match plan.fate {
            Fate::Answered => moments.push((effect, place)),
            Fate::Unanswered { later } => moments.push((effect + later, place)),
            Fate::Lost => {}
        }
        history.push(unanswered(plan, call, ret, place));
    }
    moments.sort_unstable();
    let mut values = Values::new();
    for ((_, place), index) in moments.into_iter().zip(1..) {
        let Plan { key, kind, fate, .. } = &plans[place];
        let answer = model::execute(&mut values, key, kind);
        let operation = &mut history[place];
        operation.index = (*fate == Fate::Answered).then_some(index);
        match answer {
            Some(out) if *fate == Fate::Answered => operation.out = out,
            None if *fate == Fate::Answered => operation.status = Status::Fail,
            _ => {}
        }
    }
    history
}

/// The same history as clients tell it that learn no index.
pub fn without_indexes(mut history: Vec<Operation>) -> Vec<Operation> {
    for operation in &mut history {
        operation.index = None;
    }
    history
}

fn unanswered(plan: &Plan, call: u64, ret: u64, place: usize) -> Operation {
    let answered = plan.fate == Fate::Answered;
    Operation {
        client: plan.client,
        kind: plan.kind.clone(),
        key: plan.key.clone(),
        call,
        ret: answered.then_some(ret),
        status: if answered { Status::Ok } else { Status::Unknown },
        out: Output::None,
        index: None,
        line: place + 1,
    }
}
