//! Any bytes as a datagram: decoding never panics, and what decodes has one encoding.

#![no_main]

#[path = "../checks.rs"]
mod checks;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| checks::decode_frame(bytes));
