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
/// The most sessions with clients by one key, wherever they are: whoever holds it must not keep
/// out all others, least of all those who would take it back.
pub const SESSIONS_PER_KEY_MAX: usize = 6_144;
/// The most with one other side: two in use, and those that were left just before.
const PER_WAY_MAX: usize = 16;
/// The most with nodes, and with those of one address. Only who holds their key comes that far,
/// or who passes its handshakes on.
const WITH_NODES_MAX: usize = 1_024;
const WITH_NODES_PER_SOURCE_MAX: usize = 512;

/// How long a session is kept that was left: frames may be under way. It is longer than a
/// `Welcome` may be answered, so that the `Finish` that has begun a session never begins it
/// again: its window would be empty, and its numbers would count from 1 under the same keys.
const KEPT_LEFT: Duration = Duration::from_secs(10);
const _: () = assert!(KEPT_LEFT.as_millis() > WELCOME_LIFE.as_millis());
/// How long the other side may be silent. A session whose handshake somebody has passed on from
/// an address of its own is never heard again, so it must not stay.
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
        let (mut in_all, mut of_source, mut of_key, mut of_way) = (0, 0, 0, 0);
        for one in self.by_id.values().filter(|one| (one.peer == ServerId::NONE) == is_client) {
            in_all += 1;
            of_source += usize::from(one.address.ip() == new.address.ip());
            of_key += usize::from(one.key == new.key);
            of_way += usize::from((one.address, one.peer) == (new.address, new.peer));
        }
        let has_room = if is_client {
            in_all < SESSIONS_MAX
                && of_source < SESSIONS_PER_SOURCE_MAX
                && of_key < SESSIONS_PER_KEY_MAX
        } else {
            in_all < WITH_NODES_MAX && of_source < WITH_NODES_PER_SOURCE_MAX
        };
        has_room && of_way < PER_WAY_MAX
    }
}

fn is_over(session: &Session, now: Instant) -> bool {
    let was_left = session.left_at.is_some_and(|at| now.since(at) >= KEPT_LEFT);
    was_left || now.since(session.heard_at) >= KEPT_IDLE
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::seal::KeyId;

    /// security.md: "sessions are bounded, for each source and key and in total".
    #[test]
    fn there_are_so_many_sessions_and_no_more() {
        type Side = fn(u16) -> (ServerId, SocketAddr, u16);
        let client: Side = |number| (ServerId::NONE, address(number, 1), number);
        let of_source: Side = |number| (ServerId::NONE, address(0, number), number);
        let of_key: Side = |number| (ServerId::NONE, address(number, 1), 1);
        let node: Side = |number| (ServerId(1), address(number, 1), 1);
        let node_of_source: Side = |number| (ServerId(1), address(0, number), 1);
        let client_again: Side = |_| (ServerId::NONE, address(0, 1), 1);
        let node_again: Side = |_| (ServerId(1), address(0, 1), 1);
        let cases = [
            (client, SESSIONS_MAX),
            (of_source, SESSIONS_PER_SOURCE_MAX),
            (of_key, SESSIONS_PER_KEY_MAX),
            (node, WITH_NODES_MAX),
            (node_of_source, WITH_NODES_PER_SOURCE_MAX),
            (client_again, PER_WAY_MAX),
            (node_again, PER_WAY_MAX),
        ];
        for (side, most) in cases {
            let sample = |number: u16| {
                let (peer, address, key) = side(number);
                let mut session = Session::sample(number.into(), peer, address);
                session.key = KeyId(key);
                session
            };
            let most = u16::try_from(most).unwrap();
            let by_id = (1..most).map(|number| (number.into(), sample(number))).collect();
            let mut sessions = Sessions { by_id, ..Sessions::default() };
            assert!(sessions.insert(sample(most), Instant(0)).is_ok(), "{most}");
            assert!(sessions.insert(sample(most + 1), Instant(0)).is_err(), "{most}");
        }
    }

    fn address(host: u16, port: u16) -> SocketAddr {
        SocketAddr::new(std::net::Ipv4Addr::from(u32::from(host)).into(), port)
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
                let number = u16::try_from(second).unwrap() + 2;
                let other = Session::sample(number.into(), ServerId(9), address(number, 1));
                assert!(sessions.insert(other, Instant(second * 1_000_000)).is_ok());
                sessions.contains(1)
            };
            (1..1_000).take_while(|second| sample(*second)).last().unwrap_or(0) + 1
        };
        let at = |seconds: u64| Instant(seconds * 1_000_000);
        assert_eq!(kept_until(ServerId(2), Some(at(5)), at(3)), 15, "a node's that was left");
        assert_eq!(kept_until(ServerId(2), None, at(3)), 123, "a silent node's");
        assert_eq!(kept_until(ServerId::NONE, Some(at(5)), at(3)), 15, "a client's");
        assert_eq!(kept_until(ServerId::NONE, None, at(3)), 123, "a silent client's");
    }
}
