//! The nodes that a client knows, and which of them it asks first.

use std::net::SocketAddr;
use std::time::Duration;

use super::ClientConfig;
use crate::link::{Copies, Link, Redundancy, RoundTrip};
use crate::time::Instant;
use crate::types::{ClusterHash, DirectoryId, Incarnation, LossShare, PacketNumber, ServerId};
use crate::wire::{DropCause, GenesisHash, Header};

/// The most nodes that a client remembers: those given, and those learned.
const SERVERS_MAX: usize = 64;
/// The most nodes that are asked at once, beside another.
const OTHERS_MAX: usize = 8;
/// The longest wait for an answer before another node is asked.
const PATIENCE_MAX: Duration = Duration::from_millis(400);
/// The shortest, unless the measured latency calls for more.
const PATIENCE_MIN: Duration = Duration::from_millis(15);
/// The longest where some requests and answers are lost, unless the round trip calls for more.
const PATIENCE_LOSSY: Duration = Duration::from_millis(100);
/// The wait for an answer doubles at most this often since operations had to be asked again.
const DOUBLED_MAX: u32 = 5;
/// A node is asked so often in vain before another is, and then the waits are longer.
const TRIES: u32 = 2;
/// The same where something is lost: silence tells less of the node, and a burst of losses is over
/// the sooner the more it takes.
const TRIES_LOSSY: u32 = 4;
/// Answers that always take the same time are not asked for again while they come in: what wakes
/// the client, and what comes in, are not more exact than this (RFC 6298 calls it G).
const GRANULARITY: Duration = Duration::from_micros(250);
/// An operation takes the client's round trip, one between nodes, and the time of their disks: no
/// more than so many round trips where all ways are alike.
const COMMIT_ROUND_TRIPS: u32 = 3;
/// What an operation counts that seems to have been slow, beside one whose asking was lost.
const SLOW: u32 = 4;

/// The nodes that a client knows.
#[derive(Debug)]
pub struct Servers {
    cluster: ClusterHash,
    /// Random bits that stand in the place of a directory id.
    process: DirectoryId,
    genesis: GenesisHash,
    known: Vec<Server>,
    preferred: ServerIndex,
    redundancy: Redundancy,
    /// How long operations take from the first asking to the answer.
    latency: RoundTrip,
    /// How much tells that operations take longer than is known: [`SLOW`] for each in a row that
    /// had to be asked again, and 1 where the earlier asking was rather lost.
    slowness: u32,
}

/// A node's place in the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerIndex(usize);

impl ServerIndex {
    /// The first that was given.
    pub const FIRST: Self = Self(0);
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    link: Link,
    life: Option<(DirectoryId, Incarnation)>,
    heard_at: Option<Instant>,
}

impl Server {
    fn new(address: SocketAddr, random: &mut fastrand::Rng) -> Self {
        let first_packet = PacketNumber(random.u64(1..1 << 62));
        Self { address, link: Link::of_few(first_packet), life: None, heard_at: None }
    }
}

impl Servers {
    /// Those that the client was given, of which there must be one.
    pub fn new(config: &ClientConfig, random: &mut fastrand::Rng) -> Self {
        let known: Vec<Server> =
            config.servers.iter().map(|address| Server::new(*address, random)).collect();
        assert!(!known.is_empty(), "a client is given at least one server");
        Self {
            cluster: config.cluster,
            process: DirectoryId(random.u64(..)),
            genesis: GenesisHash::default(),
            known,
            preferred: ServerIndex::FIRST,
            redundancy: Redundancy::new(config.redundancy_max),
            latency: RoundTrip::default(),
            slowness: 0,
        }
    }

    /// The one that is believed to lead.
    pub fn preferred(&self) -> ServerIndex {
        self.preferred
    }

    /// The preferred one, and then the others in turn.
    pub fn nth_choice(&self, n: u32) -> ServerIndex {
        ServerIndex((self.preferred.0 + n as usize) % self.known.len())
    }

