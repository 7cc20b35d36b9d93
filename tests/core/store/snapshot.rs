//! Snapshots: whole again from their blocks, and only from all of them in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use quorate::configuration::Configuration;
use quorate::entry::{Entry, EntryKind};
use quorate::operation::{Command, Expected, LoggedRequest, Operation, Outcome, Settled};
use quorate::store::{Lookup, Snapshot, SnapshotBuilder, State, Store};
use quorate::types::{
    Digest, DirectoryId, GenesisId, LogIndex, LogTime, Sequence, ServerId, SessionId, Term,
};

use super::configuration;

const NODE: ServerId = ServerId(1);
const NEW: DirectoryId = DirectoryId(0xbeef);

/// What comes of the state when it is cut into blocks and put together again.
pub fn restored(state: &State) -> State {
    let snapshot = Snapshot::new(state.clone(), Term(3), 77);
    let restored = restore(snapshot.blocks()).expect("its own blocks are whole");
    assert_eq!((restored.index(), restored.term(), restored.chain()), (state.index(), Term(3), 77));
    restored.state().clone()
}

fn restore(blocks: impl IntoIterator<Item = Bytes>) -> Option<Snapshot> {
    let mut builder = SnapshotBuilder::new();
    for block in blocks {
        builder.add(block).ok()?;
    }
    builder.finish().ok()
}

/// A store in which these values were put under keys of their own, each by another session.
fn filled(lengths: impl IntoIterator<Item = usize>) -> Store {
    fill(Store::at_genesis(configuration(100, 8)), lengths)
}

fn fill(mut store: Store, lengths: impl IntoIterator<Item = usize>) -> Store {
    for (place, length) in lengths.into_iter().enumerate() {
        let index = store.tentative().index().next();
        let key = Bytes::from(format!("key-{place:05}"));
        let operation = Operation::Put { key, value: vec![b'v'; length].into() };
        let session = SessionId { minted_at: index.previous(), random: 7 };
        let request = request_of(session, Command::Execute(operation));
        let entry = Entry::chained(0, index, Term(1), LogTime(0), EntryKind::Request, Bytes::new());
        let _: Option<Settled> = store.execute(&entry, Some(&request));
        store.commit_to(index);
    }
    store
}

/// The session's first request, after which it still wants all answers.
fn request_of(session: SessionId, command: Command) -> LoggedRequest {
    LoggedRequest {
        session,
        sequence: Sequence(1),
        floor: Sequence(0),
        not_after: LogTime(0),
        one_shot: false,
        digest: Digest(0),
        command,
    }
}

#[test]
fn the_bytes_of_equal_states_are_equal_and_cut_alike() {
    let lengths = || (0..4_000).map(|place| if place == 100 { 1 << 20 } else { 100 });
    let blocks = |store: &Store| -> Vec<Bytes> {
        Snapshot::new(store.committed().clone(), Term(1), 0).blocks().collect()
    };
    let (one, other) = (filled(lengths()), filled(lengths()));
    let found = blocks(&one);
    assert_eq!(found, blocks(&other));
    assert_eq!(found, blocks(&Store::at(restored(one.committed()))));
    let (last, others) = found.split_last().expect("there are blocks");
    assert!(others.iter().all(|block| block.len() >= 60 << 10), "only the last is short");
    let largest = others.iter().map(Bytes::len).max().expect("there are some");
    assert!((1 << 20..(1 << 20) + (62 << 10)).contains(&largest), "no item is cut: {largest}");
    assert!(!last.is_empty());
    assert_eq!(
        restore(found).map(|snapshot| snapshot.state().checksum()),
        Some(one.committed().checksum())
    );
}

