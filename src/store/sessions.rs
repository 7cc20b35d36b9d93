//! What each session has done, within bounds. docs/guarantees.md: "Each operation takes
//! effect once".
//!
//! A session's id carries the commit index at which it was minted. The table keeps an
//! eviction floor: the highest such index among the sessions that were evicted. An id
//! that is not in the table and was minted at or below the floor may be one of those:
//! it is answered [`Outcome::Forgotten`] and never executed. One minted above it is
//! certainly new, and its first operation registers it. So a late duplicate never runs
//! twice, and a one-shot command costs a single entry.

use std::ops::Bound;

use bytes::BufMut;
use rpds::RedBlackTreeMapSync;

use super::checksum::Checksum;
use crate::codec::{Malformed, Reader};
use crate::configuration::Configuration;
use crate::operation::{Command, LoggedRequest, Outcome, Settled};
use crate::types::{Digest, LogIndex, Sequence, SessionId};

/// What a snapshot takes for a session besides its answers, in bytes.
const SESSION_BYTES: u64 = 38;
/// What a snapshot takes for a session in which one operation was settled, and no other is.
pub const SETTLED_SESSION_BYTES: u64 = SESSION_BYTES + 16 + 9;

/// The closed sessions keep at least one of so many places of the table.
const CLOSED_SHARE: usize = 8;

/// What every session that is not evicted has done. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct SessionTable {
    sessions: RedBlackTreeMapSync<SessionId, Session>,
    /// The closed and the open sessions by their last use. No two are used at the same index.
    closed: RedBlackTreeMapSync<LogIndex, SessionId>,
    open: RedBlackTreeMapSync<LogIndex, SessionId>,
    evicted_to: LogIndex,
    /// Those of all sessions together.
    volume: u64,
}

#[derive(Clone, Debug)]
struct Session {
    /// The client needs no answer below this any more.
    floor: Sequence,
    replies: RedBlackTreeMapSync<Sequence, Kept>,
    used_at: LogIndex,
    openness: Openness,
    /// How many bytes of a snapshot it takes, its answers included.
    volume: u64,
}

#[derive(Clone, Debug)]
struct Kept {
    digest: Digest,
    settled: Settled,
}

/// Whether further operations of a session are to be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Openness {
    Closed,
    Open,
}

/// What the table says of a request without executing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It was not executed, and may be.
    New,
    /// This came of it.
    Kept(Settled),
    /// Its answer, or its whole session, is not kept any more.
    Forgotten,
    /// Its sequence was used for another operation.
    OtherOperation,
}

/// Whether a request in the log is executed.
pub(super) enum Admission {
    /// It is; its answer must be kept.
    New,
    /// It was before; this is its first answer.
    Kept(Settled),
    /// It is not, and nothing is kept of it.
    Refused(Outcome),
}

impl SessionTable {
    pub(super) fn new() -> Self {
        Self::evicted_to(LogIndex(0))
    }

    /// An empty table whose eviction floor stands at the index.
    pub(super) fn evicted_to(evicted_to: LogIndex) -> Self {
        Self {
            sessions: RedBlackTreeMapSync::new_sync(),
            closed: RedBlackTreeMapSync::new_sync(),
            open: RedBlackTreeMapSync::new_sync(),
            evicted_to,
            volume: 0,
        }
    }

    /// The eviction floor.
    pub(super) fn eviction_floor(&self) -> LogIndex {
        self.evicted_to
    }

    /// How many sessions the table holds.
    pub fn session_count(&self) -> usize {
        self.sessions.size()
    }

    /// How many bytes of a snapshot the sessions take, their answers included.
    pub fn volume(&self) -> u64 {
        self.volume
    }

