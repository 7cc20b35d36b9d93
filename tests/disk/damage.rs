//! Each sector of each file is damaged in each way. No log that lacks a synced entry
//! passes for a whole one, and nothing that can still be read is lost.

use std::collections::BTreeSet;

use quorate::disk::{self, Directory, Identity, Journal, Record, Recovered, StartError};
use quorate::sim::{Damage, SimDirectory};
use quorate::store::Snapshot;
use quorate::types::{DirectoryId, LogIndex};

use super::layout::newest_records;
use super::life::{
    Author, Expected, Step, identity, lived, long_life, segment_size, snapshot_at, start,
};

const SECTOR: usize = 512;

/// The files that hold something, and how many sectors they have.
pub fn files(directory: &SimDirectory) -> Vec<(String, usize)> {
    let names = directory.names().expect("names").into_iter();
    let kept = names.filter(|name| !name.starts_with("spare-"));
    kept.map(|name| {
        let length = directory.read(&name).expect("a file").len();
        (name, length.div_ceil(SECTOR))
    })
    .collect()
}

pub fn is_segment((name, _): &(String, usize)) -> bool {
    name.starts_with("journal-")
}

/// The directory with this damage; none when that changes nothing.
pub fn damaged(
    intact: &SimDirectory,
    name: &str,
    sector: usize,
    damage: Damage,
) -> Option<SimDirectory> {
    let mut after = intact.read(name).expect("a file").to_vec();
    if !damage.apply(&mut after, sector) {
        return None;
    }
    let mut directory = intact.clone();
    directory.create(name, 0).expect("room");
    directory.write_at(name, 0, &after).expect("a disk that works");
    directory.sync(name).expect("a disk that works");
    directory.sync_names().expect("a disk that works");
    Some(directory)
}

/// How it went.
#[derive(Debug, Default)]
struct Counts {
    tried: usize,
    whole: usize,
    in_doubt: usize,
    refused: usize,
}

#[test]
fn no_damaged_sector_passes_for_a_whole_log() {
    let (intact, expected) = lived(&long_life());
    let records = newest_records(&intact);
    let segments = files(&intact).into_iter().filter(is_segment).count();
    assert!(segments >= 3 && expected.snapshot > LogIndex(1), "{segments}, {}", expected.snapshot);
    let mut counts = Counts::default();
    for (name, sectors) in files(&intact) {
        for (sector, fault) in (0..sectors).flat_map(|at| Damage::ALL.map(|fault| (at, fault))) {
            let Some(directory) = damaged(&intact, &name, sector, fault) else { continue };
            counts.tried += 1;
            let is_lost = |at: &BTreeSet<usize>| match fault {
                Damage::Cut => at.range(sector..).next().is_some(),
                _ => at.contains(&sector),
            };
            let lost: BTreeSet<u64> = records
                .iter()
                .filter(|(_, (file, at))| *file == name && is_lost(at))
                .map(|(index, _)| *index)
                .collect();
            let what = format!("{name}, sector {sector}, {fault:?}");
            judge(&directory, &expected, &lost, &mut counts, &what);
        }
    }
    println!("{counts:?}, lost 0");
    assert!(counts.tried > 1_500 && counts.whole > 300 && counts.in_doubt > 300, "{counts:?}");
    assert!(counts.refused < 30, "{counts:?}");
}

fn judge(
    directory: &SimDirectory,
    expected: &Expected,
    lost: &BTreeSet<u64>,
    counts: &mut Counts,
    what: &str,
) {
    let found = match disk::examine(directory) {
        Err(error) => {
            assert_eq!(error, StartError::MetaLost, "{what}");
            counts.refused += 1;
            return;
        }
        Ok(found) => found,
    };
    check(&found.recovered, expected, lost, what);
    let mut directory = directory.clone();
    let (_, recovered) = found.start(&mut directory).expect("a disk that works");
    check(&recovered, expected, lost, what);
    // A start leaves clean files that say the same.
    let again = disk::examine(&directory).expect("its identity can be read");
    assert!(again.flaws.is_empty(), "{what}: {:?}", again.flaws);
    check(&again.recovered, expected, lost, what);
    assert_eq!(again.recovered.doubt, recovered.doubt, "{what}");
    let reads = |recovered: &Recovered| (recovered.entries.clone(), recovered.aside.clone());
    assert_eq!(reads(&again.recovered), reads(&recovered), "{what}");
    if recovered.doubt.is_some() {
        counts.in_doubt += 1;
    } else {
        counts.whole += 1;
    }
}

