//! The parts of the core that stand alone, each against a simple twin or a script.

mod timer_wheel;
mod store;
mod client;
mod history;
mod seal;
