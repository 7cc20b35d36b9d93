//! A state as bytes: what is kept on disk, and sent to nodes that lack it.
//!
//! The bytes are canonical: equal states give equal bytes, cut into equal blocks. So the
//! blocks that one node sends go on where those of another ended.
//!
//! A block is a row of items, each behind a tag: first the head, then the sessions and
//! the keys in their orders, last the end, which counts both. A block ends with the first
//! item that makes it [`BLOCK_BYTES`] long, so it is at most an item longer.

use std::ops::Bound;

use bytes::{BufMut, Bytes};

use super::state::State;
use crate::codec::{Malformed, Reader};
use crate::configuration::Configuration;
use crate::entry::{Entry, EntryKind};
use crate::types::{LogIndex, SessionId, Term};

/// How long a block is at least, unless it is the last.
const BLOCK_BYTES: usize = 60 << 10;

mod tag {
    pub const HEAD: u8 = 1;
    pub const SESSION: u8 = 2;
    pub const KEY: u8 = 3;
    pub const END: u8 = 4;
}

/// The committed state at one index, and what the log says there. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Snapshot {
    state: State,
    term: Term,
    chain: u32,
}

/// What is said of the log names the whole: two snapshots of the same name are equal.
impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        let name = |snapshot: &Self| (snapshot.index(), snapshot.term, snapshot.chain);
        name(self) == name(other)
    }
}

impl Eq for Snapshot {}

/// Where a block begins: behind which item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the start.
    Start,
    /// Behind this session.
    Session(SessionId),
    /// Behind the last session, and behind this key if there is one.
    Key(Option<Bytes>),
}

impl Snapshot {
    /// The snapshot of `state`, at whose index the log has an entry of this term and with
    /// this chain value.
    pub fn new(state: State, term: Term, chain: u32) -> Self {
        Self { state, term, chain }
    }

    /// What a backup keeps of the state: its keys with their versions. Sessions belong to the
    /// cluster that served them, and so does what its log says.
    pub fn backup(state: &State) -> Self {
        Self::new(state.without_sessions(), Term(0), 0)
    }

    /// What a cluster begins with that is born with the keys of this snapshot: as if its birth
    /// were the next entry. So every version stays valid, and no entry of the former log goes
    /// on from it: the chain value covers the random id of the birth.
    #[must_use]
    pub fn reborn(&self, birth: &Configuration) -> Self {
        let mut state = self.state.without_sessions();
        let (kind, payload) = (EntryKind::Configuration, birth.encode());
        let index = self.index().next();
        let entry = Entry::chained(self.chain, index, Term(0), state.time(), kind, payload);
        let settled = state.execute(&entry, None);
        assert!(settled.is_none(), "a configuration is nobody's request");
        Self::new(state, entry.term, entry.chain)
    }

    /// The index of the last entry that it covers.
    pub fn index(&self) -> LogIndex {
        self.state.index()
    }

    /// That entry's term.
    pub fn term(&self) -> Term {
        self.term
    }

    /// That entry's chain value.
    pub fn chain(&self) -> u32 {
        self.chain
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Only the state.
    pub fn into_state(self) -> State {
        self.state
    }

    /// All blocks, in order.
    pub fn blocks(&self) -> Blocks<'_> {
        Blocks { snapshot: self, next: Some(Place::Start) }
    }

    /// The block that begins at the place, and where the next one begins; none: it is the
    /// last.
    pub fn block(&self, from: &Place) -> (Bytes, Option<Place>) {
        let mut out = Vec::with_capacity(BLOCK_BYTES + 1_024);
        let mut place = from.clone();
        while out.len() < BLOCK_BYTES {
            match self.put_item(&place, &mut out) {
                Some(next) => place = next,
                None => return (out.into(), None),
            }
        }
        (out.into(), Some(place))
    }

