//! A cluster with a key, and somebody without it who hears what is sent to one of its nodes, and
//! may send anything from that node's address.

use std::fs;
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use quorate::seal::HANDSHAKE_BYTES;
use quorate::types::{
    ClusterHash, DirectoryId, Incarnation, LifeId, LogIndex, LossShare, PacketNumber, ReadRound,
    ServerId, Term,
};
use quorate::wire::{
    self, GenesisHash, HEADER_BYTES, Header, Heartbeat, Message, VoteReply, VoteRequest,
};

use crate::cluster::{Cluster, IDS};
use crate::processes::{Node, eventually, quorate};

/// No honest node comes to this term.
const FORGED_TERM: Term = Term(1 << 50);

#[test]
fn whoever_lacks_the_key_changes_nothing() {
    let mut cluster = Cluster::start_sealed();
    cluster.run(&["put", "greeting", "hello"]).expect(0);
    let status = cluster.status_of(1);
    assert_eq!((&status["sealed"], &status["peers"][0]["key"]), (&true.into(), &1.into()));
    is_denied_without_the_key(&cluster);
    has_given_up_rights(&mut cluster);

    let victim = cluster.follower();
    cluster.kill(victim);
    let socket = UdpSocket::bind(cluster.address(victim)).expect("its address is free");
    let recorded = hear(&socket);
    assert!(recorded.len() > 20, "the others go on speaking to it: {}", recorded.len());
    for id in IDS.into_iter().filter(|id| *id != victim) {
        attack(&socket, cluster.address(id), &recorded, victim, id);
    }
    drop(socket);
    cluster.run(&["put", "greeting", "still here"]).expect(0);

    cluster.start_node(victim);
    cluster.wait_until_well();
    let elsewhere = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    for id in IDS {
        attack(&elsewhere, cluster.address(id), &recorded, victim, id);
    }
    cluster.wait_until_well();
    assert_eq!(cluster.run(&["get", "greeting"]).expect(0).text(), "still here");
    for id in IDS {
        let status = cluster.status_of(id);
        let term = status["term"].as_u64().expect("it is a number");
        assert!(term < 1_000, "a forged term was taken up: {status}");
        // The victim was started since, and another address attacks: it knows no session of it.
        let causes = if id == victim { &["key", "session"][..] } else { &["key", "seal"] };
        for cause in causes {
            assert!(status["dropped"][cause].as_u64() > Some(5), "{cause}: {status}");
        }
    }
    // What a client has said to its former life may have come before.
    let of_no_node = cluster.said(victim);
    let is_replay = |line: &&str| line.contains("of a session that") && !line.contains("(node ");
    assert_eq!(of_no_node.lines().filter(is_replay).count(), 1, "{of_no_node}");
}

/// Somebody else has taken the line of those that are no nodes.
#[test]
fn a_node_with_a_key_of_its_own_is_named_beside_a_stranger() {
    let mut cluster = Cluster::start_sealed();
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    let source = stranger.local_addr().expect("it has one");
    let frame = forged(ServerId(3), ServerId(1), 1, &forged_messages()[0]);
    stranger.send_to(&frame, cluster.address(1)).expect("loopback takes datagrams");
    let of_stranger = format!("what {source} sends is dropped: it is not sealed (key)");
    expect_said_once(&of_stranger, || cluster.said(1));

    let other = cluster.file("other");
    quorate("", &["keygen", &other, "--id", "9"], b"").expect(0);
    cluster.give_keys(3, &fs::read_to_string(&other).expect("a key file is text"));
    let of_node = format!(
        "what {} (node 3) sends is dropped: it is sealed with key 9, which this node does not have \
         (key)",
        cluster.address(3)
    );
    for id in [1, 2] {
        expect_said_once(&of_node, || cluster.said(id));
    }
}

fn is_denied_without_the_key(cluster: &Cluster) {
    let other = cluster.directory.path().join("other").display().to_string();
    quorate("", &["keygen", &other], b"").expect(0);
    quorate("", &["keygen", &other], b"").expect(4);
    let words = ["get", "greeting", "--timeout", "1"];
    quorate(&cluster.servers(), &words, b"").expect(3);
    quorate(&cluster.servers(), &[&words[..], &["--key-file", &other]].concat(), b"").expect(3);
    assert_eq!(cluster.run(&words).expect(0).text(), "hello");
}

