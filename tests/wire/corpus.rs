//! The corpus of the frame decoder's fuzzer: one file for each vector, good or bad.
//! `tests/fuzz` replays it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{bad_samples, blessing, encode, samples};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decode_frame")
}

fn files() -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(directory()).expect("the corpus is there");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("the corpus can be listed");
        let name = entry.file_name().into_string().expect("a name in ASCII");
        (name, std::fs::read(entry.path()).expect("its files can be read"))
    };
    entries.map(read).collect()
}

#[test]
fn every_vector_has_a_file() {
    let good = samples::frames().into_iter().map(|(name, frame)| (name, encode(&frame)));
    let bad = bad_samples::all().into_iter().map(|bad| (bad.name, bad.datagram));
    let vectors: BTreeMap<&str, Vec<u8>> = good.chain(bad).collect();
    if blessing() {
        std::fs::create_dir_all(directory()).expect("the corpus can be made");
        for (name, bytes) in &vectors {
            std::fs::write(directory().join(name), bytes).expect("a file can be written");
        }
    }
    let files = files();
    for (name, bytes) in vectors {
        assert_eq!(files.get(name), Some(&bytes), "{name}");
    }
}
