//! Reading a journal back: how far it is valid, and whether what follows is a torn tail
//! or damage.

use std::fmt;

use bytes::Bytes;

use super::Recovered;
use super::format::{BATCH_MAGIC, FORMAT_VERSION, Header, decode_batch, decode_header};
use super::replay::{Contradiction, Replay};

/// What a journal holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// What the records describe. The incarnation is that of the last start, zero
    /// before the first: who starts the node again counts it up and writes
    /// [`encode_start`](super::encode_start).
    pub recovered: Recovered,
    /// The length of the valid part, in bytes: the file must be cut here.
    pub end: u64,
    /// The length of the beginning that is known to be durable, in bytes. What lies
    /// between here and `end` must be written again and synced before it is relied on:
    /// it may have come from the page cache and not from the disk.
    pub synced: u64,
    /// The number of the next batch.
    pub next_batch: u64,
    /// How many bytes of a torn tail lie beyond `end`.
    pub torn: u64,
}

/// Why a journal cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Its header is missing or damaged.
    Header,
    /// It is intact, but of another format.
    Version(u16),
    /// What stands at `offset` is no valid batch, although a later one says that the
    /// file was durable up to `synced`.
    Batch {
        /// Where it begins, in bytes.
        offset: u64,
        /// Up to where all was durable, in bytes.
        synced: u64,
    },
    /// The batch at `offset` is intact, but cannot be true.
    Contradiction {
        /// Where it begins, in bytes.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => write!(f, "it does not begin with the intact header of a journal"),
            Self::Version(version) => write!(
                f,
                "it is in format {version} and this program reads format {FORMAT_VERSION}; \
                 use the program that wrote it, or a newer one"
            ),
            Self::Batch { offset, synced } => write!(
                f,
                "it is damaged at byte {offset}, although it was durable up to byte {synced}"
            ),
            Self::Contradiction { offset, what } => {
                write!(f, "it contradicts itself at byte {offset}: {what}")
            }
        }
    }
}

/// Reads the journal that `file` holds.
///
/// A batch that fails its checks ends the valid part. It is a torn tail, to be cut, as
/// long as no later batch tells that it was durable once; otherwise it is damage.
///
/// # Errors
/// The [`Damage`], for which the journal must not be used.
pub fn recover(file: &Bytes) -> Result<Recovery, Damage> {
    let (identity, header_bytes) = match decode_header(file) {
        Some(Header::Known(identity, length)) => (identity, length),
        Some(Header::OtherVersion(version)) => return Err(Damage::Version(version)),
        None => return Err(Damage::Header),
    };
    let mut replay = Replay::new(identity);
    // The file gets its name only after its header is durable.
    let mut synced = header_bytes as u64;
    let mut end = header_bytes;
    let mut next_batch = 1;
    while let Some(batch) = decode_batch(file, end) {
        let plausible = batch.number == next_batch && batch.synced <= end as u64;
        plausible.then_some(()).ok_or("a batch out of order").map_err(at(end))?;
        replay.batch(batch.body).map_err(at(end))?;
        synced = synced.max(batch.synced);
        next_batch += 1;
        end += batch.length;
    }
    if let Some(synced) = durable_beyond(file, end, next_batch) {
        return Err(Damage::Batch { offset: end as u64, synced });
    }
    Ok(Recovery {
        recovered: replay.finish(),
        end: end as u64,
        synced,
        next_batch,
        torn: (file.len() - end) as u64,
    })
}

fn at(offset: usize) -> impl Fn(Contradiction) -> Damage {
    move |what| Damage::Contradiction { offset: offset as u64, what }
}

/// How far a batch beyond `end` says that the file was durable, if that is beyond `end`.
///
/// A copy of a batch inside some entry's payload does not count: it would have to have
/// stood at almost the same offset in its own file.
fn durable_beyond(file: &Bytes, end: usize, next_batch: u64) -> Option<u64> {
    let candidates = (end + 1..file.len()).filter(|at| file[*at..].starts_with(&BATCH_MAGIC));
    candidates
        .filter_map(|at| Some((at as u64, decode_batch(file, at)?)))
        .filter(|(at, batch)| batch.number > next_batch && batch.synced <= *at)
        .map(|(_, batch)| batch.synced)
        .find(|synced| *synced > end as u64)
}
