//! Messages by which nodes find out whether a directory was rolled back or cloned, and
//! their bytes.

use bytes::BufMut;

use super::fields::{put_option, take_option};
use super::kind::Body;
use super::repair_codec::{put_end, take_end};
use crate::codec::{Malformed, Reader};
use crate::types::{DirectoryId, Incarnation, LifeId, LogIndex, Term};

/// What the sender's directory held when the sender was started. It is the same during
/// all of that life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resume {
    /// The term.
    pub term: Term,
    /// Whether it has voted in that term.
    pub voted: bool,
    /// Where its log ended, or where at most what it cannot read any more; none: that is
    /// not known.
    pub end: Option<(Term, LogIndex)>,
}

/// What the sender has seen of the directory of a node that was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighted {
    /// The directory that is spoken of.
    pub directory: DirectoryId,
    /// The start of it that is spoken of.
    pub incarnation: Incarnation,
    /// The life that is spoken of.
    pub life: LifeId,
    /// What follows from what was seen.
    pub verdict: Verdict,
    /// The last start of the directory that was seen before; zero: none.
    pub seen_incarnation: Incarnation,
    /// The highest term in which the directory was seen to have promised anything.
    pub seen_term: Term,
    /// Whether it was seen to have voted in that term.
    pub seen_vote: bool,
    /// The last entry of that term that it was seen to have on its disk; zero: none.
    pub seen_index: LogIndex,
}

/// What a node thinks of another's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has not heard, in a frame of the present, what the directory held.
    Unheard,
    /// The directory holds all that was seen of it.
    Whole,
    /// The directory lacks something of that, or lives twice: it counts as lost.
    Lost,
}

impl Body for Resume {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.term.0);
        out.put_u8(u8::from(self.voted));
        put_option(out, self.end, put_end);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            term: Term(reader.u64()?),
            voted: reader.bool()?,
            end: take_option(reader, take_end)?,
        })
    }
}

impl Body for Sighted {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.directory.0);
        out.put_u32_le(self.incarnation.0);
        out.put_u32_le(self.life.0);
        out.put_u8(self.verdict as u8);
        out.put_u32_le(self.seen_incarnation.0);
        out.put_u64_le(self.seen_term.0);
        out.put_u8(u8::from(self.seen_vote));
        out.put_u64_le(self.seen_index.0);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            directory: DirectoryId(reader.u64()?),
            incarnation: Incarnation(reader.u32()?),
            life: LifeId(reader.u32()?),
            verdict: take_verdict(reader)?,
            seen_incarnation: Incarnation(reader.u32()?),
            seen_term: Term(reader.u64()?),
            seen_vote: reader.bool()?,
            seen_index: LogIndex(reader.u64()?),
        })
    }
}

fn take_verdict(reader: &mut Reader) -> Result<Verdict, Malformed> {
    match reader.u8()? {
        0 => Ok(Verdict::Unheard),
        1 => Ok(Verdict::Whole),
        2 => Ok(Verdict::Lost),
        _ => Err(Malformed),
    }
}
