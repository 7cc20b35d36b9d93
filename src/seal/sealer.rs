//! Everything that stands between plain frames and sealed datagrams, on one side.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ring::hmac;

use super::budget::HandshakeBudget;
use super::handshake::{
    Cipher, Handshake, LifeSecret, Nonce, Step, WELCOME_LIFE, handshake_key, session_keys, vouch,
};
use super::keys::{Key, KeyId, KeyRing};
use super::mismatch::{Mismatch, Mismatches};
use super::session::Session;
use super::sessions::Sessions;
use super::way::{Way, WayId};
use crate::access::Holder;
use crate::time::Instant;
use crate::types::{ClusterHash, GenesisId, ServerId};
use crate::wire::{DropCause, Envelope, SealedHeader, destination};

/// How soon a `Finish` is sent again while nothing was heard in the session.
const FINISH_INTERVAL: Duration = Duration::from_millis(10);

/// What a sealer is told at its start.
#[derive(Clone, Debug)]
pub struct SealerConfig {
    /// The node; none: a client.
    pub own: ServerId,
    /// The cluster's name.
    pub cluster: String,
    /// The cipher that this machine is fast with.
    pub cipher: Cipher,
}

/// Seals what one process sends, opens what it receives, and comes to sessions with whoever
/// holds a key.
///
/// Before what [`Self::seal`] has sealed, and after each [`Self::open`], the datagrams of
/// [`Self::poll_send`] are to be sent.
#[derive(Debug)]
pub struct Sealer {
    pub(super) config: SealerConfig,
    pub(super) cluster: ClusterHash,
    pub(super) keys: Arc<KeyRing>,
    tag_keys: BTreeMap<KeyId, hmac::Key>,
    life: LifeSecret,
    pub(super) genesis: GenesisId,
    pub(super) sessions: Sessions,
    pub(super) ways: BTreeMap<WayId, Way>,
    /// The ways to nodes whose sessions are to be replaced, even if nothing is sent there.
    stale: BTreeSet<WayId>,
    /// The node that the newest session is with, and where it is.
    begun: Option<Begun>,
    pub(super) mismatches: Mismatches,
    budget: HandshakeBudget,
    outbox: VecDeque<(SocketAddr, Vec<u8>)>,
}

/// A session with a node that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The node.
    pub peer: ServerId,
    /// Where it has proved to be.
    pub address: SocketAddr,
    /// The key that the session follows from.
    pub key: KeyId,
}

/// A frame that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// So many of the datagram's bytes are the plain frame.
    pub length: usize,
    /// The key that its sender holds.
    pub key: KeyId,
}

impl Sealer {
    /// A sealer that has said nothing yet.
    pub fn new(config: SealerConfig, keys: Arc<KeyRing>, life: LifeSecret) -> Self {
        Self {
            cluster: ClusterHash::of(&config.cluster),
            tag_keys: tag_keys(&keys, &config.cluster),
            mismatches: Mismatches::new(config.cluster.clone(), &keys),
            config,
            keys,
            life,
            genesis: GenesisId(0),
            sessions: Sessions::default(),
            ways: BTreeMap::new(),
            stale: BTreeSet::new(),
            begun: None,
            budget: HandshakeBudget::new(),
            outbox: VecDeque::new(),
        }
    }

    /// What it was told at its start.
    pub fn config(&self) -> &SealerConfig {
        &self.config
    }

    /// The cluster was born. Sessions of before are replaced.
    pub fn set_genesis(&mut self, genesis: GenesisId) {
        if self.genesis != genesis {
            self.genesis = genesis;
            self.ways.values_mut().for_each(|way| way.renew = true);
        }
    }

    /// The present keys.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// The key file was read again. Sessions whose key is gone end at once; those with another
    /// key than the one that is now used are replaced, as soon as the other side knows it.
    pub fn set_keys(&mut self, keys: Arc<KeyRing>) {
        self.tag_keys = tag_keys(&keys, &self.config.cluster);
        self.mismatches.set_keys(&keys);
        let former = std::mem::replace(&mut self.keys, keys);
        let Self { keys, sessions, .. } = self;
        sessions.retain(|session| keys.shares(&former, session.key));
        // What has begun a session that was given up must not begin it again, if its key
        // should come back.
        self.life.renew();
        let sending = self.keys.sending().id;
        for way in self.ways.values_mut() {
            way.session = way.session.filter(|id| self.sessions.contains(*id));
            let key = way.session.and_then(|id| self.sessions.get_mut(id)).map(|one| one.key);
            way.renew |= key != Some(sending);
            way.use_key(sending);
        }
        let is_stale = |(id, way): &(&WayId, &Way)| id.1 != ServerId::NONE && way.renew;
        self.stale = self.ways.iter().filter(is_stale).map(|(id, _)| *id).collect();
        self.ways.retain(|id, way| !way.is_idle() || self.stale.contains(id));
    }

