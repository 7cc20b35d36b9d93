//! Operations of a client that are not settled yet.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::servers::{ServerIndex, Servers};
use super::{Answer, AskId, Client, SessionState, Timer};
use crate::operation::{Operation, Outcome, Settled};
use crate::time::Instant;
use crate::types::{Digest, LogTime, Sequence, SessionId};
use crate::wire::{DeclineReason, Message, PIECE_BYTES, Reply, Request, RequestProgress};

/// How many pieces of one operation may be on their way.
const PIECES_MAX: u32 = 32;
/// A piece is lost when one sent this many later has arrived.
const REORDERED_MAX: u64 = 3;

/// An operation that is not settled yet.
#[derive(Debug)]
pub(super) struct PendingOperation {
    bytes: Bytes,
    digest: Digest,
    /// The session that it was sent in, once it was.
    pub(super) session: Option<SessionId>,
    target: ServerIndex,
    /// How often it was sent in vain.
    attempts: u32,
    /// How often it was sent elsewhere since anything was heard of it.
    redirects: u32,
    /// Whether it was asked again since nobody answered.
    asked_again: bool,
    /// Who was given up last, since it did not answer.
    given_up: Option<ServerIndex>,
    first_sent_at: Option<Instant>,
    /// When it was asked for last.
    asked_at: Instant,
    give_up_at: Instant,
    /// Only the outcome is asked for now.
    settling: bool,
    /// It was declined because disks are full.
    without_space: bool,
    pieces: Pieces,
}

/// How far the pieces of an operation have come at the present target.
#[derive(Debug, Default)]
struct Pieces {
    /// All before this one have arrived.
    next: u32,
    /// Bit *i*: piece `next + 1 + i` has arrived.
    beyond: u64,
    /// Those sent and not known to have arrived or to be lost, with the order of their
    /// sending: a piece that was sent again is not lost because of what it follows.
    in_flight: BTreeMap<u32, u64>,
    /// How many were sent.
    sent: u64,
    /// The order of the last sent of those that have arrived.
    newest_arrived: u64,
    /// The target has told of a piece: more than one may be on its way.
    welcome: bool,
}

impl PendingOperation {
    pub(super) fn new(operation: &Operation, give_up_at: Instant) -> Self {
        let mut bytes = Vec::new();
        operation.encode(&mut bytes);
        Self::of(bytes, give_up_at)
    }

    /// Settles a sequence that no operation has: nothing is executed, and the session is known to
    /// have no further one.
    pub(super) fn last(give_up_at: Instant) -> Self {
        Self { settling: true, ..Self::of(Vec::new(), give_up_at) }
    }

    fn of(bytes: Vec<u8>, give_up_at: Instant) -> Self {
        Self {
            digest: Digest::of(&bytes),
            bytes: bytes.into(),
            session: None,
            target: ServerIndex::default(),
            attempts: 0,
            redirects: 0,
            asked_again: false,
            given_up: None,
            first_sent_at: None,
            asked_at: Instant::default(),
            give_up_at,
            settling: false,
            without_space: false,
            pieces: Pieces::default(),
        }
    }

    /// The operation may be sent, in this session.
    pub(super) fn start(&mut self, session: SessionId, target: ServerIndex) {
        self.session = Some(session);
        self.target = target;
    }

    /// Whether it is no operation, which has bytes, but says that none follows.
    fn is_last(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether it may have arrived anywhere.
    pub(super) fn was_sent(&self) -> bool {
        self.first_sent_at.is_some()
    }

    fn send_to(&mut self, target: ServerIndex) {
        self.target = target;
        self.pieces = Pieces::default();
    }

    /// Whom to ask after this one. Who was given up is passed over once: those that answer will
    /// soon know who leads.
    fn next_after(&mut self, server: ServerIndex, servers: &Servers) -> ServerIndex {
        let next = servers.after(server);
        match self.given_up.take_if(|silent| *silent == next) {
            Some(silent) => servers.after(silent),
            None => next,
        }
    }

    /// Whether the node that was asked, and then the next one, have been silent for so long that
    /// every node is asked.
    fn looks_for_leader(&self) -> bool {
        self.attempts >= 3
    }

    fn length(&self) -> u32 {
        u32::try_from(self.bytes.len()).expect("keys and values are bounded")
    }

    fn piece_count(&self) -> u32 {
        u32::try_from(self.bytes.len().div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX)
    }

    fn piece(&self, number: u32) -> Bytes {
        let from = number as usize * PIECE_BYTES;
        self.bytes.slice(from..self.bytes.len().min(from + PIECE_BYTES))
    }

    /// The pieces to send now.
    fn due_pieces(&mut self) -> Vec<u32> {
        let count = self.piece_count();
        let window = if self.pieces.welcome { PIECES_MAX } else { 1 };
        let pieces = &mut self.pieces;
        let mut due = Vec::new();
        for number in pieces.next..count.min(pieces.next.saturating_add(64)) {
            if pieces.in_flight.len() >= window as usize {
                break;
            }
            if !pieces.has(number) && !pieces.in_flight.contains_key(&number) {
                pieces.sent += 1;
                pieces.in_flight.insert(number, pieces.sent);
                due.push(number);
            }
        }
        due
    }
}

impl Pieces {
    fn has(&self, number: u32) -> bool {
        has(self.next, self.beyond, number)
    }

