//! Random messages of every kind, within the limits of the format.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use quorate::access::Denial;
use quorate::configuration::Configuration;
use quorate::entry::{Entry, EntryKind};
use quorate::operation::{Command, INLINE_BYTES_MAX};
use quorate::operation::{Expected, Invalid, LoggedRequest, Operation, Outcome, Settled};
use quorate::types::{
    ClusterHash, Digest, DirectoryId, ENTRY_BYTES_MAX, GenesisId, Incarnation, KEY_BYTES_MAX,
    LifeId, LogIndex, LogTime, LossShare, NODES_MAX, PacketNumber, ReadRound, Sequence, ServerId,
    SessionId, Term,
};
use quorate::wire::{
    About, CatchUpReply, CatchUpRequest, DeclineReason, Declined, Echo, Frame, GenesisHash, Header,
    Heartbeat, Introduce, Kind, MemberChange, MemberOutcome, MemberReply, MemberRequest, Message,
    OpenSession, PAGES_MAX, PIECE_BYTES, Page, Query, Read, ReadId, ReadIndexReply,
    ReadIndexRequest, RepairReply, RepairRequest, ReplicateOperation, Reply, Request,
    RequestProgress, Resume, SessionOpened, Sighted, SnapshotName, SnapshotOffer, SnapshotPiece,
    SnapshotRequest, Standing, StatusRequest, TimeoutsRequest, TrafficRequest, Verdict, VoteReply,
    VoteRequest,
};

use super::{acknowledgments, status_strategies};

/// A frame of any kind.
pub fn frame() -> impl Strategy<Value = Frame> {
    let message = prop::sample::select(Kind::ALL).prop_flat_map(message);
    (header(), message).prop_map(|(header, message)| Frame { header, message })
}

fn header() -> impl Strategy<Value = Header> {
    let echo = (packet(), 0..u32::MAX).prop_map(|(packet, age)| Echo { packet, age });
    let way = (packet(), prop::option::of(echo), any::<u8>());
    (any::<[u32; 4]>(), any::<[u16; 2]>(), directory(), way).prop_map(
        |(halves, ids, directory, (packet, echo, loss))| Header {
            cluster: ClusterHash(halves[0]),
            genesis: GenesisHash(halves[1]),
            sender: ServerId(ids[0]),
            destination: ServerId(ids[1]),
            directory,
            incarnation: Incarnation(halves[2]),
            life: LifeId(halves[3]),
            packet,
            echo,
            loss: LossShare(loss),
        },
    )
}

