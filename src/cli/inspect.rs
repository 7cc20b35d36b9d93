//! `quorate inspect`: a data directory as it lies on the disk.

use std::path::Path;

use getopts::Options;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::args::parse;
use super::exit::{Exit, Outcome};
use super::output::print_line;
use crate::daemon::inspect;
use crate::disk::{Doubt, Examination, Flaw, GenesisState, Harm, SegmentSummary, StartError};

pub const HELP: &str = "\
Shows what a node's data directory holds, and checks every checksum in it. It
changes nothing, but makes the empty file 'lock' where a copy lacks it. The node
must not run meanwhile.

Usage: quorate inspect DIR [--json]

Shown are whose directory it is, its term and vote, the range of its log, how
far that is known to be committed, each file of the journal, and each place that
is damaged, with what was lost there. A tail that a loss of power tore off is no
damage: the next start cuts it off. Damaged files that a start has set aside are
named, and what can be read of them again counts.

Exit codes: 0 intact; 1 damaged, and where; 4 in use, no node's directory, or of
another version's format; 5 it cannot be read.

Example: quorate inspect /var/lib/quorate
";

/// Runs `quorate inspect`.
pub fn run(words: &[String]) -> Outcome {
    let mut options = Options::new();
    options.optflag("", "json", "");
    let words = parse(options, words)?;
    let [path] = words.expect_operands(["DIR"])?;
    let inspection = inspect(Path::new(&path))?;
    let shown = match (&inspection.found, words.has("json")) {
        (Ok(found), true) => to_json(found).to_string(),
        (Ok(found), false) => describe(found),
        (Err(error), true) => json!({"intact": false, "error": error.to_string()}).to_string(),
        (Err(error), false) => format!("meta       {}", describe_lost(error)),
    };
    print_line(&shown)?;
    let is_intact = inspection.found.as_ref().is_ok_and(is_intact);
    Ok(if is_intact { Exit::Done } else { Exit::Negative })
}

fn is_intact(found: &Examination) -> bool {
    found.flaws.is_empty() && found.recovered.doubt.is_none()
}

fn describe_lost(error: &StartError) -> String {
    format!("cannot be used: {error}")
}

fn describe(found: &Examination) -> String {
    let held = &found.recovered;
    let vote = held.voted_for.map_or("nobody".to_owned(), |node| format!("node {node}"));
    let mut lines = vec![
        format!("node       {} of cluster {}", held.identity.id, held.identity.cluster),
        format!("directory  {}, start {}", held.identity.directory, held.incarnation),
        format!("birth      {}", describe_birth(&held.genesis)),
        format!("term       {}, voted for {vote}", held.term),
        format!("log        {}", describe_log(found)),
    ];
    if let Some(snapshot) = &held.snapshot {
        let size = HumanBytes(found.snapshot_bytes);
        lines.push(format!("snapshot   to entry {}, {size}", snapshot.index()));
    }
    lines.extend(found.segments.iter().map(describe_segment));
    if found.torn_sectors > 0 {
        lines.push(format!("torn       {} sectors of the last batch", found.torn_sectors));
    }
    lines.extend(held.doubt.map(|doubt| format!("doubt      {}", describe_doubt(doubt))));
    lines.extend(found.set_aside.iter().map(|name| format!("set aside  {name}")));
    lines.extend(found.flaws.iter().map(|flaw| format!("damage     {flaw}")));
    lines.join("\n")
}

fn describe_birth(genesis: &GenesisState) -> String {
    let nodes = |members: usize| format!("{members} nodes");
    match genesis {
        GenesisState::Blank => "none yet: the directory is blank".to_owned(),
        GenesisState::Accepted(configuration) => {
            let nodes = nodes(configuration.members.len());
            format!("{} accepted, of {nodes}, not complete", configuration.genesis)
        }
        GenesisState::Complete(configuration) => {
            format!("{}, of {}", configuration.genesis, nodes(configuration.members.len()))
        }
    }
}

fn describe_log(found: &Examination) -> String {
    let held = &found.recovered;
    let log = match held.entries.as_slice() {
        [] => "empty".to_owned(),
        [first, .., last] => format!("entries {} to {}", first.index, last.index),
        [only] => format!("entry {}", only.index),
    };
    let aside = match held.aside.as_slice() {
        [] => String::new(),
        [first, ..] => format!(", and {} above a gap, from {}", held.aside.len(), first.index),
    };
    format!("{log}, committed to {}{aside}", held.commit)
}

fn describe_segment(segment: &SegmentSummary) -> String {
    let batches = segment.batches.as_ref().map_or("no batch".to_owned(), |range| {
        format!("batches {} to {}", range.start(), range.end())
    });
    let indexes = segment
        .indexes
        .as_ref()
        .map_or(String::new(), |range| format!(", entries {} to {}", range.start(), range.end()));
    format!("segment    {}: {batches}{indexes}", segment.number)
}

/// What a directory in doubt may have lost.
pub fn describe_doubt(doubt: Doubt) -> String {
    match doubt.upto {
        Some((term, index)) => format!(
            "it may have acknowledged entries up to {index} of term {term} that it cannot read"
        ),
        None => "it may have acknowledged any number of entries that it cannot read".to_owned(),
    }
}

fn to_json(found: &Examination) -> Value {
    let held = &found.recovered;
    let genesis = match &held.genesis {
        GenesisState::Complete(configuration) => Some(configuration.genesis.to_string()),
        GenesisState::Blank | GenesisState::Accepted(_) => None,
    };
    let snapshot = held
        .snapshot
        .as_ref()
        .map(|snapshot| json!({"index": snapshot.index().0, "bytes": found.snapshot_bytes}));
    json!({
        "intact": is_intact(found),
        "id": held.identity.id.0,
        "cluster": held.identity.cluster,
        "directory": held.identity.directory.to_string(),
        "incarnation": held.incarnation.0,
        "genesis": genesis,
        "term": held.term.0,
        "voted_for": held.voted_for.map(|node| node.0),
        "snapshot": snapshot,
        "last_index": held.log_end().1.0,
        "commit_index": held.commit.0,
        "above_a_gap": held.aside.iter().map(|entry| entry.index.0).collect::<Vec<_>>(),
        "doubt": held.doubt.map(doubt_to_json),
        "set_aside": found.set_aside,
        "segments": found.segments.iter().map(segment_to_json).collect::<Vec<_>>(),
        "torn_sectors": found.torn_sectors,
        "damage": found.flaws.iter().map(flaw_to_json).collect::<Vec<_>>(),
    })
}

fn doubt_to_json(doubt: Doubt) -> Value {
    let upto = doubt.upto.map(|(term, index)| json!({"term": term.0, "index": index.0}));
    json!({ "upto": upto })
}

fn segment_to_json(segment: &SegmentSummary) -> Value {
    let batches = segment.batches.as_ref().map(|range| [*range.start(), *range.end()]);
    let indexes = segment.indexes.as_ref().map(|range| [range.start().0, range.end().0]);
    json!({"number": segment.number, "batches": batches, "indexes": indexes})
}

fn flaw_to_json(flaw: &Flaw) -> Value {
    let lost = match flaw.harm {
        Harm::Nothing => "nothing",
        Harm::Something => "something",
        Harm::TheEnd => "the end",
    };
    json!({"file": flaw.name, "offset": flaw.offset, "what": flaw.what, "lost": lost})
}
