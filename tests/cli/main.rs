//! The command line as people and scripts meet it, on the real program: without a
//! cluster, or with a cluster of one.

mod alone;
mod another_cluster;
mod backup;
mod command_line;
mod disk_max;
mod exit_codes;
mod help;
mod inspect;
mod json;
mod keys;
mod lines;
mod pending_change;
#[path = "../processes/mod.rs"]
mod processes;
mod rescue;
mod status;
mod timeouts;
mod user;
mod values;
