//! `quorate restore`: a cluster out of a backup.

use std::collections::BTreeSet;
use std::path::Path;

use getopts::Options;
use serde_json::json;

use super::args;
use super::exit::{Exit, Failure, Outcome};
use super::output::{note, print_line};
use crate::daemon::{self, Founder, read_backup};
use crate::store::Snapshot;
use crate::types::{GenesisId, ServerId};

pub const HELP: &str = "\
Makes a directory out of a backup, for the first node of a new cluster.

Usage: quorate restore FILE --data-dir DIR --id N --nodes LIST [flags]

  --data-dir DIR        an empty directory; made when missing
  --id N                the number of the node that is to run there
  --nodes LIST          the numbers of all nodes of the cluster, as in 1,2,3
  --cluster NAME        the cluster's name [quorate]
  --segment-size BYTES  of the journal's files [4M]
  --json                what was done, for machines

Then start this node by the usual line, and the others on empty directories.
They fetch all keys from it, and get their votes by themselves; until then it
serves alone. Keys keep their versions. What clients had under way is forgotten.

It is another cluster than the one that was backed up: no directory of that can
ever join. Nothing is done unless every checksum in FILE is right.

Exit codes: 0 done; 2 wrong line; 4 refused: FILE is no backup, or DIR is in use
or not empty; 5 FILE is damaged, or a disk error.

Example: quorate restore monday.backup --data-dir data --id 1 --nodes 1,2,3
";

/// Runs `quorate restore`.
pub fn run(words: &[String]) -> Outcome {
    let mut options = Options::new();
    for flag in ["data-dir", "id", "nodes", "cluster", "segment-size"] {
        options.optopt("", flag, "", "");
    }
    options.optflag("", "json", "");
    let words = args::parse(options, words)?;
    let [file] = words.expect_operands(["FILE"])?;
    let path = args::data_dir(&words)?;
    let id = args::own_id(&words)?;
    let nodes = args::nodes(&words, id)?.ok_or_else(|| {
        Failure::usage("--nodes is missing; it is the numbers of all nodes, as in --nodes 1,2,3")
    })?;
    let (cluster, segment_size) = (args::cluster(&words)?, args::segment_size(&words)?);
    let backup = read_backup(Path::new(&file))?;
    let founder = Founder { id, cluster, segment_size, nodes: nodes.clone() };
    let genesis = daemon::restore(&path, founder, &backup)?;
    report(genesis, (id, &nodes), &backup, words.has("json"))?;
    Ok(Exit::Done)
}

/// Says what begins, and what is to be done now.
pub fn report(
    genesis: GenesisId,
    (id, nodes): (ServerId, &BTreeSet<ServerId>),
    held: &Snapshot,
    as_json: bool,
) -> Result<(), Failure> {
    let (index, keys) = (held.index(), held.state().key_count());
    if as_json {
        let nodes: Vec<u16> = nodes.iter().map(|id| id.0).collect();
        let shown = json!({
            "genesis": genesis.to_string(),
            "id": id.0,
            "nodes": nodes,
            "index": index.0,
            "keys": keys,
        });
        return print_line(&shown.to_string());
    }
    let others: Vec<String> =
        nodes.iter().filter(|node| **node != id).map(ToString::to_string).collect();
    let next = if others.is_empty() {
        format!("start node {id}")
    } else {
        format!("start node {id}, and on empty directories the nodes {}", others.join(", "))
    };
    note(&format!(
        "quorate: node {id} begins the cluster {genesis} with {keys} keys as of index {index}; \
         {next}"
    ));
    Ok(())
}
