//! What the command line says of a bench.

use std::ops::RangeInclusive;
use std::time::Duration;

use getopts::Options;

use super::lab::LabFlags;
use crate::cli::args::{ClientFlags, Words, parse};
use crate::cli::exit::Failure;
use crate::types::VALUE_BYTES_MAX;

pub const HELP: &str = "\
Measures the cluster under load, or clusters of its own on lossy links.

Usage: quorate bench [flags]
       quorate bench --loss 0,5,10,20,30 [--delay MS] [--burst N] [--seed S]

  --clients N       sessions, each with one operation outstanding [16]
  --duration S      seconds; what is under way then may still end [10]
  --value-size B    bytes of a value, from 8 on; no value is written twice [64]
  --reads PERCENT   the share of reads, which are linearizable [50]
  --keys K          keys, under a prefix of the run's own; they stay [1000]
  --rate R          open loop: begin R operations a second, measured from when
                    each should have begun; without: one ends, the next begins
  --history FILE    write what clients saw, for 'quorate check-history'; writes
                    then are 6 put : 1 cas : 1 delete : 2 incr of 10, else put
  --loss PERCENTS   for each a new cluster of 3 on this machine, which loses so
                    many datagrams on each way, clients' too; only writes;
                    --delay: ms for each way [0]; --burst: lost in a row, mean
  --json            one line for machines, with what was answered each second

Errors certainly had no effect, unknown operations may have had one. Ctrl-C ends
the run early, with its report. Exit code 3: not one operation was answered.

Example: quorate bench --clients 64 --duration 30 --reads 90 --history h.jsonl
";

/// The fewest bytes in which every value can differ.
const VALUE_BYTES_MIN: usize = 8;
/// Each client has a socket of its own.
const CLIENTS_MAX: usize = 10_000;
/// More cannot be told apart in microseconds.
const RATE_MAX: u32 = 1_000_000;

/// What the command line says of a bench.
#[derive(Clone, Debug)]
pub struct BenchFlags {
    /// Whom to ask, and how long.
    pub client: ClientFlags,
    /// How many sessions.
    pub clients: usize,
    /// For how long operations begin.
    pub duration: Duration,
    /// Bytes of each value.
    pub value_size: usize,
    /// How many of a hundred operations are reads.
    pub reads: u8,
    /// How many keys.
    pub keys: u64,
    /// Operations a second over all clients; none: each client at once again.
    pub rate: Option<u32>,
    /// The file for the history.
    pub history: Option<String>,
    /// Clusters of its own instead of one that there is.
    pub lab: Option<LabFlags>,
}

impl BenchFlags {
    /// Reads the words after `bench`.
    pub fn read(words: &[String]) -> Result<Self, Failure> {
        let mut options = Options::new();
        ClientFlags::add_to(&mut options);
        LabFlags::add_to(&mut options);
        for flag in ["clients", "duration", "value-size", "reads", "keys", "rate", "history"] {
            options.optopt("", flag, "", "");
        }
        let words = parse(options, words)?;
        let [] = words.expect_operands([])?;
        let rate = words.value("rate");
        let lab = LabFlags::read(&words)?;
        let reads = if lab.is_some() { 0 } else { 50 };
        Ok(Self {
            client: ClientFlags::read(&words)?,
            clients: within(&words, "clients", 16, 1..=CLIENTS_MAX)?,
            duration: words.seconds("duration", 10.0)?,
            value_size: within(&words, "value-size", 64, VALUE_BYTES_MIN..=VALUE_BYTES_MAX)?,
            reads: within(&words, "reads", reads, 0..=100)?,
            keys: within(&words, "keys", 1_000, 1..=1_000_000_000)?,
            rate: rate.map(|_| within(&words, "rate", 1, 1..=RATE_MAX)).transpose()?,
            history: words.value("history"),
            lab,
        })
    }
}

/// The flag's value as a number in the range, or what stands in for it.
pub fn within<T>(
    words: &Words,
    flag: &str,
    otherwise: T,
    range: RangeInclusive<T>,
) -> Result<T, Failure>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let number = words.number(flag, otherwise)?;
    if range.contains(&number) {
        return Ok(number);
    }
    let (least, most) = (range.start(), range.end());
    Err(Failure::usage(format!("--{flag} is {number}; expected {least} to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<BenchFlags, Failure> {
        let words: Vec<String> = line.split_whitespace().map(Into::into).collect();
        BenchFlags::read(&words)
    }

    #[test]
    fn flags_have_their_defaults_and_their_bounds() {
        let flags = read("").unwrap();
        assert_eq!((flags.clients, flags.value_size, flags.reads, flags.keys), (16, 64, 50, 1_000));
        assert_eq!((flags.duration, flags.rate), (Duration::from_secs(10), None));
        let flags = read("--rate 5 --reads 100 --duration 0.2 --history h").unwrap();
        assert_eq!((flags.rate, flags.reads, flags.history.as_deref()), (Some(5), 100, Some("h")));
        for (line, complaint) in [
            ("--clients 0", "--clients is 0; expected 1 to 10000"),
            ("--value-size 7", "--value-size is 7; expected 8 to 1048576"),
            ("--reads 101", "--reads is 101; expected 0 to 100"),
            ("--reads 300", "--reads is '300', which is not a number that fits there"),
            ("--keys 0", "--keys is 0; expected 1 to"),
            ("--rate 0", "--rate is 0; expected 1 to 1000000"),
            ("--duration 0", "--duration is 0; it must be a time above zero"),
            ("operand", "found 1 operand (operand), expected none"),
        ] {
            let failure = read(line).unwrap_err();
            assert!(failure.sentence.contains(complaint), "{line}: {failure}");
        }
    }

    #[test]
    fn the_help_fits_a_screen() {
        assert!(HELP.lines().count() <= 24);
        assert!(HELP.lines().all(|line| line.len() <= 80), "{HELP}");
    }
}
