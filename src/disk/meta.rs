//! The file `meta`: whose directory it is, and what its node has promised.
//!
//! It holds two copies of the same. One disk sector of each holds all that changes often,
//! and a disk writes a sector whole or not at all: so both can be written at once, and
//! made durable by one sync. The genesis takes more than a sector, so it is written and
//! synced in one copy after the other.

use bytes::{Buf, BufMut, Bytes};

use super::directory::{Directory, DiskError};
use super::names::META;
use super::sector::SECTOR_BYTES;
use super::{Doubt, GenesisState, Identity, SegmentSize, StartError};
use crate::codec::{Malformed, Reader};
use crate::configuration::Configuration;
use crate::types::{DirectoryId, Incarnation, LogIndex, ServerId, Term};
use crate::wire::CLUSTER_NAME_BYTES_MAX;

/// The version of the format that this program writes and reads.
pub const FORMAT_VERSION: u16 = 3;

const MAGIC: [u8; 8] = *b"quoratem";
/// How long the file is.
pub const META_BYTES: u64 = 8_192;
/// Where the copies begin: far enough from each other that no one flaw of a disk takes
/// both.
const COPIES: [u64; 2] = [0, SECOND_COPY as u64];
const SECOND_COPY: usize = 4_096;
/// How much of the file is one copy's; zeros follow it there.
const PLACE_BYTES: usize = SECOND_COPY;
/// The first sector of a copy, without its checksum at the end.
const CHECKED_BYTES: usize = SECTOR_BYTES - 4;
/// The longest genesis: the three sectors behind the first.
const GENESIS_BYTES_MAX: usize = 3 * SECTOR_BYTES;
const COPY_BYTES: usize = SECTOR_BYTES + GENESIS_BYTES_MAX;

/// What a directory says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    /// Counted up by every update: the newest copy counts.
    pub sequence: u64,
    pub identity: Identity,
    pub incarnation: Incarnation,
    pub segment_size: SegmentSize,
    /// Segments of lower numbers are leftovers.
    pub first_segment: u32,
    pub genesis: GenesisState,
    pub term: Term,
    pub voted_for: Option<ServerId>,
    pub doubt: Option<Doubt>,
    /// What the sectors of the journal are stamped with: the directory's first id. It stays
    /// when the directory goes on as another.
    pub stamp: DirectoryId,
}

impl Meta {
    /// That of a directory which was never used.
    pub fn blank(identity: Identity, segment_size: SegmentSize) -> Self {
        Self {
            sequence: 0,
            stamp: identity.directory,
            identity,
            incarnation: Incarnation(0),
            segment_size,
            first_segment: 1,
            genesis: GenesisState::Blank,
            term: Term(0),
            voted_for: None,
            doubt: None,
        }
    }

    /// Writes what a vote or a term changes. It is not synced yet.
    pub fn write_promises(&mut self, directory: &mut dyn Directory) -> Result<(), DiskError> {
        self.sequence += 1;
        let first_sector = self.encode_first_sector();
        for copy in COPIES {
            directory.write_at(META, copy, &first_sector)?;
        }
        Ok(())
    }

    /// Writes everything, and makes it durable: one copy after the other, so that one is
    /// whole whenever the power fails.
    pub fn save(&mut self, directory: &mut dyn Directory) -> Result<(), DiskError> {
        self.sequence += 1;
        self.save_as(META, directory)
    }

    /// The same, as it is, into a file of this name.
    ///
    /// All of a copy's page is written: to write a part of it, the system must read the rest
    /// first, and that fails when the page is what cannot be read.
    pub fn save_as(&self, name: &str, directory: &mut dyn Directory) -> Result<(), DiskError> {
        let mut bytes = self.encode();
        bytes.resize(PLACE_BYTES, 0);
        for copy in COPIES {
            directory.write_at(name, copy, &bytes)?;
            directory.sync(name)?;
        }
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = self.encode_first_sector();
        out.put_slice(&self.encode_genesis());
        out.resize(COPY_BYTES, 0);
        out
    }

    fn encode_genesis(&self) -> Bytes {
        match &self.genesis {
            GenesisState::Blank => Bytes::new(),
            GenesisState::Accepted(genesis) | GenesisState::Complete(genesis) => genesis.encode(),
        }
    }

