//! The values that the document's vectors show, by their names there.
//!
//! They tell of one cluster: `quorate`, of the nodes 1, 2 and 3, where node 2 leads.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use quorate::access::Denial;
use quorate::configuration::Configuration;
use quorate::entry::{Entry, EntryKind};
use quorate::operation::{Command, Expected, Invalid, LoggedRequest, Operation, Outcome, Settled};
use quorate::types::{
    ClusterHash, Digest, DirectoryId, ENTRY_BYTES_MAX, GenesisId, Incarnation, LifeId, LogIndex,
    LogTime, LossShare, PacketNumber, ReadRound, Sequence, ServerId, SessionId, Term,
};
use quorate::wire::{
    About, Acknowledge, DeclineReason, Declined, Echo, Frame, GenesisHash, Header, Heartbeat,
    Introduce, KeyRequest, KeyStanding, ListedValue, MemberChange, MemberOutcome, MemberReply,
    MemberRequest, Message, OpenSession, PIECE_BYTES, Page, Query, Read, ReadId, ReadIndexReply,
    ReadIndexRequest, ReplicateOperation, Reply, Request, RequestProgress, SessionOpened, Standing,
    StatusRequest, TimeoutsRequest, TrafficRequest, VoteReply, VoteRequest,
};

use super::{recovery_samples, status_samples};

pub const GENESIS: GenesisId = GenesisId(0x0123_4567_89ab_cdef);
pub const TERM: Term = Term(3);
const SESSION: SessionId = SessionId { minted_at: LogIndex(1041), random: 0x5e55_1011_caba_11ad };
const READ: ReadId = ReadId { client: 0xc11e_4700_0000_0007, number: 12 };

