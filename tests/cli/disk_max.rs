//! A directory that may take so much and no more.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::alone::Alone;
use crate::processes::quorate;

const DISK_MAX: u64 = 1 << 20;
const FLAGS: [&str; 6] = ["--disk-max", "1M", "--segment-size", "64K", "--snapshot-bytes", "64K"];

/// Watches a directory without a break.
struct Watch {
    most: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Watch {
    fn over(path: &str) -> Self {
        let (most, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (seen, ended, path) = (Arc::clone(&most), Arc::clone(&ends), path.to_owned());
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                seen.fetch_max(bytes_in(path.as_ref()), Ordering::Relaxed);
            }
        });
        Self { most, ends, thread }
    }

    /// The most bytes that were there at once.
    fn end(self) -> u64 {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().expect("the watch goes on to the end");
        self.most.load(Ordering::Relaxed)
    }
}

/// A file that is renamed meanwhile is counted once or not at all: it has no length by a name
/// that is gone.
fn bytes_in(path: &Path) -> u64 {
    let files = std::fs::read_dir(path).expect("the directory is there").flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

/// How many keys one load writes.
const KEYS: u64 = 20;

fn lines(round: u64) -> String {
    (0..KEYS).fold(String::new(), |mut lines, key| {
        writeln!(lines, "key-{round}-{key}\t{}", "x".repeat(500)).expect("a string has room");
        lines
    })
}

#[test]
fn what_would_take_more_is_refused_until_there_is_room_and_the_bound_holds() {
    let alone = Alone::start_with(&FLAGS);
    let watch = Watch::over(&alone.data_dir());
    let load = |round| alone.run_on(&["load", "-", "--timeout", "5"], lines(round).as_bytes());
    let loaded = (0..40).take_while(|round| load(*round).code == 0).count() as u64;
    assert!((1..40).contains(&loaded), "{loaded} loads of 10 KB");
    let refused = alone.run(&["put", "more", "value"]).expect(4);
    assert!(refused.err.contains("--disk-max"), "{refused:?}");
    for round in 0..=loaded {
        for key in 0..KEYS {
            let key = format!("key-{round}-{key}");
            assert!([0, 1].contains(&alone.run(&["delete", &key]).code), "{key}");
        }
    }
    alone.run(&["put", "more", "value"]).expect(0);
    let most = watch.end();
    assert!((DISK_MAX / 8..=DISK_MAX).contains(&most), "{most}");
}

#[test]
fn a_bound_in_which_no_log_fits_is_a_wrong_line_and_takes_nothing() {
    let directory = tempfile::tempdir().expect("a directory of one's own");
    let data = directory.path().display().to_string();
    let line = ["run", "--id", "1", "--data-dir", &data, "--insecure-no-key"];
    let listen = ["--listen", "127.0.0.1:0", "--disk-max", "1M"];
    let ran = quorate("", &[&line[..], &listen].concat(), b"").expect(2);
    let needs = "--disk-max is 1048576 bytes, and a directory with segments of 4194304 bytes needs";
    assert!(ran.err.contains(needs) && ran.err.contains("raise --disk-max"), "{ran:?}");
    assert_eq!(bytes_in(directory.path()), 0, "nothing but a lock is made");
}
