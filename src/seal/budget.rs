//! What others may cost in a second.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::keys::{Key, KeyId};
use crate::access::Holder;
use crate::time::Instant;

/// How many greetings by keys of nodes are answered in a second for one address, whatever the
/// port.
pub const HELLOS_PER_SECOND_MAX: u32 = 8_192;
/// How many greetings by one client's key are answered in a second for one address, and how many
/// sessions begin by that key, wherever its holders are.
pub const CLIENT_HANDSHAKES_PER_SECOND_MAX: u32 = 512;

const SPAN: Duration = Duration::from_secs(1);
/// How many are told apart. Those beyond it are not counted: somebody who invents addresses must
/// not keep the others from being answered.
const TOLD_APART_MAX: usize = 4_096;

/// What handshakes may cost in a second.
///
/// A greeting can be repeated by anybody who has heard it, and under any address. So it counts for
/// its address and key alone: it must not keep the key's holders elsewhere out, nor those of other
/// keys, nor a node that is at the address of clients. A session begins once by what its beginner
/// has said just now from its own address, so sessions can be counted for their key alone.
#[derive(Debug)]
pub struct HandshakeBudget {
    answered_nodes: Budget<IpAddr>,
    answered_clients: Budget<(IpAddr, KeyId)>,
    begun_by_clients: Budget<KeyId>,
}

impl HandshakeBudget {
    /// Nothing was spent yet.
    pub fn new() -> Self {
        Self {
            answered_nodes: Budget::new(HELLOS_PER_SECOND_MAX),
            answered_clients: Budget::new(CLIENT_HANDSHAKES_PER_SECOND_MAX),
            begun_by_clients: Budget::new(CLIENT_HANDSHAKES_PER_SECOND_MAX),
        }
    }

    /// Whether a greeting by this key may be answered once more at this address.
    pub fn spend_answer(&mut self, now: Instant, address: IpAddr, key: &Key) -> bool {
        match key.holder {
            Holder::Node => self.answered_nodes.spend(now, address),
            Holder::Client(..) => self.answered_clients.spend(now, (address, key.id)),
        }
    }

    /// Whether one more session may begin by this key.
    pub fn spend_session(&mut self, now: Instant, key: &Key) -> bool {
        key.holder == Holder::Node || self.begun_by_clients.spend(now, key.id)
    }
}

/// How often something was done for each within a second.
#[derive(Debug)]
pub struct Budget<K> {
    each: u32,
    begun_at: Instant,
    spent: BTreeMap<K, u32>,
}

impl<K: Ord> Budget<K> {
    /// It may be done so often in a second for each.
    pub fn new(each: u32) -> Self {
        Self { each, begun_at: Instant::default(), spent: BTreeMap::new() }
    }

    /// Whether it may be done once more now for this one.
    pub fn spend(&mut self, now: Instant, whom: K) -> bool {
        if now.since(self.begun_at) >= SPAN {
            self.begun_at = now;
            self.spent.clear();
        }
        if self.spent.len() >= TOLD_APART_MAX && !self.spent.contains_key(&whom) {
            return true;
        }
        let spent = self.spent.entry(whom).or_default();
        *spent += 1;
        *spent <= self.each
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody who invents addresses neither keeps others from being answered, nor gets more
    /// answers to an address that is counted.
    #[test]
    fn addresses_beyond_the_bound_are_answered_and_not_counted() {
        let mut budget = Budget::new(1);
        let mut spend = |number: u32| budget.spend(Instant(0), IpAddr::V4(number.into()));
        let bound = u32::try_from(TOLD_APART_MAX).unwrap();
        assert!((0..bound).all(&mut spend), "each is answered once");
        assert!(!spend(0) && !spend(bound - 1), "and no more");
        assert!(spend(bound) && spend(bound), "one more address is not counted");
    }
}
