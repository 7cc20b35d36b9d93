//! A network that loses, repeats, delays, reorders and corrupts.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use super::Profile;
use crate::time::{Instant, micros};

const PORT: u16 = 9717;
/// The longest delay of a straggler.
const STRAGGLER_DELAY_MAX: u64 = 60_000_000;

/// The ways between all nodes and clients.
#[derive(Debug)]
pub struct Network {
    random: fastrand::Rng,
    /// Directions between nodes that are cut.
    cut: BTreeSet<(usize, usize)>,
    calm: bool,
    hushed: bool,
    /// What happened to frames: lost, repeated, delayed for long, corrupted.
    pub counts: [u64; 4],
}

/// A frame on its way.
#[derive(Debug)]
pub struct Arrival {
    /// When it arrives.
    pub at: Instant,
    /// Its bytes, by then.
    pub bytes: Bytes,
}

/// Who is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        Self { random, cut: BTreeSet::new(), calm: false, hushed: false, counts: [0; 4] }
    }

    /// From now on everything arrives, once, in time.
    pub fn calm_down(&mut self) {
        self.cut.clear();
        self.calm = true;
    }

    /// The same, or no longer, until the faults cease.
    pub fn hush(&mut self, hushed: bool) {
        self.hushed = hushed;
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

    /// When, how often and in what shape the frame arrives.
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
            arrivals.push(Arrival { at: now + profile.delay.0, bytes });
            return arrivals;
        }
        let is_cut = self.is_cut(from, to);
        if is_cut || self.random.f64() < profile.loss {
            self.counts[0] += 1;
        } else {
            let delay = self.delay(profile);
            let bytes = self.maybe_corrupt(&bytes, profile);
            arrivals.push(Arrival { at: now + delay, bytes });
        }
        if !is_cut && self.random.f64() < profile.duplication {
            self.counts[1] += 1;
            arrivals.push(Arrival { at: now + self.delay(profile), bytes: bytes.clone() });
        }
        if self.random.f64() < profile.stragglers {
            self.counts[2] += 1;
            let delay = Duration::from_micros(self.random.u64(..STRAGGLER_DELAY_MAX));
            arrivals.push(Arrival { at: now + delay, bytes });
        }
        arrivals
    }

    fn delay(&mut self, profile: &Profile) -> Duration {
        let (least, more) = profile.delay;
        least + Duration::from_micros(self.random.u64(..=micros(more)))
    }

    fn maybe_corrupt(&mut self, bytes: &Bytes, profile: &Profile) -> Bytes {
        if self.random.f64() >= profile.corruption {
            return bytes.clone();
        }
        self.counts[3] += 1;
        let mut corrupted = bytes.to_vec();
        let bit = self.random.usize(..corrupted.len() * 8);
        corrupted[bit / 8] ^= 1 << (bit % 8);
        corrupted.into()
    }
}
