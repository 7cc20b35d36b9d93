//! What the node says to the person who started it: that it serves, or whom it waits for.

use std::time::Duration;

use super::logging::StandardError;
use crate::time::Instant;

const REPEAT_AFTER: Duration = Duration::from_secs(10);

/// The node's standing, as last said.
#[derive(Debug)]
pub struct Notices {
    to: StandardError,
    /// The node, its cluster and its address.
    name: String,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Starting,
    Ready,
    /// Said at this time.
    Waiting(Instant),
}

impl Notices {
    /// Nothing was said yet about the node called `name`.
    pub fn new(to: StandardError, name: String) -> Self {
        Self { to, name, standing: Standing::Starting }
    }

    /// Says what has changed, and what has not for too long.
    pub fn update(&mut self, now: Instant, waiting_for: Option<&str>) {
        match (self.standing, waiting_for) {
            (Standing::Ready, None) => {}
            (Standing::Waiting(said), Some(_)) if now.since(said) < REPEAT_AFTER => {}
            (_, None) => {
                self.to.say(&format!("{} is ready", self.name));
                self.standing = Standing::Ready;
            }
            (_, Some(whom)) => {
                self.to.say(&format!("{}: {whom}", self.name));
                self.standing = Standing::Waiting(now);
            }
        }
    }

    /// When [`Self::update`] must be called again, at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.standing {
            Standing::Waiting(said) => Some(said + REPEAT_AFTER),
            Standing::Starting | Standing::Ready => None,
        }
    }
}
