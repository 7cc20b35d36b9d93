//! A snapshot on its way to nodes that fetch it.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::store::{Place, Snapshot, State};
use crate::time::Instant;
use crate::wire::{PIECE_BYTES, SnapshotName, SnapshotPiece, SnapshotRequest};

/// How many blocks are kept after they were made, those that are likely asked for again, as far
/// as they have so many bytes in all.
const BLOCKS_KEPT: usize = 72;
const BYTES_KEPT: usize = 16 << 20;
/// The most blocks of one turn. Who asks for a block far ahead, because another node sent
/// it those before, asks again until it is reached.
const BLOCKS_PER_TURN: usize = 2;

/// A snapshot that is sent. Its blocks are made from the state as they are asked for.
#[derive(Debug)]
pub(super) struct Outbound {
    snapshot: Snapshot,
    /// Where each block begins, as far as those before were made once.
    places: Vec<Place>,
    /// The last block was made.
    ended: bool,
    /// The newest blocks that were made.
    made: VecDeque<Made>,
    /// How many more may be made in this turn.
    budget: usize,
    /// When it was last asked for.
    pub(super) asked_at: Instant,
}

/// A block that was made.
#[derive(Clone, Debug)]
struct Made {
    number: u32,
    bytes: Bytes,
    checksum: u32,
}

impl Outbound {
    pub(super) fn new(snapshot: Snapshot, now: Instant) -> Self {
        Self {
            snapshot,
            places: vec![Place::Start],
            ended: false,
            made: VecDeque::new(),
            budget: BLOCKS_PER_TURN,
            asked_at: now,
        }
    }

    pub(super) fn name(&self) -> SnapshotName {
        name_of(&self.snapshot)
    }

    pub(super) fn into_state(self) -> State {
        self.snapshot.into_state()
    }

    /// The first of the pieces that are asked for, which then is no longer; none: the block has
    /// none of them, or is not reached.
    pub(super) fn take_piece(&mut self, request: &mut SnapshotRequest) -> Option<SnapshotPiece> {
        let made = self.block(request.block)?;
        let last = self.ended && request.block as usize + 1 == self.places.len();
        let length = u32::try_from(made.bytes.len()).unwrap_or(u32::MAX);
        let bit = request.wanted.trailing_zeros();
        request.wanted &= request.wanted.checked_sub(1)?;
        let piece = request.first.checked_add(bit)?;
        let bytes = piece_of(&made.bytes, piece)?;
        let SnapshotRequest { snapshot, block, .. } = *request;
        let checksum = made.checksum;
        Some(SnapshotPiece { snapshot, block, last, length, checksum, piece, bytes })
    }

    /// Ends a turn: the next one may make as many blocks.
    pub(super) fn end_turn(&mut self) {
        self.budget = BLOCKS_PER_TURN;
    }

    fn block(&mut self, number: u32) -> Option<Made> {
        if let Some(made) = self.made.iter().find(|made| made.number == number) {
            return Some(made.clone());
        }
        loop {
            let reached = u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX);
            if self.budget == 0 || (self.ended && number > reached) {
                return None;
            }
            let block = self.make(reached.min(number))?;
            if number <= reached {
                return Some(block);
            }
        }
    }

    fn make(&mut self, number: u32) -> Option<Made> {
        self.budget -= 1;
        let (bytes, next) = self.snapshot.block(self.places.get(number as usize)?);
        if number as usize + 1 == self.places.len() {
            self.ended = next.is_none();
            self.places.extend(next);
        }
        self.make_room(bytes.len());
        let checksum = crc32fast::hash(&bytes);
        let made = Made { number, bytes, checksum };
        self.made.push_back(made.clone());
        Some(made)
    }

    /// Lets go the oldest blocks, until one of this length may be kept as well.
    fn make_room(&mut self, length: usize) {
        let mut kept: usize = self.made.iter().map(|made| made.bytes.len()).sum();
        while self.made.len() == BLOCKS_KEPT || kept + length > BYTES_KEPT {
            let Some(oldest) = self.made.pop_front() else { return };
            kept -= oldest.bytes.len();
        }
    }
}