/// A value and the name of its vector.
pub type Named<T> = (&'static str, T);

/// Frames, at least one of every kind.
pub fn frames() -> Vec<Named<Frame>> {
    let nodes = node_messages().into_iter().map(|(name, (from, to, message))| {
        let genesis = if is_before_birth(&message) { GenesisHash(0) } else { short_genesis() };
        (name, Frame { header: Header { genesis, ..node_header(from, to) }, message })
    });
    let asking = client_questions()
        .into_iter()
        .map(|(name, message)| (name, Frame { header: client_header(), message }));
    let answering = client_answers()
        .into_iter()
        .map(|(name, message)| (name, Frame { header: answer_header(), message }));
    nodes.chain(asking).chain(answering).collect()
}

fn is_before_birth(message: &Message) -> bool {
    match message {
        Message::Introduce(introduce) => !matches!(introduce.standing, Standing::Born(_)),
        Message::GenesisPropose(_) | Message::GenesisAccept(_) => true,
        _ => false,
    }
}

fn short_genesis() -> GenesisHash {
    GenesisHash::of(GENESIS)
}

/// The header of a frame between nodes.
pub fn node_header(from: u16, to: u16) -> Header {
    Header {
        cluster: ClusterHash::of("quorate"),
        genesis: short_genesis(),
        sender: ServerId(from),
        destination: ServerId(to),
        directory: directory(from),
        incarnation: Incarnation(7),
        life: LifeId(0x11fe_0007),
        packet: PacketNumber(500_123),
        echo: Some(Echo { packet: PacketNumber(900_077), age: 350 }),
        loss: LossShare(0),
    }
}

/// The header of a client's frame, which knows the cluster's birth already.
pub fn client_header() -> Header {
    Header {
        sender: ServerId::NONE,
        destination: ServerId::NONE,
        directory: DirectoryId(0xc11e_4700_0000_0007),
        incarnation: Incarnation(0),
        life: LifeId(0),
        packet: PacketNumber(70_001),
        echo: None,
        loss: LossShare(0),
        ..node_header(2, 1)
    }
}

/// The header of the leader's answer to it.
fn answer_header() -> Header {
    Header {
        destination: ServerId::NONE,
        echo: Some(Echo { packet: PacketNumber(70_001), age: 1_480 }),
        loss: LossShare(0),
        ..node_header(2, 1)
    }
}

/// The directory of a node.
pub fn directory(node: u16) -> DirectoryId {
    DirectoryId(0xd1d1_d1d1_0000_0000 + u64::from(node))
}

/// Where a node is reached.
pub fn address(node: u16) -> SocketAddr {
    format!("10.0.0.{node}:9717").parse().expect("an address")
}

/// The configuration that the cluster is born with.
pub fn configuration() -> Configuration {
    let members: BTreeMap<_, _> = [1, 2, 3].map(|node| (ServerId(node), directory(node))).into();
    Configuration::at_genesis(GENESIS, members)
}

pub type Between = (u16, u16, Message);

fn node_messages() -> Vec<Named<Between>> {
    [
        birth_messages(),
        recovery_samples::resume_messages(),
        election_messages(),
        log_messages(),
        read_index_messages(),
        recovery_samples::snapshot_messages(),
        recovery_samples::repair_messages(),
        recovery_samples::catch_up_messages(),
    ]
    .concat()
}

fn birth_messages() -> Vec<Named<Between>> {
    let list = |third: &str| {
        let typed = ["10.0.0.1:9717", "", third];
        (1..).map(ServerId).zip(typed.map(String::from)).collect()
    };
    let blank = Introduce { standing: Standing::Blank, list: list("10.0.0.3:9717") };
    let born = Introduce { standing: Standing::Born(GENESIS), list: list("10.0.0.4:9717") };
    vec![
        ("introduce-blank", (2, 1, Message::Introduce(blank))),
        ("introduce-contradicted", (2, 1, Message::Introduce(born))),
        ("genesis-propose", (1, 2, Message::GenesisPropose(configuration()))),
        ("genesis-accept", (2, 1, Message::GenesisAccept(GENESIS))),
        ("genesis-complete", (1, 2, Message::GenesisComplete(configuration()))),
    ]
}

fn election_messages() -> Vec<Named<Between>> {
    let pre_vote = VoteRequest {
        term: TERM,
        pre_vote: true,
        transfer: false,
        last_index: LogIndex(1040),
        last_term: Term(2),
    };
    let vote = VoteRequest { pre_vote: false, transfer: true, ..pre_vote };
    let granted =
        VoteReply { term: TERM, pre_vote: false, granted: true, voter_term: TERM, lacks: false };
    let lacks =
        VoteReply { pre_vote: true, granted: false, voter_term: Term(2), lacks: true, ..granted };
    vec![
        ("pre-vote-request", (2, 1, Message::VoteRequest(pre_vote))),
        ("vote-request", (2, 1, Message::VoteRequest(vote))),
        ("vote-reply", (1, 2, Message::VoteReply(granted))),
        ("pre-vote-reply-lacks", (1, 2, Message::VoteReply(lacks))),
        ("timeout-now", (1, 2, Message::TimeoutNow(Term(2)))),
    ]
}

fn log_messages() -> Vec<Named<Between>> {
    let heartbeat = Heartbeat {
        term: TERM,
        round: ReadRound(17),
        commit: LogIndex(1042),
        confirmed_age: Some(41_200),
        durability_age: 900,
        configuration_index: LogIndex(1),
        durable: LogIndex(1043),
        interval: 12_500,
    };
    let unconfirmed = Heartbeat { confirmed_age: None, ..heartbeat };
    let acknowledge = Acknowledge {
        term: TERM,
        round: ReadRound(17),
        matched: LogIndex(1044),
        durable: LogIndex(1042),
        hint_index: LogIndex(1044),
        hint_term: TERM,
        received: vec![(LogIndex(1047), LogIndex(1047)), (LogIndex(1050), LogIndex(1053))],
        durability_age: 2_100,
        free_space_class: 0,
        configuration_index: LogIndex(1),
    };
    let mut messages = vec![
        ("heartbeat", (2, 1, Message::Heartbeat(heartbeat))),
        ("heartbeat-unconfirmed", (2, 1, Message::Heartbeat(unconfirmed))),
        ("acknowledge", (1, 2, Message::Acknowledge(acknowledge))),
    ];
    messages.extend(replicate_messages());
    messages
}

fn replicate_messages() -> Vec<Named<Between>> {
    let [noop, put, part, rest] = entries();
    let replicate = |previous: u64, previous_term, entries| {
        let replicate = ReplicateOperation {
            term: TERM,
            commit: LogIndex(1040),
            previous_index: LogIndex(previous),
            previous_term: Term(previous_term),
            entries,
        };
        (2, 1, Message::ReplicateOperation(replicate))
    };
    vec![
        ("replicate-probe", replicate(1044, 3, Vec::new())),
        ("replicate-two-entries", replicate(1040, 2, vec![noop, put])),
        ("replicate-part", replicate(1042, 3, vec![part])),
        ("replicate-last-piece", replicate(1043, 3, vec![rest])),
    ]
}

/// The start of a term, a request, and one of 1,500 bytes in two entries.
pub fn entries() -> [Entry; 4] {
    let long = logged(8, Operation::Put { key: key(), value: "x".repeat(1_500).into() });
    let mut rest = Bytes::from(long.encode());
    let part = rest.split_to(ENTRY_BYTES_MAX);
    let put = Bytes::from(logged(7, put()).encode());
    let mut chain = 0x1040_1040;
    let mut index = LogIndex(1040);
    [
        (EntryKind::Noop, Bytes::new()),
        (EntryKind::Request, put),
        (EntryKind::Part, part),
        (EntryKind::Request, rest),
    ]
    .map(|(kind, payload)| {
        index = index.next();
        let time = LogTime(86_400_000_000 + index.0);
        let entry = Entry::chained(chain, index, TERM, time, kind, payload);
        chain = entry.chain;
        entry
    })
}

fn read_index_messages() -> Vec<Named<Between>> {
    let request = ReadIndexRequest { term: TERM, batch: 33_000_001 };
    let reply = ReadIndexReply { term: TERM, batch: 33_000_001, index: LogIndex(1042) };
    vec![
        ("read-index-request", (1, 2, Message::ReadIndexRequest(request))),
        ("read-index-reply", (2, 1, Message::ReadIndexReply(reply))),
    ]
}

fn key() -> Bytes {
    Bytes::from_static(b"greeting")
}

fn put() -> Operation {
    Operation::Put { key: key(), value: Bytes::from_static(b"hello") }
}

fn logged(sequence: u64, operation: Operation) -> LoggedRequest {
    LoggedRequest {
        session: SESSION,
        sequence: Sequence(sequence),
        floor: Sequence(5),
        not_after: LogTime(0),
        one_shot: false,
        digest: Digest::of(&bytes_of(&operation)),
        command: Command::Execute(operation),
    }
}

/// The operation's bytes.
pub fn bytes_of(operation: &Operation) -> Vec<u8> {
    let mut bytes = Vec::new();
    operation.encode(&mut bytes);
    bytes
}

fn client_questions() -> Vec<Named<Message>> {
    let whole = bytes_of(&put());
    let request = Request {
        session: SESSION,
        sequence: Sequence(7),
        floor: Sequence(5),
        not_after: LogTime(86_500_000_000),
        hops: 0,
        one_shot: false,
        settle: false,
        digest: Digest::of(&whole),
        length: u32::try_from(whole.len()).expect("short"),
        piece: 0,
        bytes: whole.into(),
    };
    let settle = Request {
        settle: true,
        length: 0,
        not_after: LogTime(0),
        bytes: Bytes::new(),
        ..request.clone()
    };
    let add = MemberChange::Add { node: ServerId(4), address: address(4) };
    vec![
        ("open-session", Message::OpenSession(OpenSession { nonce: 0x0041_0041_0041_0041 })),
        ("request", Message::Request(request)),
        ("request-piece", Message::Request(last_piece())),
        ("request-settle", Message::Request(settle)),
        ("read-get", Message::Read(read(Query::Get { key: key() }, true))),
        ("read-list", Message::Read(further_pages())),
        ("status-request", Message::StatusRequest(StatusRequest { nonce: 0x0042 })),
        ("timeouts-request", Message::TimeoutsRequest(TimeoutsRequest { nonce: 0x0043 })),
        ("traffic-request", Message::TrafficRequest(TrafficRequest { nonce: 0x0044 })),
        ("key-request", Message::KeyRequest(KeyRequest { nonce: 0x0044, key: 7 })),
        ("member-list", member_request(0, MemberChange::None)),
        ("member-add", member_request(977, add)),
        ("member-remove", member_request(977, MemberChange::Remove { node: ServerId(3) })),
    ]
}

/// The second of two pieces.
fn last_piece() -> Request {
    let whole = bytes_of(&Operation::Put { key: key(), value: "x".repeat(1_030).into() });
    Request {
        session: SESSION,
        sequence: Sequence(8),
        floor: Sequence(5),
        not_after: LogTime(0),
        hops: 0,
        one_shot: true,
        settle: false,
        digest: Digest::of(&whole),
        length: u32::try_from(whole.len()).expect("short"),
        piece: 1,
        bytes: Bytes::copy_from_slice(&whole[PIECE_BYTES..]),
    }
}

fn read(query: Query, stale: bool) -> Read {
    Read { read: READ, query, stale, pin: 0, arrived: 0, page: 0, count: 32 }
}

fn further_pages() -> Read {
    let query = Query::List { prefix: Bytes::from_static(b"gree"), limit: 1_000 };
    Read { pin: 0x0007_1477, arrived: 16, page: 32, count: 16, ..read(query, false) }
}

fn client_answers() -> Vec<Named<Message>> {
    let opened = SessionOpened {
        nonce: 0x0041_0041_0041_0041,
        session: SESSION,
        window: 1_024,
        time: LogTime(86_400_001_041),
    };
    let progress =
        RequestProgress { session: SESSION, sequence: Sequence(8), next_piece: 3, beyond: 0b101 };
    let settled = Settled { index: LogIndex(1042), outcome: Outcome::Written };
    let reply = Reply { session: SESSION, sequence: Sequence(7), settled };
    let mut answers = vec![
        ("session-opened", Message::SessionOpened(opened)),
        ("request-progress", Message::RequestProgress(progress)),
        ("reply", Message::Reply(reply)),
        ("page-only", Message::Page(only_page())),
        ("page-of-many", Message::Page(middle_page())),
        ("status", Message::Status(status_samples::status())),
        ("timeouts", Message::Timeouts(status_samples::timeouts())),
        ("traffic", Message::Traffic(status_samples::traffic())),
        ("member-reply", Message::MemberReply(member_reply())),
        ("key-standing", Message::KeyStanding(key_standing())),
    ];
    answers.extend(refusals());
    answers
}

fn key_standing() -> KeyStanding {
    let peers = vec![(ServerId(1), 8), (ServerId(3), 7)];
    KeyStanding { nonce: 0x0044, id: ServerId(2), key: 7, taken: true, peers }
}

fn member_request(seen: u64, change: MemberChange) -> Message {
    let seen = LogIndex(seen);
    Message::MemberRequest(MemberRequest { nonce: 0x0099, seen, change })
}

/// Node 3 has been wiped and learns, and node 4 has come.
fn member_reply() -> MemberReply {
    let mut configuration = configuration().with_learner(ServerId(3));
    configuration.members.insert(ServerId(4), directory(4));
    configuration.addresses.insert(ServerId(4), address(4));
    MemberReply {
        nonce: 0x0099,
        outcome: MemberOutcome::Changed,
        index: LogIndex(1042),
        commit: LogIndex(1042),
        configuration,
    }
}

fn only_page() -> Page {
    let mut bytes = Vec::new();
    for (_, value) in listed_values() {
        value.encode(&mut bytes);
    }
    Page {
        read: READ,
        pin: 0,
        page: 0,
        last: true,
        index: LogIndex(1042),
        age: Some(63_000),
        bytes: bytes.into(),
    }
}

fn middle_page() -> Page {
    let bytes = "x".repeat(PIECE_BYTES).into();
    Page { pin: 0x0007_1477, page: 32, last: false, age: None, bytes, ..only_page() }
}

fn refusals() -> Vec<Named<Message>> {
    let declined = |about, reason, leader| Message::Declined(Declined { about, reason, leader });
    let request = About::Request(SESSION, Sequence(7));
    let too_long = DeclineReason::Invalid(Invalid::ValueTooLong);
    let v6 = "[2001:db8::3]:9717".parse().expect("an address");
    vec![
        (
            "declined-session",
            declined(About::Open(0x0041_0041_0041_0041), DeclineReason::NotBorn, None),
        ),
        (
            "declined-redirect",
            declined(request, DeclineReason::NotLeader, Some((ServerId(1), address(1)))),
        ),
        ("declined-invalid", declined(request, too_long, Some((ServerId(3), v6)))),
        ("declined-right", declined(request, DeclineReason::Denied(Denial::OtherKeys), None)),
        ("declined-members", declined(About::Members(0x0099), DeclineReason::Busy, None)),
        ("declined-read", declined(About::Read(READ), DeclineReason::PinGone, None)),
    ]
}

/// Every type of operation, and of what a compare-and-swap expects.
pub fn operations() -> Vec<Named<Operation>> {
    let swap = |expected| Operation::CompareAndSwap {
        key: key(),
        expected,
        value: Bytes::from_static(b"bye"),
    };
    vec![
        ("put", put()),
        ("delete", Operation::Delete { key: key() }),
        ("cas-absent", swap(Expected::Absent)),
        ("cas-version", swap(Expected::Version(LogIndex(1042)))),
        ("cas-value", swap(Expected::Value(Bytes::from_static(b"hello")))),
        ("increment", Operation::Increment { key: Bytes::from_static(b"visits"), by: -5 }),
    ]
}

/// Both commands that the log keeps.
pub fn logged_requests() -> Vec<Named<LoggedRequest>> {
    let settle = LoggedRequest { command: Command::Settle, ..logged(7, put()) };
    vec![("execute", logged(7, put())), ("settle", settle)]
}

/// Every outcome.
pub fn answers() -> Vec<Named<Settled>> {
    let failed = |version, value| Outcome::CompareFailed { version, value };
    let hello = Bytes::from_static(b"hello");
    [
        ("written", Outcome::Written),
        ("deleted", Outcome::Deleted { existed: true }),
        ("compare-failed", failed(Some(LogIndex(1042)), Some(hello))),
        ("compare-failed-long", failed(Some(LogIndex(1042)), None)),
        ("compare-failed-absent", failed(None, None)),
        ("incremented", Outcome::Incremented { total: -5 }),
        ("not-a-number", Outcome::NotANumber),
        ("overflow", Outcome::Overflow),
        ("expired", Outcome::Expired),
        ("forbidden", Outcome::Forbidden),
        ("other-operation", Outcome::OtherOperation),
        ("outside-window", Outcome::OutsideWindow),
        ("forgotten", Outcome::Forgotten),
    ]
    .map(|(name, outcome)| (name, Settled { index: LogIndex(1051), outcome }))
    .into()
}

/// What the pages of an answer hold.
pub fn listed_values() -> Vec<Named<ListedValue>> {
    let value = Bytes::from_static(b"hello");
    let first = ListedValue { key: key(), version: LogIndex(1042), value };
    let empty = ListedValue {
        key: Bytes::from_static(b"greeting/empty"),
        version: LogIndex(977),
        value: Bytes::new(),
    };
    vec![("listed", first), ("listed-empty", empty)]
}
