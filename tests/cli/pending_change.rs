//! A change of the members that meets another one, at a node that this test speaks for.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use quorate::configuration::Configuration;
use quorate::types::{DirectoryId, GenesisId, LogIndex, ServerId};
use quorate::wire::{self, Header, MemberOutcome, MemberReply, Message};

use crate::processes::{Ran, quorate};

/// Asks to remove a node of one that says so often that another change is pending, and then is
/// silent.
fn remove_at(answers: usize) -> Ran {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    let address = socket.local_addr().expect("it is bound").to_string();
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("it may wait");
    thread::spawn(move || (0..answers).try_for_each(|_| say_pending(&socket)));
    quorate(&address, &["member", "remove", "4", "--timeout", "1"], b"")
}

/// Answers the next question. None: there is none any more.
fn say_pending(socket: &UdpSocket) -> Option<()> {
    let mut buffer = [0; 2_048];
    let (length, from) = socket.recv_from(&mut buffer).ok()?;
    let asked = wire::decode(&Bytes::copy_from_slice(&buffer[..length])).ok()?;
    let Message::MemberRequest(request) = asked.message else { return None };
    let members = BTreeMap::from([(ServerId(1), DirectoryId(1))]);
    let reply = MemberReply {
        nonce: request.nonce,
        outcome: MemberOutcome::Pending,
        index: LogIndex(2),
        commit: LogIndex(1),
        configuration: Configuration::at_genesis(GenesisId(1), members),
    };
    let header = Header { sender: ServerId(1), ..asked.header };
    let mut frame = Vec::new();
    wire::encode(&header, &Message::MemberReply(reply), &mut frame);
    socket.send_to(&frame, from).ok().map(drop)
}

#[test]
fn a_change_that_met_another_one_each_time_is_refused() {
    let ran = remove_at(usize::MAX).expect(4);
    assert!(ran.err.contains("another change is pending"), "{}", ran.err);
}

/// It may stand in the log since the asking that nobody has answered.
#[test]
fn a_change_that_met_another_one_and_then_nobody_may_be_made() {
    let ran = remove_at(1).expect(3);
    assert!(ran.err.contains("whether this one is made is not known"), "{}", ran.err);
}
