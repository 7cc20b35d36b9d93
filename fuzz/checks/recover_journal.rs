//! A directory is read back whose bytes are anything: files of any bytes, a journal of any
//! records, or a life of which sectors are damaged.
//!
//! Recovery never panics. What it makes of a directory it finds there again, without flaws.
//! And it never takes a log for whole that lacks a synced entry.

use std::sync::OnceLock;

use bytes::Bytes;
use quorate::disk::{self, Directory, Doubt, Record, Recovered};
use quorate::entry::{Entry, EntryKind};
use quorate::sim::SimDirectory;
use quorate::types::{LogIndex, LogTime, ServerId, Term};

use super::author::{self, Author, Expected, configuration};
use super::choices::Choices;

const SECTOR: usize = 512;
const NAMES: [&str; 10] = [
    "meta",
    "meta.new",
    "journal.new",
    "journal-0000000000000001",
    "journal-0000000000000002",
    "journal-0000000000000004",
    "rewritten-0000000000000002",
    "spare-0000000000000001",
    "snapshot-0000000000000001",
    "snapshot-0000000000000009",
];

/// Reads back the directory that the input describes.
pub fn recover_journal(input: &[u8]) {
    let mut choices = Choices::new(input);
    match choices.below(3) {
        0 => any_files(&mut choices),
        1 => any_records(&mut choices),
        _ => any_damage(&mut choices),
    }
}

/// Files of any bytes beside, or instead of, those of a blank directory.
fn any_files(choices: &mut Choices) {
    let mut directory = if choices.flag() { author::blank() } else { SimDirectory::new() };
    for _ in 0..choices.below(5) {
        let name = NAMES[choices.below(NAMES.len())];
        let offset = u64::from(choices.byte()) * 64;
        let length = usize::from(choices.pair());
        let bytes = choices.bytes(length);
        if directory.read(name).is_err() {
            directory.create(name, 0).expect("room");
        }
        directory.write_at(name, offset, &bytes).expect("a disk that works");
    }
    read_back(directory);
}

/// Records that no node would write, in batches that may be torn.
fn any_records(choices: &mut Choices) {
    let mut directory = author::blank();
    let (mut journal, _) = author::start(&mut directory);
    let mut last = Entry::genesis(&configuration());
    while !choices.is_empty() {
        let records: Vec<Record> =
            (0..choices.below(6)).map(|_| any_record(choices, &mut last)).collect();
        journal.write(&mut directory, &records).expect("a disk that works");
        if choices.below(16) == 0 {
            break;
        }
        journal.sync(&mut directory).expect("a disk that works");
        if choices.below(16) == 0 {
            (journal, _) = author::start(&mut directory);
        }
    }
    directory.lose_power(&mut fastrand::Rng::with_seed(choices.byte().into()));
    read_back(directory);
}

/// Mostly the next entry.
fn any_record(choices: &mut Choices, last: &mut Entry) -> Record {
    match choices.below(12) {
        0 => Record::GenesisAccepted(configuration()),
        1 => Record::GenesisComplete(configuration()),
        2 => Record::HardState {
            term: Term(choices.near(last.term.0)),
            voted_for: choices.flag().then_some(ServerId(choices.byte().into())),
        },
        3 => Record::Doubt(choices.flag().then(|| Doubt {
            upto: choices.flag().then(|| (last.term, LogIndex(choices.near(last.index.0)))),
        })),
        4 => Record::Commit(LogIndex(choices.near(last.index.0))),
        5 => Record::Restart {
            index: LogIndex(choices.near(last.index.0)),
            term: Term(choices.near(last.term.0)),
            chain: last.chain,
        },
        6 => {
            last.index = LogIndex(choices.near(last.index.0).clamp(1, u64::MAX - 1));
            last.term = Term(choices.near(last.term.0));
            Record::Append(last.clone())
        }
        _ => {
            let payload = Bytes::from(vec![choices.byte(); choices.below(256) * 4]);
            let (index, time) = (LogIndex(last.index.0.saturating_add(1)), LogTime(1));
            let kind = EntryKind::Part;
            *last = Entry::chained(last.chain, index, last.term, time, kind, payload);
            Record::Append(last.clone())
        }
    }
}

/// A life, of which some sectors are damaged.
fn any_damage(choices: &mut Choices) {
    static LIVED: OnceLock<(SimDirectory, Expected)> = OnceLock::new();
    let (intact, expected) = LIVED.get_or_init(|| author::lived(&life()));
    let mut directory = intact.clone();
    let mut names = directory.names().expect("names");
    names.sort();
    let mut damaged = 0;
    while !choices.is_empty() && damaged < 8 {
        let name = &names[choices.below(names.len())];
        damage(&mut directory, name, choices);
        damaged += 1;
    }
    let is_single = damaged <= 1;
    let Some(recovered) = read_back(directory) else { return };
    if is_single {
        check_doubt(&recovered, expected);
    }
    check_served(&recovered, expected);
}