/// Fails when an entry is missing, and nothing says that it may be; or when one is missing
/// whose record is intact.
pub fn check(recovered: &Recovered, expected: &Expected, lost: &BTreeSet<u64>, what: &str) {
    let promises = (&recovered.genesis, recovered.term, recovered.voted_for);
    assert_eq!(promises, (&expected.genesis, expected.term, expected.voted_for), "{what}");
    assert!(expected.has_snapshot_of(recovered), "{what}");
    let last = (expected.last().term, expected.last().index);
    let Some(doubt) = recovered.doubt else {
        assert!(
            expected.is_in(recovered) || is_whole_but_for_commit(recovered, expected),
            "{what}"
        );
        return;
    };
    assert!(doubt.upto.is_none_or(|upto| upto >= last), "{what}: {doubt:?}, not {last:?}");
    let covered = recovered.snapshot.as_ref().map_or(LogIndex(1), Snapshot::index);
    let read = || recovered.entries.iter().chain(&recovered.aside);
    let in_journal = expected.log.iter().filter(|entry| entry.index > expected.snapshot);
    for entry in in_journal.filter(|entry| entry.index > covered && !lost.contains(&entry.index.0))
    {
        assert!(read().any(|one| one == entry), "{what}: entry {} is lost", entry.index);
    }
    // What is taken for committed is what was committed.
    let committed = recovered.entries.iter().filter(|entry| entry.index <= recovered.commit);
    for entry in committed {
        let index = usize::try_from(entry.index.0 - 1).expect("a short log");
        assert_eq!(expected.log.get(index), Some(entry), "{what}");
    }
    assert!(recovered.commit <= expected.commit, "{what}");
}

/// A commit index is worth nothing: a lost one is learned again.
fn is_whole_but_for_commit(recovered: &Recovered, expected: &Expected) -> bool {
    let lower = Expected { commit: recovered.commit, ..expected.clone() };
    recovered.commit <= expected.commit && lower.is_in(recovered)
}

/// The doubt outlives restarts, and ends when the node says so.
#[test]
fn doubt_stands_until_it_is_ended() {
    let (intact, expected) = lived(&long_life());
    let (name, _) = files(&intact).into_iter().rfind(is_segment).expect("a segment");
    let mut directory = damaged(&intact, &name, 3, Damage::Flipped).expect("it holds something");
    let (_, recovered) = start(&mut directory);
    assert!(recovered.doubt.is_some() && !recovered.aside.is_empty());
    let (mut journal, again) = start(&mut directory);
    assert_eq!((again.doubt, &again.aside), (recovered.doubt, &recovered.aside));
    assert_eq!(again.incarnation, recovered.incarnation.next());

    // The others send what is missing, and a little more of what was laid aside stays.
    let (_, LogIndex(end)) = again.log_end();
    let end = usize::try_from(end).expect("a short log");
    let missing = expected.log[end..].iter().cloned().map(Record::Append);
    let (first, rest): (Vec<_>, Vec<_>) = missing.partition(
        |record| matches!(record, Record::Append(entry) if entry.index < again.aside[0].index),
    );
    let write = |records: &[Record], journal: &mut Journal, directory: &mut SimDirectory| {
        journal.write(directory, records).expect("a disk that works");
        journal.sync(directory).expect("a disk that works");
    };
    write(&first[..1], &mut journal, &mut directory);
    let (mut journal, again) = start(&mut directory);
    assert_eq!((again.doubt, &again.aside), (recovered.doubt, &recovered.aside));
    write(&[&first[1..], &rest[..]].concat(), &mut journal, &mut directory);
    write(&[Record::Doubt(None)], &mut journal, &mut directory);
    let (_, healed) = start(&mut directory);
    assert!(healed.doubt.is_none() && healed.aside.is_empty());
    assert!(is_whole_but_for_commit(&healed, &expected), "{:?}", healed.log_end());
}

