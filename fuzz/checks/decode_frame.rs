//! Any bytes as a datagram: decoding never panics, and what decodes has one encoding.

use bytes::Bytes;
use quorate::codec::Reader;
use quorate::operation::{LoggedRequest, Operation};
use quorate::types::LossShare;
use quorate::wire::{self, HEADER_BYTES, Header, ListedValue, Message};

/// Where the header's length field stands: what lies before is the value's own.
const LENGTH_AT: usize = 50;

/// Decodes the bytes as they are, and with length and checksum set right, so that what
/// lies behind the checksum is reached.
pub fn decode_frame(bytes: &[u8]) {
    check_frame(bytes.to_vec());
    let mut sealed = bytes.to_vec();
    wire::seal(&mut sealed);
    check_frame(sealed);
}

/// What decodes has one encoding, which decodes to the same.
fn check_frame(datagram: Vec<u8>) {
    let datagram = Bytes::from(datagram);
    let Ok(frame) = wire::decode(&datagram) else { return };
    let mut again = Vec::new();
    // The loss is an optional field, and others may stand before it: these follow the message
    // in any order.
    let without_loss = Header { loss: LossShare(0), ..frame.header };
    wire::encode(&without_loss, &frame.message, &mut again);
    assert_eq!(datagram[..LENGTH_AT], again[..LENGTH_AT], "headers have one encoding");
    assert!(datagram[HEADER_BYTES..].starts_with(&again[HEADER_BYTES..]), "so have messages");
    wire::encode(&frame.header, &frame.message, &mut again);
    assert_eq!(wire::decode(&Bytes::from(again)).as_ref(), Ok(&frame));
    check_content(frame.message);
}

/// The same for the bytes that messages carry and that are decoded later.
fn check_content(message: Message) {
    match message {
        Message::Request(request) => check_operation(&request.bytes),
        Message::ReplicateOperation(replicate) => {
            for entry in replicate.entries {
                if let Ok(logged) = LoggedRequest::decode(entry.payload.clone()) {
                    assert_eq!(logged.encode(), entry.payload);
                }
            }
        }
        Message::Page(page) => check_listed_values(page.bytes),
        _ => {}
    }
}

fn check_operation(bytes: &Bytes) {
    if let Ok(operation) = Operation::decode(&mut Reader::new(bytes.clone())) {
        let mut again = Vec::new();
        operation.encode(&mut again);
        assert!(bytes.starts_with(&again), "operations have one encoding");
    }
}

fn check_listed_values(mut bytes: Bytes) {
    while let Ok(value) = ListedValue::decode(&mut Reader::new(bytes.clone())) {
        let mut again = Vec::new();
        value.encode(&mut again);
        assert!(bytes.starts_with(&again), "listed values have one encoding");
        assert_eq!(ListedValue::length(&bytes), Some(again.len()));
        bytes = bytes.slice(again.len()..);
    }
}
