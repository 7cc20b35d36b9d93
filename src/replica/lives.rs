//! The lives of directories: who says what its own held, who has seen more, and what comes
//! of it.

use super::ReplicaNode;
use super::admission::Sender;
use super::effects::Destination;
use super::heartbeat::HeartbeatManager;
use super::receive::TERM_MAX;
use super::resumption::Resumption;
use super::sightings::{Held, Life};
use super::state::ReplicaState;
use crate::disk::Record;
use crate::types::{LogIndex, ServerId, Term};
use crate::wire::{DropCause, Message, Resume, Role, Sighted, Verdict};

impl ReplicaNode {
    /// Another node says what its directory held when its present life began. From then on
    /// what it says counts, unless it has forgotten something.
    pub(super) fn on_resume(&mut self, sender: Sender, held: &Resume) -> Result<(), DropCause> {
        if held.term > TERM_MAX {
            return Err(DropCause::Protocol);
        }
        let Self { state, effects: fx, .. } = self;
        let verdict = if state.is_present(sender.life) {
            state.make_room_for_sightings();
            state.sightings.judge(sender.life, held)
        } else {
            Verdict::Unheard
        };
        if state.peers.get(&sender.id).is_some_and(|peer| !peer.has_answered) {
            // It was just started, and has not heard what this node began with.
            Resumption::say_again(sender.id, state, fx);
        }
        self.tell(sender.life, verdict);
        Ok(())
    }

    /// A frame of another node is of its present life, or may be. Who has not said yet what
    /// its directory held is asked to.
    pub(super) fn meet(&mut self, sender: Sender, message: &Message) {
        let is_about_lives = matches!(message, Message::Resume(_) | Message::Sighted(_));
        if self.state.sightings.counts(sender.life) {
            see(sender.id, message, &mut self.state);
        } else if !is_about_lives && self.state.is_present(sender.life) {
            self.tell(sender.life, Verdict::Unheard);
        }
    }

    /// A frame is not of the present life of its node. If that is because the directory
    /// counts as lost, or lives on from an older copy, its node must know.
    pub(super) fn meet_former_life(&mut self, life: Life, message: &Message) {
        let is_lost = self.state.sightings.is_lost(life.node, life.directory);
        let must_know = match message {
            // A copy from before the birth has nothing to resume: it only introduces itself.
            Message::Resume(_) | Message::Introduce(_) => true,
            // Two that have seen each other lose must not answer each other without end.
            Message::Sighted(_) => false,
            _ => is_lost,
        };
        if must_know {
            self.tell(life, Verdict::Lost);
        }
    }

    /// Another node tells what it has seen of a directory. That is a fact of the past, so it
    /// may come from any life; but it must speak of the present one of this node.
    pub(super) fn on_sighted(&mut self, from: ServerId, sighted: &Sighted) {
        let own = self.state.life();
        let spoken_of = (sighted.directory, sighted.incarnation, sighted.life);
        if spoken_of != (own.directory, own.incarnation, own.id) {
            return;
        }
        let Self { state, effects: fx, .. } = self;
        match sighted.verdict {
            Verdict::Unheard => Resumption::say_again(from, state, fx),
            Verdict::Whole => {
                let ends = Resumption::on_answer(from, state);
                self.promise_from_now_on(ends);
            }
            Verdict::Lost => self.lose_directory(from, sighted),
        }
    }

    /// The directory counts as lost: from now on it votes and acknowledges nothing. When it
    /// is durable that it is another, it comes back as a wiped one does.
    ///
    /// docs/guarantees.md: "What it holds stays where it is, under a new directory id": its
    /// log is that of some moment, as any follower's that was away, and no promise that was
    /// made in its name is of the new one.
    fn lose_directory(&mut self, from: ServerId, sighted: &Sighted) {
        let Self { state, effects: fx, .. } = self;
        let Some(next) = Resumption::on_loss(from, sighted, state, fx) else { return };
        fx.record(Record::Reborn(next));
        fx.promise(Destination::Myself, Message::Resume(Resume::default()));
        if state.is_born() {
            self.step_down();
        }
    }

    /// If the asking ends, the leader is told what is durable here.
    pub(super) fn promise_from_now_on(&mut self, ends: bool) {
        if ends {
            self.answer_to = HeartbeatManager::leader_to_answer(&self.state);
        }
    }

    /// Whatever is written anyway takes along what was seen since the last time.
    pub(super) fn record_sightings(&mut self) {
        if self.effects.has_records() {
            for record in self.state.sightings.take_unrecorded() {
                self.effects.record(record);
            }
        }
    }

    fn tell(&mut self, life: Life, verdict: Verdict) {
        let seen = self.state.sightings.of(life.node, life.directory).copied().unwrap_or_default();
        let sighted = Sighted {
            directory: life.directory,
            incarnation: life.incarnation,
            life: life.id,
            verdict,
            seen_incarnation: seen.incarnation,
            seen_term: seen.term,
            seen_vote: seen.voted,
            seen_index: seen.durable,
        };
        self.effects.send(Destination::Peer(life.node), Message::Sighted(sighted));
    }
}

/// Takes note of what the message shows to be durable at its sender.
fn see(from: ServerId, message: &Message, state: &mut ReplicaState) {
    let held = held_by_sender(message, state);
    if let Some(held) = held.filter(|held| held.term <= TERM_MAX) {
        state.saw(from, held);
    }
}

fn held_by_sender(message: &Message, state: &ReplicaState) -> Option<Held> {
    let vote = |term| Held { term, voted: true, durable: LogIndex(0) };
    match message {
        Message::VoteRequest(request) if !request.pre_vote => Some(vote(request.term)),
        Message::VoteReply(reply) if reply.granted && !reply.pre_vote => Some(vote(reply.term)),
        // A leader has voted for itself.
        Message::Heartbeat(beat) => Some(Held { durable: beat.durable, ..vote(beat.term) }),
        Message::Acknowledge(answer) => {
            let durable = answer.durable.min(answer.matched);
            // The follower's term is durable if an entry of that term is.
            let is_of_term = state.role == Role::Leader
                && answer.term == state.term
                && state.log.term_at(durable) == Some(state.term);
            is_of_term.then_some(Held { term: answer.term, voted: false, durable })
        }
        Message::RepairReply(reply) if reply.end.is_some() => Some(promised(reply.term)),
        _ => None,
    }
}

/// A term was promised not to be fallen behind.
fn promised(term: Term) -> Held {
    Held { term, voted: false, durable: LogIndex(0) }
}