/// A leader of a higher term overwrites entries 4 to 6 with two batches, and what it wrote
/// is committed. The first of the batches is lost: the entries that it replaced look well
/// connected, and must not be taken for committed.
#[test]
fn what_a_lost_record_overwrote_is_not_taken_for_committed() {
    let mut author = Author::born(1);
    author.vote(1);
    author.entries(5, 10);
    author.batch(vec![Record::Commit(LogIndex(3))]);
    author.overwrite(3, 2);
    author.entries(1, 10);
    author.batch(vec![Record::Commit(LogIndex(6))]);
    let (intact, expected) = lived(&author);
    let lost = newest_records(&intact)[&4].clone();
    let sector = *lost.1.first().expect("it stands somewhere");
    let directory = damaged(&intact, &lost.0, sector, Damage::Zeroed).expect("it holds something");
    let recovered = disk::examine(&directory).expect("its identity can be read").recovered;

    let terms: Vec<u64> = recovered.entries.iter().map(|entry| entry.term.0).collect();
    assert_eq!(terms, [0, 1, 1, 1], "the last of these was overwritten, and nobody can know");
    assert_eq!(recovered.commit, LogIndex(3));
    assert_eq!(recovered.aside, expected.log[5..]);
    let upto = Some((expected.last().term, LogIndex(6)));
    assert_eq!(recovered.doubt, Some(disk::Doubt { upto }));
}

/// The directory has just gone on to a new segment, and nothing in that is synced, when the
/// snapshot covers all segments before. Where the log ended is still known: a snapshot that
/// is lost later is missed.
#[test]
fn a_lost_snapshot_is_missed_when_no_segment_is_left_but_a_new_one() {
    let mut author = Author::born(1);
    author.vote(1);
    author.entries(50, 1_000);
    author.entries(50, 1_000);
    let (mut directory, expected) = lived(&author);
    let (mut journal, _) = start(&mut directory);
    author.entries(20, 1_000);
    let Some(Step::Batch(records)) = author.steps.last() else { panic!("there are steps") };
    journal.write(&mut directory, records).expect("a disk that works");
    let last = expected.last().index;
    disk::write_snapshot(&mut directory, &snapshot_at(last, &expected.log)).expect("room");
    journal.cut(&mut directory, last).expect("a disk that works");
    for seed in 0..10 {
        let mut directory = directory.clone();
        directory.lose_power(&mut fastrand::Rng::with_seed(seed));
        let is_snapshot = |name: &String| name.starts_with("snapshot-");
        let name = directory.names().expect("names").into_iter().find(is_snapshot).expect("one");
        let directory = damaged(&directory, &name, 0, Damage::Flipped).expect("it is there");
        let doubt = disk::examine(&directory).expect("its identity can be read").recovered.doubt;
        let upto = doubt.expect("entries are missing").upto;
        assert!(upto.is_none_or(|upto| upto >= (expected.last().term, last)), "{upto:?}");
    }
}

#[test]
fn the_segments_of_another_directory_are_damage() {
    let (intact, _) = lived(&long_life());
    let mut other = SimDirectory::new();
    let identity = Identity { directory: DirectoryId(0xbeef), ..identity() };
    disk::create(&mut other, identity, segment_size()).expect("room for a directory");
    other.remove("journal-0000000000000001").expect("it is there");
    for (name, _) in files(&intact).into_iter().filter(is_segment) {
        other.create(&name, 0).expect("room");
        other.write_at(&name, 0, &intact.read(&name).expect("a file")).expect("a disk that works");
    }
    let found = disk::examine(&other).expect("its identity can be read");
    assert!(found.recovered.entries.is_empty() && found.recovered.aside.is_empty());
    assert_eq!(found.recovered.doubt, Some(disk::Doubt { upto: None }));
}

