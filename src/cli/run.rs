//! `quorate run`: a node in the foreground.

use std::path::PathBuf;
use std::time::Duration;

use getopts::Options;

use super::args::{self, DEFAULT_ADDRESS, Words};
use super::exit::{Exit, Failure, Outcome};
use crate::configuration::SNAPSHOT_BYTES;
use crate::daemon::{self, RunConfig};
use crate::link::{INTERVAL_LEAST, INTERVAL_MOST, Pinned};
use crate::replica::DISK_STALL;
use crate::types::ServerId;

pub const HELP: &str = "\
Runs one node of a cluster in the foreground.

Usage: quorate run --id N --data-dir DIR [flags] --key-file FILE

  --id N                this node's number, from 1
  --data-dir DIR        where it keeps its data; made when missing
  --listen ADDR:PORT    the address to listen on [127.0.0.1:9717]
  --peer ID=ADDR:PORT   a node, once for each; none: a cluster of one
  --cluster NAME        the cluster's name [quorate]
  --segment-size BYTES  of the journal's files, in a new directory [4M]
  --snapshot-bytes N    of log between two snapshots, in a new cluster [16M]
  --disk-max BYTES      the most that the directory may take [4G]
  --scrub-rate BYTES    of its files read again in a second; 0: none [64K]
  --disk-stall SECONDS  a leader whose disk stalls for longer hands over [1]
  --redundancy-max N    how often a frame is sent where loss is measured [3]
  --election-timeout S, --heartbeat S  seconds [what is measured calls for]
  --key-file FILE       the keys, or QUORATE_KEY_FILE; SIGHUP: read them again
  --insecure-no-key     frames are not sealed: who reaches the port may speak
  --user NAME           started as root, it becomes this user once it listens

SIGINT and SIGTERM end a node; a leader hands over first. Exit codes: 0 by a
signal, 2 wrong line, 4 the directory is another's or in use, 5 a disk error.
Example: quorate run --id 1 --data-dir data --listen 10.0.0.1:9717 \\
  --peer 2=10.0.0.2:9717 --peer 3=10.0.0.3:9717 --key-file key
";

/// How much a directory may take by default, in bytes.
const DISK_MAX: u64 = 4 << 30;

/// How many bytes are read again in a second by default: 4 GiB in 18 hours.
const SCRUB_RATE: u64 = 64 << 10;

/// A shorter one would not hold what it takes to be scheduled.
const ELECTION_TIMEOUT_LEAST: Duration = Duration::from_millis(10);

/// Runs `quorate run`.
pub fn run(args: &[String]) -> Outcome {
    daemon::run(parse(args)?)?;
    Ok(Exit::Done)
}

fn parse(args: &[String]) -> Result<RunConfig, Failure> {
    let words = args::parse(options(), args)?;
    let [] = words.expect_operands([])?;
    let key_file = key_file(&words)?;
    let id = args::own_id(&words)?;
    let data_dir = args::data_dir(&words)?;
    let listen = words.value("listen").unwrap_or_else(|| DEFAULT_ADDRESS.into());
    let peers = words.values("peer").iter().map(|text| peer(text)).collect::<Result<_, _>>()?;
    let cluster = args::cluster(&words)?;
    let segment_size = words.has("segment-size").then(|| args::segment_size(&words)).transpose()?;
    let disk_stall = words.seconds("disk-stall", DISK_STALL.as_secs_f64())?;
    let snapshot_bytes = words.bytes("snapshot-bytes", SNAPSHOT_BYTES)?;
    let disk_max = words.bytes("disk-max", DISK_MAX)?;
    let scrub_rate = scrub_rate(&words)?;
    let redundancy_max = args::redundancy_max(&words)?;
    let pinned = pinned(&words)?;
    let user = words.value("user");
    Ok(RunConfig {
        id,
        data_dir,
        listen,
        peers,
        cluster,
        key_file,
        user,
        segment_size,
        disk_max,
        snapshot_bytes,
        scrub_rate,
        disk_stall,
        redundancy_max,
        pinned,
    })
}

fn options() -> Options {
    let mut options = Options::new();
    options.optopt("", "id", "", "");
    options.optopt("", "data-dir", "", "");
    options.optopt("", "listen", "", "");
    options.optmulti("", "peer", "", "");
    options.optopt("", "cluster", "", "");
    options.optopt("", "segment-size", "", "");
    options.optopt("", "snapshot-bytes", "", "");
    options.optopt("", "disk-max", "", "");
    options.optopt("", "scrub-rate", "", "");
    options.optopt("", "disk-stall", "", "");
    options.optopt("", "redundancy-max", "", "");
    options.optopt("", "election-timeout", "", "");
    options.optopt("", "heartbeat", "", "");
    options.optopt("", "key-file", "", "");
    options.optflag("", "insecure-no-key", "");
    options.optopt("", "user", "", "");
    options
}

fn key_file(words: &Words) -> Result<Option<PathBuf>, Failure> {
    let is_insecure = words.has("insecure-no-key");
    match (args::key_file(words), is_insecure) {
        (Some(_), true) if words.has("key-file") => Err(Failure::usage(
            "both a key file and --insecure-no-key are given: either frames are sealed or not",
        )),
        (None, false) => Err(Failure::usage(
            "no key is given; `quorate keygen FILE` makes one, for --key-file FILE; or say \
             --insecure-no-key if you trust all who reach the port",
        )),
        (key_file, _) => Ok(key_file.filter(|_| !is_insecure)),
    }
}

fn scrub_rate(words: &Words) -> Result<u64, Failure> {
    let is_off = words.value("scrub-rate").is_some_and(|value| value == "0");
    if is_off { Ok(0) } else { words.bytes("scrub-rate", SCRUB_RATE) }
}

