//! Messages that carry a snapshot to a node that lacks it, and their bytes.

use bytes::{BufMut, Bytes};

use super::fields::{put_bytes, take_bytes};
use super::frame::HEADER_BYTES;
use super::kind::Body;
use super::message::PIECE_BYTES;
use crate::codec::{Malformed, Reader};
use crate::types::{LogIndex, Term};

/// Which snapshot: two of the same name are equal, whoever made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotName {
    /// The index of the last entry that it covers.
    pub index: LogIndex,
    /// That entry's term.
    pub term: Term,
    /// That entry's chain value.
    pub chain: u32,
}

/// The sender has this snapshot, and no longer all entries that it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotOffer {
    /// The sender's term.
    pub term: Term,
    /// The snapshot.
    pub snapshot: SnapshotName,
}

/// Asks for pieces of one block of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// The snapshot.
    pub snapshot: SnapshotName,
    /// The block's number, from zero.
    pub block: u32,
    /// The first piece that may be wanted.
    pub first: u32,
    /// Which pieces are: bit *i* stands for the piece `first + i`.
    pub wanted: u64,
}

/// The bytes of a frame with a [`SnapshotPiece`] apart from the piece.
pub const SNAPSHOT_PIECE_BYTES_FIXED: usize = HEADER_BYTES + 39;

/// One piece of a block of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPiece {
    /// The snapshot.
    pub snapshot: SnapshotName,
    /// The block's number.
    pub block: u32,
    /// Whether the block is the last.
    pub last: bool,
    /// The block's length, in bytes.
    pub length: u32,
    /// The CRC-32 of the whole block.
    pub checksum: u32,
    /// Which piece this is: pieces are [`PIECE_BYTES`] long, but for the block's last.
    pub piece: u32,
    /// The piece.
    pub bytes: Bytes,
}

impl SnapshotName {
    pub(super) fn put(self, out: &mut Vec<u8>) {
        out.put_u64_le(self.index.0);
        out.put_u64_le(self.term.0);
        out.put_u32_le(self.chain);
    }

    pub(super) fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self { index: LogIndex(reader.u64()?), term: Term(reader.u64()?), chain: reader.u32()? })
    }
}

impl Body for SnapshotOffer {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.term.0);
        self.snapshot.put(out);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self { term: Term(reader.u64()?), snapshot: SnapshotName::take(reader)? })
    }
}

impl Body for SnapshotRequest {
    fn put(&self, out: &mut Vec<u8>) {
        self.snapshot.put(out);
        out.put_u32_le(self.block);
        out.put_u32_le(self.first);
        out.put_u64_le(self.wanted);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            snapshot: SnapshotName::take(reader)?,
            block: reader.u32()?,
            first: reader.u32()?,
            wanted: reader.u64()?,
        })
    }
}

impl Body for SnapshotPiece {
    fn put(&self, out: &mut Vec<u8>) {
        self.snapshot.put(out);
        out.put_u32_le(self.block);
        out.put_u8(u8::from(self.last));
        out.put_u32_le(self.length);
        out.put_u32_le(self.checksum);
        out.put_u32_le(self.piece);
        put_bytes(out, &self.bytes);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            snapshot: SnapshotName::take(reader)?,
            block: reader.u32()?,
            last: reader.bool()?,
            length: reader.u32()?,
            checksum: reader.u32()?,
            piece: reader.u32()?,
            bytes: take_bytes(reader, PIECE_BYTES)?,
        })
    }
}