    /// Seeks sessions by the new keys, also where nothing is sent: else nobody could tell when
    /// the former key is needed no more.
    pub fn tend(&mut self, now: Instant) {
        let ways = &self.ways;
        self.stale.retain(|id| ways.get(id).is_some_and(|way| way.renew));
        for id in self.stale.clone() {
            self.greet(now, id);
        }
    }

    /// The session with a node that the last datagram has begun, if it did.
    pub fn take_begun(&mut self) -> Option<Begun> {
        self.begun.take()
    }

    /// Who has sent the datagram that was just dropped, if it does not belong here and has made
    /// sure that it holds a key.
    pub fn take_mismatch(&mut self) -> Option<Mismatch> {
        self.mismatches.take()
    }

    /// Seals the frame where it lies. Returns false when it has to wait for a session, or
    /// goes to a client that has none any more: then it is not to be sent.
    pub fn seal(&mut self, now: Instant, to: SocketAddr, frame: &mut Vec<u8>) -> bool {
        let id = self.way_id(to, destination(frame));
        let Self { ways, sessions, outbox, .. } = self;
        let may_begin = self.config.own == ServerId::NONE || id.1 != ServerId::NONE;
        let session = ways.get(&id).and_then(|way| sessions.get_mut(way.session?));
        let Some(session) = session else {
            if may_begin {
                self.ways.entry(id).or_default().hold(frame);
                self.greet(now, id);
            }
            return false;
        };
        if let Some((finish, said_at)) = &mut session.finish
            && now.since(*said_at) >= FINISH_INTERVAL
        {
            *said_at = now;
            outbox.push_back((to, finish.clone()));
        }
        session.seal(frame);
        let is_worn = session.is_worn();
        let way = ways.get_mut(&id);
        if may_begin && way.is_some_and(|way| way.on_sent(now) || is_worn) {
            self.greet(now, id);
        }
        true
    }

    /// Opens the datagram where it lies. Returns none when it was a part of a handshake.
    ///
    /// # Errors
    /// The cause for which it must be dropped.
    pub fn open(
        &mut self,
        now: Instant,
        source: SocketAddr,
        datagram: &mut [u8],
    ) -> Result<Option<Opened>, DropCause> {
        let Envelope { kind, cluster } = Envelope::take(datagram)?;
        if let Some(step) = Step::from_kind(kind) {
            return self.on_handshake(now, source, step, datagram).map(|()| None);
        }
        let (header, sender) = SealedHeader::take(datagram)?;
        if self.keys.get(KeyId(header.key)).is_none() {
            return Err(DropCause::Key);
        }
        if cluster != self.cluster {
            return Err(DropCause::Cluster);
        }
        let session = self.sessions.get_mut(header.session).ok_or(DropCause::Session)?;
        if header.key != session.key.0 {
            return Err(DropCause::Key);
        }
        if sender != session.peer {
            return Err(DropCause::Sender);
        }
        let length = session.open(datagram, source)?;
        session.heard_at = now;
        session.finish = None;
        let key = session.key;
        let id = self.way_id(source, sender);
        if let Some(way) = self.ways.get_mut(&id) {
            way.on_heard();
            // The other side may be heard in the session before, and hear this side in this one.
            if let Some(newest) = way.session.and_then(|newest| self.sessions.get_mut(newest)) {
                newest.heard_at = now;
            }
        }
        SealedHeader::remove(&mut datagram[..length]);
        Ok(Some(Opened { length, key }))
    }

    /// Opens, where it lies, what this side has sealed and sent to that address, and what the
    /// network has brought back. Returns its length as a plain frame; none: it is not that, or
    /// not whole.
    pub fn reopen(&mut self, to: SocketAddr, datagram: &mut [u8]) -> Option<usize> {
        let (header, sender) = SealedHeader::take(datagram).ok()?;
        let session = self.sessions.get_mut(header.session)?;
        let is_own = (sender, session.address) == (self.config.own, to);
        let length = is_own.then(|| session.reopen(datagram).ok()).flatten()?;
        SealedHeader::remove(&mut datagram[..length]);
        Some(length)
    }

    /// How many sessions and ways are remembered: what others may make this side keep.
    pub fn remembered(&self) -> (usize, usize) {
        (self.sessions.len(), self.ways.len())
    }

    /// The next datagram of a handshake, or a frame that had to wait for one.
    pub fn poll_send(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.outbox.pop_front()
    }