    fn encode_first_sector(&self) -> Vec<u8> {
        let genesis = self.encode_genesis();
        let cluster = self.identity.cluster.as_bytes();
        assert!(genesis.len() <= GENESIS_BYTES_MAX, "a cluster has few members");
        assert!(cluster.len() <= CLUSTER_NAME_BYTES_MAX, "a cluster's name is short");
        let mut out = Vec::with_capacity(COPY_BYTES);
        out.put_slice(&MAGIC);
        out.put_u16_le(FORMAT_VERSION);
        out.put_u16_le(u16::try_from(SECTOR_BYTES).expect("a sector is short"));
        out.put_u64_le(self.sequence);
        out.put_u64_le(self.identity.directory.0);
        out.put_u16_le(self.identity.id.0);
        out.put_u8(u8::try_from(cluster.len()).expect("a cluster's name is short"));
        out.put_u8(genesis_byte(&self.genesis));
        out.put_u32_le(self.incarnation.0);
        out.put_u32_le(self.segment_size.bytes());
        out.put_u32_le(self.first_segment);
        out.put_u64_le(self.term.0);
        out.put_u16_le(self.voted_for.unwrap_or(ServerId::NONE).0);
        out.put_u16_le(u16::try_from(genesis.len()).expect("checked above"));
        out.put_u32_le(crc32fast::hash(&genesis));
        put_doubt(self.doubt, &mut out);
        out.put_u64_le(self.stamp.0);
        out.put_slice(cluster);
        out.resize(CHECKED_BYTES, 0);
        let checksum = crc32fast::hash(&out);
        out.put_u32_le(checksum);
        out
    }
}

fn genesis_byte(genesis: &GenesisState) -> u8 {
    match genesis {
        GenesisState::Blank => 0,
        GenesisState::Accepted(_) => 1,
        GenesisState::Complete(_) => 2,
    }
}

fn put_doubt(doubt: Option<Doubt>, out: &mut Vec<u8>) {
    let (kind, (term, index)) = match doubt {
        None => (0, <_>::default()),
        Some(Doubt { upto: Some(upto) }) => (1, upto),
        Some(Doubt { upto: None }) => (2, <_>::default()),
    };
    out.put_u8(kind);
    out.put_u64_le(term.0);
    out.put_u64_le(index.0);
}

/// The file, as it was read: nothing of it is known to be on the disk.
#[derive(Clone, Debug)]
pub(super) struct FoundMeta {
    pub meta: Meta,
    /// The copy that it was read from.
    at: u64,
    bytes: Bytes,
    /// Where the file holds a copy that is not intact.
    pub damaged: Vec<u64>,
}

impl FoundMeta {
    /// The newer of the two copies in the file.
    ///
    /// # Errors
    /// [`StartError::MetaLost`] when no copy is intact, and [`StartError::Version`] when it
    /// is in another format.
    pub fn read(file: &Bytes) -> Result<Self, StartError> {
        let copies = COPIES.map(|at| (at, decode_copy(file, at)));
        let damaged = damaged_copies(file);
        let other_version = copies.iter().find_map(|(_, copy)| match copy {
            Err(StartError::Version(version)) => Some(StartError::Version(*version)),
            _ => None,
        });
        let intact = copies.into_iter().filter_map(|(at, copy)| Some((at, copy.ok()?)));
        let newest = intact.max_by_key(|(_, (meta, _))| meta.sequence);
        let Some((at, (meta, bytes))) = newest else {
            return Err(other_version.unwrap_or(StartError::MetaLost));
        };
        Ok(Self { meta, at, bytes, damaged })
    }

    /// Makes `meta` durable in its place, with the same genesis. docs/guarantees.md:
    /// "Nothing read at start is relied on before it is written and synced again": the copy
    /// that was read may be in the page cache alone, and the other the only one on the
    /// disk. So it is written as it is first; after that only its first sector changes.
    pub fn replace(&self, meta: &mut Meta, directory: &mut dyn Directory) -> Result<(), DiskError> {
        directory.write_at(META, self.at, &self.bytes)?;
        directory.sync(META)?;
        meta.save(directory)
    }
}

/// Where the file holds a copy that is not intact.
pub(super) fn damaged_copies(file: &Bytes) -> Vec<u64> {
    COPIES.into_iter().filter(|at| decode_copy(file, *at).is_err()).collect()
}

