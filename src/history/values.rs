//! What operations do to the one value of a key.

use std::collections::HashMap;

use bytes::Bytes;

use super::{Kind, Operation, Output, Status};
use crate::store::parse_number;

/// A value's number.
pub type ValueId = usize;
/// The number that stands for no value at all.
pub const ABSENT: ValueId = 0;

/// The values that the key ever had, by number.
#[derive(Default)]
pub struct Values {
    numbers: HashMap<Bytes, ValueId>,
    values: Vec<Bytes>,
}

impl Values {
    fn number(&mut self, value: &Bytes) -> ValueId {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        self.values.push(value.clone());
        self.numbers.insert(value.clone(), self.values.len());
        self.values.len()
    }

    /// The value of this number; none: absent.
    pub fn value(&self, number: ValueId) -> Option<&Bytes> {
        self.values.get(number.checked_sub(1)?)
    }

    /// The state after the operation, if its answer fits the state before it. What is
    /// not known to have been answered fits wherever it has an effect.
    pub fn apply(&mut self, state: ValueId, operation: &Operation) -> Option<ValueId> {
        let known = operation.status == Status::Ok;
        let answers = |out: &Output| !known || operation.out == *out;
        match &operation.kind {
            Kind::Put { value } => Some(self.number(value)),
            Kind::Append { value } => {
                let mut joined = self.value(state).map_or_else(Vec::new, |value| value.to_vec());
                joined.extend_from_slice(value);
                Some(self.number(&joined.into()))
            }
            Kind::Get => answers(&Output::Value(self.value(state).cloned())).then_some(state),
            Kind::Delete => answers(&Output::Bool(state != ABSENT)).then_some(ABSENT),
            Kind::CompareAndSwap { expected, value } => {
                let fits = self.value(state) == expected.as_ref();
                let next = if fits { self.number(value) } else { state };
                answers(&Output::Bool(fits)).then_some(next)
            }
            Kind::Increment { by } => {
                let number = self.value(state).map_or(Some(0), |value| parse_number(value));
                let total = number.and_then(|number: i64| number.checked_add(*by))?;
                answers(&Output::Total(total)).then(|| self.number(&Bytes::from(total.to_string())))
            }
        }
    }
}
