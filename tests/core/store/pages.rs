//! Long answers come page by page, whole, in order, and from one state.

use bytes::Bytes;
use proptest::prelude::*;
use quorate::codec::Reader;
use quorate::configuration::Configuration;
use quorate::entry::{Entry, EntryKind};
use quorate::operation::{Command, LoggedRequest, Operation};
use quorate::store::{Answer, Store};
use quorate::types::{Digest, LogIndex, LogTime, Sequence, SessionId, Term};
use quorate::wire::{ListedValue, PIECE_BYTES, Query};

/// A store in which each of the pairs was put, the first at index 2.
fn store_of(pairs: &[(Bytes, Bytes)]) -> Store {
    let mut store = Store::at_genesis(Configuration::unborn());
    for (key, value) in pairs {
        put(&mut store, key, value);
    }
    store
}

fn put(store: &mut Store, key: &Bytes, value: &Bytes) {
    let index = store.tentative().index().next();
    let operation = Operation::Put { key: key.clone(), value: value.clone() };
    let request = LoggedRequest {
        session: SessionId { minted_at: LogIndex(1), random: 1 },
        sequence: Sequence(index.0),
        floor: Sequence(index.0),
        not_after: LogTime(0),
        one_shot: false,
        digest: Digest(0),
        command: Command::Execute(operation),
    };
    let entry =
        Entry::chained(0, index, Term(1), LogTime(0), EntryKind::Request, request.encode().into());
    assert!(store.execute(&entry, Some(&request)).is_some());
}

/// All pages, joined; checks that only the last may be short, and that each can be had
/// again until it is released.
fn read_all(answer: &mut Answer) -> Vec<u8> {
    let mut joined = Vec::new();
    for number in 0.. {
        assert_eq!(answer.page(number + 1), None, "a page ahead of the next one");
        let (bytes, is_last) = answer.page(number).expect("the next page");
        assert_eq!(answer.page(number), Some((bytes.clone(), is_last)), "the same page again");
        joined.extend_from_slice(&bytes);
        if is_last {
            assert!(bytes.len() <= PIECE_BYTES);
            assert_eq!(answer.page(number + 1), None, "a page behind the last");
            break;
        }
        assert_eq!(bytes.len(), PIECE_BYTES);
        answer.release_before(number);
        assert!(number == 0 || answer.page(number - 1).is_none(), "a page that was released");
        assert!(answer.page(number).is_some(), "a page that was not");
    }
    joined
}

fn listed(bytes: Vec<u8>) -> Vec<ListedValue> {
    let mut reader = Reader::new(bytes.into());
    let mut values = Vec::new();
    while !reader.is_empty() {
        values.push(ListedValue::decode(&mut reader).expect("whole values"));
    }
    values
}

/// Keys that share prefixes, with values from empty to several pages long.
fn pairs() -> impl Strategy<Value = Vec<(Bytes, Bytes)>> {
    let key = prop_oneof![
        3 => "[ab]{1,4}".prop_map(Bytes::from),
        1 => (1000..=1024_usize).prop_map(|length| vec![b'a'; length].into()),
    ];
    let length = prop_oneof![0..40_usize, 900..1100_usize, 2000..4000_usize];
    let value = (any::<u8>(), length).prop_map(|(byte, length)| Bytes::from(vec![byte; length]));
    prop::collection::vec((key, value), 0..30)
}

fn query() -> impl Strategy<Value = Query> {
    let list = ("[ab]{0,3}", prop_oneof![Just(0), 1..6_u64])
        .prop_map(|(prefix, limit)| Query::List { prefix: prefix.into(), limit });
    prop_oneof![3 => list, 1 => "[ab]{1,3}".prop_map(|key| Query::Get { key: key.into() })]
}

fn expected(pairs: &[(Bytes, Bytes)], query: &Query) -> Vec<ListedValue> {
    let mut values: Vec<ListedValue> = Vec::new();
    for (index, (key, value)) in (2..).zip(pairs) {
        let (key, value) = (key.clone(), value.clone());
        values.retain(|listed| listed.key != key);
        values.push(ListedValue { key, version: LogIndex(index), value });
    }
    values.sort_by(|one, other| one.key.cmp(&other.key));
    match query {
        Query::Get { key } => values.retain(|listed| listed.key == key),
        Query::List { prefix, limit } => {
            values.retain(|listed| listed.key.starts_with(prefix));
            if *limit > 0 {
                values.truncate(usize::try_from(*limit).expect("a small limit"));
            }
        }
    }
    values
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn pages_join_to_the_whole_answer(pairs in pairs(), query in query()) {
        let mut store = store_of(&pairs);
        let mut answer = Answer::new(store.tentative().clone(), query.clone());
        // What is written later does not show.
        put(&mut store, &Bytes::from_static(b"ab"), &Bytes::from_static(b"later"));
        prop_assert_eq!(listed(read_all(&mut answer)), expected(&pairs, &query));
    }
}

#[test]
fn a_key_that_is_absent_is_one_empty_page() {
    let store = store_of(&[]);
    let query = Query::Get { key: Bytes::from_static(b"a") };
    let mut answer = Answer::new(store.tentative().clone(), query);
    assert_eq!(answer.page(0), Some((Bytes::new(), true)));
}

/// The next page can be had although more was released than was made.
#[test]
fn the_newest_page_is_not_released_before_it_was_made() {
    let pairs: Vec<(Bytes, Bytes)> = vec![("key".into(), vec![b'v'; 10].into())];
    let state = store_of(&pairs).tentative().clone();
    let mut answer = Answer::new(state, Query::Get { key: "key".into() });
    answer.release_before(9);
    assert!(answer.page(0).is_some());
}
