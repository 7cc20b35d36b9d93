//! The checker's slow twin, which tries every order, and histories to try them on.

use bytes::Bytes;
use quorate::history::{Kind, Operation, Output, Status};

/// What stands under the one key.
type State = Option<Bytes>;

/// Whether some order of the operations explains all answers: by trying them all.
pub fn is_linearizable(operations: &[Operation]) -> bool {
    let done: Vec<bool> =
        operations.iter().map(|operation| operation.status == Status::Fail).collect();
    can_go_on(operations, &done, &None)
}

fn can_go_on(operations: &[Operation], done: &[bool], state: &State) -> bool {
    let left = || (0..operations.len()).filter(|at| !done[*at]);
    if left().all(|at| operations[at].status == Status::Unknown) {
        return true;
    }
    let first_return = left().filter_map(|at| operations[at].ret).min().unwrap_or(u64::MAX);
    let may_be_next = left().filter(|at| operations[*at].call <= first_return);
    may_be_next.into_iter().any(|at| {
        let Some((next, out)) = execute(state, &operations[at].kind) else { return false };
        let fits = operations[at].status == Status::Unknown || operations[at].out == out;
        let mut done = done.to_vec();
        done[at] = true;
        fits && can_go_on(operations, &done, &next)
    })
}

/// The state after an operation, and its answer. None when it is refused, since what
/// stands there is no number.
fn execute(state: &State, kind: &Kind) -> Option<(State, Output)> {
    Some(match kind {
        Kind::Put { value } => (Some(value.clone()), Output::None),
        Kind::Get => (state.clone(), Output::Value(state.clone())),
        Kind::CompareAndSwap { expected, value } if expected == state => {
            (Some(value.clone()), Output::Bool(true))
        }
        Kind::CompareAndSwap { .. } => (state.clone(), Output::Bool(false)),
        Kind::Delete => (None, Output::Bool(state.is_some())),
        Kind::Append { value } => {
            let joined = [state.as_deref().unwrap_or_default(), value].concat();
            (Some(joined.into()), Output::None)
        }
        Kind::Increment { by } => {
            let text = std::str::from_utf8(state.as_deref().unwrap_or(b"0")).ok()?;
            let total = text.parse::<i64>().ok()? + by;
            (Some(total.to_string().into()), Output::Total(total))
        }
    })
}

/// A short history of one key, with answers that are often right.
pub fn draw_history(random: &mut fastrand::Rng) -> Vec<Operation> {
    let mut operations = Vec::new();
    let mut state = None;
    for number in 0..random.u64(2..8) {
        let kind = draw_kind(random);
        let Some((next, out)) = execute(&state, &kind) else { continue };
        // Operations take effect at 10, 20, 30 and so on, unless they are spoilt below.
        let moment = 10 * (number + 1);
        let (call, ret) = (moment - random.u64(..25).min(moment), moment + random.u64(..25));
        let (status, ret) = match random.u8(..8) {
            0 => (Status::Unknown, None),
            1 => (Status::Fail, Some(ret)),
            _ => (Status::Ok, Some(ret)),
        };
        if status == Status::Ok || (status == Status::Unknown && random.bool()) {
            state = next;
        }
        let spoilt = execute(&draw_state(random), &kind).filter(|_| random.u8(..4) == 0);
        let out = spoilt.map_or(out, |(_, out)| out);
        let out = if status == Status::Ok { out } else { Output::None };
        let line = operations.len() + 1;
        let (key, index) = (Bytes::from("k"), None);
        operations.push(Operation {
            client: number,
            kind,
            key,
            call,
            ret,
            status,
            out,
            index,
            line,
        });
    }
    random.shuffle(&mut operations);
    operations
}

/// Few values, all of them numbers, so that operations of every kind meet.
fn draw_kind(random: &mut fastrand::Rng) -> Kind {
    let value = draw_state(random).unwrap_or_else(|| "3".into());
    match random.u8(..7) {
        0 | 1 => Kind::Put { value },
        2 => Kind::CompareAndSwap { expected: draw_state(random), value },
        3 => Kind::Delete,
        4 => Kind::Append { value: if random.bool() { value } else { Bytes::new() } },
        5 => Kind::Increment { by: random.i64(0..3) },
        _ => Kind::Get,
    }
}

fn draw_state(random: &mut fastrand::Rng) -> State {
    random.bool().then(|| random.u8(1..4).to_string().into())
}

/// What sixteen clients see of a store that does everything right: a long history of a
/// hundred keys, each operation taking effect between its call and its answer.
pub fn run_clients(count: usize, random: &mut fastrand::Rng) -> Vec<Operation> {
    let mut states: Vec<State> = vec![None; 100];
    let mut operations = Vec::new();
    for number in 0..count as u64 {
        let key = random.usize(..states.len());
        let value = Bytes::from(number.to_string());
        let kind = match random.u8(..10) {
            0..=2 => Kind::Put { value },
            3 => Kind::CompareAndSwap { expected: states[key].clone(), value },
            4 => Kind::Delete,
            _ => Kind::Get,
        };
        // Sixteen clients overlap each other's operations.
        let (call, ret) = (1_000 * number, 1_000 * number + random.u64(1_000..16_000));
        let is_unknown = random.u8(..100) == 0;
        let (next, out) = execute(&states[key], &kind).expect("nothing is refused here");
        if !is_unknown || random.bool() {
            states[key] = next;
        }
        operations.push(Operation {
            client: number % 16,
            kind,
            key: format!("key-{key}").into(),
            call: call.saturating_sub(random.u64(..1_000)),
            ret: (!is_unknown).then_some(ret),
            status: if is_unknown { Status::Unknown } else { Status::Ok },
            out: if is_unknown { Output::None } else { out },
            index: None,
            line: operations.len() + 1,
        });
    }
    operations
}
