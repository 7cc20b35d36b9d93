//! Bytes and values: the frames that travel, as `docs/wire-format.md` gives them.
//!
//! The decoder is total. It shares the datagram's memory, allocates nothing that a
//! length field promises before the bytes are there, and says why it drops a frame.

mod catch_up_codec;
mod client_codec;
mod fields;
mod frame;
mod key_codec;
mod kind;
mod member_codec;
mod member_message;
mod message;
mod peer_codec;
mod repair_codec;
mod resume_codec;
mod snapshot_codec;
mod status_codec;
mod status_message;
mod timeouts_codec;
mod traffic_codec;

pub use catch_up_codec::{CATCH_UP_BYTES_FIXED, CatchUpReply, CatchUpRequest};
pub use frame::{
    Echo, Envelope, FRAME_BYTES_MAX, Frame, GenesisHash, HEADER_BYTES, Header, SealedHeader,
    decode, destination, encode, encode_to_fit, seal,
};
pub use key_codec::{KeyRequest, KeyStanding};
pub use kind::Kind;
pub use member_message::{MemberChange, MemberOutcome, MemberReply, MemberRequest};
pub use message::*;
pub use peer_codec::{ADDRESS_BYTES_MAX, REPLICATE_BYTES_FIXED, entry_bytes};
pub use repair_codec::{REPAIR_BYTES_FIXED, RepairReply, RepairRequest};
pub use resume_codec::{Resume, Sighted, Verdict};
pub use snapshot_codec::{
    SNAPSHOT_PIECE_BYTES_FIXED, SnapshotName, SnapshotOffer, SnapshotPiece, SnapshotRequest,
};
pub use status_codec::{CLUSTER_NAME_BYTES_MAX, is_cluster_name};
pub use status_message::{
    DiskStatus, NodeStatus, PeerStatus, Role, ScrubStatus, StatusRequest, TurnTimes,
};
pub use timeouts_codec::{Judgment, PeerTimeouts, TimeoutBasis, Timeouts, TimeoutsRequest};
pub use traffic_codec::{DenialCounts, PeerTraffic, PortStatus, Traffic, TrafficRequest};

macro_rules! drop_causes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why a datagram is dropped. Each cause is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum DropCause {
            $($(#[$doc])* $name = $code,)*
        }

        impl DropCause {
            /// Every cause, in the order of the codes, which count from zero.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name that `status` shows.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The number that stands for the cause in a [`NodeStatus`].
            pub const fn code(self) -> u8 {
                self as u8
            }
        }
    };
}

drop_causes! {
    /// Shorter than a header, or longer or shorter than its length field says.
    Length = 0, "length";
    /// Another protocol altogether.
    Magic = 1, "magic";
    /// A version of the frame that this program does not know.
    Version = 2, "version";
    /// The checksum is wrong.
    Checksum = 3, "checksum";
    /// A key that this node does not have.
    Key = 4, "key";
    /// A kind of message that this program does not know.
    Kind = 5, "kind";
    /// The message does not say what its kind should.
    Malformed = 6, "malformed";
    /// Another cluster's name.
    Cluster = 7, "cluster";
    /// A cluster of this name, born another time.
    Genesis = 8, "genesis";
    /// Meant for another node.
    Destination = 9, "destination";
    /// From a node that is not listed, or a node's message from a client.
    Sender = 10, "sender";
    /// From a listed node, but not from its address.
    Address = 11, "address";
    /// From a former life of a node.
    Incarnation = 12, "incarnation";
    /// A frame that arrived before.
    Duplicate = 13, "duplicate";
    /// The entries contradict the chain of the log.
    Chain = 14, "chain";
    /// Says of the protocol what cannot be true.
    Protocol = 15, "protocol";
    /// The seal is broken: somebody without the key made or changed it.
    Seal = 16, "seal";
    /// A sealed datagram that arrived before, or one of the past.
    Replay = 17, "replay";
    /// Of a session that is not known, or not any more.
    Session = 18, "session";
}
