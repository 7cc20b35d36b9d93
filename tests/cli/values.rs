//! Values and their limits, at the command and at the node.

use std::ffi::OsStr;
use std::net::UdpSocket;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use quorate::operation::{Invalid, Operation};
use quorate::types::{
    ClusterHash, Digest, DirectoryId, LogTime, PacketNumber, Sequence, SessionId,
};
use quorate::wire::{self, DeclineReason, Header, Message, OpenSession, PIECE_BYTES, Request};

use crate::alone::Alone;
use crate::processes::quorate;

const MIB: usize = 1 << 20;

#[test]
fn standard_input_is_the_value_byte_for_byte() {
    let alone = Alone::start();
    let all: Vec<u8> = (0..=255).rev().collect();
    for value in [b"".as_slice(), b"\n", b"-", b"no newline", b"newline\n", &all] {
        alone.run_on(&["put", "k", "-"], value).expect(0);
        assert_eq!(alone.run(&["get", "k"]).expect(0).out, value);
    }
    alone.run_on(&["cas", "k", "-", "--value", "wrong"], b"x").expect(1);
    alone.run_on(&["put", "k", "-"], b"old").expect(0);
    alone.run_on(&["cas", "k", "-", "--value", "old"], &all).expect(0);
    assert_eq!(alone.run(&["get", "k"]).expect(0).out, all);
}

#[test]
fn a_key_that_is_no_text_is_given_in_base64() {
    let alone = Alone::start();
    alone.run_on(&["load", "-"], b"\xfe\tplain\n").expect(0);
    let run = |words: &[&str]| alone.run(&[words, &["--key-base64"]].concat());
    assert_eq!(run(&["get", "/g=="]).expect(0).text(), "plain");
    run(&["put", "/g==", "1"]).expect(0);
    assert_eq!(run(&["incr", "/g==", "2"]).expect(0).text(), "3\n");
    run(&["cas", "/g==", "4", "--value", "3"]).expect(0);
    assert_eq!(alone.run(&["dump"]).expect(0).out, b"\xfe\t4\n");
    run(&["delete", "/g=="]).expect(0);
    assert_eq!(alone.run(&["dump"]).expect(0).out, b"");
    let wrong = run(&["get", "%"]).expect(2);
    assert!(wrong.err.contains("'%' is no base64"), "{}", wrong.err);
    let typed = OsStr::from_bytes(b"\xfe");
    let ran = Command::new(env!("CARGO_BIN_EXE_quorate")).arg("get").arg(typed).output();
    let said = String::from_utf8(ran.expect("the program runs").stderr).expect("it is text");
    assert!(said.contains("a key in base64, with --key-base64"), "{said}");
}

#[test]
fn an_empty_value_is_a_value() {
    let alone = Alone::start();
    alone.run(&["put", "k", ""]).expect(0);
    assert_eq!(alone.run(&["get", "k"]).expect(0).out, b"");
    assert_eq!(alone.run(&["get", "k", "--json"]).expect(0).json()["value"], "");
    alone.run(&["cas", "k", "x", "--absent"]).expect(1);
    alone.run(&["cas", "k", "x", "--value", ""]).expect(0);
}

#[test]
fn the_longest_key_and_value_work() {
    let alone = Alone::start();
    let key = "k".repeat(1_024);
    let value: Vec<u8> = (0..=250).cycle().take(MIB).collect();
    alone.run_on(&["put", &key, "-"], &value).expect(0);
    assert!(alone.run(&["get", &key]).expect(0).out == value);
    assert!(alone.run(&["get", &key, "--stale"]).expect(0).out == value);
    assert_eq!(alone.run(&["status", "--json"]).expect(0).json()["nodes"][0]["keys"], 1);
}

#[test]
fn what_is_too_long_or_empty_is_refused_before_anything_is_sent() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    socket.set_nonblocking(true).expect("a socket need not block");
    let server = socket.local_addr().expect("it is bound").to_string();
    let long = "k".repeat(1_025);
    let (empty, too_long) = ("the key is empty", "longer than 1024 bytes");
    let cases: &[(&[&str], &str)] = &[
        (&["put", "", "v"], empty),
        (&["get", ""], empty),
        (&["get", "", "--stale"], empty),
        (&["delete", ""], empty),
        (&["cas", "", "v", "--absent"], empty),
        (&["incr", ""], empty),
        (&["put", &long, "v"], too_long),
        (&["get", &long], too_long),
        (&["delete", &long], too_long),
        (&["cas", &long, "v", "--absent"], too_long),
        (&["incr", &long], too_long),
        (&["list", &long], "longer than a key can be, 1024 bytes"),
        (&["put", "k", "-"], "the value is longer than 1048576 bytes"),
        (&["cas", "k", "-", "--absent"], "the value is longer than 1048576 bytes"),
    ];
    let value = vec![b'v'; MIB + 1];
    for (words, fragment) in cases {
        let ran = quorate(&server, words, &value).expect(4);
        assert!(ran.err.contains(fragment), "{words:?}: {}", ran.err);
        let arrived = socket.recv(&mut [0; 16]);
        assert!(arrived.is_err(), "{words:?} sent a datagram of {arrived:?} bytes");
    }
}