    /// The one after this one.
    pub fn after(&self, server: ServerIndex) -> ServerIndex {
        ServerIndex((server.0 + 1) % self.known.len())
    }

    /// All but this one, up to so many.
    pub fn others(&self, server: ServerIndex) -> impl Iterator<Item = ServerIndex> {
        let all = (0..self.known.len()).map(ServerIndex);
        all.filter(move |other| *other != server).take(OTHERS_MAX)
    }

    /// This one leads, as far as is known.
    pub fn prefer(&mut self, server: ServerIndex) {
        self.preferred = server;
    }

    /// What was begun at `since` was given up, and this one was asked last. If the preferred one
    /// has said nothing in all that time, or is this one, the next begins with the one behind
    /// this: with a short time for each, none would ever come to ask that.
    pub fn forsake(&mut self, server: ServerIndex, since: Instant) {
        let heard_at = self.known[self.preferred.0].heard_at;
        if self.preferred == server || heard_at.is_none_or(|at| at <= since) {
            self.preferred = self.after(server);
        }
    }

    /// This one answers; better than one that does not.
    pub fn suggest(&mut self, server: ServerIndex) {
        if self.known[self.preferred.0].life.is_none() {
            self.preferred = server;
        }
    }

    /// The node at the address, which may be new.
    pub fn learn(&mut self, address: SocketAddr, random: &mut fastrand::Rng) -> ServerIndex {
        if let Some(known) = self.position(address) {
            return known;
        }
        if self.known.len() == SERVERS_MAX {
            return self.preferred;
        }
        self.known.push(Server::new(address, random));
        ServerIndex(self.known.len() - 1)
    }

    /// Where the node is reached.
    pub fn address(&self, server: ServerIndex) -> SocketAddr {
        self.known[server.0].address
    }

    fn position(&self, address: SocketAddr) -> Option<ServerIndex> {
        self.known.iter().position(|server| server.address == address).map(ServerIndex)
    }

    /// Checks that a frame is a known node's answer, of this cluster and of the same
    /// birth as all before, and takes note of what its header says.
    pub fn admit(
        &mut self,
        source: SocketAddr,
        header: &Header,
        now: Instant,
    ) -> Result<ServerIndex, DropCause> {
        if header.cluster != self.cluster {
            return Err(DropCause::Cluster);
        }
        if header.sender == ServerId::NONE || header.destination != ServerId::NONE {
            return Err(DropCause::Sender);
        }
        if header.genesis != GenesisHash::default() {
            if self.genesis == GenesisHash::default() {
                self.genesis = header.genesis;
            }
            if header.genesis != self.genesis {
                return Err(DropCause::Genesis);
            }
        }
        let index = self.position(source).ok_or(DropCause::Address)?;
        let server = &mut self.known[index.0];
        let life = (header.directory, header.incarnation);
        if server.life != Some(life) {
            server.life = Some(life);
            server.link.restart_hearing();
        }
        if let Some(echo) = header.echo {
            server.link.on_echo(echo, now);
        }
        server.link.hear(header.packet, header.loss, now);
        server.heard_at = Some(now);
        Ok(index)
    }

    /// The header of a frame that leaves now, and where it goes.
    pub fn header(&mut self, to: ServerIndex, now: Instant) -> (SocketAddr, Header) {
        // What the client knows of others is told as well, so that one that it turns to for the
        // first time sends copies of what it answers.
        let [_, loss] = self.losses(to);
        let server = &mut self.known[to.0];
        let header = Header {
            genesis: self.genesis,
            echo: server.link.echo(now),
            loss,
            ..Header::of_client(self.cluster, self.process, server.link.number(now))
        };
        (server.address, header)
    }

    /// The measured round trip to the node.
    pub fn round_trip(&self, server: ServerIndex) -> &RoundTrip {
        self.known[server.0].link.round_trip()
    }

