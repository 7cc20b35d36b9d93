//! Arbitrary events and faults on a small cluster. What must hold is said at the check.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| checks::cluster_faults::cluster_faults(bytes));
