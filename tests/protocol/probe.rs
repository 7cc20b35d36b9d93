//! One node, seen from its datagrams alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quorate::access::Access;
use quorate::configuration::Configuration;
use quorate::disk::{
    Damage, Doubt, GenesisState, Identity, LogEnd, Recovered, Sighting, Sightings,
};
use quorate::entry::Entry;
use quorate::replica::{Batch, Randomness, ReplicaNode, ReplicaState, Room};
use quorate::store::{Snapshot, Store};
use quorate::time::Instant;
use quorate::types::{
    ClusterHash, DirectoryId, Incarnation, LifeId, LogIndex, LossShare, PacketNumber, ReadRound,
    ServerId, Term,
};
use quorate::wire::{
    self, Acknowledge, DropCause, Echo, FRAME_BYTES_MAX, Frame, GenesisHash, Header, Message,
    NodeStatus, Resume, Role, Sighted, Traffic, Verdict, VoteReply,
};

use super::client;
use super::members::{
    CLUSTER, FIRST, SECOND, address_of, config, configuration, directory_of, ids,
};
use super::request::{put, request, session};
use super::said::Sent;

/// A node on a stage: its peers, its clients, its disk and its clock do what a test says.
pub struct Probe {
    pub now: Instant,
    id: ServerId,
    node: ReplicaNode,
    configuration: Configuration,
    next_packet: PacketNumber,
    /// The newest frame that each peer has from the node, which its frames echo.
    heard: BTreeMap<ServerId, PacketNumber>,
    /// The newest round of heartbeats that the node has begun.
    round: ReadRound,
    /// What the node has said of its own life and of others', which is kept apart.
    about_lives: Vec<Sent>,
}

/// How each other node lives, unless a test says otherwise.
const FIRST_LIFE: (Incarnation, LifeId) = (Incarnation(1), LifeId(1));

impl Probe {
    /// The first node of a cluster that was just born: a follower in term zero.
    pub fn born(nodes: usize) -> Self {
        Self::born_with(configuration(nodes))
    }

    pub fn born_with(configuration: Configuration) -> Self {
        let recovered = Recovered {
            genesis: GenesisState::Complete(configuration.clone()),
            commit: LogIndex(1),
            entries: vec![Entry::genesis(&configuration)],
            ..blank(FIRST)
        };
        Self::started(recovered, configuration)
    }

    /// The first node of a cluster of so many, on a damaged directory: after the genesis its
    /// log has these entries, and some `aside`; more may have been there, up to `upto`.
    pub fn damaged(nodes: usize, log: &[Entry], aside: &[Entry], upto: Option<LogEnd>) -> Self {
        let configuration = configuration(nodes);
        let entries = [&[Entry::genesis(&configuration)], log].concat();
        let recovered = Recovered {
            genesis: GenesisState::Complete(configuration.clone()),
            term: Term(3),
            commit: LogIndex(1),
            entries,
            aside: aside.to_vec(),
            doubt: Some(Doubt { upto }),
            ..blank(FIRST)
        };
        Self::started(recovered, configuration)
    }

    /// A node on a blank directory.
    pub fn blank(id: ServerId, nodes: usize) -> Self {
        Self::started(blank(id), configuration(nodes))
    }

    /// A node on a blank directory, which has listened for long enough to take part in a birth.
    pub fn founder(id: ServerId, nodes: usize) -> Self {
        let mut probe = Self::blank(id, nodes);
        let until = probe.now + Duration::from_secs(2);
        while probe.now < until {
            probe.wait_and_sync();
        }
        probe
    }

    /// A node whose life all others have judged, as it has judged theirs.
    fn started(recovered: Recovered, configuration: Configuration) -> Self {
        let known = ids(9).filter(|id| *id != recovered.identity.id).map(known_life);
        let recovered = Recovered { sightings: known.collect(), ..recovered };
        let mut probe = Self::started_unheard(recovered, configuration);
        for peer in probe.peers() {
            probe.answer_resume(peer, Verdict::Whole);
        }
        probe
    }

    /// A node that has not heard of any other yet.
    pub fn started_unheard(recovered: Recovered, configuration: Configuration) -> Self {
        let now = Instant(1_000_000);
        Self {
            now,
            id: recovered.identity.id,
            node: ReplicaNode::new(
                &config(configuration.members.len()),
                recovered,
                now,
                &Randomness::Seed(3),
            ),
            configuration,
            next_packet: PacketNumber(1),
            heard: BTreeMap::new(),
            round: ReadRound(0),
            about_lives: Vec::new(),
        }
    }