    /// Appends the item behind the place. Returns the place behind it, none after the end.
    fn put_item(&self, place: &Place, out: &mut Vec<u8>) -> Option<Place> {
        let after = match place {
            Place::Start => {
                self.put_head(out);
                return Some(Place::Session(SessionId::default()));
            }
            Place::Session(last) => {
                let tag_at = out.len();
                out.put_u8(tag::SESSION);
                // No session has the least of all ids: what was minted at index 0 counts as
                // evicted from the first.
                if let Some(id) = self.state.encode_next_session(Bound::Excluded(*last), out) {
                    return Some(Place::Session(id));
                }
                out.truncate(tag_at);
                None
            }
            Place::Key(last) => last.as_deref(),
        };
        let tag_at = out.len();
        out.put_u8(tag::KEY);
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        if let Some(key) = self.state.encode_next_key(after, out) {
            return Some(Place::Key(Some(key)));
        }
        out.truncate(tag_at);
        self.put_end(out);
        None
    }

    fn put_head(&self, out: &mut Vec<u8>) {
        out.put_u8(tag::HEAD);
        out.put_u64_le(self.term.0);
        out.put_u32_le(self.chain);
        self.state.encode_head(out);
    }

    fn put_end(&self, out: &mut Vec<u8>) {
        out.put_u8(tag::END);
        out.put_u64_le(self.state.sessions().session_count() as u64);
        out.put_u64_le(self.state.key_count() as u64);
    }
}

/// The blocks of a snapshot, in order.
#[derive(Debug)]
pub struct Blocks<'a> {
    snapshot: &'a Snapshot,
    next: Option<Place>,
}

impl Iterator for Blocks<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let (block, next) = self.snapshot.block(&self.next.take()?);
        self.next = next;
        Some(block)
    }
}

/// Makes a snapshot out of its blocks, taken in order.
#[derive(Debug)]
pub struct SnapshotBuilder {
    /// What there is so far; none before the head.
    begun: Option<Snapshot>,
    /// Behind the last item.
    place: Place,
    ended: bool,
}

impl Default for SnapshotBuilder {
    fn default() -> Self {
        Self { begun: None, place: Place::Start, ended: false }
    }
}

impl SnapshotBuilder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the next block.
    ///
    /// # Errors
    /// [`Malformed`] when it is not the next block of a snapshot. Then nothing may be added
    /// any more.
    pub fn add(&mut self, block: Bytes) -> Result<(), Malformed> {
        let mut reader = Reader::new(block);
        while !reader.is_empty() {
            self.add_item(&mut reader)?;
        }
        Ok(())
    }

    fn add_item(&mut self, reader: &mut Reader) -> Result<(), Malformed> {
        let tag = reader.u8()?;
        let Some(begun) = &mut self.begun else {
            self.begun = Some(take_head(tag, reader)?);
            self.place = Place::Session(SessionId::default());
            return Ok(());
        };
        let state = &mut begun.state;
        match (tag, &self.place) {
            _ if self.ended => return Err(Malformed),
            (tag::SESSION, Place::Session(last)) => {
                let id = state.restore_session(reader)?;
                if id <= *last {
                    return Err(Malformed);
                }
                self.place = Place::Session(id);
            }
            (tag::KEY, place) => {
                let key = state.restore_key(reader)?;
                if matches!(place, Place::Key(Some(last)) if key <= *last) {
                    return Err(Malformed);
                }
                self.place = Place::Key(Some(key));
            }
            (tag::END, _) => {
                check_end(state, reader)?;
                self.ended = true;
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }

    /// What there is so far, to free it.
    pub fn into_state(self) -> Option<State> {
        self.begun.map(Snapshot::into_state)
    }

    /// The whole snapshot.
    ///
    /// # Errors
    /// [`Malformed`] when blocks are missing.
    pub fn finish(self) -> Result<Snapshot, Malformed> {
        self.begun.filter(|_| self.ended).ok_or(Malformed)
    }
}

fn take_head(tag: u8, reader: &mut Reader) -> Result<Snapshot, Malformed> {
    if tag != tag::HEAD {
        return Err(Malformed);
    }
    let (term, chain) = (Term(reader.u64()?), reader.u32()?);
    let state = State::decode_head(reader)?;
    if state.index() > LogIndex::MAX {
        return Err(Malformed);
    }
    Ok(Snapshot { state, term, chain })
}

fn check_end(state: &State, reader: &mut Reader) -> Result<(), Malformed> {
    let sessions = state.sessions().session_count() as u64;
    let keys = state.key_count() as u64;
    if (reader.u64()?, reader.u64()?) == (sessions, keys) { Ok(()) } else { Err(Malformed) }
}
