//! The data directory: what was synced is there again after every loss of power, and
//! damage is never taken for one.

#[allow(dead_code, reason = "others need more of it")]
#[path = "../clients/mod.rs"]
mod clients;
mod cluster;
mod crash;
mod damage;
mod flaws;
mod full;
mod layout;
mod life;
mod meta;
mod reading;
mod rebirth;
mod recording;
mod repair;
mod round_trip;
mod scrub;
mod segments;
mod set_aside;
mod sightings;
mod sweep;
mod unreadable;
mod vectors;
