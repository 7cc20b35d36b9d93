//! The one state that every manager reads and updates.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::disk_stall::DiskWatch;
use super::doubt::InDoubt;
use super::log::{Base, Log};
use super::peer::Peer;
use super::resumption::Resumption;
use super::retired::Retired;
use super::sightings::{Held, Life, Sightings};
use super::snapshots::OwnSnapshots;
use super::space::Space;
use super::{ELECTION_TIMEOUT, Effects, HEARTBEAT_INTERVAL, NodeConfig, Timer};
use crate::access::Access;
use crate::configuration::Configuration;
use crate::disk::{GenesisState, Identity, LogEnd, Record, Recovered};
use crate::entry::{Entry, EntryKind};
use crate::link::{Pinned, Redundancy, age_micros};
use crate::operation::{LoggedRequest, Settled};
use crate::store::{Snapshot, Store};
use crate::time::Instant;
use crate::types::{Incarnation, LifeId, LogIndex, PacketNumber, ServerId, Term};
use crate::wire::{DropCause, Role};

/// The most entries that are kept for a node which fetches the snapshot before them.
const KEPT_ENTRIES_MAX: u64 = 262_144;
/// The most entries that are put back at once: executing them takes time.
const REJOINED_AT_ONCE: usize = 64;
/// The most entries that one turn forgets: freeing them takes time.
const FORGOTTEN_PER_TURN: usize = 1_024;
/// The most entries that one turn reveals: so many answers go out, and so many roots are freed.
const REVEALED_PER_TURN: u64 = 128;

/// Who this node is, what it takes part in and how it sees the others.
#[derive(Debug)]
pub struct ReplicaState {
    /// This node.
    pub server_id: ServerId,
    /// What it is at present.
    pub role: Role,
    /// The newest term that it knows of.
    pub term: Term,
    /// Who leads in this term, if it knows.
    pub leader_id: Option<ServerId>,
    /// The other nodes: those that the flags list, and those of the configuration.
    pub peers: BTreeMap<ServerId, Peer>,
    /// Where the flags say that nodes are reached.
    pub listed: BTreeMap<ServerId, SocketAddr>,
    /// What the numbers of this life's packets are counted from.
    pub(super) first_packet: PacketNumber,
    /// Where nodes are reached that this node's log may not tell of yet, as others say or as they
    /// were met. Before the birth: nodes that belong to a cluster.
    pub(super) told: BTreeMap<ServerId, SocketAddr>,
    /// The configurations that the peers were last gathered from.
    pub(super) met: [Arc<Configuration>; 2],
    /// When, without a leader, this node stands for election.
    pub election_timer: Instant,
    /// Who has this node's vote in this term.
    pub voted_for: Option<ServerId>,
    /// Who has granted this node a vote, or a pre-vote, in the present election.
    pub votes_received: BTreeSet<ServerId>,

    /// Whose directory this node lives in.
    pub identity: Identity,
    /// How often that directory was started.
    pub incarnation: Incarnation,
    /// What tells this life from another of the same start.
    pub life: LifeId,
    /// How this life has begun, as the others see it.
    pub resumption: Resumption,
    /// What was seen of the directories of others.
    pub sightings: Sightings,
    /// How far it has come towards a genesis.
    pub genesis: GenesisState,
    /// The log, executed to its end.
    pub log: Log,
    /// Up to here the log is committed, and revealed.
    pub commit: LogIndex,
    /// Up to here it is known to be committed. What lies between is revealed by later turns.
    pub known_commit: LogIndex,
    /// How many entries more this turn may reveal.
    may_reveal: u64,
    /// What executing the log has made.
    pub store: Store,
    /// What of that is on the disk, or on its way there.
    pub snapshots: OwnSnapshots,
    /// What the directory may have acknowledged and cannot read.
    pub in_doubt: InDoubt,
    /// How much room the disk has.
    pub space: Space,
    /// What a snapshot has taken the place of, to be freed.
    retired: Option<Retired>,
    /// The node is about to stop: it hands leadership over and takes no further writes.
    pub handing_over: bool,
    /// When this node last had fresh contact with the leader of its term.
    pub leader_contact: Option<Instant>,
    /// When the newest frame to the leader was sent that was refused.
    pub refused_at: Option<Instant>,

