//! The end of a session that had more than one operation.

use std::time::Duration;

use super::operations::PendingOperation;
use super::{Answer, AskId, Client, SessionState, Timer};
use crate::time::Instant;

/// How long the cluster's answer is waited for. Nothing depends on it.
const PATIENCE: Duration = Duration::from_millis(500);

impl Client {
    /// Gives up all that is under way, and tells the cluster that nothing more comes in the
    /// session, if there is one: else it stays in the table until it is the one that was not used
    /// for longest, and takes the room of those that are in use. It is over when nothing is
    /// outstanding, which is soon.
    pub fn close(&mut self, now: Instant) {
        self.now = now;
        self.give_up_all();
        let SessionState::Open { id: session, .. } = self.session else {
            self.session = SessionState::None;
            self.timers.cancel(Timer::Session);
            return;
        };
        let id = self.next_ask;
        self.next_ask.0 += 1;
        let give_up_at = now + PATIENCE;
        let mut last = PendingOperation::last(give_up_at);
        last.start(session, self.servers.preferred());
        self.operations.insert(id, last);
        self.timers.arm(Timer::GiveUp(id), give_up_at);
        self.send_operation(id);
    }

    fn give_up_all(&mut self) {
        self.queue.clear();
        let operations: Vec<(AskId, bool)> =
            self.operations.iter().map(|(id, operation)| (*id, operation.was_sent())).collect();
        for (id, was_sent) in operations {
            let why = "the session was closed before an answer came".to_owned();
            self.finish(id, if was_sent { Answer::Unknown(why) } else { Answer::NoAnswer(why) });
        }
        let reads: Vec<AskId> = self.reads.keys().copied().collect();
        for id in reads {
            self.finish(id, Answer::NoAnswer("the client was closed before that".to_owned()));
        }
    }
}
