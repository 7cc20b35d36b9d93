//! From datagrams to managers: which of them takes up what was said.

use std::net::SocketAddr;

use bytes::Bytes;

use super::ReplicaNode;
use super::admission::{Sender, admit, check_addressing};
use super::catch_up::{CatchUp, Progress};
use super::effects::{ClientPath, Destination};
use super::election::ElectionManager;
use super::repair::{self, RepairManager};
use super::requests::RequestManager;
use super::sightings::Life;
use crate::time::Instant;
use crate::types::{LogIndex, ServerId, Term};
use crate::wire::{
    self, Acknowledge, CatchUpReply, DropCause, Frame, Header, Message, RepairReply, Role,
    SnapshotOffer,
};

/// No term is ever that high: what says so is not a node of ours.
pub(super) const TERM_MAX: Term = Term(1 << 60);

impl ReplicaNode {
    /// Takes in one datagram.
    pub fn on_datagram(&mut self, now: Instant, source: SocketAddr, datagram: &Bytes) {
        self.on_opened(now, source, 0, datagram);
    }

    /// Takes in a frame that was sealed with the key; zero: with none.
    pub fn on_opened(&mut self, now: Instant, source: SocketAddr, key: u16, frame: &Bytes) {
        self.effects.now = now;
        self.excuse_others();
        if let Err(cause) = self.take_in(source, key, frame) {
            self.state.count_drop(cause);
        }
    }

    /// A session with the node that has proved to be at this address has begun.
    pub fn on_session(&mut self, address: SocketAddr, peer: ServerId, key: u16) {
        let peer = self.state.peers.get_mut(&peer).filter(|peer| peer.address == address);
        if let Some(peer) = peer {
            peer.key = key;
        }
    }

    /// A datagram was dropped before it came here.
    pub fn on_dropped(&mut self, source: SocketAddr, cause: DropCause) {
        self.state.count_drop(cause);
        if cause == DropCause::Replay {
            let mut peers = self.state.peers.values_mut();
            if let Some(peer) = peers.find(|peer| peer.address == source) {
                peer.link.hear_again();
            }
        }
    }

    fn take_in(&mut self, source: SocketAddr, key: u16, datagram: &Bytes) -> Result<(), DropCause> {
        let Frame { header, message } = wire::decode(datagram)?;
        check_addressing(&header, &self.state)?;
        if header.sender == ServerId::NONE {
            let (heard_at, Header { packet, loss, .. }) = (self.effects.now, header);
            let client = ClientPath { address: source, key, packet, heard_at, loss };
            self.callers.hear(&client, header.directory);
            return self.on_client_message(client, message);
        }
        let admitted = admit(&header, source, &message, &mut self.state, self.effects.now);
        let is_stranger = matches!(admitted, Err(DropCause::Sender | DropCause::Address));
        if let Message::Sighted(sighted) = &message
            && !is_stranger
        {
            self.on_sighted(header.sender, sighted);
        }
        match admitted {
            Ok(sender) => {
                self.meet(sender, &message);
                self.on_peer_message(sender, message)
            }
            Err(cause) => {
                if cause == DropCause::Incarnation {
                    self.meet_former_life(Life::of(&header), &message);
                }
                if cause == DropCause::Sender {
                    self.state.be_introduced_to(&header, source, key, &mut self.effects);
                }
                Err(cause)
            }
        }
    }

    fn on_client_message(&mut self, client: ClientPath, message: Message) -> Result<(), DropCause> {
        let Self { state, effects: fx, .. } = self;
        match message {
            Message::OpenSession(open) => {
                let in_touch = self.heartbeat.is_in_touch(state, fx.now);
                RequestManager::on_open_session(open, client, in_touch, state, fx);
            }
            Message::Request(request) => {
                let replication = &mut self.replication;
                self.requests.on_request(&request, client, replication, state, fx);
            }
            Message::Read(read) => {
                self.reads.on_read(read, client, &self.heartbeat, state, fx);
            }
            Message::StatusRequest(request) => {
                let status = Message::Status(self.status(request.nonce, self.effects.now));
                self.effects.send(Destination::Client(client), status);
            }
            Message::TrafficRequest(request) => {
                let traffic = Message::Traffic(self.traffic(request.nonce));
                self.effects.send(Destination::Client(client), traffic);
            }
            Message::TimeoutsRequest(request) => {
                let timeouts = Message::Timeouts(state.timeouts(request.nonce));
                fx.send(Destination::Client(client), timeouts);
            }
            Message::KeyRequest(request) => {
                let standing = Message::KeyStanding(self.key_standing(request));
                self.effects.send(Destination::Client(client), standing);
            }
            Message::MemberRequest(request) => {
                if let Some(changed) = self.membership.on_request(request, client, state, fx) {
                    self.replication.propose_configuration(&changed, state, fx);
                }
            }
            _ => return Err(DropCause::Sender),
        }
        Ok(())
    }

