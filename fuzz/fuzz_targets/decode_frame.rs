//! Any bytes as a datagram. What must hold is said at the check.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| checks::decode_frame::decode_frame(bytes));
