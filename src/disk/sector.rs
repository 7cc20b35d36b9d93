//! One sector of a segment: a stamp that says what it is part of, and a payload.
//!
//! A disk writes a sector whole or not at all, or damages it. The stamp tells these
//! apart: it names the place where the sector belongs, so that not even a sector that
//! went astray passes for the one that should stand there.

use bytes::{Buf, BufMut, Bytes};

use super::LogEnd;
use crate::types::{DirectoryId, LogIndex, Term};

/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;
/// What a sector's stamp leaves of it.
pub(super) const PAYLOAD_BYTES: usize = SECTOR_BYTES - STAMP_BYTES;

const STAMP_BYTES: usize = 64;
/// Where the checksummed part begins.
const CHECKED_FROM: usize = 4;
const RESERVED_FROM: usize = 50;
/// What a stamp says that no record begins in its sector.
const NONE_BEGINS: u16 = u16::MAX;

/// Where a sector belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub directory: DirectoryId,
    /// The segment's number.
    pub segment: u32,
    /// The sector's position in the segment.
    pub sector: usize,
}

/// What a sector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A part of a batch of records.
    Batch,
    /// Written behind a batch once that was synced; the next batch takes its place.
    Synced,
    /// The same, and the next batch stands in the next segment.
    Continued,
}

/// What a sector says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub kind: Kind,
    /// The batch that it is a part of, or stands behind.
    pub batch: u64,
    /// Which of the batch's sectors it is, and how many there are.
    pub part: u32,
    pub parts: u32,
    /// The end of the log after that batch.
    pub last: LogEnd,
    /// Where in the payload the first record begins that does not begin before it.
    pub first: Option<u16>,
}

impl Stamp {
    /// The newest batch that had been synced when this was written. A batch is begun only
    /// when the one before it is synced, and a marker stands behind a synced one.
    pub fn synced(&self) -> u64 {
        match self.kind {
            Kind::Batch => self.batch.saturating_sub(1),
            Kind::Synced | Kind::Continued => self.batch,
        }
    }

    /// A marker behind the batch.
    pub fn marker(kind: Kind, batch: u64, last: LogEnd) -> Self {
        Self { kind, batch, part: 0, parts: 0, last, first: None }
    }
}

/// What a sector turns out to be when it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sector {
    /// It was written for this place of this segment.
    Valid(Stamp, Bytes),
    /// Nothing was ever written here.
    Blank,
    /// It was written here, when the file had a lower number.
    Older,
    /// The file ends before it.
    Missing,
    /// Anything else.
    Damaged,
}