#[test]
fn blocks_that_are_missing_doubled_or_swapped_make_no_snapshot() {
    let store = filled(std::iter::repeat_n(500, 800));
    let blocks: Vec<Bytes> =
        Snapshot::new(store.committed().clone(), Term(1), 0).blocks().collect();
    assert!(blocks.len() > 4);
    for place in 0..blocks.len() {
        let without = blocks.iter().enumerate().filter(|(at, _)| *at != place);
        assert!(restore(without.map(|(_, block)| block.clone())).is_none(), "without {place}");
        let mut doubled = blocks.clone();
        doubled.insert(place, blocks[place].clone());
        assert!(restore(doubled).is_none(), "{place} doubled");
        let mut swapped = blocks.clone();
        swapped.swap(place, (place + 1) % blocks.len());
        assert!(restore(swapped).is_none(), "{place} swapped");
        let cut = blocks[place].slice(..blocks[place].len() - 1);
        let mut shortened = blocks.clone();
        shortened[place] = cut;
        assert!(restore(shortened).is_none(), "{place} shortened");
    }
}

#[test]
fn a_snapshot_is_due_when_the_log_is_as_long_as_asked_and_as_the_state() {
    let limits = Configuration { snapshot_bytes: 4 * (1_000 + 32), ..configuration(100, 8) };
    let log = |kinds: &[EntryKind]| {
        let mut store = Store::at_genesis(limits.clone());
        for (index, kind) in (2..).map(LogIndex).zip(kinds) {
            let _: Option<Settled> = store.execute(&entry(index, *kind), None);
        }
        let indexes = 2..kinds.len() as u64 + 2;
        let due = indexes.filter_map(|index| store.commit_to(LogIndex(index)));
        due.map(|state| state.index().0).collect::<Vec<_>>()
    };
    assert_eq!(log(&[EntryKind::Noop; 12]), [5, 9, 13]);
    let mut kinds = [EntryKind::Part; 12];
    assert_eq!(log(&kinds), [0; 0], "none is due between the parts of an operation");
    kinds[6] = EntryKind::Request;
    assert_eq!(log(&kinds), [8], "what is due then comes at their end");

    let mut store = fill(Store::at_genesis(limits), [100_000 - 9]);
    let first = store.tentative().index().next();
    let mut indexes = (first.0..).map(LogIndex);
    let due = indexes.find(|index| {
        let _: Option<Settled> = store.execute(&entry(*index, EntryKind::Noop), None);
        store.commit_to(*index).is_some()
    });
    let entries = due.map(|index| index.0 - first.0 + 1);
    assert_eq!(entries, Some(97), "32 + 97 * 1,032 bytes are as long as the state");
}

/// The answers that a session keeps may take more than all keys and values.
#[test]
fn room_is_counted_for_what_sessions_keep() {
    let mut store = fill(Store::at_genesis(configuration(100, 1_024)), [512]);
    let session = SessionId { minted_at: LogIndex(1), random: 1 };
    let operation = Operation::CompareAndSwap {
        key: "key-00000".into(),
        expected: Expected::Absent,
        value: Bytes::new(),
    };
    for sequence in 1..=1_024 {
        let index = store.tentative().index().next();
        let command = Command::Execute(operation.clone());
        let sequence = Sequence(sequence);
        let floor = Sequence(1);
        let request = LoggedRequest { sequence, floor, ..request_of(session, command) };
        let settled = store.execute(&entry(index, EntryKind::Request), Some(&request));
        assert!(matches!(
            settled.map(|settled| settled.outcome),
            Some(Outcome::CompareFailed { value: Some(_), .. })
        ));
        store.commit_to(index);
    }
    let state = store.committed();
    let snapshot = Snapshot::new(state.clone(), Term(1), 0);
    let written: usize = snapshot.blocks().map(|block| block.len()).sum();
    let log = 7 * state.configuration().snapshot_bytes;
    let counted = (state.room_for_all() - log) / 2;
    assert!(written > 512 << 10);
    assert!(counted + 1_024 > written as u64, "{counted} of {written} bytes are counted");
    assert!(counted < 2 * written as u64, "{counted} bytes are counted for {written}");
}

/// A state at index 9 that holds nothing but this key and value.
fn of_key(key: &'static str, value: &[u8]) -> State {
    let pairs = [(key.into(), LogIndex(8), Bytes::copy_from_slice(value))];
    State::of_keys(LogIndex(9), configuration(100, 8), pairs)
}