/// The marker behind the last batch says that nothing was written after it: it may be
/// damaged, and so may anything behind it.
#[test]
fn damage_behind_the_end_is_harmless_and_mended() {
    let (intact, expected) = lived(&long_life());
    let (name, sectors) = files(&intact).into_iter().rfind(is_segment).expect("a segment");
    let file = intact.read(&name).expect("a file");
    let is_marker = |at: &usize| file[at * SECTOR + 12] == 2;
    let marker = (0..sectors).rfind(is_marker).expect("a marker");
    for (sector, fault) in
        [(marker, Damage::Flipped), (marker, Damage::Zeroed), (marker + 1, Damage::Cut)]
    {
        let mut directory = damaged(&intact, &name, sector, fault).expect("it is there");
        let (_, recovered) = start(&mut directory);
        assert!(recovered.doubt.is_none() && expected.is_in(&recovered), "{fault:?}");
    }
    let cut = damaged(&intact, &name, marker, Damage::Cut).expect("it is there");
    let found = disk::examine(&cut).expect("its identity can be read");
    assert_eq!(found.recovered.doubt, Some(disk::Doubt { upto: None }), "more may have been there");
}

/// The last batch and its marker are hit each by a fault of its own. What is left of the batch
/// looks as if nothing had been written there; what stands behind it does not.
#[test]
fn two_faults_that_take_the_last_batch_and_its_marker_are_noticed() {
    let mut author = Author::born(1);
    author.vote(1);
    author.entries(5, 10);
    author.entries(1, 10);
    let (intact, expected) = lived(&author);
    let (name, at) = newest_records(&intact)[&expected.last().index.0].clone();
    let batch = *at.first().expect("it stands somewhere");
    assert_eq!(at.len(), 1, "else the sector behind is no marker");
    for first in [Damage::Zeroed, Damage::Flipped] {
        for second in [Damage::Flipped, Damage::Cut] {
            let once = damaged(&intact, &name, batch, first).expect("it holds something");
            let twice = damaged(&once, &name, batch + 1, second).expect("a marker");
            let found = disk::examine(&twice).expect("its identity can be read");
            let doubt = found.recovered.doubt;
            assert_eq!(doubt, Some(disk::Doubt { upto: None }), "{first:?}, {second:?}");
        }
    }
    // More than the marker is gone: then any number of batches may have been there.
    let once = damaged(&intact, &name, batch + 1, Damage::Zeroed).expect("a marker");
    let twice = damaged(&once, &name, batch + 3, Damage::Cut).expect("the file goes on");
    let found = disk::examine(&twice).expect("its identity can be read");
    assert_eq!(found.recovered.doubt, Some(disk::Doubt { upto: None }));
}

/// A sector of a synced batch is zeroed, as if it had never been written; and so is lost what
/// proves that it was.
#[test]
fn a_damaged_batch_whose_proof_is_lost_is_not_taken_for_torn() {
    let mut author = Author::born(1);
    author.vote(1);
    author.entries(5, 10);
    author.entries(8, 1_000);
    let (intact, expected) = lived(&author);
    let records = newest_records(&intact);
    let last = (expected.last().term, expected.last().index);
    let (name, middle) = records[&(last.1.0 - 4)].clone();
    let middle = *middle.last().expect("it stands somewhere");
    let marker = records[&last.1.0].1.last().expect("it stands somewhere") + 1;
    let once = damaged(&intact, &name, middle, Damage::Zeroed).expect("it holds something");
    for fault in [Damage::Flipped, Damage::Cut] {
        let twice = damaged(&once, &name, marker, fault).expect("a marker");
        let doubt = disk::examine(&twice).expect("its identity can be read").recovered.doubt;
        let upto = doubt.expect("something is lost").upto;
        assert!(upto.is_none_or(|upto| upto >= last), "{fault:?}: {upto:?}");
    }
}
