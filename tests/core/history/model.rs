//! What operations do to a store, and by brute force whether an order explains answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::history::{Kind, Operation, Output, Status};

/// The values that stand under keys.
pub type Values = BTreeMap<Bytes, Bytes>;

/// Does it. None when it is refused: then nothing has changed.
pub fn execute(values: &mut Values, key: &Bytes, kind: &Kind) -> Option<Output> {
    let found = values.get(key).cloned();
    match kind {
        Kind::Put { value } => {
            values.insert(key.clone(), value.clone());
            Some(Output::None)
        }
        Kind::Append { value } => {
            let joined = [found.unwrap_or_default(), value.clone()].concat();
            values.insert(key.clone(), joined.into());
            Some(Output::None)
        }
        Kind::Get => Some(Output::Value(found)),
        Kind::Delete => Some(Output::Bool(values.remove(key).is_some())),
        Kind::CompareAndSwap { expected, value } => {
            let fits = found == *expected;
            if fits {
                values.insert(key.clone(), value.clone());
            }
            Some(Output::Bool(fits))
        }
        Kind::Increment { by } => {
            let digits = found.unwrap_or_else(|| Bytes::from_static(b"0"));
            let number: i64 = str::from_utf8(&digits).ok()?.parse().ok()?;
            let total = number.checked_add(*by)?;
            values.insert(key.clone(), total.to_string().into());
            Some(Output::Total(total))
        }
    }
}

/// Tries every order of the operations.
pub fn is_linearizable(operations: &[Operation]) -> bool {
    let effective = operations.iter().filter(|operation| operation.status != Status::Fail);
    explains(&effective.collect::<Vec<_>>(), &Values::new())
}

/// Whether the operations that are left can go on from these values.
fn explains(left: &[&Operation], values: &Values) -> bool {
    if left.iter().all(|operation| operation.status == Status::Unknown) {
        return true;
    }
    (0..left.len()).any(|next| {
        let operation = left[next];
        let too_late = left.iter().any(|other| other.ret.is_some_and(|ret| ret < operation.call));
        let mut after = values.clone();
        let answer = execute(&mut after, &operation.key, &operation.kind);
        let fits = answer
            .is_some_and(|answer| operation.status == Status::Unknown || answer == operation.out);
        let others: Vec<_> = [&left[..next], &left[next + 1..]].concat();
        fits && !too_late && explains(&others, &after)
    })
}
