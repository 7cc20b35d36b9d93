//! Frames that other nodes and clients might send, near enough to what the node knows to be
//! taken seriously, and far enough off to be wrong in every way.

use std::net::SocketAddr;

use bytes::Bytes;
use quorate::configuration::Configuration;
use quorate::entry::{Entry, EntryKind};
use quorate::operation::{Command, Expected, LoggedRequest, Operation};
use quorate::replica::ReplicaNode;
use quorate::store::{Snapshot, State};
use quorate::types::{
    Digest, DirectoryId, GenesisId, Incarnation, LogIndex, LogTime, ReadRound, Sequence, ServerId,
    SessionId, Term,
};
use quorate::wire::{
    self, Acknowledge, CatchUpReply, CatchUpRequest, HEADER_BYTES, Header, Heartbeat, Introduce,
    KeyRequest, Kind, MemberChange, MemberRequest, Message, OpenSession, PIECE_BYTES, Query, Read,
    ReadId, ReadIndexReply, ReadIndexRequest, RepairReply, RepairRequest, ReplicateOperation,
    Request, Resume, Sighted, SnapshotName, SnapshotOffer, SnapshotPiece, SnapshotRequest,
    Standing, StatusRequest, TimeoutsRequest, TrafficRequest, Verdict, VoteReply, VoteRequest,
};

use super::choices::Choices;
use super::clients;
use super::life::{CLUSTER, address_of, configuration, ids};

/// A frame with this header and any body at all.
pub fn raw(header: &Header, choices: &mut Choices) -> Bytes {
    let kind = Kind::ALL[choices.below(Kind::ALL.len())];
    let mut frame = Vec::new();
    wire::encode(header, &Message::TimeoutNow(Term(0)), &mut frame);
    frame.truncate(HEADER_BYTES);
    frame[3] = kind as u8;
    let length = usize::from(choices.byte()) * 4;
    frame.extend_from_slice(&choices.bytes(length));
    wire::seal(&mut frame);
    frame.into()
}

/// The header of a client's frame.
pub fn client_header() -> Header {
    clients::header(CLUSTER)
}

/// What another node might say.
pub fn from_peer(choices: &mut Choices, node: &ReplicaNode, size: usize) -> Message {
    match choices.below(18) {
        0..=2 => Message::ReplicateOperation(replicate(choices, node)),
        3 | 4 => Message::Acknowledge(acknowledge(choices, node)),
        5 => Message::Heartbeat(heartbeat(choices, node)),
        6 => Message::VoteRequest(vote_request(choices, node)),
        7 => Message::VoteReply(vote_reply(choices, node)),
        8 => Message::TimeoutNow(term(choices, node)),
        9 => read_index(choices, node),
        10 => snapshot(choices, node),
        11 => repair(choices, node),
        13 => catch_up(choices, node),
        14 | 15 => Message::Resume(resume(choices, node)),
        16 | 17 => Message::Sighted(sighted(choices, node)),
        _ => birth(choices, size),
    }
}

/// What a client might ask.
pub fn from_client(choices: &mut Choices, node: &ReplicaNode) -> Message {
    match choices.below(13) {
        0..=4 => Message::Request(request(choices, node)),
        5 | 6 => Message::Read(read(choices)),
        7 => Message::OpenSession(OpenSession { nonce: choices.byte().into() }),
        8 => Message::StatusRequest(StatusRequest { nonce: choices.byte().into() }),
        9 => Message::TimeoutsRequest(TimeoutsRequest { nonce: choices.byte().into() }),
        10 => Message::TrafficRequest(TrafficRequest { nonce: choices.byte().into() }),
        11 => Message::KeyRequest(KeyRequest { nonce: 7, key: choices.byte().into() }),
        _ => Message::MemberRequest(member_request(choices, node)),
    }
}

fn term(choices: &mut Choices, node: &ReplicaNode) -> Term {
    Term(choices.near(node.state().term.0))
}

fn index(choices: &mut Choices, node: &ReplicaNode) -> LogIndex {
    LogIndex(choices.near(node.state().log.last_index().0))
}

