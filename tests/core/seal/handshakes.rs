//! How two sides come to a session, and keep one.

use std::time::Duration;

use quorate::seal::{
    CLIENT_HANDSHAKES_PER_SECOND_MAX, Cipher, HANDSHAKE_BYTES, HELLOS_PER_SECOND_MAX,
    SESSIONS_PER_KEY_MAX, SESSIONS_PER_SOURCE_MAX,
};
use quorate::time::Instant;
use quorate::types::{GenesisId, ServerId};
use quorate::wire::DropCause;

use super::stage::{CLIENT, GENESIS, Sent, Side, acquainted, address, deliver, frame, ring, talk};

fn at(millis: u64) -> Instant {
    Instant(millis * 1_000)
}

/// Nobody is answered by more than it has said, and all three are alike in length.
#[test]
fn three_datagrams_of_one_length_come_before_the_first_frame() {
    let (_, _, sent) = acquainted(&ring("node 1 %1"));
    let lengths: Vec<usize> = sent.iter().map(|datagram| datagram.bytes.len()).collect();
    assert_eq!(lengths[..3], [HANDSHAKE_BYTES; 3]);
    let kinds: Vec<u8> = sent.iter().map(|datagram| datagram.bytes[3]).collect();
    assert_eq!(kinds[..3], [112, 113, 114]);
}

/// Each of the three is lost in turn. What is sent again repairs it.
#[test]
fn a_lost_part_is_said_again() {
    for lost in 0..3 {
        let keys = ring("node 1 %1");
        let (mut one, mut two) = (Side::start(1, &keys, 1), Side::start(2, &keys, 2));
        let mut has_lost = false;
        for millis in (0..1_000).step_by(50) {
            let to = (two.id, two.address);
            let mut sent = one.send(at(millis), to, &frame(one.id, two.id, millis));
            while !sent.is_empty() {
                let datagram = sent.remove(0);
                if datagram.bytes[3] == 112 + lost && !std::mem::replace(&mut has_lost, true) {
                    continue;
                }
                let side = if datagram.to == two.address { &mut two } else { &mut one };
                sent.extend(side.hear(at(millis), &datagram));
            }
        }
        assert!(two.taken.len() >= 17, "{} of 20 arrived without {lost}", two.taken.len());
    }
}

/// Both begin at once, so each takes the other's session for the newest. What they say to each
/// other goes on arriving, whatever sessions come and go beside it.
#[test]
fn two_that_begin_at_once_go_on_hearing_each_other() {
    let keys = ring("node 1 %1");
    let (mut one, mut two) = (Side::start(1, &keys, 1), Side::start(2, &keys, 2));
    let first = one.send(at(0), (two.id, two.address), &frame(one.id, two.id, 1));
    let second = two.send(at(0), (one.id, one.address), &frame(two.id, one.id, 1));
    deliver(at(0), [first, second].concat(), &mut one, &mut two);
    for round in 1..30_u16 {
        let now = at(u64::from(round) * 15_000);
        // Sessions that were left are given up when another begins.
        let mut client = Side::start(CLIENT.0, &keys, 100 + u8::try_from(round).unwrap());
        client.address.set_port(20_000 + round);
        for node in [&mut one, &mut two] {
            talk(now, &mut client, node, 1);
        }
        let (heard_by_one, heard_by_two) = (one.taken.len(), two.taken.len());
        for (from, to) in [(1, 2), (2, 1)] {
            let frame = frame(ServerId(from), ServerId(to), round.into());
            let (sender, receiver) =
                if from == 1 { (&mut one, &mut two) } else { (&mut two, &mut one) };
            let sent = sender.send(now, (receiver.id, receiver.address), &frame);
            receiver.hear(now, sent.last().expect("it has a session"));
        }
        assert_eq!((one.taken.len(), two.taken.len()), (heard_by_one + 1, heard_by_two + 1));
    }
}

#[test]
fn whoever_starts_again_is_heard_again() {
    let keys = ring("node 1 %1");
    let (mut one, _, _) = acquainted(&keys);
    let mut two = Side::start(2, &keys, 12);
    for millis in (1_000..2_000).step_by(50) {
        talk(at(millis), &mut one, &mut two, millis);
    }
    assert!(two.taken.len() >= 15, "it is greeted when it is silent: {}", two.taken.len());
    let mut one = Side::start(1, &keys, 11);
    talk(at(2_000), &mut one, &mut two, 1);
    talk(at(2_000), &mut two, &mut one, 2);
    assert_eq!(one.taken, [frame(ServerId(2), ServerId(1), 2)], "who begins is heard at once");
}

