//! An operator who lets a node in, and perhaps another out.

use std::time::Duration;

use bytes::Bytes;

use super::disk::CLUSTER;
use super::network::Endpoint;
use crate::time::Instant;
use crate::types::{ClusterHash, DirectoryId, LogIndex, PacketNumber, ServerId};
use crate::wire::{self, Header, MemberChange, MemberOutcome, MemberRequest, Message};

/// Where the operator is reached: no other client has this number.
pub const NUMBER: u16 = u16::MAX;
/// The longest pause between two times of asking.
const PAUSE_MAX: u64 = 400_000;
/// The longest pause between letting one in and another out: who came may lead by then.
const REST_MAX: u64 = 10_000_000;

/// What the operator has in mind, and when it asks next.
#[derive(Debug)]
pub struct Operator {
    random: fastrand::Rng,
    /// What is to be done, the next last.
    changes: Vec<MemberChange>,
    acts_at: Instant,
    /// How long after the first change the next one is begun.
    rest: Duration,
    /// The number of the change that is asked for.
    nonce: u64,
    /// Where the members stand in the log that the operator knows of.
    seen: LogIndex,
    /// Whether a node may still be let out: also by what was asked for and given up.
    lets_out: bool,
}

impl Operator {
    /// One who does nothing.
    pub fn idle(random: fastrand::Rng) -> Self {
        Self {
            random,
            changes: Vec::new(),
            acts_at: Instant(0),
            rest: Duration::ZERO,
            nonce: 1,
            seen: LogIndex(0),
            lets_out: false,
        }
    }

    /// One who lets the last of so many nodes in, and then perhaps any of them out.
    pub fn of(nodes: usize, within: Duration, mut random: fastrand::Rng) -> Self {
        let newcomer = nodes - 1;
        let address = Endpoint::Node(newcomer).address();
        let mut changes = vec![MemberChange::Add { node: id_of(newcomer), address }];
        let lets_out = random.bool();
        if lets_out {
            changes.insert(0, MemberChange::Remove { node: id_of(random.usize(..nodes)) });
        }
        let acts_at = Instant(0) + within.mul_f64(random.f64());
        let rest = Duration::from_micros(random.u64(..REST_MAX));
        Self { changes, acts_at, rest, lets_out, ..Self::idle(random) }
    }

    /// Whether nothing is left to be done.
    pub fn is_done(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether a node may still be let out. A cluster that loses a disk at that very moment
    /// may be left without a majority, since what died just now is not known to be dead.
    pub fn lets_out(&self) -> bool {
        self.lets_out
    }

    /// The next frame to send, if it is time, and to which of so many nodes.
    pub fn act(&mut self, now: Instant, nodes: usize) -> Option<(Endpoint, Vec<u8>)> {
        let change = *self.changes.last()?;
        if now < self.acts_at {
            return None;
        }
        self.acts_at = now + Duration::from_micros(self.random.u64(..PAUSE_MAX));
        let header = Header::of_client(
            ClusterHash::of(CLUSTER),
            DirectoryId(1),
            PacketNumber(self.random.u64(1..1 << 62)),
        );
        let request = MemberRequest { nonce: self.nonce, seen: self.seen, change };
        let mut frame = Vec::new();
        wire::encode(&header, &Message::MemberRequest(request), &mut frame);
        Some((Endpoint::Node(self.random.usize(..nodes)), frame))
    }

    /// Takes in an answer. What would cost the quorum is given up. What meets another change is
    /// asked for again, of the members as they are then.
    pub fn on_datagram(&mut self, now: Instant, datagram: &Bytes) {
        let Ok(frame) = wire::decode(datagram) else { return };
        let Message::MemberReply(reply) = frame.message else { return };
        if reply.nonce != self.nonce || reply.outcome == MemberOutcome::Pending {
            return;
        }
        self.nonce += 1;
        if reply.outcome == MemberOutcome::Outdated {
            self.seen = reply.index;
            return;
        }
        let change = self.changes.pop();
        self.acts_at = now + self.rest;
        let is_out = matches!(change, Some(MemberChange::Remove { .. })) && reply.outcome.is_so();
        self.lets_out &= !is_out;
    }
}

fn id_of(place: usize) -> ServerId {
    ServerId(u16::try_from(place + 1).expect("few nodes"))
}
