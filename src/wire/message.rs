//! What frames carry. Every message is idempotent, and safe to lose, to duplicate, to
//! reorder or to deliver minutes late.

use std::net::SocketAddr;

use bytes::Bytes;

use super::catch_up_codec::{CatchUpReply, CatchUpRequest};
use super::key_codec::{KeyRequest, KeyStanding};
use super::member_message::{MemberReply, MemberRequest};
use super::repair_codec::{RepairReply, RepairRequest};
use super::resume_codec::{Resume, Sighted};
use super::snapshot_codec::{SnapshotOffer, SnapshotPiece, SnapshotRequest};
use super::status_message::{NodeStatus, StatusRequest};
use super::timeouts_codec::{Timeouts, TimeoutsRequest};
use super::traffic_codec::{Traffic, TrafficRequest};
use crate::access::Denial;
use crate::configuration::Configuration;
use crate::entry::Entry;
use crate::operation::{Invalid, Settled};
use crate::types::{
    Digest, GenesisId, LogIndex, LogTime, ReadRound, Sequence, ServerId, SessionId, Term,
};

/// One message of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A node that is not born yet says who it is, or a born one contradicts its list.
    Introduce(Introduce),
    /// The coordinator of the genesis proposes the cluster's birth.
    GenesisPropose(Configuration),
    /// The sender has durably accepted the genesis.
    GenesisAccept(GenesisId),
    /// All members have durably accepted: the cluster is born.
    GenesisComplete(Configuration),
    /// A node that was started says what its directory held.
    Resume(Resume),
    /// The answer to it: what was seen of that directory before.
    Sighted(Sighted),
    /// A candidate, or one that would be, asks for a vote.
    VoteRequest(VoteRequest),
    /// The answer to it.
    VoteReply(VoteReply),
    /// The leader asks its successor to start an election at once.
    TimeoutNow(Term),
    /// The leader lives.
    Heartbeat(Heartbeat),
    /// The leader's entries.
    ReplicateOperation(ReplicateOperation),
    /// How far a follower has come; answers heartbeats and entries alike.
    Acknowledge(Acknowledge),
    /// A follower asks at which index it may answer a read.
    ReadIndexRequest(ReadIndexRequest),
    /// The leader's answer to it.
    ReadIndexReply(ReadIndexReply),
    /// The leader has a snapshot for a follower, and no longer the entries that it lacks.
    SnapshotOffer(SnapshotOffer),
    /// A node asks for pieces of a snapshot.
    SnapshotRequest(SnapshotRequest),
    /// A piece of a snapshot.
    SnapshotPiece(SnapshotPiece),
    /// A node whose directory is damaged asks for what it lacks.
    RepairRequest(RepairRequest),
    /// What can be read of that.
    RepairReply(RepairReply),
    /// A candidate that was refused for its log alone asks for what it lacks.
    CatchUpRequest(CatchUpRequest),
    /// Entries of a voter's log.
    CatchUpReply(CatchUpReply),
    /// A client asks for a session.
    OpenSession(OpenSession),
    /// The new session.
    SessionOpened(SessionOpened),
    /// A client's operation, or a piece of it.
    Request(Request),
    /// Which pieces of an operation have arrived.
    RequestProgress(RequestProgress),
    /// What came of an operation.
    Reply(Reply),
    /// A client asks for a read, or for further pages of one.
    Read(Read),
    /// One page of a read's answer.
    Page(Page),
    /// The node does not take the request.
    Declined(Declined),
    /// A client asks how the node is.
    StatusRequest(StatusRequest),
    /// How the node is.
    Status(NodeStatus),
    /// A client asks how long others may be silent to the node.
    TimeoutsRequest(TimeoutsRequest),
    /// How long they may, and why.
    Timeouts(Timeouts),
    /// A client asks what has come of the frames between the nodes.
    TrafficRequest(TrafficRequest),
    /// What has come of them, as the node knows.
    Traffic(Traffic),
    /// An operator asks who the members are, or for a change of them.
    MemberRequest(MemberRequest),
    /// Who they are, and what came of the change.
    MemberReply(MemberReply),
    /// A client asks how a key stands at the node.
    KeyRequest(KeyRequest),
    /// How it stands there, and which keys are in use.
    KeyStanding(KeyStanding),
}

/// A node that takes part in no cluster yet, or contradicts one that does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduce {
    /// How far the sender has come towards a genesis.
    pub standing: Standing,
    /// The sender's list of nodes: id and address as typed, empty when not typed.
    /// Ascending by id.
    pub list: Vec<(ServerId, String)>,
}

/// How far a node has come towards a genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It knows of no genesis.
    Blank,
    /// It has durably accepted this one, and does not know it complete.
    Accepted(GenesisId),
    /// It belongs to this cluster.
    Born(GenesisId),
}

