//! Damaged frames are refused, and none makes the decoder panic.

use proptest::prelude::*;
use quorate::wire::{DropCause, HEADER_BYTES, seal};

use super::{checks, decode, encode, samples, strategies};

#[test]
fn every_flipped_bit_is_refused() {
    for (name, frame) in samples::frames() {
        let mut bytes = encode(&frame);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes).is_err(), "{name}: bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    for (name, frame) in samples::frames() {
        let bytes = encode(&frame);
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), Err(DropCause::Length), "{name}: {length}");
        }
    }
}

/// No message is the beginning of another, so what is missing is always noticed, even
/// where the checksum does not tell.
#[test]
fn every_truncation_is_refused_though_it_is_sealed() {
    for (name, frame) in samples::frames() {
        let bytes = encode(&frame);
        for length in HEADER_BYTES..bytes.len() {
            let mut shorter = bytes[..length].to_vec();
            seal(&mut shorter);
            assert_eq!(decode(&shorter), Err(DropCause::Malformed), "{name}: {length}");
        }
    }
}

#[test]
fn bytes_left_over_are_refused() {
    for (name, frame) in samples::frames() {
        let mut bytes = encode(&frame);
        bytes.push(0);
        assert_eq!(decode(&bytes), Err(DropCause::Length), "{name}: one more");
        seal(&mut bytes);
        assert_eq!(decode(&bytes), Err(DropCause::Malformed), "{name}: one more, sealed");
        // A field of two bytes, of which one is there.
        bytes.extend([2, 0, 1]);
        seal(&mut bytes);
        assert_eq!(decode(&bytes), Err(DropCause::Malformed), "{name}: half a field");
    }
}

#[test]
fn optional_fields_that_are_not_known_are_skipped() {
    for (name, frame) in samples::frames() {
        let mut bytes = encode(&frame);
        for tag in [0, 2, 255] {
            bytes.extend([tag, 2, 0, 0xab, 0xcd]);
            seal(&mut bytes);
            assert_eq!(decode(&bytes).as_ref(), Ok(&frame), "{name}: after field {tag}");
        }
    }
}

/// The loss is one byte: there is no other way to tell of it.
#[test]
fn a_loss_of_another_length_is_refused() {
    for (name, frame) in samples::frames() {
        for field in [&[1, 0, 0][..], &[1, 2, 0, 7, 7]] {
            let mut bytes = [&encode(&frame), field].concat();
            seal(&mut bytes);
            assert_eq!(decode(&bytes), Err(DropCause::Malformed), "{name}: {field:?}");
        }
    }
}

/// Whether there is a checksum depends on the key, so that is looked at first: a sealed
/// frame has none that could be right.
#[test]
fn a_sealed_frame_is_not_taken_for_a_damaged_one() {
    for (name, frame) in samples::frames() {
        let mut bytes = encode(&frame);
        bytes[52] = 1;
        assert_eq!(decode(&bytes), Err(DropCause::Key), "{name}");
    }
}

/// A byte that is changed makes another value or none: never the same one once more.
#[test]
fn no_value_has_two_encodings() {
    for (_, frame) in samples::frames() {
        let bytes = encode(&frame);
        for at in 0..bytes.len() {
            for byte in [0, 1, 2, 3, 4, 127, 128, 255] {
                let mut changed = bytes.clone();
                changed[at] = byte;
                checks::decode_frame(&changed);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..1_300)) {
        checks::decode_frame(&bytes);
    }

    #[test]
    fn any_bytes_as_a_message(
        kind in any::<u8>(),
        body in prop::collection::vec(prop_oneof![any::<u8>(), 0..3_u8], 0..1_200),
    ) {
        let (_, frame) = &samples::frames()[0];
        let mut bytes = encode(frame);
        bytes.truncate(HEADER_BYTES);
        bytes[3] = kind;
        bytes.extend(body);
        checks::decode_frame(&bytes);
    }

    #[test]
    fn frames_with_some_bytes_changed(
        frame in strategies::frame(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encode(&frame);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        checks::decode_frame(&bytes);
    }
}
