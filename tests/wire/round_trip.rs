//! What is written is read back, whatever the values.

use bytes::Bytes;
use proptest::prelude::*;
use quorate::codec::Reader;
use quorate::operation::{LoggedRequest, Operation, Settled};
use quorate::wire::{Frame, Kind};

use super::samples::{bytes_of, node_header};
use super::{checks, decode, encode, strategies};

/// Each kind has its own cases, so that none is left to chance.
#[test]
fn messages_of_every_kind() {
    for kind in Kind::ALL {
        let config = ProptestConfig { cases: 64, ..ProptestConfig::default() };
        proptest!(config, |(message in strategies::message(*kind))| {
            let frame = Frame { header: node_header(2, 1), message };
            let bytes = encode(&frame);
            prop_assert_eq!(bytes[3], *kind as u8);
            prop_assert_eq!(decode(&bytes), Ok(frame));
        });
    }
}

proptest! {
    #[test]
    fn frames(frame in strategies::frame()) {
        let bytes = encode(&frame);
        prop_assert_eq!(decode(&bytes), Ok(frame));
        checks::decode_frame(&bytes);
    }

    #[test]
    fn operations(operation in strategies::operation()) {
        let mut reader = Reader::new(bytes_of(&operation).into());
        prop_assert_eq!(Operation::decode(&mut reader), Ok(operation));
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn logged_requests(logged in strategies::logged_request()) {
        prop_assert_eq!(LoggedRequest::decode(Bytes::from(logged.encode())), Ok(logged));
    }

    #[test]
    fn answers(settled in strategies::settled()) {
        let mut bytes = Vec::new();
        settled.encode(&mut bytes);
        let mut reader = Reader::new(bytes.into());
        prop_assert_eq!(Settled::decode(&mut reader), Ok(settled));
        prop_assert!(reader.is_empty());
    }
}
