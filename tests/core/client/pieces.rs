//! Operations that are longer than a frame.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use quorate::client::{Answer, ClientConfig};
use quorate::operation::{Operation, Outcome};
use quorate::types::{Digest, Sequence};
use quorate::wire::{Message, PIECE_BYTES, Request, RequestProgress};

use super::stage::{SESSION, Sent, Stage, config};

fn long_put(length: usize) -> (Operation, Bytes) {
    let value: Vec<u8> = (0..=250).cycle().take(length).collect();
    let operation = Operation::Put { key: Bytes::from_static(b"key"), value: value.into() };
    let mut bytes = Vec::new();
    operation.encode(&mut bytes);
    (operation, bytes.into())
}

fn requests(sent: Vec<Sent>) -> Vec<Request> {
    let requests = sent.into_iter().map(|sent| match sent.message {
        Message::Request(request) => request,
        other => panic!("{other:?}"),
    });
    requests.collect()
}

/// What a server holds of an operation.
struct Assembly {
    pieces: Vec<Option<Bytes>>,
}

impl Assembly {
    fn take(&mut self, request: &Request) {
        self.pieces[request.piece as usize] = Some(request.bytes.clone());
    }

    fn is_complete(&self) -> bool {
        self.pieces.iter().all(Option::is_some)
    }

    fn progress(&self, request: &Request) -> RequestProgress {
        let next = self.pieces.iter().position(Option::is_none).unwrap_or(self.pieces.len());
        let beyond = (0..64).filter(|bit| matches!(self.pieces.get(next + 1 + bit), Some(Some(_))));
        RequestProgress {
            session: request.session,
            sequence: request.sequence,
            next_piece: u32::try_from(next).expect("a few pieces"),
            beyond: beyond.fold(0, |bits, bit| bits | 1 << bit),
        }
    }
}

#[test]
fn one_piece_goes_ahead_and_the_others_when_it_is_welcome() {
    let (operation, bytes) = long_put(10_000);
    let mut stage = Stage::with_session(config(1));
    stage.execute(operation);
    let first = requests(stage.sent());
    assert_eq!(first.len(), 1, "a node that is not the leader costs one frame");
    assert_eq!((first[0].piece, first[0].length as usize), (0, bytes.len()));
    let mut assembly = Assembly { pieces: vec![None; bytes.len().div_ceil(PIECE_BYTES)] };
    assembly.take(&first[0]);
    stage.say(0, Message::RequestProgress(assembly.progress(&first[0])));
    for piece in requests(stage.sent()) {
        assert_eq!(piece.digest, Digest::of(&bytes));
        assembly.take(&piece);
    }
    assert!(assembly.is_complete());
    let joined: Vec<u8> = assembly.pieces.into_iter().flatten().flatten().collect();
    assert_eq!(joined, bytes);
}

#[test]
fn at_another_server_the_pieces_begin_anew() {
    let (operation, _) = long_put(5_000);
    let mut stage = Stage::with_session(config(2));
    stage.execute(operation);
    let first = requests(stage.sent());
    let progress =
        RequestProgress { session: SESSION, sequence: first[0].sequence, next_piece: 3, beyond: 0 };
    stage.say(0, Message::RequestProgress(progress));
    assert_eq!(requests(stage.sent()).len(), 2);
    let mut sent = stage.wait().0;
    while sent[0].server == 0 {
        sent = stage.wait().0;
    }
    let pieces: Vec<u32> = requests(sent).iter().map(|request| request.piece).collect();
    assert_eq!(pieces, [0]);
}

#[test]
fn where_all_pieces_have_arrived_is_asked_again_before_another_server() {
    let (operation, bytes) = long_put(5_000);
    let mut stage = Stage::with_session(config(2));
    stage.execute(operation);
    let (server, first) = stage.sent_request();
    let next_piece = u32::try_from(bytes.len().div_ceil(PIECE_BYTES)).expect("a few pieces");
    let (session, sequence) = (first.session, first.sequence);
    let all = RequestProgress { session, sequence, next_piece, beyond: 0 };
    stage.say(server, Message::RequestProgress(all));
    assert_eq!(stage.sent(), Vec::new());
    let sent = stage.wait().0;
    assert_eq!((sent.len(), sent[0].server), (1, server), "the reply was lost");
    assert_eq!(requests(sent), [first]);
    stage.say(server, Message::RequestProgress(all));
    assert_eq!(stage.sent(), Vec::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Pieces and progress get lost; what arrives joins to the operation all the same, and
    /// what is sent again stays in proportion to what was lost.
    #[test]
    fn pieces_arrive_though_many_are_lost(
        length in 0..150_000_usize,
        seed in any::<u64>(),
    ) {
        let (operation, bytes) = long_put(length);
        let mut random = fastrand::Rng::with_seed(seed);
        let timeout = Duration::from_secs(60);
        let mut stage = Stage::with_session(ClientConfig { timeout, ..config(1) });
        stage.execute(operation);
        let mut assembly = Assembly { pieces: vec![None; bytes.len().div_ceil(PIECE_BYTES)] };
        let mut sent = stage.sent();
        let mut frames = 0;
        while !assembly.is_complete() {
            prop_assert!(stage.client.outstanding() > 0, "gave up");
            if sent.is_empty() {
                sent = stage.wait().0;
            }
            frames += sent.len();
            for request in requests(std::mem::take(&mut sent)) {
                if request.settle || random.u8(0..10) < 3 {
                    continue;
                }
                assembly.take(&request);
                if random.u8(0..10) >= 3 {
                    stage.say(0, Message::RequestProgress(assembly.progress(&request)));
                    sent.extend(stage.sent());
                }
            }
        }
        let limit = 3 * assembly.pieces.len() + 100;
        prop_assert!(frames <= limit, "{} frames where {} should do", frames, limit);
        let joined: Vec<u8> = assembly.pieces.into_iter().flatten().flatten().collect();
        prop_assert_eq!(Bytes::from(joined), bytes);
        stage.settle(0, SESSION, Sequence(2), Outcome::Written);
        prop_assert!(matches!(stage.end(), Some((_, Answer::Settled(_)))));
    }
}
