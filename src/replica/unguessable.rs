//! Numbers that nobody may guess: of sessions, since who names one is told what it came to, and of
//! pinned answers.
//!
//! Whoever has some numbers of a plain generator can reckon the next ones. These are made by a key
//! that the system has drawn, so the core still needs no source of its own: a simulation gives
//! none, and has numbers that follow from its seed.

use ring::hmac;

use crate::seal::Secret;

/// What a node's random numbers come from.
#[derive(Debug)]
pub enum Randomness {
    /// All of them follow from this, so that a run can be repeated.
    Seed(u64),
    /// Nobody can reckon them who does not know this, which the system must have drawn.
    Secret(Secret),
}

impl Randomness {
    /// The seed of a plain generator, and what makes the numbers that nobody may guess; none:
    /// the plain one makes these too.
    pub fn sources(&self) -> (u64, Option<Unguessable>) {
        match self {
            Self::Seed(seed) => (*seed, None),
            Self::Secret(secret) => {
                let mut unguessable = Unguessable::new(secret);
                (unguessable.draw(), Some(unguessable))
            }
        }
    }
}

/// A generator of such numbers.
#[derive(Debug)]
pub struct Unguessable {
    key: hmac::Key,
    drawn: u64,
}

impl Unguessable {
    /// A generator that nobody foresees who does not know the secret. No two may have the same.
    pub fn new(secret: &Secret) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref()), drawn: 0 }
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.drawn += 1;
        let tag = hmac::sign(&self.key, &self.drawn.to_le_bytes());
        let (number, _) = tag.as_ref().split_first_chunk().expect("a tag has 32 bytes");
        u64::from_le_bytes(*number)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_follow_from_the_secret_and_do_not_come_again() {
        let draw = |byte| {
            let mut generator = Unguessable::new(&Secret::new([byte; 32]));
            (0..1_000).map(|_| generator.draw()).collect::<Vec<_>>()
        };
        let (one, other) = (draw(1), draw(2));
        assert_eq!(one, draw(1));
        let all: BTreeSet<u64> = one.iter().chain(&other).copied().collect();
        assert_eq!(all.len(), 2_000);
        assert!(all.iter().any(|number| number >> 63 == 1), "all bits are drawn");
    }
}
