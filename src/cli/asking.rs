//! One operation or one read, from the asking to its end.

use std::time::Instant;

use bytes::Bytes;

use super::args::ClientFlags;
use super::driver::Driver;
use super::exit::Failure;
use super::survey;
use crate::client::{Answer, Ask, Event};
use crate::operation::{Operation, Settled};
use crate::time::micros;
use crate::types::LogIndex;
use crate::wire::Query;

/// What a read was answered from.
#[derive(Clone, Copy, Debug)]
pub struct ReadFrom {
    /// The index of the state.
    pub index: LogIndex,
    /// Of a stale read: how old that could be then, in microseconds, if known.
    pub age: Option<u64>,
    /// When the whole answer was there, or a little before.
    pub known_at: Instant,
}

impl ReadFrom {
    /// How old the state of a stale read can be by now, in microseconds, if known. What was
    /// printed meanwhile may have had to wait for its reader.
    pub fn age_now(self) -> Option<u64> {
        self.age.map(|age| age.saturating_add(micros(self.known_at.elapsed())))
    }
}

/// Has the operation executed, in a session of its own. It costs the cluster one commit.
pub fn execute(flags: &ClientFlags, operation: Operation) -> Result<Settled, Failure> {
    match ask(flags, Ask::Execute(operation), |_| Ok(()))?.0 {
        Answer::Settled(settled) => Ok(settled),
        other => Err(failure(flags, other)),
    }
}

/// Reads, and hands the answer's bytes to `take` in order.
pub fn read(
    flags: &ClientFlags,
    query: Query,
    stale: bool,
    take: impl FnMut(Bytes) -> Result<(), Failure>,
) -> Result<ReadFrom, Failure> {
    let (answer, known_at) = ask(flags, Ask::Read { query, stale }, take)?;
    match answer {
        Answer::Read { index, age } => Ok(ReadFrom { index, age, known_at }),
        other => Err(failure(flags, other)),
    }
}

/// What came of it, and when that was there.
fn ask(
    flags: &ClientFlags,
    ask: Ask,
    mut take: impl FnMut(Bytes) -> Result<(), Failure>,
) -> Result<(Answer, Instant), Failure> {
    let mut driver = Driver::new(flags, 1, true, 1)?;
    let now = driver.now();
    driver.client(0).ask(now, ask);
    let mut turned_at = Instant::now();
    loop {
        while let Some(event) = driver.poll_event(0) {
            match event {
                Event::Bytes(_, bytes) => take(bytes)?,
                Event::Done(_, answer) => {
                    // The node still holds for this client what it may let go of.
                    driver.send();
                    return Ok((answer, turned_at));
                }
            }
        }
        if let Some(failure) = driver.strangers().failure() {
            return Err(failure);
        }
        let until = driver.now() + flags.timeout;
        driver.turn(until)?;
        turned_at = Instant::now();
    }
}

/// What did not come off, with who answers and who is missing.
fn failure(flags: &ClientFlags, answer: Answer) -> Failure {
    match answer {
        Answer::Refused(sentence) => Failure::refused(sentence),
        Answer::Unknown(sentence) | Answer::NoAnswer(sentence) => {
            Failure::no_answer(format!("{sentence}; {}", survey::take(flags).sentence()))
        }
        Answer::Settled(_) | Answer::Read { .. } => {
            Failure::refused("the answer is of another kind than the question")
        }
    }
}
