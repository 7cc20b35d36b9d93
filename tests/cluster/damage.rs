//! Damaged disks of real processes: what one node cannot read the others give it again.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::cluster::{Cluster, IDS};
use crate::processes::{eventually, quorate};

const SECTOR: usize = 512;

/// How many sectors are damaged one after the other; `DAMAGED_SECTORS` gives another number.
const SAMPLES: usize = 6;

#[test]
fn a_damaged_sector_is_found_and_repaired_from_the_others() {
    let samples = std::env::var("DAMAGED_SECTORS").ok().and_then(|samples| samples.parse().ok());
    let mut random = fastrand::Rng::with_seed(3);
    let mut cluster = Cluster::start();
    let mut harmed = 0;
    for sample in 0..samples.unwrap_or(SAMPLES) {
        for key in 0..3 {
            let value = format!("{sample}-{}", "x".repeat(1_000));
            cluster.run(&["put", &format!("key-{key}"), &value]).expect(0);
        }
        let expected = cluster.run(&["dump"]).expect(0).out;
        let victim = 1 + random.usize(..3);
        cluster.kill(victim);
        let directory = cluster.data_dir(victim);
        let (file, sector) = pick(&directory, &mut random);
        damage(&file, sector, &mut random);
        let inspected = quorate("", &["inspect", &directory.display().to_string()], b"");
        assert_eq!(inspected.code, 1, "{} sector {sector}: {}", file.display(), inspected.text());
        cluster.start_node(victim);
        cluster.wait_until_well();
        cluster.wait_for_dump(victim, &expected);
        harmed += usize::from(cluster.node(victim).said().contains("is repaired"));
    }
    println!("{harmed} of them had lost entries");
    assert!(harmed > 0, "some of the sectors hold entries");
}

/// Reads all files again without a pause, in segments that few writes fill.
const SCRUBBED: [&str; 4] = ["--scrub-rate", "100M", "--segment-size", "64K"];

#[test]
fn damage_is_mended_while_the_node_runs() {
    let mut cluster = Cluster::prepare();
    let list = cluster.list();
    for id in IDS {
        cluster.start_node_flagged(id, &list, &SCRUBBED);
    }
    cluster.wait_until_well();
    for key in 0..30 {
        cluster.run(&["put", &format!("key-{key}"), &"x".repeat(10_000)]).expect(0);
    }
    let expected = cluster.run(&["dump"]).expect(0).out;
    let victim = cluster.leader();
    let segment = cluster.data_dir(victim).join("journal-0000000000000001");
    flip(&segment, 9 * SECTOR as u64 + 300);
    eventually("the damage is found and repaired", || {
        let disk = cluster.status_of(victim)["disk"].take();
        (disk["scrub_damaged"] == 1 && disk["scrub_repaired"] == 1).then_some(())
    });
    let said = cluster.node(victim).said();
    assert!(said.contains("journal-0000000000000001, byte 4608: the sector is damaged"), "{said}");
    cluster.run(&["status"]).expect(0);

    cluster.kill(victim);
    let directory = cluster.data_dir(victim).display().to_string();
    quorate("", &["inspect", &directory], b"").expect(0);
    cluster.start_node_flagged(victim, &list, &SCRUBBED);
    cluster.wait_until_well();
    cluster.wait_for_dump(victim, &expected);
    let said = cluster.node(victim).said();
    assert!(!said.contains("is repaired"), "it was never in doubt: {said}");
}

/// Flips a bit of one byte in its place.
fn flip(file: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(file).expect("the file is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("it is as long");
    file.write_all_at(&[byte[0] ^ 4], at).expect("it can be written");
}

/// A sector that holds something, of a file that the log or the promises stand in.
fn pick(directory: &Path, random: &mut fastrand::Rng) -> (PathBuf, usize) {
    let entries = fs::read_dir(directory).expect("the directory can be read");
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a name").path()).filter(|path| is_ours(path)).collect();
    files.sort();
    loop {
        let file = &files[random.usize(..files.len())];
        let bytes = fs::read(file).expect("the file can be read");
        let used: Vec<usize> = (0..bytes.len() / SECTOR)
            .filter(|at| bytes[at * SECTOR..][..SECTOR].iter().any(|byte| *byte != 0))
            .collect();
        if !used.is_empty() {
            return (file.clone(), used[random.usize(..used.len())]);
        }
    }
}

fn is_ours(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ["meta", "journal-", "snapshot-"].iter().any(|kind| name.starts_with(kind))
}

/// Flips a bit of a byte that says something.
fn damage(file: &Path, sector: usize, random: &mut fastrand::Rng) {
    let mut bytes = fs::read(file).expect("the file can be read");
    let used = (sector * SECTOR..(sector + 1) * SECTOR).filter(|at| bytes[*at] != 0);
    let used: Vec<usize> = used.collect();
    bytes[used[random.usize(..used.len())]] ^= 1 << random.u8(..8);
    fs::write(file, bytes).expect("the file can be written");
}
