//! What is wrong is named where it is, with what was lost by it, and nothing else is named.

use quorate::disk::{self, Directory, Doubt, Examination, Flaw, Harm, META};
use quorate::sim::{Damage, SimDirectory};
use quorate::types::LogIndex;

use super::damage::damaged;
use super::life::{Author, Expected, Step, lived, snapshot_at, start};
use super::recording::Recording;

const SECTOR: usize = 512;
const FIRST: &str = "journal-0000000000000001";
const SECOND: &str = "journal-0000000000000002";
const BLANK: &str = "the sector is blank";
const DAMAGED: &str = "the sector is damaged";
const NO_MARK: &str = "the mark is missing that the next file goes on from here";

fn flaw(name: &str, sector: usize, what: &'static str, harm: Harm) -> Flaw {
    Flaw { name: name.to_owned(), offset: (sector * SECTOR) as u64, what, harm }
}

fn examined(directory: &SimDirectory) -> Examination {
    disk::examine(directory).expect("its identity can be read")
}

fn hit(directory: &SimDirectory, name: &str, sector: usize, fault: Damage) -> SimDirectory {
    damaged(directory, name, sector, fault).expect("it changes something")
}

/// In doubt up to the log's end.
fn up_to_the_end(expected: &Expected) -> Doubt {
    Doubt { upto: Some((expected.last().term, expected.last().index)) }
}

const BOUNDLESS: Doubt = Doubt { upto: None };

/// Entries 2 to 5, each in a batch of one sector: the first four of the journal.
fn small_life() -> Author {
    let mut author = Author::born(1);
    author.vote(1);
    for _ in 0..4 {
        author.entries(1, 10);
    }
    author
}

/// Its first batch takes a sector, its second most of a segment, its third begins the next.
fn life_in_two_segments() -> Author {
    let mut author = Author::born(1);
    author.vote(1);
    author.entries(1, 10);
    author.entries(100, 900);
    author
}

/// Where the first segment says that the next one goes on.
fn mark(directory: &SimDirectory) -> usize {
    let file = directory.read(FIRST).expect("a file");
    file.chunks(SECTOR).position(|sector| sector[12] == 3).expect("it goes on")
}

/// The start mends what is wrong, and finds all that it should.
fn check_mended(mut directory: SimDirectory, expected: &Expected, what: &str) -> SimDirectory {
    let (_, recovered) = start(&mut directory);
    assert!(recovered.doubt.is_none() && expected.is_in(&recovered), "{what}");
    let after = directory.without_unsynced();
    assert_eq!(examined(&after).flaws, [], "{what}");
    assert!(expected.is_in(&examined(&after).recovered), "{what}");
    after
}

#[test]
fn a_bad_sector_is_one_flaw() {
    let (intact, expected) = lived(&small_life());
    for sector in [1, 3] {
        for (fault, what) in [(Damage::Zeroed, BLANK), (Damage::Flipped, DAMAGED)] {
            let found = examined(&hit(&intact, FIRST, sector, fault));
            assert_eq!(found.flaws, [flaw(FIRST, sector, what, Harm::Something)]);
            assert_eq!(found.recovered.doubt, Some(up_to_the_end(&expected)), "sector {sector}");
        }
    }
}

/// The marker behind the batch before is what stood there.
#[test]
fn a_write_that_was_lost_is_one_flaw() {
    let (mut directory, expected) = lived(&small_life());
    let mut former = small_life();
    former.steps.truncate(former.steps.len() - 3);
    let (former, _) = lived(&former);
    let marker = former.read(FIRST).expect("a file").slice(SECTOR..2 * SECTOR);
    directory.write_at(FIRST, SECTOR as u64, &marker).expect("a disk that works");
    let found = examined(&directory);
    let what = "the sector is not what should stand there";
    assert_eq!(found.flaws, [flaw(FIRST, 1, what, Harm::Something)]);
    assert_eq!(found.recovered.doubt, Some(up_to_the_end(&expected)));
}

/// docs/disk-format.md: "where the file ends too early, or is missing, any number of batches
/// may have been".
#[test]
fn a_file_that_ends_early_has_lost_the_end() {
    let (intact, _) = lived(&small_life());
    let found = examined(&hit(&intact, FIRST, 2, Damage::Cut));
    let what = "the file ends before the sector";
    assert_eq!(found.flaws, [flaw(FIRST, 2, what, Harm::TheEnd)]);
    assert_eq!(found.recovered.doubt, Some(BOUNDLESS));
}

