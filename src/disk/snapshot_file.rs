//! A snapshot as a file: a header, then its blocks, each with a checksum.

use bytes::{BufMut, Bytes};

use super::directory::{Directory, DiskError};
use super::meta::FORMAT_VERSION;
use super::names::{self, SNAPSHOT_AT_BIRTH};
use super::set_aside;
use crate::codec::{Malformed, Reader};
use crate::store::{Snapshot, SnapshotBuilder};
use crate::types::{GenesisId, LogIndex, Term};

const MAGIC: [u8; 8] = *b"quorates";
pub(super) const HEADER_BYTES: usize = 36;
const BLOCK_HEADER_BYTES: usize = 16;

/// Makes the snapshot durable, then removes those before it.
///
/// # Errors
/// The disk's. After [`DiskError::NoSpace`] there is what was there before, but for what was set
/// aside.
pub fn write_snapshot(directory: &mut dyn Directory, snapshot: &Snapshot) -> Result<(), DiskError> {
    let name = match add_snapshot(directory, snapshot) {
        Err(DiskError::NoSpace) if set_aside::free(directory)? => add_snapshot(directory, snapshot),
        added => added,
    }?;
    for other in snapshot_names(directory)? {
        if other < name {
            directory.remove(&other)?;
        }
    }
    directory.sync_names()
}

/// Makes the snapshot durable beside any others. Returns the name of its file.
pub(super) fn add_snapshot(
    directory: &mut dyn Directory,
    snapshot: &Snapshot,
) -> Result<String, DiskError> {
    let length = |block: Bytes| (BLOCK_HEADER_BYTES + block.len()) as u64;
    let bytes = HEADER_BYTES as u64 + snapshot.blocks().map(length).sum::<u64>();
    directory.create(SNAPSHOT_AT_BIRTH, bytes)?;
    let mut offset = 0;
    for piece in encode_snapshot(snapshot) {
        directory.write_at(SNAPSHOT_AT_BIRTH, offset, &piece)?;
        offset += piece.len() as u64;
    }
    directory.sync(SNAPSHOT_AT_BIRTH)?;
    let name = names::snapshot(snapshot.index());
    directory.rename(SNAPSHOT_AT_BIRTH, &name)?;
    directory.sync_names()?;
    Ok(name)
}

/// The bytes of the snapshot's file, piece by piece.
pub fn encode_snapshot(snapshot: &Snapshot) -> impl Iterator<Item = Vec<u8>> {
    let mut blocks = snapshot.blocks().enumerate().peekable();
    let next_block = move || {
        let (number, block) = blocks.next()?;
        Some(encode_block(number, blocks.peek().is_none(), &block))
    };
    std::iter::once(encode_header(snapshot)).chain(std::iter::from_fn(next_block))
}

/// The snapshots that a directory holds.
#[derive(Debug)]
pub(super) struct Snapshots {
    /// The newest that is intact, and the length of its file in bytes.
    pub newest: Option<(Snapshot, u64)>,
    /// Newer ones that are damaged, by name.
    pub damaged: Vec<String>,
    /// Older ones, and those of another cluster, which nobody needs any more, by name.
    pub superseded: Vec<String>,
    /// The newest, if it was set aside and can be read again: the name that it has, and the one
    /// that it is to have.
    pub returned: Option<(String, String)>,
}

/// Reads the newest snapshot of this cluster that is intact. None is ever used in part.
///
/// One of another cluster was put there by a rescue that broke off, or stems from before one
/// that did not: `birth.rs`.
///
/// # Errors
/// The disk's.
pub(super) fn read_snapshots(
    directory: &dyn Directory,
    cluster: Option<GenesisId>,
    set_aside: &[(String, String)],
) -> Result<Snapshots, DiskError> {
    let mut found =
        Snapshots { newest: None, damaged: Vec::new(), superseded: Vec::new(), returned: None };
    for name in snapshot_names(directory)?.into_iter().rev() {
        if found.newest.is_some() {
            found.superseded.push(name);
            continue;
        }
        let file = directory.read(&name)?;
        let length = file.len() as u64;
        match decode_snapshot(&file) {
            Ok(snapshot) if cluster != Some(snapshot.state().configuration().genesis) => {
                found.superseded.push(name);
            }
            Ok(snapshot) if names::snapshot(snapshot.index()) == name => {
                found.newest = Some((snapshot, length));
            }
            _ => found.damaged.push(name),
        }
    }
    for (name, former) in set_aside {
        found.take_back((name, former), cluster, directory);
    }
    Ok(found)
}

impl Snapshots {
    /// Counts a snapshot that was set aside if it is the newest and can be read again. Whatever
    /// a snapshot of the cluster holds is committed.
    fn take_back(
        &mut self,
        (name, former): (&str, &str),
        cluster: Option<GenesisId>,
        directory: &dyn Directory,
    ) {
        let known = self.newest.as_ref().map(|(snapshot, _)| snapshot.index());
        let Some(index) = names::snapshot_index(former).filter(|index| known < Some(*index)) else {
            return;
        };
        let Some(file) = set_aside::read_again(name, directory) else { return };
        let Ok(snapshot) = decode_snapshot(&file) else { return };
        if cluster == Some(snapshot.state().configuration().genesis) && snapshot.index() == index {
            let before = self.returned.replace((name.to_owned(), former.to_owned()));
            let on_its_name = known.filter(|_| before.is_none()).map(names::snapshot);
            self.superseded.extend(on_its_name);
            self.newest = Some((snapshot, file.len() as u64));
        }
    }
}

