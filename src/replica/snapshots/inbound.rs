//! A snapshot that this node fetches: which pieces are asked for, and what came.
//!
//! Block are asked for in groups of 64, several groups at a time. Loss is repaired by
//! asking again for what is missing. How many groups are on the way at once follows the
//! time that they take: when that grows, a queue does, and heartbeats stand in it as well.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::store::{Snapshot, SnapshotBuilder, State};
use crate::time::Instant;
use crate::types::ServerId;
use crate::wire::{PIECE_BYTES, SnapshotName, SnapshotPiece, SnapshotRequest};

/// How many pieces one request asks for at most.
const GROUP: u32 = 64;
/// How many blocks may be in pieces at once. It bounds memory, with [`LENGTH_MAX`].
const BLOCKS_AHEAD: u32 = 4;
/// The longest block: the longest item, a session with all of its answers or the longest
/// key and value, with room.
const LENGTH_MAX: u32 = 4 << 20;
/// The most groups on the way at once.
const WINDOW_MAX: usize = 8;
/// How much longer than the shortest a group may take before a queue is suspected.
const PATIENCE: Duration = Duration::from_millis(10);

/// A snapshot that is being fetched.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) name: SnapshotName,
    /// From whom.
    pub(super) from: ServerId,
    builder: SnapshotBuilder,
    /// The next block that the builder takes.
    next: u32,
    /// Which block is the last, once that is known.
    last: Option<u32>,
    /// Blocks in pieces, from `next` on.
    blocks: BTreeMap<u32, Block>,
    /// Groups that were asked for, by block and first piece, and when.
    asked: BTreeMap<(u32, u32), Instant>,
    window: usize,
    shortest: Option<Duration>,
    /// When the last piece that was missing came.
    pub(super) heard_at: Instant,
    /// How many bytes have come.
    pub(super) bytes: u64,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Fetched {
    /// More is missing.
    Partly,
    /// This is the whole.
    Whole(Snapshot),
    /// The blocks make no snapshot: it must be fetched anew.
    Malformed,
}

/// The pieces of one block.
#[derive(Debug)]
struct Block {
    length: u32,
    checksum: u32,
    pieces: BTreeMap<u32, Bytes>,
}

impl Inbound {
    pub(super) fn new(name: SnapshotName, from: ServerId, now: Instant) -> Self {
        Self {
            name,
            from,
            builder: SnapshotBuilder::new(),
            next: 0,
            last: None,
            blocks: BTreeMap::new(),
            asked: BTreeMap::new(),
            window: 1,
            shortest: None,
            heard_at: now,
            bytes: 0,
        }
    }

    /// The next requests to send, as far as the window goes.
    pub(super) fn ask(&mut self, now: Instant) -> Vec<SnapshotRequest> {
        let mut requests = Vec::new();
        for block in self.next..self.next.saturating_add(BLOCKS_AHEAD) {
            if self.last.is_some_and(|last| block > last) {
                break;
            }
            for first in self.groups_of(block) {
                if self.asked.len() >= self.window {
                    return requests;
                }
                let wanted = self.missing(block, first);
                if wanted != 0 && !self.asked.contains_key(&(block, first)) {
                    self.asked.insert((block, first), now);
                    requests.push(SnapshotRequest { snapshot: self.name, block, first, wanted });
                }
            }
        }
        requests
    }

    /// Requests for what was asked for before `time` and has not come. Silence as a whole
    /// makes the window small.
    pub(super) fn ask_again(&mut self, time: Instant, now: Instant) -> Vec<SnapshotRequest> {
        if self.heard_at < time {
            self.window = 1;
        }
        let name = self.name;
        let late: Vec<(u32, u32)> =
            self.asked.iter().filter(|(_, at)| **at <= time).map(|(group, _)| *group).collect();
        let mut requests = Vec::new();
        for (block, first) in late.into_iter().take(self.window) {
            self.asked.insert((block, first), now);
            let wanted = self.missing(block, first);
            requests.push(SnapshotRequest { snapshot: name, block, first, wanted });
        }
        requests
    }

    /// When the oldest request was sent that was not answered in full.
    pub(super) fn oldest_asked(&self) -> Option<Instant> {
        self.asked.values().min().copied()
    }

    /// Another node has the same snapshot, and sends the rest.
    pub(super) fn go_on_from(&mut self, from: ServerId) {
        self.from = from;
        self.asked.clear();
        self.window = 1;
    }

    /// What there is so far, to free it.
    pub(super) fn into_state(self) -> Option<State> {
        self.builder.into_state()
    }

    fn groups_of(&self, block: u32) -> impl Iterator<Item = u32> + use<> {
        let count = self.blocks.get(&block).map_or(1, Block::count);
        (0..count).step_by(GROUP as usize)
    }

    /// Which pieces of the group are missing, as bits.
    fn missing(&self, block: u32, first: u32) -> u64 {
        let Some(pieces) = self.blocks.get(&block) else { return u64::MAX };
        let group = first..pieces.count().min(first + GROUP);
        let missing = group.filter(|piece| !pieces.pieces.contains_key(piece));
        missing.fold(0, |bits, piece| bits | 1 << (piece - first))
    }

