//! Two sides that both hold a key, and do not belong together: each says to the other who is there.

use std::net::SocketAddr;

use super::handshake::{Handshake, Nonce, Step};
use super::keys::KeyId;
use super::mismatch;
use super::sealer::{Begun, Sealer};
use super::way::{Way, WayId};
use crate::time::Instant;
use crate::types::ServerId;
use crate::wire::DropCause;

impl Sealer {
    /// Tells a holder of the key who is here, if that is why its `Hello` is refused.
    pub(super) fn tell(
        &mut self,
        now: Instant,
        to: SocketAddr,
        hello: &Handshake,
        datagram: &[u8],
        cause: DropCause,
    ) {
        let may_be_told =
            matches!(cause, DropCause::Cluster | DropCause::Destination | DropCause::Genesis);
        // What has this node's number may be its own, turned back.
        let is_node = ![ServerId::NONE, hello.sender].contains(&self.config.own);
        if !may_be_told || !is_node || self.check_holder(hello).is_err() {
            return;
        }
        let Some(cluster) = self.cluster_of(hello, datagram) else { return };
        if !self.mismatches.may_tell(now, to) {
            return;
        }
        self.mismatches.note(to, hello, cluster, cause);
        self.say_mismatch(now, (to, hello.sender), (hello.key, hello.beginner));
    }

    /// Tells who has just begun a session that it does not belong at its address: its number is
    /// that of a node which is known to be elsewhere. What it says is not heeded, and its
    /// handshake may be one that somebody has passed on; so nothing is sent there any more.
    pub fn tell_double(&mut self, now: Instant, begun: &Begun) {
        let id = (begun.address, begun.peer);
        let with = self.ways.get(&id).and_then(|way| self.begun_with(way));
        if let Some(with) = with.filter(|_| self.mismatches.may_tell(now, begun.address)) {
            self.say_mismatch(now, id, with);
        }
        let left = self.ways.remove(&id).and_then(|way| way.session);
        if let Some(session) = left.and_then(|left| self.sessions.get_mut(left)) {
            session.left_at = Some(now);
        }
    }

    fn say_mismatch(&mut self, now: Instant, (to, other): WayId, (key, beginner): (KeyId, Nonce)) {
        let mut mismatch = Handshake {
            step: Step::Mismatch,
            cluster: self.cluster,
            sender: self.config.own,
            destination: other,
            key,
            cipher: self.config.cipher,
            genesis: self.genesis,
            issued: now,
            beginner,
            answerer: Nonce::default(),
        };
        mismatch.answerer = self.mismatches.hidden_name(&mismatch);
        self.say(to, &mismatch);
    }

    /// Takes note of who answers instead of whom this side has greeted.
    pub(super) fn on_mismatch(
        &mut self,
        source: SocketAddr,
        said: &Handshake,
        datagram: &[u8],
    ) -> DropCause {
        if said.destination != self.config.own || said.sender == ServerId::NONE {
            return DropCause::Destination;
        }
        let mut there = self.ways.range((source, ServerId::NONE)..=(source, ServerId(u16::MAX)));
        let with = Some((said.key, said.beginner));
        let greeted = there.find(|(_, way)| {
            way.has_greeted_with(said.key, &said.beginner) || self.begun_with(way) == with
        });
        let Some((&(_, greeted), way)) = greeted else { return DropCause::Duplicate };
        if self.config.own == ServerId::NONE && way.session.is_some() {
            // Its greeting was passed on to others as well. What it sends in the session may be
            // done, so it must not take their answer for the node's.
            return DropCause::Duplicate;
        }
        let has_session = self.begun_with(way) == with;
        let Some(cluster) = self.cluster_of(said, datagram) else { return DropCause::Seal };
        let cause = mismatch::cause(said, self.cluster, greeted, has_session);
        self.mismatches.note(source, said, cluster, cause);
        cause
    }

    /// The key and the random bits that the newest session there began with.
    fn begun_with(&self, way: &Way) -> Option<(KeyId, Nonce)> {
        let session = self.sessions.get(way.session?)?;
        Some((session.key, session.beginner))
    }

    /// The cluster of whoever has made the datagram, if that holds the key.
    fn cluster_of(&self, said: &Handshake, datagram: &[u8]) -> Option<String> {
        self.mismatches.cluster_of(said, datagram, self.keys.get(said.key)?)
    }
}
