//! The store agrees with its twin on what is executed, revealed, undone and kept.

mod pages;
mod snapshot;
mod twin;

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use quorate::configuration::Configuration;
use quorate::entry::{Entry, EntryKind};
use quorate::operation::{Command, Expected, LoggedRequest, Operation, Outcome, Settled};
use quorate::store::{Lookup, State, Store};
use quorate::types::{
    Digest, DirectoryId, GenesisId, LogIndex, LogTime, Sequence, ServerId, SessionId, Term,
};
use twin::Twin;

#[derive(Clone, Debug)]
enum Step {
    /// A client gets a session: it is minted at the commit index.
    Mint,
    /// A new request is logged, in one of the newest sessions.
    Request { recency: usize, request: LoggedRequest },
    /// An earlier request is logged again, however long ago it was.
    Repeat { which: Index, as_settle: bool },
    /// An entry without a request is logged, this much later.
    Noop { later: u64 },
    /// The limits change.
    Configure { session_limit: u32, session_window: u32 },
    /// What was executed is revealed, up to somewhere.
    Commit { to: Index },
    /// What was not revealed is undone, down to somewhere.
    RollBack { to: Index },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Mint),
        12 => (0..4_usize, request())
            .prop_map(|(recency, request)| Step::Request { recency, request }),
        5 => (any::<Index>(), prop::bool::weighted(0.3))
            .prop_map(|(which, as_settle)| Step::Repeat { which, as_settle }),
        1 => (0..5_u64).prop_map(|later| Step::Noop { later }),
        1 => (1..5_u32, 1..6_u32).prop_map(|(session_limit, session_window)| {
            Step::Configure { session_limit, session_window }
        }),
        3 => any::<Index>().prop_map(|to| Step::Commit { to }),
        2 => any::<Index>().prop_map(|to| Step::RollBack { to }),
    ]
}

/// A request whose session is filled in when it is logged.
fn request() -> impl Strategy<Value = LoggedRequest> {
    let numbers = (1..9_u64, 0..9_u64, prop_oneof![4 => Just(0), 1 => 1..30_u64]);
    (numbers, prop::bool::weighted(0.2), operation(), prop::bool::weighted(0.1)).prop_map(
        |((sequence, floor, not_after), one_shot, operation, settle)| {
            let mut bytes = Vec::new();
            operation.encode(&mut bytes);
            LoggedRequest {
                session: SessionId::default(),
                sequence: Sequence(sequence),
                floor: Sequence(floor),
                not_after: LogTime(not_after),
                one_shot,
                digest: Digest::of(&bytes),
                command: if settle { Command::Settle } else { Command::Execute(operation) },
            }
        },
    )
}

pub fn operation() -> impl Strategy<Value = Operation> {
    let expected = prop_oneof![
        Just(Expected::Absent),
        (0..20_u64).prop_map(|version| Expected::Version(LogIndex(version))),
        value().prop_map(Expected::Value),
    ];
    let by = prop_oneof![3 => -20..20_i64, 1 => any::<i64>(), 1 => Just(i64::MAX)];
    prop_oneof![
        3 => (key(), value()).prop_map(|(key, value)| Operation::Put { key, value }),
        1 => key().prop_map(|key| Operation::Delete { key }),
        2 => (key(), expected, value())
            .prop_map(|(key, expected, value)| Operation::CompareAndSwap { key, expected, value }),
        2 => (key(), by).prop_map(|(key, by)| Operation::Increment { key, by }),
    ]
}

fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "b", "ba", "c"]).prop_map(Bytes::from)
}

fn value() -> impl Strategy<Value = Bytes> {
    let odd = ["", "-", "+7", " 7", "007", "9223372036854775807", "9223372036854775808"];
    prop_oneof![
        2 => (0..4_i32).prop_map(|number| number.to_string().into()),
        1 => prop::sample::select(odd.to_vec()).prop_map(Bytes::from),
        1 => prop::sample::select(vec![511_usize, 512, 513]).prop_map(|n| vec![b'x'; n].into()),
    ]
}

