//! `quorate status`: how the nodes are, at a glance.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use getopts::Options;
use indicatif::{HumanBytes, HumanDuration};
use serde_json::{Map, Value, json};

use super::args::{ClientFlags, parse};
use super::exit::{Exit, Failure, Outcome};
use super::inquiry::Inquiry;
use super::output::{note, print_line, print_table};
use super::survey::{self, Survey, Surveyed};
use super::traffic::{self, Counted};
use crate::daemon::random_u64;
use crate::types::{LogIndex, ServerId};
use crate::wire::{
    DiskStatus, DropCause, MemberChange, MemberRequest, Message, NodeStatus, PeerStatus, Role,
    ScrubStatus,
};

pub const HELP: &str = "\
Shows how the nodes are: those given, and every peer that these name.

Usage: quorate status [flags]

Exit codes: 0 all is well, 1 there is a quorum but not all is well, 3 there is
no quorum or no answer.

A node drops frames that are not meant for it or that it cannot believe. Causes
that point at a mistake: cluster (another --cluster), sender (not in the --peer
list), address (listed, but with another address), genesis (another cluster of
the same name), key and checksum.

Frames that are lost on a way between two nodes are shown with it, as are those
that were sent again (resent: since they were lost; copies: lest they are).

The longest turn is the longest time of the last minute or two in which a node
heard nobody, since it was at work or the machine was; --json also says the
longest time that it ran itself.

Example: quorate status --server 10.0.0.1:9717
";