#[test]
fn the_node_refuses_them_too() {
    let alone = Alone::start();
    let mut client = RawClient::new(&alone.address);
    let put = |key: usize, value: usize| {
        let key = Bytes::from(vec![b'k'; key]);
        Operation::Put { key, value: Bytes::from(vec![b'v'; value]) }
    };
    assert_eq!(client.outcome_of(&put(0, 1)), Err(Invalid::EmptyKey));
    assert_eq!(client.outcome_of(&put(1_025, 1)), Err(Invalid::KeyTooLong));
    assert_eq!(client.outcome_of(&put(1, MIB + 1)), Err(Invalid::ValueTooLong));
    assert_eq!(client.outcome_of(&put(1, 3 * MIB)), Err(Invalid::ValueTooLong));
    assert_eq!(client.outcome_of(&put(1_024, 1)), Ok(()));
    assert_eq!(alone.run(&["list"]).expect(0).text(), format!("{}\tv\n", "k".repeat(1_024)));
}

/// A client that sends whatever it is told to.
struct RawClient {
    socket: UdpSocket,
    session: SessionId,
    sequence: u64,
    packet: u64,
}

impl RawClient {
    fn new(address: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
        socket.connect(address).expect("an address can be connected to");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout can be set");
        let session = SessionId::default();
        let mut client = Self { socket, session, sequence: 0, packet: 1 };
        // The node may not have been elected yet.
        while client.session == SessionId::default() {
            client.send(&Message::OpenSession(OpenSession { nonce: 7 }));
            client.session = client.receive(|message| match message {
                Message::SessionOpened(opened) if opened.nonce == 7 => Some(opened.session),
                Message::Declined(_) => Some(SessionId::default()),
                _ => None,
            });
        }
        client
    }

    /// Sends the operation piece by piece. Whatever the node tells of a piece lets the
    /// next one go, so none is lost.
    fn outcome_of(&mut self, operation: &Operation) -> Result<(), Invalid> {
        self.sequence += 1;
        let mut bytes = Vec::new();
        operation.encode(&mut bytes);
        let bytes = Bytes::from(bytes);
        for (piece, from) in (0_u32..).zip((0..bytes.len()).step_by(PIECE_BYTES)) {
            let until = bytes.len().min(from + PIECE_BYTES);
            self.send_piece(&bytes, piece, from..until);
            let is_last = until == bytes.len();
            let outcome = self.receive(|message| match message {
                Message::RequestProgress(_) => (!is_last).then_some(None),
                Message::Reply(_) => Some(Some(Ok(()))),
                Message::Declined(declined) => match declined.reason {
                    DeclineReason::Invalid(invalid) => Some(Some(Err(invalid))),
                    other => panic!("declined: {other:?}"),
                },
                _ => None,
            });
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
        unreachable!("the last piece has an outcome")
    }

    fn send_piece(&mut self, whole: &Bytes, piece: u32, range: std::ops::Range<usize>) {
        self.send(&Message::Request(Request {
            session: self.session,
            sequence: Sequence(self.sequence),
            floor: Sequence(self.sequence),
            not_after: LogTime(0),
            hops: 0,
            one_shot: false,
            settle: false,
            digest: Digest::of(whole),
            length: u32::try_from(whole.len()).expect("it fits"),
            piece,
            bytes: whole.slice(range),
        }));
    }

    fn send(&mut self, message: &Message) {
        let header = Header::of_client(
            ClusterHash::of("quorate"),
            DirectoryId(5),
            PacketNumber(self.packet),
        );
        self.packet += 1;
        let mut frame = Vec::new();
        wire::encode(&header, message, &mut frame);
        self.socket.send(&frame).expect("loopback takes datagrams");
    }

    /// The next message of interest.
    fn receive<T>(&self, mut pick: impl FnMut(Message) -> Option<T>) -> T {
        let mut buffer = [0; 2_048];
        loop {
            let length = self.socket.recv(&mut buffer).expect("the node answers");
            let datagram = Bytes::copy_from_slice(&buffer[..length]);
            let frame = wire::decode(&datagram).expect("a node's frame is well formed");
            if let Some(picked) = pick(frame.message) {
                return picked;
            }
        }
    }
}