/// A message of this kind.
pub fn message(kind: Kind) -> BoxedStrategy<Message> {
    match kind {
        Kind::Introduce => introduce().prop_map(Message::Introduce).boxed(),
        Kind::GenesisPropose => configuration().prop_map(Message::GenesisPropose).boxed(),
        Kind::GenesisAccept => genesis().prop_map(Message::GenesisAccept).boxed(),
        Kind::GenesisComplete => configuration().prop_map(Message::GenesisComplete).boxed(),
        Kind::Resume => resume().prop_map(Message::Resume).boxed(),
        Kind::Sighted => sighted().prop_map(Message::Sighted).boxed(),
        Kind::VoteRequest => vote_request().prop_map(Message::VoteRequest).boxed(),
        Kind::VoteReply => vote_reply().prop_map(Message::VoteReply).boxed(),
        Kind::TimeoutNow => term().prop_map(Message::TimeoutNow).boxed(),
        Kind::Heartbeat => heartbeat().prop_map(Message::Heartbeat).boxed(),
        Kind::ReplicateOperation => replicate().prop_map(Message::ReplicateOperation).boxed(),
        Kind::Acknowledge => acknowledgments::acknowledge().prop_map(Message::Acknowledge).boxed(),
        Kind::ReadIndexRequest => read_index_request().prop_map(Message::ReadIndexRequest).boxed(),
        Kind::ReadIndexReply => read_index_reply().prop_map(Message::ReadIndexReply).boxed(),
        Kind::SnapshotOffer => (term(), snapshot_name())
            .prop_map(|(term, snapshot)| Message::SnapshotOffer(SnapshotOffer { term, snapshot }))
            .boxed(),
        Kind::SnapshotRequest => snapshot_request().prop_map(Message::SnapshotRequest).boxed(),
        Kind::SnapshotPiece => snapshot_piece().prop_map(Message::SnapshotPiece).boxed(),
        Kind::RepairRequest => (index(), index(), prop::option::of((term(), index())))
            .prop_map(|(first, last, bound)| {
                Message::RepairRequest(RepairRequest { first, last, bound })
            })
            .boxed(),
        Kind::RepairReply => (prop::option::of((term(), index())), replicate())
            .prop_map(|(end, replicate)| {
                let ReplicateOperation { term, previous_index, entries, .. } = replicate;
                let first = previous_index.next();
                Message::RepairReply(RepairReply { term, end, first, entries })
            })
            .boxed(),
        Kind::CatchUpRequest => {
            index().prop_map(|first| Message::CatchUpRequest(CatchUpRequest { first })).boxed()
        }
        Kind::CatchUpReply => (index(), prop::option::of(snapshot_name()), replicate())
            .prop_map(|(end, snapshot, replicate)| {
                let ReplicateOperation { term, previous_index, entries, .. } = replicate;
                let (log_end, first) = ((term, end), previous_index.next());
                Message::CatchUpReply(CatchUpReply { term, log_end, snapshot, first, entries })
            })
            .boxed(),
        Kind::OpenSession => {
            any::<u64>().prop_map(|nonce| Message::OpenSession(OpenSession { nonce })).boxed()
        }
        Kind::SessionOpened => session_opened().prop_map(Message::SessionOpened).boxed(),
        Kind::Request => request().prop_map(Message::Request).boxed(),
        Kind::RequestProgress => request_progress().prop_map(Message::RequestProgress).boxed(),
        Kind::Reply => reply().prop_map(Message::Reply).boxed(),
        Kind::Read => read().prop_map(Message::Read).boxed(),
        Kind::Page => page().prop_map(Message::Page).boxed(),
        Kind::Declined => declined().prop_map(Message::Declined).boxed(),
        Kind::StatusRequest => {
            any::<u64>().prop_map(|nonce| Message::StatusRequest(StatusRequest { nonce })).boxed()
        }
        Kind::Status => status_strategies::status().prop_map(Message::Status).boxed(),
        Kind::TimeoutsRequest => any::<u64>()
            .prop_map(|nonce| Message::TimeoutsRequest(TimeoutsRequest { nonce }))
            .boxed(),
        Kind::Timeouts => status_strategies::timeouts().prop_map(Message::Timeouts).boxed(),
        Kind::TrafficRequest => {
            any::<u64>().prop_map(|nonce| Message::TrafficRequest(TrafficRequest { nonce })).boxed()
        }
        Kind::Traffic => status_strategies::traffic().prop_map(Message::Traffic).boxed(),
        Kind::KeyRequest => status_strategies::key_request().prop_map(Message::KeyRequest).boxed(),
        Kind::KeyStanding => status_strategies::standing().prop_map(Message::KeyStanding).boxed(),
        Kind::MemberRequest => member_request().prop_map(Message::MemberRequest).boxed(),
        Kind::MemberReply => member_reply().prop_map(Message::MemberReply).boxed(),
    }
}

fn term() -> impl Strategy<Value = Term> {
    any::<u64>().prop_map(Term)
}

pub fn index() -> impl Strategy<Value = LogIndex> {
    any::<u64>().prop_map(LogIndex)
}

fn packet() -> impl Strategy<Value = PacketNumber> {
    any::<u64>().prop_map(PacketNumber)
}

pub fn directory() -> impl Strategy<Value = DirectoryId> {
    any::<u64>().prop_map(DirectoryId)
}

pub fn genesis() -> impl Strategy<Value = GenesisId> {
    (1..=u64::MAX).prop_map(GenesisId)
}

pub fn node() -> impl Strategy<Value = ServerId> {
    (1..=u16::MAX).prop_map(ServerId)
}

fn bytes(most: usize) -> impl Strategy<Value = Bytes> {
    let length = prop_oneof![0..=most.min(24), Just(most)];
    length.prop_flat_map(|length| vec(any::<u8>(), length)).prop_map(Bytes::from)
}

fn introduce() -> impl Strategy<Value = Introduce> {
    let standing = prop_oneof![
        Just(Standing::Blank),
        genesis().prop_map(Standing::Accepted),
        genesis().prop_map(Standing::Born),
    ];
    (standing, vec((node(), "[a-z.:0-9]{0,64}"), 0..=NODES_MAX))
        .prop_map(|(standing, list)| Introduce { standing, list })
}

