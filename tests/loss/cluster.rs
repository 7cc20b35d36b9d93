//! Three nodes and their clients on links that lose and delay, with disks that take a while.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quorate::client::{Answer, Ask, AskId, Client, ClientConfig, Event};
use quorate::disk::{self, Identity, SegmentSize};
use quorate::link::REDUNDANCY_MAX;
use quorate::operation::Operation;
use quorate::replica::{Batch, ListedNode, NodeConfig, Randomness, ReplicaNode};
use quorate::sim::{Loss, LossyWay, SimDirectory};
use quorate::time::Instant;
use quorate::types::{ClusterHash, DirectoryId, LogIndex, ServerId};
use quorate::wire::{Query, Role};

use super::cubic::{Cubic, SEGMENT_BYTES};
use super::uplink::Uplink;

const CLUSTER: &str = "lossy";
const NODES: usize = 3;
/// The place of the first client among the hosts. The others' follow.
const CLIENT: usize = NODES;
/// How long a disk takes to sync a batch.
const SYNC: Duration = Duration::from_micros(200);
/// An operation that takes longer is not answered.
const TIMEOUT: Duration = Duration::from_secs(30);
const VALUE_BYTES: usize = 128;
/// Nothing is lost until the cluster has settled for so long.
const SETTLING: Duration = Duration::from_secs(2);
const RIVAL_WAKES_AFTER: Duration = Duration::from_millis(100);

/// The nodes, the clients, and what is under way between them.
pub struct Cluster {
    now: Instant,
    events: BTreeMap<(Instant, u64), Happening>,
    next_event: u64,
    delay: Duration,
    loss: Loss,
    ways: Vec<Vec<LossyWay>>,
    /// What the link of each host carries of what it sends, if that is bounded.
    uplinks: Option<Vec<Uplink>>,
    /// A flow of TCP that the host of this place sends.
    rival: Option<(usize, Cubic)>,
    /// The host of this place is cut off.
    cut_off: Option<usize>,
    forged: bool,
    takes_snapshots: bool,
    nodes: Vec<Member>,
    /// The first of them writes; the others were added.
    clients: Vec<Guest>,
    /// How many bytes went into the links.
    pub bytes: u64,
}

struct Member {
    node: ReplicaNode,
    syncing: Option<Batch>,
    wakes_at: Option<Instant>,
    /// The process does not run before this.
    stalled_until: Instant,
    /// There is no process, and the system says so to whoever sends something.
    ended: bool,
}

struct Guest {
    client: Client,
    wakes_at: Option<Instant>,
}

enum Happening {
    Arrival {
        from: usize,
        to: usize,
        frame: Bytes,
    },
    Synced(usize),
    /// A segment of the flow of TCP is acknowledged.
    Acknowledged(u64),
    RivalWakes,
    /// The system at `of` says that nobody has taken the frame.
    Refused {
        to: usize,
        of: usize,
        frame: Bytes,
    },
    Wake(usize),
}

impl Cluster {
    /// A cluster that has a leader, with a client that knows it, on links that lose nothing
    /// yet.
    pub fn start(delay: Duration, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let nodes = (0..NODES).map(|place| member(place, random.u64(..))).collect();
        let mut way = || LossyWay::new(random.u64(..));
        let ways = (0..=NODES).map(|_| (0..=NODES).map(|_| way()).collect()).collect();
        let mut cluster = Self {
            now: Instant(0),
            events: BTreeMap::new(),
            next_event: 0,
            delay,
            loss: Loss { share: 0.0, burst: None },
            ways,
            uplinks: None,
            rival: None,
            cut_off: None,
            forged: false,
            takes_snapshots: false,
            nodes,
            clients: vec![guest(all_addresses(), Instant(0), random.u64(..))],
            bytes: 0,
        };
        (0..NODES).for_each(|place| cluster.finish_turn(place));
        cluster.write().expect("nothing is lost yet");
        let settled = cluster.now + SETTLING;
        while cluster.now < settled {
            cluster.step();
        }
        cluster
    }

    /// From now on each link loses so much.
    pub fn lose(&mut self, loss: Loss) {
        self.loss = loss;
    }

    /// Another client, which knows nothing of the cluster yet, takes the place of the first.
    pub fn replace_client(&mut self, seed: u64) {
        self.clients[0] = guest(all_addresses(), self.now, seed);
    }

    /// Adds a client on a host of its own. Returns its number.
    pub fn add_client(&mut self, seed: u64) -> usize {
        let mut random = fastrand::Rng::with_seed(seed);
        self.clients.push(guest(all_addresses(), self.now, random.u64(..)));
        let mut way = || LossyWay::new(random.u64(..));
        self.ways.iter_mut().for_each(|ways| ways.push(way()));
        let hosts = self.ways.len() + 1;
        self.ways.push((0..hosts).map(|_| way()).collect());
        self.clients.len() - 1
    }