/// Appends the sector that belongs to the place.
pub(super) fn encode(place: Place, stamp: &Stamp, payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.put_u32_le(0);
    out.put_u32_le(place.segment);
    out.put_u32_le(u32::try_from(place.sector).expect("a segment's sectors are counted in u32"));
    out.put_u8(match stamp.kind {
        Kind::Batch => 1,
        Kind::Synced => 2,
        Kind::Continued => 3,
    });
    out.put_u8(0);
    out.put_u16_le(u16::try_from(payload.len()).expect("a payload fits in its sector"));
    out.put_u64_le(stamp.batch);
    out.put_u32_le(stamp.part);
    out.put_u32_le(stamp.parts);
    out.put_u64_le(stamp.last.0.0);
    out.put_u64_le(stamp.last.1.0);
    out.put_u16_le(stamp.first.unwrap_or(NONE_BEGINS));
    out.put_bytes(0, STAMP_BYTES - RESERVED_FROM);
    out.put_slice(payload);
    out.put_bytes(0, PAYLOAD_BYTES - payload.len());
    let checksum = checksum(place.directory, &out[start..]);
    out[start..start + CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
}

/// What stands at the place: `bytes` is what the file has there, a sector or less.
pub(super) fn classify(place: Place, bytes: &Bytes) -> Sector {
    if bytes.len() < SECTOR_BYTES {
        return Sector::Missing;
    }
    if bytes.iter().all(|byte| *byte == 0) {
        return Sector::Blank;
    }
    let mut fields = bytes.clone();
    let is_intact = fields.get_u32_le() == checksum(place.directory, bytes);
    let segment = fields.get_u32_le();
    let sector = fields.get_u32_le();
    if !is_intact || usize::try_from(sector) != Ok(place.sector) || segment > place.segment {
        return Sector::Damaged;
    }
    if segment < place.segment {
        return Sector::Older;
    }
    decode(fields, bytes).map_or(Sector::Damaged, |(stamp, payload)| Sector::Valid(stamp, payload))
}

/// The rest of the stamp, and the payload; none when an intact sector makes no sense.
fn decode(mut fields: Bytes, sector: &Bytes) -> Option<(Stamp, Bytes)> {
    let kind = match fields.get_u8() {
        1 => Kind::Batch,
        2 => Kind::Synced,
        3 => Kind::Continued,
        _ => return None,
    };
    fields.advance(1);
    let used = usize::from(fields.get_u16_le());
    let (batch, part, parts) = (fields.get_u64_le(), fields.get_u32_le(), fields.get_u32_le());
    let last = (Term(fields.get_u64_le()), LogIndex(fields.get_u64_le()));
    let first = Some(fields.get_u16_le()).filter(|first| *first != NONE_BEGINS);
    let is_part = kind != Kind::Batch || part < parts;
    let fits = used <= PAYLOAD_BYTES && first.is_none_or(|first| usize::from(first) < used);
    let payload = sector.slice(STAMP_BYTES..STAMP_BYTES + used.min(PAYLOAD_BYTES));
    let stamp = Stamp { kind, batch, part, parts, last, first };
    (is_part && fits).then_some((stamp, payload))
}

fn checksum(directory: DirectoryId, sector: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&directory.0.to_le_bytes());
    hasher.update(&sector[CHECKED_FROM..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { directory: DirectoryId(5), segment: 7, sector: 3 };

    fn sector(place: Place) -> Bytes {
        let last = (Term(2), LogIndex(9));
        let stamp = Stamp { kind: Kind::Batch, batch: 4, part: 1, parts: 2, last, first: Some(2) };
        let mut out = Vec::new();
        encode(place, &stamp, b"payload", &mut out);
        out.into()
    }

    #[test]
    fn it_is_valid_in_its_own_place_alone() {
        let bytes = sector(PLACE);
        let Sector::Valid(stamp, payload) = classify(PLACE, &bytes) else { panic!("it is valid") };
        assert_eq!((stamp.batch, stamp.first, payload.as_ref()), (4, Some(2), &b"payload"[..]));
        let elsewhere = [
            Place { directory: DirectoryId(6), ..PLACE },
            Place { segment: 6, ..PLACE },
            Place { sector: 4, ..PLACE },
            Place { segment: 8, sector: 4, ..PLACE },
        ];
        for place in elsewhere {
            assert_eq!(classify(place, &bytes), Sector::Damaged, "{place:?}");
        }
        assert_eq!(classify(Place { segment: 8, ..PLACE }, &bytes), Sector::Older);
    }

    #[test]
    fn what_is_not_there_is_told_apart() {
        assert_eq!(classify(PLACE, &vec![0; SECTOR_BYTES].into()), Sector::Blank);
        assert_eq!(classify(PLACE, &sector(PLACE).slice(..SECTOR_BYTES - 1)), Sector::Missing);
        let unreadable = vec![0xff; SECTOR_BYTES].into();
        assert_eq!(classify(PLACE, &unreadable), Sector::Damaged, "what a start puts in its place");
        for at in 0..SECTOR_BYTES {
            let mut bytes = sector(PLACE).to_vec();
            bytes[at] ^= 0x10;
            assert_eq!(classify(PLACE, &bytes.into()), Sector::Damaged, "byte {at}");
        }
    }

    /// With the right checksum and in its place.
    #[test]
    fn what_is_intact_and_makes_no_sense_is_damaged() {
        let (kind, last) = (Kind::Batch, LogEnd::default());
        let whole = Stamp { kind, batch: 4, part: 1, parts: 2, last, first: Some(6) };
        let classified = |stamp: &Stamp, payload_bytes: u16| {
            let mut out = Vec::new();
            encode(PLACE, stamp, b"payload", &mut out);
            out[14..16].copy_from_slice(&payload_bytes.to_le_bytes());
            let checksum = checksum(PLACE.directory, &out);
            out[..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
            classify(PLACE, &out.into())
        };
        assert!(matches!(classified(&whole, 7), Sector::Valid(..)));
        assert!(matches!(classified(&whole, 448), Sector::Valid(..)), "all of the sector");
        assert_eq!(classified(&whole, 449), Sector::Damaged, "more than a sector has");
        assert_eq!(classified(&Stamp { part: 2, ..whole }, 7), Sector::Damaged, "no such part");
        let behind = Stamp { first: Some(7), ..whole };
        assert_eq!(classified(&behind, 7), Sector::Damaged, "no record begins behind the payload");
    }
}
