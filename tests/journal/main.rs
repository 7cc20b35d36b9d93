//! The journal: what was written is read back, a torn tail is cut, damage is refused.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use quorate::configuration::Configuration;
use quorate::entry::{Entry, EntryKind};
use quorate::journal::{
    Damage, GenesisState, Identity, Record, Recovered, Recovery, encode_batch, encode_header,
    encode_start, recover,
};
use quorate::types::{DirectoryId, GenesisId, Incarnation, LogIndex, LogTime, ServerId, Term};

/// One step of a node's life, from which valid records are made.
#[derive(Clone, Debug)]
enum Step {
    /// Appends an entry after dropping this many of the last ones.
    Append { dropped: usize, payload: Vec<u8> },
    /// Raises the term by this much and votes for this node, or for none.
    HardState { by: u64, voted_for: u16 },
    /// Commits this share, of 100, of the log.
    Commit { share: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_usize, prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(dropped, payload)| Step::Append { dropped, payload }),
        1 => (0..3_u64, 0..4_u16).prop_map(|(by, voted_for)| Step::HardState { by, voted_for }),
        1 => (0..=100_u64).prop_map(|share| Step::Commit { share }),
    ]
}

/// Batches of steps, and for each how many batches its durable beginning lags behind.
fn life() -> impl Strategy<Value = Vec<(Vec<Step>, usize)>> {
    prop::collection::vec((prop::collection::vec(step(), 0..5), 0..3_usize), 1..6)
}

/// A journal as bytes, with what a reader must find at each boundary of its batches.
struct Sample {
    file: Vec<u8>,
    /// Where each batch begins; the last element is the file's length.
    boundaries: Vec<usize>,
    /// The durable beginning that each batch names.
    synced: Vec<usize>,
    /// The state before the first batch, and after each.
    states: Vec<Recovered>,
}

/// A naive twin of the replay, which also makes the records.
struct Twin {
    state: Recovered,
    hard_term: Term,
    commit: LogIndex,
}

impl Twin {
    fn records(&mut self, steps: &[Step]) -> Vec<Record> {
        steps.iter().map(|step| self.record(step)).collect()
    }

    fn record(&mut self, step: &Step) -> Record {
        match step {
            Step::Append { dropped, payload } => {
                let keep = self.state.entries.len().saturating_sub(*dropped).max(1);
                self.state.entries.truncate(keep);
                let last = self.state.entries.last().expect("the first entry stays");
                let entry = Entry::chained(
                    last.chain,
                    last.index.next(),
                    last.term.max(self.hard_term).next(),
                    LogTime(7),
                    EntryKind::Request,
                    Bytes::from(payload.clone()),
                );
                self.state.entries.push(entry.clone());
                Record::Append(entry)
            }
            Step::HardState { by, voted_for } => {
                self.hard_term = Term(self.hard_term.0 + by);
                self.state.voted_for = Some(ServerId(*voted_for)).filter(|id| id.0 != 0);
                Record::HardState { term: self.hard_term, voted_for: self.state.voted_for }
            }
            Step::Commit { share } => {
                let commit = LogIndex(self.state.entries.len() as u64 * share / 100);
                self.commit = self.commit.max(commit);
                Record::Commit(commit)
            }
        }
    }

    fn state(&self) -> Recovered {
        let mut state = self.state.clone();
        let last = state.entries.last().expect("the first entry stays");
        state.commit = self.commit.min(last.index);
        state.term = self.hard_term;
        if last.term > self.hard_term {
            state.term = last.term;
            state.voted_for = None;
        }
        state
    }
}

fn identity() -> Identity {
    Identity { cluster: "näme".into(), id: ServerId(3), directory: DirectoryId(0xfeed) }
}

fn configuration() -> Configuration {
    let members = BTreeMap::from([(ServerId(3), DirectoryId(0xfeed))]);
    Configuration::at_genesis(GenesisId(9), members)
}

fn blank() -> Recovered {
    Recovered {
        identity: identity(),
        incarnation: Incarnation(0),
        genesis: GenesisState::Blank,
        term: Term(0),
        voted_for: None,
        commit: LogIndex(0),
        snapshot: None,
        entries: Vec::new(),
        aside: Vec::new(),
        doubt: None,
    }
}