/// Nodes are compared by the sums of their states.
#[test]
fn states_that_differ_in_anything_have_other_sums() {
    let of_keys = |index, configuration: &Configuration, version| {
        let pairs = [("key".into(), LogIndex(version), "value".into())];
        State::of_keys(LogIndex(index), configuration.clone(), pairs)
    };
    let limits = configuration(100, 8);
    let settled_by = |random| {
        let mut state = Store::at(of_key("key", b"value"));
        let request = LoggedRequest {
            session: SessionId { minted_at: LogIndex(10), random },
            sequence: Sequence(1),
            floor: Sequence(0),
            not_after: LogTime(0),
            one_shot: false,
            digest: Digest(0),
            command: Command::Execute(Operation::Delete { key: "other".into() }),
        };
        let _: Option<Settled> = state.execute(&entry(LogIndex(10), EntryKind::Noop), None);
        let entry = entry(LogIndex(11), EntryKind::Request);
        let _: Option<Settled> = state.execute(&entry, Some(&request));
        state.tentative().clone()
    };
    let states = [
        of_keys(9, &limits, 8),
        of_keys(10, &limits, 8),
        of_keys(9, &configuration(100, 9), 8),
        of_keys(9, &limits, 7),
        of_key("keys", b"value"),
        of_key("key", b"values"),
        settled_by(1),
        settled_by(2),
    ];
    assert_eq!(settled_by(1).sessions().session_count(), 1);
    let sums: BTreeSet<u64> = states.iter().map(State::checksum).collect();
    assert_eq!(sums.len(), states.len());
    assert_eq!(of_key("key", b"value").checksum(), states[0].checksum());
}

/// A state that is made of keys is as one that has come to hold them.
#[test]
fn a_state_of_keys_is_where_it_is_said_to_be_and_as_big_as_its_keys() {
    let state = of_key("key", &[b'v'; 1_000]);
    assert_eq!((state.index(), state.configuration_index()), (LogIndex(9), LogIndex(9)));
    assert_eq!(state.room_for_all(), restored(&state).room_for_all());
    let empty = of_key("key", b"");
    assert_eq!(state.room_for_all(), empty.room_for_all() + 2 * 1_000, "two snapshots have it");

    let mut store = Store::at(state);
    let _: Option<Settled> = store.execute(&entry(LogIndex(10), EntryKind::Noop), None);
    let later = store.tentative();
    assert!(!later.is_snapshot_due());
    let backup = later.without_sessions();
    assert!(backup.is_snapshot_due(), "no log of before counts");
    assert_eq!(backup.room_for_all(), later.room_for_all(), "and the keys do");
}

/// "the snapshot, the log up to the next one, and that".
#[test]
fn there_is_room_for_two_snapshots_and_the_log_between_them() {
    let empty = State::of_keys(LogIndex(9), configuration(100, 8), []);
    let one = of_key("key", &[b'v'; 1_000]);
    assert_eq!(empty.room_for_all(), empty.room_to_next_snapshot(), "both are empty");
    let snapshot = one.room_to_next_snapshot() - empty.room_to_next_snapshot();
    assert_eq!(one.room_for_all(), empty.room_for_all() + 2 * snapshot);
}

fn blocks(state: State) -> Vec<Bytes> {
    Snapshot::new(state, Term(3), 77).blocks().collect()
}

/// "A block ends with the first item that makes it [`BLOCK_BYTES`] long": also if it is
/// exactly so long, or the blocks of two nodes would not go on from each other.
#[test]
fn a_block_that_is_just_full_is_ended() {
    const BLOCK_BYTES: usize = 60 << 10;
    let first = |length| {
        let pairs = ["a", "b"].map(|key| (key.into(), LogIndex(8), vec![b'v'; length].into()));
        blocks(State::of_keys(LogIndex(9), configuration(100, 8), pairs))[0].len()
    };
    let around_value = first(BLOCK_BYTES) - BLOCK_BYTES;
    assert_eq!(first(BLOCK_BYTES - around_value), BLOCK_BYTES);
}

