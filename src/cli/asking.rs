//! One operation or one read, from the asking to its end.

use bytes::Bytes;

use super::args::ClientFlags;
use super::driver::Driver;
use super::exit::Failure;
use super::survey;
use crate::client::{Answer, Ask, Event};
use crate::operation::{Operation, Settled};
use crate::types::LogIndex;
use crate::wire::Query;

/// What a read was answered from.
#[derive(Clone, Copy, Debug)]
pub struct ReadFrom {
    /// The index of the state.
    pub index: LogIndex,
    /// Of a stale read: how old that can be, in microseconds, if known.
    pub age: Option<u64>,
}

/// Has the operation executed, in a session of its own. It costs the cluster one commit.
pub fn execute(flags: &ClientFlags, operation: Operation) -> Result<Settled, Failure> {
    match ask(flags, Ask::Execute(operation), |_| Ok(()))? {
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
    match ask(flags, Ask::Read { query, stale }, take)? {
        Answer::Read { index, age } => Ok(ReadFrom { index, age }),
        other => Err(failure(flags, other)),
    }
}

fn ask(
    flags: &ClientFlags,
    ask: Ask,
    mut take: impl FnMut(Bytes) -> Result<(), Failure>,
) -> Result<Answer, Failure> {
    let mut driver = Driver::new(flags, 1, true, 1)?;
    let now = driver.now();
    driver.client(0).ask(now, ask);
    loop {
        while let Some(event) = driver.poll_event(0) {
            match event {
                Event::Bytes(_, bytes) => take(bytes)?,
                Event::Done(_, answer) => {
                    // The node still holds for this client what it may let go of.
                    driver.send();
                    return Ok(answer);
                }
            }
        }
        if let Some(failure) = driver.strangers().failure() {
            return Err(failure);
        }
        let until = driver.now() + flags.timeout;
        driver.turn(until)?;
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
