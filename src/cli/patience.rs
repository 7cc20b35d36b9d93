//! How long a command that runs a cluster of its own waits, and what ends it early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::exit::Failure;

/// How often is looked whether what is waited for has come.
const GLANCE: Duration = Duration::from_millis(40);

/// The command's patience: it ends with a signal, and with the command's time.
#[derive(Debug)]
pub struct Patience {
    interrupted: Arc<AtomicBool>,
    at_most: Duration,
    ends_at: Instant,
}

impl Patience {
    /// From now on SIGINT, SIGTERM and SIGHUP do not end the process, but its patience. The
    /// whole command may take so long.
    ///
    /// # Errors
    /// The system denies a signal handler.
    pub fn new(at_most: Duration) -> Result<Self, Failure> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register(signal, Arc::clone(&interrupted))
                .map_err(|error| Failure::system("a signal handler", &error))?;
        }
        Ok(Self { interrupted, at_most, ends_at: Instant::now() + at_most })
    }

    /// Whether a signal came.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// A signal came, or the time is up.
    pub fn check(&self) -> Result<(), Failure> {
        if self.is_interrupted() {
            return Err(Failure::no_answer("interrupted; nothing is left behind"));
        }
        if Instant::now() >= self.ends_at {
            let seconds = self.at_most.as_secs();
            return Err(Failure::no_answer(format!("it did not end within {seconds} s")));
        }
        Ok(())
    }

    /// Looks again and again until something is found. Returns none when that takes longer
    /// than `at_most`.
    ///
    /// # Errors
    /// What `look` says, or [`Self::check`].
    pub fn wait<T>(
        &self,
        at_most: Duration,
        mut look: impl FnMut() -> Result<Option<T>, Failure>,
    ) -> Result<Option<T>, Failure> {
        let give_up_at = Instant::now() + at_most;
        loop {
            if let Some(found) = look()? {
                return Ok(Some(found));
            }
            self.check()?;
            if Instant::now() >= give_up_at {
                return Ok(None);
            }
            thread::sleep(GLANCE);
        }
    }
}