    fn on_peer_message(&mut self, sender: Sender, message: Message) -> Result<(), DropCause> {
        match message {
            Message::Introduce(_)
            | Message::GenesisPropose(_)
            | Message::GenesisAccept(_)
            | Message::GenesisComplete(_) => {
                self.on_genesis_message(sender, message);
                Ok(())
            }
            Message::Resume(held) => self.on_resume(sender, &held),
            // It was taken up already: it may be of any life.
            Message::Sighted(_) => Ok(()),
            // Nobody takes part in anything before it knows the genesis complete.
            _ if !self.state.is_born() => Ok(()),
            Message::VoteRequest(_) | Message::VoteReply(_) | Message::TimeoutNow(_) => {
                self.on_election_message(sender, &message)
            }
            Message::Heartbeat(_)
            | Message::ReplicateOperation(_)
            | Message::Acknowledge(_)
            | Message::ReadIndexRequest(_)
            | Message::ReadIndexReply(_) => self.on_replication_message(sender, message),
            Message::SnapshotOffer(_) | Message::SnapshotRequest(_) | Message::SnapshotPiece(_) => {
                self.on_snapshot_message(sender, &message)
            }
            Message::RepairRequest(_) | Message::RepairReply(_) => {
                self.on_repair_message(sender, message)
            }
            Message::CatchUpRequest(_) | Message::CatchUpReply(_) => {
                self.on_catch_up_message(sender, &message)
            }
            _ => Err(DropCause::Sender),
        }
    }

    fn on_genesis_message(&mut self, sender: Sender, message: Message) {
        let Self { state, genesis, effects: fx, .. } = self;
        let Sender { id, directory, .. } = sender;
        let fresh = sender.is_fresh(fx.now);
        match message {
            Message::Introduce(introduce) => {
                genesis.on_introduce(id, directory, introduce, fresh, state, fx);
            }
            Message::GenesisPropose(configuration) => {
                genesis.on_propose(id, directory, configuration, fresh, state, fx);
            }
            Message::GenesisAccept(accepted) => {
                genesis.on_accept(id, directory, accepted, state, fx);
            }
            Message::GenesisComplete(configuration) => {
                genesis.on_complete(configuration, fresh, state, fx);
            }
            _ => {}
        }
    }