    /// The way to that address. A client does not tell apart who is there.
    fn way_id(&self, address: SocketAddr, other: ServerId) -> WayId {
        let tells_apart = self.config.own != ServerId::NONE;
        (address, if tells_apart { other } else { ServerId::NONE })
    }

    fn on_handshake(
        &mut self,
        now: Instant,
        source: SocketAddr,
        step: Step,
        datagram: &[u8],
    ) -> Result<(), DropCause> {
        let said = Handshake::decode(datagram)?;
        if step == Step::Mismatch {
            return Err(self.on_mismatch(source, &said, datagram));
        }
        let checked = self.check_handshake(&said, datagram);
        if let (Step::Hello, Err(cause)) = (step, checked) {
            self.tell(now, source, &said, datagram, cause);
        }
        checked?;
        match step {
            Step::Hello => self.welcome(now, source, &said),
            Step::Welcome => self.finish(now, source, &said),
            Step::Finish => self.accept(now, source, &said),
            Step::Mismatch => Ok(()),
        }
    }

    fn check_handshake(&self, said: &Handshake, datagram: &[u8]) -> Result<(), DropCause> {
        if said.cluster != self.cluster {
            return Err(DropCause::Cluster);
        }
        self.check_addressing(said)?;
        let tag_key = self.tag_keys.get(&said.key).ok_or(DropCause::Key)?;
        vouch(datagram, tag_key)?;
        self.check_holder(said)?;
        if said.step != Step::Finish && self.is_of_another_birth(said) {
            return Err(DropCause::Genesis);
        }
        Ok(())
    }

    fn is_of_another_birth(&self, said: &Handshake) -> bool {
        said.genesis.0 != 0 && self.genesis.0 != 0 && said.genesis != self.genesis
    }

    fn check_addressing(&self, said: &Handshake) -> Result<(), DropCause> {
        let own = self.config.own;
        let is_node = own != ServerId::NONE;
        let is_for_me = match said.step {
            Step::Hello if said.sender == ServerId::NONE => is_node && is_or_none(said, own),
            Step::Hello | Step::Finish => is_node && said.destination == own,
            Step::Welcome | Step::Mismatch => {
                said.destination == own && said.sender != ServerId::NONE
            }
        };
        if is_for_me && (said.sender != own) { Ok(()) } else { Err(DropCause::Destination) }
    }

    /// A client's key speaks for a client only.
    pub(super) fn check_holder(&self, said: &Handshake) -> Result<(), DropCause> {
        let client = if said.step == Step::Welcome { said.destination } else { said.sender };
        let key = self.keys.get(said.key).ok_or(DropCause::Key)?;
        let is_node_key = key.holder == Holder::Node;
        if is_node_key || client == ServerId::NONE { Ok(()) } else { Err(DropCause::Sender) }
    }

    fn greet(&mut self, now: Instant, id: WayId) {
        let Self { ways, life, .. } = self;
        let key = self.keys.sending().id;
        let nonce = ways.entry(id).or_default().greet(now, key, || life.draw());
        let Some(beginner) = nonce else { return };
        let mut hello = Handshake {
            step: Step::Hello,
            cluster: self.cluster,
            sender: self.config.own,
            destination: id.1,
            key,
            cipher: self.config.cipher,
            genesis: self.genesis,
            issued: Instant::default(),
            beginner,
            answerer: Nonce::default(),
        };
        hello.answerer = self.mismatches.hidden_name(&hello);
        self.say(id.0, &hello);
    }

    /// Answers without keeping anything: the address may be a lie.
    fn welcome(
        &mut self,
        now: Instant,
        source: SocketAddr,
        hello: &Handshake,
    ) -> Result<(), DropCause> {
        let key = self.keys.get(hello.key).ok_or(DropCause::Key)?;
        if !self.budget.spend_answer(now, source.ip(), key) {
            return Err(DropCause::Session);
        }
        let cipher = self.config.cipher.for_both(hello.cipher);
        let hello = Handshake { cipher, ..*hello };
        let welcome = Handshake {
            step: Step::Welcome,
            sender: self.config.own,
            destination: hello.sender,
            genesis: self.genesis,
            issued: now,
            answerer: self.life.answer(&hello, source, now),
            ..hello
        };
        self.say(source, &welcome);
        Ok(())
    }