    /// The election timeout where none is known of the node that is meant.
    pub election_timeout: Duration,
    /// The heartbeat interval likewise.
    pub heartbeat_interval: Duration,
    /// What of the times the command line pins.
    pub pinned: Pinned,
    /// How often this node has asked for pre-votes since it last had a leader.
    pub attempts: u32,
    /// How often votes were asked for since it last began to.
    pub asked: u32,
    /// What is known of the leader's disk.
    pub disk_watch: DiskWatch,
    /// How often a frame may be sent.
    pub redundancy: Redundancy,
    /// What those may do who ask.
    pub access: Access,
    /// Frames dropped, by cause.
    pub dropped: BTreeMap<DropCause, u64>,
}

impl ReplicaState {
    /// The state that goes on from what a directory held.
    pub fn recovered(config: &NodeConfig, mut recovered: Recovered, fx: &mut Effects) -> Self {
        let server_id = recovered.identity.id;
        let listed = config.nodes.iter().map(|(id, listed)| (*id, listed.address)).collect();
        let (base, store) = beginning(&recovered);
        let pinned = config.pinned;
        let election_timeout = pinned.timeout.unwrap_or(ELECTION_TIMEOUT);
        let resumption = Resumption::new(&recovered, election_timeout, fx);
        let log = recovered_log(&mut recovered, base, fx);
        let mut state = Self {
            server_id,
            role: Role::Follower,
            term: recovered.term,
            leader_id: None,
            peers: BTreeMap::new(),
            listed,
            first_packet: fx.random_packet(),
            told: BTreeMap::new(),
            met: std::array::from_fn(|_| Arc::new(Configuration::unborn())),
            election_timer: fx.now,
            voted_for: recovered.voted_for,
            votes_received: BTreeSet::new(),
            identity: recovered.identity,
            incarnation: recovered.incarnation,
            life: LifeId(fx.random.u32(1..)),
            resumption,
            sightings: Sightings::recovered(recovered.sightings),
            genesis: recovered.genesis,
            log,
            commit: recovered.commit.max(base.index),
            known_commit: recovered.commit.max(base.index),
            may_reveal: REVEALED_PER_TURN,
            store,
            snapshots: OwnSnapshots::recovered(recovered.snapshot),
            in_doubt: InDoubt::recovered(recovered.doubt, recovered.term, recovered.aside),
            space: Space::default(),
            retired: None,
            handing_over: false,
            leader_contact: None,
            refused_at: None,
            election_timeout,
            heartbeat_interval: pinned.interval.unwrap_or(HEARTBEAT_INTERVAL),
            pinned,
            attempts: 0,
            asked: 0,
            disk_watch: DiskWatch::new(config.disk_stall),
            redundancy: Redundancy::new(config.redundancy_max),
            access: config.access.clone(),
            dropped: BTreeMap::new(),
        };
        state.execute_recovered();
        state.gather_peers(fx);
        state
    }

    fn execute_recovered(&mut self) {
        let first = self.store.committed().index().next();
        for index in (first.0..=self.log.last_index().0).map(LogIndex) {
            self.execute(index);
            if index <= self.commit {
                self.reveal(index);
            }
        }
    }

    /// The node becomes part of the cluster: its log begins. The genesis entry is on the
    /// disks of all members, so it is committed.
    pub fn be_born(&mut self, configuration: Configuration) {
        self.log = Log::recovered(Base::default(), vec![Entry::genesis(&configuration)]);
        self.store = Store::at_genesis(configuration.clone());
        (self.commit, self.known_commit) = (LogIndex(1), LogIndex(1));
        self.genesis = GenesisState::Complete(configuration);
    }

    /// Whether the node is part of a cluster.
    pub fn is_born(&self) -> bool {
        matches!(self.genesis, GenesisState::Complete(_))
    }

    /// Who counts. It is in force from the moment it stands in the log.
    pub fn configuration(&self) -> &Configuration {
        self.store.tentative().configuration()
    }