    /// Only the votes of voters count. docs/guarantees.md: "A wiped disk cannot vote", since
    /// it has another directory id. But who may ask for them is not for this node to say: a
    /// candidate that is a voter by its own log may have a change of the members that this
    /// node has not, and without this node's vote it might never lead.
    fn on_election_message(&mut self, sender: Sender, message: &Message) -> Result<(), DropCause> {
        match *message {
            Message::VoteRequest(request) if request.term > TERM_MAX => Err(DropCause::Protocol),
            Message::VoteReply(vote) if vote.voter_term > TERM_MAX => Err(DropCause::Protocol),
            Message::VoteRequest(request) if request.pre_vote => {
                let Self { state, effects: fx, .. } = self;
                ElectionManager::on_pre_vote_request(sender.id, request, state, fx);
                Ok(())
            }
            Message::VoteRequest(request) => {
                if ElectionManager::heeds(request, &self.state, &self.effects) {
                    self.heed_term(request.term);
                    let Self { state, effects: fx, .. } = self;
                    ElectionManager::on_vote_request(sender.id, request, state, fx);
                }
                Ok(())
            }
            Message::VoteReply(vote) if self.state.is_voting_peer(sender.id) => {
                let tally = self.election.on_vote_reply(sender.id, vote, &mut self.state);
                self.act_on(tally);
                Ok(())
            }
            Message::TimeoutNow(term) => {
                let state = &self.state;
                let from_leader = state.leader_id == Some(sender.id) && state.term == term;
                if from_leader && ElectionManager::may_stand(state) {
                    self.election.stand(true, &mut self.state, &mut self.effects);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn on_replication_message(
        &mut self,
        sender: Sender,
        message: Message,
    ) -> Result<(), DropCause> {
        match message {
            Message::Heartbeat(heartbeat) => {
                if self.follow(sender, heartbeat.term)? {
                    let Self { state, effects: fx, .. } = self;
                    state.note_interval(sender.id, &heartbeat);
                    self.heartbeat.on_heartbeat(&heartbeat, sender.echoed, state);
                    self.replication.learn_commit(heartbeat.commit, state);
                    if sender.echoed.is_some() {
                        repair::end_by_leader(heartbeat.commit, state, fx);
                    }
                }
            }
            Message::ReplicateOperation(replicate) => {
                if self.follow(sender, replicate.term)? {
                    let Self { state, effects: fx, .. } = self;
                    self.replication.on_replicate(replicate, state, fx);
                }
            }
            Message::Acknowledge(acknowledge) => self.on_acknowledge(sender, &acknowledge)?,
            Message::ReadIndexRequest(request) if request.term == self.state.term => {
                let Self { state, effects: fx, .. } = self;
                self.reads.on_read_index_request(sender.id, request, state, fx);
            }
            Message::ReadIndexReply(reply) if reply.term == self.state.term => {
                let Self { state, effects: fx, .. } = self;
                if state.leader_id == Some(sender.id) && state.role != Role::Leader {
                    self.replication.learn_commit(reply.index, state);
                    self.reads.on_read_index_reply(reply, fx);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn on_snapshot_message(&mut self, sender: Sender, message: &Message) -> Result<(), DropCause> {
        match message {
            Message::SnapshotOffer(SnapshotOffer { snapshot, .. })
                if snapshot.index > LogIndex::MAX || snapshot.term > TERM_MAX =>
            {
                return Err(DropCause::Protocol);
            }
            Message::SnapshotOffer(offer) => {
                check_term(offer.term)?;
                let Self { state, effects: fx, .. } = self;
                // An offer does not say that its sender leads: whoever is asked for a snapshot
                // makes one. What it shows is committed, so it may help a damaged directory
                // whoever it comes from.
                let of_leader = (Some(sender.id), offer.term) == (state.leader_id, state.term);
                if of_leader || state.in_doubt.is_there() {
                    self.snapshots.on_offer(sender.id, *offer, state, fx);
                }
            }
            Message::SnapshotRequest(request) => {
                let Self { state, effects: fx, .. } = self;
                self.snapshots.on_request(sender.id, request, state, fx);
            }
            Message::SnapshotPiece(piece) => {
                let Self { state, effects: fx, .. } = self;
                self.snapshots.on_piece(piece, state, fx);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_repair_message(&mut self, sender: Sender, message: Message) -> Result<(), DropCause> {
        match message {
            Message::RepairRequest(request) => {
                if request.bound.is_some_and(|(term, _)| term > TERM_MAX) {
                    return Err(DropCause::Protocol);
                }
                let now = self.effects.now;
                let may_move = self.state.is_voting_peer(sender.id);
                let term = RepairManager::term_to_take_up(request, &self.state, now);
                if let Some(term) = term.filter(|_| may_move) {
                    self.step_down_to(term);
                }
                RepairManager::on_request(sender.id, request, &self.state, &mut self.effects);
            }
            Message::RepairReply(reply) if is_absurd(&reply) => return Err(DropCause::Protocol),
            Message::RepairReply(mut reply) => {
                let Self { state, effects: fx, .. } = self;
                // Entries prove themselves, but an end is a promise.
                reply.end = reply.end.filter(|_| state.is_voting_peer(sender.id));
                self.repair.on_reply((sender.id, sender.directory), reply, state, fx);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_catch_up_message(&mut self, sender: Sender, message: &Message) -> Result<(), DropCause> {
        match message {
            Message::CatchUpRequest(request) => {
                CatchUp::on_request(sender.id, *request, &self.state, &mut self.effects);
            }
            Message::CatchUpReply(reply) if exceeds_limits(reply) => {
                return Err(DropCause::Protocol);
            }
            Message::CatchUpReply(reply) if self.state.is_voting_peer(sender.id) => {
                self.on_catch_up_reply(sender.id, reply);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_catch_up_reply(&mut self, from: ServerId, reply: &CatchUpReply) {
        if !self.election.is_asking() {
            return;
        }
        if reply.term > self.state.term {
            return self.step_down_to(reply.term);
        }
        let Self { state, effects: fx, .. } = self;
        match self.catch_up.on_reply(from, reply, state, fx) {
            Progress::Behind => {}
            Progress::CaughtUp => self.election.ask_for_votes(state, fx),
            Progress::NeedsSnapshot(snapshot) => {
                let offer = SnapshotOffer { term: reply.term, snapshot };
                self.snapshots.on_offer(from, offer, state, fx);
            }
        }
    }

    /// Who has no vote may know a higher term too: from a candidate whose disk was lost since, or
    /// from the end of a doubt. It follows nobody in a lower one, so it would never learn more,
    /// nor get the vote of the directory that it lost, if it was not heeded. A term promises
    /// nothing, so any node counts that the configuration lists, in whatever directory.
    fn on_acknowledge(&mut self, sender: Sender, answer: &Acknowledge) -> Result<(), DropCause> {
        let Self { state, effects: fx, .. } = self;
        if answer.term > state.term && state.configuration().lists(sender.id) {
            check_term(answer.term)?;
            self.step_down_to(answer.term);
        } else if answer.term == state.term && state.role == Role::Leader {
            check_indexes(answer)?;
            self.replication.on_acknowledge(sender.id, answer, sender.echoed, state, fx);
        }
        Ok(())
    }

    /// Takes note of a leader's frame. Returns whether it is of the present term; then it
    /// is answered at the end of the turn.
    ///
    /// docs/guarantees.md: "A frame is contact only if it is fresh: it must echo what its
    /// receiver sent within the last election timeout." Else a bloated queue, or a leader
    /// that hears nobody, would keep a dead or deaf leader in office.
    ///
    /// Whom a majority has elected leads, whether or not it is a voter by this node's log:
    /// that may lack the change which made it one, and a leader that removes itself leads
    /// until that is committed.
    fn follow(&mut self, sender: Sender, term: Term) -> Result<bool, DropCause> {
        check_term(term)?;
        self.heed_term(term);
        let Self { state, effects: fx, .. } = self;
        self.answer_to = Some(sender.id);
        state.note_leader(sender.id, term, fx.now);
        if term < state.term {
            return Ok(false);
        }
        let other_leader = state.leader_id.is_some_and(|leader| leader != sender.id);
        if state.role == Role::Leader || other_leader {
            self.answer_to = None;
            return Err(DropCause::Protocol);
        }
        let fresh = sender.echoed.is_some_and(|at| fx.now.since(at) < state.timeout_of(sender.id))
            && !state.leader_is_stalled(fx.now);
        if state.role == Role::Candidate && !fresh && !self.election.yields_to_stale_contact() {
            self.catch_up.on_acknowledging();
            return Ok(true);
        }
        if state.leader_id.is_none() {
            log::info!("node {}: follows node {} in term {term}", state.server_id, sender.id);
            self.election.give_up(state, fx);
            state.leader_id = Some(sender.id);
        }
        if fresh {
            state.leader_contact = Some(fx.now);
            state.attempts = 0;
            state.watch_for_refusal(sender.id, fx);
            ElectionManager::wait_for_leader(state, fx);
        }
        Ok(true)
    }

    fn heed_term(&mut self, term: Term) {
        if term > self.state.term {
            self.step_down_to(term);
        }
    }
}

/// Whether nothing is acknowledged that no log reaches.
fn check_indexes(answer: &Acknowledge) -> Result<(), DropCause> {
    let received = answer.received.iter().map(|(_, last)| *last);
    let mut indexes = received.chain([answer.matched, answer.durable, answer.hint_index]);
    if indexes.all(|index| index <= LogIndex::MAX) { Ok(()) } else { Err(DropCause::Protocol) }
}

/// Whether what is sent of a log cannot be: no log has such a term, or comes as far, and none
/// has entries of terms after its sender's.
fn exceeds_limits(reply: &CatchUpReply) -> bool {
    let (end_term, end_index) = reply.log_end;
    let entries = reply.entries.iter().map(|entry| entry.term);
    let snapshot = reply.snapshot.iter().map(|snapshot| snapshot.term);
    let indexes = [Some(end_index), reply.snapshot.map(|snapshot| snapshot.index)];
    reply.term > TERM_MAX
        || entries.chain(snapshot).chain([end_term]).any(|term| term > reply.term)
        || indexes.into_iter().flatten().any(|index| index > LogIndex::MAX)
}

/// Whether what is sent for a repair is of a term that there never is.
fn is_absurd(reply: &RepairReply) -> bool {
    let ends = reply.end.iter().map(|(term, _)| *term);
    let entries = reply.entries.iter().map(|entry| entry.term);
    ends.chain(entries).any(|term| term > TERM_MAX)
}

fn check_term(term: Term) -> Result<(), DropCause> {
    if (1..=TERM_MAX.0).contains(&term.0) { Ok(()) } else { Err(DropCause::Protocol) }
}
