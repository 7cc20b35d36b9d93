//! Clients with keys of their own, at real nodes.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::cluster::{Cluster, IDS};
use crate::processes::{eventually, quorate};

/// A cluster whose nodes know some clients: their names and rights. Each has a file of its name.
pub fn with_clients(clients: &[(&str, &str)]) -> Cluster {
    let mut cluster = Cluster::start_sealed();
    let key_file = cluster.file("key");
    for (name, rights) in clients {
        let words = ["keygen", "--client", name, "--rights", rights, "--into", &key_file];
        let said = quorate("", &[&words[..], &[&cluster.file(name)]].concat(), b"").expect(0).err;
        assert!(said.contains("has key "), "{said}");
    }
    let text = fs::read_to_string(&key_file).expect("a key file is text");
    for id in IDS {
        let said = cluster.give_keys(id, &text);
        assert!(said.contains("of nodes: 1; 1 is used; of clients: 2 of "), "{said}");
    }
    cluster
}

#[test]
fn a_missing_right_ends_in_four() {
    let cluster = with_clients(&[("ann", "r"), ("bob", "rw:app/"), ("eve", "r:app/")]);
    cluster.run(&["put", "app/x", "1"]).expect(0);
    cluster.run(&["put", "other", "2"]).expect(0);
    let (lines, backup) = (cluster.file("lines"), cluster.file("backup"));
    fs::write(&lines, "other\t1\n").expect("a file can be written");

    let read_only = "has the right to read, and none to write; ask";
    let beyond = "goes beyond it; stay within the prefix";
    let operators = "use the key file of a node";
    let cases: &[(&str, &[&str], &str)] = &[
        ("ann", &["put", "app/x", "v"], read_only),
        ("ann", &["delete", "app/x"], read_only),
        ("ann", &["cas", "app/x", "v", "--absent"], read_only),
        ("ann", &["incr", "n"], read_only),
        ("ann", &["load", &lines], read_only),
        ("ann", &["member", "remove", "3"], operators),
        ("bob", &["put", "other", "v"], beyond),
        ("bob", &["incr", "app"], beyond),
        ("bob", &["load", &lines], beyond),
        ("bob", &["get", "other"], beyond),
        ("bob", &["get", "other", "--stale"], beyond),
        ("bob", &["list"], beyond),
        ("bob", &["list", "ap", "--stale"], beyond),
        ("bob", &["dump"], beyond),
        ("bob", &["backup", &backup], beyond),
        ("bob", &["member", "add", "4=127.0.0.1:9"], operators),
        ("eve", &["put", "app/x", "v"], read_only),
        ("eve", &["get", "other"], beyond),
    ];
    for (name, words, expected) in cases {
        for id in IDS {
            let words = [*words, &["--server", cluster.address(id)]].concat();
            let ran = cluster.run_as(&cluster.file(name), &words).expect(4);
            assert!(ran.err.contains(expected), "{name} {words:?}: {}", ran.err);
            assert!(!ran.err.contains("run it again"), "{name} {words:?}: {}", ran.err);
        }
    }
    denials_are_counted_and_logged(&cluster);
    assert_eq!(cluster.run(&["dump"]).expect(0).text(), "app/x\t1\nother\t2\n");

    let cases: &[(&str, &[&str])] = &[
        ("ann", &["get", "other"]),
        ("ann", &["dump", "--stale"]),
        ("ann", &["backup", &backup]),
        ("ann", &["member", "list"]),
        ("ann", &["status"]),
        ("eve", &["list", "app/", "--stale"]),
        ("bob", &["list", "app/"]),
        ("bob", &["put", "app/x", "3"]),
        ("bob", &["incr", "app/x"]),
        ("bob", &["get", "app/x"]),
    ];
    for (name, words) in cases {
        cluster.run_as(&cluster.file(name), words).expect(0);
    }
    assert_eq!(cluster.run(&["get", "app/x"]).expect(0).text(), "4");
}

