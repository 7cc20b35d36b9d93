//! `quorate demo`: three nodes on this machine, and what happens when their leader dies.

mod story;
mod data;
mod traffic;
mod compare;
mod picture;
mod screen;

use std::env;
use std::time::{Duration, Instant};

use getopts::Options;
use indicatif::HumanCount;
use serde_json::{Value, json};

use super::args::parse;
use super::exit::{Exit, Failure, Outcome};
use super::local_cluster::{self, Cluster};
use super::output::print_line;
use super::patience::Patience;
use compare::Comparison;
use data::Data;
use picture::Colour;
use screen::Screen;
use story::Story;

pub const HELP: &str = "\
Runs the main job on this machine: three nodes, data, clients that write, and a
leader that is killed with SIGKILL. Shows how long writes paused, and compares
what all nodes hold.

Usage: quorate demo [FILE] [--keep] [--json]

  FILE     lines of key<TAB>value to load, as 'quorate dump' prints them
           [the chemical elements]
  --keep   leaves the cluster running, and prints commands to try
  --json   prints an object with acknowledged, missing, pause_ms, kills and
           nodes_equal; the story goes to standard error

Needs no other set-up: it uses free ports of the loopback interface and a
temporary directory, and removes everything at the end, also after control-C.
Only 'kill -9' of the demo itself leaves its nodes running. Takes about 5
seconds, never more than 60.

Exit code 1: an acknowledged write is missing, nodes differ, or writes paused
for a second or longer.

Example: quorate demo --keep
";

/// The longest that the whole demo may take, short of a minute by what cleaning up takes.
const DEMO_MAX: Duration = Duration::from_secs(55);
/// For this long writes must not pause, whatever happens to one node.
const PAUSE_LIMIT: Duration = Duration::from_secs(1);

/// Runs `quorate demo`.
pub fn run(words: &[String]) -> Outcome {
    let mut options = Options::new();
    options.optflag("", "keep", "");
    options.optflag("", "json", "");
    let words = parse(options, words)?;
    let data = match words.operands.as_slice() {
        [] => Data::read(None)?,
        _ => Data::read(Some(&words.expect_operands(["[FILE]"])?[0]))?,
    };
    let patience = Patience::new(DEMO_MAX)?;
    let mut story = Story {
        screen: Screen::new(words.has("json")),
        patience: &patience,
        cluster: Cluster::new("demo")?,
        data,
        started: Instant::now(),
    };
    let told = story.tell().and_then(|verdict| patience.check().map(|()| verdict));
    let Story { mut screen, cluster, .. } = story;
    screen.rest();
    if words.has("keep") && !patience.is_interrupted() {
        keep(&mut screen, cluster)?;
    } else {
        drop(cluster);
    }
    let verdict = told?;
    if !words.has("keep") {
        let hint = "All nodes and files are gone again; --keep leaves them for you to try.";
        screen.say(&screen.palette.paint(Colour::Dim, hint))?;
    }
    if words.has("json") {
        print_line(&verdict.to_json().to_string())?;
    }
    Ok(if verdict.is_good() { Exit::Done } else { Exit::Negative })
}

/// What the demo comes to.
#[derive(Debug)]
struct Verdict {
    acknowledged: usize,
    pause: Duration,
    comparison: Comparison,
}

impl Verdict {
    fn is_good(&self) -> bool {
        self.comparison.missing.is_empty() && self.comparison.equal && self.pause < PAUSE_LIMIT
    }

    fn to_json(&self) -> Value {
        json!({
            "acknowledged": self.acknowledged,
            "missing": self.comparison.missing.len(),
            "pause_ms": whole_milliseconds(self.pause),
            "kills": 1,
            "nodes_equal": self.comparison.equal,
        })
    }
}

/// Leaves the cluster running, and says what can be done with it.
fn keep(screen: &mut Screen, cluster: Cluster) -> Result<(), Failure> {
    let program = env::args().next().unwrap_or_else(|| "quorate".to_owned());
    let directory = cluster.directory().display().to_string();
    let nodes: Vec<_> = local_cluster::ids()
        .filter_map(|id| cluster.process_id(id).map(|process| (id, process)))
        .map(|(id, process)| (id, cluster.address(id), process))
        .collect();
    cluster.keep();
    let Some((_, server, _)) = nodes.first() else { return Ok(()) };
    let processes: Vec<String> = nodes.iter().map(|(.., process)| process.to_string()).collect();
    screen.say("The cluster goes on running. Any node may be asked; try:")?;
    for command in ["status", "put motd 'Hello, world'", "get motd", "list --limit 5"] {
        screen.tell(&format!("{program} {command} --server {server}"))?;
    }
    for (id, address, process) in &nodes {
        screen.tell(&format!("kill -9 {process}    # node {id}, at {address}"))?;
    }
    screen.say(&format!("Directories and logs: {directory}"))?;
    screen.say("Stop it, and remove everything:")?;
    screen.tell(&format!("kill {}; sleep 5; rm -r {directory}", processes.join(" ")))
}

fn whole_milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// "1.25 s".
fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// "12,345".
fn count(number: usize) -> String {
    HumanCount(number as u64).to_string()
}
