//! `quorate rescue`: a new cluster out of what a survivor has.

use getopts::Options;

use super::args;
use super::exit::{Exit, Failure, Outcome};
use super::output::{note, print_line};
use super::{restore, survivor};
use crate::configuration::Configuration;
use crate::daemon::{self, Founder, inspect};
use crate::disk::Examination;
use crate::replica::last_state;
use crate::types::ServerId;

pub const HELP: &str = "\
Begins a new cluster with what one node still has, when the directories of a
majority are lost. What only the lost ones had acknowledged is gone then.

Usage: quorate rescue --data-dir DIR [--nodes LIST] --yes [--json]

  --data-dir DIR  the directory of the survivor, which must not run
  --nodes LIST    the numbers of all nodes of the new cluster, as in 1,2,3
                  [those of the former one]
  --yes           without it the command only says what there is and what may
                  be lost, and changes nothing

All entries that connect count, also those that are not known to be committed.
Of several survivors take the one whose last entry has the highest term, and of
those the one with the highest entry. Then start it by the usual line, and the
others on empty directories: their former ones can never join again. Back the
directory up first: 'quorate backup FILE --data-dir DIR'.

Exit codes: 0 done; 4 refused, or --yes is missing; 5 a disk error.

Example: quorate rescue --data-dir /var/lib/quorate --yes
";

/// Runs `quorate rescue`.
pub fn run(words: &[String]) -> Outcome {
    let mut options = Options::new();
    options.optopt("", "data-dir", "", "");
    options.optopt("", "nodes", "", "");
    options.optflag("", "yes", "");
    options.optflag("", "json", "");
    let words = args::parse(options, words)?;
    let [] = words.expect_operands([])?;
    let path = args::data_dir(&words)?;
    let inspection = inspect(&path)?;
    let found = inspection.readable()?;
    let held = &found.recovered;
    let nothing = || {
        Failure::refused(format!("{} belongs to no cluster: nothing is to rescue", path.display()))
    };
    let last = last_state(held).ok_or_else(nothing)?;
    let id = held.identity.id;
    let former = last.state().configuration();
    let listed = args::nodes(&words, id)?;
    let nodes = listed.unwrap_or_else(|| {
        former.members.keys().chain(&former.learners).chain([&id]).copied().collect()
    });
    let as_json = words.has("json");
    if !as_json {
        survivor::say(found);
        say_what_is_lost(id, former);
    }
    if !words.has("yes") {
        return refuse(found, as_json);
    }
    let cluster = held.identity.cluster.clone();
    let segment_size = found.segment_size();
    let founder = Founder { id, cluster, segment_size, nodes: nodes.clone() };
    let genesis = daemon::rescue(&inspection, founder, &last)?;
    restore::report(genesis, (id, &nodes), &last, as_json)?;
    Ok(Exit::Done)
}

fn say_what_is_lost(own: ServerId, former: &Configuration) {
    let others = former.members.keys().filter(|id| **id != own);
    let others: Vec<String> = others.map(ToString::to_string).collect();
    if !others.is_empty() {
        note(&format!(
            "quorate: what only others of the voters, {}, had acknowledged would be gone, and \
             their directories could never join again; if a majority can still be started, start \
             that instead",
            others.join(" and ")
        ));
    }
}

fn refuse(found: &Examination, as_json: bool) -> Outcome {
    if as_json {
        print_line(&survivor::to_json(found).to_string())?;
    } else {
        note("quorate: nothing is changed; --yes begins a new cluster with this");
    }
    Ok(Exit::Refused)
}
