//! Somebody on the way between all nodes: every datagram passes through it. It has no key; it
//! keeps what it hears, and may send anything to any node from the address of any other.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How many datagrams it keeps; of later ones it hears, the oldest make room.
const KEPT_MAX: usize = 4_000;

/// A datagram that one node has sent to another, by their places.
#[derive(Clone)]
pub struct Passed {
    pub from: usize,
    pub to: usize,
    pub bytes: Vec<u8>,
}

/// The addresses that the nodes know each other by, and what passes there.
pub struct OnPath {
    /// What each node takes for the address of the node in this place.
    pub addresses: [String; 3],
    sockets: [UdpSocket; 3],
    nodes: [SocketAddr; 3],
    kept: Arc<Mutex<Vec<Passed>>>,
    is_over: Arc<AtomicBool>,
    relay: Option<JoinHandle<()>>,
}

impl OnPath {
    /// Stands between the nodes that listen there.
    pub fn between(listening: &[String; 3]) -> Self {
        let nodes = listening.clone().map(|address| address.parse().expect("it is an address"));
        let sockets = nodes.map(|_| UdpSocket::bind("127.0.0.1:0").expect("there is a free port"));
        let addresses = sockets.each_ref().map(|socket| {
            socket.set_nonblocking(true).expect("it can be set");
            socket.local_addr().expect("it is bound").to_string()
        });
        let (kept, is_over) = (Arc::<Mutex<Vec<Passed>>>::default(), Arc::<AtomicBool>::default());
        let relay = Relay {
            sockets: sockets.each_ref().map(|socket| socket.try_clone().expect("it can be shared")),
            nodes,
            clients: Vec::new(),
            kept: Arc::clone(&kept),
        };
        let told = Arc::clone(&is_over);
        let relay = Some(thread::spawn(move || relay.pass_on_until(&told)));
        Self { addresses, sockets, nodes, kept, is_over, relay }
    }

    /// What has passed since this was asked last.
    pub fn take_kept(&self) -> Vec<Passed> {
        std::mem::take(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends the bytes to one node, as if the other had sent them.
    pub fn send(&self, from: usize, to: usize, bytes: &[u8]) {
        // What finds no room is lost, as it is to everybody else.
        self.sockets[from].send_to(bytes, self.nodes[to]).ok();
    }
}

impl Drop for OnPath {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(relay) = self.relay.take() {
            // A relay that has panicked is told of by the test that it left without answers.
            relay.join().ok();
        }
    }
}

struct Relay {
    sockets: [UdpSocket; 3],
    nodes: [SocketAddr; 3],
    /// Clients that follow a node's word on where the leader is: each has a socket of its own.
    clients: Vec<(SocketAddr, usize, UdpSocket)>,
    kept: Arc<Mutex<Vec<Passed>>>,
}

impl Relay {
    fn pass_on_until(mut self, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            let passed = self.pass_on_to_nodes() + self.pass_on_to_clients();
            if passed == 0 {
                thread::sleep(Duration::from_micros(200));
            }
        }
    }

    fn pass_on_to_nodes(&mut self) -> usize {
        let mut passed = 0;
        for to in 0..self.sockets.len() {
            while let Some((bytes, source)) = receive(&self.sockets[to]) {
                passed += 1;
                match self.nodes.iter().position(|node| *node == source) {
                    Some(from) => {
                        self.sockets[from].send_to(&bytes, self.nodes[to]).ok();
                        self.keep(Passed { from, to, bytes });
                    }
                    None => self.pass_on_of_client(source, to, &bytes),
                }
            }
        }
        passed
    }

    fn keep(&self, passed: Passed) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.drain(..KEPT_MAX / 2);
        }
        kept.push(passed);
    }

    fn pass_on_of_client(&mut self, client: SocketAddr, to: usize, bytes: &[u8]) {
        let is_it = |known: &&(SocketAddr, usize, UdpSocket)| (known.0, known.1) == (client, to);
        if !self.clients.iter().any(|known| is_it(&known)) {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
            socket.set_nonblocking(true).expect("it can be set");
            // Those of long ago have ended.
            let excess = self.clients.len().saturating_sub(200);
            self.clients.drain(..excess);
            self.clients.push((client, to, socket));
        }
        let known = self.clients.iter().find(is_it).expect("it was added");
        known.2.send_to(bytes, self.nodes[to]).ok();
    }

    fn pass_on_to_clients(&self) -> usize {
        let mut passed = 0;
        for (client, of, socket) in &self.clients {
            while let Some((bytes, _)) = receive(socket) {
                passed += 1;
                self.sockets[*of].send_to(&bytes, client).ok();
            }
        }
        passed
    }
}

/// The next datagram, if one is there.
fn receive(socket: &UdpSocket) -> Option<(Vec<u8>, SocketAddr)> {
    let mut buffer = [0; 2_048];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((length, source)) => return Some((buffer[..length].to_vec(), source)),
            // A node is being started again.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("the relay receives: {error}"),
        }
    }
}