/// Where the file holds a copy that is intact, but says something else than this.
pub(super) fn other_copies(file: &Bytes, meta: &Meta) -> Vec<u64> {
    let is_other = |at: &u64| decode_copy(file, *at).is_ok_and(|(copy, _)| copy != *meta);
    COPIES.into_iter().filter(is_other).collect()
}

/// The copy at this place, and its bytes.
fn decode_copy(file: &Bytes, at: u64) -> Result<(Meta, Bytes), StartError> {
    let from = if at == 0 { 0 } else { SECOND_COPY };
    let until = file.len().min(from + COPY_BYTES);
    let copy = file.slice(from.min(until)..until);
    let lost = |Malformed| StartError::MetaLost;
    let mut reader = Reader::new(copy.clone());
    let magic = reader.bytes(MAGIC.len()).map_err(lost)?;
    let version = reader.u16().map_err(lost)?;
    let length = usize::from(reader.u16().map_err(lost)?);
    let checked = length.checked_sub(4).and_then(|length| copy.get(..length));
    let checksum = checked.and_then(|checked| copy.get(checked.len()..length));
    let (Some(checked), Some(mut checksum)) = (checked, checksum) else {
        return Err(StartError::MetaLost);
    };
    if magic != MAGIC.as_slice() || checksum.get_u32_le() != crc32fast::hash(checked) {
        return Err(StartError::MetaLost);
    }
    if version != FORMAT_VERSION {
        return Err(StartError::Version(version));
    }
    let genesis = copy.slice(length.min(copy.len())..);
    let meta = decode_fields(&mut reader, genesis).map_err(lost)?;
    Ok((meta, copy))
}

fn decode_fields(reader: &mut Reader, genesis: Bytes) -> Result<Meta, Malformed> {
    let sequence = reader.u64()?;
    let directory = DirectoryId(reader.u64()?);
    let id = ServerId(reader.u16()?);
    let cluster_bytes = usize::from(reader.u8()?);
    let genesis_kind = reader.u8()?;
    let incarnation = Incarnation(reader.u32()?);
    let segment_size = SegmentSize::new(u64::from(reader.u32()?)).ok_or(Malformed)?;
    let first_segment = reader.u32()?;
    let term = Term(reader.u64()?);
    let voted_for = Some(ServerId(reader.u16()?)).filter(|id| *id != ServerId::NONE);
    let genesis_bytes = usize::from(reader.u16()?);
    let genesis_checksum = reader.u32()?;
    let doubt = decode_doubt(reader)?;
    let stamp = DirectoryId(reader.u64()?);
    let cluster = reader.bytes(cluster_bytes.min(CLUSTER_NAME_BYTES_MAX))?;
    let cluster = String::from_utf8(cluster.to_vec()).map_err(|_| Malformed)?;
    let genesis = Reader::new(genesis).bytes(genesis_bytes)?;
    if crc32fast::hash(&genesis) != genesis_checksum {
        return Err(Malformed);
    }
    let genesis = decode_genesis(genesis_kind, genesis)?;
    let identity = Identity { cluster, id, directory };
    Ok(Meta {
        sequence,
        identity,
        incarnation,
        segment_size,
        first_segment,
        genesis,
        term,
        voted_for,
        doubt,
        stamp,
    })
}

fn decode_doubt(reader: &mut Reader) -> Result<Option<Doubt>, Malformed> {
    let (kind, upto) = (reader.u8()?, (Term(reader.u64()?), LogIndex(reader.u64()?)));
    match kind {
        0 => Ok(None),
        1 => Ok(Some(Doubt { upto: Some(upto) })),
        2 => Ok(Some(Doubt { upto: None })),
        _ => Err(Malformed),
    }
}

fn decode_genesis(kind: u8, bytes: Bytes) -> Result<GenesisState, Malformed> {
    let mut reader = Reader::new(bytes);
    let genesis = match kind {
        0 => GenesisState::Blank,
        1 => GenesisState::Accepted(Configuration::decode(&mut reader)?),
        2 => GenesisState::Complete(Configuration::decode(&mut reader)?),
        _ => return Err(Malformed),
    };
    reader.finish()?;
    Ok(genesis)
}
