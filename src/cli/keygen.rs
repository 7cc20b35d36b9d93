//! `quorate keygen`: keys that seal frames.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use getopts::Options;

use super::args::{self, Words};
use super::exit::{Exit, Failure, Outcome};
use super::output::note;
use crate::access::{Holder, Rights};
use crate::daemon::{KeyChange, check_absent, random_secret, write_secret};
use crate::seal::{Key, KeyId};
use crate::types::KEY_BYTES_MAX;

pub const HELP: &str = "\
Makes a key that seals the frames of a cluster, in a new file that only its
owner can read.

Usage: quorate keygen FILE [--id KEYID]
       quorate keygen --client NAME --rights r|rw[:PREFIX] --into FILE OUT

  --id KEYID  the number that tells the key from others of the cluster

The first makes a key of nodes. All nodes get a copy of FILE, for `quorate run
--key-file FILE`; so does who runs them. A file may hold several keys, one a
line: the first of nodes is used, all are taken.
The second makes a client's key: its line is added to FILE, the nodes' file, and
OUT is for the client, for --key-file or QUORATE_KEY_FILE. With r it may read,
with rw also write: all keys, or those that begin with PREFIX.
Nodes read their file again on SIGHUP. docs/security.md tells how to replace a
key and how to take one back.

Exit codes: 0 done, 2 wrong line, 4 a file, a name or a number is there
already, 5 a disk error.

Example: quorate keygen --client web --rights rw:web/ --into key web.key
";

/// The longest name of a client.
const NAME_BYTES_MAX: usize = 64;

/// Runs `quorate keygen`.
pub fn run(words: &[String]) -> Outcome {
    let mut options = Options::new();
    for flag in ["id", "client", "rights", "into"] {
        options.optopt("", flag, "", "");
    }
    let words = args::parse(options, words)?;
    let Some(name) = words.value("client") else {
        let [path] = words.expect_operands(["FILE"])?;
        if words.has("rights") || words.has("into") {
            return Err(Failure::usage("--rights and --into are for the key of a --client"));
        }
        let id = key_id(&words)?.unwrap_or(KeyId(1));
        write_key(Path::new(&path), &Key::new(id, Holder::Node, random_secret()))?;
        return Ok(Exit::Done);
    };
    let [path] = words.expect_operands(["OUT"])?;
    let expected = "--client needs --rights r|rw[:PREFIX] and --into FILE, the file of the nodes";
    let (Some(rights), Some(into)) = (words.value("rights"), words.value("into")) else {
        return Err(Failure::usage(expected));
    };
    let holder = Holder::Client(read_name(name)?, read_rights(&rights)?);
    add_client(holder, key_id(&words)?, Path::new(&into), Path::new(&path))
}

/// Writes a file with a new key for nodes.
///
/// # Errors
/// There is such a file already, or the disk denies it.
pub fn write_node_key(path: &Path) -> Result<(), Failure> {
    write_key(path, &Key::new(KeyId(1), Holder::Node, random_secret()))
}

/// The client's own file comes first: a key that the nodes take and nobody has would be worse.
fn add_client(holder: Holder, id: Option<KeyId>, into: &Path, out: &Path) -> Outcome {
    check_absent(out)?;
    let mut adding = KeyChange::begin(into)?;
    if !adding.keys().is_for_nodes() {
        return Err(Failure::refused(format!(
            "{} holds no key of nodes, so it is a client's; --into names the file of the nodes",
            into.display()
        )));
    }
    let free = || adding.keys().free_id().ok_or(Failure::refused("all numbers are taken"));
    let id = id.map_or_else(free, Ok)?;
    let key = Key::new(id, holder, random_secret());
    adding.add(&key)?;
    write_key(out, &key)?;
    let changed = adding.replace().inspect_err(|_| {
        fs::remove_file(out).ok();
    })?;
    // From here on the nodes may take the key, so the client keeps it.
    changed.sync().map_err(|error| {
        let Failure { exit, sentence, .. } = error.into();
        Failure::new(exit, format!("{sentence}; {} has the key", out.display()))
    })?;
    note(&format!(
        "quorate: {} has key {id}; nodes take it once they have this {} and a SIGHUP",
        out.display(),
        into.display()
    ));
    Ok(Exit::Done)
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

fn key_id(words: &Words) -> Result<Option<KeyId>, Failure> {
    if !words.has("id") {
        return Ok(None);
    }
    match words.number("id", 0)? {
        0 => Err(Failure::usage("--id 0: a key's number is expected, from 1 to 65535")),
        id => Ok(Some(KeyId(id))),
    }
}

fn read_name(name: String) -> Result<String, Failure> {
    if is_word(&name) && name.len() <= NAME_BYTES_MAX {
        return Ok(name);
    }
    Err(Failure::usage(format!(
        "--client {name:?}: a name of 1 to {NAME_BYTES_MAX} bytes without spaces is expected"
    )))
}

fn read_rights(text: &str) -> Result<Rights, Failure> {
    let (rights, prefix) = text.split_once(':').map_or((text, None), |(r, p)| (r, Some(p)));
    let fits = prefix.is_none_or(|prefix| is_word(prefix) && prefix.len() <= KEY_BYTES_MAX);
    match rights {
        "r" | "rw" if fits => {
            Ok(Rights { write: rights == "rw", prefix: prefix.unwrap_or_default().to_owned() })
        }
        _ => Err(Failure::usage(format!(
            "--rights {text:?}: r or rw is expected, for keys with a prefix r:PREFIX or rw:PREFIX, \
             and no spaces"
        ))),
    }
}

/// Whether it can stand in a line of a key file.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read_as_they_are_written() {
        let rights = |write, prefix: &str| Rights { write, prefix: prefix.to_owned() };
        let cases =
            [("r", rights(false, "")), ("rw", rights(true, "")), ("r:a:b/", rights(false, "a:b/"))];
        for (text, expected) in cases {
            assert_eq!(read_rights(text), Ok(expected), "{text}");
        }
        for text in ["", "w", "wr", "r:", "rw:a b", "R", ":a"] {
            let sentence = read_rights(text).unwrap_err().sentence;
            assert!(sentence.contains("r or rw is expected"), "{sentence}");
        }
        for name in ["", "a b", "a\n", &"n".repeat(65)] {
            assert!(read_name(name.to_owned()).is_err(), "{name:?}");
        }
    }
}
