//! Keys of nodes that are replaced while the cluster works: added, used, retired.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::cluster::{Cluster, IDS};
use crate::processes::{eventually, quorate};

/// How many lines each load of the clients has.
pub const LINES: usize = 100;

#[test]
fn a_key_is_replaced_under_load_and_no_write_is_lost() {
    let mut cluster = Cluster::start_sealed();
    let [key, second, client] = ["key", "second", "client"].map(|name| cluster.file(name));
    let words = ["keygen", "--client", "app", "--rights", "rw", "--into", &key, &client];
    quorate("", &words, b"").expect(0);
    quorate("", &["keygen", &second, "--id", "7"], b"").expect(0);
    let read = |path| fs::read_to_string(path).expect("a key file is text");
    let (both, new) = (read(&key), read(&second));
    let (old, of_client) = both.split_once('\n').expect("it has two lines");
    let steps = [
        format!("{old}\n{of_client}{new}"),
        format!("{new}{old}\n{of_client}"),
        format!("{new}{of_client}"),
    ];
    for id in IDS {
        cluster.give_keys(id, &both);
    }

    let servers = cluster.servers();
    let (is_over, loads) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _over = EndOf(&is_over);
        scope.spawn(|| load_until(&is_over, &loads, &servers, &client));
        for (step, text) in steps.iter().enumerate() {
            for id in IDS {
                let said = cluster.give_keys(id, text);
                assert!(said.contains("the key file was read again"), "{said}");
                let before = loads.load(Ordering::Relaxed);
                eventually("the load goes on", || {
                    (loads.load(Ordering::Relaxed) > before).then_some(())
                });
            }
            match step {
                0 => expect_refusal(&cluster, &key),
                1 => wait_until_all_use(&cluster, 7),
                _ => {}
            }
            fs::write(&key, text).expect("a key file can be written");
            cluster.wait_until_well();
            if step == 1 {
                // What the command leaves is what the nodes are given next.
                cluster.run(&["revoke", "1", "--from", &key]).expect(0);
                assert_eq!(read(&key), steps[2]);
                let words = ["revoke", "1", "--timeout", "0.1"];
                let said = cluster.run(&words).expect(1).err;
                assert!(said.contains("still taken, by node"), "{said}");
                let told = cluster.run(&[&words[..], &["--json"]].concat()).expect(1).json();
                let taken = IDS.map(|id| json!({ "id": id, "taken": true }));
                assert_eq!((&told["done"], &told["nodes"]), (&false.into(), &json!(taken)));
            }
        }
    });
    let loaded = loads.into_inner();

    println!("{loaded} loads of {LINES} lines");
    let dumped = cluster.run(&["dump"]).expect(0).text();
    assert_eq!(dumped.lines().count(), loaded * LINES);
    let without_it = cluster.file("old");
    fs::copy(&second, &without_it).expect("a key file can be copied");
    fs::write(&without_it, old).expect("a key file can be written");
    cluster.run_as(&without_it, &["get", "k", "--timeout", "1"]).expect(3);
    let said = cluster.run(&["revoke", "1"]).expect(0).err;
    assert!(IDS.iter().all(|id| said.contains(&format!("node {id}"))), "{said}");
    let told = cluster.run(&["revoke", "1", "--json"]).expect(0).json();
    let taken = IDS.map(|id| json!({ "id": id, "taken": false }));
    assert_eq!(told, json!({ "key": 1, "done": true, "nodes": taken, "silent": [] }));
    let restarted = cluster.follower();
    cluster.kill(restarted);
    let said = cluster.run(&["revoke", "1", "--timeout", "1"]).expect(3).err;
    assert!(said.contains(&format!("node {restarted} does not answer")), "{said}");
    cluster.start_node(restarted);
    cluster.wait_until_well();
}

/// A key that nodes use is not taken out of a file in which another one is first already.
#[track_caller]
fn expect_refusal(cluster: &Cluster, key_file: &str) {
    let text = fs::read_to_string(cluster.file("key-1")).expect("a key file is text");
    let (used, others) = text.split_once('\n').expect("it has several lines");
    for (text, expected) in [
        (text.clone(), "says that key 1 is used"),
        (
            format!("{others}{used}\n"),
            "may be in use between nodes: node 1 has not seen node 2 on key 7, but on key 1",
        ),
    ] {
        fs::write(key_file, &text).expect("a key file can be written");
        let said = cluster.run(&["revoke", "1", "--from", key_file]).expect(4).err;
        assert!(said.contains(expected), "{said}");
        assert_eq!(fs::read_to_string(key_file).expect("a key file is text"), text);
    }
}

/// Ends the load when it is dropped, also by a check that fails.
pub struct EndOf<'a>(pub &'a AtomicBool);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until each node says that its sessions with both others are by the key.
#[track_caller]
fn wait_until_all_use(cluster: &Cluster, key: u64) {
    eventually("all sessions are by the new key", || {
        let shown = cluster.run(&["status", "--json"]).json();
        let peers: Vec<&Value> =
            shown["nodes"].as_array()?.iter().map(|node| &node["peers"]).collect();
        let uses = |peer: &Value| peer["key"] == key;
        let all_use = |peers: &&Value| peers.as_array().is_some_and(|peers| peers.iter().all(uses));
        (peers.len() == IDS.len() && peers.iter().all(all_use)).then_some(())
    });
}

/// Loads new lines until it is over, and counts how often.
pub fn load_until(is_over: &AtomicBool, loads: &AtomicUsize, servers: &str, key_file: &str) {
    while !is_over.load(Ordering::Relaxed) {
        let load = loads.load(Ordering::Relaxed);
        let lines = (0..LINES).map(|line| format!("{load}-{line}\tv\n"));
        let words = ["load", "-", "--timeout", "20", "--key-file", key_file];
        quorate(servers, &words, lines.collect::<Vec<_>>().concat().as_bytes()).expect(0);
        loads.fetch_add(1, Ordering::Relaxed);
    }
}
