//! The frame around a message: one datagram, a fixed header, a checksum.

use bytes::{BufMut, Bytes};

use super::DropCause;
use super::kind::Kind;
use super::message::Message;
use crate::codec::{Malformed, Reader};
use crate::types::{
    ClusterHash, DirectoryId, GenesisId, Incarnation, LifeId, LossShare, PacketNumber, ServerId,
};

/// The largest datagram that is sent by default, in bytes.
pub const FRAME_BYTES_MAX: usize = 1_200;
/// The length of the header, in bytes.
pub const HEADER_BYTES: usize = 60;

const MAGIC: u16 = u16::from_le_bytes(*b"QR");
const VERSION: u8 = 1;
/// The key id of a frame that is not sealed.
const NOT_SEALED: u16 = 0;
/// The age that stands for "nothing was heard".
const NOTHING_HEARD: u32 = u32::MAX;
const SENDER_AT: usize = 12;
const KEY_AT: usize = 52;
const LENGTH_AT: usize = 54;
const CHECKSUM_AT: usize = 56;
/// The optional field that tells of a loss.
const LOSS_TAG: u8 = 1;

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
    /// What tells this life from another of the same incarnation.
    pub life: LifeId,
    /// The number of this frame on its way from sender to destination.
    pub packet: PacketNumber,
    /// The newest frame that the sender has heard from the destination.
    pub echo: Option<Echo>,
    /// The share of the receiver's frames that the sender misses.
    pub loss: LossShare,
}

impl Header {
    /// That of a client's frame to whoever receives it. It knows no more than the cluster's name
    /// and has heard nothing yet.
    pub fn of_client(cluster: ClusterHash, process: DirectoryId, packet: PacketNumber) -> Self {
        Self {
            cluster,
            genesis: GenesisHash::default(),
            sender: ServerId::NONE,
            destination: ServerId::NONE,
            directory: process,
            incarnation: Incarnation(0),
            life: LifeId(0),
            packet,
            echo: None,
            loss: LossShare(0),
        }
    }
}

/// The newest frame heard from the other side, and how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// That frame's number.
    pub packet: PacketNumber,
    /// Microseconds between its arrival and the sending of this one, below `u32::MAX`.
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

/// What every datagram begins with, sealed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What kind of message or datagram it is.
    pub kind: u8,
    /// The cluster's name, in short.
    pub cluster: ClusterHash,
}

impl Envelope {
    /// Appends its bytes.
    pub fn put(self, out: &mut Vec<u8>) {
        out.put_u16_le(MAGIC);
        out.put_u8(VERSION);
        out.put_u8(self.kind);
        out.put_u32_le(self.cluster.0);
    }

    /// That of the datagram.
    ///
    /// # Errors
    /// The cause for which it must be dropped.
    pub fn take(datagram: &[u8]) -> Result<Self, DropCause> {
        let [magic_low, magic_high, version, kind, a, b, c, d, ..] = *datagram else {
            return Err(DropCause::Length);
        };
        if u16::from_le_bytes([magic_low, magic_high]) != MAGIC {
            return Err(DropCause::Magic);
        }
        if version != VERSION {
            return Err(DropCause::Version);
        }
        Ok(Self { kind, cluster: ClusterHash(u32::from_le_bytes([a, b, c, d])) })
    }
}

/// What stands in the header of a sealed frame, and of no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedHeader {
    /// The key that it is sealed with; zero: it is not.
    pub key: u16,
    /// The session of that key, where a plain frame has its checksum.
    pub session: u32,
}

impl SealedHeader {
    /// Writes it into the header of a frame, behind which `length` bytes will follow.
    pub fn write(self, frame: &mut [u8], length: usize) {
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        frame[KEY_AT..LENGTH_AT].copy_from_slice(&self.key.to_le_bytes());
        frame[LENGTH_AT..CHECKSUM_AT].copy_from_slice(&length.to_le_bytes());
        frame[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&self.session.to_le_bytes());
    }

    /// That of a sealed frame's datagram, and who it says has sent it.
    ///
    /// # Errors
    /// The cause for which it must be dropped.
    pub fn take(datagram: &[u8]) -> Result<(Self, ServerId), DropCause> {
        let header: &[u8; HEADER_BYTES] = datagram.first_chunk().ok_or(DropCause::Length)?;
        Envelope::take(header)?;
        let short = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        if usize::from(short(LENGTH_AT)) != datagram.len() - HEADER_BYTES {
            return Err(DropCause::Length);
        }
        let [.., a, b, c, d] = *header;
        let sealed = Self { key: short(KEY_AT), session: u32::from_le_bytes([a, b, c, d]) };
        Ok((sealed, ServerId(short(SENDER_AT))))
    }

    /// Makes an opened frame a plain one again.
    pub fn remove(frame: &mut [u8]) {
        frame[KEY_AT..LENGTH_AT].copy_from_slice(&NOT_SEALED.to_le_bytes());
        seal(frame);
    }
}

/// Whom the frame is for; none: a client, or whichever node receives it.
pub fn destination(frame: &[u8]) -> ServerId {
    let field = frame.get(SENDER_AT + 2..SENDER_AT + 4).and_then(|bytes| bytes.try_into().ok());
    field.map_or(ServerId::NONE, |bytes| ServerId(u16::from_le_bytes(bytes)))
}

/// Writes the frame's bytes to `out`, which is cleared first.
pub fn encode(header: &Header, message: &Message, out: &mut Vec<u8>) {
    out.clear();
    put_header(header, Kind::of(message), out);
    message.put(out);
    if header.loss != LossShare(0) {
        out.put_slice(&[LOSS_TAG, 1, 0, header.loss.0]);
    }
    seal(out);
}

