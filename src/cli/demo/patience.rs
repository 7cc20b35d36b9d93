//! How long the demo waits, and what ends it early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::cli::exit::Failure;

/// The longest that the whole demo may take, short of a minute by what cleaning up takes.
const DEMO_MAX: Duration = Duration::from_secs(55);
/// How often is looked whether what is waited for has come.
const GLANCE: Duration = Duration::from_millis(40);

/// The demo's patience: it ends with a signal, and with the demo's time.
#[derive(Debug)]
pub struct Patience {
    interrupted: Arc<AtomicBool>,
    ends_at: Instant,
}

impl Patience {
    /// From now on SIGINT, SIGTERM and SIGHUP do not end the process, but its patience.
    ///
    /// # Errors
    /// The system denies a signal handler.
    pub fn new() -> Result<Self, Failure> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register(signal, Arc::clone(&interrupted))
                .map_err(|error| Failure::system("a signal handler", &error))?;
        }
        Ok(Self { interrupted, ends_at: Instant::now() + DEMO_MAX })
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
            let seconds = DEMO_MAX.as_secs();
            return Err(Failure::no_answer(format!("the demo did not end within {seconds} s")));
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
