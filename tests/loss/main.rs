//! What losing datagrams costs, on virtual time: `docs/loss-table.md` is what this says.
//!
//! The nodes and the client are the daemon's own. Virtual time makes the table the same on
//! any machine, so that every change of behaviour under loss shows as a change of that file.

mod cluster;
mod congestion;
mod cubic;
mod elections;
mod newcomer;
mod readers;
mod reads;
mod table;
mod uplink;