/// No thread of a node may start anything with more rights. That of the allocator is there before
/// the program begins.
fn has_given_up_rights(cluster: &mut Cluster) {
    let path = format!("/proc/{}/task", cluster.node(1).child.id());
    for thread in fs::read_dir(path).expect("the node runs") {
        let path = thread.expect("its threads can be listed").path().join("status");
        let status = fs::read_to_string(path).expect("the thread runs");
        let is_allocator = status.starts_with("Name:\tjemalloc");
        assert!(is_allocator || status.contains("NoNewPrivs:\t1"), "{status}");
    }
}

/// It has the address and the key of a node, and another cluster's name: each side drops what the
/// other says, counts why, and says who the other is.
#[test]
fn another_cluster_with_the_same_key_changes_nothing() {
    let mut cluster = Cluster::start_sealed();
    cluster.run(&["put", "greeting", "hello"]).expect(0);
    let absent = cluster.follower();
    cluster.kill(absent);
    let others: Vec<usize> = IDS.into_iter().filter(|id| *id != absent).collect();

    let (id, data, key) = (absent.to_string(), cluster.file("elsewhere"), cluster.file("key"));
    let list = cluster.list();
    let mut flags = vec!["--id", &id, "--data-dir", &data, "--listen", cluster.address(absent)];
    flags.extend(["--cluster", "elsewhere", "--key-file", &key]);
    flags.extend(list.iter().flat_map(|peer| ["--peer", peer]));
    let stranger = Node::start(&flags, &cluster.directory.path().join("log-elsewhere"));
    for id in &others {
        eventually("what the stranger says is counted", || {
            (cluster.status_of(*id)["dropped"]["cluster"].as_u64() > Some(5)).then_some(())
        });
    }
    let address = cluster.address(absent).to_owned();
    for other in &others {
        let here = format!("node {other} of cluster quorate");
        let of_stranger =
            format!("{address} is node {absent} of cluster elsewhere; this is {here}");
        let of_node = format!("{} is {here}; this is node {absent} of", cluster.address(*other));
        expect_said_once(&of_stranger, || cluster.said(*other));
        expect_said_once(&of_node, || stranger.said());
    }
    cluster.run(&["put", "greeting", "still here"]).expect(0);
    drop(stranger);

    cluster.start_node(absent);
    cluster.wait_until_well();
    assert_eq!(cluster.run(&["get", "greeting"]).expect(0).text(), "still here");
}

/// At the address of a node there is one with the number of another, and then one whose cluster has
/// the same name, and was born another time.
#[test]
fn who_is_there_instead_of_a_node_is_named_by_both() {
    let mut cluster = Cluster::start_sealed();
    let (leader, absent) = (cluster.leader(), cluster.follower());
    let third = IDS.into_iter().find(|id| ![leader, absent].contains(id)).expect("of three");
    cluster.kill(absent);
    let (address, key) = (cluster.address(absent).to_owned(), cluster.file("key"));
    let start_at = |address: &str, id: usize, name: &str| {
        let (id, data) = (id.to_string(), cluster.file(name));
        let flags = ["--id", &id, "--data-dir", &data, "--listen", address, "--key-file", &key];
        Node::start(&flags, &cluster.directory.path().join(format!("log-{name}")))
    };
    let here = format!("{} is node {leader} of cluster quorate", cluster.address(leader));
    let twin = start_at(&address, third, "twin");
    let confused = "and one takes the other for a third";
    let of_twin = format!("{address} is node {third} of cluster quorate, this is node {leader}");
    expect_said_once(&format!("{of_twin}, {confused}"), || cluster.said(leader));
    expect_said_once(&format!("{here}, this is node {third}, {confused}"), || twin.said());
    drop(twin);

    // Here it would be told of the cluster before it gives birth to one.
    let mut newborn = start_at("127.0.0.1:0", absent, "newborn");
    newborn.wait_until_ready();
    newborn.kill();
    let newborn = start_at(&address, absent, "newborn");
    let born = "which was born another time than this one's";
    let of_newborn = format!("{address} is node {absent} of cluster quorate, {born}");
    expect_said_once(&of_newborn, || cluster.said(leader));
    expect_said_once(&format!("{here}, {born}"), || newborn.said());
    let status = cluster.status_of(leader);
    for cause in ["destination", "genesis"] {
        assert!(status["dropped"][cause].as_u64() > Some(0), "{cause}: {status}");
    }
    drop(newborn);
    cluster.start_node(absent);
    cluster.wait_until_well();
}

