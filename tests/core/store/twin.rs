//! The store as one would explain it: plain maps, copied whole for every index.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::operation::{
    Command, Expected, INLINE_BYTES_MAX, LoggedRequest, Operation, Outcome, Settled,
};
use quorate::types::{Digest, LogIndex, LogTime, Sequence, SessionId};

/// The state at one index.
#[derive(Clone, Debug)]
pub struct Twin {
    pub index: LogIndex,
    pub time: LogTime,
    pub session_limit: usize,
    pub session_window: u64,
    pub keys: BTreeMap<Bytes, (LogIndex, Bytes)>,
    pub sessions: BTreeMap<SessionId, Session>,
    /// The newest minting among the sessions that were evicted.
    pub evicted_to: LogIndex,
    /// Every sequence that was ever decided on, and where, evicted sessions' included.
    pub decided: BTreeMap<(SessionId, Sequence), LogIndex>,
}

/// What is kept of one session.
#[derive(Clone, Debug, Default)]
pub struct Session {
    floor: Sequence,
    answers: BTreeMap<Sequence, (Digest, Settled)>,
    used_at: LogIndex,
    closed: bool,
}

impl Twin {
    /// The state after the genesis entry.
    pub fn at_genesis(session_limit: u32, session_window: u32) -> Self {
        Self {
            index: LogIndex(1),
            time: LogTime(0),
            session_limit: session_limit as usize,
            session_window: session_window.into(),
            keys: BTreeMap::new(),
            sessions: BTreeMap::new(),
            evicted_to: LogIndex(0),
            decided: BTreeMap::new(),
        }
    }

    /// Moves on to the next index, whose entry has this time.
    pub fn begin_entry(&mut self, time: LogTime) {
        self.index = self.index.next();
        self.time = self.time.max(time);
    }

    /// What comes of the request at the present index.
    pub fn settle(&mut self, request: &LoggedRequest) -> Settled {
        if let Some(answered) = self.known_answer(request) {
            return answered;
        }
        let floor = self.floor_raised_by(request);
        if request.sequence.0 - floor.0 >= self.session_window {
            return Settled { index: self.index, outcome: Outcome::OutsideWindow };
        }
        let earlier = self.decided.insert((request.session, request.sequence), self.index);
        assert_eq!(earlier, None, "decided twice: {request:?}");
        self.use_session(request, floor);
        self.evict_others(request.session);
        let settled = Settled { index: self.index, outcome: self.decide(request) };
        let session = self.sessions.get_mut(&request.session).expect("used just now");
        session.answers.insert(request.sequence, (request.digest, settled.clone()));
        settled
    }

    /// The answer that needs no execution, if there is one.
    fn known_answer(&self, request: &LoggedRequest) -> Option<Settled> {
        let here = |outcome| Some(Settled { index: self.index, outcome });
        let Some(session) = self.sessions.get(&request.session) else {
            let new = request.session.minted_at > self.evicted_to;
            return if new { None } else { here(Outcome::Forgotten) };
        };
        if request.sequence < session.floor {
            return here(Outcome::Forgotten);
        }
        let (digest, settled) = session.answers.get(&request.sequence)?;
        if request.command == Command::Settle || request.digest == *digest {
            return Some(settled.clone());
        }
        here(Outcome::OtherOperation)
    }

    /// How many bytes of a snapshot the sessions take.
    pub fn session_bytes(&self) -> u64 {
        let answer = |(_, settled): &(Digest, Settled)| {
            let mut bytes = vec![0; 8 + 8];
            settled.encode(&mut bytes);
            bytes.len()
        };
        let session = |session: &Session| {
            let tag_and_head = 1 + 4 * 8 + 1 + 4;
            tag_and_head + session.answers.values().map(answer).sum::<usize>()
        };
        self.sessions.values().map(session).sum::<usize>() as u64
    }

    fn floor_raised_by(&self, request: &LoggedRequest) -> Sequence {
        let floor = self.sessions.get(&request.session).map_or(Sequence(0), |known| known.floor);
        floor.max(request.floor.min(request.sequence))
    }

    fn use_session(&mut self, request: &LoggedRequest, floor: Sequence) {
        let session = self.sessions.entry(request.session).or_default();
        session.floor = floor;
        session.answers.retain(|sequence, _| *sequence >= floor);
        session.used_at = self.index;
        session.closed = request.one_shot;
    }

    /// While few are closed, age alone decides.
    fn evict_others(&mut self, spared: SessionId) {
        while self.sessions.len() > self.session_limit {
            let closed = self.sessions.values().filter(|session| session.closed).count();
            let closed_first = closed > 1 && closed > self.session_limit / 8;
            let others = self.sessions.iter().filter(|(id, _)| **id != spared);
            let first = others.min_by_key(|(_, session)| {
                let is_spared_longer = closed_first && !session.closed;
                (is_spared_longer, session.used_at)
            });
            let Some((&victim, _)) = first else { return };
            self.sessions.remove(&victim);
            self.evicted_to = self.evicted_to.max(victim.minted_at);
        }
    }

    fn decide(&mut self, request: &LoggedRequest) -> Outcome {
        match &request.command {
            Command::Settle => Outcome::Forbidden,
            Command::Execute(_)
                if request.not_after != LogTime(0) && self.time > request.not_after =>
            {
                Outcome::Expired
            }
            Command::Execute(operation) => self.apply(operation),
        }
    }

    fn apply(&mut self, operation: &Operation) -> Outcome {
        let found = self.keys.get(operation.key()).cloned();
        match operation {
            Operation::Put { key, value } => self.write(key, value.clone(), Outcome::Written),
            Operation::Delete { key } => {
                Outcome::Deleted { existed: self.keys.remove(key).is_some() }
            }
            Operation::CompareAndSwap { key, expected, value } => {
                if is_as_expected(found.as_ref(), expected) {
                    return self.write(key, value.clone(), Outcome::Written);
                }
                let (version, value) = found.unzip();
                let value = value.filter(|value| value.len() <= INLINE_BYTES_MAX);
                Outcome::CompareFailed { version, value }
            }
            Operation::Increment { key, by } => {
                let number = found.map_or(Some(0), |(_, value)| number(&value));
                let Some(number) = number else { return Outcome::NotANumber };
                let sum = i128::from(number) + i128::from(*by);
                let Ok(total) = i64::try_from(sum) else { return Outcome::Overflow };
                self.write(key, total.to_string().into(), Outcome::Incremented { total })
            }
        }
    }

    fn write(&mut self, key: &Bytes, value: Bytes, outcome: Outcome) -> Outcome {
        self.keys.insert(key.clone(), (self.index, value));
        outcome
    }
}

fn is_as_expected(found: Option<&(LogIndex, Bytes)>, expected: &Expected) -> bool {
    match expected {
        Expected::Absent => found.is_none(),
        Expected::Version(version) => found.is_some_and(|(found, _)| found == version),
        Expected::Value(value) => found.is_some_and(|(_, found)| found == value),
    }
}

/// What the bytes count for, if they are digits with at most a minus before them.
fn number(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all_digits.then(|| std::str::from_utf8(bytes).ok()?.parse().ok()).flatten()
}