fn configuration() -> impl Strategy<Value = Configuration> {
    let members = btree_map(node(), directory(), 1..=NODES_MAX / 2);
    let others = btree_map(node(), prop::option::of(address()), 0..=NODES_MAX / 2);
    (genesis(), members, others, 1..=u32::MAX, 1..=u32::MAX, 1..=u64::MAX).prop_map(
        |(genesis, members, others, session_limit, session_window, snapshot_bytes)| Configuration {
            genesis,
            learners: others.keys().filter(|id| !members.contains_key(id)).copied().collect(),
            addresses: others.into_iter().filter_map(|(id, at)| Some((id, at?))).collect(),
            members,
            session_limit,
            session_window,
            snapshot_bytes,
        },
    )
}

fn resume() -> impl Strategy<Value = Resume> {
    (term(), any::<bool>(), prop::option::of((term(), index())))
        .prop_map(|(term, voted, end)| Resume { term, voted, end })
}

fn sighted() -> impl Strategy<Value = Sighted> {
    let verdicts = vec![Verdict::Unheard, Verdict::Whole, Verdict::Lost];
    let verdict = prop::sample::select(verdicts);
    (directory(), any::<[u32; 3]>(), verdict, term(), any::<bool>(), index()).prop_map(
        |(directory, halves, verdict, seen_term, seen_vote, seen_index)| Sighted {
            directory,
            incarnation: Incarnation(halves[0]),
            life: LifeId(halves[1]),
            verdict,
            seen_incarnation: Incarnation(halves[2]),
            seen_term,
            seen_vote,
            seen_index,
        },
    )
}

fn vote_request() -> impl Strategy<Value = VoteRequest> {
    (term(), any::<bool>(), any::<bool>(), index(), term()).prop_map(
        |(term, pre_vote, transfer, last_index, last_term)| VoteRequest {
            term,
            pre_vote,
            transfer,
            last_index,
            last_term,
        },
    )
}

fn vote_reply() -> impl Strategy<Value = VoteReply> {
    (term(), any::<[bool; 3]>(), term()).prop_map(
        |(term, [pre_vote, granted, lacks], voter_term)| VoteReply {
            term,
            pre_vote,
            granted,
            voter_term,
            lacks,
        },
    )
}

fn heartbeat() -> impl Strategy<Value = Heartbeat> {
    let times = (any::<Option<u32>>(), any::<u32>(), any::<u32>());
    (term(), any::<u64>(), index(), times, index(), index()).prop_map(
        |(term, round, commit, times, configuration_index, durable)| {
            let (confirmed_age, durability_age, interval) = times;
            Heartbeat {
                term,
                round: ReadRound(round),
                commit,
                confirmed_age,
                durability_age,
                configuration_index,
                durable,
                interval,
            }
        },
    )
}

/// Entries are consecutive: their indexes are not written.
fn replicate() -> impl Strategy<Value = ReplicateOperation> {
    (term(), index(), 0..u64::MAX - 100, term(), vec(entry(), 0..40)).prop_map(
        |(term, commit, previous, previous_term, entries)| ReplicateOperation {
            term,
            commit,
            previous_index: LogIndex(previous),
            previous_term,
            entries: (previous + 1..)
                .zip(entries)
                .map(|(index, entry)| Entry { index: LogIndex(index), ..entry })
                .collect(),
        },
    )
}

fn entry() -> impl Strategy<Value = Entry> {
    let kinds = [EntryKind::Noop, EntryKind::Configuration, EntryKind::Part, EntryKind::Request];
    (term(), any::<[u64; 2]>(), prop::sample::select(kinds.to_vec()), payload(), any::<u32>())
        .prop_map(|(term, [index, time], kind, payload, previous_chain)| {
            Entry::chained(previous_chain, LogIndex(index), term, LogTime(time), kind, payload)
        })
}

fn payload() -> impl Strategy<Value = Bytes> {
    let logged = logged_request().prop_map(|logged| {
        let mut bytes = logged.encode();
        bytes.truncate(ENTRY_BYTES_MAX);
        Bytes::from(bytes)
    });
    prop_oneof![bytes(ENTRY_BYTES_MAX), logged]
}

