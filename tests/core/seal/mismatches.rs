//! Two that hold one key and do not belong together: each is told who the other is.

use quorate::seal::HANDSHAKE_BYTES;
use quorate::time::Instant;
use quorate::types::{GenesisId, ServerId};
use quorate::wire::DropCause;

use super::stage::{CLIENT, GENESIS, Sent, Side, frame, ring, talk};

const SECOND: u64 = 1_000_000;

fn at(seconds: u64) -> Instant {
    Instant(SECOND * (1 + seconds))
}

/// The greeting of one for the node `taken_for` at the other's address.
fn greet(now: Instant, one: &mut Side, other: &Side, taken_for: u16) -> Sent {
    let greeted = ServerId(taken_for);
    one.send(now, (greeted, other.address), &frame(one.id, greeted, 1)).remove(0)
}

/// Lets one greet the other. Returns why each drops what the other says, and what it knows of it.
#[track_caller]
fn disagree(one: &mut Side, other: &mut Side, taken_for: u16) -> [(DropCause, u16, String); 2] {
    let hello = greet(at(0), one, other, taken_for);
    let answers = other.hear(at(0), &hello);
    let lengths: Vec<usize> = answers.iter().map(|answer| answer.bytes.len()).collect();
    assert_eq!((lengths, answers[0].to), (vec![HANDSHAKE_BYTES], one.address));
    assert!(one.hear(at(0), &answers[0]).is_empty(), "what tells is not answered");
    assert!(one.taken.is_empty() && other.taken.is_empty());
    [one, other].map(|side| {
        let mismatch = side.sealer.take_mismatch().expect("it is told");
        let cause = *side.dropped.last().expect("it drops what comes");
        assert_eq!(mismatch.cause, cause);
        (cause, mismatch.node.0, mismatch.cluster)
    })
}

#[test]
fn both_are_told_who_the_other_is() {
    let keys = ring("node 1 %1");
    let here = |id| Side::start(id, &keys, u8::try_from(id).unwrap() + 1);
    let there = |id| Side::of_cluster("prod-b", id, &keys, 9);
    let cases = [
        (here(1), there(2), 2, DropCause::Cluster, "prod-b", "quorate"),
        (here(CLIENT.0), there(2), 0, DropCause::Cluster, "prod-b", "quorate"),
        (here(1), here(2), 3, DropCause::Destination, "quorate", "quorate"),
    ];
    for (mut one, mut other, taken_for, cause, of_other, of_one) in cases {
        let told = disagree(&mut one, &mut other, taken_for);
        let expected =
            [(cause, other.id.0, of_other.to_owned()), (cause, one.id.0, of_one.to_owned())];
        assert_eq!(told, expected);
    }
    let (mut one, mut other) = (here(1), here(2));
    one.sealer.set_genesis(GENESIS);
    other.sealer.set_genesis(GenesisId(GENESIS.0 + 1));
    let told = disagree(&mut one, &mut other, 2).map(|(cause, node, _)| (cause, node));
    assert_eq!(told, [(DropCause::Genesis, 2), (DropCause::Genesis, 1)]);
}

/// Only who has begun a session learns that the other side knows its number elsewhere.
#[test]
fn who_has_the_number_of_another_is_told_in_its_session() {
    let keys = ring("node 1 %1");
    let (mut node, mut double) = (Side::start(1, &keys, 1), Side::start(2, &keys, 2));
    talk(at(0), &mut double, &mut node, 1);
    let told = node.tell_double(at(0));
    assert_eq!((told.len(), told[0].to, told[0].bytes.len()), (1, double.address, HANDSHAKE_BYTES));
    assert_eq!(double.refuses(at(0), &told[0]), DropCause::Address);
    let mismatch = double.sealer.take_mismatch().expect("it is told");
    assert_eq!((mismatch.cause, mismatch.node), (DropCause::Address, node.id));
    let sentence = mismatch.sentence(double.id, "quorate");
    assert!(sentence.contains("is node 1 of cluster quorate, and knows node 2 at another address"));
    assert!(node.tell_double(at(0)).is_empty(), "once a second at most");
    let mut restarted = Side::start(2, &keys, 3);
    greet(at(1), &mut restarted, &node, 1);
    assert_eq!(restarted.refuses(at(1), &told[0]), DropCause::Duplicate);
}

/// Whoever passes its greeting on to a node of another cluster gets a genuine answer to it. A
/// client that has a session with the node may have had something done there, and must not take
/// the answer for a sign that nothing was.
#[test]
fn a_client_that_has_a_session_with_a_node_is_told_nothing_of_it() {
    let keys = ring("node 1 %1");
    let (mut client, mut node) = (Side::start(CLIENT.0, &keys, 1), Side::start(1, &keys, 2));
    let mut other = Side::of_cluster("prod-b", 1, &keys, 3);
    let first = talk(at(0), &mut client, &mut node, 1).remove(0);
    // It greets again when the node is silent, and goes on in the session meanwhile.
    let mut say =
        |second| client.send(at(second), (node.id, node.address), &frame(CLIENT, node.id, 2));
    say(1);
    let second = say(2).into_iter().find(|sent| sent.bytes[3] == 112).expect("it greets");
    for (when, hello) in [(at(2), first), (at(4), second)] {
        let mut mismatch = other.hear(when, &hello).remove(0);
        mismatch.from = node.address;
        let cause = client.refuses(when, &mismatch);
        assert_eq!((client.sealer.take_mismatch(), cause), (None, DropCause::Duplicate));
    }
}