/// The names of all snapshots, the oldest first.
fn snapshot_names(directory: &dyn Directory) -> Result<Vec<String>, DiskError> {
    let mut names = directory.names()?;
    names.retain(|name| names::snapshot_index(name).is_some());
    names.sort();
    Ok(names)
}

fn encode_header(snapshot: &Snapshot) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.put_slice(&MAGIC);
    out.put_u16_le(FORMAT_VERSION);
    out.put_u16_le(u16::try_from(HEADER_BYTES).expect("a header is short"));
    out.put_u64_le(snapshot.index().0);
    out.put_u64_le(snapshot.term().0);
    out.put_u32_le(snapshot.chain());
    let checksum = crc32fast::hash(&out);
    out.put_u32_le(checksum);
    out
}

fn encode_block(number: usize, is_last: bool, block: &Bytes) -> Vec<u8> {
    let short = |length| u32::try_from(length).expect("a block is short, and there are few");
    let mut out = Vec::with_capacity(BLOCK_HEADER_BYTES + block.len());
    out.put_u32_le(0);
    out.put_u32_le(short(number));
    out.put_u32_le(short(block.len()));
    out.put_u32_le(u32::from(is_last));
    out.put_slice(block);
    let checksum = crc32fast::hash(&out[4..]);
    out[..4].copy_from_slice(&checksum.to_le_bytes());
    out
}

/// Whether the file begins as a snapshot's does, of whatever version.
pub fn is_snapshot(file: &[u8]) -> bool {
    file.starts_with(&MAGIC)
}

/// The snapshot that the file holds, every checksum checked.
///
/// # Errors
/// [`Malformed`] when any byte of it is not as it was written, or it is of another version.
pub fn decode_snapshot(file: &Bytes) -> Result<Snapshot, Malformed> {
    let mut reader = Reader::new(file.clone());
    let header = take_header(&mut reader)?;
    let snapshot = decode_blocks(&mut reader)?;
    reader.finish()?;
    let said = (snapshot.index(), snapshot.term(), snapshot.chain());
    if said == header { Ok(snapshot) } else { Err(Malformed) }
}

/// What the header says: index, term and chain value.
pub(super) fn take_header(reader: &mut Reader) -> Result<(LogIndex, Term, u32), Malformed> {
    let header = reader.bytes(HEADER_BYTES - 4)?;
    if reader.u32()? != crc32fast::hash(&header) {
        return Err(Malformed);
    }
    let mut fields = Reader::new(header);
    let magic = fields.bytes(MAGIC.len())?;
    let (version, length) = (fields.u16()?, usize::from(fields.u16()?));
    if magic != MAGIC.as_slice() || version != FORMAT_VERSION || length != HEADER_BYTES {
        return Err(Malformed);
    }
    Ok((LogIndex(fields.u64()?), Term(fields.u64()?), fields.u32()?))
}

fn decode_blocks(reader: &mut Reader) -> Result<Snapshot, Malformed> {
    let mut builder = SnapshotBuilder::new();
    for expected in 0.. {
        let (block, is_last) = take_block(reader, expected)?;
        builder.add(block)?;
        if is_last {
            break;
        }
    }
    builder.finish()
}

/// The content of the block of this number, and whether it is the last.
pub(super) fn take_block(reader: &mut Reader, expected: u32) -> Result<(Bytes, bool), Malformed> {
    let checksum = reader.u32()?;
    let header = reader.bytes(BLOCK_HEADER_BYTES - 4)?;
    let mut fields = Reader::new(header.clone());
    let (number, length) = (fields.u32()?, fields.u32()?);
    let is_last = match fields.u32()? {
        0 => false,
        1 => true,
        _ => return Err(Malformed),
    };
    let block = reader.bytes(length as usize)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header);
    hasher.update(&block);
    if number != expected || checksum != hasher.finalize() {
        return Err(Malformed);
    }
    Ok((block, is_last))
}

/// How long the block is that begins with these bytes, its header included; none: they are
/// too few to tell.
pub(super) fn block_length(bytes: &[u8]) -> Option<usize> {
    let (field, _) = bytes.get(8..BLOCK_HEADER_BYTES)?.split_first_chunk()?;
    Some(BLOCK_HEADER_BYTES.saturating_add(u32::from_le_bytes(*field) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The index in a header whose bytes are otherwise intact, if it is one at all.
    fn index_with(at: usize, byte: u8) -> Option<LogIndex> {
        let mut out = Vec::new();
        out.put_slice(&MAGIC);
        out.put_u16_le(FORMAT_VERSION);
        out.put_u16_le(36);
        out.put_u64_le(7);
        out.put_bytes(0, 12);
        out[at] = byte;
        out.put_u32_le(crc32fast::hash(&out));
        take_header(&mut Reader::new(out.into())).ok().map(|(index, ..)| index)
    }

    #[test]
    fn a_header_of_another_kind_is_no_snapshots() {
        assert_eq!(index_with(0, MAGIC[0]), Some(LogIndex(7)));
        for (at, field) in [(0, "magic"), (8, "version"), (10, "length")] {
            assert_eq!(index_with(at, 99), None, "{field}");
        }
    }
}