/// A request as the log keeps it.
pub fn logged_request() -> impl Strategy<Value = LoggedRequest> {
    let command = prop_oneof![operation().prop_map(Command::Execute), Just(Command::Settle)];
    (session(), any::<[u64; 4]>(), any::<bool>(), command).prop_map(
        |(session, numbers, one_shot, command)| LoggedRequest {
            session,
            sequence: Sequence(numbers[0]),
            floor: Sequence(numbers[1]),
            not_after: LogTime(numbers[2]),
            one_shot,
            digest: Digest(numbers[3]),
            command,
        },
    )
}

/// Any operation.
pub fn operation() -> impl Strategy<Value = Operation> {
    let expected = prop_oneof![
        Just(Expected::Absent),
        index().prop_map(Expected::Version),
        bytes(2_000).prop_map(Expected::Value),
    ];
    let key = || bytes(KEY_BYTES_MAX);
    let swap = |(key, expected, value)| Operation::CompareAndSwap { key, expected, value };
    prop_oneof![
        (key(), bytes(2_000)).prop_map(|(key, value)| Operation::Put { key, value }),
        key().prop_map(|key| Operation::Delete { key }),
        (key(), expected, bytes(2_000)).prop_map(swap),
        (key(), any::<i64>()).prop_map(|(key, by)| Operation::Increment { key, by }),
    ]
}

fn read_index_request() -> impl Strategy<Value = ReadIndexRequest> {
    (term(), any::<u64>()).prop_map(|(term, batch)| ReadIndexRequest { term, batch })
}

fn snapshot_name() -> impl Strategy<Value = SnapshotName> {
    (index(), term(), any::<u32>()).prop_map(|(index, term, chain)| SnapshotName {
        index,
        term,
        chain,
    })
}

fn snapshot_request() -> impl Strategy<Value = SnapshotRequest> {
    (snapshot_name(), any::<u32>(), any::<u32>(), any::<u64>()).prop_map(
        |(snapshot, block, first, wanted)| SnapshotRequest { snapshot, block, first, wanted },
    )
}

fn snapshot_piece() -> impl Strategy<Value = SnapshotPiece> {
    let numbers = (any::<u32>(), any::<bool>(), any::<u32>(), any::<u32>(), any::<u32>());
    (snapshot_name(), numbers, vec(any::<u8>(), 0..=PIECE_BYTES)).prop_map(
        |(snapshot, (block, last, length, checksum, piece), bytes)| SnapshotPiece {
            snapshot,
            block,
            last,
            length,
            checksum,
            piece,
            bytes: bytes.into(),
        },
    )
}

fn read_index_reply() -> impl Strategy<Value = ReadIndexReply> {
    (term(), any::<u64>(), index()).prop_map(|(term, batch, index)| ReadIndexReply {
        term,
        batch,
        index,
    })
}

fn session() -> impl Strategy<Value = SessionId> {
    (index(), any::<u64>()).prop_map(|(minted_at, random)| SessionId { minted_at, random })
}

fn session_opened() -> impl Strategy<Value = SessionOpened> {
    (any::<[u64; 2]>(), session(), any::<u32>()).prop_map(|([nonce, time], session, window)| {
        SessionOpened { nonce, session, window, time: LogTime(time) }
    })
}

fn request() -> impl Strategy<Value = Request> {
    (
        session(),
        any::<[u64; 4]>(),
        any::<u8>(),
        any::<[bool; 2]>(),
        any::<[u32; 2]>(),
        bytes(PIECE_BYTES),
    )
        .prop_map(|(session, numbers, hops, [one_shot, settle], [length, piece], bytes)| {
            Request {
                session,
                sequence: Sequence(numbers[0]),
                floor: Sequence(numbers[1]),
                not_after: LogTime(numbers[2]),
                hops,
                one_shot,
                settle,
                digest: Digest(numbers[3]),
                length,
                piece,
                bytes,
            }
        })
}

fn request_progress() -> impl Strategy<Value = RequestProgress> {
    (session(), any::<[u64; 2]>(), any::<u32>()).prop_map(
        |(session, [sequence, beyond], next_piece)| RequestProgress {
            session,
            sequence: Sequence(sequence),
            next_piece,
            beyond,
        },
    )
}

fn reply() -> impl Strategy<Value = Reply> {
    (session(), any::<u64>(), settled()).prop_map(|(session, sequence, settled)| Reply {
        session,
        sequence: Sequence(sequence),
        settled,
    })
}

