//! `quorate run`: a node in the foreground.

use std::io::{self, Write};
use std::path::PathBuf;

use getopts::{Matches, Options};

use crate::daemon::{self, RunConfig, RunError};
use crate::types::ServerId;

const HELP: &str = "\
Runs one node of a cluster in the foreground.

Usage: quorate run --id N --data-dir DIR [flags] --insecure-no-key

  --id N                this node's number in the cluster, from 1
  --data-dir DIR        where it keeps its data; made when missing
  --listen ADDR:PORT    the address to listen on [127.0.0.1:9717]
  --peer ID=ADDR:PORT   a node of the cluster, once for each; it may name this node
                        itself, so that one list serves all hosts. Without any, the
                        node is a cluster of one
  --cluster NAME        the cluster's name [quorate]
  --insecure-no-key     frames are not sealed: whoever reaches the port may speak
  --help                shows this

The same line serves the first start and every later one. A cluster is born when
all of its nodes have met. SIGINT and SIGTERM end a node; a leader hands over first.

Exit codes: 0 ended by a signal, 2 the command line is wrong, 4 the directory is
another's or in use, 5 a disk error.

Example, the first of three nodes:
  quorate run --id 1 --data-dir /var/lib/quorate --listen 10.0.0.1:9717 \\
    --peer 1=10.0.0.1:9717 --peer 2=10.0.0.2:9717 --peer 3=10.0.0.3:9717 \\
    --insecure-no-key
";

/// Runs `quorate run` with the arguments that follow its name. Returns the exit code.
pub fn run(args: &[String]) -> u8 {
    let ended = match parse(args) {
        Ok(Some(config)) => daemon::run(config),
        Ok(None) => {
            // A reader that has seen enough closes the pipe.
            io::stdout().write_all(HELP.as_bytes()).ok();
            Ok(())
        }
        Err(sentence) => Err(RunError::usage(sentence)),
    };
    match ended {
        Ok(()) => 0,
        Err(error) => {
            writeln!(io::stderr(), "quorate: {error}").ok();
            error.exit_code()
        }
    }
}

/// What the arguments ask for; none when that is help.
fn parse(args: &[String]) -> Result<Option<RunConfig>, String> {
    let found =
        options().parse(args).map_err(|error| format!("{error}; see quorate run --help"))?;
    if found.opt_present("help") {
        return Ok(None);
    }
    if let Some(operand) = found.free.first() {
        return Err(format!("run takes flags only, but {operand} was given"));
    }
    if !found.opt_present("insecure-no-key") {
        return Err(
            "run has no key to seal frames with; say --insecure-no-key to run without".into()
        );
    }
    let id = node_id("--id", &required(&found, "id", "the node's number, as in --id 1")?)?;
    let data_dir =
        PathBuf::from(required(&found, "data-dir", "a directory, as in --data-dir data")?);
    let listen = found.opt_str("listen").unwrap_or_else(|| "127.0.0.1:9717".into());
    let peers = found.opt_strs("peer").iter().map(|text| peer(text)).collect::<Result<_, _>>()?;
    let cluster = found.opt_str("cluster").unwrap_or_else(|| "quorate".into());
    check_cluster(&cluster)?;
    Ok(Some(RunConfig { id, data_dir, listen, peers, cluster }))
}

fn options() -> Options {
    let mut options = Options::new();
    options.optopt("", "id", "", "");
    options.optopt("", "data-dir", "", "");
    options.optopt("", "listen", "", "");
    options.optmulti("", "peer", "", "");
    options.optopt("", "cluster", "", "");
    options.optflag("", "insecure-no-key", "");
    options.optflag("h", "help", "");
    options
}

fn required(found: &Matches, flag: &str, what: &str) -> Result<String, String> {
    found.opt_str(flag).ok_or_else(|| format!("--{flag} is missing; run needs {what}"))
}

fn node_id(flag: &str, text: &str) -> Result<ServerId, String> {
    match text.parse() {
        Ok(id) if id > 0 => Ok(ServerId(id)),
        _ => Err(format!("{flag} {text}: a node's number is expected, from 1 to {}", u16::MAX)),
    }
}

fn peer(text: &str) -> Result<(ServerId, String), String> {
    let expected = || format!("--peer {text}: ID=ADDR:PORT is expected, as in 2=10.0.0.2:9717");
    let (id, address) = text.split_once('=').ok_or_else(expected)?;
    Ok((node_id("--peer", id).map_err(|_| expected())?, address.to_owned()))
}

/// A name stands in log lines and in the journal's header.
fn check_cluster(name: &str) -> Result<(), String> {
    let fits = (1..=64).contains(&name.len());
    if fits && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(format!(
        "--cluster {name:?}: a name of 1 to 64 ASCII characters without spaces is expected"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Option<RunConfig>, String> {
        parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn flags_stand_in_any_order_and_have_defaults() {
        let config = parse_line("--insecure-no-key --data-dir d --id 2").unwrap().unwrap();
        let expected = RunConfig {
            id: ServerId(2),
            data_dir: "d".into(),
            listen: "127.0.0.1:9717".into(),
            peers: Vec::new(),
            cluster: "quorate".into(),
        };
        assert_eq!(config, expected);

        let line = "--peer 1=a:1 --id=2 --cluster c --peer 2=b:2 --listen [::1]:5 --data-dir=d \
                    --insecure-no-key";
        let config = parse_line(line).unwrap().unwrap();
        let peers = vec![(ServerId(1), "a:1".into()), (ServerId(2), "b:2".into())];
        let (listen, cluster) = ("[::1]:5".into(), "c".into());
        assert_eq!(config, RunConfig { listen, peers, cluster, ..expected });
    }

    #[test]
    fn what_is_wrong_is_named() {
        let rest = "--data-dir d --insecure-no-key";
        let cases = [
            ("--id 1 --data-dir d".to_owned(), "--insecure-no-key"),
            ("--id 1 --insecure-no-key".to_owned(), "--data-dir is missing"),
            (rest.to_owned(), "--id is missing"),
            (format!("--id 0 {rest}"), "--id 0: a node's number"),
            (format!("--id 65536 {rest}"), "--id 65536: a node's number"),
            (format!("--id 1 --id 2 {rest}"), "'id'"),
            (format!("--id 1 --pere 2=b:2 {rest}"), "pere"),
            (format!("--id 1 --peer b:2 {rest}"), "ID=ADDR:PORT"),
            (format!("--id 1 --peer 0=b:2 {rest}"), "ID=ADDR:PORT"),
            (format!("--id 1 start {rest}"), "but start was given"),
            (format!("--id 1 --cluster ä {rest}"), "ASCII"),
        ];
        for (line, expected) in cases {
            let sentence = parse_line(&line).unwrap_err();
            assert!(sentence.contains(expected), "{line}: {sentence}");
        }
    }

    #[test]
    fn help_fits_a_screen() {
        assert_eq!(parse_line("--help").unwrap(), None);
        assert!(HELP.lines().count() <= 40 && HELP.lines().all(|line| line.len() <= 84));
    }
}