fn replicate(choices: &mut Choices, node: &ReplicaNode) -> ReplicateOperation {
    let log = &node.state().log;
    let previous_index = index(choices, node);
    let known = log.term_at(previous_index);
    let previous_term = known.unwrap_or_else(|| Term(choices.near(log.last_term().0)));
    let chain = log.chain_at(previous_index).unwrap_or_default();
    ReplicateOperation {
        term: term(choices, node),
        commit: index(choices, node),
        previous_index,
        previous_term,
        entries: entries(choices, (previous_index, previous_term, chain)),
    }
}

/// A few entries that follow each other, behind one with this index, term and chain value.
fn entries(choices: &mut Choices, behind: (LogIndex, Term, u32)) -> Vec<Entry> {
    let (mut index, mut term, mut chain) = behind;
    let mut entries = Vec::new();
    for _ in 0..choices.below(4) {
        if index.0 == u64::MAX {
            break;
        }
        index = index.next();
        term = match choices.below(16) {
            0 => Term(choices.near(term.0)),
            more => Term(term.0.saturating_add(more as u64 % 3)),
        };
        let (kind, payload) = content(choices);
        let time = LogTime(choices.near(1));
        let entry = Entry::chained(chain, index, term, time, kind, payload);
        chain = entry.chain;
        entries.push(entry);
    }
    entries
}

fn content(choices: &mut Choices) -> (EntryKind, Bytes) {
    match choices.below(8) {
        0 => (EntryKind::Noop, Bytes::new()),
        1 => (EntryKind::Configuration, any_configuration(choices).encode()),
        2 => (EntryKind::Part, some_bytes(choices)),
        3 => (EntryKind::Request, some_bytes(choices)),
        4 => (EntryKind::Configuration, some_bytes(choices)),
        _ => (EntryKind::Request, logged(choices).encode().into()),
    }
}

/// Who is in and who is out, at random: no honest leader would say such a thing.
fn any_configuration(choices: &mut Choices) -> Configuration {
    let mut changed = configuration(3);
    for id in ids(5) {
        changed = match choices.below(4) {
            0 => changed,
            1 => changed.with_learner(id),
            2 => changed.with_voter(id, DirectoryId(choices.byte().into())),
            _ => changed.without(id),
        };
        if choices.flag() {
            changed.addresses.insert(id, address(choices));
        }
    }
    changed.snapshot_bytes = choices.pair().into();
    (changed.session_limit, changed.session_window) =
        (choices.byte().into(), choices.byte().into());
    changed
}

fn address(choices: &mut Choices) -> SocketAddr {
    address_of(ServerId(choices.below(8).try_into().expect("a small number")))
}

fn acknowledge(choices: &mut Choices, node: &ReplicaNode) -> Acknowledge {
    let matched = index(choices, node);
    let hint_index = index(choices, node);
    let hint_term = node.state().log.term_at(hint_index).unwrap_or_default();
    let received = (0..choices.below(4))
        .map(|_| {
            let first = index(choices, node);
            (first, LogIndex(first.0.saturating_add(choices.below(4) as u64)))
        })
        .collect();
    Acknowledge {
        term: term(choices, node),
        round: ReadRound(choices.near(1)),
        matched,
        durable: LogIndex(choices.near(matched.0)),
        hint_index,
        hint_term,
        received,
        durability_age: choices.pair().into(),
        free_space_class: choices.byte(),
        configuration_index: index(choices, node),
    }
}

fn heartbeat(choices: &mut Choices, node: &ReplicaNode) -> Heartbeat {
    Heartbeat {
        term: term(choices, node),
        round: ReadRound(choices.near(1)),
        commit: index(choices, node),
        confirmed_age: choices.flag().then(|| choices.pair().into()),
        durability_age: u32::from(choices.pair()) * 64,
        durable: index(choices, node),
        configuration_index: index(choices, node),
        interval: u32::from(choices.pair()) * 16,
    }
}

fn resume(choices: &mut Choices, node: &ReplicaNode) -> Resume {
    let end = choices.flag().then(|| (term(choices, node), index(choices, node)));
    Resume { term: term(choices, node), voted: choices.flag(), end }
}

/// Mostly of this very life.
fn sighted(choices: &mut Choices, node: &ReplicaNode) -> Sighted {
    let own = node.state().life();
    let verdicts = [Verdict::Whole, Verdict::Whole, Verdict::Unheard, Verdict::Lost];
    Sighted {
        directory: own.directory,
        incarnation: Incarnation(own.incarnation.0 + u32::from(choices.byte() / 224)),
        life: own.id,
        verdict: verdicts[choices.below(4)],
        seen_incarnation: own.incarnation,
        seen_term: term(choices, node),
        seen_vote: choices.flag(),
        seen_index: index(choices, node),
    }
}

