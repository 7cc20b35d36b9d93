//! What must hold of any bytes at all. The fuzz targets and the ordinary tests share it:
//! each check is a function of the input, and panics when something does not hold.

mod choices;
mod life;
mod frames;
mod turns;
mod seals;

pub mod decode_frame;
pub mod sealed_frames;
pub mod handshake;
pub mod client_requests;
pub mod node_turns;
pub mod cluster_faults;
pub mod recover_journal;

#[allow(dead_code, reason = "tests/disk needs more of it")]
#[path = "../../tests/disk/life.rs"]
mod author;

#[allow(dead_code, reason = "others need more of it")]
#[path = "../../tests/clients/mod.rs"]
mod clients;