    fn peers(&self) -> Vec<ServerId> {
        self.configuration.members.keys().filter(|id| **id != self.id).copied().collect()
    }

    /// Another node says what it thinks of this life.
    pub fn answer_resume(&mut self, from: ServerId, verdict: Verdict) {
        let own = self.state().life();
        let sighted = Sighted {
            directory: own.directory,
            incarnation: own.incarnation,
            life: own.id,
            verdict,
            seen_incarnation: own.incarnation,
            seen_term: Term(0),
            seen_vote: false,
            seen_index: LogIndex(0),
        };
        self.hear_from((from, directory_of(from), FIRST_LIFE), Message::Sighted(sighted));
    }

    /// What was said of lives since this was last asked.
    pub fn said_of_lives(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.about_lives)
    }

    /// The first node of a cluster, elected, with an entry of its term not committed yet,
    /// unless it is alone.
    pub fn leading(nodes: usize) -> Self {
        let mut probe = Self::born(nodes);
        probe.elect();
        probe
    }

    /// The same, with that entry committed.
    pub fn serving(nodes: usize) -> Self {
        let mut probe = Self::leading(nodes);
        if nodes > 1 {
            probe.acknowledge(SECOND, LogIndex(2));
            probe.sync();
        }
        assert_eq!(probe.state().commit, LogIndex(2));
        probe
    }

    /// The others grant every vote that they are asked for, until the node leads.
    pub fn elect(&mut self) {
        while self.state().role != Role::Leader {
            let said = self.wait_and_sync();
            self.grant(&said);
            self.sync();
        }
    }

    /// Every vote that was asked for is granted.
    pub fn grant(&mut self, said: &[Sent]) {
        for sent in said {
            if let Message::VoteRequest(request) = sent.message {
                let vote = VoteReply {
                    term: request.term,
                    pre_vote: request.pre_vote,
                    granted: true,
                    voter_term: request.term,
                    lacks: false,
                };
                self.hear(peer_at(sent.to), Message::VoteReply(vote));
            }
        }
    }

    pub fn state(&self) -> &ReplicaState {
        self.node.state()
    }

    /// The node itself: to tell it what only its process knows, and to ask what only that may.
    pub fn node(&mut self) -> &mut ReplicaNode {
        &mut self.node
    }

    pub fn store(&self) -> &Store {
        self.node.store()
    }

    /// A frame of another node in its first life, which echoes the newest that it has.
    pub fn hear(&mut self, from: ServerId, message: Message) {
        self.hear_in_life(from, (directory_of(from), Incarnation(1)), message);
    }

    /// The same, in any of its lives, which the node gets to know first.
    pub fn hear_in_life(
        &mut self,
        from: ServerId,
        (directory, incarnation): (DirectoryId, Incarnation),
        message: Message,
    ) {
        let life = (from, directory, (incarnation, LifeId(incarnation.0)));
        let seen = self.state().sightings.of(from, directory);
        if seen.is_none_or(|seen| seen.incarnation != incarnation) {
            // More than any of its former lives can have held.
            let held = Resume { term: Term(1 << 59), voted: false, end: None };
            self.hear_from(life, Message::Resume(held));
        }
        self.hear_from(life, message);
    }

    /// The same, without an introduction.
    pub fn hear_from(
        &mut self,
        life: (ServerId, DirectoryId, (Incarnation, LifeId)),
        message: Message,
    ) {
        let header = self.header_from(life);
        self.deliver(address_of(life.0), header, message);
    }

    /// A frame of another node, with a header that is not as it should be.
    pub fn hear_altered(&mut self, from: ServerId, alter: impl Fn(&mut Header), message: Message) {
        let mut header = self.header_from((from, directory_of(from), FIRST_LIFE));
        alter(&mut header);
        self.deliver(address_of(from), header, message);
    }

    fn header_from(
        &mut self,
        (from, directory, (incarnation, life)): (ServerId, DirectoryId, (Incarnation, LifeId)),
    ) -> Header {
        self.next_packet = self.next_packet.next();
        let genesis = if self.state().is_born() {
            GenesisHash::of(self.configuration.genesis)
        } else {
            GenesisHash::default()
        };
        Header {
            cluster: ClusterHash::of(CLUSTER),
            genesis,
            sender: from,
            destination: self.id,
            directory,
            incarnation,
            life,
            packet: self.next_packet,
            echo: self.heard.get(&from).map(|&packet| Echo { packet, age: 0 }),
            loss: LossShare(0),
        }
    }

    /// The number of the newest frame that the node has sent to the other.
    pub fn newest_to(&self, other: ServerId) -> PacketNumber {
        self.heard[&other]
    }

    /// The network says that nobody at the address has taken the node's frame to the other.
    pub fn refused(&mut self, other: ServerId, address: SocketAddr, packet: PacketNumber) {
        let header = self.header_from((other, directory_of(other), FIRST_LIFE));
        let (sender, destination) = (self.id, other);
        let header = Header { sender, destination, packet, ..header };
        let mut frame = Vec::new();
        let acknowledge = self.acknowledgment(LogIndex(1));
        wire::encode(&header, &Message::Acknowledge(acknowledge), &mut frame);
        self.node.on_refused(self.now, address, &Bytes::from(frame));
    }

    /// A frame that another node sent to a client comes here, from that node's address.
    pub fn overhear(&mut self, from: ServerId, packet: PacketNumber, message: Message) {
        let header = Header {
            cluster: ClusterHash::of(CLUSTER),
            genesis: GenesisHash::of(self.configuration.genesis),
            sender: from,
            destination: ServerId::NONE,
            directory: directory_of(from),
            incarnation: Incarnation(1),
            life: FIRST_LIFE.1,
            packet,
            echo: None,
            loss: LossShare(0),
        };
        self.deliver(address_of(from), header, message);
    }

    /// A follower has all of the leader's log up to `index` on its disk, and answers the
    /// newest round.
    pub fn acknowledge(&mut self, from: ServerId, index: LogIndex) {
        self.hear(from, Message::Acknowledge(self.acknowledgment(index)));
    }

    /// How a follower says so.
    pub fn acknowledgment(&self, index: LogIndex) -> Acknowledge {
        let state = self.state();
        Acknowledge {
            term: state.term,
            round: self.round,
            matched: index,
            durable: index,
            hint_index: index,
            hint_term: state.log.term_at(index).expect("an entry of the leader's"),
            received: Vec::new(),
            durability_age: 0,
            free_space_class: 0,
            configuration_index: LogIndex(1),
        }
    }

    /// A client asks something. Each number is a client at an address of its own.
    #[allow(clippy::needless_pass_by_value, reason = "tests make messages to give them away")]
    pub fn ask(&mut self, client: u32, message: Message) {
        let frame = client::frame(&message);
        self.node.on_datagram(self.now, client::address(client), &frame);
    }

    /// The same, of a client that loses such a share of what it is sent.
    pub fn ask_over_loss(&mut self, client: u32, loss: LossShare, message: &Message) {
        let frame = client::frame_of_one_that_loses(loss, message);
        self.node.on_datagram(self.now, client::address(client), &frame);
    }

    /// From now on those who hold keys may do what this says.
    pub fn set_access(&mut self, access: Access) {
        self.node.set_access(access);
    }

    /// A session has begun with the node, or somebody who says to be it.
    pub fn begin_session(&mut self, peer: ServerId, address: SocketAddr, key: u16) {
        self.node.on_session(address, peer, key);
    }

    /// A client asks something in a frame that was sealed with the key.
    pub fn ask_by_key(&mut self, client: u32, key: u16, message: &Message) {
        let frame = client::frame(message);
        self.node.on_opened(self.now, client::address(client), key, &frame);
    }

    /// Clients put so many keys, each with a value of 900 bytes.
    pub fn ask_to_put(&mut self, keys: u64) {
        for number in 0..keys {
            let operation = put(&format!("key-{number}"), vec![b'x'; 900]);
            self.ask(1, Message::Request(request(session(1 << 32 | number), &operation)));
        }
    }

    #[allow(clippy::needless_pass_by_value, reason = "tests make messages to give them away")]
    fn deliver(&mut self, source: SocketAddr, header: Header, message: Message) {
        let mut frame = Vec::new();
        wire::encode(&header, &message, &mut frame);
        self.node.on_datagram(self.now, source, &Bytes::from(frame));
    }

    /// Time passes, without a call of the node.
    pub fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// The node is called, as late as it is, for the timers that are due.
    pub fn time_out(&mut self) {
        self.node.on_timeout(self.now);
    }

    /// Time passes until the node's next timer is due.
    pub fn wait(&mut self) {
        let next = self.node.next_deadline().expect("a node always waits for something");
        self.now = self.now.max(next);
        self.time_out();
    }

    /// The same, and the disk keeps up. Returns what the node says.
    pub fn wait_and_sync(&mut self) -> Vec<Sent> {
        self.wait();
        self.sync()
    }

    /// Ends the turn while the socket stands still: what the node says is queued.
    pub fn end_turn(&mut self) {
        self.node.end_turn(self.now);
    }

    /// Ends the turn while the disk stands still. Returns what the node says.
    pub fn turn(&mut self) -> Vec<Sent> {
        self.end_turn();
        let (mut said, mut bytes) = (Vec::new(), Vec::new());
        while let Some(to) = self.node.poll_send(&mut bytes) {
            assert!(bytes.len() <= FRAME_BYTES_MAX, "a frame of {} bytes", bytes.len());
            let frame = wire::decode(&Bytes::copy_from_slice(&bytes)).expect("what a node sends");
            let sent = self.note(to, frame);
            if matches!(sent.message, Message::Resume(_) | Message::Sighted(_)) {
                self.about_lives.push(sent);
            } else {
                said.push(sent);
            }
        }
        said
    }

    fn note(&mut self, to: SocketAddr, Frame { header, message }: Frame) -> Sent {
        if header.destination != ServerId::NONE {
            self.heard.insert(header.destination, header.packet);
        }
        if let Message::Heartbeat(heartbeat) = &message {
            self.round = heartbeat.round;
        }
        Sent { to, message }
    }

    /// What the disk is asked to write.
    #[track_caller]
    pub fn write(&mut self) -> Batch {
        self.node.take_batch().expect("something to write")
    }

    pub fn has_nothing_to_write(&mut self) -> bool {
        self.node.take_batch().is_none()
    }

    /// The disk has synced what it was asked to.
    pub fn synced(&mut self, batch: Batch) {
        self.node.on_synced(self.now, batch);
    }

    /// So many bytes of disk are free, and no bound on all of it is near.
    pub fn has_free(&mut self, free: u64) {
        self.has_room(Room { free, all: u64::MAX });
    }

    pub fn has_room(&mut self, room: Room) {
        self.node.on_room(room);
    }

    /// The node is about to stop.
    pub fn hand_over(&mut self) {
        self.node.hand_over(self.now);
    }

    pub fn may_stop(&self) -> bool {
        self.node.may_stop()
    }

    /// A datagram is dropped before the node sees it.
    pub fn turned_away(&mut self, source: SocketAddr, cause: DropCause) {
        self.node.on_dropped(source, cause);
    }

    /// What the node says of itself.
    pub fn status(&self) -> NodeStatus {
        self.node.status(0, self.now)
    }

    /// What the node says of the frames between it and the others.
    pub fn traffic(&self) -> Traffic {
        self.node.traffic(0)
    }

    /// A segment of the journal is found damaged.
    pub fn finds_damage(&mut self) {
        self.finds(&Damage { segments: vec![1], ..Damage::default() });
    }

    /// The disk was read again, and this was found damaged.
    pub fn finds(&mut self, damage: &Damage) {
        self.node.on_damage(damage);
    }

    /// What the disk is asked to keep as a snapshot.
    pub fn take_snapshot(&mut self) -> Option<Snapshot> {
        self.node.take_snapshot()
    }

    /// The disk has that snapshot.
    pub fn snapshot_written(&mut self) {
        self.node.on_snapshot_written(self.now);
    }

    /// The disk has no room for that snapshot.
    pub fn snapshot_refused(&mut self) {
        self.node.on_snapshot_refused();
    }

    /// Ends the turn, and lets the disk catch up. Returns what the node says.
    pub fn sync(&mut self) -> Vec<Sent> {
        let mut said = self.turn();
        while let Some(batch) = self.node.take_batch() {
            self.synced(batch);
            said.extend(self.turn());
        }
        said
    }
}

pub fn blank(id: ServerId) -> Recovered {
    Recovered {
        identity: Identity { cluster: CLUSTER.into(), id, directory: directory_of(id) },
        incarnation: Incarnation(1),
        genesis: GenesisState::Blank,
        term: Term(0),
        voted_for: None,
        commit: LogIndex(0),
        snapshot: None,
        entries: Vec::new(),
        aside: Vec::new(),
        doubt: None,
        sightings: Sightings::new(),
    }
}

fn known_life(id: ServerId) -> ((ServerId, DirectoryId), Sighting) {
    let (incarnation, life) = FIRST_LIFE;
    ((id, directory_of(id)), Sighting { incarnation, life, ..Sighting::default() })
}

#[track_caller]
fn peer_at(address: SocketAddr) -> ServerId {
    ids(9).find(|id| address_of(*id) == address).expect("a node's address")
}