    /// How often to send a request to the node, and how far apart.
    pub fn copies(&self, server: ServerIndex) -> Copies {
        let round_trip = self.round_trip(server);
        if round_trip.is_congested() {
            return Copies::NONE;
        }
        let [loss, _] = self.losses(server);
        Copies { times: self.redundancy.of_one(loss), spacing: round_trip.spacing() }
    }

    /// The loss on the way to the node, and on the way back. Of one that was hardly ever asked
    /// the others tell, however little: who knows nothing waits the longest.
    fn losses(&self, server: ServerIndex) -> [LossShare; 2] {
        let own = self.known[server.0].link.measured();
        if own.enough {
            return own.losses;
        }
        let all = self.known.iter().map(|server| server.link.losses());
        all.fold(own.losses, |[a, b], [c, d]| [a.max(c), b.max(d)])
    }

    /// Whether something is lost on the way to the node or back.
    fn loses(&self, server: ServerIndex) -> bool {
        self.losses(server) != [LossShare(0); 2]
    }

    /// How often the node is asked in vain before another is.
    pub fn tries(&self, server: ServerIndex) -> u32 {
        if self.loses(server) { TRIES_LOSSY } else { TRIES }
    }

    /// An operation was answered at its first asking, after this long.
    pub fn sample_latency(&mut self, took: Duration) {
        self.latency.sample(took);
        self.slowness = 0;
    }

    /// An operation was answered that had been asked again, the last time so long before. Which
    /// asking that answers nobody knows, so it tells no latency (RFC 6298, section 3). But if it
    /// took no longer than an operation does between nodes that are all as far away, or about as
    /// long as operations do of late, it is the last one, as it seems: what came before was lost.
    pub fn note_asked_again(&mut self, server: ServerIndex, before: Duration) {
        let once = self.round_trip(server).smoothed();
        let at_once = once.is_some_and(|once| before <= once * COMMIT_ROUND_TRIPS);
        let as_ever = |usual: Duration| before.abs_diff(usual) <= usual / 2;
        let of_the_last = at_once || self.latency.smoothed().is_some_and(as_ever);
        self.slowness = self.slowness.saturating_add(if of_the_last { 1 } else { SLOW });
    }

    /// How long to wait for an answer from the node before asking again, after this
    /// many attempts.
    pub fn patience(&self, server: ServerIndex, attempts: u32) -> Duration {
        self.doubled(self.answer_expected_within(server, attempts), server, attempts)
    }

    /// The same for what the node has at hand and sends at once: further pages of an answer. They
    /// take a round trip, however long operations do.
    pub fn patience_at_pin(&self, server: ServerIndex, attempts: u32) -> Duration {
        self.doubled(self.round_trip(server).timeout(), server, attempts)
    }

    fn doubled(&self, once: Duration, server: ServerIndex, attempts: u32) -> Duration {
        let once = once.max(PATIENCE_MIN);
        (once * 2_u32.pow((attempts / self.tries(server)).min(2))).min(PATIENCE_MAX.max(once))
    }

    /// Where nothing is lost, operations that are asked again all the same take longer than is
    /// known, and without a longer wait that would never be known. Where something is, a long
    /// wait costs more than a request that was not needed; and whoever asks again waits for less:
    /// what was lost may have been the answer, and another takes no more than a round trip.
    fn answer_expected_within(&self, server: ServerIndex, attempts: u32) -> Duration {
        let round_trip = self.round_trip(server).timeout();
        if self.loses(server) {
            let usual = self.usual().min(PATIENCE_LOSSY);
            return round_trip.max(if attempts == 0 { usual } else { usual / 2 });
        }
        let longest = round_trip.max(self.usual());
        let doubled = longest * 2_u32.pow((self.slowness / SLOW).min(DOUBLED_MAX));
        doubled.min(longest.max(PATIENCE_MAX))
    }

    /// How long operations take of late, at most.
    fn usual(&self) -> Duration {
        let timeout = self.latency.timeout();
        self.latency.smoothed().map_or(timeout, |usual| timeout.max(usual + GRANULARITY))
    }
}
