//! Which faults a run has, and when.

use std::time::Duration;

use super::clock::{CALM_RATES, TRUE_RATE};
use super::{Wishes, random_for};
use crate::configuration::{SESSION_LIMIT, SNAPSHOT_BYTES};
use crate::link::Pinned;
use crate::replica::KEPT_ENTRIES;

/// How many operations clients begin in a minute, where a run is so long that not its seed
/// decides.
const OPERATIONS_PER_MINUTE: u64 = 1_000;

/// What may go wrong in a run. Each seed draws a part of it: a run with few kinds of
/// faults reaches states that one with all of them never does.
#[allow(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// How many nodes: 1, 3, 5 or 7.
    pub nodes: usize,
    /// How long faults go on.
    pub duration: Duration,
    /// How many operations the clients begin.
    pub operations: u64,
    /// The share of frames that are lost.
    pub loss: f64,
    /// The share of frames that begin a burst, in which most are lost.
    pub bursts: f64,
    /// The share of frames that arrive twice.
    pub duplication: f64,
    /// The share of frames of which a copy arrives later, up to four minutes.
    pub stragglers: f64,
    /// The share of frames for a node that arrive at another.
    pub misdelivery: f64,
    /// The share of frames in which a bit is flipped.
    pub corruption: f64,
    /// The share of frames between nodes that arrive, and of which somebody says that nobody
    /// took them.
    pub refusals: f64,
    /// The least time that a frame takes, and how much more at random.
    pub delay: (Duration, Duration),
    /// The mean time that the disk takes for a batch.
    pub sync: Duration,
    /// The share of batches for which the disk takes up to a second, or rarely up to eight.
    pub disk_stalls: f64,
    /// The slowest and the fastest that a node's clock may run, in microseconds a second.
    pub clock_rates: (u64, u64),
    /// The mean time between two of the faults below; none: they do not happen.
    pub interval: Option<Duration>,
    /// How often each of them happens, relative to the others.
    pub weights: Weights,
    /// The share of turning points that a fault follows at once: a vote given, a term
    /// begun, a first commit in it. Other commits are ambushed a twentieth as often.
    pub ambush: f64,
    /// The share of values that take several entries.
    pub large_values: f64,
    /// How many bytes of log, at least, lie between two snapshots.
    pub snapshot_bytes: u64,
    /// How many entries before its newest snapshot a node keeps.
    pub kept_entries: u64,
    /// How many sessions the cluster keeps. With few of them some are evicted whose clients
    /// are at work still.
    pub session_limit: u32,
    /// The share of operations that are stale reads.
    pub stale_reads: f64,
    /// Once, all nodes lose their power together.
    pub blackout: bool,
    /// One more node comes later, which the others do not list; and perhaps one goes.
    pub newcomer: bool,
    /// Disks of a majority may be damaged at a time, so that perhaps no copy is left.
    pub widespread_damage: bool,
    /// When faults cease, a part of the nodes may stay away for good.
    pub leaves_some: bool,
    /// The disk forgets what it has synced: a run must fail that has this.
    pub forgetful_disk: bool,
    /// The election timeout and the heartbeat interval, if they do not follow from what is
    /// measured.
    pub pinned: Pinned,
    /// What is corrupted has a right checksum: a run must fail that has this.
    pub forging_network: bool,
}

/// How often each kind of fault happens, relative to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// A node loses its power, and comes back.
    pub crash: u32,
    /// The nodes are split in two.
    pub split: u32,
    /// One direction between two nodes is cut.
    pub one_way: u32,
    /// Every third direction between two nodes is cut.
    pub tangle: u32,
    /// All cuts are mended.
    pub heal: u32,
    /// A node does not run for a while.
    pub pause: u32,
    /// A node's clock jumps forward.
    pub jump: u32,
    /// A node is told to stop, hands over, and is started again.
    pub stop: u32,
    /// A node's disk is replaced by a blank one; a majority of those that vote is left.
    pub wipe: u32,
    /// A node's directory is copied, or an older copy is put back, which others must notice.
    pub put_back: u32,
    /// A part of a node's disk is damaged.
    pub damage: u32,
    /// A node's disk writes a sector elsewhere, or not at all, and reports success.
    pub stray: u32,
    /// A write or a sync of a node fails.
    pub failure: u32,
    /// A node's disk is full for a while.
    pub full: u32,
    /// A node's disk is slow for a while.
    pub slow: u32,
}

/// A fault that happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Crash,
    Split,
    OneWay,
    Tangle,
    Heal,
    Pause,
    Jump,
    Stop,
    Wipe,
    PutBack,
    Damage,
    Stray,
    Failure,
    Full,
    Slow,
}

