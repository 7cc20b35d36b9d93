//! The corpora of the fuzzers, replayed: what was once found is looked for in every build.

#[path = "../../fuzz/checks/mod.rs"]
mod checks;

use std::path::Path;

use checks::{
    client_requests, cluster_faults, decode_frame, handshake, node_turns, recover_journal,
    sealed_frames,
};

#[test]
fn any_bytes_as_a_datagram() {
    replay("decode_frame", decode_frame::decode_frame);
}

#[test]
fn any_bytes_in_a_seal() {
    replay("sealed_frames", sealed_frames::sealed_frames);
}

#[test]
fn any_order_of_handshakes() {
    replay("handshake", handshake::handshake);
}

#[test]
fn any_requests_of_clients() {
    replay("client_requests", client_requests::client_requests);
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

/// Longer than what a corpus keeps, so that what comes late is tried as well.
#[test]
fn random_bytes() {
    let checks: [fn(&[u8]); 3] =
        [sealed_frames::sealed_frames, handshake::handshake, client_requests::client_requests];
    let mut random = fastrand::Rng::with_seed(6);
    for _ in 0..30 {
        let input: Vec<u8> = (0..random.usize(..3_000)).map(|_| random.u8(..)).collect();
        for check in checks {
            check(&input);
        }
    }
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