fn vote_request(choices: &mut Choices, node: &ReplicaNode) -> VoteRequest {
    VoteRequest {
        term: term(choices, node),
        pre_vote: choices.flag(),
        transfer: choices.flag(),
        last_index: index(choices, node),
        last_term: term(choices, node),
    }
}

fn vote_reply(choices: &mut Choices, node: &ReplicaNode) -> VoteReply {
    VoteReply {
        term: term(choices, node),
        pre_vote: choices.flag(),
        granted: choices.flag(),
        voter_term: term(choices, node),
        lacks: choices.flag(),
    }
}

fn read_index(choices: &mut Choices, node: &ReplicaNode) -> Message {
    let (term, batch) = (term(choices, node), choices.near(1));
    if choices.flag() {
        return Message::ReadIndexRequest(ReadIndexRequest { term, batch });
    }
    Message::ReadIndexReply(ReadIndexReply { term, batch, index: index(choices, node) })
}

fn snapshot(choices: &mut Choices, node: &ReplicaNode) -> Message {
    if choices.flag() {
        return forged_snapshot(choices, node);
    }
    let at = index(choices, node);
    let log = &node.state().log;
    let snapshot = SnapshotName {
        index: at,
        term: log.term_at(at).unwrap_or_else(|| Term(choices.byte().into())),
        chain: log.chain_at(at).unwrap_or_else(|| choices.pair().into()),
    };
    if choices.flag() {
        return Message::SnapshotOffer(SnapshotOffer { term: term(choices, node), snapshot });
    }
    let (block, first) = (choices.below(4).try_into().unwrap_or(0), choices.byte().into());
    let wanted = choices.near(u64::MAX);
    Message::SnapshotRequest(SnapshotRequest { snapshot, block, first, wanted })
}

/// The offer of a snapshot that nobody has made, or the whole of it: it has no keys.
fn forged_snapshot(choices: &mut Choices, node: &ReplicaNode) -> Message {
    let index = index(choices, node);
    let name = SnapshotName { index, term: node.state().log.last_term(), chain: 7 };
    if choices.flag() {
        let term = term(choices, node);
        return Message::SnapshotOffer(SnapshotOffer { term, snapshot: name });
    }
    let state = State::of_keys(index, configuration(3), []);
    let forged = Snapshot::new(state, name.term, name.chain);
    let block = forged.blocks().next().expect("every snapshot has a block");
    Message::SnapshotPiece(SnapshotPiece {
        snapshot: name,
        block: 0,
        last: true,
        length: u32::try_from(block.len()).expect("a short block"),
        checksum: crc32fast::hash(&block),
        piece: 0,
        bytes: block,
    })
}

fn repair(choices: &mut Choices, node: &ReplicaNode) -> Message {
    let (first, last) = (index(choices, node), index(choices, node));
    let end = choices.flag().then(|| (term(choices, node), last));
    if choices.flag() {
        return Message::RepairRequest(RepairRequest { first, last, bound: end });
    }
    let behind = (LogIndex(first.0.saturating_sub(1)), Term(choices.byte().into()), 0);
    let term = term(choices, node);
    Message::RepairReply(RepairReply { term, end, first, entries: entries(choices, behind) })
}

fn catch_up(choices: &mut Choices, node: &ReplicaNode) -> Message {
    let log = &node.state().log;
    let before = index(choices, node);
    if choices.flag() {
        return Message::CatchUpRequest(CatchUpRequest { first: before });
    }
    let behind = (
        before,
        log.term_at(before).unwrap_or_else(|| Term(choices.byte().into())),
        log.chain_at(before).unwrap_or_default(),
    );
    let entries = entries(choices, behind);
    Message::CatchUpReply(CatchUpReply {
        term: term(choices, node),
        log_end: (term(choices, node), index(choices, node)),
        snapshot: None,
        first: LogIndex(before.0.saturating_add(1)),
        entries,
    })
}

