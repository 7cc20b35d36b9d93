//! All sessions, and how many there may be.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::handshake::WELCOME_LIFE;
use super::keys::KeyId;
use super::session::Session;
use super::way::WayId;
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

/// The sessions by their numbers. Whether there is room for another one is told by counts: who may
/// ask for one again and again must not have all of them looked at each time.
#[derive(Debug, Default)]
pub struct Sessions {
    by_id: BTreeMap<u32, Session>,
    with_clients: Counts,
    with_nodes: Counts,
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

    /// Gives up those that nobody uses any more, unless that was done just before, and returns
    /// them.
    pub fn sweep(&mut self, now: Instant) -> Vec<Session> {
        if now.since(self.swept_at) < SWEEP_INTERVAL {
            return Vec::new();
        }
        self.swept_at = now;
        self.remove_where(|session| is_over(session, now))
    }

    /// Whether a session of this number may be taken up with this other side by this key. None
    /// is displaced by it.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn check_room(&self, id: u32, way: WayId, key: KeyId) -> Result<(), DropCause> {
        let has_room = if way.1 == ServerId::NONE {
            self.with_clients.have_room_for_client(way, key)
        } else {
            self.with_nodes.have_room_for_node(way)
        };
        if has_room && !self.contains(id) { Ok(()) } else { Err(DropCause::Session) }
    }

    /// Takes up a session.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn insert(&mut self, session: Session) -> Result<(), DropCause> {
        self.check_room(session.id, session.way(), session.key)?;
        self.counts_with(session.peer).add(&session);
        self.by_id.insert(session.id, session);
        Ok(())
    }

    /// Gives up all sessions but these.
    pub fn retain(&mut self, is_kept: impl Fn(&Session) -> bool) {
        self.remove_where(|session| !is_kept(session));
    }

    fn remove_where(&mut self, is_over: impl Fn(&Session) -> bool) -> Vec<Session> {
        let over = self.by_id.values().filter(|session| is_over(session));
        let over: Vec<u32> = over.map(|session| session.id).collect();
        let removed: Vec<Session> = over.iter().filter_map(|id| self.by_id.remove(id)).collect();
        for session in &removed {
            self.counts_with(session.peer).remove(session);
        }
        removed
    }

    fn counts_with(&mut self, peer: ServerId) -> &mut Counts {
        if peer == ServerId::NONE { &mut self.with_clients } else { &mut self.with_nodes }
    }
}

/// How many sessions there are with clients, or with nodes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    in_all: usize,
    of_source: Tally<IpAddr>,
    of_key: Tally<KeyId>,
    of_way: Tally<WayId>,
}

impl Counts {
    fn have_room_for_client(&self, way: WayId, key: KeyId) -> bool {
        self.in_all < SESSIONS_MAX
            && self.of_source.of(&way.0.ip()) < SESSIONS_PER_SOURCE_MAX
            && self.of_key.of(&key) < SESSIONS_PER_KEY_MAX
            && self.of_way.of(&way) < PER_WAY_MAX
    }

    fn have_room_for_node(&self, way: WayId) -> bool {
        self.in_all < WITH_NODES_MAX
            && self.of_source.of(&way.0.ip()) < WITH_NODES_PER_SOURCE_MAX
            && self.of_way.of(&way) < PER_WAY_MAX
    }

    fn add(&mut self, session: &Session) {
        self.in_all += 1;
        self.of_source.add(session.address.ip());
        self.of_key.add(session.key);
        self.of_way.add(session.way());
    }

    fn remove(&mut self, session: &Session) {
        self.in_all -= 1;
        self.of_source.remove(&session.address.ip());
        self.of_key.remove(&session.key);
        self.of_way.remove(&session.way());
    }
}

/// How often each occurs; what does not is not kept.
#[derive(Debug, PartialEq, Eq)]
struct Tally<K>(BTreeMap<K, usize>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Tally<K> {
    fn of(&self, key: &K) -> usize {
        self.0.get(key).copied().unwrap_or(0)
    }

    fn add(&mut self, key: K) {
        *self.0.entry(key).or_default() += 1;
    }

    fn remove(&mut self, key: &K) {
        if let Some(count) = self.0.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(key);
            }
        }
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
            let mut sessions = Sessions::default();
            assert!((1..=most).all(|number| sessions.insert(sample(number)).is_ok()), "{most}");
            assert!(sessions.insert(sample(most + 1)).is_err(), "{most}");
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
            sessions.insert(session).expect("there is room");
            let mut is_kept = |second: u64| sessions.sweep(Instant(second * 1_000_000)).is_empty();
            (1..1_000).take_while(|second| is_kept(*second)).last().unwrap_or(0) + 1
        };
        let at = |seconds: u64| Instant(seconds * 1_000_000);
        assert_eq!(kept_until(ServerId(2), Some(at(5)), at(3)), 15, "a node's that was left");
        assert_eq!(kept_until(ServerId(2), None, at(3)), 123, "a silent node's");
        assert_eq!(kept_until(ServerId::NONE, Some(at(5)), at(3)), 15, "a client's");
        assert_eq!(kept_until(ServerId::NONE, None, at(3)), 123, "a silent client's");
    }

    /// What was given up makes room again, and nothing else does.
    #[test]
    fn the_counts_are_of_the_sessions_that_there_are() {
        let mut random = fastrand::Rng::with_seed(9);
        let mut sessions = Sessions::default();
        for second in 0..2_000_u64 {
            let peer = ServerId(random.u16(..3));
            let way = (address(random.u16(..4), random.u16(1..4)), peer);
            let mut session = Session::sample(random.u32(..40), peer, way.0);
            let now = Instant(second * 1_000_000);
            (session.key, session.heard_at) = (KeyId(random.u16(1..4)), now);
            sessions.insert(session).ok();
            let revoked = KeyId(random.u16(1..99));
            sessions.retain(|session| session.key != revoked);
            sessions.sweep(now);
            let counts = |is_of: fn(&Session) -> bool| {
                let mut counts = Counts::default();
                sessions.by_id.values().filter(|one| is_of(one)).for_each(|one| counts.add(one));
                counts
            };
            assert_eq!(sessions.with_clients, counts(|one| one.peer == ServerId::NONE));
            assert_eq!(sessions.with_nodes, counts(|one| one.peer != ServerId::NONE));
        }
    }
}
