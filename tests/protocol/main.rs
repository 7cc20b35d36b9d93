//! Single nodes, and a few together, held against what the protocol promises: each test
//! is a fact that must hold whatever frames come, in whatever order.

#[allow(dead_code, reason = "others need more of it")]
#[path = "../clients/mod.rs"]
mod clients;
mod members;
mod client;
mod probe;
mod said;
mod leader;
mod request;
mod net;

mod births;
mod elections;
mod contact;
mod catch_up;
mod promises;
mod lanes;
mod intake;
mod absurd;
mod addresses;
mod strangers;
mod directories;
mod changes;
mod answers;
mod copies;
mod reads;
mod refusals;
mod rights;
mod sessions;
mod objections;
mod bounds;
mod claims;
mod shares;
mod stalls;
mod doubt;
mod salvage;
mod told;
mod lives;
mod snapshots;
mod fetches;
mod space;
mod pace;
mod timeouts;
mod traffic;