/// A blank node knows the cluster's name only. Once it is born, sessions are of that birth.
#[test]
fn sessions_are_of_one_birth() {
    let keys = ring("node 1 %1");
    let (mut one, mut two, _) = acquainted(&keys);
    one.sealer.set_genesis(GENESIS);
    let again = talk(at(1_000), &mut one, &mut two, 2);
    let finish = again.iter().find(|datagram| datagram.bytes[3] == 114).expect("a new session");
    assert_eq!(finish.bytes[16..24], GENESIS.0.to_le_bytes(), "is of what either side knows");
    let taken = two.taken.len();
    talk(at(1_000), &mut one, &mut two, 3);
    assert_eq!(two.taken.len(), taken + 1, "who knows of no birth takes part in it");
    two.sealer.set_genesis(GENESIS);
    talk(at(1_000), &mut two, &mut one, 2);

    let mut three = Side::start(3, &keys, 3);
    three.sealer.set_genesis(GenesisId(78));
    let sent = three.send(at(2_000), (one.id, one.address), &frame(three.id, one.id, 1));
    let told = one.hear(at(2_000), &sent[0]);
    assert_eq!((told.len(), told[0].bytes[3]), (1, 115), "it is told why");
    assert_eq!(one.dropped, [DropCause::Genesis]);
}

/// wire-format.md: "A genesis that is neither 0 nor one's own is refused, once there is one of
/// one's own", and a `Finish` says "what either side knows".
#[test]
fn a_session_that_began_before_the_birth_is_not_ended_after_it() {
    let keys = ring("node 1 %1");
    let (mut one, mut two) = (Side::start(1, &keys, 1), Side::start(2, &keys, 2));
    let hello = one.send(at(0), (two.id, two.address), &frame(one.id, two.id, 1));
    let welcome = two.hear(at(0), &hello[0]);
    let finish = one.hear(at(0), &welcome[0]);
    two.sealer.set_genesis(GENESIS);
    assert_eq!(two.refuses(at(0), &finish[0]), DropCause::Genesis);
}

/// wire-format.md: the cipher is "in `Hello` the one that the sender prefers, then the
/// session's", and security.md: AES, or the other "where one of the two machines has no
/// instructions for AES".
#[test]
fn the_cipher_of_a_session_is_fast_on_both_sides() {
    let keys = ring("node 1 %1");
    let (aes, cha_cha) = (Cipher::Aes, Cipher::ChaCha);
    for (of_one, of_two, expected) in [(aes, aes, 1), (aes, cha_cha, 2), (cha_cha, aes, 2)] {
        let start = |cipher, id| Side::with_cipher(cipher, "quorate", id, &keys, 7);
        let (mut one, mut two) = (start(of_one, 1), start(of_two, 2));
        let sent = talk(at(0), &mut one, &mut two, 1);
        let ciphers = [of_one as u8, expected, expected];
        assert_eq!([0, 1, 2].map(|part: usize| sent[part].bytes[14]), ciphers);
        assert_eq!(two.taken.len(), 1);
    }
}

/// Nobody greets the other side again while that answers.
#[test]
fn a_session_goes_on_while_both_are_heard() {
    let (mut one, mut two, _) = acquainted(&ring("node 1 %1"));
    for packet in 2..40 {
        let now = at(packet * 150);
        let sent = [talk(now, &mut one, &mut two, packet), talk(now, &mut two, &mut one, packet)];
        assert!(sent.concat().iter().all(|datagram| datagram.bytes.len() != HANDSHAKE_BYTES));
    }
}

/// Whoever repeats a greeting from an address, which may not be its own, gets it no more answers
/// than that. Others are answered meanwhile.
#[test]
fn greetings_of_one_address_are_answered_so_often_in_a_second() {
    let keys = ring("node 1 %1");
    let (mut one, mut two) = (Side::start(1, &keys, 1), Side::start(2, &keys, 2));
    let mut hello = one.send(at(0), (two.id, two.address), &frame(one.id, two.id, 1)).remove(0);
    let mut answers = |millis, ip: [u8; 4]| {
        let count = HELLOS_PER_SECOND_MAX + 9;
        let heard = (0..count).map(|number| {
            hello.from = (ip, u16::try_from(1 + number % 9).unwrap()).into();
            two.hear(at(millis), &hello).len()
        });
        u32::try_from(heard.sum::<usize>()).unwrap()
    };
    let counts = [
        answers(1_000, [10, 0, 0, 1]),
        answers(1_999, [10, 0, 0, 1]),
        answers(1_999, [10, 0, 0, 2]),
        answers(2_000, [10, 0, 0, 1]),
    ];
    let most = HELLOS_PER_SECOND_MAX;
    assert_eq!(counts, [most, 0, most, most]);
}

