//! The corpora of the fuzzers, replayed: what was once found is looked for in every build.

#[path = "../../fuzz/checks/mod.rs"]
mod checks;

use std::path::Path;

use checks::{cluster_faults, decode_frame, node_turns, recover_journal};

#[test]
fn any_bytes_as_a_datagram() {
    replay("decode_frame", decode_frame::decode_frame);
}

#[test]
fn any_turns_of_one_node() {
    replay("node_turns", node_turns::node_turns);
}

#[test]
fn any_faults_of_a_cluster() {
    replay("cluster_faults", cluster_faults::cluster_faults);
}

#[test]
fn any_directory() {
    replay("recover_journal", recover_journal::recover_journal);
}

/// Checks each file of the target's corpus. The name of the last one printed is that of the
/// one that failed.
fn replay(target: &str, check: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(directory).expect("the corpus is there");
    let paths = entries.map(|entry| entry.expect("the corpus can be listed").path());
    let mut paths: Vec<_> = paths.collect();
    paths.sort();
    assert!(!paths.is_empty(), "the corpus has files");
    for path in paths {
        println!("{}", path.display());
        check(&std::fs::read(path).expect("its files can be read"));
    }
}
