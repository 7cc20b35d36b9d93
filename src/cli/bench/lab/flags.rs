//! What the command line says of the clusters that a bench runs itself.

use std::time::Duration;

use getopts::Options;

use crate::cli::args::Words;
use crate::cli::bench::flags::within;
use crate::cli::exit::Failure;

/// From three of four on a link hardly is one.
const LOSS_MAX: u8 = 75;
/// The most rows of the table, so that the run is bounded.
const LOSSES_MAX: usize = 16;
const DELAY_MAX_MS: f64 = 1_000.0;
/// Below it, as many are lost in a row as when each is lost by itself.
const BURST_MIN: u32 = 4;
const BURST_MAX: u32 = 1_000;
/// Flags of a bench that have no meaning for a cluster of its own, or for one that only
/// writes.
const CONTRADICTIONS: [&str; 4] = ["server", "cluster", "history", "reads"];

/// What the command line says of the clusters that a bench runs itself.
#[derive(Clone, Debug, PartialEq)]
pub struct LabFlags {
    /// Percent of the datagrams that are lost; each is a row of the table.
    pub losses: Vec<u8>,
    /// How long a datagram takes.
    pub delay: Duration,
    /// How many are lost in a row, in the mean; none: each is lost by itself.
    pub burst: Option<u32>,
    /// What the losses follow from.
    pub seed: u64,
}

impl LabFlags {
    /// Adds the flags to those of a bench.
    pub fn add_to(options: &mut Options) {
        for flag in ["loss", "delay", "burst", "seed"] {
            options.optopt("", flag, "", "");
        }
    }

    /// Reads the flags; none: `--loss` is not there.
    pub fn read(words: &Words) -> Result<Option<Self>, Failure> {
        let Some(losses) = words.value("loss") else {
            let alone = ["delay", "burst", "seed"].into_iter().find(|flag| words.has(flag));
            return alone.map_or(Ok(None), |flag| {
                Err(Failure::usage(format!("--{flag} is for the links that --loss makes")))
            });
        };
        if let Some(flag) = CONTRADICTIONS.into_iter().find(|flag| words.has(flag)) {
            return Err(Failure::usage(format!(
                "--{flag} does not go with --loss, which runs clusters of its own and writes to \
                 them"
            )));
        }
        let delay: f64 = within(words, "delay", 0.0, 0.0..=DELAY_MAX_MS)?;
        let burst = words.value("burst");
        Ok(Some(Self {
            losses: read_losses(&losses)?,
            delay: Duration::from_secs_f64(delay / 1_000.0),
            burst: burst.map(|_| within(words, "burst", 0, BURST_MIN..=BURST_MAX)).transpose()?,
            seed: words.number("seed", 1)?,
        }))
    }
}

fn read_losses(typed: &str) -> Result<Vec<u8>, Failure> {
    let read = |percent: &str| percent.trim().parse().ok().filter(|percent| *percent <= LOSS_MAX);
    let losses: Option<Vec<u8>> = typed.split(',').map(read).collect();
    losses.filter(|losses| losses.len() <= LOSSES_MAX).ok_or_else(|| {
        Failure::usage(format!(
            "--loss is '{typed}'; up to {LOSSES_MAX} percentages from 0 to {LOSS_MAX} are \
             expected, as in 0,5,10"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::flags::BenchFlags;
    use super::*;

    fn read(line: &str) -> Result<Option<LabFlags>, Failure> {
        let words: Vec<String> = line.split_whitespace().map(Into::into).collect();
        BenchFlags::read(&words).map(|flags| flags.lab)
    }

    #[test]
    fn flags_have_their_defaults() {
        assert_eq!(read("").unwrap(), None);
        let delay = Duration::ZERO;
        let lab = LabFlags { losses: vec![0, 75], delay, burst: None, seed: 1 };
        assert_eq!(read("--loss 0,75").unwrap(), Some(lab));
        let delay = Duration::from_micros(2_500);
        let lab = LabFlags { losses: vec![10], delay, burst: Some(5), seed: 9 };
        assert_eq!(read("--loss 10 --delay 2.5 --burst 5 --seed 9").unwrap(), Some(lab));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (line, complaint) in [
            ("--loss 0,76", "--loss is '0,76'; up to 16 percentages from 0 to 75"),
            ("--loss ,", "--loss is ','"),
            ("--loss 1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8", "up to 16"),
            ("--loss 5 --delay 1001", "--delay is 1001; expected 0 to 1000"),
            ("--loss 5 --delay nan", "--delay is NaN"),
            ("--loss 5 --burst 3", "--burst is 3; expected 4 to 1000"),
            ("--delay 5", "--delay is for the links that --loss makes"),
            ("--loss 5 --server 127.0.0.1:1", "--server does not go with --loss"),
            ("--loss 5 --reads 0", "--reads does not go with --loss"),
        ] {
            let failure = read(line).unwrap_err();
            assert!(failure.sentence.contains(complaint), "{line}: {failure}");
        }
    }
}
