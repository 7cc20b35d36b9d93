//! The power fails before and after each thing that is done to the disk. What was synced
//! is there again, and nothing is ever in doubt.

use quorate::disk::{self, Directory, Doubt, META, Record};
use quorate::sim::SimDirectory;

use super::damage::{files, is_segment};
use super::life::{Author, Expected, Step, blank, identity, long_life, segment_size, start, take};
use super::recording::Recording;

/// How many losses of power are tried at each moment.
const LOSSES: u64 = 6;

/// What a start may find when the power failed in the middle of a step.
fn possible(before: &Expected, step: &Step) -> Vec<Expected> {
    let mut possible = vec![before.clone()];
    if let Step::Batch(records) = step {
        // The promises of a batch become durable before its entries do, and the batches
        // into which a long one is cut one after the other.
        let (promises, log): (Vec<&Record>, Vec<&Record>) = records.iter().partition(|record| {
            !matches!(record, Record::Append(_) | Record::Commit(_) | Record::Restart { .. })
        });
        for record in promises.into_iter().chain(log) {
            let mut next = possible.last().expect("there is a first").clone();
            next.apply(record);
            possible.push(next);
        }
    }
    for expected in &mut possible {
        expected.commit =
            expected.commit.min(expected.log.last().map_or_else(<_>::default, |last| last.index));
    }
    possible
}

/// Starts the directory after a loss of power, and fails when it does not hold one of
/// these.
fn check(copy: &SimDirectory, seed: u64, possible: &[Expected]) -> SimDirectory {
    let mut directory = copy.clone();
    directory.lose_power(&mut fastrand::Rng::with_seed(seed));
    let lost = directory.clone();
    let found = disk::examine(&directory).expect("its identity can be read");
    assert_eq!(found.recovered.doubt, None, "{:?}", found.flaws);
    // Of two copies of a genesis that is written one may be torn.
    assert!(found.flaws.iter().all(|flaw| flaw.name == META), "{:?}", found.flaws);
    let (_, recovered) = found.start(&mut directory).expect("a disk that works");
    assert!(possible.iter().any(|expected| expected.is_in(&recovered)), "{recovered:?}");
    let again = disk::examine(&directory).expect("its identity can be read");
    assert!(again.flaws.is_empty() && again.torn_sectors == 0, "{:?}", again.flaws);
    assert_eq!(again.recovered.entries, recovered.entries);
    lost
}

#[test]
fn what_was_synced_is_there_after_a_loss_of_power() {
    let author = long_life();
    let mut recording = Recording::of(blank());
    let (mut journal, _) = start(&mut recording);
    let mut expected = Expected::default();
    let mut seed = 0;
    let mut moments = 0;
    for step in &author.steps {
        recording.copies.truncate(0);
        recording.copies.push(recording.directory.clone());
        take(step, &expected.log, &mut journal, &mut recording);
        let possible = possible(&expected, step);
        for copy in std::mem::take(&mut recording.copies) {
            for _ in 0..LOSSES {
                seed += 1;
                check(&copy, seed, &possible);
            }
            moments += 1;
        }
        expected = possible.last().expect("there is a first").clone();
        // Nothing is lost any more once the step is done.
        seed += 1;
        check(&recording.directory, seed, std::slice::from_ref(&expected));
    }
    let names = recording.directory.names().expect("it can be read");
    let of_journal = |name: &&String| name.starts_with("journal-") || name.starts_with("spare-");
    let used = names.iter().filter(of_journal).count();
    assert!((3..12).contains(&used), "segments are used again: {used}");
    assert!(moments > 250, "{moments}");
}

/// The power fails during a start, too; the next one finds the same.
#[test]
fn a_start_can_be_interrupted_anywhere() {
    let mut author = Author::born(3);
    author.vote(1);
    author.entries(100, 900);
    author.entries(10, 900);
    let mut recording = Recording::of(blank());
    let (mut journal, _) = start(&mut recording);
    let mut expected = Expected::default();
    let mut seed = 0;
    for step in &author.steps {
        recording.copies.clear();
        take(step, &expected.log, &mut journal, &mut recording);
        let possible = possible(&expected, step);
        for copy in std::mem::take(&mut recording.copies) {
            seed += 1;
            let mut starting = Recording::of(check(&copy, seed, &possible));
            start(&mut starting);
            for copy in starting.copies {
                seed += 1;
                check(&copy, seed, &possible);
            }
        }
        expected = possible.last().expect("there is a first").clone();
    }
    assert!(seed > 250, "{seed}");
}

