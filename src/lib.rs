//! quorate: a small replication daemon.
//!
//! The modules are declared in the order in which they are best read. Those before
//! `daemon` do no IO: they take the time and an input and give back data, so that the
//! same code runs in the daemon, the simulator and the fuzzers.

pub mod types;
pub mod time;
pub mod codec;
pub mod chunked_deque;

pub mod operation;
pub mod access;
pub mod configuration;
pub mod entry;

pub mod wire;
pub mod seal;
pub mod timer_wheel;
pub mod link;

pub mod store;
pub mod disk;
pub mod replica;
pub mod client;

pub mod history;
pub mod sim;

#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "daemon")]
pub mod cli;
