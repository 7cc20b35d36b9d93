//! `quorate timeouts`: how long each node lets another be silent, and why.

use std::collections::BTreeMap;
use std::iter;
use std::net::SocketAddr;

use getopts::Options;
use serde_json::{Value, json};

use super::args::{ClientFlags, parse};
use super::exit::{Exit, Failure, Outcome};
use super::inquiry::Inquiry;
use super::output::{print_line, print_table};
use super::survey;
use super::traffic::share;
use crate::daemon::random_u64;
use crate::link::formula;
use crate::types::{LossShare, ServerId};
use crate::wire::{Judgment, Message, PeerTimeouts, TimeoutBasis, Timeouts, TimeoutsRequest};

pub const HELP: &str = "\
Shows how long each node lets another be silent, and what that follows from: of
the nodes given, and every peer that these name.

Usage: quorate timeouts [flags]

A leader that is silent to a follower for longer is replaced; a leader to which
a majority is silent for longer steps down. Two nodes of which neither leads do
not judge each other. The last column says what has decided the timeout: the
formula; a silence that ended and may come again; too little being known yet of
the way; or a flag of quorate run.

Example: quorate timeouts --server 10.0.0.1:9717
";

/// What stands above the columns.
const HEADS: [&str; 11] =
    ["node", "peer", "trip", "vary", "to", "from", "silence", "rounds", "every", "timeout", "by"];
/// The last one is of words.
const WORDS: [usize; 1] = [10];
const LEGEND: &str = "\
trip: round trip, vary: its variation; to, from: share of frames lost on the way
to the peer, and from it; silence: the longest of the last ten minutes; every:
heartbeat interval. Times are in milliseconds.";

/// Runs `quorate timeouts`.
pub fn run(words: &[String]) -> Outcome {
    let mut options = Options::new();
    ClientFlags::add_to(&mut options);
    let words = parse(options, words)?;
    let flags = ClientFlags::read(&words)?;
    let [] = words.expect_operands([])?;
    let mut inquiry =
        Inquiry::open_patiently(&flags).map_err(|error| Failure::system("a socket", &error))?;
    let survey = survey::take_by(&mut inquiry, &flags);
    let nonce = random_u64();
    let request = Message::TimeoutsRequest(TimeoutsRequest { nonce });
    let answers = inquiry.ask_each(&survey.answering(), request, |message| match message {
        Message::Timeouts(timeouts) if timeouts.nonce == nonce => Some(timeouts),
        _ => None,
    });
    if answers.is_empty() {
        let misled = survey.strangers.failure();
        return Err(misled.unwrap_or_else(|| Failure::no_answer(survey.sentence())));
    }
    if flags.json {
        print_line(&to_json(&answers).to_string())?;
    } else {
        print_for_people(&answers)?;
    }
    Ok(Exit::Done)
}

fn print_for_people(answers: &BTreeMap<SocketAddr, Timeouts>) -> Result<(), Failure> {
    let mut by_id: Vec<&Timeouts> = answers.values().collect();
    by_id.sort_by_key(|timeouts| timeouts.id);
    let mut rows = vec![HEADS.map(str::to_owned).to_vec()];
    for node in &by_id {
        rows.extend(node.peers.iter().map(|peer| row(node.id, peer)));
    }
    print_table(&rows, &WORDS)?;
    print_line(LEGEND)?;
    formula().iter().try_for_each(|line| print_line(line))?;
    by_id.iter().flat_map(|node| results(node)).try_for_each(|line| print_line(&line))
}

fn row(node: ServerId, peer: &PeerTimeouts) -> Vec<String> {
    let [there, back] = peer.losses.map(percent);
    let judged = |of: &dyn Fn(&Judgment) -> String| match &peer.judgment {
        Some(judgment) => of(judgment),
        None => "-".to_owned(),
    };
    vec![
        node.to_string(),
        peer.id.to_string(),
        peer.round_trip.map_or_else(|| "-".to_owned(), millis),
        millis(peer.variation),
        there,
        back,
        millis(peer.longest_silence),
        judged(&|judgment| judgment.rounds.to_string()),
        judged(&|judgment| millis(judgment.interval)),
        judged(&|judgment| millis(judgment.timeout)),
        judged(&|judgment| name(judgment.basis).to_owned()),
    ]
}

/// How long the node waits as a whole, and what of that is pinned.
fn results(node: &Timeouts) -> Vec<String> {
    let waits = match node.leader_id {
        Some(leader) if leader == node.id => "leads, and waits for its followers".to_owned(),
        Some(leader) => format!("follows node {leader}, and waits for it"),
        None => "follows nobody, and waits for a leader".to_owned(),
    };
    let result = format!("node {} {waits} {} ms", node.id, millis(node.election_timeout));
    let pins = [("--election-timeout", node.pinned_timeout), ("--heartbeat", node.pinned_interval)];
    let pinned = pins.into_iter().filter_map(|(flag, time)| {
        Some(format!("node {} runs with {flag}, which pins {} ms", node.id, millis(time?)))
    });
    iter::once(result).chain(pinned).collect()
}

/// Microseconds as milliseconds with one decimal.
fn millis(micros: u32) -> String {
    format!("{:.1}", f64::from(micros) / 1_000.0)
}

fn percent(loss: LossShare) -> String {
    format!("{:.1}%", share(loss) * 100.0)
}

fn name(basis: TimeoutBasis) -> &'static str {
    match basis {
        TimeoutBasis::Unmeasured => "default",
        TimeoutBasis::Formula => "formula",
        TimeoutBasis::Silence => "silence",
        TimeoutBasis::Pinned => "pinned",
    }
}

fn to_json(answers: &BTreeMap<SocketAddr, Timeouts>) -> Value {
    let node = |(address, node): (&SocketAddr, &Timeouts)| {
        json!({
            "id": node.id.0,
            "address": address.to_string(),
            "leader_id": node.leader_id.map(|id| id.0),
            "election_timeout_us": node.election_timeout,
            "pinned_election_timeout_us": node.pinned_timeout,
            "pinned_heartbeat_us": node.pinned_interval,
            "peers": node.peers.iter().map(peer_to_json).collect::<Vec<_>>(),
        })
    };
    json!({ "formula": formula(), "nodes": answers.iter().map(node).collect::<Vec<_>>() })
}

fn peer_to_json(peer: &PeerTimeouts) -> Value {
    let judgment = peer.judgment.as_ref();
    json!({
        "id": peer.id.0,
        "round_trip_us": peer.round_trip,
        "variation_us": peer.variation,
        "loss_to": share(peer.losses[0]),
        "loss_from": share(peer.losses[1]),
        "measured": peer.enough,
        "congested": peer.congested,
        "longest_silence_us": peer.longest_silence,
        "rounds": judgment.map(|judgment| judgment.rounds),
        "heartbeat_us": judgment.map(|judgment| judgment.interval),
        "timeout_us": judgment.map(|judgment| judgment.timeout),
        "decided_by": judgment.map(|judgment| name(judgment.basis)),
    })
}
