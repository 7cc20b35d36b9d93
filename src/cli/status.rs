//! `quorate status`: how the nodes are, at a glance.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use getopts::Options;
use serde_json::{Map, Value, json};

use super::args::{ClientFlags, parse};
use super::exit::{Exit, Outcome};
use super::output::{note, print_line};
use super::survey::{self, Survey, Surveyed};
use crate::types::LogIndex;
use crate::wire::{DropCause, NodeStatus, PeerStatus, Role};

pub const HELP: &str = "\
Shows how the nodes are: those given, and every peer that these name.

Usage: quorate status [flags]

Exit codes: 0 all is well, 1 there is a quorum but not all is well, 3 there is
no quorum or no answer.

Example: quorate status --server 10.0.0.1:9717
";

/// Runs `quorate status`.
pub fn run(words: &[String]) -> Outcome {
    let mut options = Options::new();
    ClientFlags::add_to(&mut options);
    let words = parse(options, words)?;
    let flags = ClientFlags::read(&words)?;
    let [] = words.expect_operands([])?;
    let survey = survey::take(&flags);
    let health = Health::of(&survey);
    if flags.json {
        print_line(&to_json(&survey, health).to_string())?;
    } else {
        print_table(&survey)?;
        note(&format!("quorate: {}: {}", health.word(), survey.sentence()));
    }
    Ok(health.exit())
}

/// How the cluster is as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// Every node answers, votes and follows the leader.
    Well,
    /// There is a leader with a quorum, but something is missing.
    Degraded,
    /// There is none.
    NoQuorum,
}

impl Health {
    fn of(survey: &Survey) -> Self {
        let Some(leader) = survey.leader() else { return Self::NoQuorum };
        let members = leader.peers.len() + 1;
        let following = |status: &&NodeStatus| {
            status.voter && status.term == leader.term && status.leader_id == Some(leader.id)
        };
        let whole = survey.answers().filter(following).count();
        if whole >= members && whole == survey.nodes.len() {
            Self::Well
        } else if whole > members / 2 {
            Self::Degraded
        } else {
            Self::NoQuorum
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Well => "all is well",
            Self::Degraded => "a quorum, but not whole",
            Self::NoQuorum => "no quorum",
        }
    }

    fn exit(self) -> Exit {
        match self {
            Self::Well => Exit::Done,
            Self::Degraded => Exit::Negative,
            Self::NoQuorum => Exit::NoAnswer,
        }
    }
}

fn print_table(survey: &Survey) -> Result<(), super::exit::Failure> {
    let width = survey.nodes.keys().map(|address| address.to_string().len()).max().unwrap_or(0);
    print_line(&format!(
        "{:>4}  {:width$}  {:9}  {:5}  {:>6}  {:>10}  {:>7}  {:>7}  {:>8}",
        "node", "address", "role", "voter", "term", "committed", "behind", "keys", "dropped"
    ))?;
    let last = survey.answers().map(|status| status.commit_index).max().unwrap_or_default();
    for (address, node) in &survey.nodes {
        print_line(&match &node.status {
            Some(status) => row(*address, status, last, width),
            None => {
                let id = node.id.map_or("?".to_owned(), |id| id.to_string());
                let address = address.to_string();
                format!("{id:>4}  {address:width$}  silent")
            }
        })?;
    }
    Ok(())
}

fn row(address: SocketAddr, status: &NodeStatus, last: LogIndex, width: usize) -> String {
    let dropped: u64 = status.dropped.iter().map(|(_, count)| count).sum();
    let address = address.to_string();
    format!(
        "{:>4}  {address:width$}  {:9}  {:5}  {:>6}  {:>10}  {:>7}  {:>7}  {dropped:>8}",
        status.id,
        role(status),
        if status.voter { "yes" } else { "no" },
        status.term,
        status.commit_index,
        last.0.saturating_sub(status.commit_index.0),
        status.keys,
    )
}

fn role(status: &NodeStatus) -> &'static str {
    match status.role {
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    }
}

fn to_json(survey: &Survey, health: Health) -> Value {
    let nodes: Vec<Value> =
        survey.nodes.iter().map(|(address, node)| node_to_json(*address, node)).collect();
    json!({ "nodes": nodes, "health": health.word(), "summary": survey.sentence() })
}

fn node_to_json(address: SocketAddr, node: &Surveyed) -> Value {
    let Some(status) = &node.status else {
        return json!({
            "id": node.id.map(|id| id.0),
            "address": address.to_string(),
            "error": "no answer within a second",
        });
    };
    json!({
        "id": status.id.0,
        "address": address.to_string(),
        "cluster": status.cluster,
        "genesis": status.genesis.map(|genesis| genesis.to_string()),
        "directory": status.directory.to_string(),
        "incarnation": status.incarnation.0,
        "role": role(status),
        "voter": status.voter,
        "term": status.term.0,
        "leader_id": status.leader_id.map(|id| id.0),
        "last_index": status.last_index.0,
        "commit_index": status.commit_index.0,
        "durable_index": status.durable_index.0,
        "keys": status.keys,
        "sessions": status.sessions,
        "uptime_us": status.uptime,
        "dropped": dropped_to_json(status),
        "peers": status.peers.iter().map(peer_to_json).collect::<Vec<_>>(),
    })
}

/// Every cause, also those that never occurred: a zero is an answer.
fn dropped_to_json(status: &NodeStatus) -> Value {
    let counts: BTreeMap<u8, u64> = status.dropped.iter().copied().collect();
    let named = DropCause::ALL.iter().map(|cause| {
        let count = counts.get(&cause.code()).copied().unwrap_or(0);
        (cause.name().to_owned(), count.into())
    });
    Value::Object(named.collect::<Map<String, Value>>())
}

fn peer_to_json(peer: &PeerStatus) -> Value {
    json!({
        "id": peer.id.0,
        "address": peer.address.to_string(),
        "voter": peer.voter,
        "heard_us_ago": peer.heard_age,
        "round_trip_us": peer.round_trip,
        "matched": peer.matched.0,
        "durable": peer.durable.0,
        "retransmitted": peer.retransmitted,
    })
}
