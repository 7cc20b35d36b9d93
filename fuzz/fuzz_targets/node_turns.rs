//! Arbitrary turns of one node. What must hold is said at the check.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| checks::node_turns::node_turns(bytes));
