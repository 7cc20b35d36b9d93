//! Room on the disks.
//!
//! docs/guarantees.md: "A disk that fills refuses writes before it is full". A node has
//! enough room while all that may come before the next snapshot fits, and that snapshot
//! beside the one before it; and while as much fits after that snapshot. So whatever is
//! deleted leads to a snapshot of what is left, which makes room again. With less, what makes
//! the state grow is refused; deletes and reads go on.
//!
//! What sessions keep of their answers cannot be deleted. So each may keep only a little while
//! there is no room, or once all together keep much. And the client of a refused write settles
//! it, which begins a session that nobody needs any more, but by a late copy of the write. For a
//! number of sessions there must be room before anything else may grow; beyond that number they
//! are begun only by what makes room, as long as there is none.

use super::state::ReplicaState;
use crate::operation::{Command, LoggedRequest, Operation};
use crate::store::{SETTLED_SESSION_BYTES, State};
use crate::types::ServerId;
use crate::wire::{SPACE_ENOUGH, SPACE_LOW};

/// Of what is needed, one part in so many must be to spare before a disk is no longer low.
const SPARE_SHARE: u64 = 8;

/// Of the room that there is, sessions get one part in so many, if they need it.
const SESSIONS_SHARE: u64 = 16;

/// From so many bytes on that all sessions take, each may keep only a little.
const SESSIONS_BYTES_MAX: u64 = 64 << 20;
/// How many bytes of answers that is. It holds those of some thirty deletes.
const KEPT_BYTES_MAX: u64 = 1 << 10;

/// How much room this node's disk has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Space {
    /// None while that is not measured.
    room: Option<Room>,
    low: bool,
    /// A snapshot waits for room.
    snapshot_waits: bool,
}

/// What was measured of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that may still be written.
    pub free: u64,
    /// Bytes that log and snapshots may take in all.
    pub all: u64,
}

impl Room {
    /// Whether it is enough for a state as large as this one, and for the sessions that there may
    /// be in any case, with a share of all that to spare.
    fn is_enough_for(self, state: &State, spare: u64) -> bool {
        let with_spare =
            |needed: u64| needed.saturating_add(needed.checked_div(spare).unwrap_or(0));
        let sessions = state.room_for_sessions(self.sessions());
        self.free >= with_spare(state.room_to_next_snapshot() + sessions)
            && self.all >= with_spare(state.room_for_all() + 2 * sessions)
    }

    /// How many sessions there may be in any case. Of what is free they take half at most, with
    /// the log that they come in; and that also where nothing is left for a whole state.
    fn sessions(self) -> u64 {
        self.all.max(self.free) / SESSIONS_SHARE / SETTLED_SESSION_BYTES
    }
}

impl Space {
    /// There is so much room for the state.
    pub fn measured(&mut self, room: Room, state: &State) {
        // Room that comes and goes with every batch must not open and close the door.
        let spare = if self.low { SPARE_SHARE } else { 0 };
        self.room = Some(room);
        self.low = !room.is_enough_for(state, spare);
    }

    /// Whether a snapshot has found no room, and waits for some.
    pub fn snapshot_waits(&mut self, waits: bool) {
        self.snapshot_waits = waits;
    }

    /// Bytes that may still be written, if that was measured.
    pub fn free(&self) -> Option<u64> {
        self.room.map(|room| room.free)
    }

    /// Whether what makes the state grow must be refused.
    pub fn is_low(&self) -> bool {
        self.low || self.snapshot_waits
    }

    /// What an acknowledgment says of it.
    pub fn class(&self) -> u8 {
        match self.room {
            None => 0,
            Some(_) if self.is_low() => SPACE_LOW,
            Some(_) => SPACE_ENOUGH,
        }
    }
}

/// As leader: whether this disk, and with it a majority, has room for what makes the state
/// grow.
pub fn is_enough(state: &ReplicaState) -> bool {
    let others = state.peers.keys().filter(|id| has_room(**id, state)).count();
    // A turn takes in many requests: what they make of the state counts at once.
    let fits = |room: Room| room.is_enough_for(state.store.tentative(), 0);
    !state.space.is_low()
        && state.space.room.is_none_or(fits)
        && state.is_majority(others + usize::from(state.is_voter()))
}

/// Whether this voter's disk is not known to be low.
pub fn has_room(id: ServerId, state: &ReplicaState) -> bool {
    let peer = state.peers.get(&id);
    state.is_voting_peer(id) && peer.is_some_and(|peer| peer.progress.space != SPACE_LOW)
}

/// Whether the session must do without some of its answers before it may have another. The first
/// that it lacks it always may: no other can raise its floor.
pub fn is_crowded(request: &LoggedRequest, state: &ReplicaState) -> bool {
    let sessions = state.store.tentative().sessions();
    request.sequence > request.floor
        && sessions.keeps(request.session, request.floor, KEPT_BYTES_MAX)
        && (sessions.volume() >= SESSIONS_BYTES_MAX || !is_enough(state))
}

/// Whether the request would begin a session for which there is no room: one more than there may
/// be in any case. A key that is deleted makes more room than that takes.
pub fn begins_too_much(request: &LoggedRequest, state: &ReplicaState) -> bool {
    let root = state.store.tentative();
    let sessions = root.sessions();
    let makes_room = matches!(&request.command,
        Command::Execute(Operation::Delete { key }) if root.get(key).is_some());
    // Where there are as many as the cluster keeps, another takes the place of one.
    let limit = u64::from(root.configuration().session_limit);
    let most = state.space.room.map_or(limit, Room::sessions).min(limit);
    let count = sessions.session_count() as u64;
    !makes_room
        && !sessions.has(request.session)
        && (most..limit).contains(&count)
        && !is_enough(state)
}

/// Whether the request makes the state grow.
pub fn makes_grow(request: &LoggedRequest) -> bool {
    match &request.command {
        Command::Settle | Command::Execute(Operation::Delete { .. }) => false,
        Command::Execute(_) => true,
    }
}
