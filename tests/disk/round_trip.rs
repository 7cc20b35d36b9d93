//! Whatever a node records is there at its next start, as a naive twin says.

use bytes::Bytes;
use proptest::prelude::*;
use quorate::disk::{Record, examine};
use quorate::entry::{Entry, EntryKind};
use quorate::types::{LogIndex, LogTime, ServerId, Term};

use super::life::{Author, Expected, Step, blank, start, take};

/// What a node does.
#[derive(Clone, Debug)]
enum Act {
    /// Appends an entry after dropping this many of the last ones.
    Append { dropped: usize, payload: Vec<u8> },
    /// Raises the term by this much and votes for this node, or for none.
    HardState { by: u64, voted_for: u16 },
    /// Commits this share, of 100, of the log.
    Commit { share: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..4_usize, prop::collection::vec(any::<u8>(), 0..1_024))
            .prop_map(|(dropped, payload)| Act::Append { dropped, payload }),
        1 => (0..3_u64, 0..4_u16).prop_map(|(by, voted_for)| Act::HardState { by, voted_for }),
        1 => (0..=100_u64).prop_map(|share| Act::Commit { share }),
    ]
}

/// Batches of what it does, and after which of them it is started again.
fn life() -> impl Strategy<Value = Vec<(Vec<Act>, bool)>> {
    prop::collection::vec((prop::collection::vec(act(), 0..30), any::<bool>()), 1..12)
}

fn record(act: &Act, expected: &Expected) -> Record {
    match act {
        Act::Append { dropped, payload } => {
            let last = expected.log.len().saturating_sub(1 + dropped);
            let committed = usize::try_from(expected.commit.0).expect("a short log") - 1;
            let before = &expected.log[last.max(committed)];
            Record::Append(Entry::chained(
                before.chain,
                before.index.next(),
                expected.term,
                LogTime(7),
                EntryKind::Request,
                Bytes::from(payload.clone()),
            ))
        }
        Act::HardState { by, voted_for } => Record::HardState {
            term: Term(expected.term.0 + by),
            voted_for: Some(ServerId(*voted_for)).filter(|id| *id != ServerId::NONE),
        },
        Act::Commit { share } => Record::Commit(LogIndex(expected.last().index.0 * share / 100)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_is_read_back(life in life()) {
        let mut directory = blank();
        let (mut journal, _) = start(&mut directory);
        let Author { mut expected, steps, .. } = Author::born(1);
        for step in &steps {
            take(step, &[], &mut journal, &mut directory);
        }
        let mut starts = 1;
        for (acts, is_started_again) in life {
            let mut records = Vec::new();
            for act in &acts {
                let record = record(act, &expected);
                expected.apply(&record);
                records.push(record);
            }
            take(&Step::Batch(records), &[], &mut journal, &mut directory);
            if is_started_again {
                starts += 1;
                let (next, recovered) = start(&mut directory);
                journal = next;
                prop_assert_eq!(recovered.incarnation.0, starts);
                prop_assert!(expected.is_in(&recovered), "{:?} {:?}", expected, recovered);
            }
        }
        let found = examine(&directory).expect("its identity can be read");
        prop_assert!(expected.is_in(&found.recovered) && found.flaws.is_empty());
    }

    #[test]
    fn arbitrary_files_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..2_000),
        offset in 0..200_000_u64,
        file in 0..3_usize,
    ) {
        use quorate::disk::{Directory, META};
        let mut directory = blank();
        let names = [META, "journal-0000000000000001", "snapshot-0000000000000005"];
        if file == 2 {
            directory.create(names[file], 0).expect("room");
        }
        directory.write_at(names[file], offset % 9_000, &bytes).expect("a disk that works");
        if let Ok(found) = examine(&directory) {
            found.start(&mut directory).expect("a disk that works");
        }
    }
}