impl Profile {
    /// The faults of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut random = random_for(seed, 1);
        let mut maybe = |most: f64| if random.bool() { random.f64() * most } else { 0.0 };
        let (loss, duplication) = (maybe(0.4), maybe(0.3));
        let (stragglers, corruption, disk_stalls) = (maybe(0.02), maybe(0.02), maybe(0.05));
        let (ambush, large_values) = (maybe(0.9), 0.05 + maybe(0.9));
        let (bursts, misdelivery) = (maybe(0.01), maybe(0.02));
        let delay = random.u64(50..5_000);
        let jitter = random.u64(0..20_000);
        Self {
            nodes: [1, 3, 3, 3, 3, 5, 5, 7][random.usize(..8)],
            duration: Duration::from_secs(random.u64(5..25)),
            operations: random.u64(100..250),
            loss,
            bursts,
            duplication,
            stragglers,
            misdelivery,
            corruption,
            delay: (Duration::from_micros(delay), Duration::from_micros(jitter)),
            sync: Duration::from_micros(random.u64(100..10_000)),
            disk_stalls,
            clock_rates: draw_clock_rates(&mut random),
            interval: (random.u8(..8) > 0).then(|| Duration::from_millis(random.u64(200..2_500))),
            weights: Weights::draw(&mut random),
            ambush,
            large_values,
            blackout: random.bool(),
            stale_reads: if random.bool() { random.f64() * 0.3 } else { 0.0 },
            newcomer: random.u8(..4) == 0,
            widespread_damage: random.u8(..8) == 0,
            leaves_some: random.bool(),
            forgetful_disk: false,
            forging_network: false,
            pinned: Pinned::default(),
            snapshot_bytes: if random.u8(..4) > 0 { random.u64(1..40_000) } else { SNAPSHOT_BYTES },
            kept_entries: random.u64(..20),
            session_limit: if random.u8(..4) == 0 { random.u32(3..12) } else { SESSION_LIMIT },
            refusals: if random.u8(..4) == 0 { random.f64() } else { 0.0 },
        }
    }

    /// The faults of a seed, as they are wished.
    pub(super) fn wished(seed: u64, wishes: Wishes) -> Self {
        let drawn = Self::draw(seed);
        let drawn = Self { nodes: wishes.nodes.unwrap_or(drawn.nodes), ..drawn };
        let profile = wishes.faults.restrict(drawn);
        let Some(minutes) = wishes.minutes else { return profile };
        Self {
            duration: Duration::from_secs(60 * minutes),
            operations: OPERATIONS_PER_MINUTE * minutes,
            ..profile
        }
    }

    /// No faults at all, on a fast network.
    pub fn calm(nodes: usize) -> Self {
        Self {
            nodes,
            duration: Duration::from_secs(5),
            operations: 100,
            loss: 0.0,
            bursts: 0.0,
            duplication: 0.0,
            stragglers: 0.0,
            misdelivery: 0.0,
            corruption: 0.0,
            refusals: 0.0,
            delay: (Duration::from_micros(100), Duration::ZERO),
            sync: Duration::from_micros(200),
            disk_stalls: 0.0,
            clock_rates: (TRUE_RATE, TRUE_RATE),
            interval: None,
            weights: Weights::default(),
            ambush: 0.0,
            large_values: 0.1,
            stale_reads: 0.0,
            blackout: false,
            newcomer: false,
            widespread_damage: false,
            leaves_some: false,
            forgetful_disk: false,
            forging_network: false,
            pinned: Pinned::default(),
            snapshot_bytes: SNAPSHOT_BYTES,
            kept_entries: KEPT_ENTRIES,
            session_limit: SESSION_LIMIT,
        }
    }
}

/// Clocks that agree, that differ as bad ones do, or that nobody would sell.
fn draw_clock_rates(random: &mut fastrand::Rng) -> (u64, u64) {
    match random.u8(..8) {
        0..=2 => (TRUE_RATE, TRUE_RATE),
        3..=6 => CALM_RATES,
        _ => (TRUE_RATE / 2, TRUE_RATE * 2),
    }
}

impl Weights {
    fn draw(random: &mut fastrand::Rng) -> Self {
        let mut weight = || if random.u8(..3) > 0 { random.u32(1..8) } else { 0 };
        Self {
            crash: weight(),
            split: weight(),
            one_way: weight(),
            tangle: weight().min(2),
            heal: 4,
            pause: weight(),
            jump: weight().min(3),
            stop: weight(),
            wipe: weight().min(1),
            put_back: weight().min(2),
            damage: weight().min(3),
            stray: weight().min(3),
            failure: weight().min(3),
            full: weight().min(3),
            slow: weight().min(2),
        }
        .with_one_kind_of_loss()
    }

    /// Whether an older copy must be noticed within a time, and by whom, is known only of
    /// disks that do what they are told.
    fn with_one_kind_of_loss(self) -> Self {
        if self.put_back == 0 {
            return self;
        }
        Self { damage: 0, stray: 0, failure: 0, full: 0, slow: 0, ..self }
    }

    /// Draws the next fault.
    pub(super) fn pick(&self, random: &mut fastrand::Rng) -> Option<Fault> {
        let table = [
            (self.crash, Fault::Crash),
            (self.split, Fault::Split),
            (self.one_way, Fault::OneWay),
            (self.tangle, Fault::Tangle),
            (self.heal, Fault::Heal),
            (self.pause, Fault::Pause),
            (self.jump, Fault::Jump),
            (self.stop, Fault::Stop),
            (self.wipe, Fault::Wipe),
            (self.put_back, Fault::PutBack),
            (self.damage, Fault::Damage),
            (self.stray, Fault::Stray),
            (self.failure, Fault::Failure),
            (self.full, Fault::Full),
            (self.slow, Fault::Slow),
        ];
        let total: u32 = table.iter().map(|(weight, _)| weight).sum();
        let mut at = random.u32(..total.max(1));
        for (weight, fault) in table {
            if at < weight {
                return Some(fault);
            }
            at -= weight;
        }
        None
    }
}
