//! `quorate inspect`: a data directory as it lies on the disk.

use std::path::Path;

use getopts::Options;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::args::parse;
use super::exit::{Exit, Outcome};
use super::output::print_line;
use crate::daemon::{Inspection, inspect};
use crate::journal::{Damage, GenesisState, Recovery};

pub const HELP: &str = "\
Shows what a node's data directory holds, and checks every checksum in it. It
changes nothing. The node must not run meanwhile.

Usage: quorate inspect DIR [--json]

Shown are whose directory it is, its term and vote, the range of its log, and
how far that is known to be committed. A tail that a loss of power tore off is
no damage: the next start cuts it off.

Exit codes: 0 intact; 1 damaged, and where; 4 in use, or no node's directory;
5 it cannot be read.

Example: quorate inspect /var/lib/quorate
";

/// Runs `quorate inspect`.
pub fn run(words: &[String]) -> Outcome {
    let mut options = Options::new();
    options.optflag("", "json", "");
    let words = parse(options, words)?;
    let [path] = words.expect_operands(["DIR"])?;
    let inspection = inspect(Path::new(&path))?;
    if words.has("json") {
        print_line(&to_json(&inspection).to_string())?;
    } else {
        print_line(&describe(&inspection))?;
    }
    Ok(if inspection.journal.is_ok() { Exit::Done } else { Exit::Negative })
}

fn describe(inspection: &Inspection) -> String {
    match &inspection.journal {
        Ok(recovery) => describe_intact(recovery, inspection.journal_bytes),
        Err(damage) => {
            format!("journal    {}; {damage}", HumanBytes(inspection.journal_bytes))
        }
    }
}

fn describe_intact(recovery: &Recovery, bytes: u64) -> String {
    let found = &recovery.recovered;
    let batches = recovery.next_batch - 1;
    let torn = match recovery.torn {
        0 => String::new(),
        torn => format!(", and a torn tail of {torn} bytes"),
    };
    let vote = found.voted_for.map_or("nobody".to_owned(), |node| format!("node {node}"));
    let log = match found.entries.as_slice() {
        [] => "empty".to_owned(),
        entries => format!("entries 1 to {}, committed to {}", entries.len(), found.commit),
    };
    [
        format!("node       {} of cluster {}", found.identity.id, found.identity.cluster),
        format!("directory  {}, start {}", found.identity.directory, found.incarnation),
        format!("birth      {}", describe_birth(&found.genesis)),
        format!("term       {}, voted for {vote}", found.term),
        format!("log        {log}"),
        format!("journal    {}, {batches} batches, all intact{torn}", HumanBytes(bytes)),
    ]
    .join("\n")
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

fn to_json(inspection: &Inspection) -> Value {
    let bytes = inspection.journal_bytes;
    match &inspection.journal {
        Ok(recovery) => intact_to_json(recovery, bytes),
        Err(damage) => json!({
            "intact": false,
            "damage": damage.to_string(),
            "offset": offset_of(*damage),
            "journal_bytes": bytes,
        }),
    }
}

fn intact_to_json(recovery: &Recovery, bytes: u64) -> Value {
    let found = &recovery.recovered;
    let genesis = match &found.genesis {
        GenesisState::Complete(configuration) => Some(configuration.genesis.to_string()),
        GenesisState::Blank | GenesisState::Accepted(_) => None,
    };
    json!({
        "intact": true,
        "id": found.identity.id.0,
        "cluster": found.identity.cluster,
        "directory": found.identity.directory.to_string(),
        "incarnation": found.incarnation.0,
        "genesis": genesis,
        "term": found.term.0,
        "voted_for": found.voted_for.map(|node| node.0),
        "last_index": found.entries.len(),
        "commit_index": found.commit.0,
        "batches": recovery.next_batch - 1,
        "journal_bytes": bytes,
        "torn_bytes": recovery.torn,
    })
}

fn offset_of(damage: Damage) -> Option<u64> {
    match damage {
        Damage::Header | Damage::Version(_) => None,
        Damage::Batch { offset, .. } | Damage::Contradiction { offset, .. } => Some(offset),
    }
}