    /// From now on all that a host sends goes through a link like this.
    pub fn narrow(&mut self, uplink: &Uplink) {
        self.uplinks = Some(vec![uplink.clone(); NODES + self.clients.len()]);
    }

    /// From now on the host of this place sends a flow of TCP as well.
    pub fn rival(&mut self, place: usize) {
        self.rival = Some((place, Cubic::new(self.now)));
        self.schedule(self.now, Happening::RivalWakes);
    }

    /// How many bytes of that flow have arrived.
    pub fn rival_bytes(&self) -> u64 {
        self.rival.as_ref().map_or(0, |(_, cubic)| cubic.arrived * SEGMENT_BYTES as u64)
    }

    /// From now on what the host of this place sends and is sent is lost; or nobody's is.
    pub fn cut_off(&mut self, place: Option<usize>) {
        self.cut_off = place;
    }

    /// The index before the first entry in the log of this node.
    pub fn base(&self, place: usize) -> LogIndex {
        self.nodes[place].node.state().log.base().index
    }

    /// How many bytes of entries were ever written to the log of this node.
    pub fn written(&self, place: usize) -> u64 {
        self.nodes[place].node.state().log.written()
    }

    /// A node's process does not run for so long: what arrives waits, and so do its timers.
    pub fn stall(&mut self, place: usize, time: Duration) {
        self.nodes[place].stalled_until = self.now + time;
    }

    /// The node of this place dies, and is never heard again.
    pub fn kill(&mut self, place: usize) {
        self.stall(place, Duration::from_secs(1 << 40));
    }

    /// The process of this place ends. Its system goes on.
    pub fn end(&mut self, place: usize) {
        self.kill(place);
        self.nodes[place].ended = true;
    }

    /// From now on all that nodes send each other is said to be refused, and arrives.
    pub fn forge_refusals(&mut self) {
        self.forged = true;
    }

    /// From now on snapshots that are due are on the disk at once.
    pub fn take_snapshots(&mut self) {
        self.takes_snapshots = true;
    }

    /// Who leads, by its place.
    pub fn leader(&self) -> Option<usize> {
        self.nodes.iter().position(|member| member.node.state().role == Role::Leader)
    }

    /// Time passes, and nothing is written.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    /// The time that has passed.
    pub fn time(&self) -> Duration {
        self.now.since(Instant(0))
    }

    /// The highest term that any node knows.
    pub fn term(&self) -> u64 {
        self.nodes.iter().map(|member| member.node.state().term.0).max().unwrap_or(0)
    }

    /// Whether any node leads.
    pub fn is_led(&self) -> bool {
        self.nodes.iter().any(|member| member.node.state().role == Role::Leader)
    }

    /// The client writes once, always the same key. Returns how long it took; none: it was not
    /// answered.
    pub fn write(&mut self) -> Option<Duration> {
        self.write_to(0, VALUE_BYTES)
    }

    /// The same, to the key of this number, so many bytes.
    pub fn write_to(&mut self, key: u64, bytes: usize) -> Option<Duration> {
        let asked_at = self.now;
        self.ask(0, Ask::Execute(put(key, bytes)));
        let answer = self.wait_for_answer(0);
        matches!(answer, Answer::Settled(_)).then(|| self.now.since(asked_at))
    }

    /// This client begins to read the key of this number.
    pub fn read(&mut self, client: usize, key: u64) {
        let query = Query::Get { key: format!("k{key:02}").into() };
        self.ask(client, Ask::Read { query, stale: false });
    }

    fn ask(&mut self, client: usize, ask: Ask) -> AskId {
        let id = self.clients[client].client.ask(self.now, ask);
        self.finish_client(client);
        id
    }

    /// How what this client was asked last has ended.
    pub fn wait_for_answer(&mut self, client: usize) -> Answer {
        loop {
            if let Some(answer) = self.answer(client) {
                return answer;
            }
            self.step();
        }
    }

    /// The same, if it has.
    pub fn answer(&mut self, client: usize) -> Option<Answer> {
        loop {
            match self.clients[client].client.poll_event()? {
                Event::Done(_, answer) => return Some(answer),
                Event::Bytes(..) => {}
            }
        }
    }

    /// From now on the first client knows this node alone.
    pub fn ask_only(&mut self, place: usize) {
        self.clients[0] = guest(vec![address_of(place)], self.now, 1);
    }

