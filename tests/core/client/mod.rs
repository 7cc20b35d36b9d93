//! The client against scripted servers, on virtual time and without sockets.

mod stage;
mod log;
mod writes;
mod losses;
mod pieces;
mod reads;
mod closing;
mod strangers;
mod chaos;
