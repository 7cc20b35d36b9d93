//! A relay that stands before each node of a cluster, and loses and delays datagrams.
//!
//! Nodes and clients know a node by its front, a socket of the relay. What a node sends to
//! another's front goes on from its own front, so that frames come from the address that is
//! listed. Each client gets a socket of its own towards the nodes, which answer to that.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::net::sockopt;

use crate::cli::exit::Failure;
use crate::cli::local_cluster::NODES;
use crate::daemon::{Clock, WakeUp};
use crate::sim::{Loss, LossyWay};
use crate::time::Instant;

/// Where all clients are: they share a link to each node, as if they were on one host.
const CLIENTS: usize = NODES;
/// The hosts: the nodes, and that of the clients.
const HOSTS: usize = NODES + 1;
/// The most clients over time. A status that is asked for is one too.
const CLIENTS_MAX: usize = 2_048;
/// The most datagrams under way. More are lost, and counted.
const UNDER_WAY_MAX: usize = 65_536;
/// The largest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// A burst must fit into a socket's buffers while the relay does one turn.
const BUFFER_BYTES: usize = 4 << 20;

/// What the poll calls the timer and the order to stop. Sockets go by their places.
const WAKE_UP: Token = Token(usize::MAX);
const ORDER: Token = Token(usize::MAX - 1);

/// What all links have in common.
#[derive(Clone, Copy, Debug)]
pub struct LinkQuality {
    /// How long a datagram takes.
    pub delay: Duration,
    /// How many are lost in a row, in the mean; none: each by itself.
    pub burst: Option<f64>,
    /// What their losses follow from.
    pub seed: u64,
}

/// The relay, on a thread of its own, which ends when this is dropped.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// What was sent into the links so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Datagrams, by nodes and clients.
    pub sent: u64,
    /// Their bytes, without the headers of UDP and IP.
    pub bytes: u64,
    /// Those that were lost because the link is so.
    pub lost: u64,
    /// Those that were lost because the relay had too much under way.
    pub overflowed: u64,
}

impl Counts {
    /// What was sent since it was `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            sent: self.sent - before.sent,
            bytes: self.bytes - before.bytes,
            lost: self.lost - before.lost,
            overflowed: self.overflowed - before.overflowed,
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    loss_percent: AtomicU8,
    stopping: AtomicBool,
    sent: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
    overflowed: AtomicU64,
}

impl Relay {
    /// Stands before the nodes that will listen there. Nothing is lost yet. Returns also the
    /// fronts, where the nodes are to be found.
    ///
    /// # Errors
    /// The system denies sockets.
    pub fn start(
        listening: &[SocketAddr],
        quality: LinkQuality,
    ) -> Result<(Self, Vec<SocketAddr>), Failure> {
        let denied = |error| Failure::system("a relay's sockets", &error);
        let shared = Arc::new(Shared::default());
        let carrier = Carrier::new(listening, quality, Arc::clone(&shared)).map_err(denied)?;
        let fronts = carrier.sockets.iter().map(UdpSocket::local_addr);
        let fronts = fronts.collect::<io::Result<_>>().map_err(denied)?;
        let waker = Waker::new(carrier.poll.registry(), ORDER).map_err(denied)?;
        let thread = Some(thread::spawn(move || carrier.run()));
        Ok((Self { shared, waker, thread }, fronts))
    }

    /// From now on so many of a hundred datagrams are lost, on each link and direction.
    pub fn set_loss(&self, percent: u8) {
        self.shared.loss_percent.store(percent, Ordering::Relaxed);
    }

    /// What was sent so far.
    pub fn counts(&self) -> Counts {
        let shared = &self.shared;
        Counts {
            sent: shared.sent.load(Ordering::Relaxed),
            bytes: shared.bytes.load(Ordering::Relaxed),
            lost: shared.lost.load(Ordering::Relaxed),
            overflowed: shared.overflowed.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let woken = self.waker.wake().is_ok();
        // A thread that cannot be woken ends with the process.
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            thread.join().ok();
        }
    }
}

