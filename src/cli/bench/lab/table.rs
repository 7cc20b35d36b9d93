//! The table of a loss lab: a row for each loss.

use std::time::Duration;

use indicatif::HumanCount;
use serde_json::{Value, json};

use super::super::figures::Latencies;
use super::super::flags::BenchFlags;
use super::super::report::time;
use super::flags::LabFlags;
use super::relay::Counts;
use crate::cli::local_cluster::NODES;

/// What stands above the columns.
pub const HEADS: &str =
    " loss    ops/s       p50       p99       max elections bytes/commit unanswered";

/// What one cluster showed.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Percent of the datagrams, as asked for.
    pub loss: u8,
    /// How long the load took, with the wait for the last answers.
    pub took: Duration,
    /// Of the writes: each is a commit.
    pub commits: Latencies,
    /// The longest time without any answer.
    pub longest_gap: Duration,
    /// How many writes had no effect or an unknown one.
    pub unanswered: [u64; 2],
    /// By how much the term rose.
    pub elections: u64,
    /// What went into the links meanwhile.
    pub counts: Counts,
}

impl Row {
    #[allow(clippy::cast_precision_loss, reason = "nobody counts to 2^52")]
    fn ops_per_second(&self) -> f64 {
        self.commits.ops as f64 / self.took.as_secs_f64().max(1e-6)
    }

    fn bytes_per_commit(&self) -> Option<u64> {
        self.counts.bytes.checked_div(self.commits.ops)
    }

    #[allow(clippy::cast_precision_loss, reason = "nobody counts to 2^52")]
    fn lost_percent(&self) -> f64 {
        100.0 * self.counts.lost as f64 / self.counts.sent.max(1) as f64
    }

    /// A line of the table.
    pub fn to_text(self) -> String {
        let shown = |place: usize| {
            let micros = self.commits.quantiles.map(|quantiles| quantiles[place]);
            micros.map_or_else(|| "-".to_owned(), |micros| time(Duration::from_micros(micros)))
        };
        let per_commit = self.bytes_per_commit().map(|bytes| HumanCount(bytes).to_string());
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is not negative, and no machine does so many"
        )]
        let ops_per_second = HumanCount(self.ops_per_second().round() as u64);
        format!(
            "{:>3} % {:>8} {:>9} {:>9} {:>9} {:>9} {:>12} {:>10}",
            self.loss,
            ops_per_second.to_string(),
            shown(0),
            shown(2),
            shown(4),
            self.elections,
            per_commit.as_deref().unwrap_or("-"),
            self.unanswered.iter().sum::<u64>(),
        )
    }

    fn to_json(self) -> Value {
        let quantile = |place: usize| self.commits.quantiles.map(|quantiles| quantiles[place]);
        let [errors, unknown] = self.unanswered;
        json!({
            "loss_percent": self.loss,
            "lost_percent": self.lost_percent(),
            "seconds": self.took.as_secs_f64(),
            "ops": self.commits.ops,
            "ops_per_s": self.ops_per_second(),
            "p50_us": quantile(0),
            "p90_us": quantile(1),
            "p99_us": quantile(2),
            "p999_us": quantile(3),
            "max_us": quantile(4),
            "longest_gap_ms": self.longest_gap.as_secs_f64() * 1_000.0,
            "elections": self.elections,
            "bytes_per_commit": self.bytes_per_commit(),
            "datagrams": self.counts.sent,
            "overflowed": self.counts.overflowed,
            "errors": errors,
            "unknown": unknown,
        })
    }
}

/// What is measured, in a line.
pub fn headline(flags: &BenchFlags, lab: &LabFlags) -> String {
    let burst = lab.burst.map_or_else(String::new, |burst| format!(", lost {burst} in a row"));
    format!(
        "{NODES} nodes, {:.1} ms each way{burst}, seed {}; {} clients, values of {} bytes, {} s",
        lab.delay.as_secs_f64() * 1_000.0,
        lab.seed,
        flags.clients,
        flags.value_size,
        flags.duration.as_secs_f64(),
    )
}

/// The line of `--json`.
pub fn to_json(flags: &BenchFlags, lab: &LabFlags, rows: &[Row]) -> Value {
    json!({
        "nodes": NODES,
        "delay_ms": lab.delay.as_secs_f64() * 1_000.0,
        "burst": lab.burst,
        "seed": lab.seed,
        "clients": flags.clients,
        "value_size": flags.value_size,
        "rate": flags.rate,
        "rows": rows.iter().map(|row| row.to_json()).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ops: u64) -> Row {
        let quantiles = (ops > 0).then_some([21_300, 25_000, 98_765, 500_000, 1_234_567]);
        Row {
            loss: 20,
            took: Duration::from_secs(10),
            commits: Latencies { ops, quantiles },
            longest_gap: Duration::from_millis(40),
            unanswered: [1, 2],
            elections: 4,
            counts: Counts { sent: 1_000, bytes: 12_345_678, lost: 197, overflowed: 5 },
        }
    }

    #[test]
    fn a_row_stands_below_its_heads_and_fits_a_screen() {
        let text = row(12_340).to_text();
        assert_eq!(
            format!("{HEADS}\n{text}"),
            " loss    ops/s       p50       p99       max elections bytes/commit unanswered\n \
             20 %    1,234   21.3 ms   98.8 ms    1.23 s         4        1,000          3"
        );
        assert!(text.len() <= 80);
        assert!(row(0).to_text().contains("        0         -         -"));
    }

    #[test]
    fn machines_get_the_same_and_more() {
        let object = row(12_340).to_json();
        assert_eq!((&object["ops_per_s"], &object["p99_us"]), (&json!(1_234.0), &json!(98_765)));
        assert_eq!((&object["bytes_per_commit"], &object["elections"]), (&json!(1_000), &json!(4)));
        assert_eq!((&object["errors"], &object["unknown"]), (&json!(1), &json!(2)));
        assert_eq!(object["lost_percent"], json!(19.7));
        assert_eq!(row(0).to_json()["bytes_per_commit"], Value::Null);
    }

    #[test]
    fn the_headline_says_what_the_links_are_like() {
        let words: Vec<String> =
            "--loss 5 --delay 2.5 --burst 5 --clients 64".split(' ').map(Into::into).collect();
        let flags = BenchFlags::read(&words).unwrap();
        let lab = flags.lab.clone().unwrap();
        assert_eq!(
            headline(&flags, &lab),
            "3 nodes, 2.5 ms each way, lost 5 in a row, seed 1; 64 clients, values of 64 bytes, \
             10 s"
        );
    }
}
