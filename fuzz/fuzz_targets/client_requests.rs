//! Arbitrary requests of clients. What must hold is said at the check.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| checks::client_requests::client_requests(bytes));