    /// Where the configuration in force stands in the log; zero before the birth.
    pub fn configuration_index(&self) -> LogIndex {
        if self.is_born() { self.store.tentative().configuration_index() } else { LogIndex(0) }
    }

    /// Whether this node's vote counts.
    pub fn is_voter(&self) -> bool {
        self.configuration().is_voter(self.server_id, self.identity.directory)
    }

    /// Whether the vote of the other node, as it was last heard, counts: only once it is
    /// known that its directory has forgotten nothing.
    pub fn is_voting_peer(&self, id: ServerId) -> bool {
        let life = self.peers.get(&id).and_then(|peer| peer.life);
        life.is_some_and(|life| {
            self.configuration().is_voter(id, life.directory) && self.sightings.counts(life)
        })
    }

    /// The life of this node.
    pub fn life(&self) -> Life {
        Life {
            node: self.server_id,
            directory: self.identity.directory,
            incarnation: self.incarnation,
            id: self.life,
        }
    }

    /// Whether it is the present life of another node.
    pub fn is_present(&self, life: Life) -> bool {
        self.peers.get(&life.node).is_some_and(|peer| peer.life == Some(life))
    }

    /// What was seen of directories that neither vote nor are heard may be forgotten.
    pub fn make_room_for_sightings(&mut self) {
        let (peers, members) = (&self.peers, self.store.tentative().configuration());
        self.sightings.make_room(|node, directory| {
            members.is_voter(node, directory)
                || peers.get(&node).and_then(Peer::directory) == Some(directory)
        });
    }

    /// The other node's directory, as it was last heard, is seen to hold something durably.
    pub fn saw(&mut self, id: ServerId, held: Held) {
        if let Some(directory) = self.peers.get(&id).and_then(Peer::directory) {
            self.sightings.saw((id, directory), held);
        }
    }

    /// The last entry on this node's disk, if that is of this term; else zero.
    pub fn durable_in_term(&self) -> LogIndex {
        let durable = self.log.durable();
        if self.log.term_at(durable) == Some(self.term) { durable } else { LogIndex(0) }
    }

    /// Whether these nodes are a majority of the voters. Each is a voter.
    pub fn is_majority(&self, nodes: usize) -> bool {
        self.is_born() && nodes >= self.configuration().majority()
    }

    /// As follower: whether contact with the leader counts for nothing, because of its disk.
    pub fn leader_is_stalled(&self, now: Instant) -> bool {
        self.disk_watch.leader_is_stalled(self.term, self.durability_age(now), now)
    }

    /// Takes up a higher term, with no vote in it. Obeyed at once; promises wait for the disk.
    pub fn take_up_term(&mut self, term: Term, fx: &mut Effects) {
        assert!(term > self.term, "a term never falls");
        if self.leader_is_stalled(fx.now) {
            self.disk_watch.moves(fx.now);
        }
        self.term = term;
        self.voted_for = None;
        self.leader_id = None;
        self.leader_contact = None;
        self.refused_at = None;
        fx.record(Record::HardState { term, voted_for: None });
    }

    /// Appends the entry, has it made durable, and executes it. The answer of an
    /// operation, if it is one, must be held back until the entry is committed.
    pub fn append(&mut self, entry: Entry, fx: &mut Effects) -> Option<Settled> {
        let index = entry.index;
        self.log.append(entry.clone(), fx.batch_sequence(), fx.now);
        fx.record(Record::Append(entry));
        self.execute(index)
    }

    fn execute(&mut self, index: LogIndex) -> Option<Settled> {
        execute(&mut self.store, &self.log, index)
    }

    /// Removes all entries above the index, and undoes what executing them did.
    pub fn truncate_after(&mut self, index: LogIndex) {
        assert!(index >= self.known_commit, "what is committed is never removed");
        self.log.truncate_after(index);
        self.store.roll_back_to(index);
    }

    /// The log is committed up to the index. A turn reveals a share of it; the next one goes on.
    pub fn commit_to(&mut self, index: LogIndex) {
        self.known_commit = self.known_commit.max(index);
        self.reveal_share();
    }

