//! Another node, as this one sees it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::progress::Progress;
use super::sightings::Life;
use crate::link::{Delivery, Link, Timing};
use crate::time::Instant;
use crate::types::{DirectoryId, Incarnation, LogIndex, PacketNumber, Term};

/// Another node of the list.
#[derive(Debug)]
pub struct Peer {
    /// Where it is reached.
    pub address: SocketAddr,
    /// The life that it was last heard in.
    pub life: Option<Life>,
    /// Since when it is heard with that directory.
    pub directory_since: Instant,
    /// Directories that it was heard with before, each with its highest incarnation.
    pub retired: BTreeMap<DirectoryId, Incarnation>,
    /// The key of the newest session with it; zero: there was none.
    pub key: u16,
    /// The way to it.
    pub link: Link,
    /// How much that carries.
    pub delivery: Delivery,
    /// How long it may be silent, and how often it is spoken to.
    pub timing: Timing,
    /// The term in which it was last heard as leader.
    pub led_in: Term,
    /// When it was last heard.
    pub heard_at: Option<Instant>,
    /// Whether it has heard what this node's directory held at the start.
    pub has_answered: bool,
    /// When it was last told of that because it had not heard it.
    pub told_again_at: Option<Instant>,
    /// How far it has come, while this node leads.
    pub progress: Progress,
}

impl Peer {
    /// `next` is the first entry that it is sent, if this node leads.
    pub(super) fn new(
        address: SocketAddr,
        first_packet: PacketNumber,
        timing: Timing,
        next: LogIndex,
        now: Instant,
    ) -> Self {
        Self {
            address,
            life: None,
            directory_since: now,
            retired: BTreeMap::new(),
            key: 0,
            link: Link::new(first_packet),
            delivery: Delivery::new(now),
            timing,
            led_in: Term(0),
            heard_at: None,
            has_answered: false,
            told_again_at: None,
            progress: Progress::new(next, now),
        }
    }

    /// The directory that it was last heard with.
    pub fn directory(&self) -> Option<DirectoryId> {
        self.life.map(|life| life.directory)
    }
}
