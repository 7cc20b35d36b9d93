//! Who may import whom. The order of the modules in `src/lib.rs` is the reading order,
//! and each imports only from those before it.

use crate::expect_none;
use crate::tree::{Source, root, sources};

/// The first module that does IO. Those before it are the core.
const FIRST_WITH_IO: &str = "daemon";

/// What the core must not touch: the same input gives the same output on any machine.
const IO: [&str; 16] = [
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "ToSocketAddrs",
    "std::fs",
    "std::io",
    "std::thread",
    "std::process",
    "std::env",
    "SystemTime",
    "time::Instant::now",
    "mio::",
    "rustix::",
    "println!",
    "Rc<",
    "RefCell<",
];

/// A hash map's order differs from run to run. These files only look things up.
const HASHED: [&str; 2] = ["HashMap", "HashSet"];
const MAY_HASH: [&str; 3] =
    ["src/history/checker.rs", "src/history/values.rs", "src/timer_wheel/mod.rs"];

/// The managers, and which of the others each may be lent: the three that keep the
/// cluster alive know nothing of each other; those that serve clients stand above them.
const MANAGERS: [(&str, &str, &[&str]); 6] = [
    ("src/replica/election", "ElectionManager", &[]),
    ("src/replica/heartbeat", "HeartbeatManager", &[]),
    ("src/replica/replication", "ReplicationManager", &[]),
    ("src/replica/membership", "MembershipManager", &[]),
    ("src/replica/requests", "RequestManager", &["ReplicationManager"]),
    ("src/replica/reads", "ReadManager", &["HeartbeatManager"]),
];

/// The modules in reading order.
fn modules() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).expect("there is a library");
    let names = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    names.map(str::to_owned).collect()
}

/// The module that a file is part of; none for the library's root and the program.
fn module_of<'a>(source: &Source, modules: &'a [String]) -> Option<(usize, &'a str)> {
    let path = source.path.to_str()?.strip_prefix("src/")?;
    let name = path.split('/').next()?.trim_end_matches(".rs");
    let place = modules.iter().position(|module| module == name)?;
    Some((place, &modules[place]))
}

/// What the file says without its comments.
fn code(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let lines = source.text.lines().enumerate();
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn imports_from_below(source: &Source, modules: &[String]) -> Vec<String> {
    let Some((place, module)) = module_of(source, modules) else { return Vec::new() };
    let mut complaints = Vec::new();
    for (at, line) in code(source) {
        for after in line.split("crate::").skip(1) {
            let end = after.find(|c: char| !c.is_alphanumeric() && c != '_');
            let name = &after[..end.unwrap_or(after.len())];
            let imported = modules.iter().position(|module| module == name);
            let why = match imported {
                None => "says crate:: and no module: write one use for each",
                Some(imported) if imported > place => "is read before what it imports",
                Some(_) if name == "sim" && !["sim", "cli"].contains(&module) => {
                    "runs in no simulator of its own"
                }
                Some(_) => continue,
            };
            complaints.push(format!("{}: {module} imports {name}, but {why}", source.at(at)));
        }
    }
    complaints
}

fn io_in_the_core(source: &Source, modules: &[String]) -> Vec<String> {
    let io = modules.iter().position(|module| module == FIRST_WITH_IO);
    let Some((place, module)) = module_of(source, modules) else { return Vec::new() };
    if io.is_none_or(|io| place >= io) {
        return Vec::new();
    }
    let may_hash = MAY_HASH.iter().any(|path| source.path.ends_with(path));
    let words = || IO.iter().chain(HASHED.iter().filter(move |_| !may_hash));
    let mut complaints = Vec::new();
    for (at, line) in code(source) {
        let std_clock = line.contains("std::time") && line.contains("Instant");
        let found = words().filter(|word| line.contains(*word)).copied();
        let found = found.chain(std_clock.then_some("a clock"));
        complaints.extend(found.map(|word| format!("{}: {module} has {word}", source.at(at))));
    }
    complaints
}

fn managers_that_know_each_other(source: &Source) -> Vec<String> {
    let path = source.path.display().to_string();
    let is_its = |(home, _, _): &&(&str, &str, &[&str])| {
        let rest = path.strip_prefix(home);
        rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    };
    let Some((_, own, lent)) = MANAGERS.iter().find(is_its) else { return Vec::new() };
    let others = MANAGERS.iter().map(|(_, other, _)| *other);
    let strangers: Vec<&str> =
        others.filter(|other| other != own && !lent.contains(other)).collect();
    let mut complaints = Vec::new();
    for (at, line) in code(source) {
        let known = strangers.iter().filter(|other| line.contains(*other));
        complaints.extend(known.map(|other| format!("{}: {own} knows {other}", source.at(at))));
    }
    complaints
}

#[test]
fn modules_import_only_from_those_before_them() {
    let modules = modules();
    assert!(modules.len() > 10, "{modules:?}");
    let sources = sources("rs");
    let complaints: Vec<String> =
        sources.iter().flat_map(|source| imports_from_below(source, &modules)).collect();
    expect_none(&complaints);

    let broken = [
        ("src/wire/frame.rs", "use crate::replica::ReplicaNode;"),
        ("src/replica/mod.rs", "fn f() { crate::daemon::run() }"),
        ("src/client/mod.rs", "use crate::cli::Exit;"),
        ("src/daemon/mod.rs", "use crate::sim::run;"),
        ("src/types.rs", "use crate::{time, wire};"),
    ];
    for (path, line) in broken {
        let complaints = imports_from_below(&Source::sample(path, line), &modules);
        assert_eq!(complaints.len(), 1, "{path}: {line}: {complaints:?}");
    }
}

#[test]
fn the_core_does_no_io() {
    let modules = modules();
    let sources = sources("rs");
    let complaints: Vec<String> =
        sources.iter().flat_map(|source| io_in_the_core(source, &modules)).collect();
    expect_none(&complaints);

    let broken = IO.iter().chain(&HASHED).chain(&["use std::time::{Duration, Instant};"]);
    for line in broken {
        let complaints = io_in_the_core(&Source::sample("src/replica/log.rs", line), &modules);
        assert_eq!(complaints.len(), 1, "{line}: {complaints:?}");
    }
}

#[test]
fn managers_know_only_whom_they_are_lent() {
    let sources = sources("rs");
    for (home, manager, _) in MANAGERS {
        let defines = |source: &Source| {
            source.path.display().to_string().starts_with(home)
                && source.text.contains(&format!("pub struct {manager}"))
        };
        assert!(sources.iter().any(defines), "{manager} is not at {home}");
    }
    let complaints: Vec<String> = sources.iter().flat_map(managers_that_know_each_other).collect();
    expect_none(&complaints);

    let sample = Source::sample("src/replica/heartbeat.rs", "use super::ElectionManager;");
    assert_eq!(managers_that_know_each_other(&sample).len(), 1);
}
