//! A seed whose run panics has failed like any other, and is named.

use std::cell::Cell;
use std::panic;
use std::process;

use super::command;
use crate::cli::exit::Exit;
use crate::cli::output::note;
use crate::sim::{self, Failure, Report, Wishes};

thread_local! {
    /// What this thread runs.
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Runs the seed, so that it is known when the run panics.
///
/// # Errors
/// What it broke.
pub fn run(seed: u64, wishes: Wishes) -> Result<Report, Box<Failure>> {
    SEED.set(Some(seed));
    let ended = sim::run_as(seed, wishes);
    SEED.set(None);
    ended
}

/// From now on a run that panics ends the process, with its seed.
pub fn name_their_seeds(wishes: Wishes) {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        tell(panic);
        if let Some(seed) = SEED.get() {
            note(&format!("seed {seed}: a node or a check panicked, as told above"));
            note(&format!("quorate: repeat it with: {}", command(seed, wishes)));
            process::exit(Exit::Negative as i32);
        }
    }));
}