    /// The first client begins a read all so often, whatever has come of those before, and a write
    /// besides where it is to write. Returns how long the reads took, the shortest first.
    pub fn read_every(&mut self, pause: Duration, times: usize, writes: bool) -> Vec<Duration> {
        let (mut asked, mut took) = (BTreeMap::new(), Vec::new());
        while took.len() < times {
            let next = self.now + pause;
            if asked.len() < times {
                let query = Query::Get { key: "k00".into() };
                let id = self.ask(0, Ask::Read { query, stale: false });
                asked.insert(id, self.now);
                if writes {
                    self.ask(0, Ask::Execute(put(0, VALUE_BYTES)));
                }
            }
            while self.now < next {
                self.step();
                while let Some(event) = self.clients[0].client.poll_event() {
                    if let Event::Done(id, Answer::Read { .. }) = event {
                        took.push(self.now.since(asked[&id]));
                    }
                }
            }
        }
        took.sort_unstable();
        took
    }

    fn step(&mut self) {
        let ((at, _), happening) = self.events.pop_first().expect("nodes have timers");
        self.now = at;
        self.refuse(&happening);
        if let Some(until) = self.waits_for(&happening) {
            return self.schedule(until, happening);
        }
        match happening {
            Happening::Arrival { from, to, frame } if to >= CLIENT => {
                self.clients[to - CLIENT].client.on_datagram(at, address_of(from), &frame);
                self.finish_client(to - CLIENT);
            }
            Happening::Arrival { from, to, frame } => {
                self.nodes[to].node.on_datagram(at, address_of(from), &frame);
                self.take_what_came_with_it(to);
                self.finish_turn(to);
            }
            Happening::Refused { to, of, frame } => {
                self.nodes[to].node.on_refused(at, address_of(of), &frame);
                self.finish_turn(to);
            }
            Happening::Synced(place) => {
                let batch = self.nodes[place].syncing.take().expect("the disk was at work");
                self.nodes[place].node.on_synced(at, batch);
                self.finish_turn(place);
            }
            Happening::Acknowledged(segment) => {
                if let Some((_, cubic)) = &mut self.rival {
                    cubic.on_acknowledged(segment, at);
                }
                self.send_rival();
            }
            Happening::RivalWakes => {
                if let Some((_, cubic)) = &mut self.rival {
                    cubic.on_time(at);
                }
                self.send_rival();
                self.schedule(at + RIVAL_WAKES_AFTER, Happening::RivalWakes);
            }
            Happening::Wake(place) if place >= CLIENT => self.wake_client(place - CLIENT),
            Happening::Wake(place) if self.nodes[place].wakes_at == Some(at) => {
                self.nodes[place].wakes_at = None;
                self.nodes[place].node.on_timeout(at);
                self.finish_turn(place);
            }
            Happening::Wake(_) => {}
        }
    }

    /// Says to the sender that nobody takes this, if that is so, or somebody lies.
    fn refuse(&mut self, happening: &Happening) {
        if let Happening::Arrival { from, to, frame } = happening
            && *from < CLIENT
            && (self.forged || self.nodes.get(*to).is_some_and(|member| member.ended))
        {
            let refused = Happening::Refused { to: *from, of: *to, frame: frame.clone() };
            self.schedule(self.now + self.delay, refused);
        }
    }

    /// Until when this waits, since the process that it happens to does not run.
    fn waits_for(&mut self, happening: &Happening) -> Option<Instant> {
        let (Happening::Arrival { to: place, .. }
        | Happening::Refused { to: place, .. }
        | Happening::Synced(place)
        | Happening::Wake(place)) = happening
        else {
            return None;
        };
        let now = self.now;
        let member = self.nodes.get_mut(*place).filter(|member| member.stalled_until > now)?;
        if matches!(happening, Happening::Wake(_)) && member.wakes_at == Some(now) {
            member.wakes_at = Some(member.stalled_until);
        }
        Some(member.stalled_until)
    }

    /// What arrives at a node at once it reads in one turn, as the daemon does.
    fn take_what_came_with_it(&mut self, place: usize) {
        while let Some(next) = self.events.first_entry()
            && next.key().0 == self.now
            && matches!(next.get(), Happening::Arrival { to, .. } if *to == place)
        {
            if let Happening::Arrival { from, frame, .. } = next.remove() {
                self.nodes[place].node.on_datagram(self.now, address_of(from), &frame);
            }
        }
    }

    /// Frames leave before the disk has the batch, as in the daemon.
    fn finish_turn(&mut self, place: usize) {
        loop {
            self.nodes[place].node.end_turn(self.now);
            let mut frame = Vec::new();
            while let Some(to) = self.nodes[place].node.poll_send(&mut frame) {
                self.transmit(place, to, &frame);
            }
            let member = &mut self.nodes[place];
            while member.node.take_retired().is_some() {}
            while self.takes_snapshots && member.node.take_snapshot().is_some() {
                member.node.on_snapshot_written(self.now);
            }
            if member.syncing.is_some() {
                break;
            }
            let Some(batch) = member.node.take_batch() else { break };
            if batch.records().is_empty() {
                member.node.on_synced(self.now, batch);
            } else {
                member.syncing = Some(batch);
                self.schedule(self.now + SYNC, Happening::Synced(place));
            }
        }
        let member = &mut self.nodes[place];
        let due = member.node.next_deadline().map(|at| at.max(self.now + TICK));
        if due != member.wakes_at {
            member.wakes_at = due;
            if let Some(at) = due {
                self.schedule(at, Happening::Wake(place));
            }
        }
    }