/// A store and, for every index of its log, the entry, the twin and the checksum.
struct Pair {
    store: Store,
    log: Vec<Logged>,
    twins: Vec<Twin>,
    checksums: Vec<u64>,
    committed: LogIndex,
    sessions: Vec<SessionId>,
    requests: Vec<LoggedRequest>,
}

#[derive(Clone)]
struct Logged {
    entry: Entry,
    request: Option<LoggedRequest>,
}

impl Pair {
    fn new(session_limit: u32, session_window: u32) -> Self {
        let store = Store::at_genesis(configuration(session_limit, session_window));
        let checksums = vec![store.tentative().checksum()];
        let mut pair = Self {
            store,
            log: Vec::new(),
            twins: vec![Twin::at_genesis(session_limit, session_window)],
            checksums,
            committed: LogIndex(1),
            sessions: Vec::new(),
            requests: Vec::new(),
        };
        pair.mint();
        pair
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Mint => self.mint(),
            Step::Request { recency, request } => {
                let newest = self.sessions.len() - 1;
                let session = self.sessions[newest.saturating_sub(*recency)];
                self.log_request(LoggedRequest { session, ..request.clone() });
            }
            Step::Repeat { which, as_settle } if !self.requests.is_empty() => {
                let mut request = which.get(&self.requests).clone();
                if *as_settle {
                    request.command = Command::Settle;
                }
                self.log_request(request);
            }
            Step::Repeat { .. } => {}
            Step::Noop { later } => self.execute(*later, EntryKind::Noop, Bytes::new(), None),
            Step::Configure { session_limit, session_window } => {
                let payload = configuration(*session_limit, *session_window).encode();
                self.execute(0, EntryKind::Configuration, payload, None);
                let twin = self.twins.last_mut().expect("the genesis is never undone");
                twin.session_limit = *session_limit as usize;
                twin.session_window = (*session_window).into();
            }
            Step::Commit { to } => {
                self.committed.0 += to.index(self.uncommitted() + 1) as u64;
                self.store.commit_to(self.committed);
            }
            Step::RollBack { to } => {
                let kept = self.twins.len() - to.index(self.uncommitted() + 1);
                self.twins.truncate(kept);
                self.checksums.truncate(kept);
                self.log.truncate(kept - 1);
                self.store.roll_back_to(self.twin().index);
            }
        }
    }

    fn mint(&mut self) {
        let random = self.sessions.len() as u64;
        self.sessions.push(SessionId { minted_at: self.committed, random });
    }

    fn log_request(&mut self, request: LoggedRequest) {
        self.requests.push(request.clone());
        self.execute(1, EntryKind::Request, request.encode().into(), Some(request));
    }

    fn execute(
        &mut self,
        later: u64,
        kind: EntryKind,
        payload: Bytes,
        request: Option<LoggedRequest>,
    ) {
        let mut twin = self.twin().clone();
        let time = LogTime(twin.time.0 + later);
        let entry = Entry::chained(0, twin.index.next(), Term(1), time, kind, payload);
        twin.begin_entry(time);
        let expected = request.as_ref().map(|request| twin.settle(request));
        let settled = self.store.execute(&entry, request.as_ref());
        assert_eq!(settled, expected, "{request:?}");
        self.twins.push(twin);
        self.checksums.push(self.store.tentative().checksum());
        self.log.push(Logged { entry, request });
    }

    fn uncommitted(&self) -> usize {
        usize::try_from(self.twin().index.0 - self.committed.0).expect("the log is short")
    }

    /// The twin at the end of the log.
    fn twin(&self) -> &Twin {
        self.twins.last().expect("the genesis is never undone")
    }

    fn at(index: LogIndex) -> usize {
        usize::try_from(index.0 - 1).expect("the log is short")
    }

    /// Both roots are what they were when they were executed, whatever was undone since.
    fn compare(&self) {
        for (root, index) in
            [(self.store.committed(), self.committed), (self.store.tentative(), self.twin().index)]
        {
            assert_eq!(root.index(), index);
            assert_eq!(root.checksum(), self.checksums[Self::at(index)], "at index {index}");
            self.compare_root(root, &self.twins[Self::at(index)]);
        }
    }

    fn compare_root(&self, root: &State, twin: &Twin) {
        assert_eq!(root.time(), twin.time);
        let keys: BTreeMap<_, _> = root
            .range_from(Bound::Unbounded)
            .map(|(key, version, value)| (key.clone(), (version, value.clone())))
            .collect();
        assert_eq!(keys, twin.keys);
        assert_eq!(root.key_count(), twin.keys.len());
        assert_eq!(root.configuration().session_limit as usize, twin.session_limit);
        assert_eq!(root.sessions().session_count(), twin.sessions.len());
        assert_eq!(root.sessions().volume(), twin.session_bytes());
        for request in &self.requests {
            let digest = (request.command != Command::Settle).then_some(request.digest);
            let found = root.sessions().find(request.session, request.sequence, digest);
            assert_eq!(found, what_is_known(twin, request), "{request:?}");
        }
    }

    /// Another node that executes the surviving log comes to the same state.
    fn replay(&self, session_limit: u32, session_window: u32) {
        let mut other = Store::at_genesis(configuration(session_limit, session_window));
        for logged in &self.log {
            let _: Option<Settled> = other.execute(&logged.entry, logged.request.as_ref());
            other.commit_to(logged.entry.index);
        }
        assert_eq!(Some(&other.committed().checksum()), self.checksums.last());
    }

    /// A node that got a snapshot from the middle of the log, and executes the rest, comes to
    /// the same state as well.
    fn replay_behind_snapshot(&self, session_limit: u32, session_window: u32) {
        let mut other = Store::at_genesis(configuration(session_limit, session_window));
        for (place, logged) in self.log.iter().enumerate() {
            if place == self.log.len() / 2 {
                let state = other.committed().clone();
                other = Store::at(snapshot::restored(&state));
            }
            let _: Option<Settled> = other.execute(&logged.entry, logged.request.as_ref());
            other.commit_to(logged.entry.index);
        }
        assert_eq!(Some(&other.committed().checksum()), self.checksums.last());
        assert_eq!(other.committed().sessions().volume(), self.twin().session_bytes());
    }
}

