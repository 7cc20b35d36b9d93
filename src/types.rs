//! The identities and counters that everything else is written in.
//!
//! Each is a type of its own, so that a term can never be passed for an index.

use std::fmt;

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// The value that follows this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }
    };
}

/// A node's number in its cluster, 1 or more. Zero stands for "no node": it is
/// the sender of a client's frame and the destination of a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u16);

impl ServerId {
    /// Not a node: a client, or a destination that is not known yet.
    pub const NONE: Self = Self(0);
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

identity! {
    /// The random identity of one data directory. A wiped disk gets a new one.
    DirectoryId
}

identity! {
    /// The random identity that a cluster is born with. Zero is never drawn.
    GenesisId
}

counter! {
    /// How often a data directory has been started; durable before anything is sent.
    Incarnation(u32)
}

/// Random bits that a process draws at its start. They tell two lives of one incarnation
/// apart, which there are when a directory was cloned or an older copy was put back. Zero
/// is that of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LifeId(pub u32);

impl fmt::Display for LifeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

counter! {
    /// An election's number. At most one node leads in a term.
    Term(u64)
}

counter! {
    /// An entry's position in the log. The first entry, the configuration, has index 1.
    LogIndex(u64)
}

impl LogIndex {
    /// No log is ever that long: what says so is not a node of ours.
    pub const MAX: Self = Self(1 << 60);

    /// The index before this one; that of zero is zero.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

counter! {
    /// The number of a frame on its way from one process to another. It starts at a
    /// random value in each life of a process, so that nobody echoes it by chance.
    PacketNumber(u64)
}

/// How many of 256 frames are lost on a way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LossShare(pub u8);

counter! {
    /// The number of a leader's round of heartbeats, which confirms its reads.
    ReadRound(u64)
}

counter! {
    /// The number of one operation within its session, from 1.
    Sequence(u64)
}

counter! {
    /// Microseconds of the cluster's own clock, carried by each entry; it never goes back.
    LogTime(u64)
}

/// A client's identity, for exactly-once execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    /// The commit index of the node that minted it.
    pub minted_at: LogIndex,
    /// Random bits.
    pub random: u64,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.minted_at, self.random)
    }
}

/// Tells one operation's bytes from another's: the length in the upper half, the
/// CRC-32 in the lower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub u64);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self((bytes.len() as u64) << 32 | u64::from(crc32fast::hash(bytes)))
    }
}

/// The short form of the cluster's name that every frame carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterHash(pub u32);

impl ClusterHash {
    /// The hash of the cluster called `name`.
    pub fn of(name: &str) -> Self {
        Self(crc32fast::hash(name.as_bytes()))
    }
}

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;
/// The longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// The largest payload of one entry, in bytes: a constant of the format, whatever the MTU.
pub const ENTRY_BYTES_MAX: usize = 1024;
/// The most nodes that a cluster may list.
pub const NODES_MAX: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_shown_by_where_it_was_minted_and_its_random_bits() {
        let session = SessionId { minted_at: LogIndex(7), random: 0x1f };
        assert_eq!(session.to_string(), "7-000000000000001f");
    }
}
