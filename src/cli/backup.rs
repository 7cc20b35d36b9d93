//! `quorate backup`: all keys into a file.

use std::path::Path;

use bytes::Bytes;
use getopts::Options;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::args::{self, ClientFlags, Words};
use super::exit::{Exit, Failure, Outcome};
use super::leader_call;
use super::output::{note, print_line, progress_bar};
use super::read::read_values;
use super::survivor;
use crate::daemon::{check_absent, inspect, write_backup};
use crate::replica::last_state;
use crate::store::{Snapshot, State};
use crate::wire::{MemberChange, Query};

pub const HELP: &str = "\
Saves all keys with their versions, as they are at one index, into a new file.

Usage: quorate backup FILE [flags]
       quorate backup FILE --data-dir DIR [--yes] [--json]

The first asks a cluster, which goes on meanwhile; what was acknowledged before
is in the file. The second reads the directory of a node that does not run, and
changes nothing there. All entries that connect count, also those that are not
known to be committed: they may have been acknowledged. Of a damaged directory
it says what cannot be read, and takes the rest only with --yes.

FILE gets its name when it is whole and on the disk; a backup that was
interrupted leaves FILE.*.new, which can be removed. Every part has a checksum.
'quorate restore' makes a cluster of it.

Exit codes: 0 done; 3 no answer, or the node that answered was lost: run it
again; 4 refused: FILE exists, or the directory is in use, no node's or damaged;
5 a disk error.

Example: quorate backup monday.backup
";

/// Runs `quorate backup`.
pub fn run(words: &[String]) -> Outcome {
    let mut options = Options::new();
    ClientFlags::add_to(&mut options);
    options.optopt("", "data-dir", "", "");
    options.optflag("", "yes", "");
    let words = args::parse(options, words)?;
    let [file] = words.expect_operands(["FILE"])?;
    let path = Path::new(&file);
    check_absent(path)?;
    let (backup, survivor) = match words.value("data-dir") {
        Some(directory) => of_directory(Path::new(&directory), &words)?,
        None => (of_cluster(&words)?, Value::Null),
    };
    let bytes = write_backup(path, &backup)?;
    let (index, keys) = (backup.index(), backup.state().key_count());
    if words.has("json") {
        let shown = json!({
            "file": file, "index": index.0, "keys": keys, "bytes": bytes, "directory": survivor,
        });
        print_line(&shown.to_string())?;
    } else {
        let size = HumanBytes(bytes);
        note(&format!("quorate: {file} has all {keys} keys as of index {index}, {size}"));
    }
    Ok(Exit::Done)
}

/// One linearizable read, whose pages all come from one state. The limits that all nodes apply
/// alike are no part of it, but never change.
fn of_cluster(words: &Words) -> Result<Snapshot, Failure> {
    let flags = ClientFlags::read(words)?;
    if words.has("yes") {
        return Err(Failure::usage("--yes is for a damaged --data-dir"));
    }
    let configuration = leader_call::change_members(&flags, MemberChange::None)?.configuration;
    let progress = progress_bar(None);
    let mut keys = Vec::new();
    let query = Query::List { prefix: Bytes::new(), limit: 0 };
    let read = read_values(&flags, query, false, |found| {
        progress.inc((found.key.len() + found.value.len()) as u64);
        keys.push((found.key, found.version, found.value));
        Ok(())
    });
    progress.finish_and_clear();
    Ok(Snapshot::backup(&State::of_keys(read?.index, configuration, keys)))
}

/// The state at the end of the directory's log, and what is said of that for machines.
fn of_directory(path: &Path, words: &Words) -> Result<(Snapshot, Value), Failure> {
    let inspection = inspect(path)?;
    let found = inspection.readable()?;
    let last = last_state(&found.recovered).ok_or_else(|| {
        Failure::refused(format!("{} belongs to no cluster yet: it is empty", path.display()))
    })?;
    if !words.has("json") {
        survivor::say(found);
    }
    if !survivor::missing(found).is_empty() && !words.has("yes") {
        return Err(Failure::refused(
            "the directory cannot be read whole; --yes backs up what connects",
        ));
    }
    Ok((Snapshot::backup(last.state()), survivor::to_json(found)))
}
