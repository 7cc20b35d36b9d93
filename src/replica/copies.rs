//! What is said more than once before anything is known of its loss.
//!
//! Entries are repeated by the leader (`progress.rs`), in the spare room of other frames
//! where there is some. An acknowledgment is made anew each time, so that it tells of what
//! has come meanwhile. What proves reads is asked for anew each time (`reads.rs`). An answer to
//! a client, or to a follower that asks for such a proof, is sent again as it is. Promises are
//! never among them: they are said again only when they are asked for again.

use std::collections::VecDeque;
use std::time::Duration;

use super::effects::{ClientPath, Destination, Outgoing};
use super::state::ReplicaState;
use crate::link::Copies;
use crate::time::Instant;
use crate::types::{LogIndex, ReadRound, ServerId, Term};
use crate::wire::{Acknowledge, Message};

/// How long the disk may take until entries are acknowledged that it does not have yet: less than
/// the shortest time after which they would be sent again.
const DISK_PATIENCE: Duration = Duration::from_millis(2);
/// The most answers that wait for their second or third sending.
const WAITING_MAX: usize = 1_024;

impl ReplicaState {
    /// How often to say to a node what a majority must know, or that this one does.
    pub fn copies_to(&self, node: ServerId) -> Copies {
        let Some(peer) = self.peers.get(&node) else { return Copies::NONE };
        let round_trip = peer.link.round_trip();
        if round_trip.is_congested() {
            return Copies::NONE;
        }
        let configuration = self.configuration();
        let others = configuration.members.len().saturating_sub(1);
        let needed = configuration.majority().saturating_sub(1);
        let times = self.redundancy.of_majority(peer.link.losses(), others, needed);
        Copies { times, spacing: round_trip.spacing() }
    }

    /// How often to begin a round that a majority must answer soon.
    pub fn copies_of_round(&self) -> Copies {
        let voters = self.peers.keys().filter(|id| self.is_voting_peer(**id));
        let each = voters.map(|id| self.copies_to(*id));
        each.max_by_key(|copies| copies.times).unwrap_or(Copies::NONE)
    }

    /// How often to say to a node what it alone must know.
    pub fn copies_for(&self, node: ServerId) -> Copies {
        let Some(peer) = self.peers.get(&node) else { return Copies::NONE };
        let round_trip = peer.link.round_trip();
        if round_trip.is_congested() {
            return Copies::NONE;
        }
        let [there, _] = peer.link.losses();
        Copies { times: self.redundancy.of_one(there), spacing: round_trip.spacing() }
    }

    /// So many frames that leave for the node are copies of others.
    pub fn count_copies(&mut self, node: ServerId, copies: u8) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.link.count_copies(copies);
        }
    }

    /// How often to send this answer.
    fn copies_of(&self, Outgoing { to, message }: &Outgoing) -> Copies {
        match (to, message) {
            (Destination::Peer(node), Message::ReadIndexReply(_)) => self.copies_for(*node),
            (
                Destination::Client(client),
                Message::Reply(_) | Message::SessionOpened(_) | Message::Declined(_),
            ) => self.copies_to_client(*client),
            // Of many pages those that are lost are asked for while others come.
            (Destination::Client(client), Message::Page(page)) if page.last && page.page == 0 => {
                self.copies_to_client(*client)
            }
            _ => Copies::NONE,
        }
    }

    /// How far a client is nobody has measured: it is taken to be as near as the nearest node.
    fn copies_to_client(&self, client: ClientPath) -> Copies {
        let spacings = self.peers.values().map(|peer| peer.link.round_trip().spacing());
        Copies {
            times: self.redundancy.of_one(client.loss),
            spacing: spacings.min().unwrap_or_default(),
        }
    }
}

/// Answers that will be sent once more.
#[derive(Debug, Default)]
pub struct LaterAnswers {
    waiting: VecDeque<(Instant, Outgoing)>,
    /// How many of them clients were sent so far.
    repeated: u64,
}

impl LaterAnswers {
    /// The answer leaves now; its copies will, if it is to have some.
    pub fn on_sent(&mut self, outgoing: &Outgoing, state: &ReplicaState, now: Instant) {
        let copies = state.copies_of(outgoing);
        for nth in 1..copies.times {
            if self.waiting.len() < WAITING_MAX {
                let at = now + copies.spacing * u32::from(nth);
                let place = self.waiting.partition_point(|(due, _)| *due <= at);
                self.waiting.insert(place, (at, outgoing.clone()));
            }
        }
    }

