//! How a run is told: lines for people, an object for machines.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cli::exit::Failure;
use crate::cli::output::print_line;
use crate::sim::Report;

/// How many counters of faults fit 80 columns.
const FAULTS_PER_LINE: usize = 2;

/// Prints what came of one seed.
pub fn print(report: &Report) -> Result<(), Failure> {
    let [answered, refused, unknown] = report.operations;
    let [written, installed] = report.snapshots;
    let seconds = Duration::from_micros(report.virtual_time).as_secs_f64();
    print_line(&format!(
        "seed {}: {} nodes, {seconds:.1} simulated seconds",
        report.seed, report.nodes
    ))?;
    print_line(&format!(
        "  {} events, {} leaders, {} entries committed, {} of them changes of the members",
        report.events, report.leaders, report.committed, report.changes
    ))?;
    print_line(&format!("  snapshots: {written} written, {installed} sent to nodes that lagged"))?;
    print_line(&format!(
        "  operations: {answered} answered, {refused} refused, {unknown} unknown"
    ))?;
    if let Some(loss) = &report.waived {
        print_line(&format!("  it did not recover, and had not to: {loss}"))?;
    }
    print_faults(report.faults.iter().copied())?;
    print_line(&format!("checksum {:016x}", report.checksum))
}

/// Prints how often which faults were injected.
pub fn print_faults(faults: impl Iterator<Item = (&'static str, u64)>) -> Result<(), Failure> {
    let injected: Vec<String> = faults
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    print_line(if injected.is_empty() { "  no faults" } else { "  faults:" })?;
    for faults in injected.chunks(FAULTS_PER_LINE) {
        print_line(&format!("    {}", faults.join(", ")))?;
    }
    Ok(())
}

/// What came of one seed.
pub fn to_json(report: &Report) -> Value {
    let [answered, refused, unknown] = report.operations;
    json!({
        "seed": report.seed,
        "nodes": report.nodes,
        "virtual_us": report.virtual_time,
        "events": report.events,
        "leaders": report.leaders,
        "committed": report.committed,
        "snapshots": report.snapshots[0],
        "installed": report.snapshots[1],
        "changes": report.changes,
        "answered": answered,
        "refused": refused,
        "unknown": unknown,
        "waived": report.waived,
        "faults": faults_to_json(report.faults.iter().copied()),
        "checksum": format!("{:016x}", report.checksum),
    })
}

/// How often which faults were injected.
pub fn faults_to_json(faults: impl Iterator<Item = (&'static str, u64)>) -> Map<String, Value> {
    faults.map(|(kind, count)| (kind.to_owned(), count.into())).collect()
}
