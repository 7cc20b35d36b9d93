//! What a script can tell from an exit code, and a person from the sentence with it.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::alone::Alone;
use crate::processes::{Node, quorate};

#[test]
fn zero_when_a_signal_ends_a_node() {
    let mut alone = Alone::start();
    let (code, took) = alone.node.terminate();
    assert_eq!(code, 0, "{}", alone.node.said());
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn one_is_a_negative_answer() {
    let alone = Alone::start();
    let ran = alone.run(&["get", "k"]).expect(1);
    assert_eq!((ran.out, ran.err.as_str()), (Vec::new(), "quorate: 'k' is absent\n"));
    let ran = alone.run(&["delete", "k"]).expect(1);
    assert_eq!(ran.err, "quorate: 'k' was absent\n");
    let ran = alone.run(&["cas", "k", "v", "--version", "1"]).expect(1);
    assert_eq!(ran.err, "quorate: the comparison failed: the key is absent\n");
    alone.run(&["cas", "k", "v", "--absent"]).expect(0);
    let ran = alone.run(&["cas", "k", "w", "--absent"]).expect(1);
    assert!(ran.err.contains("the comparison failed: version "), "{}", ran.err);
    assert!(ran.err.contains("stands there, 'v'"), "{}", ran.err);
    assert_eq!(alone.run(&["get", "k"]).expect(0).text(), "v");
}

#[test]
fn two_when_the_address_is_in_use() {
    let alone = Alone::start();
    let other = alone.directory.path().join("other").display().to_string();
    let line = ["--id", "1", "--data-dir", &other, "--listen", &alone.address];
    refused_run(&line, 2, &["cannot listen on", &alone.address, "choose another port"]);
    assert!(!Path::new(&other).exists(), "nothing is made before the address is taken");
}

#[test]
fn two_when_peer_lists_contradict_themselves() {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let data = directory.path().join("data").display().to_string();
    let line = |more: &[&'static str]| -> Vec<String> {
        let first = ["--id", "1", "--listen", "127.0.0.1:0", "--data-dir", &data];
        first.iter().chain(more).map(|word| (*word).to_owned()).collect()
    };
    let cases: &[(&[&str], &[&str])] = &[
        (&["--peer", "2=127.0.0.1:9", "--peer", "2=127.0.0.1:8"], &["--peer 2 is given twice"]),
        (&["--peer", "2=127.0.0.1:9", "--peer", "3=127.0.0.1:9"], &["nodes 2 and 3", "same"]),
        (&["--peer", "2"], &["--peer 2", "ID=ADDR:PORT"]),
        (&["--peer", "2=nowhere"], &["--peer 2 nowhere", "HOST:PORT"]),
    ];
    for (more, fragments) in cases {
        let line = line(more);
        let words: Vec<&str> = line.iter().map(String::as_str).collect();
        refused_run(&words, 2, fragments);
    }
}

#[test]
fn three_says_who_answered_and_what_is_missing() {
    for words in [["get", "k"].as_slice(), &["put", "k", "v"], &["list"], &["incr", "k"]] {
        let ran = quorate("127.0.0.1:1", &[words, &["--timeout", "0.3"]].concat(), b"").expect(3);
        let missing = "0 of 1 nodes answered: 127.0.0.1:1 is silent; see that they run";
        assert!(ran.err.contains(missing), "{}", ran.err);
        assert!(ran.err.contains("within 0.3 s"), "{}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    }
}

#[test]
fn three_when_a_node_answers_but_nobody_leads() {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let (data, log) = (directory.path().join("data"), directory.path().join("log"));
    let data = data.display().to_string();
    let own = free_port();
    let line = ["--id", "1", "--data-dir", &data, "--listen", &own, "--peer", "2=127.0.0.1:1"];
    let node = Node::start(&line, &log);
    let ran = quorate(&own, &["put", "k", "v", "--timeout", "0.5"], b"").expect(3);
    assert!(ran.err.contains("1 of 2 nodes answered, no leader: node 2 is silent"), "{}", ran.err);
    assert!(ran.err.contains("not born yet, which takes all of its nodes"), "{}", ran.err);
    assert!(node.said().contains("not born yet"), "{}", node.said());
    quorate(&own, &["status"], b"").expect(3);
}

#[test]
fn four_says_why_an_operation_is_refused() {
    let alone = Alone::start();
    alone.run(&["put", "text", "ten"]).expect(0);
    let ran = alone.run(&["incr", "text"]).expect(4);
    assert!(ran.err.contains("under 'text' is not a signed 64-bit number"), "{}", ran.err);
    for (key, edge, beyond) in
        [("high", "9223372036854775807", "1"), ("low", "-9223372036854775808", "-1")]
    {
        assert_eq!(alone.run(&["incr", key, edge]).expect(0).text(), format!("{edge}\n"));
        let ran = alone.run(&["incr", key, beyond]).expect(4);
        assert!(ran.err.contains("does not fit in a signed 64-bit number"), "{}", ran.err);
        assert_eq!(alone.run(&["get", key]).expect(0).text(), edge);
    }
}

#[test]
fn four_when_the_directory_is_anothers() {
    let mut alone = Alone::start();
    let data = alone.data_dir();
    let line = ["--id", "1", "--data-dir", &data, "--listen", "127.0.0.1:0"];
    refused_run(&line, 4, &["in use by another process", "directory of its own"]);
    alone.node.kill();

    let other_id = ["--id", "2", "--data-dir", &data, "--listen", "127.0.0.1:0"];
    refused_run(&other_id, 4, &["belongs to node 1 of cluster quorate", "to be node 2"]);
    let other_cluster = [&line[..], &["--cluster", "other"]].concat();
    refused_run(&other_cluster, 4, &["belongs to node 1 of cluster quorate", "cluster other"]);

    write_newer_version(&Path::new(&data).join("meta"));
    refused_run(&line, 4, &["cannot be used", "format 9"]);

    let stranger = alone.directory.path().display().to_string();
    let line = ["--id", "1", "--data-dir", &stranger, "--listen", "127.0.0.1:0"];
    refused_run(&line, 4, &["is no node's but holds", "an empty one"]);
}

#[test]
fn five_when_the_directory_cannot_be_used() {
    let mut alone = Alone::start();
    alone.node.kill();
    let meta = Path::new(&alone.data_dir()).join("meta");

    let in_the_way = meta.display().to_string();
    let line = ["--id", "1", "--data-dir", &in_the_way, "--listen", "127.0.0.1:0"];
    refused_run(&line, 5, &[&in_the_way, "cannot be made"]);
    let below = meta.join("below").display().to_string();
    let line = ["--id", "1", "--data-dir", &below, "--listen", "127.0.0.1:0"];
    refused_run(&line, 5, &[&below, "cannot be made"]);

    let data = alone.data_dir();
    let line = ["--id", "1", "--data-dir", &data, "--listen", "127.0.0.1:0"];
    fs::write(&meta, "this is no identity").expect("the file can be spoilt");
    refused_run(&line, 5, &["cannot be used", "keep a copy"]);
    fs::remove_file(&meta).expect("the file can be removed");
    refused_run(&line, 5, &["cannot be used", "keep a copy"]);
    fs::create_dir(&meta).expect("a directory can be made");
    refused_run(&line, 5, &["cannot be read", "Is a directory"]);
}

/// The system has a signal for that, which would end the process without a word.
#[test]
fn five_when_a_file_may_not_be_so_long() {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let data = directory.path().join("data").display().to_string();
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 100 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_quorate")])
        .args(["run", "--insecure-no-key", "--id", "1", "--listen", "127.0.0.1:0"])
        .args(["--data-dir", &data])
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("cannot be written: ") && said.contains("too large"), "{said}");
}

#[test]
fn five_when_the_output_cannot_be_written() {
    let alone = Alone::start();
    alone.run(&["put", "k", "v"]).expect(0);
    for words in [["get", "k"].as_slice(), &["get", "k", "--json"], &["list"], &["status"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_quorate"))
            .args(words)
            .env("QUORATE_SERVERS", &alone.address)
            .stdout(File::create("/dev/full").expect("the system has a full device"))
            .stderr(Stdio::piped())
            .output()
            .expect("the program runs");
        assert_eq!(output.status.code(), Some(5), "{words:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("cannot write to standard output: No space left"), "{said}");
    }
}

/// Runs a node that must end at once, with this code and one sentence that has these
/// fragments.
#[track_caller]
fn refused_run(flags: &[&str], code: i32, fragments: &[&str]) {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let mut node = Node::start(flags, &directory.path().join("log"));
    let found = node.wait_for_exit();
    let said = node.said();
    assert_eq!(found, code, "{said}");
    let sentence = said.lines().last().unwrap_or_default();
    assert!(sentence.starts_with("quorate: "), "{said}");
    for fragment in fragments {
        assert!(sentence.contains(fragment), "lacks '{fragment}': {sentence}");
    }
}

/// An address that was free a moment ago.
fn free_port() -> String {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    socket.local_addr().expect("it is bound").to_string()
}

/// Gives both copies of the identity another format version, with checksums that fit.
fn write_newer_version(meta: &Path) {
    let mut bytes = fs::read(meta).expect("the file can be read");
    for copy in [0, 4_096] {
        bytes[copy + 8] = 9;
        let checksum = crc32fast::hash(&bytes[copy..copy + 508]).to_le_bytes();
        bytes[copy + 508..copy + 512].copy_from_slice(&checksum);
    }
    fs::write(meta, bytes).expect("the file can be written");
}
