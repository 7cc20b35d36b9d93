//! One client of a bench: what it has under way, and what it makes of the answer.

use std::time::Duration;

use bytes::Bytes;

use super::workload::{Known, Task};
use crate::client::{Answer, AskId};
use crate::codec::Reader;
use crate::history::{Kind, Operation, Output, Status};
use crate::operation::{Outcome, Settled};
use crate::time::Instant;
use crate::types::LogIndex;
use crate::wire::ListedValue;

/// One client of a bench.
#[derive(Debug)]
pub struct Caller {
    /// Its number in the history.
    pub number: u64,
    known: Option<Known>,
    pending: Option<Pending>,
}

/// What a client has under way.
#[derive(Debug)]
struct Pending {
    id: AskId,
    /// When it was to begin, which is what its latency counts from.
    intended: Instant,
    of_counter: bool,
    operation: Operation,
    /// What a read has brought so far.
    bytes: Vec<u8>,
}

/// An operation that is over.
#[derive(Debug)]
pub struct Ended {
    /// As the history tells it, but for the time of its answer.
    pub operation: Operation,
    /// From when it was to begin.
    pub latency: Duration,
    /// Why it was not answered.
    pub complaint: Option<String>,
}

impl Caller {
    /// A client that has not begun anything.
    pub fn new(number: u64) -> Self {
        Self { number, known: None, pending: None }
    }

    /// What it learned last of a key that is no counter.
    pub fn known(&self) -> Option<&Known> {
        self.known.as_ref()
    }

    /// The task was asked as `id`, was to begin at `intended`, and began at `call` on the
    /// history's clock.
    pub fn begin(&mut self, task: Task, id: AskId, intended: Instant, call: u64) {
        let operation = Operation {
            client: self.number,
            kind: task.kind,
            key: task.key,
            call,
            ret: None,
            status: Status::Unknown,
            out: Output::None,
            index: None,
            line: 0,
        };
        let of_counter = task.of_counter;
        self.pending = Some(Pending { id, intended, of_counter, operation, bytes: Vec::new() });
    }

    /// The next bytes of a read's answer.
    pub fn take_bytes(&mut self, id: AskId, bytes: &Bytes) {
        if let Some(pending) = self.pending.as_mut().filter(|pending| pending.id == id) {
            pending.bytes.extend_from_slice(bytes);
        }
    }

    /// What was asked as `id` is over.
    pub fn end(&mut self, id: AskId, answer: Answer, now: Instant) -> Option<Ended> {
        let mut pending = self.pending.take_if(|pending| pending.id == id)?;
        let operation = &mut pending.operation;
        let answered = match answer {
            Answer::Settled(settled) => settle(operation, &settled),
            Answer::Read { index, .. } => read(operation, index, pending.bytes),
            Answer::Refused(why) | Answer::NoAnswer(why) => Err((Status::Fail, why)),
            Answer::Unknown(why) => Err((Status::Unknown, why)),
        };
        let (status, complaint) = match answered {
            Ok(learned) => {
                if !pending.of_counter && learned.is_some() {
                    self.known = learned;
                }
                (Status::Ok, None)
            }
            Err((status, why)) => (status, Some(why)),
        };
        operation.status = status;
        let latency = now.since(pending.intended);
        Some(Ended { operation: pending.operation, latency, complaint })
    }

    /// Gives up what is under way: its outcome is unknown.
    pub fn give_up(&mut self, now: Instant) -> Option<Ended> {
        let pending = self.pending.take()?;
        let latency = now.since(pending.intended);
        let complaint = Some("the run was broken off".to_owned());
        Some(Ended { operation: pending.operation, latency, complaint })
    }
}

/// What an answer tells of the key, if anything; or what else came, and why.
type Learned = Result<Option<Known>, (Status, String)>;

/// Notes the answer to a write.
fn settle(operation: &mut Operation, settled: &Settled) -> Learned {
    let known = |found| Some(Known { key: operation.key.clone(), found });
    let (out, learned) = match (&settled.outcome, &operation.kind) {
        (Outcome::Written, Kind::Put { value }) => {
            (Output::None, known(Some((settled.index, value.clone()))))
        }
        (Outcome::Written, Kind::CompareAndSwap { value, .. }) => {
            (Output::Bool(true), known(Some((settled.index, value.clone()))))
        }
        (Outcome::CompareFailed { .. }, _) => (Output::Bool(false), None),
        (Outcome::Deleted { existed }, _) => (Output::Bool(*existed), known(None)),
        (Outcome::Incremented { total }, _) => (Output::Total(*total), None),
        (refused, _) => return Err((Status::Fail, format!("not done: {refused:?}"))),
    };
    operation.out = out;
    operation.index = Some(settled.index.0);
    Ok(learned)
}