    fn finish(
        &mut self,
        now: Instant,
        source: SocketAddr,
        welcome: &Handshake,
    ) -> Result<(), DropCause> {
        let id = self.way_id(source, welcome.sender);
        let way = self.ways.get(&id).ok_or(DropCause::Address)?;
        if !way.has_greeted_with(welcome.key, &welcome.beginner) {
            return Err(DropCause::Duplicate);
        }
        self.check_room(now, welcome, (source, welcome.sender))?;
        let known = if self.genesis.0 == 0 { welcome.genesis } else { self.genesis };
        let (destination, peer) = (welcome.sender, (welcome.sender, source));
        let sender = self.config.own;
        let finish =
            Handshake { step: Step::Finish, sender, destination, genesis: known, ..*welcome };
        let [mine, theirs] = session_keys(&finish, self.key(finish.key)?, &self.config.cluster);
        let mut session = Session::new(&finish, peer, [mine, theirs], now);
        let datagram = finish.encode(self.tag_keys.get(&finish.key).ok_or(DropCause::Key)?);
        session.finish = Some((datagram.clone(), now));
        self.outbox.push_back((source, datagram));
        self.begin(now, id, session)
    }

    fn accept(
        &mut self,
        now: Instant,
        source: SocketAddr,
        finish: &Handshake,
    ) -> Result<(), DropCause> {
        if finish.issued > now || now.since(finish.issued) >= WELCOME_LIFE {
            return Err(DropCause::Replay);
        }
        if !self.life.has_answered(finish, source) {
            return Err(DropCause::Replay);
        }
        if self.genesis.0 != 0 {
            check_genesis(finish.genesis, self.genesis)?;
        }
        if self.sessions.contains(finish.session()) {
            return Err(DropCause::Duplicate);
        }
        let id = (source, finish.sender);
        self.check_room(now, finish, id)?;
        let key = self.keys.get(finish.key).ok_or(DropCause::Key)?;
        if !self.budget.spend_session(now, key) {
            return Err(DropCause::Session);
        }
        let [theirs, mine] = session_keys(finish, key, &self.config.cluster);
        let session = Session::new(finish, (finish.sender, source), [mine, theirs], now);
        self.begin(now, id, session)
    }

    /// Whether there is room for the session that follows. What is refused is asked for again and
    /// again, so this comes before all that is dear.
    fn check_room(&mut self, now: Instant, said: &Handshake, with: WayId) -> Result<(), DropCause> {
        for session in self.sessions.sweep(now) {
            self.forget(&session);
        }
        self.sessions.check_room(said.session(), with, said.key)
    }

    /// Nothing is sent in a session any more that was given up.
    fn forget(&mut self, session: &Session) {
        let id = self.way_id(session.address, session.peer);
        let Some(way) = self.ways.get_mut(&id) else { return };
        way.session.take_if(|newest| *newest == session.id);
        if way.is_idle() {
            self.ways.remove(&id);
        }
    }

    /// From now on what is sent that way is sealed in this session.
    fn begin(&mut self, now: Instant, id: WayId, session: Session) -> Result<(), DropCause> {
        let (number, key) = (session.id, session.key);
        let Self { sessions, ways, outbox, begun, .. } = self;
        sessions.insert(session)?;
        *begun = Some(Begun { peer: id.1, address: id.0, key });
        let way = ways.entry(id).or_default();
        if let Some(left) = way.begin(number).and_then(|id| sessions.get_mut(id)) {
            left.left_at = Some(now);
        }
        let session = sessions.get_mut(number).ok_or(DropCause::Session)?;
        for mut frame in way.take_held() {
            session.seal(&mut frame);
            outbox.push_back((id.0, frame));
        }
        Ok(())
    }

    fn key(&self, id: KeyId) -> Result<&Key, DropCause> {
        self.keys.get(id).ok_or(DropCause::Key)
    }

    pub(super) fn say(&mut self, to: SocketAddr, said: &Handshake) {
        if let Some(key) = self.tag_keys.get(&said.key) {
            self.outbox.push_back((to, said.encode(key)));
        }
    }
}

/// The key that the datagram names, whoever has made it; zero: none.
pub fn named_key(datagram: &[u8]) -> KeyId {
    let of_frame = |_| SealedHeader::take(datagram).map(|(header, _)| KeyId(header.key));
    Handshake::decode(datagram).map(|said| said.key).or_else(of_frame).unwrap_or(KeyId(0))
}

fn is_or_none(said: &Handshake, own: ServerId) -> bool {
    said.destination == own || said.destination == ServerId::NONE
}

fn check_genesis(said: GenesisId, own: GenesisId) -> Result<(), DropCause> {
    if said == own { Ok(()) } else { Err(DropCause::Genesis) }
}

fn tag_keys(keys: &KeyRing, cluster: &str) -> BTreeMap<KeyId, hmac::Key> {
    keys.iter().map(|key| (key.id, handshake_key(key, cluster))).collect()
}
