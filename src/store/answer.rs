//! Long answers, page by page, from one state.

use std::collections::VecDeque;
use std::ops::Bound;

use bytes::{BufMut, Bytes};

use super::state::State;
use crate::types::LogIndex;
use crate::wire::{PIECE_BYTES, Query};

/// The bytes of an answer, cut into pages of [`PIECE_BYTES`]. Pages are made when they
/// are first asked for; where each begins is remembered until it is released.
#[derive(Debug)]
pub struct Answer {
    state: State,
    query: Query,
    /// Where the pages from `first` on begin. The last of them was not made yet, unless
    /// the answer has ended.
    starts: VecDeque<Cursor>,
    first: u32,
    ended: bool,
}

/// A place in an answer.
#[derive(Clone, Debug)]
struct Cursor {
    /// The key that is answered at this place; all keys before it are.
    key: Bound<Bytes>,
    /// How many bytes of that key's part are answered.
    offset: usize,
    /// How many further keys may be answered.
    keys_left: u64,
}

impl Answer {
    /// The answer to the query from this state.
    pub fn new(state: State, query: Query) -> Self {
        let (key, keys_left) = match &query {
            Query::Get { key } => (key.clone(), 1),
            Query::List { prefix, limit: 0 } => (prefix.clone(), u64::MAX),
            Query::List { prefix, limit } => (prefix.clone(), *limit),
        };
        let start = Cursor { key: Bound::Included(key), offset: 0, keys_left };
        Self { state, query, starts: VecDeque::from([start]), first: 0, ended: false }
    }

    /// The page's bytes, and whether it is the last. None when the page was released,
    /// lies behind the last, or lies further ahead than the one after the newest made.
    pub fn page(&mut self, number: u32) -> Option<(Bytes, bool)> {
        let position = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let start = self.starts.get(position)?.clone();
        let (bytes, end) = self.read(start);
        let is_last = end.is_none();
        if position + 1 == self.starts.len() && !self.ended {
            self.ended = is_last;
            self.starts.extend(end);
        }
        Some((bytes, is_last))
    }

    /// Whether the last page was made.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether the last page was made, and lies before this one.
    pub fn ends_before(&self, number: u32) -> bool {
        let last = self.starts.len().saturating_sub(1) as u64 + u64::from(self.first);
        self.ended && u64::from(number) > last
    }

    /// Only the state.
    pub fn into_state(self) -> State {
        self.state
    }

    /// The pages before this one will not be asked for again.
    pub fn release_before(&mut self, number: u32) {
        while self.first < number && self.starts.len() > 1 {
            self.starts.pop_front();
            self.first += 1;
        }
    }

    /// One page from the place on, and where the next begins, if anything is left.
    fn read(&self, start: Cursor) -> (Bytes, Option<Cursor>) {
        let mut page = Vec::with_capacity(PIECE_BYTES);
        let mut cursor = start;
        let from = cursor.key.clone();
        for (key, version, value) in self.state.range_from(as_slice(&from)) {
            if cursor.keys_left == 0 || !self.is_asked_for(key) {
                return (page.into(), None);
            }
            if page.len() == PIECE_BYTES {
                return (page.into(), Some(cursor));
            }
            let taken = copy_part(key, version, value, cursor.offset, &mut page);
            if cursor.offset + taken < part_length(key, value) {
                cursor.key = Bound::Included(key.clone());
                cursor.offset += taken;
                return (page.into(), Some(cursor));
            }
            let keys_left = cursor.keys_left - 1;
            cursor = Cursor { key: Bound::Excluded(key.clone()), offset: 0, keys_left };
        }
        (page.into(), None)
    }

    fn is_asked_for(&self, key: &Bytes) -> bool {
        match &self.query {
            Query::Get { key: wanted } => key == wanted,
            Query::List { prefix, .. } => key.starts_with(prefix),
        }
    }
}

fn as_slice(bound: &Bound<Bytes>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(&key[..]),
        Bound::Excluded(key) => Bound::Excluded(&key[..]),
        Bound::Unbounded => Bound::Unbounded,
    }
}

fn part_length(key: &Bytes, value: &Bytes) -> usize {
    2 + key.len() + 8 + 4 + value.len()
}

/// Copies one key's part of the answer, from `offset` on, as far as the page has room:
/// the layout of [`ListedValue`](crate::wire::ListedValue). Returns how many bytes.
fn copy_part(
    key: &Bytes,
    version: LogIndex,
    value: &Bytes,
    offset: usize,
    page: &mut Vec<u8>,
) -> usize {
    let mut head = Vec::with_capacity(14 + key.len());
    head.put_u16_le(u16::try_from(key.len()).unwrap_or(u16::MAX));
    head.put_slice(key);
    head.put_u64_le(version.0);
    head.put_u32_le(u32::try_from(value.len()).unwrap_or(u32::MAX));
    let from_head = &head[offset.min(head.len())..];
    let from_value = &value[offset.saturating_sub(head.len()).min(value.len())..];
    let room = PIECE_BYTES - page.len();
    let head_taken = from_head.len().min(room);
    let value_taken = from_value.len().min(room - head_taken);
    page.put_slice(&from_head[..head_taken]);
    page.put_slice(&from_value[..value_taken]);
    head_taken + value_taken
}
