//! Who asks a node of another cluster, and holds its key, is told so, and what to do.

use std::time::{Duration, Instant};

use crate::alone::Alone;
use crate::processes::{eventually, quorate};

/// A node tells an address once a second: who asks just afterwards is told when it asks again.
const SOON: Duration = Duration::from_secs(3);

/// A node of cluster `prod-b`, and the file with its key.
fn of_another_cluster() -> (Alone, String) {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let key = directory.path().join("key").display().to_string();
    quorate("", &["keygen", &key], b"").expect(0);
    let flags = ["--cluster", "prod-b", "--key-file", &key];
    (Alone::start_with_in(&flags, directory), key)
}

#[test]
fn a_client_is_told_at_once_which_cluster_it_has_asked() {
    let (alone, key) = of_another_cluster();
    let told =
        format!("{} is node 1 of cluster prod-b, and cluster quorate is asked", alone.address);
    let backup = alone.directory.path().join("backup").display().to_string();
    let asked: [&[&str]; 8] = [
        &["get", "k"],
        &["put", "k", "v"],
        &["dump", "--stale"],
        &["load", "-"],
        &["backup", &backup],
        &["member", "list"],
        &["revoke", "1"],
        &["timeouts"],
    ];
    for words in asked {
        let words = [words, &["--key-file", &key, "--timeout", "20"]].concat();
        let said = eventually("it is told", || {
            let begun = Instant::now();
            let ran = alone.run_on(&words, b"k\tv\n");
            assert!(begun.elapsed() < SOON, "{words:?}: {ran:?}");
            // What asks all nodes does not wait for a second.
            (ran.code != 3).then(|| ran.expect(2).err)
        });
        assert!(said.contains(&told), "{words:?}: {said}");
        assert!(said.contains("correct --cluster or --server"), "{words:?}: {said}");
    }
    let words = ["get", "k", "--key-file", &key, "--cluster", "prod-b"];
    alone.run(&words).expect(1);
}

#[test]
fn status_shows_who_is_of_another_cluster() {
    let (alone, key) = of_another_cluster();
    let shown = alone.run(&["status", "--key-file", &key]).expect(3);
    assert!(shown.text().contains(&format!("{}  of prod-b", alone.address)), "{shown:?}");
    assert!(shown.err.contains("0 of 1 nodes answered; 127.0.0.1:"), "{shown:?}");
    let error = eventually("it is told", || {
        let shown = alone.run(&["status", "--key-file", &key, "--json"]).expect(3).json();
        let error = shown["nodes"][0]["error"].as_str()?.to_owned();
        (error != "no answer in time").then_some(error)
    });
    assert_eq!(error, "it is a node of cluster prod-b");
}
