//! The client's half of the protocol. (Interface; the implementation replaces this stub.)

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::operation::{Operation, Settled};
use crate::time::Instant;
use crate::types::{ClusterHash, LogIndex};
use crate::wire::Query;

/// What a client is told at its start.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The cluster's name, in short.
    pub cluster: ClusterHash,
    /// Nodes to ask. Further ones are learned from their answers.
    pub servers: Vec<SocketAddr>,
    /// How long one operation may take before the client gives up.
    pub timeout: Duration,
    /// The session will have a single operation.
    pub one_shot: bool,
    /// How many operations may be outstanding at once; further ones wait.
    pub outstanding_max: usize,
}

/// What a client is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Change the store.
    Execute(Operation),
    /// Read from it.
    Read {
        /// What.
        query: Query,
        /// From the asked node alone, without asking the others.
        stale: bool,
    },
}

/// The client's number for something it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// What a client has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The next bytes of a read's answer, in order.
    Bytes(AskId, Bytes),
    /// The ask is over.
    Done(AskId, Answer),
}

/// How an ask ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The operation was settled in the log.
    Settled(Settled),
    /// The read is complete; its bytes came before.
    Read {
        /// The index whose state was answered from.
        index: LogIndex,
        /// Of a stale read: the most that it can be old, in microseconds, if known.
        age: Option<u64>,
    },
    /// Certainly not done, and why.
    Refused(String),
    /// It may have taken effect once, or not at all; and what is missing.
    Unknown(String),
    /// A read that nobody answered in time; and what is missing.
    NoAnswer(String),
}

/// One client: a session and what is outstanding in it.
#[derive(Debug)]
pub struct Client {}

#[allow(unused_variables, clippy::unused_self, reason = "interface only")]
impl Client {
    /// A client that has said nothing yet. `seed` must be random.
    pub fn new(config: ClientConfig, now: Instant, seed: u64) -> Self {
        unimplemented!()
    }

    /// Begins something. Its events bear the number returned.
    pub fn ask(&mut self, now: Instant, ask: Ask) -> AskId {
        unimplemented!()
    }

    /// Takes in one datagram.
    pub fn on_datagram(&mut self, now: Instant, source: SocketAddr, datagram: &Bytes) {
        unimplemented!()
    }

    /// Acts on what is due.
    pub fn on_timeout(&mut self, now: Instant) {
        unimplemented!()
    }

    /// When the client must be called again, at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        unimplemented!()
    }

    /// Writes the next frame to send into `frame`, and says where to.
    pub fn poll_send(&mut self, frame: &mut Vec<u8>) -> Option<SocketAddr> {
        unimplemented!()
    }

    /// What the client has to say.
    pub fn poll_event(&mut self) -> Option<Event> {
        unimplemented!()
    }
}
