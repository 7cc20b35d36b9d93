//! Each page of each file cannot be read any more, until it is written: a start goes on
//! without it, and so does a node that runs. Or it can be read again when a start has done
//! without it.

use std::ops::Range;

use bytes::Bytes;
use quorate::disk::{self, Directory, DiskError, META, Recovered};
use quorate::sim::SimDirectory;
use quorate::store::Snapshot;
use quorate::types::LogIndex;

use super::damage::{check, files};
use super::layout::newest_records;
use super::life::{Author, Expected, lived, long_life, start};
use super::set_aside::keeps_all_of;

const FIRST: &str = "journal-0000000000000001";
const PAGE: usize = 4_096;
const SECTOR: usize = 512;

/// Files of which one page cannot be read. As in a page cache over such a disk, to write a
/// part of the page is to read the rest of it, and to write all of it mends it.
struct Unreadable {
    directory: SimDirectory,
    page: Option<(String, usize)>,
}

impl Unreadable {
    fn of(directory: &SimDirectory, name: &str, number: usize) -> Self {
        Self { directory: directory.clone(), page: Some((name.to_owned(), number)) }
    }

    /// Where the page begins that cannot be read, if it is one of this file.
    fn bad(&self, name: &str) -> Option<usize> {
        self.page.as_ref().filter(|(bad, _)| bad == name).map(|(_, number)| number * PAGE)
    }

    /// The bytes that cannot be read, if some of these are among them.
    fn bad_among(&self, name: &str, asked: &Range<u64>) -> Option<Range<u64>> {
        let start = self.bad(name)? as u64;
        let bad = start..start + PAGE as u64;
        (asked.start < bad.end && bad.start < asked.end).then_some(bad)
    }

    fn failed(&self) -> DiskError {
        DiskError::Failed(format!("{:?} cannot be read", self.page))
    }
}

impl Directory for Unreadable {
    fn names(&self) -> Result<Vec<String>, DiskError> {
        self.directory.names()
    }

    fn read(&self, name: &str) -> Result<Bytes, DiskError> {
        let mut bytes = self.directory.read(name)?.to_vec();
        if let Some(start) = self.bad(name) {
            let end = bytes.len().min(start + PAGE);
            bytes[start..end].fill(0xff);
        }
        Ok(bytes.into())
    }

    fn reread(&self, name: &str, offset: u64, most: usize) -> Result<Bytes, DiskError> {
        match self.bad_among(name, &(offset..offset + most as u64)) {
            Some(_) => Err(self.failed()),
            None => self.directory.reread(name, offset, most),
        }
    }

    fn create(&mut self, name: &str, length: u64) -> Result<(), DiskError> {
        self.page.take_if(|(bad, _)| bad == name);
        self.directory.create(name, length)
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let written = offset..offset + bytes.len() as u64;
        if let Some(bad) = self.bad_among(name, &written) {
            if bad.start < written.start || written.end < bad.end {
                return Err(self.failed());
            }
            self.page = None;
        }
        self.directory.write_at(name, offset, bytes)
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        self.directory.sync(name)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.page.take_if(|(bad, _)| bad == to);
        if let Some((bad, _)) = self.page.as_mut().filter(|(bad, _)| bad == from) {
            to.clone_into(bad);
        }
        self.directory.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.page.take_if(|(bad, _)| bad == name);
        self.directory.remove(name)
    }

    fn sync_names(&mut self) -> Result<(), DiskError> {
        self.directory.sync_names()
    }
}