    fn wake_client(&mut self, client: usize) {
        let guest = &mut self.clients[client];
        if guest.wakes_at == Some(self.now) {
            guest.wakes_at = None;
            guest.client.on_timeout(self.now);
            self.finish_client(client);
        }
    }

    fn finish_client(&mut self, client: usize) {
        let mut frame = Vec::new();
        while let Some(to) = self.clients[client].client.poll_send(&mut frame) {
            self.transmit(CLIENT + client, to, &frame);
        }
        let guest = &mut self.clients[client];
        let due = guest.client.next_deadline().map(|at| at.max(self.now + TICK));
        if due != guest.wakes_at {
            guest.wakes_at = due;
            if let Some(at) = due {
                self.schedule(at, Happening::Wake(CLIENT + client));
            }
        }
    }

    fn transmit(&mut self, from: usize, to: SocketAddr, frame: &[u8]) {
        let Some(to) = (0..self.ways.len()).find(|place| address_of(*place) == to) else { return };
        self.bytes += frame.len() as u64;
        let is_cut = self.cut_off.is_some_and(|place| place == from || place == to);
        let left_at = match &mut self.uplinks {
            Some(uplinks) => uplinks[from].carry(self.now, frame.len()),
            None => Some(self.now),
        };
        let Some(left_at) = left_at.filter(|_| !is_cut) else { return };
        if !self.ways[from][to].loses(self.loss) {
            let frame = Bytes::copy_from_slice(frame);
            self.schedule(left_at + self.delay, Happening::Arrival { from, to, frame });
        }
    }

    /// Sends what the flow of TCP has to send. Its acknowledgments meet no queue.
    fn send_rival(&mut self) {
        let (Some((place, cubic)), Some(uplinks)) = (&mut self.rival, &mut self.uplinks) else {
            return;
        };
        let (mut sent, uplink) = (Vec::new(), &mut uplinks[*place]);
        while let Some(segment) = cubic.next_to_send() {
            if let Some(left_at) = uplink.carry(self.now, SEGMENT_BYTES) {
                sent.push((left_at + self.delay * 2, segment));
            }
        }
        for (at, segment) in sent {
            self.schedule(at, Happening::Acknowledged(segment));
        }
    }

    fn schedule(&mut self, at: Instant, happening: Happening) {
        self.events.insert((at, self.next_event), happening);
        self.next_event += 1;
    }
}

/// Time goes on between two turns.
const TICK: Duration = Duration::from_micros(1);

fn address_of(place: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 9_001 + u16::try_from(place).expect("few hosts")))
}

fn id_of(place: usize) -> ServerId {
    ServerId(u16::try_from(place + 1).expect("few nodes"))
}

fn all_addresses() -> Vec<SocketAddr> {
    (0..NODES).map(address_of).collect()
}

/// A client that knows these nodes, and nothing else.
fn guest(servers: Vec<SocketAddr>, now: Instant, seed: u64) -> Guest {
    let config = ClientConfig {
        cluster: ClusterHash::of(CLUSTER),
        servers,
        timeout: TIMEOUT,
        redundancy_max: REDUNDANCY_MAX,
        one_shot: false,
        outstanding_max: 1,
    };
    Guest { client: Client::new(config, now, seed), wakes_at: None }
}

fn put(key: u64, bytes: usize) -> Operation {
    Operation::Put { key: format!("k{key:02}").into(), value: vec![b'v'; bytes].into() }
}

/// A blank node. Nothing is read from its disk again, so nothing is written there.
fn member(place: usize, seed: u64) -> Member {
    let listed =
        |place| (id_of(place), ListedNode { address: address_of(place), typed: String::new() });
    let config = NodeConfig::new((0..NODES).map(listed).collect());
    // There is no other cluster to listen for.
    let config = NodeConfig { listening_rounds: 0, ..config };
    let identity =
        Identity { cluster: CLUSTER.into(), id: id_of(place), directory: DirectoryId(seed) };
    let mut directory = SimDirectory::new();
    let size = SegmentSize::new(SegmentSize::BYTES_MIN.into()).expect("within the limits");
    disk::create(&mut directory, identity, size).expect("room for a directory");
    let found = disk::examine(&directory).expect("a directory");
    let (_, recovered) = found.start(&mut directory).expect("room for a start");
    let node = ReplicaNode::new(&config, recovered, Instant(0), &Randomness::Seed(seed));
    Member { node, syncing: None, wakes_at: None, stalled_until: Instant(0), ended: false }
}