fn birth(choices: &mut Choices, size: usize) -> Message {
    let genesis = GenesisId(if choices.flag() { 42 } else { choices.byte().into() });
    let proposed = Configuration { genesis, ..configuration(size) };
    match choices.below(4) {
        0 => Message::GenesisPropose(proposed),
        1 => Message::GenesisAccept(genesis),
        2 => Message::GenesisComplete(proposed),
        _ => {
            let standings = [Standing::Blank, Standing::Accepted(genesis), Standing::Born(genesis)];
            let list = ids(size + choices.below(2)).map(|id| (id, String::new())).collect();
            Message::Introduce(Introduce { standing: standings[choices.below(3)], list })
        }
    }
}

fn request(choices: &mut Choices, node: &ReplicaNode) -> Request {
    let mut bytes = Vec::new();
    operation(choices).encode(&mut bytes);
    let whole = Bytes::from(bytes);
    let piece = if whole.len() > PIECE_BYTES { choices.below(3) } else { 0 };
    let from = (piece * PIECE_BYTES).min(whole.len());
    let to = (from + PIECE_BYTES).min(whole.len());
    let settle = choices.below(8) == 0;
    Request {
        session: session(choices, node.state().commit),
        sequence: Sequence(choices.near(1)),
        floor: Sequence(choices.near(0)),
        not_after: LogTime(if choices.below(8) == 0 { choices.pair().into() } else { 0 }),
        hops: 0,
        one_shot: choices.flag(),
        settle,
        digest: Digest::of(&whole),
        length: if settle { 0 } else { whole.len().try_into().expect("a short operation") },
        piece: piece.try_into().expect("a short operation"),
        bytes: if settle { Bytes::new() } else { whole.slice(from..to) },
    }
}

/// One of a few sessions, minted at about this index.
fn session(choices: &mut Choices, minted_at: LogIndex) -> SessionId {
    SessionId { minted_at: LogIndex(choices.near(minted_at.0)), random: choices.below(4) as u64 }
}

fn logged(choices: &mut Choices) -> LoggedRequest {
    let settles = choices.below(8) == 0;
    LoggedRequest {
        session: session(choices, LogIndex(1)),
        sequence: Sequence(choices.near(1)),
        floor: Sequence(choices.near(0)),
        not_after: LogTime(choices.below(4) as u64),
        one_shot: choices.flag(),
        digest: Digest(choices.below(4) as u64),
        command: if settles { Command::Settle } else { Command::Execute(operation(choices)) },
    }
}

fn operation(choices: &mut Choices) -> Operation {
    let key = Bytes::from(vec![b'a'; choices.below(4)]);
    match choices.below(6) {
        0 => Operation::Delete { key },
        1 => Operation::Increment { key, by: i64::from(choices.byte()) - 128 },
        2 => {
            let expected = [
                Expected::Absent,
                Expected::Version(LogIndex(choices.byte().into())),
                Expected::Value(some_bytes(choices)),
            ];
            let expected = expected[choices.below(3)].clone();
            Operation::CompareAndSwap { key, expected, value: some_bytes(choices) }
        }
        3 => Operation::Put { key, value: vec![b'x'; usize::from(choices.pair()) % 3_000].into() },
        _ => Operation::Put { key, value: some_bytes(choices) },
    }
}

fn read(choices: &mut Choices) -> Read {
    let key = Bytes::from(vec![b'a'; choices.below(4)]);
    let query = if choices.flag() {
        Query::Get { key }
    } else {
        Query::List { prefix: key, limit: choices.near(0) }
    };
    Read {
        read: ReadId { client: choices.below(3) as u64, number: choices.below(4) as u64 },
        query,
        stale: choices.flag(),
        pin: choices.near(0),
        arrived: u32::from(choices.byte() / 64),
        page: u32::from(choices.byte() / 64),
        count: choices.below(65).try_into().expect("a small number"),
    }
}

/// Mostly of the members as they are.
fn member_request(choices: &mut Choices, node: &ReplicaNode) -> MemberRequest {
    let present = node.state().configuration_index();
    let other = ServerId(choices.below(8).try_into().expect("a small number"));
    let kind = choices.below(12);
    let seen = if kind < 9 { present } else { LogIndex(present.0.saturating_sub(1)) };
    let change = match kind % 3 {
        0 => MemberChange::None,
        1 => MemberChange::Add { node: other, address: address(choices) },
        _ => MemberChange::Remove { node: other },
    };
    MemberRequest { nonce: 7, seen, change }
}

fn some_bytes(choices: &mut Choices) -> Bytes {
    let count = choices.below(64);
    choices.bytes(count)
}
