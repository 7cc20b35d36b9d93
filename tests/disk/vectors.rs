//! The bytes in `docs/disk-format.md` are those that the program writes and reads.

use bytes::Bytes;
use quorate::disk::{self, Directory, Identity, META, Record, SegmentSize};
use quorate::entry::{Entry, EntryKind};
use quorate::sim::SimDirectory;
use quorate::types::{DirectoryId, LogIndex, LogTime, ServerId, Term};

use super::life::{configuration, start};

/// The bytes of the document's block of this name: pairs of hexadecimal digits, where
/// `00x20` stands for twenty zero bytes.
fn vector(name: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/disk-format.md");
    let text = std::fs::read_to_string(path).expect("the document is there");
    let opening = format!("```vector {name}\n");
    let (_, block) = text.split_once(&opening).expect("the document has the vector");
    let (block, _) = block.split_once("\n```").expect("the block ends");
    block.split_whitespace().flat_map(group).collect()
}

fn group(group: &str) -> Vec<u8> {
    let byte = |pair| u8::from_str_radix(pair, 16).expect("two hexadecimal digits");
    if let Some((pair, times)) = group.split_once('x') {
        return vec![byte(pair); times.parse().expect("a number of times")];
    }
    (0..group.len()).step_by(2).map(|at| byte(&group[at..at + 2])).collect()
}

/// The directory that the document takes apart.
fn sample() -> SimDirectory {
    let identity =
        Identity { cluster: "quorate".into(), id: ServerId(3), directory: DirectoryId(0xfeed) };
    let mut directory = SimDirectory::new();
    disk::create(&mut directory, identity, SegmentSize::default()).expect("room");
    let (mut journal, _) = start(&mut directory);
    let genesis = Entry::genesis(&configuration());
    let (term, payload) = (Term(1), Bytes::from_static(b"entry"));
    let entry =
        Entry::chained(genesis.chain, LogIndex(2), term, LogTime(7), EntryKind::Part, payload);
    let records = [
        Record::GenesisComplete(configuration()),
        Record::HardState { term, voted_for: Some(ServerId(3)) },
        Record::Append(entry),
        Record::Commit(LogIndex(1)),
    ];
    journal.write(&mut directory, &records).expect("a disk that works");
    journal.sync(&mut directory).expect("a disk that works");
    directory
}

fn compare(name: &str, found: &[u8]) {
    let shown: Vec<String> = found.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(vector(name), found, "`{name}` is {}", shown.concat());
}

#[test]
fn a_copy_of_meta() {
    let file = sample().read(META).expect("it is there");
    compare("meta", &file[..2_048]);
    assert_eq!(file[..2_048], file[4_096..6_144]);
}

#[test]
fn a_sector_and_the_marker_behind_it() {
    let file = sample().read("journal-0000000000000001").expect("it is there");
    compare("batch", &file[..512]);
    compare("marker", &file[512..1_024]);
}

/// What a document says can be read, too.
#[test]
fn they_can_be_read() {
    let mut directory = sample();
    let before = disk::examine(&directory).expect("its identity can be read");
    let meta = vector("meta");
    let journal = [vector("batch"), vector("marker")].concat();
    for (name, bytes) in [(META, &meta), ("journal-0000000000000001", &journal)] {
        directory.write_at(name, 0, &vec![0; bytes.len()]).expect("a disk that works");
        directory.write_at(name, 0, bytes).expect("a disk that works");
    }
    let after = disk::examine(&directory).expect("its identity can be read");
    assert_eq!(after.recovered.entries, before.recovered.entries);
    assert_eq!(after.recovered.term, Term(1));
    assert!(after.flaws.is_empty());
}
