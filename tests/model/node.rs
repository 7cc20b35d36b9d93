//! One life of the daemon's own node, driven by inputs that name no times.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use quorate::link::Pinned;
use quorate::replica::{Batch, ELECTION_TIMEOUT, HEARTBEAT_INTERVAL, ListedNode, NodeConfig};
use quorate::replica::{Life, Randomness, ReplicaNode};
use quorate::time::Instant;
use quorate::types::{LogIndex, PacketNumber, ReadRound, ServerId};
use quorate::wire::{self, Acknowledge, Echo, GenesisHash, Heartbeat, Message, Role, VoteReply};

use super::client;
use super::disk::Disk;
use super::frames::{Frame, FrameId, Frames};

/// Every life begins at this time: nothing that one node says to another depends on it.
const BEGINNING: Instant = Instant(1_000_000_000);
/// More timers than fire before the one that is waited for.
const TIMERS_MAX: usize = 64;
/// How long it takes until a node may be asked the same again, or a directory counts as settled.
const PAUSE: Duration = Duration::from_millis(32);
const SETTLING: Duration = Duration::from_secs(2);
/// Longer than any life.
const NEVER: Duration = Duration::from_secs(1_000_000);

/// What happens to a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A frame arrives. It is fresh if its sender has heard this life.
    Frame(FrameId),
    /// It has heard no leader for an election timeout.
    ElectionTimeout,
    /// The same, and these nodes are said to have granted a pre-vote.
    Stand(Vec<Life>),
    /// It introduces itself again.
    GenesisTimeout,
    /// Time passes in which, as leader, it is heard by these nodes and by no other.
    Contact(Vec<Life>),
    /// A client asks for its `nth` operation.
    Write(u8),
    /// The oldest batch is on the disk.
    Sync,
}

/// A node that runs, and what its disk has not synced yet.
pub struct Node {
    core: ReplicaNode,
    now: Instant,
    /// The next number of a frame that arrives.
    packet: u64,
    /// The newest frame to each other node.
    sent: BTreeMap<ServerId, PacketNumber>,
    batches: VecDeque<Batch>,
    pub disk: Disk,
    /// Whether each batch is synced at the end of its turn.
    eager: bool,
}

/// What a turn has led to, outside of the node.
#[derive(Default)]
pub struct Said {
    pub frames: Vec<Frame>,
    /// The operation of a client at this index was acknowledged.
    pub acknowledged: Option<LogIndex>,
}

impl Node {
    /// Starts a node. What its directory counts as this start is durable before anything else.
    pub fn start(disk: Disk, size: usize, eager: bool) -> (Self, Said) {
        let seed = disk.directory.0 * 1_000 + u64::from(disk.incarnation.0);
        let core =
            ReplicaNode::new(&config(size), disk.recovered(), BEGINNING, &Randomness::Seed(seed));
        let (sent, batches) = (BTreeMap::new(), VecDeque::new());
        let mut node = Self { core, now: BEGINNING, packet: 1, sent, batches, disk, eager };
        node.core.on_timeout(node.now);
        let said = node.end_turn();
        // Who is asked again at once says nothing: none is.
        node.now = node.now + PAUSE;
        (node, said)
    }

    pub fn core(&self) -> &ReplicaNode {
        &self.core
    }

    pub fn now(&self) -> Instant {
        self.now
    }

    /// What was taken from it to be written and is not synced.
    pub fn batches(&self) -> &VecDeque<Batch> {
        &self.batches
    }

    /// Takes one turn.
    pub fn take(&mut self, input: &Input, frames: &Frames) -> Said {
        match input {
            Input::Frame(frame) => self.hear(&frames.get(*frame)),
            Input::ElectionTimeout => self.time_out(),
            Input::Stand(voters) => {
                self.time_out();
                self.end_turn();
                for voter in voters {
                    self.be_granted(*voter);
                }
            }
            Input::GenesisTimeout => self.fire_next(),
            Input::Contact(heard) => return self.keep_contact(heard),
            Input::Write(nth) => {
                let frame = client::put(*nth);
                self.core.on_datagram(self.now, client::ADDRESS, &frame);
            }
            Input::Sync => self.sync(),
        }
        self.end_turn()
    }

    fn hear(&mut self, frame: &Frame) {
        let fresh = frame.hears == Some(self.core.state().life());
        // Two that compare lives do not say the same again at once; but a new life is told.
        let known = self.core.state().peers.get(&frame.from.node).and_then(|peer| peer.life);
        if matches!(frame.message, Message::Resume(_)) && known != Some(frame.from) {
            self.now = self.now + PAUSE;
        }
        self.arrive(frame.from, fresh, frame.genesis, &frame.message);
    }

    /// A frame that is newer than all before it.
    fn arrive(&mut self, from: Life, fresh: bool, genesis: GenesisHash, message: &Message) {
        self.packet += 1;
        let echoed = self.sent.get(&from.node).filter(|_| fresh);
        let echo = echoed.map(|packet| Echo { packet: *packet, age: 0 });
        let (to, hears) = (self.disk.id, None);
        let frame = Frame { from, to, hears, genesis, message: message.clone() };
        let bytes = frame.encode(PacketNumber(self.packet), echo);
        self.core.on_datagram(self.now, address_of(from.node), &Bytes::from(bytes));
    }

    fn fire_next(&mut self) {
        if let Some(deadline) = self.core.next_deadline() {
            self.now = self.now.max(deadline);
            self.core.on_timeout(self.now);
        }
    }