/// Each of the cases was denied, by some node.
fn denials_are_counted_and_logged(cluster: &Cluster) {
    let denied = IDS.map(|id| cluster.status_of(id)["denied"].take());
    for (right, expected) in [("read_only", 18), ("other_keys", 30), ("clients_key", 6)] {
        let counts = denied.iter().map(|node| node[right].as_u64().expect("it is counted"));
        // One whose answer is late is asked again.
        assert!(counts.sum::<u64>() >= expected, "{right}: {denied:?}");
    }
    assert!(cluster.run(&["status"]).expect(0).text().contains("denied for want of rights: "));
    for id in IDS {
        let said = cluster.said(id);
        let lines: Vec<&str> = said.lines().filter(|line| line.contains("denied")).collect();
        // All that takes a minute or two on a machine that is busy.
        assert!((1..=3).contains(&lines.len()), "{said}");
        assert!(lines[0].contains("the last was of client "), "{said}");
    }
}

/// A key that is taken back opens nothing from then on, not even in a session that it began.
#[test]
fn a_revoked_key_ends_at_once() {
    let mut cluster = with_clients(&[("ann", "rw"), ("bob", "rw")]);
    let (ann, bob) = (cluster.file("ann"), cluster.file("bob"));
    let mut loads = [&ann, &bob].map(|key_file| {
        Command::new(env!("CARGO_BIN_EXE_quorate"))
            .args(["load", "-", "--timeout", "4", "--key-file", key_file])
            .env("QUORATE_SERVERS", cluster.servers())
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts")
    });
    let mut pipes = [0, 1].map(|at| loads[at].stdin.take().expect("standard input is a pipe"));
    for (pipe, name) in pipes.iter_mut().zip(["ann", "bob"]) {
        writeln!(pipe, "{name}-1\tv").expect("the load reads");
        let key = format!("{name}-1");
        eventually("the line is there", || (cluster.run(&["get", &key]).code == 0).then_some(()));
    }

    let text = fs::read_to_string(cluster.file("key")).expect("a key file is text");
    let is_kept = |line: &&str| !line.starts_with("client ann ");
    let without: String = text.split_inclusive('\n').filter(is_kept).collect();
    for id in IDS {
        let said = cluster.give_keys(id, &without);
        assert!(said.contains("of clients: 3 of bob"), "{said}");
    }
    for (mut pipe, name) in pipes.into_iter().zip(["ann", "bob"]) {
        writeln!(pipe, "{name}-2\tv").expect("the load reads");
    }
    let [of_ann, of_bob] = loads.map(|load| load.wait_with_output().expect("it ends"));
    let said = String::from_utf8_lossy(&of_ann.stderr);
    assert_eq!(of_ann.status.code(), Some(3), "{said}");
    assert!(said.contains("1 of the first 2 lines acknowledged"), "{said}");
    assert_eq!(of_bob.status.code(), Some(0), "{}", String::from_utf8_lossy(&of_bob.stderr));
    assert_eq!(cluster.run(&["dump"]).expect(0).text(), "ann-1\tv\nbob-1\tv\nbob-2\tv\n");
    cluster.run_as(&ann, &["get", "ann-1", "--timeout", "1"]).expect(3);
    let dropped = cluster.status_of(cluster.leader())["dropped"]["key"].as_u64();
    assert!(dropped > Some(0), "what the key seals is counted");
}

/// A file that must not be taken is named with one sentence, and changes nothing.
#[test]
fn a_bad_file_leaves_the_keys_as_they_were() {
    let mut cluster = with_clients(&[("ann", "r")]);
    let text = fs::read_to_string(cluster.file("key")).expect("a key file is text");
    let node = text.lines().next().expect("it has a line");
    let client = text.lines().nth(1).expect("it has two");
    let cases = [
        (format!("{text}nonsense\n"), "line 3: expected: node KEYID HEX"),
        (String::new(), "it holds no key"),
        (client.to_owned(), "it holds no key of nodes"),
        (format!("{node}\n{client}w\n"), "key 2 was somebody else's before, or had other rights"),
    ];
    for (bad, expected) in cases {
        let said = cluster.give_keys(1, &bad);
        assert!(said.contains("the keys stay as they were: "), "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains(&text[10..40]), "a key is never shown");
    }
    cluster.wait_until_well();
    let ann = cluster.file("ann");
    let at_one = ["--server", cluster.address(1)];
    cluster.run_as(&ann, &[&["list"], &at_one[..]].concat()).expect(0);
    cluster.run_as(&ann, &[&["put", "k", "v"], &at_one[..]].concat()).expect(4);
    let said = cluster.give_keys(1, &text);
    assert!(said.contains("the key file was read again"), "{said}");
}