/// Any answer to an operation.
pub fn settled() -> impl Strategy<Value = Settled> {
    let version = prop::option::of((1..=u64::MAX).prop_map(LogIndex));
    let failed = (version, prop::option::of(bytes(INLINE_BYTES_MAX)))
        .prop_map(|(version, value)| Outcome::CompareFailed { version, value });
    let outcome = prop_oneof![
        Just(Outcome::Written),
        any::<bool>().prop_map(|existed| Outcome::Deleted { existed }),
        failed,
        any::<i64>().prop_map(|total| Outcome::Incremented { total }),
        Just(Outcome::NotANumber),
        Just(Outcome::Overflow),
        Just(Outcome::Expired),
        Just(Outcome::Forbidden),
        Just(Outcome::OtherOperation),
        Just(Outcome::OutsideWindow),
        Just(Outcome::Forgotten),
    ];
    (index(), outcome).prop_map(|(index, outcome)| Settled { index, outcome })
}

fn read_id() -> impl Strategy<Value = ReadId> {
    any::<[u64; 2]>().prop_map(|[client, number]| ReadId { client, number })
}

fn read() -> impl Strategy<Value = Read> {
    let query = prop_oneof![
        bytes(KEY_BYTES_MAX).prop_map(|key| Query::Get { key }),
        (bytes(KEY_BYTES_MAX), any::<u64>())
            .prop_map(|(prefix, limit)| Query::List { prefix, limit }),
    ];
    (read_id(), query, any::<bool>(), any::<u64>(), any::<[u32; 2]>(), 1..=PAGES_MAX).prop_map(
        |(read, query, stale, pin, [arrived, page], count)| Read {
            read,
            query,
            stale,
            pin,
            arrived,
            page,
            count,
        },
    )
}

fn page() -> impl Strategy<Value = Page> {
    let age = any::<Option<u64>>();
    (read_id(), any::<u64>(), any::<u32>(), any::<bool>(), index(), age, bytes(PIECE_BYTES))
        .prop_map(|(read, pin, page, last, index, age, bytes)| Page {
            read,
            pin,
            page,
            last,
            index,
            age,
            bytes,
        })
}

fn declined() -> impl Strategy<Value = Declined> {
    let about = prop_oneof![
        any::<u64>().prop_map(About::Open),
        (session(), any::<u64>())
            .prop_map(|(session, sequence)| About::Request(session, Sequence(sequence))),
        read_id().prop_map(About::Read),
        any::<u64>().prop_map(About::Members),
    ];
    let reason = prop::sample::select(vec![
        DeclineReason::NotLeader,
        DeclineReason::NoLeader,
        DeclineReason::NotBorn,
        DeclineReason::Busy,
        DeclineReason::PinGone,
        DeclineReason::NoSpace,
        DeclineReason::Invalid(Invalid::EmptyKey),
        DeclineReason::Invalid(Invalid::KeyTooLong),
        DeclineReason::Invalid(Invalid::ValueTooLong),
        DeclineReason::Invalid(Invalid::NotAnOperation),
        DeclineReason::Denied(Denial::ReadOnly),
        DeclineReason::Denied(Denial::OtherKeys),
        DeclineReason::Denied(Denial::ClientsKey),
    ]);
    (about, reason, prop::option::of((node(), address())))
        .prop_map(|(about, reason, leader)| Declined { about, reason, leader })
}

pub fn address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

fn member_request() -> impl Strategy<Value = MemberRequest> {
    let change = prop_oneof![
        Just(MemberChange::None),
        (node(), address()).prop_map(|(node, address)| MemberChange::Add { node, address }),
        node().prop_map(|node| MemberChange::Remove { node }),
    ];
    (any::<[u64; 2]>(), change).prop_map(|([nonce, seen], change)| MemberRequest {
        nonce,
        seen: LogIndex(seen),
        change,
    })
}

fn member_reply() -> impl Strategy<Value = MemberReply> {
    let outcome = (0_u8..8).prop_map(|byte| MemberOutcome::from_byte(byte).expect("an outcome"));
    (any::<[u64; 3]>(), outcome, configuration()).prop_map(
        |([nonce, index, commit], outcome, configuration)| MemberReply {
            nonce,
            outcome,
            index: LogIndex(index),
            commit: LogIndex(commit),
            configuration,
        },
    )
}
