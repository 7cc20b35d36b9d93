//! A directory of arbitrary bytes. What must hold is said at the check.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| checks::recover_journal::recover_journal(bytes));
