//! The table, and whether the committed one is still true.

use std::path::PathBuf;
use std::time::Duration;

use quorate::sim::Loss;

use super::cluster::Cluster;

const LOSSES: [u32; 6] = [0, 1, 5, 10, 20, 30];
const ROUND_TRIPS: [u64; 3] = [1, 20, 100];
/// Writes that are measured in each cell, and those before them, in which nodes and client
/// come to know the links.
const WRITES: usize = 1_000;
const FIRST_WRITES: usize = 100;
const SEED: u64 = 1;

/// What one cell of the table shows.
#[derive(Clone, Debug, PartialEq)]
struct Cell {
    p50: Duration,
    p99: Duration,
    max: Duration,
    elections: u64,
    unanswered: usize,
    bytes_per_commit: u64,
}

fn measure(round_trip: Duration, loss: Loss) -> Cell {
    let mut cluster = Cluster::start(round_trip / 2, SEED);
    assert!(cluster.is_led(), "nothing was lost yet");
    let term = cluster.term();
    cluster.lose(loss);
    for _ in 0..FIRST_WRITES {
        cluster.write();
    }
    cluster.bytes = 0;
    let took: Vec<Option<Duration>> = (0..WRITES).map(|_| cluster.write()).collect();
    let mut answered: Vec<Duration> = took.iter().flatten().copied().collect();
    answered.sort_unstable();
    let quantile =
        |percent: usize| answered[(answered.len() * percent / 100).min(answered.len() - 1)];
    Cell {
        p50: quantile(50),
        p99: quantile(99),
        max: quantile(100),
        elections: cluster.term() - term,
        unanswered: WRITES - answered.len(),
        bytes_per_commit: cluster.bytes / answered.len() as u64,
    }
}

fn by_itself(percent: u32) -> Loss {
    Loss { share: f64::from(percent) / 100.0, burst: None }
}

/// 10 % in the mean, 5 in a row in the mean.
const BURSTS: Loss = Loss { share: 0.1, burst: Some(5.0) };

fn row(name: &str, round_trip: u64, cell: &Cell, clean: &Cell) -> String {
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1_000.0);
    let factor = |bytes: u64, clean: u64| {
        f64::from(u32::try_from(bytes).unwrap_or(u32::MAX))
            / f64::from(u32::try_from(clean).unwrap_or(u32::MAX))
    };
    format!(
        "| {round_trip} ms | {name} | {} | {} | {} | {} | {} | {} | {:.2} |\n",
        ms(cell.p50),
        ms(cell.p99),
        ms(cell.max),
        cell.elections,
        cell.unanswered,
        cell.bytes_per_commit,
        factor(cell.bytes_per_commit, clean.bytes_per_commit),
    )
}

fn rows(round_trip: u64) -> String {
    let time = Duration::from_millis(round_trip);
    let clean = measure(time, by_itself(0));
    let mut rows = String::new();
    for percent in LOSSES {
        let cell = measure(time, by_itself(percent));
        rows += &row(&format!("{percent} %"), round_trip, &cell, &clean);
    }
    rows + &row("10 %, 5 in a row", round_trip, &measure(time, BURSTS), &clean)
}

fn table() -> String {
    let mut text = String::from(HEAD);
    // A thread for each round trip: the cells know nothing of each other.
    let threads = ROUND_TRIPS.map(|round_trip| std::thread::spawn(move || rows(round_trip)));
    for thread in threads {
        text += &thread.join().expect("a cell that can be measured");
    }
    text
}

const HEAD: &str = include_str!("head.txt");

#[test]
fn the_table_of_losses_is_as_it_was_committed() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/loss-table.md");
    let now = table();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &now).expect("docs can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == now, "docs/loss-table.md is not what the code does now:\n{now}");
}
