//! How links lose datagrams: each by itself, or in bursts.

use fastrand::Rng;

/// How often datagrams are lost, and how many in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// Of all datagrams, from 0 to below 1.
    pub share: f64,
    /// How many are lost in a row, in the mean; none: each by itself.
    pub burst: Option<f64>,
}

/// One direction of a link that loses datagrams. Its losses follow from the seed alone.
#[derive(Debug)]
pub struct LossyWay {
    random: Rng,
    in_burst: bool,
}

impl LossyWay {
    /// A way that has lost nothing yet.
    pub fn new(seed: u64) -> Self {
        Self { random: Rng::with_seed(seed), in_burst: false }
    }

    /// Whether the next datagram is lost.
    ///
    /// Bursts are those of Gilbert and Elliott: a chain with a good state that loses nothing
    /// and a bad one that loses all. It leaves the bad one after `burst` datagrams in the
    /// mean, and the good one so often that `share` of the datagrams meet the bad one.
    pub fn loses(&mut self, loss: Loss) -> bool {
        let Some(burst) = loss.burst else { return self.random.f64() < loss.share };
        let turns =
            if self.in_burst { 1.0 / burst } else { loss.share / (1.0 - loss.share) / burst };
        self.in_burst ^= self.random.f64() < turns;
        self.in_burst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATAGRAMS: usize = 200_000;

    fn lost(loss: Loss, seed: u64) -> Vec<bool> {
        let mut link = LossyWay::new(seed);
        (0..DATAGRAMS).map(|_| link.loses(loss)).collect()
    }

    #[allow(clippy::cast_precision_loss, reason = "both numbers are small")]
    fn share(count: usize, of: usize) -> f64 {
        count as f64 / of as f64
    }

    /// The share of what was lost, and how many were lost in a row in the mean.
    fn measured(loss: Loss) -> (f64, f64) {
        let lost = lost(loss, 7);
        let count = lost.iter().filter(|lost| **lost).count();
        let ends = lost.windows(2).filter(|pair| pair[0] && !pair[1]).count();
        (share(count, DATAGRAMS), share(count, ends.max(1)))
    }

    #[test]
    fn so_many_are_lost_and_so_many_in_a_row() {
        for (share, burst, in_a_row) in
            [(0.05, None, 1.05), (0.3, None, 1.43), (0.1, Some(5.0), 5.0), (0.3, Some(20.0), 20.0)]
        {
            let (found, found_in_a_row) = measured(Loss { share, burst });
            assert!((found / share - 1.0).abs() < 0.05, "{share} {burst:?}: {found}");
            let off = found_in_a_row / in_a_row - 1.0;
            assert!(off.abs() < 0.05, "{share} {burst:?}: {found_in_a_row} in a row");
        }
    }

    #[test]
    fn a_clean_link_loses_nothing_and_ends_a_burst_at_some_time() {
        for burst in [None, Some(5.0)] {
            let mut link = LossyWay::new(1);
            let mut lost = |share| (0..1_000).filter(|_| link.loses(Loss { share, burst })).count();
            assert!(lost(0.5) > 300, "{burst:?}");
            // A burst that is under way still ends.
            lost(0.0);
            assert_eq!(lost(0.0), 0, "{burst:?}");
        }
    }

    #[test]
    fn a_seed_is_one_history() {
        let loss = Loss { share: 0.2, burst: Some(4.0) };
        assert_eq!(lost(loss, 3), lost(loss, 3));
        assert_ne!(lost(loss, 3), lost(loss, 4));
    }
}
