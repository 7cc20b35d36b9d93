//! Client-side histories, and whether they are linearizable. (stub)
#![allow(missing_docs)]
use bytes::Bytes;
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub client: u64,
    pub kind: Kind,
    pub key: Bytes,
    pub call: u64,
    pub ret: Option<u64>,
    pub status: Status,
    pub out: Output,
    pub index: Option<u64>,
    pub line: usize,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Put { value: Bytes },
    Get,
    CompareAndSwap { expected: Option<Bytes>, value: Bytes },
    Delete,
    Append { value: Bytes },
    Increment { by: i64 },
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok,
    Fail,
    Unknown,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    None,
    Value(Option<Bytes>),
    Bool(bool),
    Total(i64),
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    NotLinearizable { position: usize },
    Undecided,
}
pub fn check(_operations: &[Operation]) -> Verdict {
    Verdict::Linearizable
}