/// A timeout that a single lost heartbeat lets pass would elect without end.
fn pinned(words: &Words) -> Result<Pinned, Failure> {
    let seconds = |flag| words.has(flag).then(|| words.seconds(flag, 0.0)).transpose();
    let pinned = Pinned { timeout: seconds("election-timeout")?, interval: seconds("heartbeat")? };
    match pinned {
        Pinned { timeout: Some(timeout), interval: Some(interval) } if timeout < interval * 2 => {
            Err(Failure::usage(
                "--election-timeout is less than twice --heartbeat; several heartbeats must fit \
                 into it",
            ))
        }
        Pinned { interval: Some(interval), .. } if interval > INTERVAL_MOST => {
            Err(Failure::usage("--heartbeat is more than 1 s"))
        }
        Pinned { interval: Some(interval), .. } if interval < INTERVAL_LEAST => {
            Err(Failure::usage("--heartbeat is less than 1 ms"))
        }
        Pinned { timeout: Some(timeout), .. } if timeout < ELECTION_TIMEOUT_LEAST => {
            Err(Failure::usage("--election-timeout is less than 10 ms"))
        }
        pinned => Ok(pinned),
    }
}

fn peer(text: &str) -> Result<(ServerId, String), Failure> {
    let expected = || {
        Failure::usage(format!("--peer {text}: ID=ADDR:PORT is expected, as in 2=10.0.0.2:9717"))
    };
    let (id, address) = text.split_once('=').ok_or_else(expected)?;
    Ok((args::node_id("--peer", id).map_err(|_| expected())?, address.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SegmentSize;

    fn parse_line(line: &str) -> Result<RunConfig, Failure> {
        parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn flags_stand_in_any_order_and_have_defaults() {
        let config = parse_line("--insecure-no-key --data-dir d --id 2").unwrap();
        let expected = RunConfig {
            id: ServerId(2),
            data_dir: "d".into(),
            listen: "127.0.0.1:9717".into(),
            peers: Vec::new(),
            cluster: "quorate".into(),
            key_file: None,
            user: None,
            segment_size: None,
            disk_max: DISK_MAX,
            snapshot_bytes: SNAPSHOT_BYTES,
            scrub_rate: SCRUB_RATE,
            disk_stall: Duration::from_secs(1),
            redundancy_max: 3,
            pinned: Pinned::default(),
        };
        assert_eq!(config, expected);

        let line = "--peer 1=a:1 --id=2 --cluster c --peer 2=b:2 --listen [::1]:5 --data-dir=d \
                    --insecure-no-key --segment-size 65536 --scrub-rate 0 --redundancy-max 1 \
                    --election-timeout 0.5 --heartbeat 0.1 --user q";
        let config = parse_line(line).unwrap();
        let peers = vec![(ServerId(1), "a:1".into()), (ServerId(2), "b:2".into())];
        let (listen, cluster) = ("[::1]:5".into(), "c".into());
        let segment_size = SegmentSize::new(65_536);
        let pinned = Pinned {
            timeout: Some(Duration::from_millis(500)),
            interval: Some(Duration::from_millis(100)),
        };
        let expected = RunConfig { scrub_rate: 0, segment_size, pinned, ..expected };
        let expected = RunConfig { redundancy_max: 1, user: Some("q".into()), ..expected };
        assert_eq!(config, RunConfig { listen, peers, cluster, ..expected });
    }

    #[test]
    fn what_is_wrong_is_named() {
        let rest = "--data-dir d --insecure-no-key";
        let cases = [
            ("--id 1 --data-dir d".to_owned(), "--insecure-no-key"),
            (format!("--id 1 --key-file k {rest}"), "both a key file and"),
            ("--id 1 --insecure-no-key".to_owned(), "--data-dir is missing"),
            (rest.to_owned(), "--id is missing"),
            (format!("--id 0 {rest}"), "--id 0: a node's number"),
            (format!("--id 65536 {rest}"), "--id 65536: a node's number"),
            (format!("--id 1 --id 2 {rest}"), "--id stands twice"),
            (format!("--id 1 --pere 2=b:2 {rest}"), "pere"),
            (format!("--id 1 --peer b:2 {rest}"), "ID=ADDR:PORT"),
            (format!("--id 1 --peer 0=b:2 {rest}"), "ID=ADDR:PORT"),
            (format!("--id 1 start {rest}"), "(start), expected none"),
            (format!("--id 1 --cluster ä {rest}"), "ASCII"),
            (format!("--id 1 --segment-size 65537 {rest}"), "a multiple of 512"),
            (format!("--id 1 --segment-size 512 {rest}"), "from 65536"),
            (format!("--id 1 --heartbeat 2 {rest}"), "--heartbeat is more than 1 s"),
            (format!("--id 1 --heartbeat 0.0009 {rest}"), "--heartbeat is less than 1 ms"),
            (
                format!("--id 1 --election-timeout 0.009 {rest}"),
                "--election-timeout is less than 10 ms",
            ),
            (format!("--id 1 --heartbeat 0 {rest}"), "--heartbeat is 0; it must be a time"),
            (
                format!("--id 1 --heartbeat 0.3 --election-timeout 0.5 {rest}"),
                "--election-timeout is less than twice --heartbeat",
            ),
            (format!("--id 1 --redundancy-max 0 {rest}"), "--redundancy-max is 0; 1, nothing"),
        ];
        for (line, expected) in cases {
            let sentence = parse_line(&line).unwrap_err().sentence;
            assert!(sentence.contains(expected), "{line}: {sentence}");
        }
    }
}
