//! Bytes a second.

use std::time::Duration;

/// The rate of so many bytes within this time.
pub fn per_second(bytes: u64, time: Duration) -> u64 {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    bytes.saturating_mul(1_000_000) / micros
}

/// How many bytes that is within this time.
pub fn within(per_second: u64, time: Duration) -> u64 {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    per_second.saturating_mul(micros) / 1_000_000
}