/// Who repeats a client's greeting gets no more answers to an address than that. It keeps out
/// neither who holds another key there, nor who holds this one elsewhere.
#[test]
fn greetings_by_one_clients_key_are_answered_so_often_in_a_second() {
    let keys = ring("node 1 %1\nclient ann 2 %2 r\nclient bob 3 %3 r");
    let mut node = Side::start(1, &keys, 1);
    let hello = |id: u16, keys: &str| {
        let mut side = Side::start(id, &ring(keys), 2);
        side.send(at(0), (ServerId(1), address(ServerId(1))), &frame(side.id, ServerId(1), 1))
            .remove(0)
    };
    let (ann, bob) = (hello(CLIENT.0, "client ann 2 %2 r"), hello(CLIENT.0, "client bob 3 %3 r"));
    let mut answers = |hello: &Sent, host: u8, millis| {
        let repeated = Sent { from: ([10, 0, 0, host], 5).into(), ..hello.clone() };
        let count = CLIENT_HANDSHAKES_PER_SECOND_MAX + 9;
        (0..count).map(|_| node.hear(at(millis), &repeated).len()).sum::<usize>()
    };
    let most = usize::try_from(CLIENT_HANDSHAKES_PER_SECOND_MAX).unwrap();
    let of_ann = [answers(&ann, 1, 1_000), answers(&ann, 1, 1_999), answers(&ann, 1, 2_000)];
    assert_eq!(of_ann, [most, 0, most]);
    let of_others = [answers(&ann, 2, 2_000), answers(&bob, 1, 2_000)];
    assert_eq!(of_others, [most; 2]);
    assert_eq!(answers(&hello(2, "node 1 %1"), 1, 2_000), most + 9, "a node at the address");
}

/// Each session costs a node far more than a greeting. What is refused for now begins later.
#[test]
fn sessions_by_one_clients_key_begin_so_often_in_a_second() {
    let keys = ring("node 1 %1\nclient ann 2 %2 r\nclient bob 3 %3 r");
    let mut node = Side::start(1, &keys, 1);
    let mut port = 0;
    let mut begin = |key: &str, id: u16, host: u32| {
        port += 1;
        let mut side = Side::start(id, &ring(key), 200);
        side.address = (std::net::Ipv4Addr::from(host), port).into();
        let finish = talk(at(0), &mut side, &mut node, 1).swap_remove(2);
        assert_eq!(finish.bytes[3], 114);
        (node.sealer.remembered(), node.dropped.last().copied(), finish)
    };
    let most = CLIENT_HANDSHAKES_PER_SECOND_MAX;
    let full = usize::try_from(most).unwrap();
    for host in 1..=most {
        begin("client ann 2 %2 r", CLIENT.0, host);
    }
    let (remembered, cause, finish) = begin("client ann 2 %2 r", CLIENT.0, most + 1);
    assert_eq!((remembered, cause), ((full, full), Some(DropCause::Session)));
    assert_eq!(begin("client bob 3 %3 r", CLIENT.0, 1).0, (full + 1, full + 1));
    assert_eq!(begin("node 1 %1", 2, 1).0, (full + 2, full + 2));
    node.hear(at(1_000), &finish);
    assert_eq!(node.sealer.remembered(), (full + 3, full + 3));
}

/// A client that holds the key may not fill the table for others, nor displace a session.
#[test]
fn sessions_of_one_source_are_bounded() {
    let keys = ring("node 1 %1\nclient ann 2 %2 r");
    let mut node = Side::start(1, &keys, 1);
    let of_client = ring("client ann 2 %2 r");
    let mut millis = 0;
    let mut begin = |port: u16, ip: [u8; 4]| {
        millis += 2;
        let mut client = Side::start(CLIENT.0, &of_client, 200);
        client.address = (ip, port).into();
        talk(at(millis), &mut client, &mut node, port.into());
        (client, node.taken.len())
    };
    let (mut first, _) = begin(1, [127, 0, 0, 1]);
    let bound = u16::try_from(SESSIONS_PER_SOURCE_MAX).unwrap();
    let (_, full) = (2..=bound + 9).map(|port| begin(port, [127, 0, 0, 1])).last().unwrap();
    assert_eq!(full, SESSIONS_PER_SOURCE_MAX);
    let (_, with_other) = begin(1, [127, 0, 0, 2]);
    assert_eq!(with_other, full + 1, "another source has room");
    talk(at(20_000), &mut first, &mut node, 2);
    assert_eq!(node.taken.len(), full + 2, "who was there first is still heard");
    assert_eq!(node.sealer.remembered(), (full + 1, full + 1), "nothing is kept of the others");
    let mut late = Side::start(CLIENT.0, &of_client, 201);
    talk(at(141_000), &mut late, &mut node, 1);
    assert_eq!(node.sealer.remembered(), (1, 1), "who is silent for two minutes is forgotten");
}

