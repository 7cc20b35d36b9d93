//! What nothing else may delay: heartbeats, votes and acknowledgments leave before
//! whatever is queued for followers and clients.

use quorate::entry::{Entry, EntryKind};
use quorate::operation::{Command, LoggedRequest};
use quorate::replica::{ELECTION_TIMEOUT, HEARTBEAT_INTERVAL};
use quorate::types::{Digest, LogIndex, LogTime, Sequence, Term};
use quorate::wire::{Message, VoteRequest};

use super::leader::{heartbeat, replicate};
use super::members::{SECOND, THIRD};
use super::probe::Probe;
use super::request::{list_stale, put, session};
use super::said::Sent;

#[test]
fn a_heartbeat_leaves_before_entries_and_answers() {
    let mut probe = Probe::serving(3);
    probe.ask_to_put(50);
    probe.ask(2, Message::Read(list_stale()));
    probe.end_turn();
    probe.pass(HEARTBEAT_INTERVAL);
    probe.time_out();
    let said = probe.turn();
    assert!(said.iter().filter(|sent| is_entries(sent)).count() > 50, "two followers get all");
    let is_heartbeat = |sent: &Sent| matches!(sent.message, Message::Heartbeat(_));
    assert_first(&said, 2, is_heartbeat);
}

#[test]
fn an_acknowledgment_leaves_before_pages() {
    let mut probe = with_pages_queued();
    probe.hear(SECOND, heartbeat(Term(1)));
    let is_acknowledgment = |sent: &Sent| matches!(sent.message, Message::Acknowledge(_));
    assert_first(&probe.turn(), 1, is_acknowledgment);
}

#[test]
fn a_vote_leaves_before_pages() {
    let mut probe = with_pages_queued();
    probe.pass(ELECTION_TIMEOUT);
    let log = &probe.state().log;
    let request = VoteRequest {
        term: Term(2),
        pre_vote: false,
        transfer: false,
        last_index: log.last_index(),
        last_term: log.last_term(),
    };
    probe.hear(THIRD, Message::VoteRequest(request));
    let batch = probe.write();
    probe.synced(batch);
    let is_vote = |sent: &Sent| matches!(sent.message, Message::VoteReply(vote) if vote.granted);
    assert_first(&probe.turn(), 1, is_vote);
}

/// Exactly so many frames are urgent; they are the first, and others come after them.
#[track_caller]
fn assert_first(said: &[Sent], count: usize, is_urgent: impl Fn(&Sent) -> bool) {
    assert_eq!(said.iter().filter(|sent| is_urgent(sent)).count(), count);
    assert_eq!(said.iter().take_while(|sent| is_urgent(sent)).count(), count);
    assert!(said.len() > count);
}

fn is_entries(sent: &Sent) -> bool {
    matches!(sent.message, Message::ReplicateOperation(_))
}

/// A follower in whose queue stand the pages of a long answer.
fn with_pages_queued() -> Probe {
    let mut probe = Probe::born(3);
    let mut previous = Entry::genesis(probe.state().configuration());
    for number in 0..5 {
        let entry = put_after(&previous, number);
        probe.hear(SECOND, replicate(Term(1), &previous, &entry, entry.index));
        previous = entry;
    }
    probe.sync();
    assert_eq!(probe.state().commit, LogIndex(6));
    probe.ask(1, Message::Read(list_stale()));
    probe
}

/// The entry of term 1 that puts a value of 900 bytes.
fn put_after(previous: &Entry, number: u64) -> Entry {
    let request = LoggedRequest {
        session: session(number),
        sequence: Sequence(1),
        floor: Sequence(1),
        not_after: LogTime(0),
        one_shot: true,
        digest: Digest(number),
        command: Command::Execute(put(&format!("key-{number}"), vec![b'x'; 900])),
    };
    let (index, payload) = (previous.index.next(), request.encode().into());
    let kind = EntryKind::Request;
    Entry::chained(previous.chain, index, Term(1), LogTime(number), kind, payload)
}