/// The key file was read again: what is said by a new key is told by it.
#[test]
fn both_are_told_by_a_new_key_too() {
    let keys = ring("node 1 %1");
    let mut one = Side::start(1, &keys, 1);
    let mut other = Side::of_cluster("prod-b", 2, &keys, 2);
    for side in [&mut one, &mut other] {
        side.sealer.set_keys(ring("node 2 %2"));
    }
    let told = disagree(&mut one, &mut other, 2).map(|(_, node, cluster)| (node, cluster));
    assert_eq!(told, [(2, "prod-b".to_owned()), (1, "quorate".to_owned())]);
}

/// A node that hears its own number may hear itself, so it says nothing. The others tell.
#[test]
fn what_may_be_ones_own_is_not_answered() {
    let keys = ring("node 1 %1");
    let (mut one, mut twin) = (Side::start(1, &keys, 1), Side::start(1, &keys, 2));
    let hello = greet(at(0), &mut one, &twin, 2);
    assert_eq!(one.refuses(at(0), &hello), DropCause::Destination);
    assert_eq!(twin.refuses(at(0), &hello), DropCause::Destination);
    let told = disagree(&mut Side::start(3, &keys, 3), &mut twin, 2);
    assert_eq!(
        told.map(|(cause, node, _)| (cause, node)),
        [1, 3].map(|node| (DropCause::Destination, node))
    );
}

#[test]
fn nobody_else_is_told_anything() {
    let keys = ring("node 1 %1\nclient ann 2 %2 r");
    let mut node = Side::of_cluster("prod-b", 2, &keys, 2);
    let other_key = greet(at(0), &mut Side::start(1, &ring("node 1 %3"), 1), &node, 2);
    let other_id = greet(at(0), &mut Side::start(1, &ring("node 3 %1"), 1), &node, 2);
    let client_as_node = greet(at(0), &mut Side::start(1, &ring("client ann 2 %2 r"), 1), &node, 2);
    let long_name = "a name of more than thirty-two bytes";
    let nameless = greet(at(0), &mut Side::of_cluster(long_name, 1, &keys, 1), &node, 2);
    for hello in [other_key, other_id, client_as_node, nameless] {
        assert_eq!(node.refuses(at(0), &hello), DropCause::Cluster);
        assert_eq!(node.sealer.take_mismatch(), None);
    }
    let genuine = greet(at(0), &mut Side::start(1, &keys, 1), &node, 2);
    for bit in 0..HANDSHAKE_BYTES * 8 {
        let mut changed = genuine.clone();
        changed.bytes[bit / 8] ^= 1 << (bit % 8);
        node.refuses(at(0), &changed);
        assert_eq!(node.sealer.take_mismatch(), None, "bit {bit}");
    }
}

/// What holds a key could forge lines of a log by a name, or command a client's terminal.
#[test]
fn a_name_that_no_cluster_may_have_is_not_passed_on() {
    let keys = ring("node 1 %1\nclient ann 2 %2 r");
    for name in ["x\n\u{1b}[2J", "x\r", "two words", "h\u{f6}me", "\u{9b}2J"] {
        for of_client in ["client ann 2 %2 r", "node 1 %1"] {
            let mut node = Side::start(2, &keys, 2);
            let mut forger = Side::of_cluster(name, CLIENT.0, &ring(of_client), 1);
            let hello = greet(at(0), &mut forger, &node, 2);
            assert_eq!(node.refuses(at(0), &hello), DropCause::Cluster);
            assert_eq!(node.sealer.take_mismatch(), None);

            let mut client = Side::start(CLIENT.0, &ring(of_client), 3);
            let mut forger = Side::of_cluster(name, 2, &keys, 4);
            let mismatch = forger.hear(at(0), &greet(at(0), &mut client, &node, 2)).remove(0);
            assert_eq!(client.refuses(at(0), &mismatch), DropCause::Seal);
            assert_eq!(client.sealer.take_mismatch(), None);
        }
    }
}

/// One address is told once a second, however often it asks, and from whatever port.
#[test]
fn an_address_is_not_told_again_at_once() {
    let keys = ring("node 1 %1");
    let mut node = Side::of_cluster("prod-b", 2, &keys, 2);
    let mut hello = greet(at(0), &mut Side::start(1, &keys, 1), &node, 2);
    let answers: Vec<usize> = (0..40_u16)
        .map(|quarter| {
            hello.from.set_port(1_000 + quarter);
            node.hear(Instant(SECOND + u64::from(quarter) * SECOND / 4), &hello).len()
        })
        .collect();
    assert_eq!(answers.iter().sum::<usize>(), 10, "{answers:?}");
}

/// What tells is of use to who has just asked, and to nobody else.
#[test]
fn what_tells_is_taken_by_who_has_asked() {
    let keys = ring("node 1 %1");
    let mut one = Side::start(1, &keys, 1);
    let mut node = Side::of_cluster("prod-b", 2, &keys, 2);
    let hello = greet(at(0), &mut one, &node, 2);
    let mismatch = node.hear(at(0), &hello).remove(0);
    let mut elsewhere = mismatch.clone();
    elsewhere.from.set_port(9_777);
    assert_eq!(one.refuses(at(0), &elsewhere), DropCause::Duplicate);
    for bit in 0..HANDSHAKE_BYTES * 8 {
        let mut changed = mismatch.clone();
        changed.bytes[bit / 8] ^= 1 << (bit % 8);
        one.refuses(at(0), &changed);
        assert_eq!(one.sealer.take_mismatch(), None, "bit {bit}");
    }
    let mut restarted = Side::start(1, &keys, 5);
    greet(at(0), &mut restarted, &node, 2);
    assert_eq!(restarted.refuses(at(0), &mismatch), DropCause::Duplicate);
    assert_eq!(one.refuses(at(0), &mismatch), DropCause::Cluster);
    assert!(one.sealer.take_mismatch().is_some());
}
