//! What a directory still has of its cluster, said in words.

use serde_json::{Value, json};

use super::inspect::describe_doubt;
use super::output::note;
use crate::disk::{Examination, Recovered};

/// Says what there is, what is damaged, and what is missing.
pub fn say(found: &Examination) {
    note(&format!("quorate: {}", describe(&found.recovered)));
    for line in damage(found).chain(doubt(&found.recovered)).chain(set_aside(found)) {
        note(&format!("quorate: {line}"));
    }
}

/// How far the log can be read, and how much of that was known to be committed.
fn describe(held: &Recovered) -> String {
    let (term, last) = held.log_end();
    let beyond = match last.0.saturating_sub(held.commit.0) {
        0 => String::new(),
        1 => "; the entry above may have been acknowledged, and counts".to_owned(),
        more => format!("; the {more} entries above may have been acknowledged, and count"),
    };
    format!(
        "node {} of cluster {}: its log can be read to entry {last} of term {term}, and was known \
         to be committed to {}{beyond}",
        held.identity.id, held.identity.cluster, held.commit
    )
}

/// What the directory lacks that it may have acknowledged, a line for each place; nothing if it
/// lacks nothing.
pub fn missing(found: &Examination) -> Vec<String> {
    if found.recovered.doubt.is_none() {
        return Vec::new();
    }
    damage(found).chain(doubt(&found.recovered)).collect()
}

/// Each place that is damaged, also where nothing is lost with it.
fn damage(found: &Examination) -> impl Iterator<Item = String> {
    found.flaws.iter().map(|flaw| format!("damage: {flaw}"))
}

fn doubt(held: &Recovered) -> Vec<String> {
    let Some(doubt) = held.doubt else { return Vec::new() };
    let mut lines = vec![format!("the directory is in doubt: {}", describe_doubt(doubt))];
    if let Some(first) = held.aside.first() {
        let count = held.aside.len();
        lines.push(format!("{count} entries above a gap, from {}, do not count", first.index));
    }
    lines
}

/// What an earlier start has kept of what it could not read.
fn set_aside(found: &Examination) -> Option<String> {
    let names = &found.set_aside;
    (!names.is_empty()).then(|| {
        format!(
            "damaged files are set aside, and what can be read of them by now counts: {}",
            names.join(", ")
        )
    })
}

/// The same for machines.
pub fn to_json(found: &Examination) -> Value {
    let held = &found.recovered;
    let (term, last) = held.log_end();
    json!({
        "id": held.identity.id.0,
        "cluster": held.identity.cluster,
        "term": term.0,
        "last_index": last.0,
        "commit_index": held.commit.0,
        "damage": damage(found).collect::<Vec<_>>(),
        "missing": missing(found),
        "set_aside": found.set_aside,
    })
}
