//! Requests that are sent more than once before anything is known of their loss.

use std::time::Duration;

use super::servers::ServerIndex;
use super::{AskId, Client, Timer};
use crate::link::Copies;
use crate::wire::Message;

/// A request that is still to be sent so often.
#[derive(Debug)]
pub(super) struct Repeat {
    to: ServerIndex,
    message: Message,
    left: u8,
    spacing: Duration,
}

impl Client {
    /// Sends a request of one frame, and the copies of it that the loss on the way calls for.
    /// Those of an earlier sending are not sent any more.
    pub(super) fn send_with_copies(&mut self, id: AskId, to: ServerIndex, message: Message) {
        let Copies { times, spacing } = self.servers.copies(to);
        self.timers.cancel(Timer::Repeat(id));
        if times > 1 {
            let message = message.clone();
            self.repeats.insert(id, Repeat { to, message, left: times - 1, spacing });
        } else {
            self.repeats.remove(&id);
        }
        self.sends.push_back((to, message));
        self.plan_repeat(id);
    }

    pub(super) fn repeat(&mut self, id: AskId) {
        let Some(repeat) = self.repeats.get_mut(&id) else { return };
        repeat.left -= 1;
        self.sends.push_back((repeat.to, repeat.message.clone()));
        self.plan_repeat(id);
    }

    fn plan_repeat(&mut self, id: AskId) {
        match self.repeats.get(&id) {
            None => {}
            Some(repeat) if repeat.left == 0 => drop(self.repeats.remove(&id)),
            Some(repeat) if repeat.spacing.is_zero() => self.repeat(id),
            Some(repeat) => self.timers.arm(Timer::Repeat(id), self.now + repeat.spacing),
        }
    }
}