/// What the thread has.
struct Carrier {
    poll: Poll,
    events: Events,
    clock: Clock,
    wake_up: WakeUp,
    shared: Arc<Shared>,
    quality: LinkQuality,
    /// Where the nodes listen.
    nodes: Vec<SocketAddr>,
    /// The fronts in the order of the nodes, then one for each client.
    sockets: Vec<UdpSocket>,
    /// The clients, and the places of their sockets.
    clients: BTreeMap<SocketAddr, usize>,
    /// The clients in the order of their sockets.
    client_addresses: Vec<SocketAddr>,
    /// By host that sends and host that receives.
    links: Vec<Vec<LossyWay>>,
    /// In the order of their arrival, which is that of their sending: all take as long.
    under_way: VecDeque<Datagram>,
    buffer: Vec<u8>,
}

/// A datagram under way.
struct Datagram {
    arrives_at: Instant,
    way: Way,
    bytes: Vec<u8>,
}

/// The way of a datagram.
#[derive(Clone, Copy)]
struct Way {
    from: usize,
    to: usize,
    /// The place of the socket that it goes on from.
    socket: usize,
    address: SocketAddr,
}

impl Carrier {
    fn new(
        listening: &[SocketAddr],
        quality: LinkQuality,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let wake_up = WakeUp::register(poll.registry(), WAKE_UP)?;
        let mut seeds = fastrand::Rng::with_seed(quality.seed);
        let mut link = || LossyWay::new(seeds.u64(..));
        let mut carrier = Self {
            poll,
            events: Events::with_capacity(1_024),
            clock: Clock::new(),
            wake_up,
            shared,
            quality,
            nodes: listening.to_vec(),
            sockets: Vec::new(),
            clients: BTreeMap::new(),
            client_addresses: Vec::new(),
            links: (0..HOSTS).map(|_| (0..HOSTS).map(|_| link()).collect()).collect(),
            under_way: VecDeque::new(),
            buffer: vec![0; DATAGRAM_BYTES_MAX],
        };
        listening.iter().try_for_each(|_| carrier.open_socket())?;
        Ok(carrier)
    }

    fn open_socket(&mut self) -> io::Result<()> {
        let mut socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        // Small buffers lose bursts earlier, which the nodes must bear anyway.
        sockopt::set_socket_recv_buffer_size(&socket, BUFFER_BYTES).ok();
        let place = Token(self.sockets.len());
        self.poll.registry().register(&mut socket, place, Interest::READABLE)?;
        self.sockets.push(socket);
        Ok(())
    }

