//! What seals frames, between two sides and somebody who hears all and may send anything.

mod stage;
mod attacks;
mod handshakes;
mod keys;
mod mismatches;
