//! Operations of clients: executed once, and answered when their index is committed.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;

use super::ReplicationManager;
use super::assembly::Assemblies;
use super::decline::{decline, not_leader};
use super::effects::{ClientPath, Destination, Effects};
use super::shares::{Claimant, Shares};
use super::space;
use super::state::ReplicaState;
use crate::codec::Reader;
use crate::operation::{Command, Invalid, LoggedRequest, Operation, Outcome, Settled};
use crate::store::Lookup;
use crate::types::{Digest, KEY_BYTES_MAX, LogIndex, Sequence, SessionId, VALUE_BYTES_MAX};
use crate::wire::{
    About, DeclineReason, Message, OpenSession, PIECE_BYTES, Reply, Request, Role, SessionOpened,
};

/// The longest operation: a compare-and-swap of two values, with room for the fields
/// around them.
const OPERATION_BYTES_MAX: usize = 2 * VALUE_BYTES_MAX + KEY_BYTES_MAX + 64;
/// The most clients that may wait for an answer at once.
const WAITERS_MAX: usize = 65_536;

/// Takes in the operations of clients and holds their answers back.
#[derive(Debug, Default)]
pub struct RequestManager {
    assemblies: Assemblies,
    /// Who waits for which index, with the answer to give when it is committed.
    waiters: BTreeMap<LogIndex, BTreeMap<Asker, Waiter>>,
    waiting: Shares<WAITERS_MAX>,
}

/// Who asked for what.
type Asker = (SessionId, Sequence, SocketAddr);

/// A client that waits, and what it will be told.
#[derive(Debug)]
struct Waiter {
    client: ClientPath,
    claimant: Claimant,
    reply: Reply,
}

