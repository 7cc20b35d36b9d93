//! What one address may cost in a second.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::time::Instant;

const SPAN: Duration = Duration::from_secs(1);
/// How many addresses are told apart. Those beyond it are not counted: somebody who invents
/// addresses must not keep the others from being answered.
const ADDRESSES_MAX: usize = 4_096;

/// How often each address was answered within a second.
#[derive(Debug)]
pub struct Budget {
    each: u32,
    begun_at: Instant,
    spent: BTreeMap<IpAddr, u32>,
}

impl Budget {
    /// Each address may be answered so often in a second.
    pub fn new(each: u32) -> Self {
        Self { each, begun_at: Instant::default(), spent: BTreeMap::new() }
    }

    /// Whether the address may be answered once more now.
    pub fn spend(&mut self, now: Instant, address: IpAddr) -> bool {
        if now.since(self.begun_at) >= SPAN {
            self.begun_at = now;
            self.spent.clear();
        }
        if self.spent.len() >= ADDRESSES_MAX && !self.spent.contains_key(&address) {
            return true;
        }
        let spent = self.spent.entry(address).or_default();
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
        let bound = u32::try_from(ADDRESSES_MAX).unwrap();
        assert!((0..bound).all(&mut spend), "each is answered once");
        assert!(!spend(0) && !spend(bound - 1), "and no more");
        assert!(spend(bound) && spend(bound), "one more address is not counted");
    }
}
