//! The events of a scenario, and what they do on the stage.

use std::time::Duration;

use quorate::types::{ServerId, Term};

use super::client;
use super::member::{Member, ids};
use super::stage::{Stage, Way};

/// Lets the event happen.
pub fn perform(command: &str, stage: &mut Stage) -> Result<(), String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    match words[..] {
        ["cluster", "of", size] => gather(stage, number(size)?, true),
        ["blank", "nodes", size] => gather(stage, number(size)?, false),
        ["log", id, "term", term, ref terms @ ..] => replace_log(stage, id, term, terms)?,
        ["start", ref ids @ ..] => each(ids, |id| stage.start(id))?,
        ["kill", ref ids @ ..] => each(ids, |id| stage.member(id).kill())?,
        ["wipe", ref ids @ ..] => each(ids, |id| stage.member(id).wipe())?,
        ["slow", "disk", id] => stage.member(node(id)?).is_slow = true,
        ["sync", id] => stage.sync(node(id)?)?,
        ["time", "out", id] => stage.time_out(node(id)?)?,
        ["run", "until", id, "sends", kind] => stage.run_until_sent(node(id)?, kind)?,
        ["run", time] => {
            let time = duration(time)?;
            stage.quietly(|stage| stage.run(time));
        }
        ["elect", id] => elect(stage, node(id)?)?,
        ["quietly", ref rest @ ..] => {
            stage.quietly(|stage| perform(&rest.join(" "), stage))?;
        }
        ["show"] => stage.show(),
        [client, "asks", to, ref words @ ..] => ask(stage, client, to, words)?,
        [client, "repeats", "at", to] => repeat(stage, client, to)?,
        _ => network(&words, stage)?,
    }
    Ok(())
}

/// What happens to frames on their way.
fn network(words: &[&str], stage: &mut Stage) -> Result<(), String> {
    match *words {
        ["deliver"] => stage.deliver(|_| true),
        ["deliver", ref way @ ..] => {
            let ways = ways(way, stage)?;
            stage.deliver(|way| ways.contains(&way));
        }
        ["settle"] => stage.settle(|_| true),
        ["settle", ref way @ ..] => {
            let ways = ways(way, stage)?;
            stage.settle(|way| ways.contains(&way));
        }
        ["lose", kind, ref way @ ..] => {
            let ways = ways(way, stage)?;
            stage.lose(kind, |way| ways.contains(&way));
        }
        ["cut", ref way @ ..] => ways(way, stage)?.into_iter().for_each(|way| stage.cut(way)),
        ["mend", ref way @ ..] => ways(way, stage)?.into_iter().for_each(|way| stage.mend(way)),
        ["keep", "back", ref way @ ..] => {
            ways(way, stage)?.into_iter().for_each(|way| stage.keep_back(way));
        }
        ["let", "go", ref way @ ..] => {
            ways(way, stage)?.into_iter().for_each(|way| stage.let_go(way));
        }
        _ => return Err("there is no such event".into()),
    }
    Ok(())
}

fn gather(stage: &mut Stage, size: usize, is_born: bool) {
    let member = |id| {
        if is_born { Member::with_log(id, size, &[], Term(0)) } else { Member::blank(id) }
    };
    stage.members = ids(size).map(|id| (id, member(id))).collect();
    if is_born {
        ids(size).for_each(|id| stage.start(id));
    }
}

/// The node waits until it asks for votes, and all frames arrive that follow from that. Those
/// arrive too by which it looks before whether anything comes back from its leader.
fn elect(stage: &mut Stage, id: ServerId) -> Result<(), String> {
    stage.quietly(|stage| {
        stage.time_out_until_sent(id, "VoteRequest")?;
        stage.settle(|_| true);
        Ok(())
    })
}

fn replace_log(stage: &mut Stage, id: &str, term: &str, terms: &[&str]) -> Result<(), String> {
    let (id, size) = (node(id)?, stage.size());
    let to_term = |word: &&str| number(word).map(|term: u64| Term(term));
    let terms: Vec<Term> = terms.iter().map(to_term).collect::<Result<_, _>>()?;
    stage.members.insert(id, Member::with_log(id, size, &terms, Term(number(term)?)));
    Ok(())
}

fn ask(stage: &mut Stage, name: &str, to: &str, words: &[&str]) -> Result<(), String> {
    let client = client_name(name)?;
    let nth = stage.asked.get(&client).map_or(1, |(nth, _)| nth + 1);
    let frame = client::frame(client, nth, words)?;
    stage.asked.insert(client, (nth, frame.clone()));
    stage.ask(client, node(to)?, &frame)
}

fn repeat(stage: &mut Stage, name: &str, to: &str) -> Result<(), String> {
    let client = client_name(name)?;
    let (_, frame) = stage.asked.get(&client).ok_or("it has asked nothing yet")?.clone();
    stage.ask(client, node(to)?, &frame)
}

/// All ways from some nodes to others, `1 -> 2,3`, or in both directions, `1 <-> all`.
fn ways(words: &[&str], stage: &Stage) -> Result<Vec<Way>, String> {
    let mut ways = Vec::new();
    let [from, arrow, to] = *words else { return Err("a way is two nodes and an arrow".into()) };
    for from in some_nodes(from, stage)? {
        for to in some_nodes(to, stage)? {
            match arrow {
                "->" => ways.push((from, to)),
                "<->" => ways.extend([(from, to), (to, from)]),
                _ => return Err(format!("{arrow} is no arrow")),
            }
        }
    }
    ways.retain(|(from, to)| from != to);
    Ok(ways)
}

/// One node, several with commas between them, or `all`.
fn some_nodes(word: &str, stage: &Stage) -> Result<Vec<ServerId>, String> {
    if word == "all" {
        Ok(ids(stage.size()).collect())
    } else {
        word.split(',').map(node).collect()
    }
}

fn each(words: &[&str], mut act: impl FnMut(ServerId)) -> Result<(), String> {
    words.iter().try_for_each(|word| node(word).map(&mut act))
}

fn node(word: &str) -> Result<ServerId, String> {
    number(word).map(ServerId)
}

fn client_name(word: &str) -> Result<char, String> {
    let mut letters = word.chars();
    match (letters.next(), letters.next()) {
        (Some(letter @ 'a'..='z'), None) => Ok(letter),
        _ => Err(format!("{word} is no client")),
    }
}

fn number<N: std::str::FromStr>(word: &str) -> Result<N, String> {
    word.parse().map_err(|_| format!("{word} is no number"))
}

fn duration(word: &str) -> Result<Duration, String> {
    if let Some(millis) = word.strip_suffix("ms") {
        return number(millis).map(Duration::from_millis);
    }
    let seconds = word.strip_suffix('s').ok_or_else(|| format!("{word} is no time"))?;
    number(seconds).map(Duration::from_secs)
}
