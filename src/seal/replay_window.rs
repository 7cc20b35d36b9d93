//! Which numbers of a session have arrived: each is taken once.

/// One word more than the window has, so that moving on clears whole words only.
const WORDS: usize = 65;
/// How many numbers behind the newest are told apart; older ones are refused.
const WINDOW: u64 = 64 * (WORDS as u64 - 1);

/// The window that slides with the newest number, after RFC 6479.
#[derive(Debug)]
pub struct ReplayWindow {
    /// Numbers count from 1; zero: none has arrived.
    newest: u64,
    words: Box<[u64; WORDS]>,
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self { newest: 0, words: Box::new([0; WORDS]) }
    }
}

impl ReplayWindow {
    /// Whether the number may be new. It is looked at before what it numbers is opened.
    pub fn is_new(&self, number: u64) -> bool {
        let is_in_window = number + WINDOW > self.newest;
        number > self.newest || is_in_window && self.words[word(number)] & bit(number) == 0
    }

    /// The highest number that has arrived.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// The number has arrived, and what it numbers is genuine.
    pub fn mark(&mut self, number: u64) {
        if number > self.newest {
            let (from, to) = (self.newest / 64, number / 64);
            let cleared = (to - from).min(WORDS as u64);
            for ahead in 1..=cleared {
                self.words[word((from + ahead) * 64)] = 0;
            }
            self.newest = number;
        }
        self.words[word(number)] |= bit(number);
    }
}

fn word(number: u64) -> usize {
    usize::try_from(number / 64 % WORDS as u64).unwrap_or(0)
}

fn bit(number: u64) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Against a set of all numbers that have arrived.
    #[test]
    fn each_number_is_new_once_and_old_ones_never() {
        let mut random = fastrand::Rng::with_seed(6);
        let (mut window, mut seen, mut newest) = (ReplayWindow::default(), BTreeSet::new(), 0_u64);
        for _ in 0..200_000 {
            let reach = [3, 200, 5_000, 20_000][random.usize(..4)];
            let number =
                (newest + random.u64(0..reach)).saturating_sub(random.u64(0..reach)).max(1);
            let expected = !seen.contains(&number) && (number > newest || newest - number < WINDOW);
            assert_eq!(window.is_new(number), expected, "{number} behind {newest}");
            if expected {
                window.mark(number);
                seen.insert(number);
                newest = newest.max(number);
            }
        }
    }
}
