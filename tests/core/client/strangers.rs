//! Frames that are not an answer of this cluster's nodes.

use bytes::Bytes;
use quorate::client::Answer;
use quorate::operation::{Outcome, Settled};
use quorate::types::{ClusterHash, GenesisId, LogIndex, LogTime, PacketNumber, Sequence, ServerId};
use quorate::wire::{self, Frame, GenesisHash, Header, Message, Reply, SessionOpened};

use super::stage::{SESSION, Stage, address, config, header, put};

/// A client that waits for an answer to sequence 2, and the answer.
fn waiting() -> (Stage, Frame) {
    let mut stage = Stage::with_session(config(2));
    stage.execute(put("value"));
    stage.sent();
    let settled = Settled { index: LogIndex(9), outcome: Outcome::Written };
    let reply = Reply { session: SESSION, sequence: Sequence(2), settled };
    (stage, Frame { header: header(0, PacketNumber(1_000)), message: Message::Reply(reply) })
}

fn is_ignored(change: impl FnOnce(&mut Header)) -> bool {
    let (mut stage, mut frame) = waiting();
    change(&mut frame.header);
    stage.deliver(address(0), &frame);
    stage.end().is_none()
}

#[test]
fn a_nodes_answer_is_taken() {
    assert!(!is_ignored(|_| ()));
}

#[test]
fn another_clusters_answer_is_ignored() {
    assert!(is_ignored(|header| header.cluster = ClusterHash::of("another")));
}

#[test]
fn the_answer_of_a_cluster_of_this_name_born_another_time_is_ignored() {
    assert!(is_ignored(|header| header.genesis = GenesisHash::of(GenesisId(6))));
}

#[test]
fn a_node_that_is_not_born_may_answer() {
    assert!(!is_ignored(|header| header.genesis = GenesisHash::default()));
}

#[test]
fn what_a_client_says_is_ignored() {
    assert!(is_ignored(|header| header.sender = ServerId::NONE));
}

#[test]
fn what_nodes_say_to_each_other_is_ignored() {
    assert!(is_ignored(|header| header.destination = ServerId(2)));
}

#[test]
fn an_answer_from_an_address_that_was_never_asked_is_ignored() {
    let (mut stage, frame) = waiting();
    stage.deliver(address(5), &frame);
    assert_eq!(stage.end(), None);
}

#[test]
fn bytes_that_are_no_frame_are_ignored() {
    let (mut stage, frame) = waiting();
    let mut bytes = Vec::new();
    wire::encode(&frame.header, &frame.message, &mut bytes);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x20;
        stage.client.on_datagram(stage.now, address(0), &damaged.into());
        stage.client.on_datagram(stage.now, address(0), &Bytes::copy_from_slice(&bytes[..at]));
    }
    assert_eq!(stage.end(), None);
    stage.client.on_datagram(stage.now, address(0), &bytes.into());
    assert!(matches!(stage.end(), Some((_, Answer::Settled(_)))));
}

/// A client of the wrong cluster never learns that it was answered at all.
#[test]
fn a_client_of_another_cluster_gets_no_answer() {
    let mut stage = Stage::new(1);
    stage.execute(put("value"));
    let asked = stage.sent_one();
    let Message::OpenSession(open) = asked.message else { panic!("{asked:?}") };
    let opened = SessionOpened { nonce: open.nonce, session: SESSION, window: 8, time: LogTime(0) };
    let mut header = header(0, PacketNumber(1));
    header.cluster = ClusterHash::of("another");
    stage.deliver(address(0), &Frame { header, message: Message::SessionOpened(opened) });
    stage.wait_to_the_end();
    assert!(matches!(stage.end(), Some((_, Answer::NoAnswer(_)))));
}