/// The snapshot's name.
pub fn name_of(snapshot: &Snapshot) -> SnapshotName {
    SnapshotName { index: snapshot.index(), term: snapshot.term(), chain: snapshot.chain() }
}

fn piece_of(block: &Bytes, piece: u32) -> Option<Bytes> {
    let from = (piece as usize).checked_mul(PIECE_BYTES)?;
    let to = from.checked_add(PIECE_BYTES)?.min(block.len());
    (from < to).then(|| block.slice(from..to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Configuration;
    use crate::types::{DirectoryId, GenesisId, LogIndex, ServerId, Term};

    /// Each key has a block to itself, but for the last, which shares one with the end.
    fn snapshot(keys: u32) -> Snapshot {
        let members = [(ServerId(1), DirectoryId(1))].into();
        let configuration = Configuration::at_genesis(GenesisId(1), members);
        let pair = |number: u32| {
            let value = vec![u8::try_from(number).unwrap(); 60 << 10];
            (format!("{number:05}").into(), LogIndex(1), value.into())
        };
        let state = State::of_keys(LogIndex(9), configuration, (0..keys).map(pair));
        Snapshot::new(state, Term(1), 7)
    }

    /// What comes of a request for all of the block's first pieces in this turn.
    fn ask(outbound: &mut Outbound, block: u32) -> Vec<SnapshotPiece> {
        let (snapshot, first) = (outbound.name(), 0);
        let mut request = SnapshotRequest { snapshot, block, first, wanted: u64::MAX };
        std::iter::from_fn(|| outbound.take_piece(&mut request)).collect()
    }

    fn joined(pieces: &[SnapshotPiece]) -> Vec<u8> {
        pieces.iter().flat_map(|piece| piece.bytes.to_vec()).collect()
    }

    #[test]
    fn each_block_is_sent_whole_and_the_last_is_named_as_such() {
        let snapshot = snapshot(3);
        let blocks: Vec<Bytes> = snapshot.blocks().collect();
        let mut outbound = Outbound::new(snapshot, Instant(0));
        for (number, block) in (0..).zip(&blocks) {
            let pieces = ask(&mut outbound, number);
            assert_eq!(joined(&pieces), block[..], "block {number}");
            let is_last = number as usize + 1 == blocks.len();
            assert!(pieces.iter().all(|piece| piece.last == is_last), "block {number}");
            outbound.end_turn();
        }
        assert_eq!(ask(&mut outbound, 1_000), [], "there is no such block");
        assert_eq!(ask(&mut outbound, 0).first().map(|piece| piece.last), Some(false));
    }

    /// Another node has sent those before.
    #[test]
    fn a_block_far_ahead_is_reached_by_so_many_a_turn() {
        let mut outbound = Outbound::new(snapshot(9), Instant(0));
        let turns = (1..9).find(|_| {
            let is_sent = !ask(&mut outbound, 5).is_empty();
            outbound.end_turn();
            is_sent
        });
        assert_eq!(turns, Some(3), "six blocks, of which two are made in a turn");
    }

    #[test]
    fn blocks_that_are_not_kept_are_made_again() {
        let snapshot = snapshot(80);
        let blocks: Vec<Bytes> = snapshot.blocks().collect();
        let mut outbound = Outbound::new(snapshot, Instant(0));
        let numbers = 0..u32::try_from(blocks.len()).unwrap();
        let last = numbers.end - 1;
        for number in numbers.chain(0..last).chain([last, 0]) {
            let sent = joined(&ask(&mut outbound, number));
            assert_eq!(sent, blocks[number as usize][..], "block {number}");
            outbound.end_turn();
        }
        assert_eq!(outbound.made.len(), BLOCKS_KEPT);
    }

    #[test]
    fn no_piece_begins_at_the_end_of_a_block() {
        let block = Bytes::from(vec![7; 2 * PIECE_BYTES]);
        let lengths = (0..4).map(|piece| piece_of(&block, piece).map(|bytes| bytes.len()));
        let whole = Some(PIECE_BYTES);
        assert_eq!(lengths.collect::<Vec<_>>(), [whole, whole, None, None]);
    }
}
