//! How often a frame is sent, so that what is lost need not be waited for.
//!
//! Copies are sent only where loss was measured, and only as many as it takes to reach the
//! probabilities below; a bound holds whatever was measured. Each copy has a packet number of
//! its own, so that copies, too, measure the loss.

use std::time::Duration;

use crate::types::LossShare;

/// How often any frame is sent at most, by default.
pub const REDUNDANCY_MAX: u8 = 3;
/// Enough of the others must have answered within one round trip as often as this.
const MAJORITY: f64 = 0.99;
/// A request arrives, and so does its answer, as often as this.
const ARRIVAL: f64 = 0.95;

/// How often a thing is said, and how far apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// How often in all.
    pub times: u8,
    /// How long after another.
    pub spacing: Duration,
}

impl Copies {
    /// It is said once.
    pub const NONE: Self = Self { times: 1, spacing: Duration::ZERO };
}

/// How often frames are sent at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redundancy {
    max: u8,
}

impl Redundancy {
    /// No frame is sent more often than `max` times.
    pub fn new(max: u8) -> Self {
        Self { max: max.max(1) }
    }

    /// How often to send what only its receiver waits for.
    pub fn of_one(self, loss: LossShare) -> u8 {
        self.first_of(|copies| 1.0 - power(share(loss), copies) >= ARRIVAL)
    }

    /// How often to send what `needed` of `others` must answer, and how often to send the
    /// answer, if all ways are like this one.
    pub fn of_majority(self, [there, back]: [LossShare; 2], others: usize, needed: usize) -> u8 {
        self.first_of(|copies| {
            let arrives = |loss| 1.0 - power(share(loss), copies);
            at_least(needed, others, arrives(there) * arrives(back)) >= MAJORITY
        })
    }

    /// The first number of copies that is enough, or else the most.
    fn first_of(self, is_enough: impl Fn(u8) -> bool) -> u8 {
        (1..self.max).find(|copies| is_enough(*copies)).unwrap_or(self.max)
    }
}

fn share(loss: LossShare) -> f64 {
    f64::from(loss.0) / 256.0
}

fn power(share: f64, exponent: u8) -> f64 {
    (0..exponent).fold(1.0, |product, _| product * share)
}

/// How likely at least `needed` of `others` answer when each does with this likelihood.
fn at_least(needed: usize, others: usize, each: f64) -> f64 {
    // By how many have answered, those beyond `needed` counted as so many.
    let mut answered = vec![0.0; needed + 1];
    answered[0] = 1.0;
    for _ in 0..others {
        for count in (0..needed).rev() {
            let one_more = answered[count] * each;
            answered[count] -= one_more;
            answered[count + 1] += one_more;
        }
    }
    answered[needed]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(percent: u32) -> LossShare {
        LossShare(u8::try_from(percent * 256 / 100).unwrap())
    }

    #[test]
    fn nothing_is_sent_twice_where_nothing_is_lost() {
        let redundancy = Redundancy::new(9);
        assert_eq!(redundancy.of_one(percent(0)), 1);
        assert_eq!(redundancy.of_majority([percent(0); 2], 2, 1), 1);
        assert_eq!(redundancy.of_majority([percent(0); 2], 0, 0), 1, "nobody need answer");
    }

    #[test]
    fn copies_follow_from_the_loss_up_to_the_bound() {
        let of_one = |max, loss| Redundancy::new(max).of_one(percent(loss));
        assert_eq!([1, 5, 10, 20, 30].map(|loss| of_one(9, loss)), [1, 1, 2, 2, 3]);
        assert_eq!([1, 5, 10, 20, 30].map(|loss| of_one(2, loss)), [1, 1, 2, 2, 2]);
        assert_eq!(of_one(1, 60), 1);
        let of_three = |loss| Redundancy::new(9).of_majority([percent(loss); 2], 2, 1);
        assert_eq!([1, 5, 10, 20, 30].map(of_three), [1, 1, 2, 2, 3]);
        // More must answer, and there are more of them.
        let of_five = |loss| Redundancy::new(9).of_majority([percent(loss); 2], 4, 2);
        assert_eq!([1, 5, 10, 20, 30].map(of_five), [1, 1, 2, 2, 3]);
        let one_way = Redundancy::new(9).of_majority([percent(0), percent(30)], 2, 1);
        assert_eq!(one_way, 2);
    }

    #[test]
    fn the_likelihood_of_enough_answers_is_the_binomial_one() {
        let close =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}");
        close(at_least(1, 2, 0.9), 1.0 - 0.01);
        close(at_least(2, 2, 0.9), 0.81);
        close(at_least(2, 4, 0.5), 11.0 / 16.0);
        close(at_least(0, 3, 0.1), 1.0);
    }
}
