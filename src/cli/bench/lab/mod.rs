//! `quorate bench --loss`: clusters of its own behind links that lose datagrams.

mod flags;
mod relay;
mod table;

pub use flags::LabFlags;

use std::time::Duration;

use super::Bench;
use super::flags::BenchFlags;
use crate::cli::args::ClientFlags;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::local_cluster::{Cluster, NODES};
use crate::cli::output::{note, print_line};
use crate::cli::patience::Patience;
use crate::cli::survey;
use crate::types::Term;
use relay::{LinkQuality, Relay};
use table::Row;

/// The most clients: each takes two sockets here, and is served by a relay on this machine.
const CLIENTS_MAX: usize = 256;
/// How long a cluster may take until all follow a leader.
const START_MAX: Duration = Duration::from_secs(20);
/// What is measured begins when the nodes have seen the loss for so long.
const SETTLING: Duration = Duration::from_secs(1);

/// Runs the table, row by row.
pub fn run(flags: &BenchFlags, lab: &LabFlags) -> Outcome {
    if flags.clients > CLIENTS_MAX {
        return Err(Failure::usage(format!(
            "--clients is {}; with --loss, 1 to {CLIENTS_MAX} are expected",
            flags.clients
        )));
    }
    let patience = Patience::new(at_most(flags, lab))?;
    let for_people = |line: &str| if flags.client.json { Ok(()) } else { print_line(line) };
    for_people(&table::headline(flags, lab))?;
    for_people(table::HEADS)?;
    let mut rows = Vec::new();
    for loss in &lab.losses {
        let row = measure(*loss, flags, lab, &patience)?;
        for_people(&row.to_text())?;
        rows.push(row);
    }
    if flags.client.json {
        print_line(&table::to_json(flags, lab, &rows).to_string())?;
    }
    let silent = rows.iter().find(|row| row.commits.ops == 0);
    Ok(silent.map_or(Exit::Done, |row| {
        note(&format!("quorate: at {} % loss not one operation was answered", row.loss));
        Exit::NoAnswer
    }))
}

/// How long all of it may take: each row starts a cluster, and asks it twice who leads.
fn at_most(flags: &BenchFlags, lab: &LabFlags) -> Duration {
    let rows = u32::try_from(lab.losses.len()).unwrap_or(u32::MAX);
    (flags.duration + flags.client.timeout + SETTLING + 3 * START_MAX) * rows
}

/// One row: a cluster that has never seen another loss.
fn measure(
    loss: u8,
    flags: &BenchFlags,
    lab: &LabFlags,
    patience: &Patience,
) -> Result<Row, Failure> {
    let burst = lab.burst.map(f64::from);
    let quality = LinkQuality { delay: lab.delay, burst, seed: lab.seed };
    let mut cluster = Cluster::new("bench")?;
    let mut relay = None;
    cluster.start_behind(patience, |listening| {
        let (started, fronts) = Relay::start(listening, quality)?;
        relay = Some(started);
        Ok(fronts)
    })?;
    let relay = relay.expect("a cluster that has started has got its relay");
    let flags = BenchFlags {
        client: ClientFlags {
            servers: cluster.flags().servers,
            keys: cluster.flags().keys,
            ..flags.client.clone()
        },
        ..flags.clone()
    };
    let term_before = settled_term(&mut cluster, patience)?;

    relay.set_loss(loss);
    patience.wait(SETTLING, || cluster.check().map(|()| None::<()>))?;
    let before = relay.counts();
    let mut bench = Bench::new(flags)?;
    bench.measure()?;
    let counts = relay.counts().since(before);

    // Who leads is asked on clean links.
    relay.set_loss(0);
    patience.check()?;
    let elections = settled_term(&mut cluster, patience)?.0 - term_before.0;
    let figures = &bench.figures;
    Ok(Row {
        loss,
        took: bench.ended.since(bench.started),
        commits: figures.writes(),
        longest_gap: figures.longest_gap(),
        unanswered: [figures.errors, figures.unknown],
        elections,
        counts,
    })
}

/// The term once all nodes follow one leader.
fn settled_term(cluster: &mut Cluster, patience: &Patience) -> Result<Term, Failure> {
    let flags = cluster.flags();
    let found = patience.wait(START_MAX, || {
        cluster.check()?;
        let survey = survey::take(&flags);
        let Some(leader) = survey.leader() else { return Ok(None) };
        let follows = survey.answers().filter(|status| status.term == leader.term).count();
        Ok((follows == NODES).then_some(leader.term))
    })?;
    found.ok_or_else(|| {
        let sentence = survey::take(&flags).sentence();
        Failure::no_answer(format!("the nodes do not all follow one leader; {sentence}"))
    })
}
