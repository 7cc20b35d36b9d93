//! A snapshot on its way to nodes that fetch it.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::store::{Place, Snapshot, State};
use crate::time::Instant;
use crate::wire::{PIECE_BYTES, SnapshotName, SnapshotPiece, SnapshotRequest};

/// How many blocks are kept after they were made: those that are likely asked for again.
const BLOCKS_KEPT: usize = 8;
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
    made: VecDeque<(u32, Bytes)>,
    /// How many more may be made in this turn.
    budget: usize,
    /// When it was last asked for.
    pub(super) asked_at: Instant,
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

    /// The pieces that are asked for; none while the block is not reached.
    pub(super) fn pieces(&mut self, request: &SnapshotRequest) -> Vec<SnapshotPiece> {
        let Some(block) = self.block(request.block) else { return Vec::new() };
        let last = self.ended && request.block as usize + 1 == self.places.len();
        let checksum = crc32fast::hash(&block);
        let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
        let wanted = (0..64).filter(|bit| request.wanted & 1 << bit != 0);
        let pieces = wanted.filter_map(|bit| {
            let piece = request.first.checked_add(bit)?;
            let bytes = piece_of(&block, piece)?;
            let SnapshotRequest { snapshot, block, .. } = *request;
            Some(SnapshotPiece { snapshot, block, last, length, checksum, piece, bytes })
        });
        pieces.collect()
    }

    /// Ends a turn: the next one may make as many blocks.
    pub(super) fn end_turn(&mut self) {
        self.budget = BLOCKS_PER_TURN;
    }

    fn block(&mut self, number: u32) -> Option<Bytes> {
        if let Some((_, block)) = self.made.iter().find(|(made, _)| *made == number) {
            return Some(block.clone());
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

    fn make(&mut self, number: u32) -> Option<Bytes> {
        self.budget -= 1;
        let (block, next) = self.snapshot.block(self.places.get(number as usize)?);
        if number as usize + 1 == self.places.len() {
            self.ended = next.is_none();
            self.places.extend(next);
        }
        if self.made.len() == BLOCKS_KEPT {
            self.made.pop_front();
        }
        self.made.push_back((number, block.clone()));
        Some(block)
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
