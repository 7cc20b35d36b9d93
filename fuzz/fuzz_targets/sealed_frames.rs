//! Sealed frames with anything inside. What must hold is said at the check.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| checks::sealed_frames::sealed_frames(bytes));
