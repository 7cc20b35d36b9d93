//! What clients ask for, what the log keeps of it, and what comes of it.

use bytes::{BufMut, Bytes};

use crate::codec::{Malformed, Reader};
use crate::types::{
    Digest, KEY_BYTES_MAX, LogIndex, LogTime, Sequence, SessionId, VALUE_BYTES_MAX,
};

/// A change of the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Sets the key to the value.
    Put {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// Removes the key.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Sets the key to the value if what stands there is as expected.
    CompareAndSwap {
        /// The key.
        key: Bytes,
        /// What must stand there.
        expected: Expected,
        /// Its new value.
        value: Bytes,
    },
    /// Adds to the decimal number that stands there; absent counts as 0.
    Increment {
        /// The key.
        key: Bytes,
        /// The addend.
        by: i64,
    },
}

/// What a compare-and-swap wants to find.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expected {
    /// No such key.
    Absent,
    /// The version that the key's last write gave it: that write's log index.
    Version(LogIndex),
    /// These bytes.
    Value(Bytes),
}

/// Why an operation is refused from the request alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Invalid {
    /// The key has no bytes.
    EmptyKey,
    /// The key is longer than [`KEY_BYTES_MAX`].
    KeyTooLong,
    /// The value, or the value expected, is longer than [`VALUE_BYTES_MAX`].
    ValueTooLong,
    /// The bytes are not an operation.
    NotAnOperation,
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::EmptyKey => write!(f, "the key is empty; a key has 1 to {KEY_BYTES_MAX} bytes"),
            Self::KeyTooLong => write!(f, "the key is longer than {KEY_BYTES_MAX} bytes"),
            Self::ValueTooLong => write!(f, "the value is longer than {VALUE_BYTES_MAX} bytes"),
            Self::NotAnOperation => write!(f, "the request is not an operation of this version"),
        }
    }
}

impl Operation {
    /// The key that the operation is about.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. }
            | Self::Delete { key }
            | Self::CompareAndSwap { key, .. }
            | Self::Increment { key, .. } => key,
        }
    }

    /// Checks the limits that follow from the request alone.
    ///
    /// # Errors
    /// The limit that it breaks.
    pub fn check(&self) -> Result<(), Invalid> {
        check_key(self.key())?;
        match self {
            Self::Put { value, .. } => check_value(value),
            Self::CompareAndSwap { value, expected, .. } => {
                if let Expected::Value(bytes) = expected {
                    check_value(bytes)?;
                }
                check_value(value)
            }
            Self::Delete { .. } | Self::Increment { .. } => Ok(()),
        }
    }

    /// Appends the operation's bytes, as `docs/wire-format.md` gives them.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Put { key, value } => {
                out.put_u8(1);
                put_key(out, key);
                put_long(out, value);
            }
            Self::Delete { key } => {
                out.put_u8(2);
                put_key(out, key);
            }
            Self::CompareAndSwap { key, expected, value } => {
                out.put_u8(3);
                put_key(out, key);
                match expected {
                    Expected::Absent => out.put_u8(0),
                    Expected::Version(version) => {
                        out.put_u8(1);
                        out.put_u64_le(version.0);
                    }
                    Expected::Value(bytes) => {
                        out.put_u8(2);
                        put_long(out, bytes);
                    }
                }
                put_long(out, value);
            }
            Self::Increment { key, by } => {
                out.put_u8(4);
                put_key(out, key);
                out.put_i64_le(*by);
            }
        }
    }

    /// Takes one operation off the reader.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are none.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let tag = reader.u8()?;
        let key = take_key(reader)?;
        Ok(match tag {
            1 => Self::Put { key, value: take_long(reader)? },
            2 => Self::Delete { key },
            3 => {
                let expected = match reader.u8()? {
                    0 => Expected::Absent,
                    1 => Expected::Version(LogIndex(reader.u64()?)),
                    2 => Expected::Value(take_long(reader)?),
                    _ => return Err(Malformed),
                };
                Self::CompareAndSwap { key, expected, value: take_long(reader)? }
            }
            4 => Self::Increment { key, by: reader.i64()? },
            _ => return Err(Malformed),
        })
    }
}

