//! Stale reads, and what must hold of them although they are not linearizable.
//!
//! docs/guarantees.md: a stale read "is answered from the asked node's own committed
//! state". So it shows the last write at or below its index, that index never goes back
//! in one life of a node, and the state is no older than the answer says.

use bytes::Bytes;

use super::clock::TRUE_RATE;
use crate::codec::Reader;
use crate::history::{Kind, Operation, Output, Status};
use crate::types::{DirectoryId, LifeId};
use crate::wire::ListedValue;

/// A stale read that was answered.
#[derive(Clone, Debug)]
pub struct StaleRead {
    /// About which key.
    pub key: Bytes,
    /// When it began.
    pub call: u64,
    /// When its answer came.
    pub ret: u64,
    /// The directory that answered, and its start.
    pub life: (DirectoryId, LifeId),
    /// The index that was answered.
    pub index: u64,
    /// The most that the state can be old when the answer is there, in microseconds, if known.
    pub age: Option<u64>,
    /// The answer: the key's [`ListedValue`], or nothing.
    pub bytes: Bytes,
}

/// Checks the reads against each other and against all that is known of the writes. A node's
/// age is by its own clock, of which the slowest runs at this rate.
///
/// # Errors
/// What does not hold of which read.
pub fn check(reads: &[StaleRead], history: &[Operation], slowest: u64) -> Result<(), String> {
    for read in reads {
        let checked = check_value(read, history)
            .and_then(|()| check_age(read, history, slowest))
            .and_then(|()| check_order(read, reads));
        checked.map_err(|broken| format!("a stale read: {broken}: {read:?}"))?;
    }
    Ok(())
}

fn check_value(read: &StaleRead, history: &[Operation]) -> Result<(), String> {
    let of_key = || history.iter().filter(|operation| operation.key == read.key);
    let last = of_key().filter_map(effect).filter(|(at, _)| *at <= read.index).max();
    let Some(found) = read.found()? else {
        let unknown_delete = |operation: &Operation| {
            operation.kind == Kind::Delete && operation.status == Status::Unknown
        };
        return match last {
            Some((at, Some(_))) if !of_key().any(unknown_delete) => {
                Err(format!("it misses the value written at index {at}"))
            }
            _ => Ok(()),
        };
    };
    let version = found.version.0;
    let writer = of_key().find(|operation| written(operation) == Some(&found.value));
    let writer = writer.ok_or("it shows what nobody wrote")?;
    let knows_version = effect(writer).is_some_and(|(at, _)| at == version);
    if writer.status != Status::Unknown && !knows_version {
        return Err(format!("index {version} did not write what it shows"));
    }
    if version > read.index {
        return Err(format!("it shows what index {version} wrote"));
    }
    match last {
        Some((at, _)) if at > version => Err(format!("it hides what index {at} wrote")),
        _ => Ok(()),
    }
}

/// Everything that was acknowledged before the state's age is in the state.
fn check_age(read: &StaleRead, history: &[Operation], slowest: u64) -> Result<(), String> {
    let Some(age) = read.age else { return Ok(()) };
    let age = age.saturating_mul(TRUE_RATE).div_ceil(slowest);
    let before = |ret: u64| ret.saturating_add(age) <= read.ret;
    let missed = history
        .iter()
        .filter(|operation| operation.status == Status::Ok && operation.ret.is_some_and(before))
        .find(|operation| operation.index > Some(read.index));
    match missed {
        Some(missed) => Err(format!("it is older than it says, and lacks {missed:?}")),
        None => Ok(()),
    }
}

/// What the same life of the node answered earlier was no newer.
fn check_order(read: &StaleRead, reads: &[StaleRead]) -> Result<(), String> {
    let mut earlier =
        reads.iter().filter(|other| other.life == read.life && other.ret <= read.call);
    match earlier.find(|other| other.index > read.index) {
        Some(other) => Err(format!("the node was at index {} before", other.index)),
        None => Ok(()),
    }
}

impl StaleRead {
    fn found(&self) -> Result<Option<ListedValue>, &'static str> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let mut reader = Reader::new(self.bytes.clone());
        let found = ListedValue::decode(&mut reader).map_err(|_| "its answer is torn")?;
        reader.finish().map_err(|_| "its answer has bytes left over")?;
        Ok(Some(found))
    }
}

/// The value that the operation writes, if it has an effect.
fn written(operation: &Operation) -> Option<&Bytes> {
    match &operation.kind {
        Kind::Put { value } | Kind::CompareAndSwap { value, .. } => Some(value),
        _ => None,
    }
}

/// Where the operation is known to have had an effect, and what it left there.
fn effect(operation: &Operation) -> Option<(u64, Option<&Bytes>)> {
    let at = operation.index.filter(|_| operation.status == Status::Ok)?;
    match (&operation.kind, &operation.out) {
        (Kind::Put { value }, _) | (Kind::CompareAndSwap { value, .. }, Output::Bool(true)) => {
            Some((at, Some(value)))
        }
        (Kind::Delete, _) => Some((at, None)),
        _ => None,
    }
}
