//! How well a way is known, and what is tried on it next.

/// The way is known when so many rounds in a row have not carried a quarter more.
const ROUNDS_WITHOUT_GROWTH: u32 = 3;
/// The pace of eight rounds, in sixteenths of what the way carries: one tries more, the next
/// one lets the queue drain that this has made.
pub const PACES: [u64; 8] = [20, 12, 16, 16, 16, 16, 16, 16];
/// The place of the round in which the queue drains.
pub const DRAINS: usize = 1;
/// The place of the one after it.
pub const AFTER_DRAINING: usize = DRAINS + 1;

/// How well the way is known.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    /// More is sent in each round, until no more arrives.
    Start { known: u64, rounds_without_growth: u32 },
    /// The queue that the start has made drains.
    Drain,
    /// Sending goes on at the pace of this place in [`PACES`].
    Cruise(usize),
}

impl Stage {
    /// Nothing is known.
    pub const START: Self = Self::Start { known: 0, rounds_without_growth: 0 };

    /// What follows a round in which as much was sent as is allowed, so much is known to be
    /// carried, and there was a queue or not.
    pub fn after_round(self, carries: u64, queued: bool) -> Self {
        match self {
            Self::Start { .. } if queued => Self::Drain,
            Self::Start { known, .. } if carries * 4 >= known * 5 => {
                Self::Start { known: carries, rounds_without_growth: 0 }
            }
            Self::Start { known, rounds_without_growth } => {
                let rounds_without_growth = rounds_without_growth + 1;
                if rounds_without_growth < ROUNDS_WITHOUT_GROWTH {
                    Self::Start { known, rounds_without_growth }
                } else {
                    Self::Drain
                }
            }
            Self::Drain => Self::Cruise(PACES.len() - 1),
            Self::Cruise(round) => Self::Cruise((round + 1) % PACES.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_known_when_three_rounds_have_not_carried_a_quarter_more() {
        let after = |known, rounds_without_growth, carries, queued| {
            let next = Stage::Start { known, rounds_without_growth }.after_round(carries, queued);
            match next {
                Stage::Start { known, rounds_without_growth } => {
                    Some((known, rounds_without_growth))
                }
                Stage::Drain | Stage::Cruise(_) => None,
            }
        };
        assert_eq!(after(100, 2, 125, false), Some((125, 0)));
        assert_eq!(after(100, 0, 124, false), Some((100, 1)));
        assert_eq!(after(100, 1, 124, false), Some((100, 2)));
        assert_eq!(after(100, 2, 124, false), None);
        assert_eq!(after(100, 0, 125, true), None, "a queue tells as much");
    }
}
