//! The command line: one file for each command, and what they share.

mod args;
mod asking;
mod backup;
mod bench;
mod check_history;
mod client_socket;
mod demo;
mod driver;
mod escape;
mod exit;
mod inquiry;
mod inspect;
mod keygen;
mod leader_call;
mod load;
mod local_cluster;
mod member;
mod output;
mod patience;
mod read;
mod rescue;
mod restore;
mod revoke;
mod run;
mod simulate;
mod status;
mod strangers;
mod survey;
mod survivor;
mod timeouts;
mod traffic;
mod write;

pub use exit::{Exit, Failure, Outcome};

use std::ffi::OsString;

/// A command of the program.
struct Command {
    name: &'static str,
    summary: &'static str,
    help: &'static str,
    run: fn(&[String]) -> Outcome,
}

/// Those that stand together and have the same summary share a line of the help.
const COMMANDS: &[Command] = &[
    Command { name: "run", summary: "run a node", help: run::HELP, run: run::run },
    Command { name: "put", summary: ONE_KEY, help: write::PUT_HELP, run: write::put },
    Command { name: "get", summary: ONE_KEY, help: read::GET_HELP, run: read::get },
    Command { name: "delete", summary: ONE_KEY, help: write::DELETE_HELP, run: write::delete },
    Command { name: "cas", summary: ONE_KEY, help: write::CAS_HELP, run: write::compare_and_swap },
    Command { name: "incr", summary: ONE_KEY, help: write::INCR_HELP, run: write::increment },
    Command { name: "list", summary: MANY_KEYS, help: read::LIST_HELP, run: read::list },
    Command { name: "dump", summary: MANY_KEYS, help: read::DUMP_HELP, run: read::dump },
    Command { name: "load", summary: MANY_KEYS, help: load::HELP, run: load::run },
    Command {
        name: "status",
        summary: "show how the nodes are",
        help: status::HELP,
        run: status::run,
    },
    Command {
        name: "timeouts",
        summary: "show when silent nodes are given up, and why",
        help: timeouts::HELP,
        run: timeouts::run,
    },
    Command {
        name: "member",
        summary: "show, add and remove nodes",
        help: member::HELP,
        run: member::run,
    },
    Command { name: "backup", summary: SAVED, help: backup::HELP, run: backup::run },
    Command { name: "restore", summary: SAVED, help: restore::HELP, run: restore::run },
    Command {
        name: "rescue",
        summary: "make a cluster of what a survivor has",
        help: rescue::HELP,
        run: rescue::run,
    },
    Command {
        name: "keygen",
        summary: "make a key that seals the frames of a cluster",
        help: keygen::HELP,
        run: keygen::run,
    },
    Command {
        name: "revoke",
        summary: "take a key back, and see that all nodes have",
        help: revoke::HELP,
        run: revoke::run,
    },
    Command { name: "bench", summary: "measure under load", help: bench::HELP, run: bench::run },
    Command {
        name: "check-history",
        summary: "check what clients saw for linearizability",
        help: check_history::HELP,
        run: check_history::run,
    },
    Command {
        name: "demo",
        summary: "kill a leader on this machine, and see what happens",
        help: demo::HELP,
        run: demo::run,
    },
    Command {
        name: "inspect",
        summary: "show what a data directory holds, and check it",
        help: inspect::HELP,
        run: inspect::run,
    },
    Command {
        name: "simulate",
        summary: "run simulated clusters from seeds",
        help: simulate::HELP,
        run: simulate::run,
    },
];

const ONE_KEY: &str = "set, print, remove, compare and set, add to a key";
const MANY_KEYS: &str = "print keys by prefix, print all, put lines of a file";
const SAVED: &str = "save all keys to a file, make a cluster of it";

/// Runs the command that the arguments name. Returns the process's exit code.
pub fn main(arguments: impl Iterator<Item = OsString>) -> u8 {
    let (outcome, as_json) = match words(arguments) {
        Ok(words) => {
            let as_json =
                words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
            (dispatch(&words), as_json)
        }
        Err(failure) => (Err(failure), false),
    };
    match outcome {
        Ok(exit) => exit as u8,
        Err(failure) => {
            let printed = as_json && output::print_line(&failure.to_json().to_string()).is_ok();
            if !printed {
                output::note(&format!("quorate: {failure}"));
            }
            failure.exit as u8
        }
    }
}

fn words(arguments: impl Iterator<Item = OsString>) -> Result<Vec<String>, Failure> {
    let word = |argument: OsString| {
        argument.into_string().map_err(|argument| {
            let shown = argument.to_string_lossy().into_owned();
            Failure::usage(format!(
                "'{shown}' is not UTF-8; give such a value through standard input, with -, and \
                 such a key in base64, with --key-base64"
            ))
        })
    };
    arguments.skip(1).map(word).collect()
}

fn dispatch(words: &[String]) -> Outcome {
    let Some((name, rest)) = words.split_first() else {
        output::note(&help());
        return Err(Failure::usage("no command is given"));
    };
    if matches!(name.as_str(), "--help" | "-h" | "help") {
        return print_help(rest);
    }
    if matches!(name.as_str(), "--version" | "-V") {
        output::print_line(concat!("quorate ", env!("CARGO_PKG_VERSION")))?;
        return Ok(Exit::Done);
    }
    let command = find(name)?;
    if rest.iter().take_while(|word| *word != "--").any(|word| word == "--help") {
        output::print_bytes(command.help.as_bytes())?;
        return Ok(Exit::Done);
    }
    (command.run)(rest)
}

fn find(name: &str) -> Result<&'static Command, Failure> {
    COMMANDS.iter().find(|command| command.name == name).ok_or_else(|| {
        let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
        Failure::usage(format!("there is no command '{name}'; there are {}", names.join(", ")))
    })
}

fn print_help(of: &[String]) -> Outcome {
    let text = match of.first() {
        Some(name) => find(name)?.help.to_owned(),
        None => help(),
    };
    output::print_bytes(text.as_bytes())?;
    Ok(Exit::Done)
}

fn help() -> String {
    let line = |group: &[Command]| {
        let names: Vec<&str> = group.iter().map(|command| command.name).collect();
        format!("  {:23}  {}", names.join(" "), group[0].summary)
    };
    let groups = COMMANDS.chunk_by(|one, next| one.summary == next.summary);
    let commands: Vec<String> = groups.map(line).collect();
    format!(
        "Usage: quorate COMMAND [operands] [flags]: a small store, replicated\n\
         \n\
         {}\n\
         \n\
         quorate COMMAND --help says more. Flags of all commands that ask a cluster:\n\
         --server ADDR:PORT (repeatable, or QUORATE_SERVERS=A,B) [127.0.0.1:9717],\n\
         --cluster NAME [quorate], --key-file FILE (or QUORATE_KEY_FILE), --json,\n\
         --timeout SECONDS [5], --redundancy-max N (how often a frame is sent) [3].\n\
         Exit codes: 0 done, 1 negative answer, 2 wrong command line, 3 no answer or\n\
         outcome unknown, 4 refused, 5 disk error. Example: quorate put motd Hello\n",
        commands.join("\n")
    )
}
