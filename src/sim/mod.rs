//! Whole clusters on virtual time, from a seed.
//!
//! The nodes, clients, frames and journals are the daemon's own; only socket, directory
//! and clock are replaced. A seed fixes everything: the same seed gives the same history
//! to the byte, on any machine.

mod actor;
mod bounds;
mod checks;
mod classes;
mod clock;
mod cluster;
mod damage;
mod directory;
mod disk;
mod faults;
mod ledger;
mod loss;
mod network;
mod operator;
mod second_reading;
mod stale_reads;
mod trace;
mod workload;

pub use checks::{Checks, TurningPoint};
pub use classes::FaultClass;
pub use damage::Damage;
pub use directory::{SimDirectory, Trouble};
pub use faults::{Profile, Weights};
pub use loss::{Loss, LossyWay};

use std::fmt;

/// What one seed's run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// How many nodes the cluster had.
    pub nodes: usize,
    /// Microseconds of virtual time.
    pub virtual_time: u64,
    /// Events handled.
    pub events: u64,
    /// Terms in which a leader was seen.
    pub leaders: u64,
    /// Entries committed.
    pub committed: u64,
    /// Changes of the members among them.
    pub changes: u64,
    /// Snapshots written, and snapshots of other nodes that took the place of a log.
    pub snapshots: [u64; 2],
    /// Operations of clients, by how they ended: answered, refused, unknown.
    pub operations: [u64; 3],
    /// Stale reads that were answered and checked.
    pub stale_reads: u64,
    /// Faults injected, by kind.
    pub faults: Vec<(&'static str, u64)>,
    /// All that happened, a line each, if that was wished.
    pub trace: Vec<String>,
    /// Why the cluster had not to recover, if it had not to and did not: what of its
    /// directories is lost.
    pub waived: Option<String>,
    /// A sum over the final states and all that the clients saw.
    pub checksum: u64,
}

/// What a run broke, and the way there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What must always hold, and did not.
    pub broken: String,
    /// The last events before, or all if that was wished, a line each.
    pub events: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.broken)?;
        writeln!(f, "the last events:")?;
        self.events.iter().try_for_each(|event| writeln!(f, "  {event}"))
    }
}

impl std::error::Error for Failure {}

/// What a run is asked to be, where its seed is not to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// How many nodes.
    pub nodes: Option<usize>,
    /// For how many virtual minutes faults go on.
    pub minutes: Option<u64>,
    /// Which faults there may be.
    pub faults: FaultClass,
    /// Whether everything that happened is told, and not only the last of it.
    pub traced: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self { nodes: None, minutes: None, faults: FaultClass::All, traced: false }
    }
}

/// Runs one seed.
///
/// # Errors
/// What it broke.
pub fn run(seed: u64) -> Result<Report, Box<Failure>> {
    run_with(seed, Profile::draw(seed))
}

/// Runs one seed as it is wished.
///
/// # Errors
/// What it broke.
pub fn run_as(seed: u64, wishes: Wishes) -> Result<Report, Box<Failure>> {
    cluster::Cluster::new(seed, Profile::wished(seed, wishes), wishes.traced).run()
}

/// Runs one seed with faults of one's own choice.
///
/// # Errors
/// What it broke.
pub fn run_with(seed: u64, profile: Profile) -> Result<Report, Box<Failure>> {
    cluster::Cluster::new(seed, profile, false).run()
}

/// A source of randomness for one purpose: so that changes in one part of the
/// simulation do not disturb the others.
fn random_for(seed: u64, purpose: u64) -> fastrand::Rng {
    fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ purpose << 56)
}
