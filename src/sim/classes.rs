//! Which kinds of faults a run is made of.

use std::time::Duration;

use super::Profile;
use super::clock::{CALM_RATES, TRUE_RATE};
use super::faults::Weights;

const OF_THE_NETWORK: [&str; 9] = [
    "lost frames",
    "frames lost in bursts",
    "repeated frames",
    "stragglers",
    "corrupted frames",
    "misdelivered frames",
    "split",
    "cut one way",
    "tangle of cuts",
];
const OF_CRASHES: [&str; 9] = [
    "crash",
    "pause",
    "stop",
    "wipe",
    "put back",
    "ambush",
    "blackout",
    "gone for good",
    "cut off for good",
];
const OF_DISKS: [&str; 10] = [
    "damage while running",
    "damage while down",
    "misdirected writes",
    "lost writes",
    "failed writes",
    "failed syncs",
    "full disk",
    "refused for want of space",
    "slow disk",
    "disk stalls",
];
const OF_CLOCKS: [&str; 2] = ["clock jump", "clocks too fast or too slow"];

/// A class of faults, by the name that the command line gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultClass {
    /// Nothing goes wrong.
    None,
    /// Frames are lost, also in bursts, repeated, delayed, corrupted and misdelivered, and ways
    /// are cut.
    Network,
    /// Nodes lose their power or their disks, are paused, stopped, and leave for good.
    Crashes,
    /// Disks are damaged, write astray, fail, fill, and are slow.
    Disk,
    /// Clocks run too fast or too slow, and jump.
    Clocks,
    /// Each seed draws its own mixture of all of them.
    All,
}

impl FaultClass {
    /// Every class.
    pub const EACH: [Self; 6] =
        [Self::None, Self::Network, Self::Crashes, Self::Disk, Self::Clocks, Self::All];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Network => "network",
            Self::Crashes => "crashes",
            Self::Disk => "disk",
            Self::Clocks => "clocks",
            Self::All => "all",
        }
    }

    /// The class of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::EACH.into_iter().find(|class| class.name() == name)
    }

    /// Whether what was counted under this name is a fault of the class. That a frame meets no
    /// process is of none: it follows from others, and from starting one node after the other.
    pub fn has(self, kind: &str) -> bool {
        match self {
            Self::None => false,
            Self::Network => OF_THE_NETWORK.contains(&kind),
            Self::Crashes => OF_CRASHES.contains(&kind),
            Self::Disk => OF_DISKS.contains(&kind),
            Self::Clocks => OF_CLOCKS.contains(&kind),
            Self::All => Self::EACH.into_iter().any(|class| class != Self::All && class.has(kind)),
        }
    }

    /// What a seed has drawn, without the faults of other classes. Those of this one happen.
    pub(super) fn restrict(self, drawn: Profile) -> Profile {
        let weights = drawn.weights;
        let none = Profile {
            duration: drawn.duration,
            operations: drawn.operations,
            delay: drawn.delay,
            sync: drawn.sync,
            large_values: drawn.large_values,
            stale_reads: drawn.stale_reads,
            snapshot_bytes: drawn.snapshot_bytes,
            kept_entries: drawn.kept_entries,
            session_limit: drawn.session_limit,
            ..Profile::calm(drawn.nodes)
        };
        let some =
            Profile { interval: drawn.interval.or(Some(Duration::from_secs(1))), ..none.clone() };
        match self {
            Self::All => drawn,
            Self::None => none,
            Self::Network => Profile {
                loss: drawn.loss.max(0.01),
                bursts: drawn.bursts,
                duplication: drawn.duplication,
                stragglers: drawn.stragglers,
                misdelivery: drawn.misdelivery,
                corruption: drawn.corruption,
                refusals: drawn.refusals,
                weights: weights.of_the_network(),
                ..some
            },
            Self::Crashes => Profile {
                ambush: drawn.ambush,
                blackout: drawn.blackout,
                newcomer: drawn.newcomer,
                leaves_some: drawn.leaves_some,
                weights: weights.of_crashes(),
                ..some
            },
            Self::Disk => Profile {
                disk_stalls: drawn.disk_stalls,
                widespread_damage: drawn.widespread_damage,
                weights: weights.of_disks(),
                ..some
            },
            Self::Clocks => Profile {
                clock_rates: match drawn.clock_rates {
                    (TRUE_RATE, TRUE_RATE) => CALM_RATES,
                    rates => rates,
                },
                weights: Weights { jump: weights.jump.max(1), ..Weights::default() },
                ..some
            },
        }
    }
}

impl Weights {
    fn of_the_network(self) -> Self {
        let Self { split, one_way, tangle, heal, .. } = self;
        Self { split: split.max(1), one_way, tangle, heal, ..Self::default() }
    }

    fn of_crashes(self) -> Self {
        let Self { crash, pause, stop, wipe, put_back, .. } = self;
        Self { crash: crash.max(1), pause, stop, wipe, put_back, ..Self::default() }
    }

    /// What a disk has lost is seen only when its node is started again.
    fn of_disks(self) -> Self {
        let Self { damage, stray, failure, full, slow, .. } = self;
        Self { crash: 1, damage: damage.max(1), stray, failure, full, slow, ..Self::default() }
    }
}