#[test]
fn a_copy_of_meta_that_is_not_intact_is_named() {
    let (intact, expected) = lived(&small_life());
    for sector in [0, 8] {
        let directory = hit(&intact, META, sector, Damage::Flipped);
        let what = "one of its two copies is not intact";
        assert_eq!(examined(&directory).flaws, [flaw(META, sector, what, Harm::Nothing)]);
        check_mended(directory, &expected, "a copy of meta");
    }
}

#[test]
fn behind_a_sealed_segments_batches_nothing_is_lost() {
    let (intact, expected) = lived(&life_in_two_segments());
    let mark = mark(&intact);
    let harmless = |sector, what| flaw(FIRST, sector, what, Harm::Nothing);
    let cases = [
        (mark, Damage::Zeroed, vec![harmless(mark, NO_MARK)]),
        (mark, Damage::Flipped, vec![harmless(mark, DAMAGED), harmless(mark, NO_MARK)]),
        (mark + 1, Damage::Flipped, vec![harmless(mark + 1, DAMAGED)]),
        (mark + 1, Damage::Cut, vec![harmless(mark + 1, "the file ends before the sector")]),
    ];
    for (sector, fault, flaws) in cases {
        let directory = hit(&intact, FIRST, sector, fault);
        let what = format!("sector {sector}, {fault:?}");
        assert_eq!(examined(&directory).flaws, flaws, "{what}");
        let after = check_mended(directory, &expected, &what);
        assert_eq!(after.read(FIRST), intact.read(FIRST), "{what}");
    }
}

/// With the last batch of the first segment goes the mark behind it. Nothing there tells of
/// the batch any more, but the next one does.
#[test]
fn a_batch_that_left_no_trace_is_missed_by_the_next() {
    let (mut directory, expected) = lived(&life_in_two_segments());
    let gone = vec![0; mark(&directory) * SECTOR];
    directory.write_at(FIRST, SECTOR as u64, &gone).expect("a disk that works");
    let found = examined(&directory);
    let missing = flaw(SECOND, 0, "a batch is missing before it", Harm::Something);
    assert_eq!(found.flaws, [missing, flaw(FIRST, 1, NO_MARK, Harm::Nothing)]);
    assert_eq!(found.recovered.doubt, Some(up_to_the_end(&expected)));
}

/// The next segment is made and the first says that it goes on there, where nothing is yet.
fn just_continued() -> SimDirectory {
    let (mut directory, _) = lived(&Author::born(1));
    let (mut journal, _) = start(&mut directory);
    let author = life_in_two_segments();
    for step in &author.steps {
        let Step::Batch(records) = step else { panic!("it compacts nothing") };
        journal.write(&mut directory, records).expect("a disk that works");
        let before_the_end = directory.without_unsynced();
        journal.sync(&mut directory).expect("a disk that works");
        if before_the_end.read(SECOND).is_ok() {
            return before_the_end;
        }
    }
    panic!("it goes on to a second segment")
}

/// docs/disk-format.md: "where one sector alone is bad, none was" and "If the one behind it is
/// damaged, the two may have been a batch and its marker".
#[test]
fn where_the_next_segment_goes_on_its_loss_is_that_of_the_end() {
    let intact = just_continued();
    assert_eq!((examined(&intact).flaws, examined(&intact).recovered.doubt), (vec![], None));
    let mut without = intact.clone();
    without.remove(SECOND).expect("it is there");
    let found = examined(&without);
    assert_eq!(found.flaws, [flaw(SECOND, 0, "the file is missing", Harm::TheEnd)]);
    assert_eq!(found.recovered.doubt, Some(BOUNDLESS));

    for (sector, harm) in [(0, Harm::Nothing), (1, Harm::TheEnd), (2, Harm::Nothing)] {
        let found = examined(&hit(&intact, SECOND, sector, Damage::Flipped));
        assert_eq!(found.flaws, [flaw(SECOND, sector, DAMAGED, harm)]);
        assert_eq!(found.recovered.doubt.is_some(), harm == Harm::TheEnd, "sector {sector}");
    }
}

/// The power failed before the first segment said that it goes on.
#[test]
fn a_segment_that_nothing_goes_on_in_is_a_leftover() {
    let (mut directory, expected) = lived(&small_life());
    directory.create(SECOND, 128 * SECTOR as u64).expect("room");
    directory.write_at(SECOND, 0, &[7; 2 * SECTOR]).expect("a disk that works");
    let harmless = |sector| flaw(SECOND, sector, DAMAGED, Harm::Nothing);
    assert_eq!(examined(&directory).flaws, [harmless(0), harmless(1)]);
    let after = check_mended(directory.clone(), &expected, "a leftover");
    assert!(after.read(SECOND).is_err(), "it is removed");

    // Without the last marker nobody knows.
    let found = examined(&hit(&directory, FIRST, 4, Damage::Zeroed));
    assert_eq!(found.flaws[0], flaw(SECOND, 0, DAMAGED, Harm::TheEnd));
    assert_eq!(found.recovered.doubt, Some(BOUNDLESS));
}

