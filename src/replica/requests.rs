//! Operations of clients: put together from their pieces, executed once, answered when
//! their index is committed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::ReplicationManager;
use super::effects::{ClientPath, Destination, Effects, Timer};
use super::state::ReplicaState;
use crate::codec::Reader;
use crate::operation::{Command, Invalid, LoggedRequest, Operation, Outcome, Settled};
use crate::store::Lookup;
use crate::time::Instant;
use crate::types::{
    Digest, KEY_BYTES_MAX, LogIndex, Sequence, ServerId, SessionId, VALUE_BYTES_MAX,
};
use crate::wire::{
    About, DeclineReason, Declined, Message, OpenSession, PIECE_BYTES, Reply, Request,
    RequestProgress, Role, SessionOpened,
};

/// The longest operation: a compare-and-swap of two values, with room for the fields
/// around them.
const OPERATION_BYTES_MAX: usize = 2 * VALUE_BYTES_MAX + KEY_BYTES_MAX + 64;
/// The most operations that may be in pieces at once, and the most bytes of them.
const ASSEMBLIES_MAX: usize = 1_024;
const ASSEMBLY_BYTES_MAX: usize = 64 << 20;
/// The most clients that may wait for an answer at once.
const WAITERS_MAX: usize = 65_536;
/// How long an operation may stay incomplete without a new piece.
const ASSEMBLY_IDLE_MAX: Duration = Duration::from_secs(5);
/// How often what is left unfinished is looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Takes in the operations of clients and holds their answers back.
#[derive(Debug, Default)]
pub struct RequestManager {
    assemblies: BTreeMap<(SessionId, Sequence), Assembly>,
    /// How long the operations in pieces will be together.
    assembly_bytes: usize,
    /// Who waits for which index, with the answer to give when it is committed.
    waiters: BTreeMap<LogIndex, BTreeMap<Asker, Waiter>>,
    waiting: usize,
}

/// Who asked for what.
type Asker = (SessionId, Sequence, SocketAddr);

/// An operation of which some pieces have arrived.
#[derive(Debug)]
struct Assembly {
    digest: Digest,
    length: usize,
    pieces: BTreeMap<u32, Bytes>,
    /// How many bytes the pieces have together.
    bytes: usize,
    /// All pieces before this one are there.
    next_piece: u32,
    touched: Instant,
}

/// A client that waits, and what it will be told.
#[derive(Debug)]
struct Waiter {
    client: ClientPath,
    reply: Reply,
}

impl RequestManager {
    /// Mints a session. It is only a number: nothing is kept of it.
    pub fn on_open_session(
        open: OpenSession,
        client: ClientPath,
        state: &ReplicaState,
        fx: &mut Effects,
    ) {
        let message = if state.is_born() {
            let session = SessionId { minted_at: state.commit, random: fx.random.u64(..) };
            let committed = state.store.committed();
            Message::SessionOpened(SessionOpened {
                nonce: open.nonce,
                session,
                window: committed.configuration().session_window,
                time: committed.time(),
            })
        } else {
            decline(About::Open(open.nonce), DeclineReason::NotBorn, state)
        };
        fx.send(Destination::Client(client), message);
    }

    /// Takes in an operation, or a piece of one.
    pub fn on_request(
        &mut self,
        request: &Request,
        client: ClientPath,
        replication: &mut ReplicationManager,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) {
        let about = About::Request(request.session, request.sequence);
        if self.answer_settled(request, client, state, fx) {
            return;
        }
        if let Some(reason) = objection(request, state) {
            fx.send(Destination::Client(client), decline(about, reason, state));
            return;
        }
        if self.waiting >= WAITERS_MAX {
            fx.send(Destination::Client(client), decline(about, DeclineReason::Busy, state));
            return;
        }
        let Some(bytes) = self.assemble(request, client, state, fx) else { return };
        match logged(request, bytes) {
            Err(invalid) => {
                let reason = DeclineReason::Invalid(invalid);
                fx.send(Destination::Client(client), decline(about, reason, state));
            }
            Ok(logged) => {
                let settled = replication.propose(&logged, state, fx);
                self.hold(settled.index, settled, request, client, state, fx);
            }
        }
    }

