//! A relay between a client and a node, which keeps what the client sends.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::processes::quorate;

/// Runs a client command through a relay to the node at `server`. Returns the datagrams
/// that the client sent.
pub fn record(server: &str, words: &[&str]) -> Vec<Vec<u8>> {
    let node: SocketAddr = server.parse().expect("it is an address");
    let relay = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    relay.set_read_timeout(Some(Duration::from_millis(10))).expect("a timeout can be set");
    let address = relay.local_addr().expect("it is bound").to_string();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let recorder = scope.spawn(|| pass_on(&relay, node, &done));
        quorate(&address, words, b"").expect(0);
        done.store(true, Ordering::Relaxed);
        recorder.join().expect("the relay ends")
    })
}

fn pass_on(relay: &UdpSocket, node: SocketAddr, done: &AtomicBool) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    let mut client = node;
    let mut buffer = [0; 2_048];
    while !done.load(Ordering::Relaxed) {
        let (length, from) = match relay.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock) => continue,
            Err(error) => panic!("the relay receives: {error}"),
        };
        let to = if from == node { client } else { node };
        if from != node {
            client = from;
            sent.push(buffer[..length].to_vec());
        }
        relay.send_to(&buffer[..length], to).expect("loopback takes datagrams");
    }
    sent
}