/// Asks for a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteRequest {
    /// The term that the sender stands in, or would stand in.
    pub term: Term,
    /// Only asked whether the vote would be granted: changes nothing.
    pub pre_vote: bool,
    /// The leader itself asked for this election: recent contact with it is no objection.
    pub transfer: bool,
    /// The last entry of the sender's log.
    pub last_index: LogIndex,
    /// Its term.
    pub last_term: Term,
}

/// Answers a [`VoteRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteReply {
    /// The term of the request that is answered.
    pub term: Term,
    /// Whether the request was for a pre-vote.
    pub pre_vote: bool,
    /// Whether the vote is, or would be, granted.
    pub granted: bool,
    /// The term of the voter.
    pub voter_term: Term,
    /// The voter hears no leader, and refuses only because its log holds what the
    /// candidate's may lack.
    pub lacks: bool,
}

/// Says that the leader lives, and how far the log is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The leader's term.
    pub term: Term,
    /// The newest round that the leader has begun.
    pub round: ReadRound,
    /// The leader's commit index.
    pub commit: LogIndex,
    /// Microseconds since the beginning of the newest round that a majority has
    /// confirmed: `commit` covers all that was acknowledged before it.
    pub confirmed_age: Option<u32>,
    /// Microseconds since the leader's oldest entry that is not yet durable was appended.
    pub durability_age: u32,
    /// The index of the leader's configuration.
    pub configuration_index: LogIndex,
    /// The last entry on the leader's own disk, if that is of its own term; else zero.
    pub durable: LogIndex,
    /// Microseconds after which, at the latest, the leader will speak to this node again.
    pub interval: u32,
}

/// Carries consecutive entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicateOperation {
    /// The leader's term.
    pub term: Term,
    /// The leader's commit index.
    pub commit: LogIndex,
    /// The index before the first entry.
    pub previous_index: LogIndex,
    /// The term of the entry at that index.
    pub previous_term: Term,
    /// The entries, consecutive from `previous_index + 1`; none to probe.
    pub entries: Vec<Entry>,
}

/// How far a follower has come in the leader's term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledge {
    /// The follower's term; what follows holds in this term only.
    pub term: Term,
    /// The newest round of this term that the follower has seen.
    pub round: ReadRound,
    /// Up to here the follower's log is verified to be the leader's.
    pub matched: LogIndex,
    /// Up to here it is on the follower's disk as well; never above `matched`.
    pub durable: LogIndex,
    /// An entry of the follower's log that may be the leader's too: a place to probe.
    pub hint_index: LogIndex,
    /// Its term.
    pub hint_term: Term,
    /// Ranges received beyond `matched`, first and last index, ascending, at most
    /// [`RANGES_MAX`].
    pub received: Vec<(LogIndex, LogIndex)>,
    /// Microseconds since the follower's oldest entry that is not yet durable was appended.
    pub durability_age: u32,
    /// How much room the follower's disk has: [`SPACE_ENOUGH`] or [`SPACE_LOW`]; 0 while it
    /// is not measured.
    pub free_space_class: u8,
    /// The index of the follower's configuration.
    pub configuration_index: LogIndex,
}

/// The disk has room for all that may come before the next snapshot, and for that snapshot.
pub const SPACE_ENOUGH: u8 = 1;
/// It has not: what makes the state grow must be refused.
pub const SPACE_LOW: u8 = 2;

/// The most ranges in one acknowledgment.
pub const RANGES_MAX: usize = 128;
/// The most entries that a follower holds because others before them are missing.
pub const HELD_ENTRIES_MAX: usize = 4_096;

/// A follower asks at which index it may answer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadIndexRequest {
    /// The follower's term.
    pub term: Term,
    /// The follower's number for it.
    pub batch: u64,
}

/// The leader's answer: whatever was acknowledged before the request stands at or
/// below this index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadIndexReply {
    /// The leader's term.
    pub term: Term,
    /// The follower's number for the request.
    pub batch: u64,
    /// The index.
    pub index: LogIndex,
}

/// A client asks for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// Repeated in the answer.
    pub nonce: u64,
}

/// A freshly minted session. Minting changes nothing on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOpened {
    /// That of the request.
    pub nonce: u64,
    /// The session.
    pub session: SessionId,
    /// How many sequences above its floor the session may use.
    pub window: u32,
    /// The cluster's time when it was minted, as the node knows it.
    pub time: LogTime,
}

