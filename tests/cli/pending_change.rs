//! A change of the members that meets others, at a node that this test speaks for.

use std::collections::BTreeMap;
use std::iter;
use std::net::UdpSocket;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;

use quorate::configuration::Configuration;
use quorate::types::{DirectoryId, GenesisId, LogIndex, ServerId};
use quorate::wire::{self, Echo, Header, MemberOutcome, MemberReply, MemberRequest, Message};

use crate::processes::{Ran, quorate};

/// What the node says to the next asking, and where it says that the members stand in the log.
/// None: it is silent.
type Answer = Option<(MemberOutcome, u64)>;

const OUTDATED: Answer = Some((MemberOutcome::Outdated, 5));
const PENDING: Answer = Some((MemberOutcome::Pending, 6));
const QUORUM_LOST: Answer = Some((MemberOutcome::QuorumLost, 5));

/// Asks a node to remove another. It gives these answers, and is silent then; it returns what it
/// was asked.
fn remove_at(
    answers: impl IntoIterator<Item = Answer, IntoIter: Send + 'static>,
) -> (Ran, JoinHandle<Vec<MemberRequest>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    let address = socket.local_addr().expect("it is bound").to_string();
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("it may wait");
    let answers = answers.into_iter();
    let node = thread::spawn(move || answers.map_while(|next| answer(&socket, next)).collect());
    (quorate(&address, &["member", "remove", "4", "--timeout", "1"], b""), node)
}

/// Answers the next question. None: there is none any more.
fn answer(socket: &UdpSocket, answer: Answer) -> Option<MemberRequest> {
    let mut buffer = [0; 2_048];
    let (length, from) = socket.recv_from(&mut buffer).ok()?;
    let asked = wire::decode(&Bytes::copy_from_slice(&buffer[..length])).ok()?;
    let Message::MemberRequest(request) = asked.message else { return None };
    let Some((outcome, index)) = answer else { return Some(request) };
    let members = BTreeMap::from([(ServerId(1), DirectoryId(1))]);
    let reply = MemberReply {
        nonce: request.nonce,
        outcome,
        index: LogIndex(index),
        commit: LogIndex(5),
        configuration: Configuration::at_genesis(GenesisId(1), members),
    };
    let echo = Some(Echo { packet: asked.header.packet, age: 0 });
    let header = Header { sender: ServerId(1), echo, ..asked.header };
    let mut frame = Vec::new();
    wire::encode(&header, &Message::MemberReply(reply), &mut frame);
    socket.send_to(&frame, from).ok().map(|_| request)
}

/// It is asked for again, of the members as they are then, and as something else than before.
#[test]
fn a_change_that_met_others_comes_through() {
    let at = |outcome, index| Some((outcome, index));
    let (ran, node) = remove_at([
        OUTDATED,
        PENDING,
        at(MemberOutcome::Outdated, 7),
        at(MemberOutcome::Changed, 8),
    ]);
    let ran = ran.expect(0);
    assert!(ran.err.contains("changed: "), "{}", ran.err);
    let asked = node.join().expect("it has answered all");
    let seen: Vec<u64> = asked.iter().map(|request| request.seen.0).collect();
    assert_eq!(seen, [0, 5, 5, 7]);
    assert_ne!(asked[0].nonce, asked[1].nonce);
    assert_eq!(asked[1].nonce, asked[2].nonce);
    assert_ne!(asked[2].nonce, asked[3].nonce);
}

#[test]
fn a_change_that_met_another_one_each_time_is_refused() {
    for first in [PENDING, OUTDATED] {
        let (ran, _) = remove_at(iter::once(first).chain(iter::repeat(PENDING)));
        let ran = ran.expect(4);
        assert!(ran.err.contains("another change is pending"), "{}", ran.err);
    }
}

/// It may stand in the log since an asking that nobody has answered, whatever was said before
/// and after.
#[test]
fn a_change_that_was_refused_but_not_each_time_may_be_made() {
    for answers in [vec![OUTDATED, PENDING], vec![OUTDATED, None, QUORUM_LOST]] {
        let ran = remove_at(answers).0.expect(3);
        assert!(ran.err.contains("may have been taken up"), "{}", ran.err);
    }
}

/// Nobody can have taken it up: it was asked for by none who had seen the members, or that was
/// answered.
#[test]
fn a_change_that_nobody_can_have_taken_up_is_refused() {
    for answers in [vec![PENDING], vec![None, OUTDATED, QUORUM_LOST]] {
        remove_at(answers).0.expect(4);
    }
}

/// A leader that has been replaced answers by members that are no more.
#[test]
fn an_answer_from_before_what_was_seen_is_not_believed() {
    let former = Some((MemberOutcome::AlreadySo, 3));
    let (ran, _) = remove_at([OUTDATED, former, Some((MemberOutcome::Changed, 6))]);
    assert!(ran.expect(0).err.contains("quorate: changed"));
}