    /// Takes in what has arrived. Returns whether that was not known before.
    fn on_progress(&mut self, progress: RequestProgress) -> bool {
        if progress.next_piece < self.next {
            return false;
        }
        let news = (progress.next_piece, progress.beyond) != (self.next, self.beyond);
        self.welcome = true;
        self.next = progress.next_piece;
        self.beyond = progress.beyond;
        let (next, beyond) = (self.next, self.beyond);
        for (_, order) in self.in_flight.iter().filter(|(number, _)| has(next, beyond, **number)) {
            self.newest_arrived = self.newest_arrived.max(*order);
        }
        let newest = self.newest_arrived;
        self.in_flight
            .retain(|&number, order| !has(next, beyond, number) && *order + REORDERED_MAX > newest);
        news
    }
}

/// Whether a piece has arrived, when all before `next` have and `beyond` tells of those
/// after it.
fn has(next: u32, beyond: u64, number: u32) -> bool {
    let bit = number.checked_sub(next.saturating_add(1)).and_then(|bit| 1_u64.checked_shl(bit));
    number < next || bit.is_some_and(|bit| beyond & bit != 0)
}

impl Client {
    pub(super) fn send_operation(&mut self, id: AskId) {
        let Some(operation) = self.operations.get(&id) else { return };
        let Some(session) = operation.session else { return };
        let floor = self.floor(session);
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let one_shot = self.config.one_shot || operation.is_last();
        let request = |operation: &PendingOperation, piece: u32, bytes: Bytes| Request {
            session,
            sequence: Sequence(id.0),
            floor: floor.min(Sequence(id.0)),
            not_after: LogTime(0),
            hops: 0,
            one_shot,
            settle: operation.settling,
            digest: operation.digest,
            length: if operation.settling { 0 } else { operation.length() },
            piece,
            bytes,
        };
        operation.first_sent_at.get_or_insert(self.now);
        operation.asked_at = self.now;
        let target = operation.target;
        let mut retry_at = self.now + self.servers.patience(target, operation.attempts);
        let settle_at = operation.give_up_at - self.config.timeout / 4;
        if operation.attempts > 0 && self.now < settle_at {
            // However patient the client has become, the last quarter is for settling.
            retry_at = retry_at.min(settle_at);
        }
        if operation.settling {
            let settle = request(operation, 0, Bytes::new());
            self.send_whole(id, &Message::Request(settle));
        } else {
            let is_whole = operation.piece_count() == 1;
            for number in operation.due_pieces() {
                let piece = Message::Request(request(operation, number, operation.piece(number)));
                if is_whole {
                    self.send_whole(id, &piece);
                    break;
                }
                // In pieces, what is lost shows in the answers to the others.
                self.sends.push_back((target, piece));
            }
        }
        self.timers.arm(Timer::Retry(id), retry_at);
    }

    /// Sends what fits into one frame; to all nodes, once the one that leads is believed to be
    /// gone: whoever leads now takes it, and takes it once.
    fn send_whole(&mut self, id: AskId, message: &Message) {
        let Some(operation) = self.operations.get(&id) else { return };
        let (target, looks_for_leader) = (operation.target, operation.looks_for_leader());
        self.send_with_copies(id, target, message.clone());
        if looks_for_leader {
            let others = self.servers.others(target);
            self.sends.extend(others.map(|other| (other, message.clone())));
        }
    }

    pub(super) fn on_progress(&mut self, from: ServerIndex, progress: RequestProgress) {
        let id = AskId(progress.sequence.0);
        let Some(operation) = self.operations.get_mut(&id) else { return };
        if operation.session != Some(progress.session) || operation.target != from {
            return;
        }
        operation.redirects = 0;
        if operation.pieces.on_progress(progress) {
            operation.attempts = 0;
        }
        if !operation.settling {
            self.send_operation(id);
        }
    }

    pub(super) fn on_reply(&mut self, from: ServerIndex, reply: Reply) {
        let id = AskId(reply.sequence.0);
        let Some(operation) = self.operations.get(&id) else { return };
        if operation.session != Some(reply.session) {
            return;
        }
        if reply.settled.outcome == Outcome::OutsideWindow {
            // Nothing is settled by that: the floor will have risen when it is retried.
            return;
        }
        let without_space = operation.without_space;
        match operation.first_sent_at {
            Some(sent_at) if !operation.asked_again => {
                self.servers.sample_latency(self.now.since(sent_at));
            }
            _ => self.servers.note_asked_again(from, self.now.since(operation.asked_at)),
        }
        self.servers.prefer(from);
        if reply.settled.outcome == Outcome::Forgotten {
            self.forget_session(reply.session);
        }
        let answer = match reply.settled.outcome {
            Outcome::Forbidden if without_space => Answer::Refused(NO_SPACE.into()),
            _ => answer_of(reply.settled),
        };
        self.finish(id, answer);
        self.start_queued();
    }