#[test]
fn nothing_follows_the_end_of_a_snapshot() {
    let whole = blocks(of_key("key", b"value")).concat();
    let end = Bytes::copy_from_slice(&whole[whole.len() - 17..]);
    assert_eq!(end[0], 4, "the tag of the end, and two counts");
    let mut builder = SnapshotBuilder::new();
    assert!(builder.add(whole.into()).is_ok());
    assert!(builder.add(end).is_err());
    assert_eq!(builder.into_state().map(|begun| begun.key_count()), Some(1), "it is to be freed");
}

#[test]
fn no_snapshot_is_of_an_index_beyond_the_last() {
    let restored_at = |index| {
        restore(blocks(State::of_keys(LogIndex(index), configuration(100, 8), []))).is_some()
    };
    let last = LogIndex::MAX.0;
    assert_eq!([last - 1, last, last + 1, last + 2].map(restored_at), [true, true, false, false]);
}

/// "What is said of the log names the whole: two snapshots of the same name are equal."
#[test]
fn snapshots_are_equal_by_name() {
    let state = |index| State::of_keys(LogIndex(index), configuration(100, 8), []);
    let one = Snapshot::new(state(9), Term(3), 77);
    assert_eq!(one, Snapshot::new(state(9), Term(3), 77));
    for other in [(10, 3, 77), (9, 4, 77), (9, 3, 78)] {
        assert_ne!(one, Snapshot::new(state(other.0), Term(other.1), other.2));
    }
}

fn entry(index: LogIndex, kind: EntryKind) -> Entry {
    Entry::chained(0, index, Term(1), LogTime(0), kind, Bytes::from(vec![0; 1_000]))
}

#[test]
fn a_reborn_cluster_has_the_keys_with_their_versions_and_nothing_else_of_the_former() {
    let store = filled([10, 20, 30]);
    let former = Snapshot::new(store.committed().clone(), Term(5), 77);
    let backup = Snapshot::backup(former.state());
    let rebirth = |genesis| former.state().configuration().reborn(GenesisId(genesis), NODE, NEW);
    for held in [&former, &backup] {
        is_reborn(held, &held.reborn(&rebirth(8)));
    }
    assert_eq!(backup.state().sessions().session_count(), 0, "they are of no use to anybody");

    // No log goes on from both, nor from two rebirths.
    let chains =
        [former.chain(), former.reborn(&rebirth(8)).chain(), former.reborn(&rebirth(9)).chain()];
    assert!(chains[0] != chains[1] && chains[1] != chains[2], "{chains:?}");
}

fn is_reborn(former: &Snapshot, reborn: &Snapshot) {
    let state = reborn.state();
    let keys = |state: &State| -> Vec<(Bytes, LogIndex, Bytes)> {
        let all = state.range_from(Bound::Unbounded);
        all.map(|(key, version, value)| (key.clone(), version, value.clone())).collect()
    };
    assert_eq!(keys(state), keys(former.state()));
    assert_eq!((keys(state).len(), state.sessions().session_count()), (3, 0));
    assert_eq!((reborn.index(), reborn.term()), (former.index().next(), Term(0)));
    let configuration = state.configuration();
    assert_eq!(
        (configuration.genesis, state.configuration_index()),
        (GenesisId(8), reborn.index())
    );
    assert_eq!(configuration.members, BTreeMap::from([(NODE, NEW)]));
    assert_eq!(configuration.session_limit, 100, "the limits stay");

    // Who asked the former cluster is not answered as if it were new, and who asks this is.
    let asks = |minted_at| SessionId { minted_at, random: 7 };
    let found = |minted_at| state.sessions().find(asks(minted_at), Sequence(1), None);
    assert_eq!(found(former.index()), Lookup::Forgotten);
    assert_eq!(found(reborn.index()), Lookup::New);
    assert_eq!(restored(state).checksum(), state.checksum());
}