/// A life in three segments, some of which it uses again, and with a snapshot.
fn life() -> Author {
    let mut author = Author::born(1);
    for (entries, bytes) in [(20, 900), (60, 900), (40, 950)] {
        author.vote(1);
        author.entries(entries, bytes);
        author.overwrite(3, 5);
        author.commit_and_vote();
        if entries == 60 {
            author.compact();
        }
    }
    author.entries(30, 1_024);
    author.entries(2, 0);
    author.entries(4, 300);
    author
}

fn damage(directory: &mut SimDirectory, name: &str, choices: &mut Choices) {
    let mut bytes = directory.read(name).expect("a file").to_vec();
    if bytes.is_empty() {
        return;
    }
    let sector = usize::from(choices.pair()) % bytes.len().div_ceil(SECTOR);
    let (from, to) = (sector * SECTOR, bytes.len().min((sector + 1) * SECTOR));
    match choices.below(5) {
        0 => bytes[from..to].fill(0),
        1 => {
            let at = (from + usize::from(choices.pair()) % SECTOR).min(to - 1);
            bytes[at] ^= 1 << choices.below(8);
        }
        2 => {
            let other = usize::from(choices.pair()) % (bytes.len() / SECTOR).max(1) * SECTOR;
            let misplaced = bytes[other..(other + to - from).min(bytes.len())].to_vec();
            bytes[from..from + misplaced.len()].copy_from_slice(&misplaced);
        }
        3 => bytes.truncate(from),
        _ => {
            let noise = choices.bytes(to - from);
            bytes[from..from + noise.len()].copy_from_slice(&noise);
        }
    }
    directory.create(name, 0).expect("room");
    directory.write_at(name, 0, &bytes).expect("a disk that works");
    directory.sync(name).expect("a disk that works");
    directory.sync_names().expect("a disk that works");
}

/// Starts the directory, if its identity can be read. A start leaves clean files that say
/// the same. Where there is any doubt it sets the damaged ones aside, and what they prove to be
/// missing above a gap may come to what is known.
fn read_back(mut directory: SimDirectory) -> Option<Recovered> {
    let found = disk::examine(&directory).ok()?;
    let before = found.recovered.clone();
    let (_, recovered) = found.start(&mut directory).expect("a disk that works");
    let again = disk::examine(&directory).expect("its identity can be read");
    assert!(again.flaws.is_empty(), "a start leaves flaws: {:?}", again.flaws);
    let said = |recovered: &Recovered| (recovered.doubt, recovered.entries.clone(), recovered.term);
    assert_eq!(said(&before), said(&recovered));
    assert_eq!(said(&again.recovered), said(&recovered));
    assert_eq!(before.aside, recovered.aside);
    let more = &again.recovered.aside;
    assert!(recovered.aside.iter().all(|entry| more.contains(entry)), "what was aside is lost");
    assert!(recovered.doubt.is_some() || *more == recovered.aside, "nothing is missing");
    assert!(again.recovered.incarnation == before.incarnation.next());
    Some(recovered)
}

/// docs/guarantees.md: "Damage is not taken for a torn write". Who has no doubt has all; the
/// commit index alone may be older, since it is learned again.
fn check_doubt(recovered: &Recovered, expected: &Expected) {
    let promises = (&recovered.genesis, recovered.term, recovered.voted_for);
    assert_eq!(promises, (&expected.genesis, expected.term, expected.voted_for));
    match recovered.doubt {
        None => {
            let lower = Expected { commit: recovered.commit, ..expected.clone() };
            assert!(recovered.commit <= expected.commit && lower.is_in(recovered));
        }
        Some(doubt) => {
            let last = (expected.last().term, expected.last().index);
            assert!(doubt.upto.is_none_or(|upto| upto >= last), "{doubt:?} is below {last:?}");
        }
    }
}

/// What is taken for committed is what was committed, however much is damaged.
fn check_served(recovered: &Recovered, expected: &Expected) {
    assert!(recovered.commit <= expected.commit);
    assert!(expected.has_snapshot_of(recovered));
    for entry in recovered.entries.iter().filter(|entry| entry.index <= recovered.commit) {
        let position = usize::try_from(entry.index.0 - 1).expect("a short log");
        assert_eq!(expected.log.get(position), Some(entry));
    }
}
