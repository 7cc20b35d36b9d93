//! Which message a frame carries.

use super::message::Message;
use crate::codec::{Malformed, Reader};

macro_rules! kinds {
    ($($name:ident = $byte:literal,)*) => {
        /// The kind of a message, as the header's fourth byte gives it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind {
            $(#[doc = concat!("[`Message::", stringify!($name), "`]")] $name = $byte,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The kind of the message.
            pub fn of(message: &Message) -> Self {
                match message {
                    $(Message::$name(_) => Self::$name,)*
                }
            }

            /// The kind that the byte stands for.
            pub fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($byte => Some(Self::$name),)*
                    _ => None,
                }
            }
        }

        impl Message {
            /// Appends the message's bytes.
            pub(super) fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name(message) => message.put(out),)*
                }
            }

            /// Takes a message of this kind off the reader.
            pub(super) fn take(kind: Kind, reader: &mut Reader) -> Result<Self, Malformed> {
                Ok(match kind {
                    $(Kind::$name => Self::$name(Body::take(reader)?),)*
                })
            }
        }
    };
}

kinds! {
    Introduce = 1,
    GenesisPropose = 2,
    GenesisAccept = 3,
    GenesisComplete = 4,
    Resume = 5,
    Sighted = 6,
    VoteRequest = 16,
    VoteReply = 17,
    TimeoutNow = 18,
    Heartbeat = 32,
    ReplicateOperation = 33,
    Acknowledge = 34,
    ReadIndexRequest = 35,
    ReadIndexReply = 36,
    SnapshotOffer = 37,
    SnapshotRequest = 38,
    SnapshotPiece = 39,
    RepairRequest = 40,
    RepairReply = 41,
    CatchUpRequest = 42,
    CatchUpReply = 43,
    OpenSession = 64,
    SessionOpened = 65,
    Request = 66,
    RequestProgress = 67,
    Reply = 68,
    Read = 69,
    Page = 70,
    Declined = 71,
    StatusRequest = 72,
    Status = 73,
    TimeoutsRequest = 74,
    Timeouts = 75,
    TrafficRequest = 76,
    Traffic = 77,
    MemberRequest = 80,
    MemberReply = 81,
    KeyRequest = 82,
    KeyStanding = 83,
}

/// The body of a message, written and read field by field.
pub(super) trait Body: Sized {
    /// Appends the body's bytes.
    fn put(&self, out: &mut Vec<u8>);

    /// Takes a body off the reader.
    fn take(reader: &mut Reader) -> Result<Self, Malformed>;
}