/// The same, without the loss in a frame that is full.
pub fn encode_to_fit(header: &Header, message: &Message, out: &mut Vec<u8>) {
    encode(header, message, out);
    if out.len() > FRAME_BYTES_MAX && header.loss != LossShare(0) {
        encode(&Header { loss: LossShare(0), ..*header }, message, out);
    }
}

/// Sets the length and the checksum of a frame whose other bytes are complete.
///
/// Fuzzing uses it to get past the checksum with bytes that no encoder would write.
pub fn seal(frame: &mut [u8]) {
    if frame.len() < HEADER_BYTES {
        return;
    }
    let length = u16::try_from(frame.len() - HEADER_BYTES).unwrap_or(u16::MAX);
    frame[LENGTH_AT..LENGTH_AT + 2].copy_from_slice(&length.to_le_bytes());
    frame[CHECKSUM_AT..HEADER_BYTES].fill(0);
    let checksum = crc32fast::hash(frame);
    frame[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

/// The frame that a datagram holds. It shares the datagram's memory.
///
/// # Errors
/// The cause for which it must be dropped.
pub fn decode(datagram: &Bytes) -> Result<Frame, DropCause> {
    let kind = check_envelope(datagram)?;
    let mut header = take_header(datagram).map_err(|_| DropCause::Malformed)?;
    let kind = Kind::from_byte(kind).ok_or(DropCause::Kind)?;
    let mut reader = Reader::new(datagram.slice(HEADER_BYTES..));
    let message = Message::take(kind, &mut reader).map_err(|_| DropCause::Malformed)?;
    header.loss = take_loss(reader).map_err(|_| DropCause::Malformed)?;
    Ok(Frame { header, message })
}

/// Checks what can be checked without knowing the message. Returns the kind's byte.
fn check_envelope(datagram: &[u8]) -> Result<u8, DropCause> {
    if datagram.len() < HEADER_BYTES {
        return Err(DropCause::Length);
    }
    let Envelope { kind, .. } = Envelope::take(datagram)?;
    let length = u16::from_le_bytes([datagram[LENGTH_AT], datagram[LENGTH_AT + 1]]);
    if usize::from(length) != datagram.len() - HEADER_BYTES {
        return Err(DropCause::Length);
    }
    // A sealed frame has no checksum that could be right, so its key is looked at first.
    if datagram[KEY_AT..LENGTH_AT] != NOT_SEALED.to_le_bytes() {
        return Err(DropCause::Key);
    }
    if checksum_of(datagram).to_le_bytes() != datagram[CHECKSUM_AT..HEADER_BYTES] {
        return Err(DropCause::Checksum);
    }
    Ok(kind)
}

/// The checksum of a frame, taken as if its checksum field were zero.
fn checksum_of(frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[..CHECKSUM_AT]);
    hasher.update(&[0; HEADER_BYTES - CHECKSUM_AT]);
    hasher.update(&frame[HEADER_BYTES..]);
    hasher.finalize()
}

fn put_header(header: &Header, kind: Kind, out: &mut Vec<u8>) {
    out.put_u16_le(MAGIC);
    out.put_u8(VERSION);
    out.put_u8(kind as u8);
    out.put_u32_le(header.cluster.0);
    out.put_u32_le(header.genesis.0);
    out.put_u16_le(header.sender.0);
    out.put_u16_le(header.destination.0);
    out.put_u64_le(header.directory.0);
    out.put_u32_le(header.incarnation.0);
    out.put_u32_le(header.life.0);
    out.put_u64_le(header.packet.0);
    out.put_u64_le(header.echo.map_or(0, |echo| echo.packet.0));
    out.put_u32_le(header.echo.map_or(NOTHING_HEARD, |echo| echo.age.min(NOTHING_HEARD - 1)));
    out.put_u16_le(NOT_SEALED);
    out.put_u16_le(0);
    out.put_u32_le(0);
}

fn take_header(datagram: &Bytes) -> Result<Header, Malformed> {
    let mut reader = Reader::new(datagram.slice(4..HEADER_BYTES));
    Ok(Header {
        cluster: ClusterHash(reader.u32()?),
        genesis: GenesisHash(reader.u32()?),
        sender: ServerId(reader.u16()?),
        destination: ServerId(reader.u16()?),
        directory: DirectoryId(reader.u64()?),
        incarnation: Incarnation(reader.u32()?),
        life: LifeId(reader.u32()?),
        packet: PacketNumber(reader.u64()?),
        echo: take_echo(&mut reader)?,
        loss: LossShare(0),
    })
}

fn take_echo(reader: &mut Reader) -> Result<Option<Echo>, Malformed> {
    let packet = PacketNumber(reader.u64()?);
    match reader.u32()? {
        NOTHING_HEARD if packet.0 == 0 => Ok(None),
        NOTHING_HEARD => Err(Malformed),
        age => Ok(Some(Echo { packet, age })),
    }
}

/// Behind the message there may be fields, each with a tag byte and a length of two bytes.
/// This version knows the one that tells of a loss, and skips all others.
fn take_loss(mut reader: Reader) -> Result<LossShare, Malformed> {
    let mut loss = LossShare(0);
    while !reader.is_empty() {
        let tag = reader.u8()?;
        let length = reader.u16()?;
        match (tag, length) {
            (LOSS_TAG, 1) => loss = LossShare(reader.u8()?),
            (LOSS_TAG, _) => return Err(Malformed),
            _ => drop(reader.bytes(length.into())?),
        }
    }
    Ok(loss)
}
