//! What the node says to the person who started it: that it serves, or whom it waits for.

use std::net::SocketAddr;
use std::time::Duration;

use super::logging::StandardError;
use crate::time::Instant;
use crate::types::{ServerId, Term};

const REPEAT_AFTER: Duration = Duration::from_secs(10);
/// How often it is said that frames are not sealed, where others than this machine hear them.
const WARN_AFTER: Duration = Duration::from_secs(60);

/// The node's standing, as last said.
#[derive(Debug)]
pub struct Notices {
    to: StandardError,
    /// The node and its cluster.
    name: String,
    address: SocketAddr,
    standing: Standing,
    /// Frames are not sealed; that was last said at this time.
    warned: Option<Instant>,
    sealed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Starting,
    Ready,
    /// Said at this time.
    Waiting(Instant),
}

impl Notices {
    /// Nothing was said yet about the node called `name` that is reached at `address`, and
    /// whose frames are sealed or not.
    pub fn new(to: StandardError, name: String, address: SocketAddr, sealed: bool) -> Self {
        Self { to, name, address, standing: Standing::Starting, warned: None, sealed }
    }

    /// Says what has changed, and what has not for too long.
    pub fn update(
        &mut self,
        now: Instant,
        waiting_for: Option<&str>,
        leader: Option<ServerId>,
        term: Term,
    ) {
        self.warn(now);
        let Self { to, name, address, standing, .. } = self;
        match (*standing, waiting_for) {
            (Standing::Ready, None) => {}
            (Standing::Waiting(said), Some(_)) if now.since(said) < REPEAT_AFTER => {}
            (_, None) => {
                let leader = leader.unwrap_or(ServerId::NONE);
                to.say(&format!(
                    "{name} is ready at {address}: node {leader} leads in term {term}"
                ));
                *standing = Standing::Ready;
            }
            (_, Some(whom)) => {
                to.say(&format!("{name}: {whom}"));
                *standing = Standing::Waiting(now);
            }
        }
    }

    fn warn(&mut self, now: Instant) {
        if self.take_warning(now) {
            log::warn!(
                "frames are not sealed (--insecure-no-key): whoever reaches the port may speak"
            );
        }
    }

    /// Whether it is to be said now that frames are not sealed.
    fn take_warning(&mut self, now: Instant) -> bool {
        let is_due = match self.warned {
            None => !self.sealed,
            Some(_) => self.next_warning().is_some_and(|due| now >= due),
        };
        if is_due {
            self.warned = Some(now);
        }
        is_due
    }

    /// When that is to be said again: only others than this machine could speak.
    fn next_warning(&self) -> Option<Instant> {
        let is_heard = !self.address.ip().is_loopback();
        self.warned.filter(|_| is_heard).map(|said| said + WARN_AFTER)
    }

    /// When [`Self::update`] must be called again, at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        let repeat = match self.standing {
            Standing::Waiting(said) => Some(said + REPEAT_AFTER),
            Standing::Starting | Standing::Ready => None,
        };
        [repeat, self.next_warning()].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    /// security.md: "It says so in the log, on an address other than loopback every minute".
    #[test]
    fn that_frames_are_not_sealed_is_said_every_minute_where_others_hear_them() {
        let warned_at = |ip: [u8; 4], sealed| {
            let (_, writer) = UnixStream::pair().unwrap();
            let to = StandardError::start(writer).unwrap();
            let mut notices = Notices::new(to, "node 1".into(), (ip, 9717).into(), sealed);
            let mut warned = Vec::new();
            for second in 0..150 {
                let now = Instant(second * 1_000_000);
                let due = notices.next_deadline();
                if notices.take_warning(now) {
                    assert_eq!(due, warned.last().map(|_| now), "the loop wakes up for it");
                    warned.push(second);
                }
            }
            warned
        };
        assert_eq!(warned_at([10, 0, 0, 1], false), [0, 60, 120]);
        assert_eq!(warned_at([127, 0, 0, 1], false), [0]);
        assert_eq!(warned_at([10, 0, 0, 1], true), [0; 0]);
    }

    #[test]
    fn what_has_changed_is_said_at_once_and_waiting_is_repeated() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let to = StandardError::start(writer).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 9717));
        let mut notices = Notices::new(to, "node 1".into(), address, true);
        let seconds = |seconds: u64| Instant(seconds * 1_000_000);
        let mut update = |at, waiting_for| {
            notices.update(seconds(at), waiting_for, Some(ServerId(2)), Term(3));
            notices.next_deadline()
        };
        update(0, Some("waits for 2"));
        assert_eq!(update(9, Some("waits for 2")), Some(seconds(10)));
        update(10, Some("waits for 2"));
        update(11, None);
        assert_eq!(update(30, None), None);
        update(31, Some("waits for 3"));
        drop(notices);

        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        let expected = "quorate: node 1: waits for 2\n".repeat(2)
            + "quorate: node 1 is ready at 127.0.0.1:9717: node 2 leads in term 3\n"
            + "quorate: node 1: waits for 3\n";
        assert_eq!(said, expected);
    }
}