/// The journal of a node that is started, born, and then lives as told.
fn sample(life: &[(Vec<Step>, usize)]) -> Sample {
    let file = encode_header(&identity());
    let mut sample =
        Sample { boundaries: vec![file.len()], file, synced: Vec::new(), states: vec![blank()] };
    let started = Recovered { incarnation: Incarnation(4), ..blank() };
    sample.add(0, started.clone(), |number, synced, file| {
        encode_start(number, synced, Incarnation(4), file);
    });
    let accepted =
        Recovered { genesis: GenesisState::Accepted(configuration()), ..started.clone() };
    sample.add_records(0, accepted, &[Record::GenesisAccepted(configuration())]);
    let born = Recovered {
        genesis: GenesisState::Complete(configuration()),
        commit: LogIndex(1),
        entries: vec![Entry::genesis(&configuration())],
        ..started
    };
    sample.add_records(0, born.clone(), &[Record::GenesisComplete(configuration())]);

    let mut twin = Twin { state: born, hard_term: Term(0), commit: LogIndex(1) };
    for (steps, lag) in life {
        let records = twin.records(steps);
        sample.add_records(*lag, twin.state(), &records);
    }
    sample
}

impl Sample {
    fn add_records(&mut self, lag: usize, state: Recovered, records: &[Record]) {
        self.add(lag, state, |number, synced, file| encode_batch(number, synced, records, file));
    }

    fn add(&mut self, lag: usize, state: Recovered, encode: impl Fn(u64, u64, &mut Vec<u8>)) {
        let synced = self.boundaries[(self.boundaries.len() - 1).saturating_sub(lag)];
        encode(self.states.len() as u64, synced as u64, &mut self.file);
        self.synced.push(synced);
        self.boundaries.push(self.file.len());
        self.states.push(state);
    }

    /// What a reader must find when the first `batches` are valid and `torn` bytes follow.
    fn recovery(&self, batches: usize, torn: usize) -> Recovery {
        let synced = self.synced[..batches].iter().copied().max().unwrap_or(self.boundaries[0]);
        Recovery {
            recovered: self.states[batches].clone(),
            end: self.boundaries[batches] as u64,
            synced: synced as u64,
            next_batch: batches as u64 + 1,
            torn: torn as u64,
        }
    }