    /// Answers what the sessions already settle, without executing anything. What is
    /// only tentative is held back until the index that it follows from is committed:
    /// a duplicate of a pending request joins the pending entry. Returns whether the
    /// request is dealt with.
    fn answer_settled(
        &mut self,
        request: &Request,
        client: ClientPath,
        state: &ReplicaState,
        fx: &mut Effects,
    ) -> bool {
        // A follower's tentative state may be rolled back, and nobody here waits for it.
        let root = if state.role == Role::Leader {
            state.store.tentative()
        } else {
            state.store.committed()
        };
        let digest = (!request.settle).then_some(request.digest);
        let (index, settled) = match root.sessions().find(request.session, request.sequence, digest)
        {
            Lookup::New => return false,
            Lookup::Kept(settled) => (settled.index, settled),
            Lookup::Forgotten => at(root.index(), Outcome::Forgotten),
            Lookup::OtherOperation => at(root.index(), Outcome::OtherOperation),
        };
        if !state.is_born() {
            return false;
        }
        if index <= state.commit {
            let reply = reply_to(request, settled);
            fx.send(Destination::Client(client), Message::Reply(reply));
        } else {
            self.hold(index, settled, request, client, state, fx);
        }
        true
    }

    /// Holds the answer back. docs/guarantees.md: "Every answer that depends on state waits
    /// until that state is committed". Who asks again waits in the place of its former
    /// self.
    fn hold(
        &mut self,
        index: LogIndex,
        settled: Settled,
        request: &Request,
        client: ClientPath,
        state: &ReplicaState,
        fx: &mut Effects,
    ) {
        let asker = (request.session, request.sequence, client.address);
        let known = self.waiters.get_mut(&index).and_then(|waiters| waiters.get_mut(&asker));
        if let Some(waiter) = known {
            waiter.client = client;
        } else if self.waiting < WAITERS_MAX {
            let waiter = Waiter { client, reply: reply_to(request, settled) };
            self.waiters.entry(index).or_default().insert(asker, waiter);
            self.waiting += 1;
        } else {
            let about = About::Request(request.session, request.sequence);
            fx.send(Destination::Client(client), decline(about, DeclineReason::Busy, state));
        }
    }

    /// Gives the answers that the commit index now covers.
    pub fn release(&mut self, state: &ReplicaState, fx: &mut Effects) {
        while let Some(first) = self.waiters.first_entry() {
            if *first.key() > state.commit {
                return;
            }
            for waiter in first.remove().into_values() {
                self.waiting -= 1;
                fx.send(Destination::Client(waiter.client), Message::Reply(waiter.reply));
            }
        }
    }

    /// The node no longer leads: what is pending may or may not be committed by
    /// another. Whoever waits is told to ask there.
    pub fn dismiss(&mut self, state: &ReplicaState, fx: &mut Effects) {
        let waiters = std::mem::take(&mut self.waiters).into_values();
        for waiter in waiters.flat_map(BTreeMap::into_values) {
            let about = About::Request(waiter.reply.session, waiter.reply.sequence);
            let declined = decline(about, not_leader(state), state);
            fx.send(Destination::Client(waiter.client), declined);
        }
        self.waiting = 0;
        self.assemblies.clear();
        self.assembly_bytes = 0;
    }

    /// The whole operation, once all of its pieces have arrived. Until then the client
    /// is told which have.
    fn assemble(
        &mut self,
        request: &Request,
        client: ClientPath,
        state: &ReplicaState,
        fx: &mut Effects,
    ) -> Option<Bytes> {
        let length = usize::try_from(request.length).unwrap_or(usize::MAX);
        if length <= PIECE_BYTES {
            return Some(request.bytes.clone());
        }
        let key = (request.session, request.sequence);
        let full = self.assemblies.len() >= ASSEMBLIES_MAX
            || self.assembly_bytes + length > ASSEMBLY_BYTES_MAX;
        if full && !self.assemblies.contains_key(&key) {
            let about = About::Request(request.session, request.sequence);
            let busy = decline(about, DeclineReason::Busy, state);
            fx.send(Destination::Client(client), busy);
            return None;
        }
        let assembly = self.assemblies.entry(key).or_insert_with(|| {
            self.assembly_bytes += length;
            Assembly::begin(request.digest, length, fx.now)
        });
        if assembly.digest != request.digest || assembly.length != length {
            let invalid = DeclineReason::Invalid(Invalid::NotAnOperation);
            let about = About::Request(request.session, request.sequence);
            fx.send(Destination::Client(client), decline(about, invalid, state));
            return None;
        }
        assembly.add(request, fx.now);
        fx.send(Destination::Client(client), Message::RequestProgress(assembly.progress(key)));
        if !fx.is_armed(Timer::Sweep) {
            fx.arm(Timer::Sweep, SWEEP_INTERVAL);
        }
        if !assembly.is_whole() {
            return None;
        }
        let whole = self.assemblies.remove(&key)?.join();
        self.assembly_bytes -= whole.len();
        Some(whole)
    }

