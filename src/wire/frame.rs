//! The frame around a message: one datagram, a fixed header, a checksum.

use bytes::Bytes;

use super::message::Message;
use crate::types::{ClusterHash, DirectoryId, GenesisId, Incarnation, PacketNumber, ServerId};

/// The largest datagram that is sent by default, in bytes.
pub const FRAME_BYTES_MAX: usize = 1_200;

/// What every frame says of its sender and of the way between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The cluster's name, in short.
    pub cluster: ClusterHash,
    /// The cluster's birth, in short; zero while the sender knows of none.
    pub genesis: GenesisHash,
    /// The sending node; [`ServerId::NONE`] is a client.
    pub sender: ServerId,
    /// The receiving node; [`ServerId::NONE`] is a client, or whoever receives it.
    pub destination: ServerId,
    /// The sender's data directory; of a client, random bits of its process.
    pub directory: DirectoryId,
    /// How often that directory was started.
    pub incarnation: Incarnation,
    /// The number of this frame on its way from sender to destination.
    pub packet: PacketNumber,
    /// The newest frame that the sender has heard from the destination.
    pub echo: Option<Echo>,
}

/// The newest frame heard from the other side, and how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// That frame's number.
    pub packet: PacketNumber,
    /// Microseconds between its arrival and the sending of this one, saturating.
    pub age: u32,
}

/// The short form of a [`GenesisId`] that every frame carries; zero: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenesisHash(pub u32);

impl GenesisHash {
    /// The hash of `genesis`, never zero.
    pub fn of(genesis: GenesisId) -> Self {
        Self(crc32fast::hash(&genesis.0.to_le_bytes()).max(1))
    }
}

/// A decoded datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its header.
    pub header: Header,
    /// What it carries.
    pub message: Message,
}

/// Appends the frame's bytes to `out`, which is cleared first.
pub fn encode(_header: &Header, _message: &Message, _out: &mut Vec<u8>) {
    unimplemented!()
}

/// The frame that a datagram holds.
///
/// # Errors
/// The cause for which it must be dropped.
pub fn decode(_datagram: &Bytes) -> Result<Frame, super::DropCause> {
    unimplemented!()
}