/// What a lookup must say: what would come of the request if it were logged next.
fn what_is_known(twin: &Twin, request: &LoggedRequest) -> Lookup {
    let mut next = twin.clone();
    next.begin_entry(twin.time);
    next.session_window = u64::MAX;
    let settled = next.settle(request);
    match settled.outcome {
        _ if next.decided.len() > twin.decided.len() => Lookup::New,
        Outcome::Forgotten => Lookup::Forgotten,
        Outcome::OtherOperation => Lookup::OtherOperation,
        _ => Lookup::Kept(settled),
    }
}

fn configuration(session_limit: u32, session_window: u32) -> Configuration {
    let members = BTreeMap::from([(ServerId(1), DirectoryId(1))]);
    let at_genesis = Configuration::at_genesis(GenesisId(1), members);
    Configuration { session_limit, session_window, ..at_genesis }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn agrees_with_its_twin(
        session_limit in 1..5_u32,
        session_window in 1..7_u32,
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut pair = Pair::new(session_limit, session_window);
        for step in &steps {
            pair.take(step);
            pair.compare();
        }
        pair.replay(session_limit, session_window);
        pair.replay_behind_snapshot(session_limit, session_window);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// An eighth of these is more than one.
    #[test]
    fn agrees_with_its_twin_about_many_sessions(
        session_limit in 16..33_u32,
        steps in prop::collection::vec((0..4_usize, request(), any::<Index>()), 100..200),
    ) {
        let mut pair = Pair::new(session_limit, 6);
        for (recency, request, to) in steps {
            pair.take(&Step::Mint);
            pair.take(&Step::Request { recency, request });
            pair.take(&Step::Commit { to });
        }
        pair.compare();
        pair.replay(session_limit, 6);
        pair.replay_behind_snapshot(session_limit, 6);
    }
}
