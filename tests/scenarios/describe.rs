//! Messages and records, each in a few words. `7@3` is the entry at index 7, of term 3.

use quorate::codec::Reader;
use quorate::configuration::Configuration;
use quorate::disk::Record;
use quorate::entry::{Entry, EntryKind};
use quorate::operation::{Command, Expected, LoggedRequest, Operation, Outcome};
use quorate::replica::{ReplicaNode, ReplicaState};
use quorate::types::{LogIndex, Term};
use quorate::wire::{
    Acknowledge, CatchUpReply, Declined, Kind, ListedValue, Message, Page, ReplicateOperation,
    Standing, VoteReply, VoteRequest,
};

/// The message's kind, and those of its fields that matter for the story.
pub fn message(message: &Message) -> String {
    format!("{:<18}  {}", kind(message), fields(message)).trim_end().to_owned()
}

fn kind(message: &Message) -> String {
    let suffix = match message {
        Message::VoteRequest(request) if request.pre_vote => " (pre)",
        Message::VoteReply(reply) if reply.pre_vote => " (pre)",
        _ => "",
    };
    format!("{:?}{suffix}", Kind::of(message))
}

fn fields(message: &Message) -> String {
    match message {
        Message::Introduce(introduce) => match introduce.standing {
            Standing::Blank => "is blank".into(),
            Standing::Accepted(_) => "has accepted the genesis".into(),
            Standing::Born(_) => "is born".into(),
        },
        Message::GenesisPropose(genesis) | Message::GenesisComplete(genesis) => members(genesis),
        Message::VoteRequest(request) => vote_request(request),
        Message::VoteReply(reply) => vote_reply(reply),
        Message::TimeoutNow(term) => format!("term {term}"),
        Message::Heartbeat(heartbeat) => {
            let (term, round) = (heartbeat.term, heartbeat.round);
            format!("term {term}, commit {}, round {round}", heartbeat.commit)
        }
        Message::ReplicateOperation(replicated) => replicate(replicated),
        Message::CatchUpRequest(request) => format!("from {} on", request.first),
        Message::CatchUpReply(reply) => catch_up(reply),
        Message::Acknowledge(acknowledged) => acknowledge(acknowledged),
        Message::ReadIndexRequest(request) => format!("term {}", request.term),
        Message::ReadIndexReply(reply) => format!("term {}, index {}", reply.term, reply.index),
        Message::Reply(reply) => outcome(&reply.settled.outcome, reply.settled.index),
        Message::Page(answer) => page(answer),
        Message::Declined(declined) => decline(declined),
        _ => String::new(),
    }
}

/// Who counts.
pub fn members(configuration: &Configuration) -> String {
    let voters = configuration.members.keys();
    let voters: Vec<String> = voters.map(ToString::to_string).collect();
    let learners = configuration.learners.iter();
    let learners: Vec<String> = learners.map(ToString::to_string).collect();
    let voters = format!("voters {}", voters.join(" "));
    if learners.is_empty() { voters } else { format!("{voters}, learner {}", learners.join(" ")) }
}

fn vote_request(request: &VoteRequest) -> String {
    let end = at(request.last_index, request.last_term);
    let transfer = if request.transfer { ", the leader wishes it" } else { "" };
    format!("term {}, log to {end}{transfer}", request.term)
}

fn vote_reply(reply: &VoteReply) -> String {
    let granted = if reply.granted { "granted" } else { "refused" };
    let lacks = if reply.lacks { " for its log" } else { "" };
    format!("term {}, {granted}{lacks}, voter in term {}", reply.term, reply.voter_term)
}

fn replicate(replicate: &ReplicateOperation) -> String {
    let previous = at(replicate.previous_index, replicate.previous_term);
    let entries: Vec<String> = replicate.entries.iter().map(entry).collect();
    let entries = if entries.is_empty() { "none".into() } else { entries.join(", ") };
    format!("term {}, commit {}, after {previous}: {entries}", replicate.term, replicate.commit)
}

fn catch_up(reply: &CatchUpReply) -> String {
    let (term, index) = reply.log_end;
    let entries: Vec<String> = reply.entries.iter().map(entry).collect();
    format!("log to {}: {}", at(index, term), entries.join(", "))
}