/// A process is killed, and its disk may have failed. What the page cache returns no disk may
/// ever have got: the start makes it durable, and the power may fail meanwhile.
#[test]
fn what_a_start_has_read_is_durable_when_it_is_done() {
    let mut author = Author::born(4);
    author.vote(1);
    author.entries(100, 900);
    author.overwrite(3, 4);
    let mut recording = Recording::of(blank());
    let (mut journal, _) = start(&mut recording);
    let mut expected = Expected::default();
    let mut seed = 0;
    for step in &author.steps {
        recording.copies.clear();
        take(step, &expected.log, &mut journal, &mut recording);
        let possible = possible(&expected, step);
        for (mut killed, has_failed) in with_both(std::mem::take(&mut recording.copies)) {
            if has_failed {
                killed.forget_unsynced();
            }
            let mut starting = Recording::of(killed);
            let (_, relied_on) = start(&mut starting);
            for copy in &starting.copies {
                for _ in 0..4 {
                    seed += 1;
                    check(copy, seed, &possible);
                }
            }
            seed += 1;
            starting.directory.lose_power(&mut fastrand::Rng::with_seed(seed));
            let (_, again) = start(&mut starting.directory);
            assert_eq!(again.entries, relied_on.entries);
            assert_eq!((again.term, again.voted_for), (relied_on.term, relied_on.voted_for));
            assert_eq!(again.genesis, relied_on.genesis);
            assert_eq!(again.incarnation, relied_on.incarnation.next());
        }
        expected = possible.last().expect("there is a first").clone();
    }
    assert!(seed > 1_000, "{seed}");
}

/// A process is killed while a snapshot takes the place of another, and the start removes what
/// that has made needless. Names come and go each for itself: the name that it goes by must not
/// be the only one that the disk never got.
#[test]
fn a_start_removes_nothing_for_a_name_that_is_not_durable() {
    let mut author = Author::born(5);
    for _ in 0..2 {
        author.vote(1);
        author.entries(100, 900);
        author.commit_and_vote();
        author.compact();
    }
    let mut recording = Recording::of(blank());
    let (mut journal, _) = start(&mut recording);
    let mut expected = Expected::default();
    for step in &author.steps {
        recording.copies.clear();
        take(step, &expected.log, &mut journal, &mut recording);
        expected = possible(&expected, step).pop().expect("there is a last");
    }
    let mut seed = 0;
    for killed in recording.copies {
        let mut starting = Recording::of(killed);
        start(&mut starting);
        for copy in &starting.copies {
            for _ in 0..32 {
                seed += 1;
                check(copy, seed, std::slice::from_ref(&expected));
            }
        }
    }
    assert!(seed > 500, "{seed}");
}

/// docs/guarantees.md: "Nothing read at start is relied on before it is written and synced
/// again": that the journal goes on in another segment, too. Should that one be lost with what
/// was synced in it, the one before must tell.
#[test]
fn a_lost_segment_is_missed_whatever_the_start_before_had_read() {
    let mut author = Author::born(6);
    author.vote(1);
    author.entries(100, 900);
    let mut recording = Recording::of(blank());
    let (mut journal, _) = start(&mut recording);
    for step in &author.steps {
        take(step, &[], &mut journal, &mut recording);
    }
    let (mut seed, mut lost) = (0, 0);
    for (mut directory, has_failed) in with_both(recording.copies) {
        if has_failed {
            directory.forget_unsynced();
        }
        let (mut journal, recovered) = start(&mut directory);
        let batch = [Record::Commit(recovered.commit)];
        journal.write(&mut directory, &batch).expect("room for it");
        journal.sync(&mut directory).expect("a disk that works");
        seed += 1;
        directory.lose_power(&mut fastrand::Rng::with_seed(seed));
        let [.., _, (last, _)] =
            &files(&directory).into_iter().filter(is_segment).collect::<Vec<_>>()[..]
        else {
            continue;
        };
        directory.remove(last).expect("it is there");
        let found = disk::examine(&directory).expect("its identity can be read");
        assert_eq!(found.recovered.doubt, Some(Doubt { upto: None }), "moment {seed}");
        lost += 1;
    }
    assert!(lost > 4, "{lost}");
}

fn with_both(copies: Vec<SimDirectory>) -> impl Iterator<Item = (SimDirectory, bool)> {
    copies.into_iter().flat_map(|copy| [(copy.clone(), false), (copy, true)])
}

#[test]
fn a_birth_can_be_interrupted_anywhere() {
    let mut recording = Recording::of(SimDirectory::new());
    disk::create(&mut recording, identity(), segment_size()).expect("room for a directory");
    let moments = recording.copies.len();
    for (at, copy) in recording.copies.into_iter().enumerate() {
        for seed in 0..LOSSES {
            let mut directory = copy.clone();
            directory.lose_power(&mut fastrand::Rng::with_seed(seed));
            let is_born = disk::is_born(&directory).expect("nothing is lost");
            assert!(is_born || at + 1 < moments);
            if !is_born {
                disk::create(&mut directory, identity(), segment_size()).expect("room");
            }
            assert_eq!(start(&mut directory).1.incarnation.0, 1);
        }
    }
}
