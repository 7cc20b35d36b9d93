//! Somebody who holds a client's key, which may only read, and begins sessions without end.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant as Now};

use quorate::seal::{
    CLIENT_HANDSHAKES_PER_SECOND_MAX, Cipher, KeyRing, LifeSecret, Sealer, SealerConfig, Secret,
};
use quorate::time::Instant;
use quorate::types::ServerId;

use crate::attacker::standing;
use crate::rights::with_clients;
use crate::rotation::{EndOf, load_until};
use crate::sealed::{forged, forged_messages};

/// How many greet before the first of them looks for an answer.
const AT_ONCE: u64 = 64;
const LASTS: Duration = Duration::from_secs(4);

#[test]
fn sessions_that_a_clients_key_begins_depose_nobody() {
    let cluster = with_clients(&[("ann", "r"), ("app", "rw")]);
    let leader = cluster.address(cluster.leader()).parse().expect("it is an address");
    let ann = fs::read_to_string(cluster.file("ann")).expect("a key file is text");
    let ann = Arc::new(KeyRing::parse(&ann).expect("it has a key"));
    let (servers, app) = (cluster.servers(), cluster.file("app"));
    let (is_over, loads) = (AtomicBool::new(false), AtomicUsize::new(0));
    let before = standing(&cluster);
    let (greetings, answers) = thread::scope(|scope| {
        let _over = EndOf(&is_over);
        scope.spawn(|| load_until(&is_over, &loads, &servers, &app));
        greet(leader, &ann)
    });
    let loads = loads.load(Ordering::Relaxed);
    println!("{greetings} greetings, {answers} of them answered, {loads} loads meanwhile");
    assert_eq!(standing(&cluster), before, "it changed who leads");
    assert!(loads > 5, "{loads}");
    let most = u64::from(CLIENT_HANDSHAKES_PER_SECOND_MAX) * (LASTS.as_secs() + 2);
    assert!((most / 4..most).contains(&answers), "{answers}");
    cluster.wait_until_well();
}

/// Greets the node as often as it can, each time as somebody new, and begins a session with each
/// answer. Returns how often it did either.
fn greet(node: SocketAddr, keys: &Arc<KeyRing>) -> (u64, u64) {
    let begun = Now::now();
    let sockets: Vec<UdpSocket> = (0..AT_ONCE).map(|_| socket_to(node)).collect();
    let (mut greetings, mut answers) = (0, 0);
    while begun.elapsed() < LASTS {
        let mut sealers: Vec<Sealer> = (0..AT_ONCE).map(|nth| new(keys, greetings + nth)).collect();
        for (sealer, socket) in sealers.iter_mut().zip(&sockets) {
            let mut question = forged(ServerId::NONE, ServerId::NONE, 1, &forged_messages()[0]);
            sealer.seal(Instant(1_000), node, &mut question);
            say(sealer, socket);
        }
        thread::sleep(Duration::from_millis(1));
        for (sealer, socket) in sealers.iter_mut().zip(&sockets) {
            let mut answer = [0; 2_048];
            while let Ok(length) = socket.recv(&mut answer) {
                answers +=
                    u64::from(sealer.open(Instant(1_000), node, &mut answer[..length]).is_ok());
                say(sealer, socket);
            }
        }
        greetings += AT_ONCE;
    }
    (greetings, answers)
}

fn socket_to(node: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    socket.connect(node).expect("an address can be connected to");
    socket.set_nonblocking(true).expect("it can be set");
    socket
}

/// A client that was never seen before.
fn new(keys: &Arc<KeyRing>, number: u64) -> Sealer {
    let config =
        SealerConfig { own: ServerId::NONE, cluster: "quorate".into(), cipher: Cipher::Aes };
    let mut secret = [7; 32];
    secret[..8].copy_from_slice(&number.to_le_bytes());
    Sealer::new(config, Arc::clone(keys), LifeSecret::new(&Secret::new(secret)))
}

/// Sends what there is of a handshake. What finds no room is lost.
fn say(sealer: &mut Sealer, socket: &UdpSocket) {
    while let Some((_, datagram)) = sealer.poll_send() {
        socket.send(&datagram).ok();
    }
}
