//! `quorate member`: who belongs to the cluster, and changes of that.

use std::net::SocketAddr;

use getopts::Options;
use serde_json::{Value, json};

use super::args::{self, ClientFlags, Words};
use super::exit::{Exit, Failure, Outcome};
use super::leader_call;
use super::output::{note, print_line};
use crate::configuration::Configuration;
use crate::types::{NODES_MAX, ServerId};
use crate::wire::{MemberChange, MemberOutcome, MemberReply};

pub const HELP: &str = "\
Shows who belongs to the cluster, and changes that.

Usage: quorate member list | add ID=ADDR:PORT | remove ID [flags]

add     lets a node in: it learns, and gets its vote by itself once it has
        caught up. Start it on an empty directory with a --peer list of all
        nodes and itself; the others need no other flags.
remove  takes a node's vote away and lets it out. A leader hands over first.
list    shows voters and learners, with the addresses of those that were added.
        It is what the leader has in its log; one that was replaced and does
        not know it yet may lack the newest change.

A node that lost its disk needs no command: start it, and it gets its vote back.
To ask again does no harm: what is so already is not changed.

Exit codes: 0 done, or so already; 3 no answer, or unknown; 4 refused, and why:
another change is pending, the quorum would be lost, it is the last voter, there
are 15 nodes already, or the address is another's.

Example: quorate member add 4=10.0.0.4:9717
";

/// Runs `quorate member`.
pub fn run(words: &[String]) -> Outcome {
    let mut options = Options::new();
    ClientFlags::add_to(&mut options);
    let words = args::parse(options, words)?;
    let flags = ClientFlags::read(&words)?;
    let change = change(&words)?;
    let reply = leader_call::change_members(&flags, change)?;
    if let Some(refusal) = refusal(&reply, change) {
        return Err(Failure::refused(refusal));
    }
    if flags.json {
        print_line(&to_json(&reply).to_string())?;
    } else if change == MemberChange::None {
        print_members(&reply)?;
        note(&format!("quorate: {}", summary(&reply)));
    } else {
        note(&format!("quorate: {}: {}", done(reply.outcome), summary(&reply)));
    }
    Ok(Exit::Done)
}

fn change(words: &Words) -> Result<MemberChange, Failure> {
    let operands: Vec<&str> = words.operands.iter().map(String::as_str).collect();
    match operands.as_slice() {
        ["list"] => Ok(MemberChange::None),
        ["add", node] => {
            let (id, address) = node.split_once('=').ok_or_else(|| {
                Failure::usage(format!("'{node}': ID=ADDR:PORT is expected, as in 4=10.0.0.4:9717"))
            })?;
            Ok(MemberChange::Add { node: node_id(id)?, address: args::resolve(address)? })
        }
        ["remove", node] => Ok(MemberChange::Remove { node: node_id(node)? }),
        _ => Err(Failure::usage(
            "list, add ID=ADDR:PORT or remove ID is expected; --help shows an example",
        )),
    }
}

fn node_id(text: &str) -> Result<ServerId, Failure> {
    match text.parse() {
        Ok(id) if id > 0 => Ok(ServerId(id)),
        _ => Err(Failure::usage(format!("'{text}' is no node's number; they count from 1"))),
    }
}

fn refusal(reply: &MemberReply, change: MemberChange) -> Option<String> {
    let why = match reply.outcome {
        MemberOutcome::AlreadySo | MemberOutcome::Changed => return None,
        MemberOutcome::Pending => "another change is pending; ask again when it is committed",
        MemberOutcome::QuorumLost => {
            "the quorum would be lost: no majority of the voters that would be left is heard"
        }
        MemberOutcome::LastVoter => "it is the last voter",
        MemberOutcome::TooManyNodes => {
            return Some(format!("a cluster has at most {NODES_MAX} nodes; remove one first"));
        }
        MemberOutcome::AddressTaken => return Some(address_taken(&reply.configuration, change)),
        MemberOutcome::Outdated => "the members have changed meanwhile; ask again",
    };
    Some(why.to_owned())
}

/// Whose address stands in the way. Those that were there at the birth have theirs by flags.
fn address_taken(configuration: &Configuration, change: MemberChange) -> String {
    let MemberChange::Add { node, address } = change else {
        return "another node is known at this address".to_owned();
    };
    let known = configuration.addresses.iter().find(|(_, known)| **known == address);
    if configuration.lists(node) {
        let known = configuration.addresses.get(&node);
        let place = known.map_or("the address of its --peer flag".to_owned(), ToString::to_string);
        format!("node {node} is in the cluster, at {place}; remove it first to let it in elsewhere")
    } else if let Some((other, _)) = known {
        format!("{address} is the address of node {other}; give node {node} its own")
    } else {
        format!("{address} is another node's address by its --peer flag; give node {node} its own")
    }
}

fn done(outcome: MemberOutcome) -> &'static str {
    if outcome == MemberOutcome::Changed { "changed" } else { "so already" }
}

fn print_members(reply: &MemberReply) -> Result<(), Failure> {
    let configuration = &reply.configuration;
    let shown = |address: Option<&SocketAddr>| {
        address.map_or("by its flag".to_owned(), ToString::to_string)
    };
    for (id, directory) in &configuration.members {
        let address = shown(configuration.addresses.get(id));
        print_line(&format!("{id:>5}  voter    {directory}  {address}"))?;
    }
    for id in &configuration.learners {
        let address = shown(configuration.addresses.get(id));
        print_line(&format!("{id:>5}  learner  {:16}  {address}", "-"))?;
    }
    Ok(())
}

fn summary(reply: &MemberReply) -> String {
    let pending = if reply.index > reply.commit { "pending" } else { "committed" };
    format!("{}; {pending} at index {}", reply.configuration, reply.index)
}

fn to_json(reply: &MemberReply) -> Value {
    let configuration = &reply.configuration;
    let address = |id: &ServerId| configuration.addresses.get(id).map(ToString::to_string);
    let voters = configuration.members.iter().map(|(id, directory)| {
        json!({ "id": id.0, "directory": directory.to_string(), "address": address(id) })
    });
    let learners =
        configuration.learners.iter().map(|id| json!({ "id": id.0, "address": address(id) }));
    json!({
        "outcome": done(reply.outcome),
        "voters": voters.collect::<Vec<_>>(),
        "learners": learners.collect::<Vec<_>>(),
        "index": reply.index.0,
        "pending": reply.index > reply.commit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{DirectoryId, GenesisId};

    #[test]
    fn whose_address_is_taken_is_said() {
        let at = |host: u8| SocketAddr::from(([10, 0, 0, host], 9717));
        let members = [(ServerId(1), DirectoryId(1))].into();
        let mut configuration = Configuration::at_genesis(GenesisId(1), members);
        configuration.learners.insert(ServerId(4));
        configuration.addresses.insert(ServerId(4), at(4));
        let said = |node, host| {
            let change = MemberChange::Add { node: ServerId(node), address: at(host) };
            address_taken(&configuration, change)
        };
        assert!(said(4, 9).starts_with("node 4 is in the cluster, at 10.0.0.4:9717"));
        assert!(said(1, 9).starts_with("node 1 is in the cluster, at the address of its --peer"));
        assert!(said(5, 4).starts_with("10.0.0.4:9717 is the address of node 4"));
        assert!(said(5, 1).starts_with("10.0.0.1:9717 is another node's address"));
    }
}
