//! The bytes of messages between clients and nodes.

use bytes::BufMut;

use super::fields::{put_address, put_bytes, put_option, take_address, take_bytes, take_option};
use super::kind::Body;
use super::message::{
    About, DeclineReason, Declined, ListedValue, OpenSession, PAGES_MAX, PIECE_BYTES, Page, Query,
    Read, ReadId, Reply, Request, RequestProgress, SessionOpened,
};
use crate::access::Denial;
use crate::codec::{Malformed, Reader};
use crate::operation::{Invalid, Settled};
use crate::types::{
    Digest, KEY_BYTES_MAX, LogIndex, LogTime, Sequence, ServerId, SessionId, VALUE_BYTES_MAX,
};

impl Body for OpenSession {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.nonce);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self { nonce: reader.u64()? })
    }
}

impl Body for SessionOpened {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.nonce);
        put_session(out, self.session);
        out.put_u32_le(self.window);
        out.put_u64_le(self.time.0);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            nonce: reader.u64()?,
            session: take_session(reader)?,
            window: reader.u32()?,
            time: LogTime(reader.u64()?),
        })
    }
}

impl Body for Request {
    fn put(&self, out: &mut Vec<u8>) {
        put_session(out, self.session);
        out.put_u64_le(self.sequence.0);
        out.put_u64_le(self.floor.0);
        out.put_u64_le(self.not_after.0);
        out.put_u8(self.hops);
        out.put_u8(u8::from(self.one_shot));
        out.put_u8(u8::from(self.settle));
        out.put_u64_le(self.digest.0);
        out.put_u32_le(self.length);
        out.put_u32_le(self.piece);
        put_bytes(out, &self.bytes);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            session: take_session(reader)?,
            sequence: Sequence(reader.u64()?),
            floor: Sequence(reader.u64()?),
            not_after: LogTime(reader.u64()?),
            hops: reader.u8()?,
            one_shot: reader.bool()?,
            settle: reader.bool()?,
            digest: Digest(reader.u64()?),
            length: reader.u32()?,
            piece: reader.u32()?,
            bytes: take_bytes(reader, PIECE_BYTES)?,
        })
    }
}

impl Body for RequestProgress {
    fn put(&self, out: &mut Vec<u8>) {
        put_session(out, self.session);
        out.put_u64_le(self.sequence.0);
        out.put_u32_le(self.next_piece);
        out.put_u64_le(self.beyond);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            session: take_session(reader)?,
            sequence: Sequence(reader.u64()?),
            next_piece: reader.u32()?,
            beyond: reader.u64()?,
        })
    }
}

impl Body for Reply {
    fn put(&self, out: &mut Vec<u8>) {
        put_session(out, self.session);
        out.put_u64_le(self.sequence.0);
        self.settled.encode(out);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            session: take_session(reader)?,
            sequence: Sequence(reader.u64()?),
            settled: Settled::decode(reader)?,
        })
    }
}

impl Body for Read {
    fn put(&self, out: &mut Vec<u8>) {
        put_read_id(out, self.read);
        match &self.query {
            Query::Get { key } => {
                out.put_u8(0);
                put_bytes(out, key);
            }
            Query::List { prefix, limit } => {
                out.put_u8(1);
                put_bytes(out, prefix);
                out.put_u64_le(*limit);
            }
        }
        out.put_u8(u8::from(self.stale));
        out.put_u64_le(self.pin);
        out.put_u32_le(self.arrived);
        out.put_u32_le(self.page);
        out.put_u16_le(self.count);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        let read = take_read_id(reader)?;
        let query = match reader.u8()? {
            0 => Query::Get { key: take_bytes(reader, KEY_BYTES_MAX)? },
            1 => Query::List { prefix: take_bytes(reader, KEY_BYTES_MAX)?, limit: reader.u64()? },
            _ => return Err(Malformed),
        };
        let read = Self {
            read,
            query,
            stale: reader.bool()?,
            pin: reader.u64()?,
            arrived: reader.u32()?,
            page: reader.u32()?,
            count: reader.u16()?,
        };
        if read.count == 0 || read.count > PAGES_MAX { Err(Malformed) } else { Ok(read) }
    }
}

impl Body for Page {
    fn put(&self, out: &mut Vec<u8>) {
        put_read_id(out, self.read);
        out.put_u64_le(self.pin);
        out.put_u32_le(self.page);
        out.put_u8(u8::from(self.last));
        out.put_u64_le(self.index.0);
        put_option(out, self.age, BufMut::put_u64_le);
        put_bytes(out, &self.bytes);
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            read: take_read_id(reader)?,
            pin: reader.u64()?,
            page: reader.u32()?,
            last: reader.bool()?,
            index: LogIndex(reader.u64()?),
            age: take_option(reader, Reader::u64)?,
            bytes: take_bytes(reader, PIECE_BYTES)?,
        })
    }
}

