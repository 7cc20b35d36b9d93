//! Several keys, other keys, and what each holder may be.

use quorate::seal::KeyId;
use quorate::time::Instant;
use quorate::types::ServerId;
use quorate::wire::DropCause;

use super::stage::{CLIENT, Side, acquainted, address, deliver, frame, ring, talk};

fn at(millis: u64) -> Instant {
    Instant(millis * 1_000)
}

/// Add, use, retire: one node after the other, and no frame is lost.
#[test]
fn a_key_is_replaced_while_frames_flow() {
    let steps = ["node 1 %1", "node 1 %1\nnode 2 %2", "node 2 %2\nnode 1 %1", "node 2 %2"];
    let (mut one, mut two, _) = acquainted(&ring(steps[0]));
    let (mut now, mut packet) = (1_000, 1);
    let mut last = Vec::new();
    for lines in &steps[1..] {
        for first in [true, false] {
            if first { &mut one } else { &mut two }.sealer.set_keys(ring(lines));
            for _ in 0..20 {
                (now, packet) = (now + 30, packet + 1);
                last = talk(at(now), &mut one, &mut two, packet);
                last.extend(talk(at(now), &mut two, &mut one, packet));
            }
        }
    }
    assert_eq!((one.taken.len(), two.taken.len()), (121, 121));
    assert!(last.iter().all(|datagram| datagram.bytes[52] == 2), "all is by the new key");
}

/// Nodes that have nothing to say to each other show by their sessions that the new key is in
/// use, whatever is lost on the way.
#[test]
fn sessions_move_to_the_new_key_though_nobody_speaks() {
    let (mut one, mut two, _) = acquainted(&ring("node 1 %1"));
    for side in [&mut one, &mut two] {
        side.sealer.set_keys(ring("node 2 %2\nnode 1 %1"));
        side.begun = None;
    }
    let taken = (one.taken.len(), two.taken.len());
    for millis in 0..2_000 {
        for first in [true, false] {
            let (from, to) = if first { (&mut one, &mut two) } else { (&mut two, &mut one) };
            let sent = from.tend(at(100 + millis));
            if millis > 300 {
                deliver(at(100 + millis), sent, from, to);
            }
        }
    }
    for (side, other) in [(&mut one, ServerId(2)), (&mut two, ServerId(1))] {
        let begun = side.begun.expect("it has a new session");
        assert_eq!((begun.peer, begun.key), (other, KeyId(2)));
        assert!(side.tend(at(9_000)).is_empty(), "and seeks no other");
    }
    assert_eq!((one.taken.len(), two.taken.len()), taken);
}

/// Each has asked for a session by the former key, and is answered when the new one is in use.
#[test]
fn what_was_begun_by_the_former_key_does_not_keep_from_the_new_one() {
    let (mut one, mut two, _) = acquainted(&ring("node 1 %1\nnode 2 %2"));
    let greetings = [&mut one, &mut two].map(|side| {
        let other = ServerId(3 - side.id.0);
        let to = (other, address(other));
        side.send(at(100), to, &frame(side.id, other, 7));
        // Nobody has answered, so the session may be lost.
        side.send(at(400), to, &frame(side.id, other, 8)).remove(0)
    });
    let answers = [two.hear(at(400), &greetings[0]), one.hear(at(400), &greetings[1])];
    for side in [&mut one, &mut two] {
        side.sealer.set_keys(ring("node 2 %2\nnode 1 %1"));
        side.begun = None;
    }
    one.hear(at(401), &answers[0][0]);
    two.hear(at(401), &answers[1][0]);
    for millis in 500..1_000 {
        let sent = one.tend(at(millis));
        deliver(at(millis), sent, &mut one, &mut two);
        let sent = two.tend(at(millis));
        deliver(at(millis), sent, &mut two, &mut one);
    }
    assert_eq!(
        [one.begun, two.begun].map(|begun| begun.map(|begun| begun.key)),
        [Some(KeyId(2)); 2]
    );
}

/// A client that has gone away is not greeted: nobody may be there, or somebody else.
#[test]
fn no_client_is_greeted_when_the_keys_change() {
    let keys = ring("node 1 %1");
    let (mut client, mut node) = (Side::start(CLIENT.0, &keys, 1), Side::start(2, &keys, 2));
    talk(at(0), &mut client, &mut node, 1);
    node.sealer.set_keys(ring("node 2 %2\nnode 1 %1"));
    assert!(node.tend(at(1_000)).is_empty());
    talk(at(2_000), &mut client, &mut node, 2);
    assert_eq!(node.taken.len(), 2, "its session goes on");
    node.sealer.set_keys(ring("node 2 %2"));
    assert_eq!(node.sealer.remembered(), (0, 0), "nothing is kept of whose key is gone");
}

/// A key that is gone ends its sessions at once. Should it come back, what was recorded then
/// is still refused.
#[test]
fn a_key_that_is_gone_opens_nothing_any_more() {
    let both = ring("node 1 %1\nnode 2 %2");
    let (mut one, mut two, sent) = acquainted(&both);
    let fresh = one.send(at(10), (two.id, two.address), &frame(one.id, two.id, 2)).remove(0);
    two.sealer.set_keys(ring("node 2 %2"));
    assert_eq!(two.refuses(at(10), &fresh), DropCause::Key);
    two.sealer.set_keys(both);
    assert_eq!(two.refuses(at(11), &fresh), DropCause::Session);
    assert_eq!(two.refuses(at(11), &sent[2]), DropCause::Replay, "nor does its Finish");
    // Another secret under the same number is another key.
    two.sealer.set_keys(ring("node 1 %3"));
    assert_eq!(two.refuses(at(12), &sent[0]), DropCause::Seal);
}

#[test]
fn the_key_of_a_client_speaks_for_no_node() {
    let nodes = ring("node 1 %1\nclient ann 2 %2 rw");
    let mut node = Side::start(1, &nodes, 1);
    let of_client = ring("client ann 2 %2 rw");
    let mut as_client = Side::start(CLIENT.0, &of_client, 2);
    talk(at(0), &mut as_client, &mut node, 1);
    assert_eq!(node.taken.len(), 1);
    let mut as_node = Side::start(2, &of_client, 3);
    let sent = as_node.send(at(0), (node.id, node.address), &frame(as_node.id, node.id, 1));
    assert_eq!(node.refuses(at(0), &sent[0]), DropCause::Sender);
}

#[test]
fn a_client_asks_whichever_node_is_there() {
    let keys = ring("node 1 %1");
    let mut node = Side::start(3, &keys, 1);
    let mut client = Side::start(CLIENT.0, &keys, 2);
    let question = frame(CLIENT, ServerId::NONE, 1);
    let sent = client.send(at(0), (ServerId::NONE, node.address), &question);
    deliver(at(0), sent, &mut client, &mut node);
    assert_eq!(node.taken, [question]);
    talk(at(0), &mut node, &mut client, 1);
    assert_eq!(client.taken, [frame(ServerId(3), CLIENT, 1)]);
}