/// Of a batch of several sectors only the second was written.
#[test]
fn a_torn_batch_is_counted_and_cut() {
    let (mut directory, expected) = lived(&small_life());
    let mut longer = small_life();
    longer.entries(3, 1_000);
    let (after, _) = lived(&longer);
    let at = 5 * SECTOR;
    let second = after.read(FIRST).expect("a file").slice(at..at + SECTOR);
    let sectors = usize::from(second[28]);
    assert!(sectors > 2, "{sectors}");
    directory.write_at(FIRST, at as u64, &second).expect("a disk that works");
    let found = examined(&directory);
    assert_eq!((found.torn_sectors, &found.flaws[..]), (sectors, &[][..]));
    let after = check_mended(directory, &expected, "a torn batch");
    assert_eq!(examined(&after).torn_sectors, 0);
}

/// docs/disk-format.md: "A marker reaches the disk with the next batch, and at the next start".
#[test]
fn a_start_proves_the_last_batch() {
    let (intact, expected) = lived(&small_life());
    let mut directory = hit(&intact, FIRST, 4, Damage::Zeroed);
    start(&mut directory);
    let found = examined(&hit(&directory.without_unsynced(), FIRST, 3, Damage::Flipped));
    assert_eq!(found.recovered.doubt, Some(up_to_the_end(&expected)));
}

/// While what is behind it is mended, the marker stays where it is.
#[test]
fn a_start_never_takes_the_proof_of_the_last_batch_away() {
    let (intact, _) = lived(&small_life());
    let marker = |directory: &SimDirectory| {
        let file = directory.without_unsynced().read(FIRST).expect("a file");
        file.slice(4 * SECTOR..5 * SECTOR)
    };
    let directory = hit(&intact, FIRST, 6, Damage::Flipped);
    let proof = marker(&directory);
    let mut starting = Recording::of(directory);
    start(&mut starting);
    assert!(starting.copies.iter().all(|copy| marker(copy) == proof));
}

#[test]
fn a_snapshot_under_the_name_of_another_is_not_used() {
    let mut author = small_life();
    author.commit_and_vote();
    author.compact();
    let (mut directory, expected) = lived(&author);
    let wrong = "snapshot-0000000000000006";
    directory.rename("snapshot-0000000000000005", wrong).expect("it is there");
    let found = examined(&directory);
    assert_eq!(found.flaws, [flaw(wrong, 0, "the snapshot is not intact", Harm::Something)]);
    assert!(found.recovered.snapshot.is_none() && found.recovered.doubt.is_none());
    assert_eq!(found.recovered.entries, expected.log);
}

/// docs/disk-format.md: nothing is in doubt when a snapshot "shows that all entries above it
/// are of a history that was given up".
#[test]
fn a_snapshot_of_another_history_gives_up_the_log() {
    let (mut directory, _) = lived(&small_life());
    let mut other = small_life();
    other.overwrite(2, 3);
    let snapshot = snapshot_at(LogIndex(4), &other.expected.log);
    disk::write_snapshot(&mut directory, &snapshot).expect("room");
    let recovered = examined(&directory).recovered;
    assert_eq!((recovered.doubt, recovered.log_end().1), (None, LogIndex(4)));
    assert!(recovered.entries.is_empty() && recovered.aside.is_empty());
}

/// The snapshot that took their place is lost, and one before it is there again.
#[test]
fn entries_between_a_snapshot_and_the_journal_are_missed() {
    let mut author = small_life();
    let older = snapshot_at(LogIndex(3), &author.expected.log);
    for _ in 0..3 {
        author.entries(50, 1_000);
    }
    author.commit_and_vote();
    author.compact();
    let (mut directory, expected) = lived(&author);
    assert!(directory.read(FIRST).is_err(), "the first segment is given up");
    let newer = format!("snapshot-{:016x}", expected.snapshot.0);
    directory.remove(&newer).expect("it is there");
    disk::write_snapshot(&mut directory, &older).expect("room");
    assert_eq!(examined(&directory).recovered.doubt, Some(up_to_the_end(&expected)));
}