    /// Drops operations whose pieces have stopped coming.
    pub fn sweep(&mut self, fx: &mut Effects) {
        let now = fx.now;
        let mut dropped = 0;
        self.assemblies.retain(|_, assembly| {
            let keep = now.since(assembly.touched) < ASSEMBLY_IDLE_MAX;
            if !keep {
                dropped += assembly.length;
            }
            keep
        });
        self.assembly_bytes -= dropped;
        if !self.assemblies.is_empty() {
            fx.arm(Timer::Sweep, SWEEP_INTERVAL);
        }
    }
}

impl Assembly {
    fn begin(digest: Digest, length: usize, now: Instant) -> Self {
        Self { digest, length, pieces: BTreeMap::new(), bytes: 0, next_piece: 0, touched: now }
    }

    fn add(&mut self, request: &Request, now: Instant) {
        self.touched = now;
        if request.piece >= self.pieces_expected() || self.pieces.contains_key(&request.piece) {
            return;
        }
        let last = request.piece + 1 == self.pieces_expected();
        let expected = if last { (self.length - 1) % PIECE_BYTES + 1 } else { PIECE_BYTES };
        if request.bytes.len() != expected {
            return;
        }
        self.pieces.insert(request.piece, Bytes::copy_from_slice(&request.bytes));
        while self.pieces.contains_key(&self.next_piece) {
            self.next_piece += 1;
        }
        self.bytes += request.bytes.len();
    }

    fn pieces_expected(&self) -> u32 {
        u32::try_from(self.length.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX)
    }

    fn is_whole(&self) -> bool {
        self.bytes == self.length
    }

    fn join(self) -> Bytes {
        let mut whole = Vec::with_capacity(self.length);
        self.pieces.values().for_each(|piece| whole.extend_from_slice(piece));
        whole.into()
    }

    fn progress(&self, (session, sequence): (SessionId, Sequence)) -> RequestProgress {
        let next_piece = self.next_piece;
        let beyond = (0..64)
            .filter(|bit| self.pieces.contains_key(&(next_piece + 1 + bit)))
            .fold(0, |bits, bit| bits | 1_u64 << bit);
        RequestProgress { session, sequence, next_piece, beyond }
    }
}

/// Why this node does not take the request at present, or never will.
fn objection(request: &Request, state: &ReplicaState) -> Option<DeclineReason> {
    let length = usize::try_from(request.length).unwrap_or(usize::MAX);
    let pieces = length.div_ceil(PIECE_BYTES).max(1);
    if !state.is_born() {
        Some(DeclineReason::NotBorn)
    } else if length > OPERATION_BYTES_MAX {
        Some(DeclineReason::Invalid(Invalid::ValueTooLong))
    } else if request.piece as usize >= pieces || (pieces == 1 && request.bytes.len() != length) {
        Some(DeclineReason::Invalid(Invalid::NotAnOperation))
    } else if state.role != Role::Leader {
        Some(not_leader(state))
    } else if state.handing_over || !ReplicationManager::has_room(length, state) {
        Some(DeclineReason::Busy)
    } else {
        None
    }
}

/// The request as the log will keep it. docs/guarantees.md: "What follows from the request
/// alone is refused before the log".
fn logged(request: &Request, bytes: Bytes) -> Result<LoggedRequest, Invalid> {
    let command = if request.settle {
        Command::Settle
    } else {
        if Digest::of(&bytes) != request.digest {
            return Err(Invalid::NotAnOperation);
        }
        let mut reader = Reader::new(bytes);
        let operation = Operation::decode(&mut reader).map_err(|_| Invalid::NotAnOperation)?;
        reader.finish().map_err(|_| Invalid::NotAnOperation)?;
        operation.check()?;
        Command::Execute(operation)
    };
    Ok(LoggedRequest {
        session: request.session,
        sequence: request.sequence,
        floor: request.floor,
        not_after: request.not_after,
        one_shot: request.one_shot,
        digest: request.digest,
        command,
    })
}

fn at(index: LogIndex, outcome: Outcome) -> (LogIndex, Settled) {
    (index, Settled { index, outcome })
}

fn reply_to(request: &Request, settled: Settled) -> Reply {
    Reply { session: request.session, sequence: request.sequence, settled }
}

/// Why a node that does not lead declines.
pub fn not_leader(state: &ReplicaState) -> DeclineReason {
    match state.leader_id {
        Some(leader) if leader != state.server_id => DeclineReason::NotLeader,
        _ => DeclineReason::NoLeader,
    }
}

/// The message that declines a request.
pub fn decline(about: About, reason: DeclineReason, state: &ReplicaState) -> Message {
    Message::Declined(Declined { about, reason, leader: leader_address(state) })
}

fn leader_address(state: &ReplicaState) -> Option<(ServerId, SocketAddr)> {
    let leader = state.leader_id?;
    state.peers.get(&leader).map(|peer| (leader, peer.address))
}