    /// The cluster does not know the session any more: what comes next needs another.
    fn forget_session(&mut self, forgotten: SessionId) {
        if matches!(self.session, SessionState::Open { id, .. } if id == forgotten) {
            self.session = SessionState::None;
        }
    }

    pub(super) fn on_operation_declined(
        &mut self,
        from: ServerIndex,
        session: SessionId,
        sequence: Sequence,
        reason: DeclineReason,
        leader: Option<ServerIndex>,
    ) {
        let id = AskId(sequence.0);
        let pause = self.pause();
        let Some(operation) = self.operations.get_mut(&id) else { return };
        // Of the others it matters only that they know another leader.
        let in_vain = [Some(operation.target), operation.given_up];
        let names_another = leader.is_some() && !in_vain.contains(&leader);
        let is_asked = operation.target == from || operation.looks_for_leader() && names_another;
        if operation.session != Some(session) || !is_asked {
            return;
        }
        operation.redirects += 1;
        // Somebody is there: a node that is gone must not be waited for longer each time.
        operation.attempts = operation.attempts.min(1);
        match (reason, leader) {
            (DeclineReason::Invalid(invalid), _) => {
                self.finish(id, Answer::Refused(invalid.to_string()));
                self.start_queued();
            }
            (DeclineReason::Denied(denial), _) => {
                self.finish(id, Answer::Refused(denial.to_string()));
                self.start_queued();
            }
            // Nodes that name each other, or one that is gone, are not asked in a frenzy.
            (DeclineReason::NotLeader, Some(leader)) if operation.redirects <= 2 => {
                if operation.given_up != Some(leader) {
                    // It was not asked in vain yet.
                    operation.attempts = 0;
                }
                operation.send_to(leader);
                self.send_operation(id);
            }
            // A copy of the request may still be on its way, and be taken when there is room
            // again: that it never will be is settled in the log, while there is room for that.
            (DeclineReason::NoSpace, _) => {
                operation.without_space = true;
                operation.settling = true;
                self.send_operation(id);
            }
            (DeclineReason::Busy, _) => {
                operation.pieces = Pieces::default();
                // It is there, so nobody else is looked for.
                operation.attempts = 0;
                self.timers.arm(Timer::Retry(id), self.now + pause);
            }
            (_, leader) => {
                let next = leader.unwrap_or_else(|| operation.next_after(from, &self.servers));
                operation.send_to(next);
                // That node was not silent: it was not asked yet.
                operation.attempts = 0;
                self.timers.arm(Timer::Retry(id), self.now + pause);
            }
        }
    }

    /// Nothing has come for a while: the first times the frame is believed lost, then
    /// the node.
    pub(super) fn retry_operation(&mut self, id: AskId) {
        let quarter = self.config.timeout / 4;
        let Some(operation) = self.operations.get_mut(&id) else { return };
        operation.attempts += 1;
        operation.asked_again = true;
        operation.redirects = 0;
        operation.settling |= self.now + quarter >= operation.give_up_at;
        if operation.attempts % self.servers.tries(operation.target) == 0 {
            operation.given_up = Some(operation.target);
            operation.send_to(self.servers.after(operation.target));
        } else if operation.pieces.next >= operation.piece_count() {
            // The reply was lost, or the node has lost what had arrived: the first piece is
            // answered by the one, or by how far the pieces have come.
            operation.pieces = Pieces::default();
        } else {
            operation.pieces.in_flight.clear();
        }
        self.send_operation(id);
    }

    pub(super) fn give_up_operation(&mut self, id: AskId) {
        let Some(operation) = self.operations.get(&id) else { return };
        self.servers.forsake(operation.target, self.now - self.config.timeout);
        let waited = self.config.timeout.as_secs_f64();
        let answer = if operation.first_sent_at.is_none() {
            Answer::NoAnswer(format!(
                "no node opened a session within {waited} s, so nothing was done"
            ))
        } else if operation.without_space {
            Answer::Unknown(format!(
                "no space: the disks are so full that within {waited} s it could not even be \
                 settled that the operation never takes effect; delete keys, raise --disk-max or \
                 make room"
            ))
        } else {
            Answer::Unknown(format!(
                "no answer within {waited} s: the operation may have taken effect, or not"
            ))
        };
        self.queue.retain(|queued| *queued != id);
        self.finish(id, answer);
        self.start_queued();
    }
}

/// What the client of a write is told that found no room.
const NO_SPACE: &str = "not done: no space, the disks of the leader or of a majority are nearly \
                        full; delete keys, raise --disk-max or make room, then try again";

fn answer_of(settled: Settled) -> Answer {
    match settled.outcome {
        Outcome::Forgotten => Answer::Unknown(
            "the cluster does not keep this session any more: the operation may have taken effect"
                .into(),
        ),
        Outcome::Forbidden => Answer::Refused(
            "not done in time; the cluster has settled that it never will be".into(),
        ),
        Outcome::Expired => Answer::Refused("not done: its time had passed".into()),
        Outcome::OtherOperation => {
            Answer::Refused("not done: the session used its sequence for another".into())
        }
        _ => Answer::Settled(settled),
    }
}
