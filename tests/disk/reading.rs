//! Files are read again slice by slice: how far a pass has come, and where damage is.

use quorate::disk::{
    self, Directory, Examination, Findings, Flaw, Harm, Journal, SLICE_BYTES, Scrub, SegmentSize,
};
use quorate::sim::SimDirectory;
use quorate::store::Snapshot;

use super::life::{Author, Step, identity, snapshot_at, take};

/// Twice what is read in one step.
const SEGMENT_BYTES: u64 = 128 << 10;

/// A node with a snapshot of some blocks and two sealed segments.
struct Node {
    directory: SimDirectory,
    journal: Journal,
    scrub: Scrub,
    snapshot: Snapshot,
    name: String,
}

fn started(directory: &mut SimDirectory) -> (Journal, Scrub) {
    let found: Examination = disk::examine(directory).expect("its identity can be read");
    let scrub = found.scrub();
    (found.start(directory).expect("a disk that works").0, scrub)
}

fn node() -> Node {
    let mut author = Author::born(1);
    author.vote(1);
    author.entries(140, 1_000);
    author.commit_and_vote();
    author.compact();
    for _ in 0..2 {
        author.entries(100, 1_000);
    }
    let mut directory = SimDirectory::new();
    let size = SegmentSize::new(SEGMENT_BYTES).expect("within the limits");
    disk::create(&mut directory, identity(), size).expect("room for a directory");
    let (mut journal, _) = started(&mut directory);
    for step in &author.steps {
        take(step, &author.expected.log, &mut journal, &mut directory);
    }
    let compacted = |step: &Step| matches!(step, Step::Compact(_));
    assert!(author.steps.iter().any(compacted));
    let (journal, scrub) = started(&mut directory);
    assert_eq!(journal.sealed().len(), 2);
    let index = author.expected.snapshot;
    let (snapshot, name) =
        (snapshot_at(index, &author.expected.log), format!("snapshot-{:016x}", index.0));
    Node { directory, journal, scrub, snapshot, name }
}

impl Node {
    fn step(&mut self) -> Findings {
        self.scrub.step(&self.directory, &self.journal.sealed())
    }

    /// Steps until something is found or the pass has ended; what was found, and after how
    /// many steps.
    fn find(&mut self) -> (Vec<Flaw>, usize) {
        for steps in 1..100 {
            let findings = self.step();
            if !findings.damaged.is_empty() || findings.pass_ended {
                return (findings.damaged, steps);
            }
        }
        panic!("a pass takes fewer steps");
    }

    fn snapshot_bytes(&self) -> usize {
        self.directory.read(&self.name).expect("it is there").len()
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let written = self.directory.write_at(&self.name, offset as u64, bytes);
        written.expect("a disk that works");
    }

    /// Where the block of this number begins.
    fn block(&self, number: usize) -> usize {
        disk::encode_snapshot(&self.snapshot).take(1 + number).map(|piece| piece.len()).sum()
    }
}

#[test]
fn a_pass_reads_each_slice_once() {
    let mut node = node();
    let snapshot = node.snapshot_bytes() / SLICE_BYTES + 1;
    assert_eq!(snapshot, 3);
    for _ in 0..2 {
        // The file `meta`, two slices of each segment, and the end.
        assert_eq!(node.find(), (vec![], 1 + snapshot + 2 * 2 + 1));
        assert!(!node.scrub.take_damage().is_there());
    }
}

/// What a start takes for damage is damage, and is found as soon as it is read.
#[test]
fn a_snapshot_is_damaged_from_its_first_bad_block_on() {
    let length = node().snapshot_bytes();
    let (second, third) = (node().block(1), node().block(2));
    // No block takes more than 4 MiB, so more is never waited for.
    let most = (4_u32 << 20) - 16;
    // A byte of the header; of the content of a block; the length of a block, too great and just
    // possible; what is no block, and the beginning of one.
    let cases: [(usize, &[u8], usize, usize); 6] = [
        (10, &[99], 0, 1),
        (third + 500, &[99, 98], third, 3),
        (second + 8, &(most + 1).to_le_bytes(), second, 1),
        (second + 8, &most.to_le_bytes(), second, 3),
        (length, &[7; 5], length, 3),
        (length, &[0, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0], length, 3),
    ];
    for (at, bytes, offset, slices) in cases {
        let mut node = node();
        node.write(at, bytes);
        let what = "the snapshot is not intact from there on";
        let (name, offset) = (node.name.clone(), offset as u64);
        let flaw = Flaw { name, offset, what, harm: Harm::Something };
        // It counts when the next step begins.
        assert_eq!(node.find(), (vec![flaw], 1 + slices + 1), "{at}");
        assert!(node.scrub.take_damage().snapshot);
        let found = disk::examine(&node.directory).expect("its identity can be read");
        assert!(found.recovered.snapshot.is_none(), "{at}");
    }
}

/// A part of it was damaged when it was read.
#[test]
fn a_snapshot_that_is_written_anew_meanwhile_is_read_from_its_beginning() {
    // In the second block, of which the first slice has but a part; and in the first.
    for at in [SLICE_BYTES - 500, 500] {
        let mut node = node();
        assert!(node.block(1) < SLICE_BYTES - 500 && node.block(2) > SLICE_BYTES);
        node.write(at, &[99, 98]);
        for _ in 0..2 {
            assert!(node.step().damaged.is_empty());
        }
        disk::write_snapshot(&mut node.directory, &node.snapshot).expect("room");
        node.scrub.snapshot_written(node.snapshot.index());
        let slices = node.snapshot_bytes() / SLICE_BYTES + 1;
        let (damaged, steps) = node.find();
        assert!(damaged.is_empty(), "{damaged:?}");
        assert!(steps > slices, "{steps}");
    }
}