fn acknowledge(acknowledge: &Acknowledge) -> String {
    let Acknowledge { term, matched, durable, hint_index, hint_term, round, .. } = acknowledge;
    let mut said = vec![format!("term {term}, matched {matched}, durable {durable}")];
    if hint_index != matched {
        said.push(format!("log to {}", at(*hint_index, *hint_term)));
    }
    let received = acknowledge.received.iter();
    said.extend(received.map(|(first, last)| format!("received {first} to {last}")));
    said.push(format!("round {round}"));
    said.join(", ")
}

fn at(index: LogIndex, term: Term) -> String {
    format!("{index}@{term}")
}

/// The entry, and what it carries.
fn entry(entry: &Entry) -> String {
    let content = match entry.kind {
        EntryKind::Noop => String::new(),
        EntryKind::Part => " part".into(),
        EntryKind::Configuration => {
            let decoded = Configuration::decode(&mut Reader::new(entry.payload.clone()));
            format!(" ({})", members(&decoded.expect("a configuration")))
        }
        EntryKind::Request => {
            let logged = LoggedRequest::decode(entry.payload.clone()).expect("a request");
            format!(" ({})", command(&logged.command))
        }
    };
    format!("{}{content}", at(entry.index, entry.term))
}

fn command(command: &Command) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match command {
        Command::Settle => "settle".into(),
        Command::Execute(Operation::Put { key, value }) => {
            format!("put {} {}", text(key), text(value))
        }
        Command::Execute(Operation::CompareAndSwap { key, expected, value }) => {
            let old = match expected {
                Expected::Value(old) => text(old),
                Expected::Absent | Expected::Version(_) => format!("{expected:?}"),
            };
            format!("swap {} {old} for {}", text(key), text(value))
        }
        Command::Execute(operation) => format!("{operation:?}"),
    }
}

fn outcome(outcome: &Outcome, index: LogIndex) -> String {
    match outcome {
        Outcome::Written => format!("written at {index}"),
        Outcome::CompareFailed { value, .. } => {
            let there = value
                .as_ref()
                .map_or("nothing".into(), |value| String::from_utf8_lossy(value).into_owned());
            format!("refused at {index}: {there} stands there")
        }
        other => format!("{other:?} at {index}"),
    }
}

fn page(page: &Page) -> String {
    let listed = ListedValue::decode(&mut Reader::new(page.bytes.clone()));
    let value = listed
        .map_or("nothing".into(), |listed| String::from_utf8_lossy(&listed.value).into_owned());
    format!("{value} as of {}", page.index)
}

fn decline(declined: &Declined) -> String {
    let leader = declined.leader.map_or(String::new(), |(leader, _)| format!(", {leader} leads"));
    format!("{:?}{leader}", declined.reason)
}

/// What is written to the disk.
pub fn records(records: &[Record]) -> String {
    let mut said: Vec<String> = Vec::new();
    for record in records {
        said.push(match record {
            Record::GenesisAccepted(_) => "the genesis is accepted".into(),
            Record::GenesisComplete(_) => "the genesis is complete".into(),
            Record::HardState { term, voted_for: None } => format!("term {term}"),
            Record::HardState { term, voted_for: Some(candidate) } => {
                format!("vote for {candidate} in term {term}")
            }
            Record::Append(appended) => entry(appended),
            Record::Commit(index) => format!("commit {index}"),
            Record::Doubt(doubt) => format!("{doubt:?}"),
            Record::Restart { index, .. } => format!("begins behind {index}"),
            // Scenarios are about what is said; who has seen what stands in other tests.
            Record::Sighted(..) => continue,
            Record::Reborn(_) => "goes on as another directory".into(),
        });
    }
    said.join(", ")
}

/// What the node is, and the terms of its log's entries.
pub fn node(node: &ReplicaNode) -> String {
    let ReplicaState { role, term, commit, log, .. } = node.state();
    let voter = if node.state().is_voter() { "" } else { " without a vote" };
    let terms = (1..=log.last_index().0).filter_map(|index| log.term_at(LogIndex(index)));
    let terms: Vec<String> = terms.map(|term| term.to_string()).collect();
    format!("{role:?}{voter}, term {term}, commit {commit}, log {}", terms.join(" "))
}