/// Checks a key's length.
///
/// # Errors
/// [`Invalid::EmptyKey`] or [`Invalid::KeyTooLong`].
pub fn check_key(key: &[u8]) -> Result<(), Invalid> {
    match key.len() {
        0 => Err(Invalid::EmptyKey),
        length if length > KEY_BYTES_MAX => Err(Invalid::KeyTooLong),
        _ => Ok(()),
    }
}

fn check_value(value: &[u8]) -> Result<(), Invalid> {
    if value.len() > VALUE_BYTES_MAX { Err(Invalid::ValueTooLong) } else { Ok(()) }
}

fn put_key(out: &mut Vec<u8>, key: &Bytes) {
    out.put_u16_le(u16::try_from(key.len()).unwrap_or(u16::MAX));
    out.put_slice(key);
}

fn take_key(reader: &mut Reader) -> Result<Bytes, Malformed> {
    let length = usize::from(reader.u16()?);
    reader.bytes(length)
}

fn put_long(out: &mut Vec<u8>, bytes: &Bytes) {
    out.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

fn take_long(reader: &mut Reader) -> Result<Bytes, Malformed> {
    let length = reader.u32()?;
    reader.bytes(usize::try_from(length).map_err(|_| Malformed)?)
}

/// A client's request as the log keeps it: who asks, which of its operations this
/// is, and what is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LoggedRequest {
    /// The client's session.
    pub session: SessionId,
    /// Which of the session's operations this is.
    pub sequence: Sequence,
    /// The session needs no answer below this sequence any more.
    pub floor: Sequence,
    /// The operation has no effect at an index whose log time lies later; zero: no limit.
    pub not_after: LogTime,
    /// The session has no further operation after this one.
    pub one_shot: bool,
    /// The digest of the operation's bytes; of a settle, that of the operation that it
    /// asks after.
    pub digest: Digest,
    /// What is to be done.
    pub command: Command,
}

/// What a logged request does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Executes the operation, once.
    Execute(Operation),
    /// Answers with the sequence's first result, or forbids the sequence for ever.
    Settle,
}

impl LoggedRequest {
    /// The request's bytes, as `docs/wire-format.md` gives them.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.put_u64_le(self.session.minted_at.0);
        out.put_u64_le(self.session.random);
        out.put_u64_le(self.sequence.0);
        out.put_u64_le(self.floor.0);
        out.put_u64_le(self.not_after.0);
        out.put_u8(u8::from(self.one_shot));
        out.put_u64_le(self.digest.0);
        match &self.command {
            Command::Execute(operation) => {
                out.put_u8(0);
                operation.encode(&mut out);
            }
            Command::Settle => out.put_u8(1),
        }
        out
    }

    /// The request that `bytes` hold.
    ///
    /// # Errors
    /// [`Malformed`] when they hold none, or more than one.
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let request = Self {
            session: SessionId { minted_at: LogIndex(reader.u64()?), random: reader.u64()? },
            sequence: Sequence(reader.u64()?),
            floor: Sequence(reader.u64()?),
            not_after: LogTime(reader.u64()?),
            one_shot: reader.bool()?,
            digest: Digest(reader.u64()?),
            command: match reader.u8()? {
                0 => Command::Execute(Operation::decode(&mut reader)?),
                1 => Command::Settle,
                _ => return Err(Malformed),
            },
        };
        reader.finish()?;
        Ok(request)
    }
}

/// What came of an operation. All of these were settled in the log at `index`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settled {
    /// The entry's index; of a write, also the key's new version.
    pub index: LogIndex,
    /// What happened there.
    pub outcome: Outcome,
}

