//! The report of a bench, for people and for machines.

use std::time::Duration;

use indicatif::{HumanCount, HumanFloatCount};
use serde_json::{Value, json};

use super::figures::{Figures, Latencies};
use super::flags::BenchFlags;

/// The most columns of the plot.
const PLOT_WIDTH: usize = 60;
/// Its rows.
const PLOT_HEIGHT: u64 = 6;

/// What stands above the columns of the table.
const HEADS: &str = "                 ops       p50       p90       p99     p99.9       max";

/// What there is to report.
#[derive(Debug)]
pub struct Report<'a> {
    /// What was asked for.
    pub flags: &'a BenchFlags,
    /// What all keys of the run begin with.
    pub prefix: &'a str,
    /// What was measured.
    pub figures: &'a Figures,
    /// How long the run took, with the wait for the last answers.
    pub took: Duration,
    /// How many operations of the rate never began, since all clients were busy.
    pub never_began: u64,
}

impl Report<'_> {
    #[allow(clippy::cast_precision_loss, reason = "nobody counts to 2^52")]
    fn ops_per_second(&self) -> f64 {
        self.figures.ops() as f64 / self.took.as_secs_f64().max(1e-6)
    }

    /// Several lines, each with a newline. They fit a screen.
    pub fn to_text(&self) -> String {
        let figures = self.figures;
        let mut lines = vec![self.headline(), String::new()];
        if figures.ops() > 0 {
            lines.extend(table(figures));
            lines.push(String::new());
        }
        lines.push(format!(
            "{} operations a second over {:.1} s; {} errors, {} unknown",
            HumanFloatCount(self.ops_per_second().round()),
            self.took.as_secs_f64(),
            HumanCount(figures.errors),
            HumanCount(figures.unknown),
        ));
        lines.push(format!("longest time without any answer: {}", time(figures.longest_gap())));
        if self.never_began > 0 {
            let never_began = HumanCount(self.never_began);
            lines.push(format!("{never_began} operations never began: all clients were busy"));
        }
        if let Some(complaint) = &figures.first_complaint {
            lines.push(format!("the first that was not answered: {complaint}"));
        }
        lines.push(if figures.ops() > 0 { self.plot() } else { String::new() });
        lines.join("\n")
    }

    fn headline(&self) -> String {
        let flags = self.flags;
        let pace = match flags.rate {
            None => "closed loop".to_owned(),
            Some(rate) => format!("{} a second", HumanCount(rate.into())),
        };
        format!(
            "{} clients, {} % reads, {} keys, values of {} bytes, {pace}",
            flags.clients,
            flags.reads,
            HumanCount(flags.keys),
            flags.value_size,
        )
    }

    fn plot(&self) -> String {
        // The last second is not a whole one.
        let whole_seconds = self.took.as_secs().min(self.flags.duration.as_secs());
        let mut per_second = self.figures.per_second.clone();
        per_second.resize(usize::try_from(whole_seconds).unwrap_or(0), 0);
        plot(&per_second)
    }

    /// The last line of `--json`.
    pub fn to_json(&self) -> Value {
        let Self { flags, figures, .. } = self;
        let all = figures.all();
        let [p50, p90, p99, p999, max] = spread(all);
        json!({
            "clients": flags.clients,
            "reads_percent": flags.reads,
            "keys": flags.keys,
            "value_size": flags.value_size,
            "rate": flags.rate,
            "prefix": self.prefix,
            "seconds": self.took.as_secs_f64(),
            "ops": all.ops,
            "errors": figures.errors,
            "unknown": figures.unknown,
            "never_began": self.never_began,
            "ops_per_s": self.ops_per_second(),
            "p50_us": p50,
            "p90_us": p90,
            "p99_us": p99,
            "p999_us": p999,
            "max_us": max,
            "longest_gap_ms": figures.longest_gap().as_secs_f64() * 1_000.0,
            "reads": latencies_to_json(figures.reads()),
            "writes": latencies_to_json(figures.writes()),
            "per_second": figures.per_second,
            "first_complaint": figures.first_complaint,
        })
    }
}

/// The quantiles one by one.
fn spread(latencies: Latencies) -> [Option<u64>; 5] {
    latencies.quantiles.map_or([None; 5], |quantiles| quantiles.map(Some))
}

fn latencies_to_json(latencies: Latencies) -> Value {
    let [p50, p90, p99, p999, max] = spread(latencies);
    json!({
        "ops": latencies.ops,
        "p50_us": p50,
        "p90_us": p90,
        "p99_us": p99,
        "p999_us": p999,
        "max_us": max,
    })
}

/// The heads, and a row for each kind of operation that there was.
fn table(figures: &Figures) -> Vec<String> {
    let kinds = [("reads", figures.reads()), ("writes", figures.writes()), ("all", figures.all())];
    let rows = kinds.iter().filter(|(_, latencies)| latencies.ops > 0);
    std::iter::once(HEADS.to_owned())
        .chain(rows.map(|(name, latencies)| row(name, *latencies)))
        .collect()
}

fn row(name: &str, latencies: Latencies) -> String {
    let mut cells = vec![format!("{name:8} {:>11}", HumanCount(latencies.ops).to_string())];
    for micros in latencies.quantiles.into_iter().flatten() {
        cells.push(format!("{:>9}", time(Duration::from_micros(micros))));
    }
    cells.join(" ")
}

/// A time in three digits.
pub fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (number, unit) = if seconds < 1e-3 {
        return format!("{} us", duration.as_micros());
    } else if seconds < 1.0 {
        (seconds * 1e3, "ms")
    } else {
        (seconds, "s")
    };
    let decimals = match number {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{number:.decimals$} {unit}")
}