/// Starts on the directory without this page, and sees that the start has left a clean one, and
/// that nothing is missing once the page can be read again.
fn start_without(
    intact: &SimDirectory,
    expected: &Expected,
    (name, page): (&str, usize),
) -> Recovered {
    let what = format!("{name}, page {page}");
    let mut directory = Unreadable::of(intact, name, page);
    let found = disk::examine(&directory).unwrap_or_else(|error| panic!("{what}: {error}"));
    let started = found.start(&mut directory);
    let (_, recovered) = started.unwrap_or_else(|error| panic!("{what}: {error}"));
    let is_lost = |at: &usize| at * SECTOR / PAGE == page;
    let records = newest_records(intact).into_iter();
    let lost = records.filter(|(_, (file, at))| file == name && at.iter().any(is_lost));
    check(&recovered, expected, &lost.map(|(index, _)| index).collect(), &what);
    let left = directory.page.as_ref().map(|(name, _)| name);
    assert!(left.is_none_or(|name| disk::is_set_aside(name)), "{what}: {left:?}");
    let again = disk::examine(&directory).expect("its identity can be read");
    assert!(again.flaws.is_empty(), "{what}: {:?}", again.flaws);
    if recovered.doubt.is_some() {
        directory.page = None;
        assert!(keeps_all_of(intact, &directory), "{what}");
        check_whole(directory, expected, &what);
    }
    recovered
}

/// docs/guarantees.md: "what a start has done without is kept while there is any doubt".
fn check_whole(mut directory: Unreadable, expected: &Expected, what: &str) {
    let (_, recovered) = start(&mut directory);
    let begin = recovered.snapshot.as_ref().map_or(LogIndex(0), Snapshot::index);
    assert!(begin == expected.snapshot || expected.snapshot <= LogIndex(1), "{what}");
    let behind = usize::try_from(begin.0).expect("a short log");
    let log = [recovered.entries, recovered.aside].concat();
    assert!(log == expected.log[behind..], "{what}: {} entries behind {begin}", log.len());
}

/// docs/guarantees.md: "What a start cannot read is damage like any other".
#[test]
fn a_start_goes_on_without_any_page() {
    let (intact, expected) = lived(&long_life());
    let mut in_doubt = 0;
    for (name, sectors) in files(&intact) {
        for page in 0..(sectors * SECTOR).div_ceil(PAGE) {
            let recovered = start_without(&intact, &expected, (&name, page));
            in_doubt += usize::from(recovered.doubt.is_some());
        }
    }
    assert!(in_doubt > 20, "{in_doubt}");
}

/// A life whose first segment has its mark, that the next one follows, where a page begins;
/// and which page that is.
fn with_a_mark_alone_on_its_page() -> (SimDirectory, Expected, usize) {
    let of_length = |bytes| {
        let mut author = Author::born(1);
        (0..12).for_each(|_| author.entries(10, bytes));
        let (directory, expected) = lived(&author);
        let first = directory.read(FIRST).expect("a segment");
        let mark = first.chunks(SECTOR).rposition(|sector| sector[12] == 3)?;
        (mark * SECTOR).is_multiple_of(PAGE).then_some((directory, expected, mark * SECTOR / PAGE))
    };
    (300..1_000).find_map(of_length).expect("one in eight marks begins a page")
}

#[test]
fn a_mark_whose_page_cannot_be_read_is_written_anew_with_all_of_the_page() {
    let (intact, expected, page) = with_a_mark_alone_on_its_page();
    let recovered = start_without(&intact, &expected, (FIRST, page));
    assert_eq!(recovered.doubt, None, "nothing is lost");
}

/// docs/guarantees.md: "what is damaged is written anew from memory".
#[test]
fn a_running_node_mends_a_copy_of_meta_that_cannot_be_read() {
    let (mut intact, _) = lived(&long_life());
    let (mut journal, _) = start(&mut intact);
    for page in [0, 1] {
        let mut directory = Unreadable::of(&intact, META, page);
        let flaws = journal.mend_meta(&mut directory).expect("all of the page is written");
        assert!(!flaws.is_empty() && directory.page.is_none(), "page {page}: {flaws:?}");
        assert_eq!(journal.mend_meta(&mut directory), Ok(Vec::new()), "page {page}");
    }
}