    /// What a reader must find when the batch that holds `offset` is spoiled.
    fn spoiled(&self, offset: usize) -> Result<Recovery, Damage> {
        let batches = self.boundaries.partition_point(|boundary| *boundary <= offset);
        let Some(valid) = batches.checked_sub(1) else { return Err(Damage::Header) };
        let start = self.boundaries[valid];
        match self.synced[batches..].iter().find(|synced| **synced > start) {
            Some(synced) => Err(Damage::Batch { offset: start as u64, synced: *synced as u64 }),
            None => Ok(self.recovery(valid, self.file.len() - start)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_is_read_back(life in life()) {
        let sample = sample(&life);
        let expected = sample.recovery(sample.states.len() - 1, 0);
        prop_assert_eq!(recover(&Bytes::from(sample.file)), Ok(expected));
    }

    #[test]
    fn a_file_cut_anywhere_loses_only_the_batch_that_was_cut(life in life()) {
        let sample = sample(&life);
        for length in 0..sample.file.len() {
            let found = recover(&Bytes::copy_from_slice(&sample.file[..length]));
            let whole = sample.boundaries.partition_point(|boundary| *boundary <= length);
            let expected = match whole.checked_sub(1) {
                Some(batches) => {
                    Ok(sample.recovery(batches, length - sample.boundaries[batches]))
                }
                None => Err(Damage::Header),
            };
            prop_assert_eq!(found, expected, "cut at {}", length);
        }
    }

    #[test]
    fn a_flipped_bit_is_a_torn_tail_or_damage(life in life(), bit in 0..8_u32) {
        let sample = sample(&life);
        for offset in 0..sample.file.len() {
            let mut file = sample.file.clone();
            file[offset] ^= 1 << bit;
            let found = recover(&Bytes::from(file));
            prop_assert_eq!(found, sample.spoiled(offset), "flipped at {}", offset);
        }
    }

    #[test]
    fn garbage_after_the_end_is_cut(
        life in life(),
        garbage in prop::collection::vec(any::<u8>(), 1..99),
    ) {
        let sample = sample(&life);
        let expected = sample.recovery(sample.states.len() - 1, garbage.len());
        let file = [sample.file, garbage].concat();
        prop_assert_eq!(recover(&Bytes::from(file)), Ok(expected));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
        let mut file = encode_header(&identity());
        file.extend_from_slice(b"qbat");
        file.extend_from_slice(&bytes);
        prop_assert!(recover(&Bytes::from(file)).is_ok());
        prop_assert_eq!(recover(&Bytes::from(bytes)), Err(Damage::Header));
    }
}

#[test]
fn another_format_is_named() {
    let mut file = encode_header(&identity());
    file[8] = 2;
    let checked = file.len() - 4;
    let checksum = crc32fast::hash(&file[..checked]).to_le_bytes();
    file[checked..].copy_from_slice(&checksum);
    let damage = recover(&Bytes::from(file)).expect_err("the format is unknown");
    assert_eq!(damage, Damage::Version(2));
    assert!(damage.to_string().contains("format 2"), "{damage}");
}

/// Each of these journals is intact byte for byte, and cannot be true.
#[test]
fn records_that_cannot_be_true_are_refused() {
    let genesis = Entry::genesis(&configuration());
    let entry = |chain, index| {
        let (term, time) = (Term(1), LogTime(1));
        Entry::chained(chain, LogIndex(index), term, time, EntryKind::Noop, Bytes::new())
    };
    let mut other = configuration();
    other.session_limit = 1;
    let born = Record::GenesisComplete(configuration());
    let cases = [
        ("no genesis", vec![Record::Append(entry(0, 1))]),
        ("gap", vec![born.clone(), Record::Append(entry(genesis.chain, 3))]),
        ("index zero", vec![born.clone(), Record::Append(entry(0, 0))]),
        ("chain", vec![born.clone(), Record::Append(entry(genesis.chain ^ 1, 2))]),
        ("second genesis", vec![born, Record::GenesisComplete(other)]),
    ];
    for (name, records) in cases {
        let mut file = encode_header(&identity());
        let offset = file.len() as u64;
        encode_batch(1, offset, &records, &mut file);
        let found = recover(&Bytes::from(file));
        let refused =
            matches!(found, Err(Damage::Contradiction { offset: at, .. }) if at == offset);
        assert!(refused, "{name}: {found:?}");
    }
}

#[test]
fn a_complete_genesis_outlives_one_accepted_late() {
    let mut other = configuration();
    other.session_limit = 1;
    let records = [Record::GenesisComplete(configuration()), Record::GenesisAccepted(other)];
    let mut file = encode_header(&identity());
    encode_batch(1, 0, &records, &mut file);
    let recovery = recover(&Bytes::from(file)).expect("an intact journal");
    assert_eq!(recovery.recovered.genesis, GenesisState::Complete(configuration()));
}

#[test]
fn batches_out_of_order_are_refused() {
    for (number, synced) in [(2, 0), (0, 0), (1, 1 << 20)] {
        let mut file = encode_header(&identity());
        encode_batch(number, synced, &[], &mut file);
        let found = recover(&Bytes::from(file));
        assert!(matches!(found, Err(Damage::Contradiction { .. })), "{number}: {found:?}");
    }
}

/// A client may store a copy of a journal; its batches name offsets of their own file.
#[test]
fn a_batch_copied_into_a_torn_one_is_no_witness() {
    let header = encode_header(&identity());
    for synced in [header.len() as u64, 1_000] {
        let mut copy = Vec::new();
        encode_batch(9, synced, &[Record::Commit(LogIndex(1))], &mut copy);
        let file = [header.as_slice(), b"torn", &copy, &[0; 40]].concat();
        let recovery = recover(&Bytes::from(file)).expect("a torn tail");
        assert_eq!((recovery.end, recovery.next_batch), (header.len() as u64, 1));
    }
}
