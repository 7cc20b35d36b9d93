//! All sessions, and how many there may be.

use std::collections::BTreeMap;
use std::time::Duration;

use super::handshake::WELCOME_LIFE;
use super::session::Session;
use crate::time::Instant;
use crate::types::ServerId;
use crate::wire::DropCause;

/// The most sessions with clients.
pub const SESSIONS_MAX: usize = 8_192;
/// The most sessions with clients of one address, whatever the port.
pub const SESSIONS_PER_SOURCE_MAX: usize = 4_096;
/// The most with one other side: two in use, and those that were left just before.
const PER_WAY_MAX: usize = 16;
/// The most with nodes. Only who holds their key comes that far.
const WITH_NODES_MAX: usize = 1_024;

/// How long a session is kept that was left: frames may be under way. It is longer than a
/// `Welcome` may be answered, so that the `Finish` that has begun a session never begins it
/// again: its window would be empty, and its numbers would count from 1 under the same keys.
const KEPT_LEFT: Duration = Duration::from_secs(10);
const _: () = assert!(KEPT_LEFT.as_millis() > WELCOME_LIFE.as_millis());
/// How long a client may be silent.
const KEPT_IDLE: Duration = Duration::from_secs(120);
const _: () = assert!(KEPT_IDLE.as_millis() > WELCOME_LIFE.as_millis());
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The sessions by their numbers.
#[derive(Debug, Default)]
pub struct Sessions {
    by_id: BTreeMap<u32, Session>,
    swept_at: Instant,
}

impl Sessions {
    /// The session with the number.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut Session> {
        self.by_id.get_mut(&id)
    }

    /// Whether there is one.
    pub fn contains(&self, id: u32) -> bool {
        self.by_id.contains_key(&id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Takes up a session, if there is room for it. None is displaced by it: those that
    /// nobody uses any more are given up before.
    pub fn insert(&mut self, session: Session, now: Instant) -> Result<(), DropCause> {
        if now.since(self.swept_at) >= SWEEP_INTERVAL {
            self.swept_at = now;
            self.by_id.retain(|_, session| !is_over(session, now));
        }
        if self.contains(session.id) || !self.has_room_for(&session) {
            return Err(DropCause::Session);
        }
        self.by_id.insert(session.id, session);
        Ok(())
    }

    /// Gives up all sessions but these.
    pub fn retain(&mut self, is_kept: impl Fn(&Session) -> bool) {
        self.by_id.retain(|_, session| is_kept(session));
    }

    fn has_room_for(&self, new: &Session) -> bool {
        let is_client = new.peer == ServerId::NONE;
        let alike = || self.by_id.values().filter(|one| (one.peer == ServerId::NONE) == is_client);
        let of_source = || alike().filter(|one| one.address.ip() == new.address.ip());
        let of_way =
            of_source().filter(|one| (one.address, one.peer) == (new.address, new.peer)).count();
        let has_room = if is_client {
            alike().count() < SESSIONS_MAX && of_source().count() < SESSIONS_PER_SOURCE_MAX
        } else {
            alike().count() < WITH_NODES_MAX
        };
        has_room && of_way < PER_WAY_MAX
    }
}

fn is_over(session: &Session, now: Instant) -> bool {
    let was_left = session.left_at.is_some_and(|at| now.since(at) >= KEPT_LEFT);
    let is_client = session.peer == ServerId::NONE;
    was_left || is_client && now.since(session.heard_at) >= KEPT_IDLE
}
