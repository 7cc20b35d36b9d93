//! Identity and promises: two copies, of which one is enough.

use quorate::configuration::Configuration;
use quorate::disk::{self, Directory, Doubt, GenesisState, META, Record, SECTOR_BYTES, StartError};
use quorate::sim::SimDirectory;
use quorate::types::{GenesisId, LogIndex, ServerId, Term};

use super::life::{Author, blank, configuration, identity, lived, long_life, start};
use super::recording::Recording;

const COPIES: [u64; 2] = [0, 4_096];

fn vote(term: u64, id: u16) -> Record {
    Record::HardState { term: Term(term), voted_for: Some(ServerId(id)) }
}

fn write(journal: &mut disk::Journal, directory: &mut SimDirectory, records: &[Record]) {
    journal.write(directory, records).expect("a disk that works");
    journal.sync(directory).expect("a disk that works");
}

fn flip(directory: &mut SimDirectory, at: u64) {
    let offset = usize::try_from(at).expect("a short file");
    let byte = directory.read(META).expect("it is there")[offset] ^ 1;
    directory.write_at(META, at, &[byte]).expect("a disk that works");
}

#[test]
fn any_flipped_byte_leaves_the_other_copy() {
    let (intact, expected) = lived(&long_life());
    for at in 0..4 * SECTOR_BYTES as u64 {
        for copy in COPIES {
            let mut directory = intact.clone();
            flip(&mut directory, copy + at);
            let found = disk::examine(&directory).expect("the other copy is intact");
            let recovered = found.recovered;
            let promises = (recovered.term, recovered.voted_for, recovered.genesis);
            assert_eq!(promises, (expected.term, expected.voted_for, expected.genesis.clone()));
        }
    }
}

#[test]
fn two_damaged_copies_are_refused() {
    let (mut directory, _) = lived(&long_life());
    // One in its first sector, one in its genesis.
    flip(&mut directory, COPIES[0] + 100);
    flip(&mut directory, COPIES[1] + SECTOR_BYTES as u64 + 3);
    assert_eq!(disk::examine(&directory).unwrap_err(), StartError::MetaLost);
}

#[test]
fn a_missing_meta_is_no_blank_directory() {
    let (mut directory, _) = lived(&long_life());
    directory.remove(META).expect("it is there");
    assert_eq!(disk::is_born(&directory), Err(StartError::MetaLost));
    assert_eq!(disk::is_born(&SimDirectory::new()), Ok(false));
}

#[test]
fn another_version_is_named() {
    let mut directory = blank();
    for copy in COPIES {
        let at = usize::try_from(copy).expect("a short file");
        let mut sector = directory.read(META).expect("it is there")[at..at + 512].to_vec();
        sector[8] = 4;
        let checksum = crc32fast::hash(&sector[..508]).to_le_bytes();
        sector[508..].copy_from_slice(&checksum);
        directory.write_at(META, copy, &sector).expect("a disk that works");
    }
    let error = disk::examine(&directory).unwrap_err();
    assert_eq!(error, StartError::Version(4));
    assert!(error.to_string().contains("format 4"), "{error}");
}

#[test]
fn the_newer_promise_counts() {
    let mut directory = blank();
    let (mut journal, recovered) = start(&mut directory);
    assert_eq!((recovered.identity, recovered.term), (identity(), Term(0)));
    write(&mut journal, &mut directory, &[vote(4, 1)]);
    let former = directory.read(META).expect("it is there");
    write(&mut journal, &mut directory, &[vote(4, 1), vote(5, 2)]);
    for copy in COPIES {
        let at = usize::try_from(copy).expect("a short file");
        let mut one_is_former = directory.clone();
        one_is_former.write_at(META, copy, &former[at..at + 512]).expect("a disk that works");
        let recovered = disk::examine(&one_is_former).expect("both are intact").recovered;
        assert_eq!((recovered.term, recovered.voted_for), (Term(5), Some(ServerId(2))));
    }
}

#[test]
fn a_vote_writes_nothing_to_the_journal() {
    let mut directory = blank();
    let (mut journal, _) = start(&mut directory);
    let name = "journal-0000000000000001";
    let before = directory.read(name);
    write(&mut journal, &mut directory, &[vote(4, 1)]);
    assert_eq!(directory.read(name), before);
}

/// docs/disk-format.md: "8,192 bytes, with a copy at 0 and one at 4,096".
#[test]
fn the_file_keeps_its_length() {
    let (directory, _) = lived(&long_life());
    let length = directory.read(META).expect("it is there").len();
    assert_eq!(length as u64, disk::META_BYTES);
}

/// A copy of some proposal may come late.
#[test]
fn a_complete_genesis_stays() {
    let mut directory = blank();
    let (mut journal, _) = start(&mut directory);
    write(&mut journal, &mut directory, &[Record::GenesisComplete(configuration())]);
    let other = Configuration { genesis: GenesisId(77), ..configuration() };
    let late = [Record::GenesisAccepted(other.clone()), Record::GenesisComplete(other)];
    write(&mut journal, &mut directory, &late);
    let recovered = disk::examine(&directory).expect("both copies are intact").recovered;
    assert_eq!(recovered.genesis, GenesisState::Complete(configuration()));
}

#[test]
fn the_newest_configuration_is_that_of_the_log_or_else_of_the_snapshot() {
    let mut author = Author::born(1);
    author.entries(2, 10);
    let newest = |author: &Author| {
        let (directory, _) = lived(author);
        let found = disk::examine(&directory).expect("both copies are intact");
        found.recovered.configuration().expect("it belongs to a cluster")
    };
    assert_eq!(newest(&author), (LogIndex(1), configuration()));
    author.commit_and_vote();
    author.compact();
    assert_eq!(newest(&author), (LogIndex(1), configuration()), "the snapshot says it");
    let changed = Configuration { session_limit: 9, ..configuration() };
    author.configuration(&changed);
    author.entries(1, 10);
    assert_eq!(newest(&author), (LogIndex(4), changed));
}

#[test]
fn doubts_join_to_the_wider_one() {
    let upto = |term, index| Some(Doubt { upto: Some((Term(term), LogIndex(index))) });
    let boundless = Some(Doubt { upto: None });
    assert_eq!(Doubt::join(upto(2, 5), upto(1, 9)), upto(2, 5));
    assert_eq!(Doubt::join(None, upto(1, 9)), upto(1, 9));
    assert_eq!(Doubt::join(upto(1, 9), boundless), boundless);
    assert_eq!(Doubt::join(None, None), None);
}

/// A genesis takes several sectors, of which any may be missing after a loss of power.
#[test]
fn one_copy_is_whole_whenever_the_power_fails_while_a_genesis_is_written() {
    let mut recording = Recording::of(blank());
    let (mut journal, _) = start(&mut recording);
    recording.copies.clear();
    let accepted = Record::GenesisAccepted(configuration());
    journal.write(&mut recording, &[accepted]).expect("a disk that works");
    let copies = recording.copies;
    assert!(copies.len() >= 4);
    for copy in copies {
        lose_power_often(&copy);
        // The process is killed there, and the power fails during the next start.
        let mut starting = Recording::of(copy);
        start(&mut starting);
        starting.copies.iter().for_each(lose_power_often);
    }
}

fn lose_power_often(copy: &SimDirectory) {
    for seed in 0..200 {
        let mut directory = copy.clone();
        directory.lose_power(&mut fastrand::Rng::with_seed(seed));
        disk::examine(&directory).expect("one copy is whole");
    }
}