    /// Time passes until it waits for no leader any longer.
    fn time_out(&mut self) {
        let armed = self.core.state().election_timer;
        for _ in 0..TIMERS_MAX {
            if self.core.state().election_timer != armed {
                return;
            }
            self.fire_next();
        }
    }

    /// Another node is said to grant a pre-vote. Safety rests on no pre-vote.
    fn be_granted(&mut self, voter: Life) {
        let state = self.core.state();
        let (genesis, term) = (self.genesis(), state.term.next());
        let granted =
            VoteReply { term, pre_vote: true, granted: true, voter_term: state.term, lacks: false };
        if state.role == Role::Candidate {
            self.arrive(voter, false, genesis, &Message::VoteReply(granted));
        }
    }

    fn genesis(&self) -> GenesisHash {
        let genesis = self.disk.genesis.complete();
        genesis.map_or(GenesisHash::default(), GenesisHash::of)
    }

    /// Time passes: two rounds of heartbeats. The second comes at once after these nodes have
    /// answered the first, with what the leader knows of them already.
    fn keep_contact(&mut self, heard: &[Life]) -> Said {
        self.now = self.now + SETTLING;
        self.core.on_timeout(self.now);
        let mut said = self.end_turn();
        for life in heard {
            let Some(message) = self.known_of(life.node) else { continue };
            let genesis = self.genesis();
            self.arrive(*life, true, genesis, &Message::Acknowledge(message));
        }
        self.now = self.now + HEARTBEAT_INTERVAL;
        self.core.on_timeout(self.now);
        said.add(self.end_turn());
        said
    }

    fn known_of(&self, follower: ServerId) -> Option<Acknowledge> {
        let state = self.core.state();
        let progress = &state.peers.get(&follower)?.progress;
        let matched = progress.matched.max(LogIndex(1));
        Some(Acknowledge {
            term: state.term,
            round: ReadRound(0),
            matched: progress.matched,
            durable: progress.durable,
            hint_index: matched,
            hint_term: state.log.term_at(matched)?,
            received: Vec::new(),
            durability_age: 0,
            free_space_class: 0,
            configuration_index: LogIndex(0),
        })
    }

    fn sync(&mut self) {
        let Some(batch) = self.batches.pop_front() else { return };
        for record in batch.records() {
            self.disk.write(record);
        }
        self.core.on_synced(self.now, batch);
    }

    /// Ends the turn as the daemon's loop does: frames first, then the disk.
    fn end_turn(&mut self) -> Said {
        let mut said = Said::default();
        loop {
            self.core.end_turn(self.now);
            while self.core.take_retired().is_some() {}
            self.say(&mut said);
            if let Some(batch) = self.core.take_batch() {
                self.batches.push_back(batch);
            }
            // What needs no writing waits for nothing but what is written before it.
            let is_empty = self.batches.front().is_some_and(|batch| batch.records().is_empty());
            if self.batches.is_empty() || !(self.eager || is_empty) {
                return said;
            }
            self.sync();
        }
    }

    fn say(&mut self, said: &mut Said) {
        let mut bytes = Vec::new();
        while let Some(address) = self.core.poll_send(&mut bytes) {
            let frame = wire::decode(&Bytes::copy_from_slice(&bytes)).expect("a node's own frame");
            if address == client::ADDRESS {
                said.acknowledged = said.acknowledged.max(client::acknowledged(&frame.message));
                continue;
            }
            let header = frame.header;
            self.sent.insert(header.destination, header.packet);
            let peer = self.core.state().peers.get(&header.destination);
            let hears = header.echo.and_then(|_| peer.and_then(|peer| peer.life));
            let (from, message) = (Life::of(&header), without_times(frame.message));
            let (to, genesis) = (header.destination, header.genesis);
            said.frames.push(Frame { from, to, hears, genesis, message });
        }
    }
}

impl Said {
    fn add(&mut self, other: Self) {
        self.frames.extend(other.frames);
        self.acknowledged = self.acknowledged.max(other.acknowledged);
    }
}

/// The message, without what only times and reads depend on.
fn without_times(message: Message) -> Message {
    match message {
        Message::Heartbeat(beat) => Message::Heartbeat(Heartbeat {
            round: ReadRound(1),
            confirmed_age: None,
            durability_age: 0,
            interval: 0,
            ..beat
        }),
        Message::Acknowledge(answer) => {
            Message::Acknowledge(Acknowledge { round: ReadRound(0), durability_age: 0, ..answer })
        }
        other => other,
    }
}

fn config(size: usize) -> NodeConfig {
    let listed = |id| (id, ListedNode { address: address_of(id), typed: String::new() });
    let config = NodeConfig::new(ids(size).map(listed).collect());
    let pinned = Pinned { timeout: Some(ELECTION_TIMEOUT), interval: Some(HEARTBEAT_INTERVAL) };
    // A second copy of a frame is the same frame, and for how long a disk stalls is a time.
    // Whom a node listens for is in no model.
    let listening_rounds = 0;
    NodeConfig { pinned, listening_rounds, redundancy_max: 1, disk_stall: NEVER, ..config }
}

pub fn ids(size: usize) -> impl Iterator<Item = ServerId> {
    (1_u16..).take(size).map(ServerId)
}

fn address_of(id: ServerId) -> std::net::SocketAddr {
    ([10, 0, 0, 1], id.0).into()
}
