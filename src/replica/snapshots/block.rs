//! A block of a snapshot, as its pieces come.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::wire::{PIECE_BYTES, SnapshotPiece};

/// The pieces of one block.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) length: u32,
    checksum: u32,
    pub(super) pieces: BTreeMap<u32, Bytes>,
}

impl Block {
    pub(super) fn new(length: u32, checksum: u32) -> Self {
        Self { length, checksum, pieces: BTreeMap::new() }
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from((self.length as usize).div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX)
    }

    /// Returns whether the piece is one of this block that was missing.
    pub(super) fn add(&mut self, piece: &SnapshotPiece) -> bool {
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

    pub(super) fn is_whole(&self) -> bool {
        self.pieces.len() == self.count() as usize
    }

    /// The whole block, if it is what its checksum says.
    pub(super) fn join(self) -> Option<Bytes> {
        let mut block = Vec::with_capacity(self.length as usize);
        self.pieces.values().for_each(|piece| block.extend_from_slice(piece));
        (crc32fast::hash(&block) == self.checksum).then(|| block.into())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::types::{LogIndex, Term};
    use crate::wire::SnapshotName;

    /// The pieces of a block of these bytes.
    pub fn pieces_of(
        snapshot: SnapshotName,
        block: u32,
        bytes: &Bytes,
        last: bool,
    ) -> Vec<SnapshotPiece> {
        let (length, checksum) = (u32::try_from(bytes.len()).unwrap(), crc32fast::hash(bytes));
        let parts = bytes.chunks(PIECE_BYTES).map(Bytes::copy_from_slice);
        let piece = |(piece, bytes)| SnapshotPiece {
            snapshot,
            block,
            last,
            length,
            checksum,
            piece,
            bytes,
        };
        (0..).zip(parts).map(piece).collect()
    }

    #[test]
    fn only_pieces_of_this_very_block_are_taken_and_each_once() {
        let bytes: Bytes = vec![7; 2 * PIECE_BYTES].into();
        let name = SnapshotName { index: LogIndex(9), term: Term(1), chain: 0 };
        let pieces = pieces_of(name, 0, &bytes, false);
        let mut block = Block::new(pieces[0].length, pieces[0].checksum);
        let first = || pieces[0].clone();
        let strange = [
            SnapshotPiece { checksum: first().checksum ^ 1, ..first() },
            SnapshotPiece { length: first().length + 1, ..first() },
            SnapshotPiece { bytes: first().bytes.slice(1..), ..first() },
            SnapshotPiece { piece: 2, bytes: Bytes::new(), ..first() },
            SnapshotPiece { piece: 3, ..first() },
        ];
        assert!(strange.iter().all(|piece| !block.add(piece)));
        assert!(block.add(&pieces[0]) && !block.add(&pieces[0]));
        assert!(block.add(&pieces[1]) && block.is_whole());
        assert_eq!(block.join(), Some(bytes));
    }
}