    /// A node has begun another life: reveals all that is known to be committed before anything
    /// is said to it, however long that makes the turn.
    ///
    /// docs/wire-format.md, section 9.11: "What a leader says to a life of a node to be
    /// committed is never less than what it has committed with the help of the lives before."
    /// Else it would end a doubt about entries that it has counted itself.
    pub fn reveal_all(&mut self) {
        self.may_reveal = u64::MAX;
        self.reveal_share();
    }

    /// Reveals of what is known to be committed as much as this turn may.
    pub fn reveal_share(&mut self) {
        let share = self.may_reveal.min(self.known_commit.0 - self.commit.0);
        if share > 0 {
            self.may_reveal -= share;
            self.commit.0 += share;
            self.reveal(self.commit);
        }
    }

    /// Ends a turn: the next one may reveal as much, and comes at once if there is more.
    pub fn end_turn(&mut self, fx: &mut Effects) {
        self.may_reveal = REVEALED_PER_TURN;
        if self.known_commit > self.commit {
            fx.go_on_in_next_turn();
        }
    }

    fn reveal(&mut self, index: LogIndex) {
        let Some(due) = self.store.commit_to(index) else { return };
        let at = due.index();
        if let (Some(term), Some(chain)) = (self.log.term_at(at), self.log.chain_at(at)) {
            self.snapshots.want(Snapshot::new(due, term, chain));
        }
    }

    /// Files of the directory are damaged whose content is in memory: the state that is
    /// committed is written as a snapshot, at an index that the log has not fixed. Who
    /// fetches it from here and wants to go on elsewhere finds another one there, and begins
    /// again. Not between the parts of an operation: nobody could execute it who has the later
    /// ones and a state. Damage is told of again, and the rest is soon committed.
    pub fn mend_disk(&mut self, snapshot_is_damaged: bool) {
        let at = self.commit;
        if self.log.entry(at).is_some_and(|entry| entry.kind == EntryKind::Part) {
            return;
        }
        if let (Some(term), Some(chain)) = (self.log.term_at(at), self.log.chain_at(at)) {
            let snapshot = Snapshot::new(self.store.committed().clone(), term, chain);
            self.snapshots.mend(snapshot, snapshot_is_damaged);
        }
    }

    /// Goes on from a snapshot that covers more than is committed here, and is on the disk.
    /// Where the log has all that it covers, the rest of the log stays.
    pub fn install(&mut self, snapshot: &Snapshot, fx: &mut Effects) {
        let base = base_of(snapshot);
        let (term, chain) = (self.log.term_at(base.index), self.log.chain_at(base.index));
        if (term, chain) == (Some(base.term), Some(base.chain)) {
            self.commit_to(base.index);
            return;
        }
        let store = std::mem::replace(&mut self.store, Store::at(snapshot.state().clone()));
        let log = std::mem::replace(&mut self.log, begin_behind(base, fx));
        self.retired = Some(Retired::Whole(Box::new((store, log))));
        (self.commit, self.known_commit) = (base.index, base.index);
        self.rejoin(fx);
    }

    /// Something to free where that may take long.
    pub(super) fn take_retired(&mut self) -> Option<Retired> {
        let of_snapshots = || self.snapshots.take_retired().map(Retired::State);
        self.retired.take().or_else(of_snapshots)
    }

    /// Whether a log that ends here lacks nothing of what this directory may have
    /// acknowledged: neither of what it holds, nor of what it has lost.
    pub fn is_covered_by(&self, end: LogEnd) -> bool {
        end >= self.log.end() && self.in_doubt.is_covered_by(end)
    }

    /// Puts back into the log what goes on from it and could be read, and ends the doubt if
    /// the log has come far enough. A turn puts back some; the next one goes on.
    pub fn rejoin(&mut self, fx: &mut Effects) {
        for _ in 0..REJOINED_AT_ONCE {
            let Some(entry) = self.in_doubt.take_next(&self.log) else { break };
            self.append(entry, fx);
        }
        if self.in_doubt.has_next(&self.log) {
            // Not in this turn.
            fx.arm(Timer::Repair, Duration::from_micros(1));
        }
        if self.in_doubt.is_there() && self.in_doubt.is_covered_by(self.log.end()) {
            self.end_doubt(fx);
        }
    }