    fn run(mut self) {
        while !self.shared.stopping.load(Ordering::Relaxed) {
            // Without its timer it could not keep what it is for.
            let Ok(()) = self.wait() else { return };
            let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
            for place in ready {
                if place < self.sockets.len() {
                    self.take_all(place);
                }
            }
            self.deliver();
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        if let Some(first) = self.under_way.front() {
            self.wake_up.arm(first.arrives_at, self.clock.now())?;
        }
        match self.poll.poll(&mut self.events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes in all that the socket has: the poll tells of it only once.
    fn take_all(&mut self, place: usize) {
        loop {
            match self.sockets[place].recv_from(&mut self.buffer) {
                Ok((length, source)) => {
                    if let Some(way) = self.find_way(place, source) {
                        self.take(way, length);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // What an earlier datagram met is told here; it is lost.
                Err(_) => {}
            }
        }
    }

    /// None for a stranger, and for a client too many.
    fn find_way(&mut self, place: usize, source: SocketAddr) -> Option<Way> {
        let node = self.nodes.iter().position(|node| *node == source);
        if let Some(client) = place.checked_sub(NODES) {
            let address = self.client_addresses[client];
            return node.map(|node| Way { from: node, to: CLIENTS, socket: node, address });
        }
        let address = self.nodes[place];
        match node {
            Some(node) => Some(Way { from: node, to: place, socket: node, address }),
            None => {
                let socket = self.client_socket(source)?;
                Some(Way { from: CLIENTS, to: place, socket, address })
            }
        }
    }

    fn client_socket(&mut self, client: SocketAddr) -> Option<usize> {
        if let Some(place) = self.clients.get(&client) {
            return Some(*place);
        }
        if self.clients.len() >= CLIENTS_MAX || self.open_socket().is_err() {
            return None;
        }
        let place = self.sockets.len() - 1;
        self.clients.insert(client, place);
        self.client_addresses.push(client);
        Some(place)
    }

    /// Takes the first bytes of the buffer into the link, which may lose them.
    fn take(&mut self, way: Way, length: usize) {
        let shared = &self.shared;
        shared.sent.fetch_add(1, Ordering::Relaxed);
        shared.bytes.fetch_add(length as u64, Ordering::Relaxed);
        let share = f64::from(shared.loss_percent.load(Ordering::Relaxed)) / 100.0;
        let loss = Loss { share, burst: self.quality.burst };
        if self.links[way.from][way.to].loses(loss) {
            shared.lost.fetch_add(1, Ordering::Relaxed);
        } else if self.under_way.len() >= UNDER_WAY_MAX {
            shared.overflowed.fetch_add(1, Ordering::Relaxed);
        } else {
            let arrives_at = self.clock.now() + self.quality.delay;
            let bytes = self.buffer[..length].to_vec();
            self.under_way.push_back(Datagram { arrives_at, way, bytes });
        }
    }

    fn deliver(&mut self) {
        let now = self.clock.now();
        let due = self.under_way.partition_point(|datagram| datagram.arrives_at <= now);
        for datagram in self.under_way.drain(..due) {
            let Way { socket, address, .. } = datagram.way;
            // What the system does not take is lost, as it might be anywhere on the way.
            self.sockets[socket].send_to(&datagram.bytes, address).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn socket() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    }

    /// The nodes, the relay before them, and its fronts.
    fn stage(delay: Duration) -> (Vec<UdpSocket>, Relay, Vec<SocketAddr>) {
        let nodes: Vec<UdpSocket> = (0..NODES).map(|_| socket()).collect();
        let listening: Vec<_> = nodes.iter().map(|node| node.local_addr().unwrap()).collect();
        let quality = LinkQuality { delay, burst: None, seed: 1 };
        let (relay, fronts) = Relay::start(&listening, quality).unwrap();
        (nodes, relay, fronts)
    }

    fn receive(socket: &UdpSocket) -> (SocketAddr, Vec<u8>) {
        let mut buffer = [0; 100];
        let (length, source) = socket.recv_from(&mut buffer).unwrap();
        (source, buffer[..length].to_vec())
    }

    #[test]
    fn a_node_is_seen_at_its_front_by_nodes_and_clients() {
        let (nodes, relay, fronts) = stage(Duration::ZERO);
        nodes[0].send_to(b"vote", fronts[2]).unwrap();
        assert_eq!(receive(&nodes[2]), (fronts[0], b"vote".to_vec()));

        let clients = [socket(), socket()];
        for (client, text) in clients.iter().zip([b"one", b"two"]) {
            client.send_to(text, fronts[1]).unwrap();
            let (source, request) = receive(&nodes[1]);
            assert_eq!(request, text);
            // Another node may answer: it knows the client by the same address.
            for node in [1, 2] {
                nodes[node].send_to(&request, source).unwrap();
                assert_eq!(receive(client), (fronts[node], text.to_vec()));
            }
        }
        let counts = relay.counts();
        assert_eq!((counts.sent, counts.bytes, counts.lost), (7, 22, 0));
    }

    #[test]
    fn what_is_lost_is_counted_and_what_is_not_takes_its_time() {
        let delay = Duration::from_millis(30);
        let (nodes, relay, fronts) = stage(delay);
        relay.set_loss(50);
        let sent_at = std::time::Instant::now();
        for _ in 0..200 {
            nodes[0].send_to(b"beat", fronts[1]).unwrap();
        }
        receive(&nodes[1]);
        assert!(sent_at.elapsed() >= delay);
        relay.set_loss(0);
        nodes[0].send_to(b"last", fronts[1]).unwrap();
        let mut arrived = 1;
        while receive(&nodes[1]).1 != b"last" {
            arrived += 1;
        }
        let counts = relay.counts();
        assert_eq!((counts.sent, counts.overflowed), (201, 0));
        assert_eq!(counts.lost, 200 - arrived);
        assert!((60..140).contains(&arrived), "{arrived} of 200 arrived");
    }
}
