//! `quorate simulate`: whole clusters on virtual time, from seeds.

mod panics;
mod range;
mod report;

use getopts::Options;

use super::args::{Words, parse};
use super::exit::{Exit, Failure, Outcome};
use super::output::{note, print_line};
use crate::sim::{FaultClass, Wishes};
use crate::types::NODES_MAX;

pub const HELP: &str = "\
Runs simulated clusters: the daemon's own protocol, frames and journal over a
network that loses, repeats, delays and corrupts, disks that are damaged, fail
and fill, clocks that run off, and nodes that crash.

Usage: quorate simulate --seed S [--trace] [--json] [...]
       quorate simulate --seeds A..B [--json] [...]

  --seed S        one seed; ends in a line with the checksum of the final states
  --seeds A..B    from A up to, not including, B, on all cores; exit code 1 at
                  the first seed that fails, with the command that repeats it
  --nodes N       how many nodes, instead of what the seed draws
  --minutes M     how many virtual minutes faults go on
  --faults CLASS  none, network, crashes, disk, clocks, or a mixture: all
                  (default)
  --trace         with --seed: all that happened, a line each

A seed fixes everything: the same one gives the same history on any machine.

Example: quorate simulate --seeds 0..500
";

/// The longest run that is asked for: all that its clients saw is kept in memory.
const MINUTES_MAX: u64 = 1_440;

/// Runs `quorate simulate`.
pub fn run(words: &[String]) -> Outcome {
    let mut options = Options::new();
    options.optopt("", "seed", "", "S");
    options.optopt("", "seeds", "", "A..B");
    options.optopt("", "nodes", "", "N");
    options.optopt("", "minutes", "", "M");
    options.optopt("", "faults", "", "CLASS");
    options.optflag("", "trace", "");
    options.optflag("", "json", "");
    let words = parse(options, words)?;
    let [] = words.expect_operands([])?;
    let wishes = read_wishes(&words)?;
    panics::name_their_seeds(wishes);
    match (words.value("seed"), words.value("seeds")) {
        (Some(_), None) => run_one(words.number("seed", 0)?, wishes, words.has("json")),
        (None, Some(_)) if wishes.traced => Err(Failure::usage("--trace goes with --seed")),
        (None, Some(seeds)) => range::run(parse_range(&seeds)?, wishes, words.has("json")),
        _ => Err(Failure::usage("simulate takes either --seed S or --seeds A..B")),
    }
}

fn read_wishes(words: &Words) -> Result<Wishes, Failure> {
    let nodes = words.value("nodes").map(|_| words.number("nodes", 3)).transpose()?;
    if nodes.is_some_and(|nodes| !(1..NODES_MAX).contains(&nodes)) {
        return Err(Failure::usage(format!("--nodes is a number from 1 to {}", NODES_MAX - 1)));
    }
    let minutes = words.value("minutes").map(|_| words.number("minutes", 1)).transpose()?;
    if minutes.is_some_and(|minutes| !(1..=MINUTES_MAX).contains(&minutes)) {
        return Err(Failure::usage(format!("--minutes is a number from 1 to {MINUTES_MAX}")));
    }
    let class = words.value("faults").unwrap_or_else(|| FaultClass::All.name().to_owned());
    let names = FaultClass::EACH.map(FaultClass::name).join(", ");
    let faults = FaultClass::named(&class)
        .ok_or_else(|| Failure::usage(format!("--faults is '{class}'; expected one of {names}")))?;
    Ok(Wishes { nodes, minutes, faults, traced: words.has("trace") })
}

fn parse_range(text: &str) -> Result<(u64, u64), Failure> {
    text.split_once("..")
        .and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)))
        .filter(|(from, to)| from < to)
        .ok_or_else(|| Failure::usage(format!("--seeds is '{text}'; expected A..B with A below B")))
}

fn run_one(seed: u64, wishes: Wishes, as_json: bool) -> Outcome {
    let report = match panics::run(seed, wishes) {
        Ok(report) => report,
        Err(failure) => {
            note(&failure.to_string());
            note(&format!("quorate: repeat it with: {}", command(seed, wishes)));
            return Ok(Exit::Negative);
        }
    };
    for line in &report.trace {
        print_line(line)?;
    }
    if as_json {
        print_line(&report::to_json(&report).to_string())?;
    } else {
        report::print(&report)?;
    }
    Ok(Exit::Done)
}

/// The command that runs this one seed.
fn command(seed: u64, wishes: Wishes) -> String {
    let class = Some(wishes.faults.name()).filter(|_| wishes.faults != FaultClass::All);
    let flags = [
        Some(format!("quorate simulate --seed {seed}")),
        wishes.nodes.map(|nodes| format!("--nodes {nodes}")),
        wishes.minutes.map(|minutes| format!("--minutes {minutes}")),
        class.map(|class| format!("--faults {class}")),
    ];
    flags.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_repeats_what_was_wished() {
        assert_eq!(command(7, Wishes::default()), "quorate simulate --seed 7");
        let faults = FaultClass::Disk;
        let wishes = Wishes { nodes: Some(5), minutes: Some(2), faults, traced: false };
        let command = command(7, wishes);
        assert_eq!(command, "quorate simulate --seed 7 --nodes 5 --minutes 2 --faults disk");
    }
}
