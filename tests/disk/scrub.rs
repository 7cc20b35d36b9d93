//! Files of a node that runs are damaged: reading them again finds it, and the node writes
//! from memory what was lost, so that it can be started again as if nothing had been.

use std::time::Duration;

use quorate::disk::{self, Directory, Recovered, SegmentSize};
use quorate::replica::last_state;
use quorate::sim::{Damage, SimDirectory};
use quorate::types::ServerId;

use super::cluster::{Cluster, blank_with, ids};
use super::damage::{damaged, files, is_segment};
use super::life::{lived, long_life, snapshot_at, start};
use super::recording::Recording;

const NODE: ServerId = ServerId(1);
const SNAPSHOT_BYTES: u64 = 100_000;
const PATIENCE: Duration = Duration::from_secs(8);
/// More steps than three passes and their repairs take.
const STEPS_MAX: usize = 60;

/// Three nodes that have just been born, with segments of so many bytes.
fn born(segment_bytes: u32) -> Cluster {
    let mut cluster = Cluster::new(SNAPSHOT_BYTES);
    for id in ids() {
        cluster.start(id, blank_with(id, segment_bytes)).expect("a blank directory starts");
    }
    assert!(cluster.run_until(PATIENCE, Cluster::is_settled), "a cluster is born");
    cluster
}

/// What the node has on its disk with a snapshot and some segments behind it.
fn stage() -> SimDirectory {
    let mut cluster = born(SegmentSize::BYTES_MIN);
    for number in 0..210 {
        cluster.put(&format!("key-{}", number % 17), vec![b'v'; 700 + number]);
    }
    assert!(cluster.run_until(PATIENCE, Cluster::is_settled));
    let directory = cluster.stop(NODE);
    let segments = files(&directory).into_iter().filter(is_segment).count();
    assert!(segments >= 3, "two of them are sealed: {segments}");
    directory
}

/// The node that goes on from there. Nobody else runs: what it mends, it mends from memory.
fn alone(directory: &SimDirectory) -> Cluster {
    let mut cluster = Cluster::new(SNAPSHOT_BYTES);
    cluster.start(NODE, directory.clone()).expect("an intact directory starts");
    cluster.run_until(Duration::from_millis(1), |_| false);
    cluster
}

/// Lets the node read all its files again until it has no damage left, and once more.
fn scrub(cluster: &mut Cluster, what: &str) -> usize {
    let (mut damaged, mut repaired, mut clean_passes) = (0, 0, 0);
    for _ in 0..STEPS_MAX {
        let (found, gone, passed) = cluster.scrub(NODE);
        damaged += found;
        repaired += gone;
        clean_passes = if damaged > repaired { 0 } else { clean_passes + usize::from(passed) };
        if clean_passes == 2 {
            return damaged;
        }
    }
    panic!("{what}: {damaged} damaged, {repaired} repaired");
}

/// What a start would find: nothing that was not synced is there any more.
fn examined(directory: &SimDirectory) -> disk::Examination {
    disk::examine(&directory.without_unsynced()).expect("its identity can be read")
}

fn end_and_sum(recovered: &Recovered) -> (disk::LogEnd, Option<u64>) {
    let state = last_state(recovered);
    (recovered.log_end(), state.map(|state| state.state().checksum()))
}

#[test]
fn every_damaged_sector_is_found_and_mended_while_the_node_runs() {
    let intact = stage();
    let expected = end_and_sum(&examined(&intact).recovered);
    let (mut tried, mut found) = (0, 0);
    let kept: Vec<(String, usize)> = files(&intact);
    let current = kept.iter().rfind(|file| is_segment(file)).expect("a segment").0.clone();
    for (name, sectors) in kept.iter().filter(|(name, _)| *name != current) {
        for (sector, fault) in (0..*sectors).flat_map(|at| Damage::ALL.map(|fault| (at, fault))) {
            let mut cluster = alone(&intact);
            let Some(hit) = damaged(cluster.directory(NODE), name, sector, fault) else { continue };
            let is_harmed = disk::examine(&hit).map_or(true, |found| !found.flaws.is_empty());
            *cluster.directory(NODE) = hit;
            let what = format!("{name}, sector {sector}, {fault:?}");
            let places = scrub(&mut cluster, &what);
            assert_eq!(places > 0, is_harmed, "{what}: a start would find the same");
            let directory = cluster.stop(NODE);
            let spare = directory.read(&name.replace("journal-", "spare-"));
            assert!(!is_harmed || !name.starts_with("journal-") || spare.is_err(), "{what}: kept");
            let after = examined(&directory);
            assert!(after.flaws.is_empty(), "{what}: {:?}", after.flaws);
            assert_eq!(after.recovered.doubt, None, "{what}");
            assert_eq!(end_and_sum(&after.recovered), expected, "{what}");
            tried += 1;
            found += usize::from(is_harmed);
        }
    }
    println!("{tried} faults, {found} of them found and mended, the others hit nothing");
    assert!(tried > 1_000 && found > 700, "{found} of {tried}");
}