    /// What lies above the bound was certainly not acknowledged.
    pub fn lower_doubt(&mut self, bound: LogEnd, fx: &mut Effects) {
        if let Some(doubt) = self.in_doubt.lower_to(bound) {
            self.leave_term_of_doubt(fx);
            fx.record(Record::Doubt(Some(doubt)));
            self.rejoin(fx);
        }
    }

    /// The directory is about to hold less than it may have said, and legitimately so. It
    /// said that in the term in which it was found so, or before: in a later one nobody
    /// takes it for a copy that was put back.
    pub fn leave_term_of_doubt(&mut self, fx: &mut Effects) {
        if self.in_doubt.found_in(self.term) {
            self.take_up_term(self.term.next(), fx);
        }
    }

    /// Everything that this directory may have acknowledged is in its log again, or was
    /// never committed.
    pub fn end_doubt(&mut self, fx: &mut Effects) {
        ::log::info!("node {}: its directory is repaired", self.server_id);
        self.in_doubt.end();
        fx.record(Record::Doubt(None));
    }

    /// Forgets entries that the newest snapshot covers, but for the last `kept` of them and
    /// those behind `needed`. A turn forgets a few; there will be another.
    pub fn forget_entries(&mut self, kept: u64, needed: Option<LogIndex>) {
        let covered = self.snapshots.durable_index().min(self.commit).0;
        let at_most = covered.saturating_sub(kept).min(needed.map_or(u64::MAX, |index| index.0));
        let at_least = covered.saturating_sub(kept.max(KEPT_ENTRIES_MAX));
        self.log.forget_to(LogIndex(at_most.max(at_least)), FORGOTTEN_PER_TURN);
    }

    /// Whether an entry of this leader's own term is committed, so that its commit
    /// index covers all that was ever acknowledged.
    pub fn has_committed_in_term(&self) -> bool {
        self.log.term_at(self.commit) == Some(self.term)
    }

    /// Counts a dropped frame.
    pub fn count_drop(&mut self, cause: DropCause) {
        *self.dropped.entry(cause).or_default() += 1;
    }

    /// Microseconds that the oldest entry which is not durable has waited.
    pub fn durability_age(&self, now: Instant) -> u32 {
        self.log.oldest_unsynced().map_or(0, |at| age_micros(now, at))
    }
}

/// The log that the directory holds. Where it holds nothing but a snapshot, the power may have
/// failed before the record of that was durable.
fn recovered_log(recovered: &mut Recovered, base: Base, fx: &mut Effects) -> Log {
    if recovered.snapshot.is_some() && recovered.entries.is_empty() {
        return begin_behind(base, fx);
    }
    Log::recovered(base, std::mem::take(&mut recovered.entries))
}

/// The log begins anew behind a snapshot that is on the disk. Whatever log there was before is
/// void: it may have been cut off before the record of that was durable, and must not come back
/// when the snapshot is lost some day.
fn begin_behind(base: Base, fx: &mut Effects) -> Log {
    let Base { index, term, chain } = base;
    fx.record(Record::Restart { index, term, chain });
    Log::behind(base, fx.batch_sequence(), fx.now)
}

/// Executes the entry at the index, which is the next.
pub(super) fn execute(store: &mut Store, log: &Log, index: LogIndex) -> Option<Settled> {
    let payload = log.request_payload(index);
    let request = payload.and_then(|payload| LoggedRequest::decode(payload).ok());
    store.execute(log.entry(index)?, request.as_ref())
}

/// What a directory's log begins behind, and the state there.
pub(super) fn beginning(recovered: &Recovered) -> (Base, Store) {
    match (&recovered.snapshot, &recovered.genesis) {
        (Some(snapshot), _) => (base_of(snapshot), Store::at(snapshot.state().clone())),
        (None, GenesisState::Complete(configuration)) => {
            (Base::default(), Store::at_genesis(configuration.clone()))
        }
        (None, GenesisState::Blank | GenesisState::Accepted(_)) => {
            (Base::default(), Store::at_genesis(Configuration::unborn()))
        }
    }
}

fn base_of(snapshot: &Snapshot) -> Base {
    Base { index: snapshot.index(), term: snapshot.term(), chain: snapshot.chain() }
}
