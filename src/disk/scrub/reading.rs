//! One file that is read again, as far as it has come.

use bytes::{Bytes, BytesMut};

use super::super::SegmentSize;
use super::super::directory::Directory;
use super::super::image::Image;
use super::super::names::{self, JOURNAL};
use super::super::scan::{Flaw, Harm, sealed_flaws};
use super::super::snapshot_file::{HEADER_BYTES, block_length, take_block, take_header};
use super::{File, SLICE_BYTES, meta_flaws};
use crate::codec::Reader;
use crate::types::{DirectoryId, LogIndex};

/// More than a block of a snapshot ever takes.
const BLOCK_BYTES_MAX: usize = 4 << 20;

/// A file, and what was read of it.
#[derive(Debug)]
pub(super) struct Reading {
    pub file: File,
    /// Up to here it was read.
    offset: u64,
    /// Of a segment all of that; of a snapshot what is not a whole block yet.
    bytes: BytesMut,
    /// The block of the snapshot that comes next; none: its header.
    next_block: Option<u32>,
    /// The snapshot's last block has come.
    is_ended: bool,
}

impl Reading {
    /// The file, from its beginning.
    pub fn begin(file: File) -> Self {
        Self { file, offset: 0, bytes: BytesMut::new(), next_block: None, is_ended: false }
    }

    /// Reads the next slice. Returns what is wrong with the file once that is known.
    pub fn read_on(
        &mut self,
        directory: &dyn Directory,
        of: (DirectoryId, SegmentSize),
    ) -> Option<Vec<Flaw>> {
        match self.file {
            File::Meta => Some(meta_flaws(directory, None)),
            File::Segment(number) => self.segment(number, directory, of),
            File::Snapshot(index) => self.snapshot(index, directory),
        }
    }

    /// A segment is judged as a whole: which of its sectors should hold something is told by
    /// those behind them.
    fn segment(
        &mut self,
        number: u32,
        directory: &dyn Directory,
        (id, size): (DirectoryId, SegmentSize),
    ) -> Option<Vec<Flaw>> {
        let name = names::segment(JOURNAL, number);
        let left = size.bytes() as usize - self.bytes.len();
        let most = left.min(SLICE_BYTES);
        let Ok(slice) = directory.reread(&name, self.offset, most) else {
            return Some(vec![self.flaw(name, "it cannot be read from there on")]);
        };
        self.take(&slice);
        if slice.len() == most && left > most {
            return None;
        }
        let bytes = std::mem::take(&mut self.bytes).freeze();
        Some(sealed_flaws(&Image::new(number, name, id, size, bytes)))
    }

    /// The checksums of a snapshot are checked block by block. It is not decoded, for that
    /// takes the room of another state.
    fn snapshot(&mut self, index: LogIndex, directory: &dyn Directory) -> Option<Vec<Flaw>> {
        let name = names::snapshot(index);
        let Ok(slice) = directory.reread(&name, self.offset, SLICE_BYTES) else {
            return Some(vec![self.flaw(name, "it cannot be read from there on")]);
        };
        self.take(&slice);
        let is_intact = self.take_blocks(index);
        if is_intact && slice.len() == SLICE_BYTES {
            return None;
        }
        if is_intact && self.is_ended {
            return Some(Vec::new());
        }
        self.offset -= self.bytes.len() as u64;
        Some(vec![self.flaw(name, "the snapshot is not intact from there on")])
    }

    fn take(&mut self, slice: &Bytes) {
        self.offset += slice.len() as u64;
        self.bytes.extend_from_slice(slice);
    }

    /// Checks and drops the blocks that are whole. Returns whether all is intact so far.
    fn take_blocks(&mut self, index: LogIndex) -> bool {
        loop {
            let length = match self.next_block {
                None => Some(HEADER_BYTES),
                Some(_) => block_length(&self.bytes),
            };
            let Some(length) = length else { return !self.is_ended || self.bytes.is_empty() };
            if self.is_ended || length > BLOCK_BYTES_MAX {
                return false;
            }
            if self.bytes.len() < length {
                return true;
            }
            let part = Bytes::copy_from_slice(&self.bytes[..length]);
            if !self.is_next(&mut Reader::new(part), index) {
                return false;
            }
            drop(self.bytes.split_to(length));
        }
    }

    /// Takes in the header or the next block. Returns whether that is what should stand there.
    fn is_next(&mut self, part: &mut Reader, index: LogIndex) -> bool {
        let Some(number) = self.next_block else {
            self.next_block = Some(0);
            return take_header(part).is_ok_and(|(said, ..)| said == index);
        };
        self.next_block = Some(number + 1);
        let Ok((_, is_last)) = take_block(part, number) else { return false };
        self.is_ended = is_last;
        true
    }

    fn flaw(&self, name: String, what: &'static str) -> Flaw {
        Flaw { name, offset: self.offset, what, harm: Harm::Something }
    }
}
