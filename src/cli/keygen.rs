//! `quorate keygen`: keys that seal frames.

use std::io::ErrorKind;
use std::path::Path;

use getopts::Options;

use super::args::{self, Words};
use super::exit::{Exit, Failure, Outcome};
use crate::access::Holder;
use crate::daemon::{random_secret, write_secret};
use crate::seal::{Key, KeyId};

pub const HELP: &str = "\
Makes a key that seals the frames of a cluster, in a new file that only its
owner can read.

Usage: quorate keygen FILE [--id KEYID]

  --id KEYID  the number that tells the key from others of the cluster [1]

All nodes get a copy, for `quorate run --key-file FILE`; so does who runs them,
for --key-file or QUORATE_KEY_FILE. A file may hold several keys, one a line:
the first is used, all are taken.

Exit codes: 0 done, 2 wrong line, 4 the file is there already, 5 a disk error.

Example: quorate keygen key
";

/// Runs `quorate keygen`.
pub fn run(words: &[String]) -> Outcome {
    let mut options = Options::new();
    options.optopt("", "id", "", "");
    let words = args::parse(options, words)?;
    let [path] = words.expect_operands(["FILE"])?;
    write_key(Path::new(&path), &Key::new(key_id(&words)?, Holder::Node, random_secret()))?;
    Ok(Exit::Done)
}

/// Writes a file with a new key for nodes.
///
/// # Errors
/// There is such a file already, or the disk denies it.
pub fn write_node_key(path: &Path) -> Result<(), Failure> {
    write_key(path, &Key::new(KeyId(1), Holder::Node, random_secret()))
}

fn write_key(path: &Path, key: &Key) -> Result<(), Failure> {
    let shown = path.display().to_string();
    write_secret(path, &key.line()).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::refused(format!(
            "{shown} is there already, and a key that is in use must not be lost; name another file"
        )),
        _ => Failure::file("write", &shown, &error),
    })
}

fn key_id(words: &Words) -> Result<KeyId, Failure> {
    match words.number("id", 1)? {
        0 => Err(Failure::usage("--id 0: a key's number is expected, from 1 to 65535")),
        id => Ok(KeyId(id)),
    }
}