impl Body for Declined {
    fn put(&self, out: &mut Vec<u8>) {
        match self.about {
            About::Open(nonce) => {
                out.put_u8(0);
                out.put_u64_le(nonce);
            }
            About::Request(session, sequence) => {
                out.put_u8(1);
                put_session(out, session);
                out.put_u64_le(sequence.0);
            }
            About::Read(read) => {
                out.put_u8(2);
                put_read_id(out, read);
            }
            About::Members(nonce) => {
                out.put_u8(3);
                out.put_u64_le(nonce);
            }
        }
        out.put_u8(reason_byte(self.reason));
        put_option(out, self.leader, |out, (id, address)| {
            out.put_u16_le(id.0);
            put_address(out, address);
        });
    }

    fn take(reader: &mut Reader) -> Result<Self, Malformed> {
        let about = match reader.u8()? {
            0 => About::Open(reader.u64()?),
            1 => About::Request(take_session(reader)?, Sequence(reader.u64()?)),
            2 => About::Read(take_read_id(reader)?),
            3 => About::Members(reader.u64()?),
            _ => return Err(Malformed),
        };
        Ok(Self {
            about,
            reason: take_reason(reader)?,
            leader: take_option(reader, |reader| {
                Ok((ServerId(reader.u16()?), take_address(reader)?))
            })?,
        })
    }
}

fn reason_byte(reason: DeclineReason) -> u8 {
    match reason {
        DeclineReason::NotLeader => 0,
        DeclineReason::NoLeader => 1,
        DeclineReason::NotBorn => 2,
        DeclineReason::Busy => 3,
        DeclineReason::PinGone => 4,
        DeclineReason::NoSpace => 5,
        DeclineReason::Invalid(Invalid::EmptyKey) => 16,
        DeclineReason::Invalid(Invalid::KeyTooLong) => 17,
        DeclineReason::Invalid(Invalid::ValueTooLong) => 18,
        DeclineReason::Invalid(Invalid::NotAnOperation) => 19,
        DeclineReason::Denied(Denial::ReadOnly) => 20,
        DeclineReason::Denied(Denial::OtherKeys) => 21,
        DeclineReason::Denied(Denial::ClientsKey) => 22,
    }
}

fn take_reason(reader: &mut Reader) -> Result<DeclineReason, Malformed> {
    Ok(match reader.u8()? {
        0 => DeclineReason::NotLeader,
        1 => DeclineReason::NoLeader,
        2 => DeclineReason::NotBorn,
        3 => DeclineReason::Busy,
        4 => DeclineReason::PinGone,
        5 => DeclineReason::NoSpace,
        16 => DeclineReason::Invalid(Invalid::EmptyKey),
        17 => DeclineReason::Invalid(Invalid::KeyTooLong),
        18 => DeclineReason::Invalid(Invalid::ValueTooLong),
        19 => DeclineReason::Invalid(Invalid::NotAnOperation),
        20 => DeclineReason::Denied(Denial::ReadOnly),
        21 => DeclineReason::Denied(Denial::OtherKeys),
        22 => DeclineReason::Denied(Denial::ClientsKey),
        _ => return Err(Malformed),
    })
}

impl ListedValue {
    /// Appends the value's bytes, as the pages of an answer hold them.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.key);
        out.put_u64_le(self.version.0);
        out.put_u32_le(u32::try_from(self.value.len()).unwrap_or(u32::MAX));
        out.put_slice(&self.value);
    }

    /// How many bytes the value that begins here takes, once all of them are there.
    pub fn length(bytes: &[u8]) -> Option<usize> {
        let key_length = usize::from(u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?));
        let at = 2 + key_length + 8;
        let value_length = u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
        let length = at + 4 + usize::try_from(value_length).ok()?;
        (length <= bytes.len()).then_some(length)
    }

    /// Takes one value off the reader.
    ///
    /// # Errors
    /// [`Malformed`] when its bytes are not, or not all, there.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let key = take_bytes(reader, KEY_BYTES_MAX)?;
        let version = LogIndex(reader.u64()?);
        let length = usize::try_from(reader.u32()?).map_err(|_| Malformed)?;
        if length > VALUE_BYTES_MAX {
            return Err(Malformed);
        }
        Ok(Self { key, version, value: reader.bytes(length)? })
    }
}

fn put_session(out: &mut Vec<u8>, session: SessionId) {
    out.put_u64_le(session.minted_at.0);
    out.put_u64_le(session.random);
}

fn take_session(reader: &mut Reader) -> Result<SessionId, Malformed> {
    Ok(SessionId { minted_at: LogIndex(reader.u64()?), random: reader.u64()? })
}

fn put_read_id(out: &mut Vec<u8>, read: ReadId) {
    out.put_u64_le(read.client);
    out.put_u64_le(read.number);
}

fn take_read_id(reader: &mut Reader) -> Result<ReadId, Malformed> {
    Ok(ReadId { client: reader.u64()?, number: reader.u64()? })
}
