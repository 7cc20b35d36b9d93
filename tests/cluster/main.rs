//! Three real processes on loopback, with real sockets and real disks: what is killed,
//! wiped, contradicted and flooded. Clusters run one at a time.

mod amplification;
mod attacker;
mod backup;
mod cluster;
mod copies;
mod damage;
mod greetings;
mod lab;
mod leaders;
mod load;
mod members;
mod on_path;
#[path = "../processes/mod.rs"]
mod processes;
mod readme;
mod reads;
mod relay;
mod rescue;
mod rights;
mod rotation;
mod sealed;
mod status;
mod storm;
mod timeouts;
mod traffic;
