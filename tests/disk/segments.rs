//! How batches fill segments, and what becomes of those that are done with.

use quorate::disk::{self, Directory, SegmentSummary};
use quorate::sim::{Damage, SimDirectory};
use quorate::types::LogIndex;

use super::damage::{damaged, files, is_segment};
use super::life::{Author, Expected, Step, blank, lived, segment_size, snapshot_at, start};

const FIRST: &str = "journal-0000000000000001";
/// Entries with so much payload take a sector each.
const OF_ONE_SECTOR: usize = 415;
/// A segment less what is carried into one, and the marker behind the last batch.
const BATCH_SECTORS_MAX: usize = 128 - 8 - 1;

/// A life with a batch of each of these lengths, in sectors.
fn life_of(batches: &[usize]) -> Author {
    let mut author = Author::born(1);
    author.vote(1);
    for sectors in batches {
        author.entries(*sectors, OF_ONE_SECTOR);
    }
    author
}

fn summary(number: u32, batches: (u64, u64), indexes: (u64, u64)) -> SegmentSummary {
    let indexes = Some(LogIndex(indexes.0)..=LogIndex(indexes.1));
    SegmentSummary { number, batches: Some(batches.0..=batches.1), indexes }
}

fn summaries(directory: &SimDirectory) -> Vec<SegmentSummary> {
    let found = disk::examine(directory).expect("its identity can be read");
    assert_eq!(found.flaws, []);
    found.segments
}

fn count(directory: &SimDirectory, prefix: &str) -> usize {
    let names = directory.names().expect("names");
    names.iter().filter(|name| name.starts_with(prefix)).count()
}

#[test]
fn a_blank_directory_has_a_segment_without_batches() {
    let mut directory = blank();
    start(&mut directory);
    let found = disk::examine(&directory).expect("its identity can be read");
    assert_eq!(found.segment_size(), segment_size());
    assert_eq!(found.segments, [SegmentSummary { number: 1, batches: None, indexes: None }]);
}

/// docs/disk-format.md: "When batch K + 1 and a marker behind it do not fit any more, the next
/// segment is made first".
#[test]
fn a_segment_is_filled_to_its_last_sector() {
    let (directory, _) = lived(&life_of(&[100, 27]));
    assert_eq!(summaries(&directory), [summary(1, (1, 2), (2, 128))]);
    let (directory, _) = lived(&life_of(&[100, 28]));
    let expected = [summary(1, (1, 1), (2, 101)), summary(2, (2, 2), (102, 129))];
    assert_eq!(summaries(&directory), expected);
}

/// docs/disk-format.md: "records that no segment can hold are several batches".
#[test]
fn what_a_segment_can_hold_is_one_batch() {
    let (directory, _) = lived(&life_of(&[BATCH_SECTORS_MAX]));
    assert_eq!(summaries(&directory)[0].batches, Some(1..=1));
    let (directory, _) = lived(&life_of(&[BATCH_SECTORS_MAX + 1]));
    assert_eq!(summaries(&directory)[0].batches, Some(1..=2));
}

/// Makes a snapshot of all, and gives up what it covers.
fn cut(directory: &mut SimDirectory, journal: &mut disk::Journal, expected: &Expected) {
    let last = expected.last().index;
    disk::write_snapshot(directory, &snapshot_at(last, &expected.log)).expect("room");
    journal.cut(directory, last).expect("a disk that works");
}

#[test]
fn two_segments_are_kept_and_used_again() {
    let mut author = life_of(&[100; 5]);
    let (mut directory, expected) = lived(&author);
    let (mut journal, _) = start(&mut directory);
    assert_eq!((count(&directory, "journal-"), count(&directory, "spare-")), (5, 0));
    cut(&mut directory, &mut journal, &expected);
    assert_eq!((count(&directory, "journal-"), count(&directory, "spare-")), (1, 2));
    for left in [1, 0, 0] {
        author.entries(100, OF_ONE_SECTOR);
        let Some(Step::Batch(records)) = author.steps.last() else { panic!("there are steps") };
        journal.write(&mut directory, records).expect("a disk that works");
        journal.sync(&mut directory).expect("a disk that works");
        assert_eq!(count(&directory, "spare-"), left);
    }
    assert_eq!(count(&directory, "journal-"), 4);
}

#[test]
fn an_older_snapshot_is_removed() {
    let mut author = life_of(&[1]);
    for _ in 0..2 {
        author.commit_and_vote();
        author.compact();
        author.entries(1, OF_ONE_SECTOR);
    }
    let (directory, _) = lived(&author);
    assert_eq!(count(&directory, "snapshot-"), 1);
    assert!(directory.read("snapshot-0000000000000003").is_ok(), "the newer one is there");
}

/// docs/disk-format.md: "One segment with a synced batch always stays". The node is started
/// where the second segment is made and nothing stands in it yet.
#[test]
fn one_segment_with_a_synced_batch_stays() {
    let mut author = life_of(&[100]);
    let (mut directory, expected) = lived(&author);
    let (mut journal, _) = start(&mut directory);
    author.entries(100, OF_ONE_SECTOR);
    let Some(Step::Batch(records)) = author.steps.last() else { panic!("there are steps") };
    journal.write(&mut directory, records).expect("a disk that works");
    let mut directory = directory.without_unsynced();
    let (mut journal, _) = start(&mut directory);
    cut(&mut directory, &mut journal, &expected);
    assert_eq!(count(&directory, "journal-"), 2, "the second proves nothing");

    journal.write(&mut directory, records).expect("a disk that works");
    journal.sync(&mut directory).expect("a disk that works");
    journal.cut(&mut directory, expected.last().index).expect("a disk that works");
    assert_eq!(count(&directory, "journal-"), 1, "now it does");
}

/// Segments that replace damaged ones have other numbers, and their batches go on from those
/// that were read.
#[test]
fn what_replaces_a_damaged_journal_goes_on_from_it() {
    let (intact, _) = lived(&life_of(&[10, 10, 10]));
    let mut directory = damaged(&intact, FIRST, 5, Damage::Flipped).expect("it holds something");
    start(&mut directory);
    let names: Vec<String> =
        files(&directory).into_iter().filter(is_segment).map(|f| f.0).collect();
    assert_eq!(names, ["journal-0000000000000002"]);
    assert_eq!(summaries(&directory), [summary(2, (4, 4), (2, 31))]);
}

/// docs/disk-format.md: "Leftovers are removed". All of these are looked at and not used.
#[test]
fn a_start_removes_leftovers() {
    let mut author = life_of(&[1]);
    author.commit_and_vote();
    author.compact();
    let (intact, expected) = lived(&author);
    let mut directory = damaged(&intact, FIRST, 0, Damage::Flipped).expect("it holds something");
    start(&mut directory);
    let names = |directory: &SimDirectory| directory.names().expect("names");
    let kept = names(&directory);
    assert_eq!(kept, ["journal-0000000000000002", "meta", "snapshot-0000000000000002"]);
    let older = snapshot_at(LogIndex(1), &expected.log);
    disk::write_snapshot(&mut directory, &older).expect("room");
    for name in [FIRST, "rewritten-0000000000000009", "spare-0000000000000001", "meta.new"] {
        directory.create(name, 100).expect("room");
    }
    start(&mut directory);
    assert_eq!(names(&directory), kept);
    assert!(directory.without_unsynced().read(FIRST).is_err(), "durably");
}