/// Runs `quorate status`.
pub fn run(words: &[String]) -> Outcome {
    let mut options = Options::new();
    ClientFlags::add_to(&mut options);
    let words = parse(options, words)?;
    let flags = ClientFlags::read(&words)?;
    let [] = words.expect_operands([])?;
    let denied = |error| Failure::system("a socket", &error);
    let mut inquiry = Inquiry::open_patiently(&flags).map_err(denied)?;
    let survey = survey::take_by(&mut inquiry, &flags);
    let counted = traffic::ask(&mut inquiry, &survey);
    let voters = count_voters(&mut inquiry, &survey);
    let health = Health::of(&survey, voters);
    if flags.json {
        print_line(&to_json(&survey, &counted, health).to_string())?;
    } else {
        print_nodes(&survey)?;
        traffic::print_denials(&counted)?;
        traffic::print(&counted, &survey)?;
        turns_line(&survey).map_or(Ok(()), |line| print_line(&line))?;
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
    /// How all is where so many votes are counted, if the leader has said how many.
    fn of(survey: &Survey, voters: Option<usize>) -> Self {
        let Some(leader) = survey.leader() else { return Self::NoQuorum };
        // Whom a flag lists, and the log does not, is not missed.
        let listed: Vec<ServerId> =
            leader.peers.iter().filter(|peer| peer.listed).map(|peer| peer.id).collect();
        let is_missed =
            |node: &&Surveyed| node.id.is_none_or(|id| id == leader.id || listed.contains(&id));
        let members = listed.len() + 1;
        let expected = survey.nodes.values().filter(is_missed).count();
        let follows = |status: &&NodeStatus| {
            status.voter && status.term == leader.term && status.leader_id == Some(leader.id)
        };
        let is_well = |status: &&NodeStatus| {
            let keeps_pace =
                leader.peers.iter().all(|peer| peer.id != status.id || !peer.falls_behind);
            let disk = &status.disk;
            let is_intact =
                disk.missing_from.is_none() && disk.scrub.damaged == disk.scrub.repaired;
            is_intact && !disk.low && keeps_pace
        };
        // Whoever follows is part of the quorum, however full its disk is.
        let votes = survey.answers().filter(follows).count();
        let whole = survey.answers().filter(follows).filter(is_well).count();
        if votes <= voters.unwrap_or_else(|| known_voters(survey)) / 2 {
            Self::NoQuorum
        } else if whole >= members && whole == expected {
            Self::Well
        } else {
            Self::Degraded
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

/// How many votes the leader counts, by its log; none: it does not say. A status does not tell
/// members that were not heard of late from nodes that only learn.
fn count_voters(inquiry: &mut Inquiry, survey: &Survey) -> Option<usize> {
    let leader = survey.leader()?.id;
    let leads = |node: &Surveyed| node.status.as_ref().is_some_and(|status| status.id == leader);
    let (address, _) = survey.nodes.iter().find(|(_, node)| leads(node))?;
    let nonce = random_u64();
    let question = MemberRequest { nonce, seen: LogIndex(0), change: MemberChange::None };
    let read = |message| match message {
        Message::MemberReply(reply) if reply.nonce == nonce => {
            Some(reply.configuration.members.len())
        }
        _ => None,
    };
    inquiry.ask_each(&[*address], Message::MemberRequest(question), read).into_values().next()
}

/// How many nodes are known to vote, by their own word or another's. A leader has heard a
/// majority of the members, so those are most of them.
fn known_voters(survey: &Survey) -> usize {
    let voters = survey.answers().flat_map(|status| {
        let peers = status.peers.iter().map(|peer| (peer.id, peer.voter));
        peers.chain([(status.id, status.voter)])
    });
    let ids: BTreeSet<ServerId> = voters.filter(|(_, votes)| *votes).map(|(id, _)| id).collect();
    ids.len()
}

/// What stands above the columns of the table.
const HEADS: [&str; 8] =
    ["node", "address", "role", "term", "committed", "behind", "keys", "dropped"];
/// The columns of words; the others are numbers, which end below each other.
const WORDS: [usize; 2] = [1, 2];

fn print_nodes(survey: &Survey) -> Result<(), Failure> {
    let last = survey.answers().map(|status| status.commit_index).max().unwrap_or_default();
    let mut rows = vec![HEADS.map(str::to_owned).to_vec()];
    for (address, node) in &survey.nodes {
        rows.push(match &node.status {
            Some(status) => row(*address, status, last),
            None => {
                let id = node.id.map_or("?".to_owned(), |id| id.to_string());
                let of_another = survey.strangers.cluster_at(*address);
                let standing = of_another.map_or("silent".to_owned(), |name| format!("of {name}"));
                vec![id, address.to_string(), standing]
            }
        });
    }
    print_table(&rows, &WORDS)?;
    survey.answers().filter_map(dropped_line).try_for_each(|line| print_line(&line))?;
    survey.answers().flat_map(disk_lines).try_for_each(|line| print_line(&line))?;
    survey.leader().map_or_else(Vec::new, behind_lines).iter().try_for_each(|line| print_line(line))
}

/// Who takes in less than is written, as the leader sees it.
fn behind_lines(leader: &NodeStatus) -> Vec<String> {
    let behind = leader.peers.iter().filter(|peer| peer.falls_behind);
    let line = |peer: &PeerStatus| {
        let lacks = leader.last_index.0.saturating_sub(peer.matched.0);
        format!(
            "node {} is falling behind: it takes in less than is written; it lacks {lacks} entries",
            peer.id
        )
    };
    behind.map(line).collect()
}

/// How long each node that answers was busy without a break, so that all else had to wait.
fn turns_line(survey: &Survey) -> Option<String> {
    let turn = |status: &NodeStatus| {
        let time = status.longest_turn.wall;
        format!("node {} {}.{} ms", status.id, time / 10, time % 10)
    };
    let turns: Vec<String> = survey.answers().map(turn).collect();
    (!turns.is_empty()).then(|| format!("longest turn: {}", turns.join(", ")))
}

/// What is not well with the node's disk, and what is being done about it.
fn disk_lines(status: &NodeStatus) -> Vec<String> {
    let (id, disk) = (status.id, &status.disk);
    let damage = disk.missing_from.map(|first| {
        format!("node {id} cannot read its log from entry {first} on, and seeks it at the others")
    });
    let low = disk.low.then(|| {
        let free = HumanBytes(disk.free.unwrap_or(0));
        format!("node {id} has {free} of disk left: it takes deletes and reads, and no more")
    });
    let fetching = disk.fetching.map(|(index, bytes)| {
        format!("node {id} fetches the snapshot of entry {index}: {} so far", HumanBytes(bytes))
    });
    let scrub = (disk.scrub.damaged > 0).then(|| scrub_line(id, disk.scrub));
    [damage, low, fetching, scrub].into_iter().flatten().collect()
}

fn scrub_line(id: ServerId, scrub: ScrubStatus) -> String {
    let ScrubStatus { passed_age, damaged, repaired } = scrub;
    let ago = |age| format!("{} ago", HumanDuration(Duration::from_secs(u64::from(age))));
    let passed = passed_age.map_or("not yet".to_owned(), ago);
    let places = if damaged == 1 { "place" } else { "places" };
    format!(
        "node {id} found its disk damaged in {damaged} {places}, {repaired} of them repaired; \
         all of it was last read again {passed}"
    )
}

fn disk_to_json(disk: &DiskStatus) -> Value {
    json!({
        "snapshot_index": disk.snapshot_index.0,
        "free_bytes": disk.free,
        "low": disk.low,
        "missing_from": disk.missing_from.map(|index| index.0),
        "fetching_index": disk.fetching.map(|(index, _)| index.0),
        "fetched_bytes": disk.fetching.map(|(_, bytes)| bytes),
        "scrub_passed_s_ago": disk.scrub.passed_age,
        "scrub_damaged": disk.scrub.damaged,
        "scrub_repaired": disk.scrub.repaired,
    })
}

fn row(address: SocketAddr, status: &NodeStatus, last: LogIndex) -> Vec<String> {
    let dropped: u64 = status.dropped.iter().map(|(_, count)| count).sum();
    vec![
        status.id.to_string(),
        address.to_string(),
        if status.voter { role(status) } else { "non-voter" }.to_owned(),
        status.term.to_string(),
        status.commit_index.to_string(),
        last.0.saturating_sub(status.commit_index.0).to_string(),
        status.keys.to_string(),
        dropped.to_string(),
    ]
}

/// What the node dropped and why, unless it dropped nothing.
fn dropped_line(status: &NodeStatus) -> Option<String> {
    let causes: Vec<String> = DropCause::ALL
        .iter()
        .map(|cause| (cause.name(), dropped_for(status, *cause)))
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    (!causes.is_empty()).then(|| format!("node {} dropped: {}", status.id, causes.join(", ")))
}

fn dropped_for(status: &NodeStatus, cause: DropCause) -> u64 {
    let counts = status.dropped.iter().filter(|(code, _)| *code == cause.code());
    counts.map(|(_, count)| count).sum()
}

fn role(status: &NodeStatus) -> &'static str {
    match status.role {
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    }
}

fn to_json(survey: &Survey, counted: &Counted, health: Health) -> Value {
    let node = |(address, node): (&SocketAddr, &Surveyed)| match &node.status {
        Some(status) => node_to_json(*address, status, counted),
        None => silent_to_json(*address, node, survey),
    };
    let nodes: Vec<Value> = survey.nodes.iter().map(node).collect();
    json!({ "nodes": nodes, "health": health.word(), "summary": survey.sentence() })
}

fn silent_to_json(address: SocketAddr, node: &Surveyed, survey: &Survey) -> Value {
    let error = match survey.strangers.cluster_at(address) {
        Some(cluster) => format!("it is a node of cluster {cluster}"),
        None => "no answer in time".to_owned(),
    };
    json!({ "id": node.id.map(|id| id.0), "address": address.to_string(), "error": error })
}

fn node_to_json(address: SocketAddr, status: &NodeStatus, counted: &Counted) -> Value {
    let peer = |peer| peer_to_json(peer, &traffic::ways_to_json(counted, status.id, peer.id));
    let peers: Vec<Value> = status.peers.iter().map(peer).collect();
    json!({
        "id": status.id.0,
        "address": address.to_string(),
        "cluster": status.cluster,
        "genesis": status.genesis.map(|genesis| genesis.to_string()),
        "directory": status.directory.to_string(),
        "incarnation": status.incarnation.0,
        "role": role(status),
        "voter": status.voter,
        "sealed": status.sealed,
        "term": status.term.0,
        "leader_id": status.leader_id.map(|id| id.0),
        "last_index": status.last_index.0,
        "commit_index": status.commit_index.0,
        "durable_index": status.durable_index.0,
        "keys": status.keys,
        "sessions": status.sessions,
        "uptime_us": status.uptime,
        "longest_turn_us": u32::from(status.longest_turn.wall) * 100,
        "longest_turn_cpu_us": u32::from(status.longest_turn.cpu) * 100,
        "dropped": dropped_to_json(status),
        "denied": traffic::denied_to_json(counted, status.id),
        "socket": traffic::socket_to_json(counted, status.id),
        "disk": disk_to_json(&status.disk),
        "peers": peers,
    })
}

/// Every cause, also those that never occurred: a zero is an answer.
fn dropped_to_json(status: &NodeStatus) -> Value {
    let named = DropCause::ALL
        .iter()
        .map(|cause| (cause.name().to_owned(), dropped_for(status, *cause).into()));
    Value::Object(named.collect::<Map<String, Value>>())
}

fn peer_to_json(peer: &PeerStatus, ways: &Value) -> Value {
    json!({
        "id": peer.id.0,
        "address": peer.address.to_string(),
        "voter": peer.voter,
        "listed": peer.listed,
        "key": peer.key,
        "heard_ms_ago": peer.heard_age,
        "round_trip_us": peer.round_trip,
        "matched": peer.matched.0,
        "durable": peer.durable.0,
        "retransmitted": peer.retransmitted,
        "falling_behind": peer.falls_behind,
        "ways": ways,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{DirectoryId, GenesisId, Incarnation, Term};
    use crate::wire::TurnTimes;

    /// What a node is in a survey.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Is {
        Leader,
        Voter,
        LowVoter,
        Learner,
        /// A member that was not heard since the leader was started.
        SilentVoter,
        SilentLearner,
        /// A voter that follows nobody.
        Lost,
    }
    use Is::{Leader, Learner, Lost, LowVoter, SilentLearner, SilentVoter, Voter};

    fn address(id: u16) -> SocketAddr {
        ([127, 0, 0, 1], 9_000 + id).into()
    }

    fn status(id: u16, is: Is, peers: Vec<PeerStatus>) -> NodeStatus {
        NodeStatus {
            nonce: 1,
            id: ServerId(id),
            cluster: "quorate".into(),
            genesis: Some(GenesisId(5)),
            directory: DirectoryId(id.into()),
            incarnation: Incarnation(1),
            role: if is == Leader { Role::Leader } else { Role::Follower },
            voter: is != Learner,
            sealed: false,
            term: Term(3),
            leader_id: (is != Lost).then_some(ServerId(1)),
            last_index: LogIndex(9),
            commit_index: LogIndex(9),
            durable_index: LogIndex(9),
            keys: 1,
            sessions: 1,
            uptime: 1,
            longest_turn: TurnTimes::default(),
            dropped: Vec::new(),
            disk: DiskStatus { low: is == LowVoter, ..DiskStatus::default() },
            peers,
        }
    }

    fn peer(id: u16, is: Is) -> PeerStatus {
        PeerStatus {
            id: ServerId(id),
            address: address(id),
            voter: ![Learner, SilentLearner, SilentVoter].contains(&is),
            listed: true,
            key: 0,
            heard_age: None,
            round_trip: None,
            matched: LogIndex(9),
            durable: LogIndex(9),
            retransmitted: 0,
            falls_behind: false,
        }
    }

    /// How a cluster is of which node 1 leads, where the members are known to the client or not.
    fn health(nodes: &[Is], members_known: bool) -> Health {
        let with_ids = || (1..).zip(nodes.iter().copied());
        let mut survey = Survey::default();
        for (id, is) in with_ids() {
            let is_silent = [SilentVoter, SilentLearner].contains(&is);
            let peers = with_ids().filter(|(other, _)| *other != id);
            let peers = peers.map(|(other, is)| peer(other, is)).collect();
            let status = (!is_silent).then(|| status(id, is, peers));
            survey.nodes.insert(address(id), Surveyed { id: Some(ServerId(id)), status });
        }
        let learns = |is: &&Is| [Learner, SilentLearner].contains(is);
        let voters = nodes.iter().filter(|is| !learns(is)).count();
        Health::of(&survey, members_known.then_some(voters))
    }

    #[test]
    fn those_that_only_learn_have_no_part_in_the_quorum() {
        for members_known in [true, false] {
            let health = |nodes: &[Is]| health(nodes, members_known);
            assert_eq!(health(&[Leader]), Health::Well);
            assert_eq!(health(&[Leader, SilentLearner]), Health::Degraded);
            assert_eq!(health(&[Leader, Learner]), Health::Degraded);
            assert_eq!(health(&[Leader, Voter, Lost, SilentLearner]), Health::Degraded);
            assert_eq!(health(&[Leader, Lost, Lost]), Health::NoQuorum);
            assert_eq!(health(&[Leader, Lost, Learner, Learner]), Health::NoQuorum);
            assert_eq!(health(&[Voter, Voter, Voter]), Health::NoQuorum, "nobody leads");
        }
    }

    #[test]
    fn members_that_were_not_heard_count_as_votes_that_are_missing() {
        assert_eq!(health(&[Leader, Voter, SilentVoter], true), Health::Degraded);
        assert_eq!(health(&[Leader, SilentVoter, SilentVoter], true), Health::NoQuorum);
        assert_eq!(health(&[Leader, Voter, SilentVoter, SilentVoter], true), Health::NoQuorum);
    }

    #[test]
    fn a_vote_counts_whatever_its_disk_has_room_for() {
        assert_eq!(health(&[Leader, LowVoter, LowVoter], true), Health::Degraded);
    }
}
