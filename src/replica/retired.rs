//! What nobody needs any more, and what takes long to free: it is handed out, to be dropped
//! beside the loop.

use super::log::Log;
use crate::chunked_deque::ChunkedDeque;
use crate::store::{State, Store};

/// Memory that is to be freed.
#[derive(Debug)]
pub enum Retired {
    /// One state.
    State(State),
    /// States that were executed and revealed, or undone.
    Roots(ChunkedDeque<State>),
    /// All that was executed, and the log that it was executed from.
    Whole(Box<(Store, Log)>),
}
