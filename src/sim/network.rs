//! A network that loses, repeats, delays, reorders and corrupts.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use super::Profile;
use crate::time::{Instant, micros};
use crate::wire;

const PORT: u16 = 9717;
/// The delay of a straggler, in microseconds, as powers of two: 16 ms up to four minutes, and
/// each magnitude is as likely as any other.
const STRAGGLER_DELAYS: std::ops::Range<u32> = 14..28;
/// The share of frames of a burst that are lost, and of those that end it.
const BURST_LOSS: f64 = 0.9;
const BURST_END: f64 = 0.05;

/// The ways between all nodes and clients.
#[derive(Debug)]
pub struct Network {
    random: fastrand::Rng,
    /// Directions between nodes that are cut.
    cut: BTreeSet<(usize, usize)>,
    /// Directions on which most of what is sent is lost at present.
    bursts: BTreeSet<(Endpoint, Endpoint)>,
    calm: bool,
    hushed: bool,
    /// What happened to frames, by [`Mishap`].
    counts: [u64; Mishap::NAMES.len()],
}

/// What may happen to a frame.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    Lost,
    LostInBurst,
    Repeated,
    Delayed,
    Corrupted,
    Misdelivered,
}

impl Mishap {
    const NAMES: [&str; 6] = [
        "lost frames",
        "frames lost in bursts",
        "repeated frames",
        "stragglers",
        "corrupted frames",
        "misdelivered frames",
    ];
}

/// A frame on its way.
#[derive(Debug)]
pub struct Arrival {
    /// When it arrives.
    pub at: Instant,
    /// Where.
    pub to: Endpoint,
    /// Its bytes, by then.
    pub bytes: Bytes,
}

/// Who is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// A node, by its place in the cluster.
    Node(usize),
    /// A client, by its number.
    Client(u16),
}

impl Endpoint {
    /// Where it is reached.
    pub fn address(self) -> SocketAddr {
        let (net, host) = match self {
            Self::Node(place) => (0, u16::try_from(place).expect("few nodes")),
            Self::Client(number) => (1, number),
        };
        let [high, low] = host.to_be_bytes();
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, net, high, low)), PORT)
    }

    /// Who is at the address.
    pub fn at(address: SocketAddr) -> Option<Self> {
        let IpAddr::V4(ip) = address.ip() else { return None };
        let [_, net, high, low] = ip.octets();
        let host = u16::from_be_bytes([high, low]);
        Some(if net == 0 { Self::Node(host.into()) } else { Self::Client(host) })
    }
}

impl Network {
    /// A network without cuts.
    pub fn new(random: fastrand::Rng) -> Self {
        let (cut, bursts) = (BTreeSet::new(), BTreeSet::new());
        Self { random, cut, bursts, calm: false, hushed: false, counts: [0; Mishap::NAMES.len()] }
    }

    /// From now on everything arrives, once, in time, but for what is cut.
    pub fn calm_down(&mut self) {
        self.cut.clear();
        self.calm = true;
    }

    /// The same, or no longer, until the faults cease.
    pub fn hush(&mut self, hushed: bool) {
        self.hushed = hushed;
    }

    /// What happened to frames, and how often.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Mishap::NAMES.into_iter().zip(self.counts)
    }

    /// Cuts one direction between two nodes.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    /// Mends all cuts.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Whether this direction is cut at present.
    pub fn is_cut(&self, from: Endpoint, to: Endpoint) -> bool {
        match (from, to) {
            (Endpoint::Node(from), Endpoint::Node(to)) => self.cut.contains(&(from, to)),
            _ => false,
        }
    }

    /// When, where, how often and in what shape the frame arrives.
    pub fn transmit(
        &mut self,
        now: Instant,
        (from, to): (Endpoint, Endpoint),
        frame: &[u8],
        profile: &Profile,
    ) -> Vec<Arrival> {
        let bytes = Bytes::copy_from_slice(frame);
        let mut arrivals = Vec::new();
        if self.calm || self.hushed {
            arrivals.push(Arrival { at: now + profile.delay.0, to, bytes });
            return arrivals;
        }
        let is_cut = self.is_cut(from, to);
        if is_cut || self.random.f64() < profile.loss {
            self.count(Mishap::Lost);
        } else if self.is_lost_in_burst((from, to), profile) {
            self.count(Mishap::LostInBurst);
        } else {
            let to = self.maybe_elsewhere(to, profile);
            let bytes = self.maybe_corrupt(&bytes, profile);
            arrivals.push(Arrival { at: now + self.delay(profile), to, bytes });
        }
        if !is_cut && self.random.f64() < profile.duplication {
            self.count(Mishap::Repeated);
            arrivals.push(Arrival { at: now + self.delay(profile), to, bytes: bytes.clone() });
        }
        if self.random.f64() < profile.stragglers {
            self.count(Mishap::Delayed);
            let least = 1 << self.random.u32(STRAGGLER_DELAYS);
            let delay = Duration::from_micros(least + self.random.u64(..least));
            arrivals.push(Arrival { at: now + delay, to, bytes });
        }
        arrivals
    }

    /// Loss comes in bursts, after Gilbert and Elliott: each frame may begin or end one.
    fn is_lost_in_burst(&mut self, way: (Endpoint, Endpoint), profile: &Profile) -> bool {
        if profile.bursts == 0.0 {
            return false;
        }
        if self.bursts.contains(&way) {
            if self.random.f64() < BURST_END {
                self.bursts.remove(&way);
            }
        } else if self.random.f64() < profile.bursts {
            self.bursts.insert(way);
        }
        self.bursts.contains(&way) && self.random.f64() < BURST_LOSS
    }

    /// Now and then what is for one node arrives at another.
    fn maybe_elsewhere(&mut self, to: Endpoint, profile: &Profile) -> Endpoint {
        if !matches!(to, Endpoint::Node(_)) || self.random.f64() >= profile.misdelivery {
            return to;
        }
        self.count(Mishap::Misdelivered);
        Endpoint::Node(self.random.usize(..profile.nodes))
    }

    fn delay(&mut self, profile: &Profile) -> Duration {
        let (least, more) = profile.delay;
        least + Duration::from_micros(self.random.u64(..=micros(more)))
    }

    fn maybe_corrupt(&mut self, bytes: &Bytes, profile: &Profile) -> Bytes {
        if self.random.f64() >= profile.corruption {
            return bytes.clone();
        }
        self.count(Mishap::Corrupted);
        let mut corrupted = bytes.to_vec();
        let bit = self.random.usize(..corrupted.len() * 8);
        corrupted[bit / 8] ^= 1 << (bit % 8);
        if profile.forging_network {
            wire::seal(&mut corrupted);
        }
        corrupted.into()
    }

    fn count(&mut self, mishap: Mishap) {
        self.counts[mishap as usize] += 1;
    }
}
