//! Whatever comes from an address that has not proved itself, no more bytes go there.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use quorate::seal::{Cipher, KeyRing, LifeSecret, Sealer, SealerConfig, Secret, Step};
use quorate::time::Instant;
use quorate::types::{ClusterHash, ServerId};
use quorate::wire::Kind;

use crate::cluster::Cluster;
use crate::sealed::{forged, forged_messages, hear};

#[allow(dead_code, reason = "only the vectors are read here")]
#[path = "../wire/document.rs"]
mod document;

const DATAGRAMS: usize = 100_000;

/// Nothing is written into the document.
fn blessing() -> bool {
    false
}

#[test]
fn no_address_gets_more_bytes_than_it_sent() {
    let mut cluster = Cluster::start_sealed();
    let victim = cluster.follower();
    cluster.kill(victim);
    let socket = UdpSocket::bind(cluster.address(victim)).expect("its address is free");
    let recorded = hear(&socket);
    drop(socket);
    cluster.start_node(victim);
    cluster.wait_until_well();

    let keys = std::fs::read_to_string(cluster.file("key")).expect("a key file is text");
    let datagrams = of_every_kind(&keys, victim, &recorded);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    socket.connect(cluster.address(victim)).expect("an address can be connected to");
    let mut answered = BTreeSet::new();
    for datagram in &datagrams {
        let answers = ask_alone(&socket, datagram);
        let bytes: usize = answers.iter().map(Vec::len).sum();
        assert!(bytes <= datagram.len(), "{bytes} bytes out for {datagram:?}");
        answered.extend(answers.iter().map(|answer| answer[3]));
    }
    socket.set_nonblocking(true).expect("it can be set");
    let (mut sent, mut greeted) = (0, 0);
    let mut received = 0;
    let mut buffer = [0; 2_048];
    let mut take = || {
        while let Ok(length) = socket.recv(&mut buffer) {
            received += length;
            answered.insert(buffer[3]);
        }
    };
    for at in 0..DATAGRAMS {
        let datagram = &datagrams[at % datagrams.len()];
        // What finds no room is sent a little later.
        while socket.send(datagram).is_err() {
            std::thread::yield_now();
        }
        sent += datagram.len();
        if datagram[3] == Step::Hello as u8 {
            greeted += datagram.len();
        }
        take();
    }
    socket.set_nonblocking(false).expect("it can be set");
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("it can be set");
    take();
    println!("{sent} bytes in, {greeted} of them in greetings, {received} bytes out");
    assert_eq!(answered, [Step::Welcome, Step::Mismatch].map(|step| step as u8).into());
    assert!(received <= greeted, "{received} bytes out for {greeted} in greetings");
    cluster.wait_until_well();
}

/// What comes back for this one datagram.
fn ask_alone(socket: &UdpSocket, datagram: &[u8]) -> Vec<Vec<u8>> {
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("it can be set");
    socket.send(datagram).expect("loopback takes datagrams");
    let mut buffer = [0; 2_048];
    std::iter::from_fn(|| socket.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec()))
        .collect()
}

/// At least one datagram of every kind that there is, as it stands in the document, and what an
/// attacker may have heard; greetings of those who hold the key, since they alone are answered.
fn of_every_kind(keys: &str, victim: usize, recorded: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = ["frame", "sealed"]
        .into_iter()
        .flat_map(|of| document::vectors(of).into_values().map(|vector| vector.bytes))
        .collect();
    let kinds: BTreeSet<u8> = all.iter().map(|bytes| bytes[3]).collect();
    let expected = Kind::ALL.iter().map(|kind| *kind as u8);
    let missing = expected.chain(Step::ALL.iter().map(|step| *step as u8));
    let missing: Vec<u8> = missing.filter(|kind| !kinds.contains(kind)).collect();
    assert!(missing.is_empty(), "the document shows no datagram of the kinds {missing:?}");
    all.extend(recorded.iter().take(20).cloned());
    let victim = u16::try_from(victim).expect("it is small");
    let another = victim % 3 + 1;
    for (cluster, sender, destination) in [
        ("quorate", another, victim),
        ("quorate", 0, 0),
        ("quorate", another, another + 1),
        ("elsewhere", another, victim),
        ("elsewhere", 0, 0),
    ] {
        all.push(hello(keys, cluster, [sender, destination].map(ServerId)));
    }
    all.push(vec![7; 40]);
    all
}

/// The greeting of a holder of these keys.
fn hello(keys: &str, cluster: &str, [own, to]: [ServerId; 2]) -> Vec<u8> {
    let keys = Arc::new(KeyRing::parse(keys).expect("they are keys"));
    let config = SealerConfig { own, cluster: cluster.into(), cipher: Cipher::Aes };
    let mut sealer = Sealer::new(config, keys, LifeSecret::new(&Secret::new([7; 32])));
    let mut frame = forged(own, to, 1, &forged_messages()[0]);
    frame[4..8].copy_from_slice(&ClusterHash::of(cluster).0.to_le_bytes());
    let address = "127.0.0.1:9".parse().expect("it is an address");
    assert!(!sealer.seal(Instant(1_000), address, &mut frame), "there is no session");
    sealer.poll_send().expect("it says hello").1
}