    /// A copy that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<Outgoing> {
        self.next_due().filter(|due| *due <= now)?;
        let (_, outgoing) = self.waiting.pop_front()?;
        self.repeated += u64::from(matches!(outgoing.to, Destination::Client(_)));
        Some(outgoing)
    }

    /// How many copies clients were sent so far.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// When the next copy is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.front().map(|(due, _)| *due)
    }
}

/// How often a follower's newest news is still to be said, and whether something waits for it.
#[derive(Debug, Default)]
pub struct News {
    said: (Term, LogIndex),
    round: ReadRound,
    left: u8,
    waits_until: Option<Instant>,
}

impl News {
    /// Where news is said more than once, an acknowledgment that tells nothing but that entries
    /// have come waits a little for the disk to have them: then it need not be said at all.
    /// Returns until when it waits.
    pub fn wait(&mut self, acknowledge: &Acknowledge, times: u8, now: Instant) -> Option<Instant> {
        let tells_more = (acknowledge.term, acknowledge.durable) > self.said
            || acknowledge.round != self.round
            || acknowledge.matched == acknowledge.durable
            || !acknowledge.received.is_empty();
        let until = *self.waits_until.get_or_insert(now + DISK_PATIENCE);
        let waits = times > 1 && self.left == 0 && !tells_more && now < until;
        if !waits {
            self.waits_until = None;
        }
        self.waits_until
    }

    /// Whether something waits for the disk.
    pub fn is_waiting(&self) -> bool {
        self.waits_until.is_some()
    }

    /// The follower acknowledges now, where news is said so often. Returns how often it is
    /// to acknowledge again, at once or later: then each time that it does anyway is one of them.
    pub fn on_said(&mut self, acknowledge: &Acknowledge, copies: Copies) -> u8 {
        let news = (acknowledge.term, acknowledge.durable);
        let times = if news > self.said { copies.times } else { self.left.min(copies.times) };
        self.said = news;
        self.round = acknowledge.round;
        let left = times.saturating_sub(1);
        self.left = if copies.spacing.is_zero() { 0 } else { left };
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledge(durable: u64) -> Acknowledge {
        Acknowledge {
            term: Term(1),
            round: ReadRound(0),
            matched: LogIndex(9),
            durable: LogIndex(durable),
            hint_index: LogIndex(9),
            hint_term: Term(1),
            received: Vec::new(),
            durability_age: 0,
            free_space_class: 0,
            configuration_index: LogIndex(1),
        }
    }

    fn apart(times: u8) -> Copies {
        Copies { times, spacing: Duration::from_millis(1) }
    }

    #[test]
    fn what_only_came_waits_for_the_disk_where_news_is_said_twice() {
        let mut news = News::default();
        assert_eq!(news.wait(&acknowledge(3), 2, Instant(0)), None, "it is news");
        assert_eq!(news.on_said(&acknowledge(3), apart(2)), 1);
        assert_eq!(news.wait(&acknowledge(3), 2, Instant(0)), None, "its copy was not said yet");
        assert_eq!(news.on_said(&acknowledge(3), apart(2)), 0);
        assert_eq!(news.wait(&acknowledge(3), 1, Instant(0)), None, "a clean way");
        let until = Some(Instant(0) + DISK_PATIENCE);
        assert_eq!(news.wait(&acknowledge(3), 2, Instant(0)), until);
        assert_eq!(news.wait(&acknowledge(3), 2, Instant(1_999)), until);
        assert_eq!(news.wait(&acknowledge(3), 2, Instant(2_000)), None, "the disk is slow");
        for more in [
            acknowledge(9),
            Acknowledge { round: ReadRound(1), ..acknowledge(3) },
            Acknowledge { received: vec![(LogIndex(11), LogIndex(11))], ..acknowledge(3) },
        ] {
            assert_eq!(news.wait(&more, 2, Instant(0)), None, "{more:?}");
        }
    }

    #[test]
    fn news_is_said_so_often_and_what_is_no_news_once() {
        let mut news = News::default();
        let mut say = |durable, times| news.on_said(&acknowledge(durable), apart(times));
        assert_eq!([say(1, 3), say(1, 3), say(1, 3), say(1, 3)], [2, 1, 0, 0]);
        assert_eq!([say(2, 3), say(3, 3), say(3, 3)], [2, 2, 1], "newer news takes its place");
        assert_eq!([say(3, 1), say(4, 1)], [0, 0], "the way has become clean");
        let mut say_at_once = |durable| {
            news.on_said(&acknowledge(durable), Copies { spacing: Duration::ZERO, ..apart(3) })
        };
        assert_eq!([say_at_once(5), say_at_once(5)], [2, 0], "none of them is left");
    }
}