impl RequestManager {
    /// Mints a session. It is only a number: nothing is kept of it. A node that is behind mints
    /// none: by the index in it, the others would take it for one that was evicted.
    pub fn on_open_session(
        open: OpenSession,
        client: ClientPath,
        in_touch: bool,
        state: &ReplicaState,
        fx: &mut Effects,
    ) {
        let about = About::Open(open.nonce);
        if !state.is_born() {
            return decline(about, client, DeclineReason::NotBorn, state, fx);
        }
        if !in_touch {
            return decline(about, client, DeclineReason::NoLeader, state, fx);
        }
        let committed = state.store.committed();
        let opened = SessionOpened {
            nonce: open.nonce,
            session: SessionId { minted_at: state.commit, random: fx.unguessable() },
            window: committed.configuration().session_window,
            time: committed.time(),
        };
        fx.send(Destination::Client(client), Message::SessionOpened(opened));
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
        if self.answer_settled(request, client, state, fx) {
            return;
        }
        if let Some(reason) = self.objection(request, client, state) {
            return decline(about(request), client, reason, state, fx);
        }
        let Some(bytes) = self.assemble(request, client, state, fx) else { return };
        let logged = logged(request, bytes).map_err(DeclineReason::Invalid);
        match logged.and_then(|logged| permitted(logged, client, state)) {
            Err(reason) => decline(about(request), client, reason, state, fx),
            Ok(logged) => {
                let settled = replication.propose(&logged, state, fx);
                self.hold(settled, request, client, state, fx);
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
        if !state.is_born() {
            return false;
        }
        // A follower's tentative state may be rolled back, and nobody here waits for it.
        let root = if state.role == Role::Leader {
            state.store.tentative()
        } else {
            state.store.committed()
        };
        let digest = (!request.settle).then_some(request.digest);
        let here = |outcome| Settled { index: root.index(), outcome };
        let settled = match root.sessions().find(request.session, request.sequence, digest) {
            Lookup::New => return false,
            Lookup::Kept(settled) => settled,
            Lookup::Forgotten => here(Outcome::Forgotten),
            Lookup::OtherOperation => here(Outcome::OtherOperation),
        };
        if settled.index <= state.commit {
            let reply = reply_to(request, settled);
            fx.send(Destination::Client(client), Message::Reply(reply));
        } else {
            self.hold(settled, request, client, state, fx);
        }
        true
    }

    /// Why this node does not take the request at present, or never will.
    fn objection(
        &self,
        request: &Request,
        client: ClientPath,
        state: &ReplicaState,
    ) -> Option<DeclineReason> {
        let length = usize::try_from(request.length).unwrap_or(usize::MAX);
        let pieces = length.div_ceil(PIECE_BYTES).max(1);
        let misfits =
            request.piece as usize >= pieces || (pieces == 1 && request.bytes.len() != length);
        if !state.is_born() {
            Some(DeclineReason::NotBorn)
        } else if length > OPERATION_BYTES_MAX {
            Some(DeclineReason::Invalid(Invalid::ValueTooLong))
        } else if misfits {
            Some(DeclineReason::Invalid(Invalid::NotAnOperation))
        } else if let Err(denial) = state.access.check_writer(client.key) {
            Some(DeclineReason::Denied(denial))
        } else if state.role != Role::Leader {
            Some(not_leader(state))
        } else if state.handing_over
            || !self.waiting.may_take(client.claimant(), 1)
            || !ReplicationManager::has_room(length, state)
        {
            Some(DeclineReason::Busy)
        } else {
            None
        }
    }

    /// The whole operation, once all of its pieces have arrived. The client of one in
    /// pieces is told which have.
    fn assemble(
        &mut self,
        request: &Request,
        client: ClientPath,
        state: &ReplicaState,
        fx: &mut Effects,
    ) -> Option<Bytes> {
        if request.length as usize <= PIECE_BYTES {
            return Some(request.bytes.clone());
        }
        match self.assemblies.add(request, client.claimant(), fx.now) {
            Ok((progress, whole)) => {
                fx.send(Destination::Client(client), Message::RequestProgress(progress));
                fx.keep_sweeping();
                whole
            }
            Err(reason) => {
                decline(about(request), client, reason, state, fx);
                None
            }
        }
    }

    /// Holds the answer back. docs/guarantees.md: "Every answer that depends on state waits
    /// until that state is committed". Who asks again waits in the place of its former
    /// self.
    fn hold(
        &mut self,
        settled: Settled,
        request: &Request,
        client: ClientPath,
        state: &ReplicaState,
        fx: &mut Effects,
    ) {
        let index = settled.index;
        let claimant = client.claimant();
        let asker = (request.session, request.sequence, client.address);
        let known = self.waiters.get_mut(&index).and_then(|waiters| waiters.get_mut(&asker));
        if let Some(waiter) = known {
            waiter.client = client;
        } else if self.waiting.may_take(claimant, 1) {
            let waiter = Waiter { client, claimant, reply: reply_to(request, settled) };
            self.waiters.entry(index).or_default().insert(asker, waiter);
            self.waiting.take(claimant, 1);
        } else {
            decline(about(request), client, DeclineReason::Busy, state, fx);
        }
    }

    /// Gives the answers that the commit index now covers.
    pub fn release(&mut self, state: &ReplicaState, fx: &mut Effects) {
        while let Some(first) = self.waiters.first_entry() {
            if *first.key() > state.commit {
                return;
            }
            for waiter in first.remove().into_values() {
                self.waiting.give_back(waiter.claimant, 1);
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
            decline(about, waiter.client, not_leader(state), state, fx);
        }
        self.waiting = Shares::default();
        self.assemblies = Assemblies::default();
    }

    /// Drops operations whose pieces have stopped coming.
    pub fn sweep(&mut self, fx: &mut Effects) {
        self.assemblies.sweep(fx.now);
        if !self.assemblies.is_empty() {
            fx.keep_sweeping();
        }
    }
}

/// The request, if this leader may append it for the client, and has room for it.
fn permitted(
    logged: LoggedRequest,
    client: ClientPath,
    state: &ReplicaState,
) -> Result<LoggedRequest, DeclineReason> {
    state.access.check_request(client.key, &logged).map_err(DeclineReason::Denied)?;
    let fits = !space::makes_grow(&logged) || space::is_enough(state);
    if !fits {
        Err(DeclineReason::NoSpace)
    } else if space::is_crowded(&logged, state) || space::begins_too_much(&logged, state) {
        Err(DeclineReason::Busy)
    } else {
        Ok(logged)
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

fn about(request: &Request) -> About {
    About::Request(request.session, request.sequence)
}

fn reply_to(request: &Request, settled: Settled) -> Reply {
    Reply { session: request.session, sequence: request.sequence, settled }
}