/// Columns of how many operations were answered second by second; of a long run several
/// seconds share a column. Nothing for a run that has only one.
fn plot(per_second: &[u64]) -> String {
    if per_second.len() < 2 {
        return String::new();
    }
    let seconds = per_second.len().div_ceil(PLOT_WIDTH);
    let columns: Vec<u64> = per_second
        .chunks(seconds)
        .map(|column| column.iter().sum::<u64>() / column.len() as u64)
        .collect();
    let most = columns.iter().copied().max().unwrap_or(0).max(1);
    let line = |row: u64| {
        let label = if row == PLOT_HEIGHT { HumanCount(most).to_string() } else { String::new() };
        let mark = |column: &u64| if reaches(*column, row, most) { '#' } else { ' ' };
        let marks: String = columns.iter().map(mark).collect();
        format!("{label:>9} |{marks}").trim_end().to_owned()
    };
    let mut lines = vec![String::new()];
    lines.extend((1..=PLOT_HEIGHT).rev().map(line));
    lines.push(format!("        0 +{}", "-".repeat(columns.len())));
    lines.push(format!("           answered a second, over {} s\n", per_second.len()));
    lines.join("\n")
}

/// Whether the column fills the row at least by half. What is not nothing fills the
/// lowest.
fn reaches(column: u64, row: u64, most: u64) -> bool {
    column > 0 && (row == 1 || 2 * column * PLOT_HEIGHT >= most * (2 * row - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::caller::Ended;
    use crate::history::{Kind, Operation, Output, Status};
    use crate::time::Instant;

    fn figures(seconds: u64) -> Figures {
        let mut figures = Figures::new(Instant(0));
        for number in 0..1_000 * seconds {
            let status = if number % 1_000 == 7 { Status::Unknown } else { Status::Ok };
            let kind = if number % 2 == 0 { Kind::Get } else { Kind::Delete };
            let (key, out) = ("k".into(), Output::None);
            let operation = Operation {
                client: 0,
                kind,
                key,
                call: 0,
                ret: None,
                status,
                out,
                index: None,
                line: 0,
            };
            let latency = Duration::from_micros(1_000 + number);
            let complaint = (status == Status::Unknown).then(|| "no answer within 5 s".to_owned());
            figures.take(&Ended { operation, latency, complaint }, Instant(number * 1_000));
        }
        figures
    }

    /// The report for people and for machines, of a thousand operations each second.
    fn report(line: &str, seconds: u64) -> (String, Value) {
        let words: Vec<String> = line.split_whitespace().map(Into::into).collect();
        let flags = BenchFlags::read(&words).unwrap();
        let took = Duration::from_secs(seconds);
        let figures = figures(seconds);
        let report =
            Report { flags: &flags, prefix: "bench/0/", figures: &figures, took, never_began: 3 };
        (report.to_text(), report.to_json())
    }

    #[test]
    fn the_report_fits_a_screen_and_says_what_was_measured() {
        for seconds in [1, 10, 200] {
            let text = report(&format!("--duration {seconds} --rate 1000"), seconds).0;
            assert!(text.lines().count() <= 24, "{text}");
            assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        }
        let text = report("--duration 2", 2).0;
        for part in [
            "16 clients, 50 % reads, 1,000 keys, values of 64 bytes, closed loop",
            "reads          1,000   2.00 ms   2.80 ms",
            "all            1,998   2.00 ms",
            "999 operations a second over 2.0 s; 0 errors, 2 unknown",
            "longest time without any answer: 2.00 ms",
            "the first that was not answered: no answer within 5 s",
            "3 operations never began",
            "      999 |##\n",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn the_last_line_for_machines_has_its_fields() {
        let object = report("", 2).1;
        assert_eq!((&object["ops"], &object["errors"]), (&json!(1_998), &json!(0)));
        assert_eq!((&object["unknown"], &object["ops_per_s"]), (&json!(2), &json!(999.0)));
        assert_eq!(object["longest_gap_ms"], json!(2.0));
        for (name, expected) in [
            ("p50_us", 2_000),
            ("p90_us", 2_800),
            ("p99_us", 2_980),
            ("p999_us", 2_998),
            ("max_us", 2_999),
        ] {
            let value = object[name].as_u64().unwrap();
            assert!(value.abs_diff(expected) <= 4, "{name} is {value}");
        }
        assert_eq!(object["per_second"], json!([999, 999]));
        assert_eq!(object["reads"]["ops"], json!(1_000));
    }

    #[test]
    fn nothing_answered_has_no_quantiles() {
        let (text, object) = report("--duration 2", 0);
        assert!(!text.contains("p50") && !text.contains('|'), "{text}");
        assert!(!text.contains("\n\n\n") && text.ends_with('\n'), "{text}");
        assert_eq!((&object["ops"], &object["p50_us"]), (&json!(0), &Value::Null));
    }

    #[test]
    fn an_outage_shows_as_a_gap_in_the_plot() {
        let text = plot(&[600, 300, 0, 1, 600]);
        let rows: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(rows[0], "      600 |#   #");
        assert_eq!(rows[5], "          |## ##");
        assert_eq!(rows[6], "        0 +-----");
        assert_eq!(plot(&[7]), "");
        assert!(plot(&[5; 1_000]).lines().all(|line| line.len() <= 80));
    }

    #[test]
    fn times_have_three_digits() {
        let shown = |micros| time(Duration::from_micros(micros));
        let times =
            [shown(7), shown(999), shown(1_234), shown(45_678), shown(456_789), shown(9_876_543)];
        assert_eq!(times, ["7 us", "999 us", "1.23 ms", "45.7 ms", "457 ms", "9.88 s"]);
    }
}
