//! Requests that a leader does not take, and what it says of them.

use bytes::Bytes;
use quorate::operation::{Invalid, Outcome};
use quorate::types::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use quorate::wire::{DeclineReason, Declined, Message, Request};

use super::probe::Probe;
use super::request::{pieces, put, request, session};
use super::said::replies;

/// The longest operation has two values, and what goes with them.
const OPERATION_BYTES_MAX: usize = 2 * VALUE_BYTES_MAX + KEY_BYTES_MAX + 64;

fn reason(probe: &mut Probe, request: Request) -> Option<DeclineReason> {
    probe.ask(1, Message::Request(request));
    probe.turn().iter().find_map(|sent| match &sent.message {
        Message::Declined(Declined { reason, .. }) => Some(*reason),
        _ => None,
    })
}

#[test]
fn no_operation_is_longer_than_two_values() {
    let mut probe = Probe::serving(1);
    let first = request(session(1), &put("key", vec![7; 2_000]));
    let of_length =
        |length| Request { length: u32::try_from(length).expect("short"), ..first.clone() };
    assert_eq!(reason(&mut probe, of_length(OPERATION_BYTES_MAX)), None);
    for length in [OPERATION_BYTES_MAX + 1, u32::MAX as usize] {
        let too_long = Some(DeclineReason::Invalid(Invalid::ValueTooLong));
        assert_eq!(reason(&mut probe, of_length(length)), too_long);
    }
}

#[test]
fn a_piece_that_fits_nowhere_is_refused() {
    let mut probe = Probe::serving(1);
    let no_operation = Some(DeclineReason::Invalid(Invalid::NotAnOperation));
    let first = request(session(1), &put("key", vec![7; 2_000]));
    for (piece, expected) in [(1, None), (2, no_operation)] {
        assert_eq!(reason(&mut probe, Request { piece, ..first.clone() }), expected);
    }
    let whole = request(session(2), &put("key", "value"));
    let longer =
        Request { bytes: Bytes::from([&whole.bytes[..], b"more"].concat()), ..whole.clone() };
    assert_eq!(reason(&mut probe, longer), no_operation);
    assert_eq!(reason(&mut probe, whole), None);
}

#[test]
fn a_leader_that_is_about_to_stop_takes_nothing_more() {
    let mut probe = Probe::serving(3);
    probe.hand_over();
    let put = request(session(1), &put("key", "value"));
    assert_eq!(reason(&mut probe, put), Some(DeclineReason::Busy));
}

/// The number of one operation is not to be used for another.
#[test]
fn the_answer_of_another_operation_is_not_given() {
    let mut probe = Probe::serving(1);
    let mut settled = |request| {
        probe.ask(1, Message::Request(request));
        let said = probe.sync();
        replies(&said).first().expect("an answer").outcome.clone()
    };
    let first = request(session(1), &put("key", "value"));
    assert_eq!(settled(first.clone()), Outcome::Written);
    assert_eq!(settled(first), Outcome::Written);
    assert_eq!(settled(request(session(1), &put("key", "other"))), Outcome::OtherOperation);
}

#[test]
fn pieces_of_one_operation_are_not_joined_with_those_of_another() {
    let mut probe = Probe::serving(1);
    let first = pieces(session(1), &put("key", vec![7; 2_500])).remove(0);
    let other = pieces(session(1), &put("key", vec![8; 2_500])).remove(1);
    let longer = pieces(session(1), &put("key", vec![7; 3_500])).remove(1);
    assert_eq!(reason(&mut probe, first.clone()), None);
    for piece in [other, longer, Request { length: first.length + 1, ..first }] {
        let no_operation = Some(DeclineReason::Invalid(Invalid::NotAnOperation));
        assert_eq!(reason(&mut probe, piece), no_operation);
    }
}