    /// Whether the table holds the session.
    pub fn has(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Whether the answers that the session keeps from this sequence on take so many bytes.
    pub fn keeps(&self, session: SessionId, from: Sequence, bytes: u64) -> bool {
        let Some(known) = self.sessions.get(&session) else { return false };
        let mut sum = 0;
        known.replies.range(from..).any(|(_, kept)| {
            sum += kept.volume();
            sum >= bytes
        })
    }

    /// What is known of the request. Without a digest, it settles: it asks for whatever
    /// the sequence did.
    pub fn find(&self, session: SessionId, sequence: Sequence, digest: Option<Digest>) -> Lookup {
        let Some(known) = self.sessions.get(&session) else {
            // The eviction floor: see the head of this file.
            let perhaps_evicted = session.minted_at <= self.evicted_to;
            return if perhaps_evicted { Lookup::Forgotten } else { Lookup::New };
        };
        if sequence < known.floor {
            return Lookup::Forgotten;
        }
        match known.replies.get(&sequence) {
            Some(kept) if digest.is_none_or(|digest| digest == kept.digest) => {
                Lookup::Kept(kept.settled.clone())
            }
            Some(_) => Lookup::OtherOperation,
            None => Lookup::New,
        }
    }

    /// Decides whether a request in the log is executed at `index`.
    ///
    /// The session is touched only when the answer is New: a late duplicate changes
    /// nothing, neither the floor nor the order of eviction.
    pub(super) fn admit(
        &mut self,
        request: &LoggedRequest,
        index: LogIndex,
        configuration: &Configuration,
    ) -> Admission {
        let digest = match request.command {
            Command::Execute(_) => Some(request.digest),
            Command::Settle => None,
        };
        let known = self.sessions.get(&request.session);
        // The request itself may raise the floor that its window begins at.
        let floor = known.map_or(Sequence(0), |known| known.floor);
        let raised = floor.max(request.floor.min(request.sequence));
        let window = u64::from(configuration.session_window);
        let inside = request.sequence.0 - raised.0.min(request.sequence.0) < window;
        // A session is minted at an index that is committed by then. One from the future
        // is forged; evicting it would raise the floor above all honest ones.
        if request.session.minted_at >= index {
            return Admission::Refused(Outcome::Forgotten);
        }
        match self.find(request.session, request.sequence, digest) {
            Lookup::Kept(settled) => Admission::Kept(settled),
            Lookup::Forgotten => Admission::Refused(Outcome::Forgotten),
            Lookup::OtherOperation => Admission::Refused(Outcome::OtherOperation),
            Lookup::New if !inside => Admission::Refused(Outcome::OutsideWindow),
            Lookup::New => {
                self.touch(request, raised, index);
                self.evict_beyond(configuration.session_limit);
                Admission::New
            }
        }
    }

    /// Registers the session if it is new, raises its floor, and notes its use.
    fn touch(&mut self, request: &LoggedRequest, floor: Sequence, index: LogIndex) {
        let mut session = match self.sessions.get(&request.session) {
            Some(session) => session.clone(),
            None => Session {
                floor,
                replies: RedBlackTreeMapSync::new_sync(),
                used_at: index,
                openness: Openness::Open,
                volume: SESSION_BYTES,
            },
        };
        self.volume -= self.volume_of(request.session);
        self.by_use(session.openness).remove_mut(&session.used_at);
        session.floor = floor;
        while let Some((&first, kept)) = session.replies.first()
            && first < floor
        {
            session.volume -= kept.volume();
            session.replies.remove_mut(&first);
        }
        self.volume += session.volume;
        session.used_at = index;
        session.openness = if request.one_shot { Openness::Closed } else { Openness::Open };
        self.by_use(session.openness).insert_mut(index, request.session);
        self.sessions.insert_mut(request.session, session);
    }

    fn by_use(&mut self, openness: Openness) -> &mut RedBlackTreeMapSync<LogIndex, SessionId> {
        match openness {
            Openness::Closed => &mut self.closed,
            Openness::Open => &mut self.open,
        }
    }

    fn volume_of(&self, session: SessionId) -> u64 {
        self.sessions.get(&session).map_or(0, |known| known.volume)
    }

    fn evict_beyond(&mut self, limit: u32) {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        while self.sessions.size() > limit {
            let Some((openness, used_at, session)) = self.next_to_go(limit) else { return };
            self.by_use(openness).remove_mut(&used_at);
            self.volume -= self.volume_of(session);
            self.sessions.remove_mut(&session);
            self.evicted_to = self.evicted_to.max(session.minted_at);
        }
    }

    /// The closed session that was not used for longest, since nothing more is to come in it.
    /// While there are few of them it may have been used just now, and its eviction would
    /// raise the floor above what others have minted meanwhile: then it is whichever was not
    /// used for longest, one of a client that was killed perhaps. Never is it the one that was
    /// used last: that is neither the oldest of two closed ones nor of all.
    fn next_to_go(&self, limit: usize) -> Option<(Openness, LogIndex, SessionId)> {
        let closed = self.closed.first().map(|(at, id)| (Openness::Closed, *at, *id));
        let open = self.open.first().map(|(at, id)| (Openness::Open, *at, *id));
        if self.closed.size() > (limit / CLOSED_SHARE).max(1) {
            return closed;
        }
        closed.into_iter().chain(open).min_by_key(|(_, used_at, _)| *used_at)
    }

    /// Keeps the answer of a request that was admitted as new.
    pub(super) fn keep(&mut self, request: &LoggedRequest, settled: Settled) {
        if let Some(session) = self.sessions.get_mut(&request.session) {
            let kept = Kept { digest: request.digest, settled };
            session.volume += kept.volume();
            self.volume += kept.volume();
            session.replies.insert_mut(request.sequence, kept);
        }
    }

    pub(super) fn add_to(&self, sum: &mut Checksum) {
        sum.add(&self.evicted_to.0.to_le_bytes());
        let mut bytes = Vec::new();
        for (id, session) in &self.sessions {
            bytes.clear();
            session.encode(*id, &mut bytes);
            sum.add(&bytes);
        }
    }

    /// The first session above `after`, and its bytes appended to `out`.
    pub(super) fn encode_next(
        &self,
        after: Bound<SessionId>,
        out: &mut Vec<u8>,
    ) -> Option<SessionId> {
        let (id, session) = self.sessions.range((after, Bound::Unbounded)).next()?;
        session.encode(*id, out);
        Some(*id)
    }

    /// Takes one session off the reader and into the table. Returns its id.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are none.
    pub(super) fn restore(&mut self, reader: &mut Reader) -> Result<SessionId, Malformed> {
        let (id, session) = Session::decode(reader)?;
        self.by_use(session.openness).insert_mut(session.used_at, id);
        self.volume += session.volume;
        self.sessions.insert_mut(id, session);
        Ok(id)
    }
}

impl Session {
    fn encode(&self, id: SessionId, out: &mut Vec<u8>) {
        for field in [id.minted_at.0, id.random, self.floor.0, self.used_at.0] {
            out.put_u64_le(field);
        }
        out.put_u8(u8::from(self.openness == Openness::Closed));
        out.put_u32_le(u32::try_from(self.replies.size()).unwrap_or(u32::MAX));
        for (sequence, kept) in &self.replies {
            out.put_u64_le(sequence.0);
            out.put_u64_le(kept.digest.0);
            kept.settled.encode(out);
        }
    }

    fn decode(reader: &mut Reader) -> Result<(SessionId, Self), Malformed> {
        let id = SessionId { minted_at: LogIndex(reader.u64()?), random: reader.u64()? };
        let floor = Sequence(reader.u64()?);
        let used_at = LogIndex(reader.u64()?);
        let openness = if reader.bool()? { Openness::Closed } else { Openness::Open };
        let mut replies = RedBlackTreeMapSync::new_sync();
        for _ in 0..reader.u32()? {
            let sequence = Sequence(reader.u64()?);
            let digest = Digest(reader.u64()?);
            replies.insert_mut(sequence, Kept { digest, settled: Settled::decode(reader)? });
        }
        let answers: u64 = replies.values().map(Kept::volume).sum();
        let volume = SESSION_BYTES + answers;
        Ok((id, Self { floor, replies, used_at, openness, volume }))
    }
}

impl Kept {
    /// How many bytes of a snapshot it takes, with its sequence.
    fn volume(&self) -> u64 {
        16 + self.settled.encoded_length()
    }
}