/// Segments are sealed, given up and used again, and snapshots replaced, while they are read:
/// each takes some steps.
#[test]
fn what_changes_meanwhile_is_not_taken_for_damage() {
    let mut cluster = born(3 * SegmentSize::BYTES_MIN);
    let mut passes = 0;
    for number in 0..900 {
        cluster.put(&format!("key-{}", number % 97), vec![b'v'; 900]);
        for id in ids().filter(|_| number % 3 > 0) {
            let (found, _, passed) = cluster.scrub(id);
            assert_eq!(found, 0, "node {id} after {number} writes");
            passes += usize::from(passed);
        }
    }
    let first = files(cluster.directory(NODE)).into_iter().find(is_segment);
    let (first, _) = first.expect("a segment");
    assert!(passes > 30 && first.as_str() > "journal-0000000000000004", "{passes}, {first}");
}

/// Damage in a segment that the node's snapshot takes the place of: whenever the power fails,
/// the next start is in doubt, or finds everything.
#[test]
fn mending_can_be_interrupted_anywhere() {
    let (intact, expected) = lived(&long_life());
    // The first is all but covered by the snapshot that is there.
    let (name, sectors) = files(&intact).into_iter().filter(is_segment).nth(1).expect("a segment");
    let (mut moments, mut doubts) = (0, 0);
    for sector in (0..sectors).step_by(7) {
        let fault = Damage::ALL[sector % Damage::ALL.len()];
        let mut running = intact.clone();
        let (mut journal, _) = start(&mut running);
        let Some(hit) = damaged(&running, &name, sector, fault) else { continue };
        let mut mending = Recording::of(hit);
        let snapshot = snapshot_at(expected.commit, &expected.log);
        disk::write_snapshot(&mut mending, &snapshot).expect("room for a snapshot");
        journal.distrust(&[journal.sealed().start + 1]);
        journal.cut(&mut mending, expected.commit).expect("a disk that works");
        for copy in mending.copies {
            moments += 1;
            let mut copy = copy;
            copy.lose_power(&mut fastrand::Rng::with_seed(moments));
            let (_, recovered) = start(&mut copy);
            let is_whole = recovered.log_end() == (expected.last().term, expected.last().index);
            assert!(is_whole || recovered.doubt.is_some(), "sector {sector}, moment {moments}");
            doubts += u64::from(recovered.doubt.is_some());
        }
    }
    assert!(doubts > 0 && doubts < moments, "{doubts} of {moments}");
}

/// One copy in the file `meta` is damaged; whenever the power fails, one can be read.
#[test]
fn mending_a_copy_of_meta_can_be_interrupted_anywhere() {
    let (intact, expected) = lived(&long_life());
    for (sector, fault) in (0..16).flat_map(|at| Damage::ALL.map(|fault| (at, fault))) {
        let mut running = intact.clone();
        let (mut journal, _) = start(&mut running);
        let Some(hit) = damaged(&running, disk::META, sector, fault) else { continue };
        let is_left = disk::examine(&hit).is_ok();
        let mut mending = Recording::of(hit);
        journal.mend_meta(&mut mending).expect("a disk that works");
        let last = mending.copies.len() - 1;
        for (at, copy) in mending.copies.into_iter().enumerate() {
            let mut copy = copy;
            copy.lose_power(&mut fastrand::Rng::with_seed(at as u64));
            let found = disk::examine(&copy);
            assert!(found.is_ok() || !is_left && at < last, "sector {sector}, {fault:?}, {at}");
            let Ok(found) = found else { continue };
            assert_eq!(found.recovered.term, expected.term);
            assert!(at < last || found.flaws.is_empty(), "sector {sector}, {fault:?}");
        }
    }
}

/// A write that the disk has lost leaves one copy as it was before, and intact. Should the other
/// go bad then, a start would take the former term and vote from it.
#[test]
fn a_copy_of_meta_that_is_former_is_found_and_mended_while_the_node_runs() {
    let intact = stage();
    let former = intact.read(disk::META).expect("it is there");
    for copy in [0, 4_096] {
        let mut cluster = alone(&intact);
        let directory = cluster.directory(NODE);
        let sector = former.slice(copy..copy + disk::SECTOR_BYTES);
        directory.write_at(disk::META, copy as u64, &sector).expect("a disk that works");
        directory.sync(disk::META).expect("a disk that works");
        assert_eq!(scrub(&mut cluster, "a former copy"), 1, "the copy at {copy}");
        let mended = cluster.stop(NODE).without_unsynced();
        let file = mended.read(disk::META).expect("it is there");
        assert_eq!(file[..2_048], file[4_096..6_144], "the copy at {copy}");
        assert_ne!(file[..512], former[..512], "the copy at {copy}");
    }
}