/// A client's operation, whole or one piece of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The client's session.
    pub session: SessionId,
    /// Which of the session's operations this is.
    pub sequence: Sequence,
    /// The session needs no answer below this sequence any more.
    pub floor: Sequence,
    /// The operation has no effect at an index whose log time lies later; zero: no limit.
    pub not_after: LogTime,
    /// How many more nodes may pass the request on; zero: none.
    pub hops: u8,
    /// The session has no further operation after this one.
    pub one_shot: bool,
    /// Asks for the first result of the sequence, or forbids it; carries no piece.
    pub settle: bool,
    /// The digest of the whole operation.
    pub digest: Digest,
    /// The length of the whole operation, in bytes.
    pub length: u32,
    /// Which piece this is: pieces are [`PIECE_BYTES`] long, but for the last.
    pub piece: u32,
    /// The piece.
    pub bytes: Bytes,
}

/// The length of one piece of an operation, or of one page of an answer, in bytes.
pub const PIECE_BYTES: usize = 1024;

/// Which pieces of an operation a node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestProgress {
    /// The client's session.
    pub session: SessionId,
    /// Which of the session's operations.
    pub sequence: Sequence,
    /// All pieces before this one have arrived.
    pub next_piece: u32,
    /// Bit *i* stands for piece `next_piece + 1 + i`: it has arrived.
    pub beyond: u64,
}

/// What came of an operation, held back until its index was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The client's session.
    pub session: SessionId,
    /// Which of the session's operations.
    pub sequence: Sequence,
    /// What came of it, and where.
    pub settled: Settled,
}

/// A client's number for a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId {
    /// Random bits of the client.
    pub client: u64,
    /// Its number for the read.
    pub number: u64,
}

/// A client asks for pages of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The client's number for the read.
    pub read: ReadId,
    /// What it asks.
    pub query: Query,
    /// Answer alone and at once, from what this node knows to be committed.
    pub stale: bool,
    /// The pinned state that the first page named; zero to begin.
    pub pin: u64,
    /// All pages before this one have arrived, and will not be asked for again.
    pub arrived: u32,
    /// The first page wanted.
    pub page: u32,
    /// How many pages are wanted, at most [`PAGES_MAX`].
    pub count: u16,
}

/// The most pages that one request may ask for.
pub const PAGES_MAX: u16 = 64;

/// What a read asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// One key. The answer is its [`ListedValue`], or nothing.
    Get {
        /// The key.
        key: Bytes,
    },
    /// All keys that begin with the prefix, in the order of their bytes. The answer is
    /// one [`ListedValue`] after the other.
    List {
        /// The prefix, which may be empty.
        prefix: Bytes,
        /// The most keys wanted; zero: all.
        limit: u64,
    },
}

impl Query {
    /// What every key begins with that it asks for.
    pub fn prefix(&self) -> &Bytes {
        match self {
            Self::Get { key } => key,
            Self::List { prefix, .. } => prefix,
        }
    }
}

/// One key of an answer, as the pages' joined bytes hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedValue {
    /// The key.
    pub key: Bytes,
    /// The log index of its last write.
    pub version: LogIndex,
    /// Its value.
    pub value: Bytes,
}

/// One page of an answer: [`PIECE_BYTES`] of its bytes, or fewer on the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The client's number for the read.
    pub read: ReadId,
    /// The pinned state, for further pages; zero when this page is the only one.
    pub pin: u64,
    /// Which page this is, from 0.
    pub page: u32,
    /// Whether it is the last.
    pub last: bool,
    /// The index whose state is answered from.
    pub index: LogIndex,
    /// Of a stale read: the state contains all that was acknowledged more than this
    /// many microseconds ago; none when the node cannot tell.
    pub age: Option<u64>,
    /// The page's bytes.
    pub bytes: Bytes,
}

/// Which request of a client is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The request for a session with this nonce.
    Open(u64),
    /// An operation.
    Request(SessionId, Sequence),
    /// A read.
    Read(ReadId),
    /// The request about members with this nonce.
    Members(u64),
}

/// The node does not take a request. Unless the reason says that it never will, the
/// client may ask again, here or elsewhere: this settles nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declined {
    /// The request.
    pub about: About,
    /// Why.
    pub reason: DeclineReason,
    /// The leader, when the node knows one.
    pub leader: Option<(ServerId, SocketAddr)>,
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeclineReason {
    /// Another node leads; it is named.
    NotLeader,
    /// No node is known to lead.
    NoLeader,
    /// The cluster is not born yet.
    NotBorn,
    /// The node has as much to do as it can hold.
    Busy,
    /// The pinned state of a read is gone; the read must begin anew.
    PinGone,
    /// The disks have no room for what the operation would add.
    NoSpace,
    /// The request can never be executed: this follows from the request alone.
    Invalid(Invalid),
    /// Who asks has no right to it: this follows from the request and its key alone.
    Denied(Denial),
}
