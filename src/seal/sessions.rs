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
    pub fn get(&self, id: u32) -> Option<&Session> {
        self.by_id.get(&id)
    }

    /// The same, to be changed.
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    /// security.md: "sessions are bounded, for each source and in total".
    #[test]
    fn there_are_so_many_sessions_and_no_more() {
        type Side = fn(u32) -> (ServerId, SocketAddr);
        let client: Side = |number| (ServerId::NONE, address(number, 1));
        let of_source: Side = |number| (ServerId::NONE, address(0, number));
        let node: Side = |number| (ServerId(1), address(number, 1));
        let client_again: Side = |_| (ServerId::NONE, address(0, 1));
        let node_again: Side = |_| (ServerId(1), address(0, 1));
        let cases = [
            (client, SESSIONS_MAX),
            (of_source, SESSIONS_PER_SOURCE_MAX),
            (node, WITH_NODES_MAX),
            (client_again, PER_WAY_MAX),
            (node_again, PER_WAY_MAX),
        ];
        for (side, most) in cases {
            let sample = |number: u32| {
                let (peer, address) = side(number);
                Session::sample(number, peer, address)
            };
            let most = u32::try_from(most).unwrap();
            let by_id = (1..most).map(|number| (number, sample(number))).collect();
            let mut sessions = Sessions { by_id, ..Sessions::default() };
            assert!(sessions.insert(sample(most), Instant(0)).is_ok(), "{most}");
            assert!(sessions.insert(sample(most + 1), Instant(0)).is_err(), "{most}");
        }
    }

    fn address(host: u32, port: u32) -> SocketAddr {
        let port = u16::try_from(port).unwrap();
        SocketAddr::new(std::net::Ipv4Addr::from(host).into(), port)
    }

    /// wire-format.md: "Each MUST be kept for longer than a `Welcome` may be answered".
    #[test]
    fn what_nobody_uses_is_given_up_when_its_time_is_over() {
        let kept_until = |peer, left_at: Option<Instant>, heard_at: Instant| {
            let mut session = Session::sample(1, peer, address(1, 1));
            (session.left_at, session.heard_at) = (left_at, heard_at);
            let mut sessions = Sessions::default();
            sessions.insert(session, Instant(0)).expect("there is room");
            let mut sample = |second: u64| {
                let number = u32::try_from(second).unwrap() + 2;
                let other = Session::sample(number, ServerId(9), address(number, 1));
                assert!(sessions.insert(other, Instant(second * 1_000_000)).is_ok());
                sessions.contains(1)
            };
            (1..1_000).take_while(|second| sample(*second)).last().unwrap_or(0) + 1
        };
        let at = |seconds: u64| Instant(seconds * 1_000_000);
        assert_eq!(kept_until(ServerId(2), Some(at(5)), at(3)), 15, "a node's that was left");
        assert_eq!(kept_until(ServerId(2), None, at(3)), 1_000, "a node's that may be used");
        assert_eq!(kept_until(ServerId::NONE, Some(at(5)), at(3)), 15, "a client's");
        assert_eq!(kept_until(ServerId::NONE, None, at(3)), 123, "a silent client's");
    }
}
