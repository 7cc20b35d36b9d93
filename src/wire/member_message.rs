//! What operators and leaders say of the members.

use std::net::SocketAddr;

use crate::configuration::Configuration;
use crate::types::{LogIndex, ServerId};

/// An operator asks the leader who the members are, or for a change of them. To ask again
/// does no harm: what is so already is not changed. Nor does a copy that comes late: the index
/// ties the change to the members that it was decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberRequest {
    /// Repeated in the answer.
    pub nonce: u64,
    /// Where the configuration stands that the operator knows, as a reply has told when it was
    /// committed. Only as long as it is in force, something is changed.
    pub seen: LogIndex,
    /// What is asked for.
    pub change: MemberChange,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// Nothing: who are they?
    None,
    /// The node becomes a learner; its vote follows when it has caught up.
    Add {
        /// The node.
        node: ServerId,
        /// Where it is reached.
        address: SocketAddr,
    },
    /// The node is neither member nor learner any more.
    Remove {
        /// The node.
        node: ServerId,
    },
}

/// The leader's answer, given when the change is committed or refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberReply {
    /// That of the request.
    pub nonce: u64,
    /// What came of it.
    pub outcome: MemberOutcome,
    /// Where the configuration in force stands in the log.
    pub index: LogIndex,
    /// The leader's commit index: a change is pending while it is below `index`.
    pub commit: LogIndex,
    /// The configuration in force.
    pub configuration: Configuration,
}

/// What came of a request about members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MemberOutcome {
    /// Nothing was to be changed, or all was so already.
    AlreadySo = 0,
    /// The change is committed.
    Changed = 1,
    /// Refused: another change is not committed yet.
    Pending = 2,
    /// Refused: no majority of the voters that would be left is heard.
    QuorumLost = 3,
    /// Refused: it is the last voter.
    LastVoter = 4,
    /// Refused: there are as many nodes as a cluster may have.
    TooManyNodes = 5,
    /// Refused: the node is there at another address, or another node is at this one.
    AddressTaken = 6,
    /// Refused: the members have changed since the operator saw them.
    Outdated = 7,
}

impl MemberOutcome {
    /// Whether all is as it was asked for.
    pub fn is_so(self) -> bool {
        matches!(self, Self::AlreadySo | Self::Changed)
    }

    /// The outcome that the byte stands for.
    pub fn from_byte(byte: u8) -> Option<Self> {
        let all = [
            Self::AlreadySo,
            Self::Changed,
            Self::Pending,
            Self::QuorumLost,
            Self::LastVoter,
            Self::TooManyNodes,
            Self::AddressTaken,
            Self::Outdated,
        ];
        all.into_iter().nth(byte.into())
    }
}
