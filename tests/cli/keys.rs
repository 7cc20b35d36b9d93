//! Files of keys: what makes them refuses, and what reads them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::processes::{Node, eventually, quorate};

/// A directory with the file of nodes `key`.
fn with_key() -> TempDir {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    quorate("", &["keygen", &path(&directory, "key")], b"").expect(0);
    directory
}

fn path(directory: &TempDir, name: &str) -> String {
    directory.path().join(name).display().to_string()
}

fn set_mode(path: &str, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("the file is ours");
}

/// The names in the directory, and what the file of nodes says.
fn content(directory: &TempDir) -> (Vec<String>, String) {
    let names = fs::read_dir(directory.path()).expect("it can be listed");
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<String> = names.map(|entry| name(entry.expect("it is there"))).collect();
    names.sort();
    (names, fs::read_to_string(path(directory, "key")).unwrap_or_default())
}

#[test]
fn a_clients_key_goes_to_both_files_and_only_its_owner_reads_them() {
    let directory = with_key();
    let (key, out) = (path(&directory, "key"), path(&directory, "web.key"));
    let line = ["keygen", "--client", "web", "--rights", "rw:web/", "--into", &key, &out];
    let said = quorate("", &line, b"").expect(0).err;
    assert!(said.contains("has key 2; nodes take it once they have this"), "{said}");
    let (of_nodes, of_client) = (content(&directory).1, fs::read_to_string(&out).expect("text"));
    assert!(of_client.starts_with("client web 2 ") && of_client.ends_with(" rw web/\n"));
    assert!(of_nodes.ends_with(&of_client) && of_nodes.starts_with("node 1 "));
    for file in [&key, &out] {
        assert_eq!(fs::metadata(file).expect("it is there").permissions().mode() & 0o777, 0o600);
    }
}

/// Each refusal is one sentence, makes no file and changes none.
#[test]
fn what_makes_no_key_says_why_and_leaves_all_as_it_was() {
    let directory = with_key();
    let file = |name: &str| path(&directory, name);
    let (key, out, there) = (file("key"), file("out"), file("there"));
    quorate("", &["keygen", "--client", "bob", "--rights", "r", "--into", &key, &there], b"")
        .expect(0);
    let (of_client, bad, elsewhere) = (file("of-client"), file("bad"), file("none/out"));
    fs::copy(&there, &of_client).expect("it can be copied");
    fs::write(&bad, "node 1 77\n").expect("it can be written");
    let open = file("open");
    fs::copy(&key, &open).expect("it can be copied");
    set_mode(&bad, 0o600);
    set_mode(&open, 0o640);
    let long = "n".repeat(65);
    let prefix = format!("r:{}", "p".repeat(1_025));
    let before = content(&directory);

    let client = |name: &str, rights: &str, into: &str, out: &str| {
        ["--client", name, "--rights", rights, "--into", into, out].map(str::to_owned).to_vec()
    };
    let plain = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let cases = [
        (client("", "r", &key, &out), 2, "a name of 1 to 64 bytes without spaces"),
        (client("a b", "r", &key, &out), 2, "a name of 1 to 64 bytes without spaces"),
        (client("a\u{7}", "r", &key, &out), 2, "a name of 1 to 64 bytes without spaces"),
        (client(&long, "r", &key, &out), 2, "a name of 1 to 64 bytes without spaces"),
        (client("web", "w", &key, &out), 2, "r or rw is expected"),
        (client("web", "rw:", &key, &out), 2, "r or rw is expected"),
        (client("web", "r:a b", &key, &out), 2, "r or rw is expected"),
        (client("web", &prefix, &key, &out), 2, "r or rw is expected"),
        (client("bob", "rw", &key, &out), 4, "another line is of client bob too"),
        (client("web", "rw", &key, &there), 4, "exists already"),
        (client("web", "rw", &file("none"), &out), 2, "`quorate keygen` makes one"),
        (client("web", "rw", directory.path().to_str().expect("text"), &out), 2, "key file"),
        (client("web", "rw", &open, &out), 2, "others can read it"),
        (client("web", "rw", &bad, &out), 2, "line 1: a key is 64"),
        (client("web", "rw", &of_client, &out), 4, "holds no key of nodes"),
        (client("web", "rw", &key, &elsewhere), 5, "cannot write"),
        (plain(&["--client", "web", "--rights", "rw", &out]), 2, "--client needs --rights"),
        (plain(&["--client", "web", "--into", &key, &out]), 2, "--client needs --rights"),
        (plain(&["--client", "web", "--rights", "r", "--into", &key]), 2, "expected OUT"),
        (plain(&["--rights", "rw", &out]), 2, "are for the key of a --client"),
        (plain(&["--into", &key, &out]), 2, "are for the key of a --client"),
        (plain(&[&out, "--id", "0"]), 2, "from 1 to 65535"),
        (plain(&[&out, "--id", "65536"]), 2, "not a number that fits"),
        (plain(&[]), 2, "expected FILE"),
        (plain(&[&there]), 4, "is there already"),
        (plain(&[&elsewhere]), 5, "cannot write"),
    ];
    for (words, code, expected) in cases {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ran = quorate("", &[&["keygen"], &words[..]].concat(), b"").expect(code);
        assert!(ran.err.contains(expected), "{words:?}: {}", ran.err);
        assert_eq!((ran.err.lines().count(), &ran.out[..]), (1, &b""[..]), "{words:?}");
        assert_eq!(content(&directory), before, "{words:?}");
    }
    let taken = ["--client", "web", "--rights", "rw", "--into", &key, "--id", "2", &out];
    let ran = quorate("", &[&["keygen"], &taken[..]].concat(), b"").expect(4);
    assert!(ran.err.contains("another line has key id 2 too"), "{}", ran.err);
    assert_eq!(content(&directory), before);
}

