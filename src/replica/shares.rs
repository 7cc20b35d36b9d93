//! What a node holds for all who ask together, and how much of it each of them may have.
//!
//! A bound on all of it keeps the node's memory, but lets one client keep out all others. So
//! whoever asks may come to hold as much as is free at that time: alone half of all. Of several
//! that take what they can get each next one has half of what those before it have left, so
//! that to leave nothing takes as many as the whole can be halved.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::effects::ClientPath;
use crate::types::ServerId;

/// Who has a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claimant {
    /// Whoever holds the key, wherever they are.
    Key(u16),
    /// Whoever asks from the address, where nothing is sealed.
    Address(IpAddr),
    /// Another node.
    Node(ServerId),
}

/// Something of which there is so much, and who has how much of it.
#[derive(Debug, Default)]
pub struct Shares<const MAX: usize> {
    /// Those who have something.
    held: BTreeMap<Claimant, usize>,
    taken: usize,
}

impl ClientPath {
    /// Whose share it is that the client takes.
    pub(super) fn claimant(&self) -> Claimant {
        match self.key {
            0 => Claimant::Address(self.address.ip()),
            key => Claimant::Key(key),
        }
    }
}

impl<const MAX: usize> Shares<MAX> {
    /// Whether the claimant may have so much more.
    pub fn may_take(&self, claimant: Claimant, amount: usize) -> bool {
        self.held_by(claimant).saturating_add(amount) <= MAX - self.taken
    }

    /// The claimant, who may, takes so much.
    pub fn take(&mut self, claimant: Claimant, amount: usize) {
        *self.held.entry(claimant).or_default() += amount;
        self.taken += amount;
    }

    /// The claimant gives back so much of what it has taken.
    pub fn give_back(&mut self, claimant: Claimant, amount: usize) {
        let rest = self.held_by(claimant) - amount;
        if rest == 0 {
            self.held.remove(&claimant);
        } else {
            self.held.insert(claimant, rest);
        }
        self.taken -= amount;
    }

    /// How much the claimant has.
    pub fn held_by(&self, claimant: Claimant) -> usize {
        self.held.get(&claimant).copied().unwrap_or_default()
    }

    /// Whether nobody has anything.
    pub fn is_whole(&self) -> bool {
        self.taken == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes one after the other until it may not. Returns how many the claimant has then.
    fn take_all(shares: &mut Shares<64>, claimant: Claimant) -> usize {
        while shares.may_take(claimant, 1) {
            shares.take(claimant, 1);
        }
        shares.held_by(claimant)
    }

    #[test]
    fn each_may_have_half_of_what_those_before_it_have_left() {
        let mut shares = Shares::default();
        let held = (1..=8).map(|key| take_all(&mut shares, Claimant::Key(key)));
        assert_eq!(held.collect::<Vec<_>>(), [32, 16, 8, 4, 2, 1, 1, 0]);
        assert!(!shares.may_take(Claimant::Key(9), 1));
    }

    #[test]
    fn what_was_given_back_is_there_for_others() {
        let mut shares = Shares::default();
        let [one, other] = [Claimant::Key(1), Claimant::Node(ServerId(1))];
        assert!(!shares.may_take(one, 65) && !shares.may_take(one, usize::MAX));
        assert_eq!(take_all(&mut shares, one), 32);
        assert_eq!(take_all(&mut shares, other), 16);
        shares.give_back(one, 30);
        assert_eq!(shares.held_by(one), 2);
        assert_eq!(take_all(&mut shares, other), 31);
        shares.give_back(other, 31);
        shares.give_back(one, 2);
        assert!(shares.is_whole() && shares.held.is_empty());
    }

    #[test]
    fn a_client_is_known_by_its_key_and_without_one_by_its_address() {
        let path = |key, host, port| ClientPath {
            address: ([10, 0, 0, host], port).into(),
            key,
            packet: crate::types::PacketNumber(1),
            heard_at: crate::time::Instant(1),
            loss: crate::types::LossShare(0),
        };
        assert_eq!(path(3, 1, 1).claimant(), path(3, 2, 1).claimant());
        assert_ne!(path(3, 1, 1).claimant(), path(4, 1, 1).claimant());
        assert_eq!(path(0, 1, 1).claimant(), path(0, 1, 2).claimant());
        assert_ne!(path(0, 1, 1).claimant(), path(0, 2, 1).claimant());
    }
}