/// A second process has the number of a node that runs, at an address of its own.
#[test]
fn a_number_that_two_have_is_told_and_changes_nothing() {
    let mut cluster = Cluster::start_sealed();
    let (leader, doubled) = (cluster.leader(), cluster.follower());
    let (id, data, key) = (doubled.to_string(), cluster.file("double"), cluster.file("key"));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    let address = socket.local_addr().expect("it is bound").to_string();
    drop(socket);
    let list = cluster.list();
    let mut flags = vec!["--id", &id, "--data-dir", &data, "--listen", &address];
    flags.extend(["--key-file", &key]);
    flags.extend(list.iter().flat_map(|peer| ["--peer", peer]));
    let double = Node::start(&flags, &cluster.directory.path().join("log-double"));
    let listed = cluster.address(doubled).to_owned();
    let named = format!("{address} says that it is node {doubled}, which is at {listed}");
    expect_said_once(&named, || cluster.said(leader));
    let told = format!(
        "{} is node {leader} of cluster quorate, and knows node {doubled} at another address",
        cluster.address(leader)
    );
    expect_said_once(&told, || double.said());
    assert!(cluster.status_of(leader)["dropped"]["address"].as_u64() > Some(0));
    cluster.wait_until_well();
    drop(double);
    assert_eq!(cluster.node(doubled).child.try_wait().expect("it is a child"), None);
}

/// It is said within a while, and not again when the same goes on.
#[track_caller]
fn expect_said_once(sentence: &str, said: impl Fn() -> String) {
    eventually(sentence, || said().contains(sentence).then_some(()));
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(said().matches(sentence).count(), 1, "{}", said());
}

/// What the others send to the address in a while.
pub fn hear(socket: &UdpSocket) -> Vec<Vec<u8>> {
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("it can be set");
    let (started, mut recorded, mut buffer) = (Instant::now(), Vec::new(), [0; 2_048]);
    while started.elapsed() < Duration::from_secs(2) {
        if let Ok((length, _)) = socket.recv_from(&mut buffer) {
            recorded.push(buffer[..length].to_vec());
        }
    }
    recorded
}

/// Sends what was heard, turned back, and with each byte of its headers and others changed; cut
/// and grown; and frames as whoever has no key may make them.
fn attack(socket: &UdpSocket, to: &str, recorded: &[Vec<u8>], from: usize, id: usize) {
    let send = |datagram: &[u8]| socket.send_to(datagram, to).expect("loopback takes datagrams");
    for datagram in recorded {
        send(datagram);
    }
    for datagram in recorded.iter().rev().take(10) {
        for at in 0..datagram.len().min(HANDSHAKE_BYTES) {
            let mut changed = datagram.clone();
            changed[at] ^= 1;
            send(&changed);
        }
        send(&datagram[..datagram.len() - 1]);
        send(&[&datagram[..], b"more"].concat());
        // As if the other side had sent it.
        let mut turned = datagram.clone();
        let (sender, destination) = turned[12..HEADER_BYTES].split_at_mut(2);
        sender.swap_with_slice(&mut destination[..2]);
        send(&turned);
    }
    let [from, id] = [from, id].map(|id| ServerId(u16::try_from(id).expect("it is small")));
    for packet in 0..20 {
        for message in forged_messages() {
            send(&forged(from, id, packet, &message));
        }
    }
}

pub fn forged_messages() -> [Message; 5] {
    let heartbeat = Heartbeat {
        interval: 40_000,
        term: FORGED_TERM,
        round: ReadRound(1),
        commit: LogIndex(1),
        confirmed_age: None,
        durability_age: 0,
        configuration_index: LogIndex(1),
        durable: LogIndex(1),
    };
    let (term, (last_term, last_index)) = (FORGED_TERM, (FORGED_TERM, LogIndex(1 << 40)));
    let ask = |pre_vote| VoteRequest { term, pre_vote, transfer: true, last_index, last_term };
    let vote = VoteReply { term, pre_vote: false, granted: true, voter_term: term, lacks: false };
    [
        Message::Heartbeat(heartbeat),
        Message::TimeoutNow(FORGED_TERM),
        Message::VoteRequest(ask(true)),
        Message::VoteRequest(ask(false)),
        Message::VoteReply(vote),
    ]
}

pub fn forged(sender: ServerId, destination: ServerId, packet: u64, message: &Message) -> Vec<u8> {
    let header = Header {
        cluster: ClusterHash::of("quorate"),
        genesis: GenesisHash::default(),
        sender,
        destination,
        directory: DirectoryId(5),
        incarnation: Incarnation(9),
        life: LifeId(1),
        packet: PacketNumber(packet),
        echo: None,
        loss: LossShare(0),
    };
    let mut frame = Vec::new();
    wire::encode(&header, message, &mut frame);
    frame
}