/// Notes the answer to a read: no bytes when the key is absent.
fn read(operation: &mut Operation, index: LogIndex, bytes: Vec<u8>) -> Learned {
    let found = if bytes.is_empty() {
        None
    } else {
        let found = ListedValue::decode(&mut Reader::new(bytes.into()));
        let malformed = |_| (Status::Fail, "the answer to a read is malformed".to_owned());
        Some(found.map_err(malformed)?)
    };
    operation.out = Output::Value(found.as_ref().map(|found| found.value.clone()));
    operation.index = Some(index.0);
    let found = found.map(|found| (found.version, found.value));
    Ok(Some(Known { key: operation.key.clone(), found }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Ask;
    use crate::operation;

    const ID: AskId = AskId(9);

    /// What comes of one operation that is answered so, and what its client then knows.
    fn end(kind: Kind, bytes: &[u8], answer: Answer) -> (Ended, Option<Known>) {
        let mut caller = Caller::new(4);
        let ask = Ask::Execute(operation::Operation::Delete { key: "k".into() });
        let task = Task { ask, key: "k".into(), kind, of_counter: false };
        caller.begin(task, ID, Instant(100), 7);
        caller.take_bytes(ID, &Bytes::copy_from_slice(bytes));
        let ended = caller.end(ID, answer, Instant(350)).unwrap();
        assert!(caller.give_up(Instant(351)).is_none());
        (ended, caller.known().cloned())
    }

    fn settled(outcome: Outcome) -> Answer {
        Answer::Settled(Settled { index: LogIndex(5), outcome })
    }

    fn known(found: Option<(u64, &'static str)>) -> Known {
        let found = found.map(|(version, value)| (LogIndex(version), value.into()));
        Known { key: "k".into(), found }
    }

    #[test]
    fn latency_counts_from_the_intended_start() {
        let (ended, _) = end(Kind::Delete, &[], settled(Outcome::Deleted { existed: true }));
        assert_eq!(ended.latency, Duration::from_micros(250));
        assert_eq!((ended.operation.client, ended.operation.call), (4, 7));
    }

    #[test]
    fn answers_are_told_and_learned_from() {
        let value = Bytes::from("v");
        let put = Kind::Put { value: value.clone() };
        let cas = Kind::CompareAndSwap { expected: None, value };
        let failed = Outcome::CompareFailed { version: None, value: None };
        let mut page = Vec::new();
        ListedValue { key: "k".into(), version: LogIndex(3), value: "old".into() }
            .encode(&mut page);
        let read = Answer::Read { index: LogIndex(5), age: None };
        for (kind, bytes, answer, out, learned) in [
            (put, &[][..], settled(Outcome::Written), Output::None, Some(known(Some((5, "v"))))),
            (
                cas.clone(),
                &[],
                settled(Outcome::Written),
                Output::Bool(true),
                Some(known(Some((5, "v")))),
            ),
            (cas, &[], settled(failed), Output::Bool(false), None),
            (
                Kind::Delete,
                &[],
                settled(Outcome::Deleted { existed: false }),
                Output::Bool(false),
                Some(known(None)),
            ),
            (
                Kind::Increment { by: 10 },
                &[],
                settled(Outcome::Incremented { total: 30 }),
                Output::Total(30),
                None,
            ),
            (
                Kind::Get,
                &page,
                read.clone(),
                Output::Value(Some("old".into())),
                Some(known(Some((3, "old")))),
            ),
            (Kind::Get, &[], read, Output::Value(None), Some(known(None))),
        ] {
            let (ended, knows) = end(kind.clone(), bytes, answer);
            let operation = &ended.operation;
            assert_eq!((operation.status, &operation.out), (Status::Ok, &out), "{kind:?}");
            assert_eq!((operation.index, knows), (Some(5), learned), "{kind:?}");
            assert_eq!(ended.complaint, None);
        }
    }

    #[test]
    fn what_is_not_answered_is_told_as_without_effect_or_unknown() {
        let put = || Kind::Put { value: "v".into() };
        for (answer, status) in [
            (Answer::Refused("no".into()), Status::Fail),
            (Answer::NoAnswer("no".into()), Status::Fail),
            (settled(Outcome::NotANumber), Status::Fail),
            (Answer::Unknown("no".into()), Status::Unknown),
        ] {
            let (ended, knows) = end(put(), &[], answer);
            assert_eq!((ended.operation.status, knows), (status, None));
            assert_eq!((ended.operation.out, ended.operation.index), (Output::None, None));
            assert!(ended.complaint.is_some());
        }
    }
}