    /// Takes in a piece.
    pub(super) fn on_piece(&mut self, piece: &SnapshotPiece, now: Instant) {
        let (block, number) = (piece.block, piece.piece);
        if !self.is_expected(piece) || !self.add(piece) {
            return;
        }
        self.heard_at = now;
        let first = number / GROUP * GROUP;
        if self.missing(block, first) == 0
            && let Some(asked_at) = self.asked.remove(&(block, first))
        {
            self.adapt(now.since(asked_at));
        }
    }

    /// Whether a block is whole that the builder takes next.
    pub(super) fn has_block(&self) -> bool {
        self.blocks.get(&self.next).is_some_and(Block::is_whole)
    }

    fn is_expected(&self, piece: &SnapshotPiece) -> bool {
        piece.snapshot == self.name
            && (self.next..self.next.saturating_add(BLOCKS_AHEAD)).contains(&piece.block)
            && (1..=LENGTH_MAX).contains(&piece.length)
    }

    /// Returns whether the piece was missing.
    fn add(&mut self, piece: &SnapshotPiece) -> bool {
        if piece.last {
            self.last = Some(piece.block);
            // What was asked for beyond does not exist, and must not fill the window.
            self.asked.retain(|(block, _), _| *block <= piece.block);
        }
        let begin = || Block::new(piece.length, piece.checksum);
        let added = self.blocks.entry(piece.block).or_insert_with(begin).add(piece);
        self.bytes += if added { piece.bytes.len() as u64 } else { 0 };
        added
    }

    /// Groups that take about as long as the shortest ever did leave room for more.
    fn adapt(&mut self, took: Duration) {
        let shortest = self.shortest.map_or(took, |shortest| shortest.min(took));
        self.shortest = Some(shortest);
        self.window = if took <= 2 * shortest + PATIENCE {
            (self.window + 1).min(WINDOW_MAX)
        } else {
            (self.window / 2).max(1)
        };
    }

    /// Hands the builder the next block, if that is whole. A turn does so once: it takes time.
    pub(super) fn build(&mut self) -> Fetched {
        if !self.has_block() {
            return Fetched::Partly;
        }
        let Some(block) = self.blocks.remove(&self.next).and_then(Block::join) else {
            // One of its pieces was of another block: all are asked for again.
            let next = self.next;
            self.asked.retain(|(block, _), _| *block != next);
            return Fetched::Partly;
        };
        if self.builder.add(block).is_err() {
            return Fetched::Malformed;
        }
        if self.last == Some(self.next) {
            let whole = std::mem::take(&mut self.builder).finish();
            return whole.map_or(Fetched::Malformed, Fetched::Whole);
        }
        self.next += 1;
        Fetched::Partly
    }
}

impl Block {
    fn new(length: u32, checksum: u32) -> Self {
        Self { length, checksum, pieces: BTreeMap::new() }
    }

    fn count(&self) -> u32 {
        u32::try_from((self.length as usize).div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX)
    }

    /// Returns whether the piece is one of this block that was missing.
    fn add(&mut self, piece: &SnapshotPiece) -> bool {
        let is_of_this = (piece.length, piece.checksum) == (self.length, self.checksum);
        if !is_of_this || self.length_of(piece.piece) != Some(piece.bytes.len()) {
            return false;
        }
        // Copied, so that it does not keep its datagram alive.
        let copy = || Bytes::copy_from_slice(&piece.bytes);
        let former = self.pieces.len();
        self.pieces.entry(piece.piece).or_insert_with(copy);
        self.pieces.len() > former
    }

    fn length_of(&self, piece: u32) -> Option<usize> {
        let before = (piece as usize).checked_mul(PIECE_BYTES)?;
        let rest = (self.length as usize).checked_sub(before).filter(|rest| *rest > 0)?;
        Some(rest.min(PIECE_BYTES))
    }

    fn is_whole(&self) -> bool {
        self.pieces.len() == self.count() as usize
    }

    /// The whole block, if it is what its checksum says.
    fn join(self) -> Option<Bytes> {
        let mut block = Vec::with_capacity(self.length as usize);
        self.pieces.values().for_each(|piece| block.extend_from_slice(piece));
        (crc32fast::hash(&block) == self.checksum).then(|| block.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{LogIndex, Term};

    const NAME: SnapshotName = SnapshotName { index: LogIndex(9), term: Term(1), chain: 0 };

    fn last_block(block: u32) -> SnapshotPiece {
        let bytes = Bytes::from_static(b"end");
        let (length, checksum) = (3, crc32fast::hash(&bytes));
        SnapshotPiece { snapshot: NAME, block, last: true, length, checksum, piece: 0, bytes }
    }

    /// Blocks are asked for before it is known which is the last. Those beyond never come,
    /// and must not keep others from being asked for.
    #[test]
    fn what_does_not_exist_is_waited_for_no_longer() {
        let now = Instant(1_000);
        let mut inbound = Inbound::new(NAME, ServerId(2), now);
        inbound.window = WINDOW_MAX;
        let asked: Vec<u32> = inbound.ask(now).iter().map(|request| request.block).collect();
        assert_eq!(asked, [0, 1, 2, 3]);
        inbound.on_piece(&last_block(1), now);
        let waited_for: Vec<(u32, u32)> = inbound.asked.keys().copied().collect();
        assert_eq!(waited_for, [(0, 0)]);
    }
}