/// What is killed while it changes the file leaves something beside it, in nobody's way.
#[test]
fn what_a_killed_command_left_is_in_nobodys_way() {
    let directory = with_key();
    let (key, left) = (path(&directory, "key"), path(&directory, "key.new"));
    fs::write(&left, "node 1 0").expect("it can be written");
    let out = path(&directory, "out");
    quorate("", &["keygen", "--client", "a", "--rights", "r", "--into", &key, &out], b"").expect(0);
    assert_eq!(content(&directory).0, ["key", "out"]);
    fs::write(&left, "node 1 0").expect("it can be written");
    quorate("", &["revoke", "2", "--from", &key], b"").expect(0);
    assert_eq!(content(&directory).0, ["key", "out"]);
}

#[test]
fn a_key_that_is_removed_is_told_to_machines() {
    let directory = with_key();
    let (key, out) = (path(&directory, "key"), path(&directory, "out"));
    quorate("", &["keygen", "--client", "a", "--rights", "r", "--into", &key, &out], b"").expect(0);
    let told = quorate("", &["revoke", "2", "--from", &key, "--json"], b"").expect(0);
    assert_eq!(told.json(), serde_json::json!({ "key": 2, "removed_from": key }));
    let told = quorate("", &["revoke", "2", "--from", &key, "--json"], b"").expect(4).json();
    assert_eq!(told["outcome"], "refused");
}

/// The words of the unit in docs/security.md, as the service manager would give them; but alone,
/// and on a free port.
fn words_of_the_unit(credentials: &Path, data: &str) -> Vec<String> {
    let unit = include_str!("../../docs/security.md");
    assert!(unit.contains("\nLoadCredential=key:"), "there is a credential of this name");
    let (_, line) = unit.split_once("\nExecStart=").expect("the page has a unit");
    let line = line.split('\n').take(2).collect::<String>().replace('\\', "");
    let words = line.split_whitespace().skip(1);
    let mut words: Vec<String> = words.map(str::to_owned).collect();
    while let Some(at) = words.iter().position(|word| word == "--peer") {
        words.drain(at..at + 2);
    }
    let listen = words.iter().position(|word| word == "--listen").expect("it listens");
    words[listen + 1] = "127.0.0.1:0".into();
    let credentials = credentials.display().to_string();
    let given = |word: String| {
        word.replace("${CREDENTIALS_DIRECTORY}", &credentials).replace("${STATE_DIRECTORY}", data)
    };
    words.into_iter().map(given).collect()
}

/// Runs the program where systemd's `LoadCredential=` has put the keys.
fn run_with_credentials(directory: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(words)
        .env("CREDENTIALS_DIRECTORY", directory)
        .output()
        .expect("the program starts")
}

/// The service manager gives a credential to its own group, or makes it readable by it, and nobody
/// else reaches the directory. Any other file must be its owner's alone.
#[test]
fn a_credential_of_the_service_manager_is_a_key_file() {
    let directory = with_key();
    let (key, data) = (path(&directory, "key"), path(&directory, "data"));
    set_mode(&key, 0o440);
    let log = directory.path().join("log");
    let child = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(words_of_the_unit(directory.path(), &data))
        .env("CREDENTIALS_DIRECTORY", directory.path())
        .stdin(Stdio::null())
        .stderr(fs::File::create(&log).expect("the log can be written"))
        .spawn()
        .expect("the program starts");
    let node = Node::of(child, &log);
    let address = node.wait_until_ready();
    let ask = ["put", "k", "v", "--server", &address, "--key-file", &key];
    let ran = run_with_credentials(directory.path(), &ask);
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    // It is read again in the same way.
    kill_process(Pid::from_child(&node.child), Signal::HUP).expect("the node runs");
    eventually("the keys are read again", || node.said().contains("was read again").then_some(()));

    quorate(&address, &ask, b"").expect(2);
    let elsewhere = directory.path().join("elsewhere");
    let beside = elsewhere.join("../key");
    fs::create_dir(&elsewhere).expect("there is room");
    for (credentials, file, mode) in [
        (elsewhere.as_path(), Path::new(&key), 0o440),
        (elsewhere.as_path(), beside.as_path(), 0o440),
        (directory.path(), Path::new(&key), 0o444),
    ] {
        set_mode(&key, mode);
        let file = file.display().to_string();
        let words = ["get", "k", "--server", &address, "--key-file", &file];
        let ran = run_with_credentials(credentials, &words);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{file} {mode:o}: {said}");
        assert!(said.contains("others can read it"), "{said}");
    }
}