/// Whoever revokes a key must come to a session, however many its holder has.
#[test]
fn sessions_of_one_key_leave_room_for_others() {
    let keys = ring("node 1 %1\nclient ann 2 %2 r\nclient bob 3 %3 r");
    let mut node = Side::start(1, &keys, 1);
    let mut begin = |key: &str, number: usize| {
        let mut client = Side::start(CLIENT.0, &ring(key), 200);
        let number = u32::try_from(number).unwrap();
        client.address = (std::net::Ipv4Addr::from(number / 100), 1).into();
        client.address.set_port(u16::try_from(number % 100 + 1).unwrap());
        talk(at(u64::from(number) * 2), &mut client, &mut node, 1);
        node.taken.len()
    };
    let most = SESSIONS_PER_KEY_MAX;
    let of_ann = (0..most + 9).map(|number| begin("client ann 2 %2 r", number)).last();
    assert_eq!(of_ann, Some(most));
    assert_eq!(begin("client bob 3 %3 r", most + 10), most + 1);
    assert_eq!(begin("node 1 %1", most + 11), most + 2);
}

/// Handshakes of another node that somebody passes on, each from an address of its own, come to
/// sessions that are never heard. The node itself must find room.
#[test]
fn handshakes_that_were_passed_on_keep_no_node_out() {
    let keys = ring("node 1 %1");
    for address_is_known in [false, true] {
        let (mut one, mut two) = (Side::start(1, &keys, 1), Side::start(2, &keys, 2));
        let home = two.address;
        for nth in 1..=3_000_u32 {
            let now = at(u64::from(nth) * 300);
            two = Side::start(2, &keys, u8::try_from(nth % 250 + 3).unwrap());
            two.address = (std::net::Ipv4Addr::from(nth), 1).into();
            let hello = two.send(now, (one.id, one.address), &frame(two.id, one.id, 1));
            let welcome = one.hear(now, &hello[0]);
            let finish = two.hear(now, &welcome[0]);
            one.hear(now, &finish[0]);
            if address_is_known {
                one.tell_double(now);
            }
        }
        let (sessions, ways) = one.sealer.remembered();
        assert!(sessions <= 512 && ways <= 512, "{sessions} sessions, {ways} ways");
        assert!(!address_is_known || (sessions <= 40 && ways <= 1), "{sessions} and {ways}");
        two = Side::start(2, &keys, 2);
        two.address = home;
        talk(at(901_000), &mut two, &mut one, 1);
        assert_eq!(one.taken.len(), 1);
    }
}

/// What waits for a session that never comes is bounded, and so are the greetings.
#[test]
fn a_silent_other_side_costs_little() {
    let keys = ring("node 1 %1");
    let mut one = Side::start(1, &keys, 1);
    let mut two = Side::start(2, &keys, 2);
    let mut hellos = 0;
    let mut last = Vec::new();
    for millis in 0..10_000 {
        let sent = one.send(at(millis), (two.id, two.address), &frame(one.id, two.id, millis));
        hellos += sent.len();
        last = if sent.is_empty() { last } else { sent };
    }
    assert!((25..60).contains(&hellos), "{hellos} greetings in 10 s");
    deliver(at(10_000), last, &mut one, &mut two);
    assert_eq!(two.taken.len(), 16, "what is older is lost");
    assert_eq!(two.taken[15], frame(one.id, two.id, 9_999));
}

#[test]
fn a_late_answer_begins_nothing() {
    let keys = ring("node 1 %1");
    let (mut one, mut two) = (Side::start(1, &keys, 1), Side::start(2, &keys, 2));
    let hello = one.send(at(0), (two.id, two.address), &frame(one.id, two.id, 1));
    let welcome = two.hear(at(0), &hello[0]);
    let finish = one.hear(at(0), &welcome[0]);
    let late = at(0) + Duration::from_secs(5);
    assert_eq!(two.refuses(late, &finish[0]), DropCause::Replay);
}
