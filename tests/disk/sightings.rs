//! What was seen of other directories is there after a start, also when the segment that it
//! was recorded in is given up; and a directory goes on as another.

use quorate::disk::{Record, SIGHTINGS_MAX, Sighting};
use quorate::sim::SimDirectory;
use quorate::types::{DirectoryId, Incarnation, LifeId, LogIndex, ServerId, Term};

use super::life::{Author, blank, start, take};

const NODE: ServerId = ServerId(7);

fn seen(term: u64) -> Sighting {
    Sighting {
        incarnation: Incarnation(3),
        life: LifeId(0xbeef),
        term: Term(term),
        voted: true,
        durable: LogIndex(9),
        lost: term.is_multiple_of(2),
    }
}

fn sighted(directory: u64, term: Option<u64>) -> Record {
    Record::Sighted(NODE, DirectoryId(directory), term.map(seen))
}

/// The steps that the author has noted since the last time are taken.
fn live(author: &mut Author, directory: &mut SimDirectory, journal: &mut quorate::disk::Journal) {
    for step in author.steps.drain(..) {
        take(&step, &author.expected.log, journal, directory);
    }
}

#[test]
fn the_last_of_each_directory_is_read_back() {
    let (mut directory, mut author) = (blank(), Author::born(1));
    let (mut journal, _) = start(&mut directory);
    author.batch(vec![sighted(1, Some(3)), sighted(2, Some(4)), sighted(3, Some(5))]);
    author.batch(vec![sighted(1, Some(7)), sighted(3, None)]);
    live(&mut author, &mut directory, &mut journal);
    for _ in 0..2 {
        let (_, recovered) = start(&mut directory);
        let expected = [((NODE, DirectoryId(1)), seen(7)), ((NODE, DirectoryId(2)), seen(4))];
        assert_eq!(recovered.sightings, expected.into());
    }
}

/// As many as there may be, over many segments, of which all but the last are given up; some
/// of them after a start.
#[test]
fn they_outlive_the_segments_that_they_were_recorded_in() {
    let (mut directory, mut author) = (blank(), Author::born(1));
    let (mut journal, _) = start(&mut directory);
    let all = 0..SIGHTINGS_MAX as u64;
    author.batch(all.clone().map(|id| sighted(id, Some(id))).collect());
    for round in 0..6 {
        author.entries(150, 1_000);
        author.commit_and_vote();
        author.compact();
        live(&mut author, &mut directory, &mut journal);
        if round == 2 {
            journal = start(&mut directory).0;
        }
    }
    let (_, recovered) = start(&mut directory);
    let expected = all.map(|id| ((NODE, DirectoryId(id)), seen(id)));
    assert_eq!(recovered.sightings, expected.collect());
}

/// It is not carried into the segments to come.
#[test]
fn what_is_forgotten_does_not_come_back() {
    let (mut directory, mut author) = (blank(), Author::born(1));
    let (mut journal, _) = start(&mut directory);
    author.batch(vec![sighted(1, Some(3)), sighted(2, Some(4))]);
    author.batch(vec![sighted(1, None)]);
    author.entries(150, 1_000);
    live(&mut author, &mut directory, &mut journal);
    let (_, recovered) = start(&mut directory);
    assert_eq!(recovered.sightings, [((NODE, DirectoryId(2)), seen(4))].into());
}

#[test]
fn a_directory_goes_on_as_another() {
    let (mut directory, mut author) = (blank(), Author::born(1));
    let (mut journal, _) = start(&mut directory);
    author.vote(1);
    author.entries(5, 100);
    author.batch(vec![Record::Reborn(DirectoryId(0xd00d))]);
    author.entries(5, 100);
    live(&mut author, &mut directory, &mut journal);
    for _ in 0..2 {
        let (_, recovered) = start(&mut directory);
        assert_eq!(recovered.identity.directory, DirectoryId(0xd00d));
        assert!(author.expected.is_in(&recovered) && recovered.doubt.is_none());
    }
}
