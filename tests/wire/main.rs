//! The wire format: the vectors of `docs/wire-format.md`, and what must hold of any bytes.
//!
//! `BLESS=1 cargo test --test wire` writes the vectors and the corpus of the fuzzer anew
//! from the samples. Look at what changed: a vector that changes is a format that does.

mod recovery_samples;
mod samples;
mod status_samples;
mod acknowledgments;
mod bad_samples;
mod document;
mod readable;
mod vectors;
mod sealed;

mod status_strategies;
mod strategies;
mod round_trip;
mod damage;
mod limits;

#[path = "../../fuzz/checks/decode_frame.rs"]
mod checks;
mod corpus;

use quorate::wire::{self, Frame};

/// The frame's bytes.
fn encode(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::encode(&frame.header, &frame.message, &mut bytes);
    bytes
}

/// The frame that the bytes hold, or why they are dropped.
fn decode(bytes: &[u8]) -> Result<Frame, wire::DropCause> {
    wire::decode(&bytes::Bytes::copy_from_slice(bytes))
}

/// Whether the vectors and the corpus are to be written rather than compared.
fn blessing() -> bool {
    std::env::var_os("BLESS").is_some()
}
