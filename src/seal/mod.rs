//! Sealed frames: who holds a key may speak, and nobody else is answered.
//!
//! This layer lies between the frames of `wire` and the datagrams of a socket, on both sides.
//! It does no IO either: the time, the randomness of one life and the keys are handed in. The
//! construction, and what it protects from, is in docs/security.md.

mod keys;
mod budget;
mod handshake;
mod mismatch;
mod replay_window;
mod session;
mod sessions;
mod way;
mod sealer;
mod telling;

pub use budget::{CLIENT_HANDSHAKES_PER_SECOND_MAX, HELLOS_PER_SECOND_MAX};
pub use handshake::{Cipher, HANDSHAKE_BYTES, LifeSecret, Step};
pub use keys::{Key, KeyId, KeyRing, Secret};
pub use mismatch::Mismatch;
pub use sealer::{Begun, Opened, Sealer, SealerConfig, named_key};
pub use session::SEAL_BYTES;
pub use sessions::{SESSIONS_MAX, SESSIONS_PER_KEY_MAX, SESSIONS_PER_SOURCE_MAX};