/// What happened at an operation's index. It is the same on every node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The key has its new value.
    Written,
    /// Whether the key was there to be removed.
    Deleted {
        /// It was.
        existed: bool,
    },
    /// The comparison failed; this stands there.
    CompareFailed {
        /// The version that stands there, none when the key is absent.
        version: Option<LogIndex>,
        /// The value that stands there, when it is short ([`INLINE_BYTES_MAX`]).
        value: Option<Bytes>,
    },
    /// The new total.
    Incremented {
        /// The sum.
        total: i64,
    },
    /// What stands there is not a signed 64-bit decimal number: nothing was changed.
    NotANumber,
    /// The sum does not fit in 64 bits: nothing was changed.
    Overflow,
    /// The not-after time had passed: nothing was changed.
    Expired,
    /// The sequence was settled before the operation came: it never will be executed.
    Forbidden,
    /// The session used this sequence for another operation: nothing was changed.
    OtherOperation,
    /// The sequence lies too far above the session's floor: nothing was changed, and
    /// the sequence may be tried again when the floor has risen.
    OutsideWindow,
    /// The answer is not kept any more, or the session is not: the operation may have
    /// taken effect, once, earlier.
    Forgotten,
}

/// The longest value that a failed comparison answers with.
pub const INLINE_BYTES_MAX: usize = 512;

impl Settled {
    /// Appends the answer's bytes, as `docs/wire-format.md` gives them.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.index.0);
        match &self.outcome {
            Outcome::Written => out.put_u8(1),
            Outcome::Deleted { existed } => {
                out.put_u8(2);
                out.put_u8(u8::from(*existed));
            }
            Outcome::CompareFailed { version, value } => {
                out.put_u8(3);
                out.put_u64_le(version.map_or(0, |version| version.0));
                out.put_u8(u8::from(value.is_some()));
                if let Some(value) = value {
                    put_long(out, value);
                }
            }
            Outcome::Incremented { total } => {
                out.put_u8(4);
                out.put_i64_le(*total);
            }
            Outcome::NotANumber => out.put_u8(5),
            Outcome::Overflow => out.put_u8(6),
            Outcome::Expired => out.put_u8(7),
            Outcome::Forbidden => out.put_u8(8),
            Outcome::OtherOperation => out.put_u8(9),
            Outcome::OutsideWindow => out.put_u8(10),
            Outcome::Forgotten => out.put_u8(11),
        }
    }

    /// How many bytes [`Self::encode`] appends.
    pub fn encoded_length(&self) -> u64 {
        let rest = match &self.outcome {
            Outcome::Deleted { .. } => 1,
            Outcome::CompareFailed { value, .. } => {
                9 + value.as_ref().map_or(0, |value| 4 + value.len() as u64)
            }
            Outcome::Incremented { .. } => 8,
            _ => 0,
        };
        9 + rest
    }

    /// Takes one answer off the reader.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are none.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let index = LogIndex(reader.u64()?);
        let outcome = match reader.u8()? {
            1 => Outcome::Written,
            2 => Outcome::Deleted { existed: reader.bool()? },
            3 => {
                let version = Some(LogIndex(reader.u64()?)).filter(|version| version.0 != 0);
                let value = if reader.bool()? { Some(take_long(reader)?) } else { None };
                Outcome::CompareFailed { version, value }
            }
            4 => Outcome::Incremented { total: reader.i64()? },
            5 => Outcome::NotANumber,
            6 => Outcome::Overflow,
            7 => Outcome::Expired,
            8 => Outcome::Forbidden,
            9 => Outcome::OtherOperation,
            10 => Outcome::OutsideWindow,
            11 => Outcome::Forgotten,
            _ => return Err(Malformed),
        };
        Ok(Self { index, outcome })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_keys_and_values_are_taken_and_longer_ones_are_not() {
        let put = |key: usize, value: usize| {
            Operation::Put { key: vec![b'k'; key].into(), value: vec![b'v'; value].into() }.check()
        };
        assert_eq!(put(1, 0), Ok(()));
        assert_eq!(put(KEY_BYTES_MAX, VALUE_BYTES_MAX), Ok(()));
        assert_eq!(put(0, 0), Err(Invalid::EmptyKey));
        assert_eq!(put(KEY_BYTES_MAX + 1, 0), Err(Invalid::KeyTooLong));
        assert_eq!(put(1, VALUE_BYTES_MAX + 1), Err(Invalid::ValueTooLong));
    }

    #[test]
    fn what_is_wrong_is_said_in_a_sentence() {
        assert_eq!(Invalid::EmptyKey.to_string(), "the key is empty; a key has 1 to 1024 bytes");
    }
}
