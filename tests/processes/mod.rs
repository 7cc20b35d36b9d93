//! The real program as processes: commands that end by themselves, and nodes.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ran {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.out.clone()).expect("the output is text")
    }

    /// Standard output as one JSON object.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The same, once the exit code is known to be this one.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", String::from_utf8_lossy(&self.out), self.err);
        self
    }
}

/// Runs the program on `input`, with these servers unless the words name others.
pub fn quorate(servers: &str, words: &[&str], input: &[u8]) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(words)
        .env("QUORATE_SERVERS", servers)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    thread::scope(|scope| {
        // A command that does not read its input closes it, which is no failure.
        scope.spawn(move || stdin.write_all(input).ok());
        let output = child.wait_with_output().expect("the program ends");
        Ran {
            code: output.status.code().expect("no signal ended the program"),
            out: output.stdout,
            err: String::from_utf8(output.stderr).expect("what it says is text"),
        }
    })
}

/// A node as a process. It is killed when this is dropped.
#[derive(Debug)]
pub struct Node {
    pub child: Child,
    /// Where its standard error goes.
    log: PathBuf,
}

impl Node {
    /// Starts `quorate run` with these flags: without a key, unless they name one. What it
    /// says goes to the file `log`.
    pub fn start(flags: &[&str], log: &Path) -> Self {
        let no_key = (!flags.contains(&"--key-file")).then_some("--insecure-no-key");
        let child = Command::new(env!("CARGO_BIN_EXE_quorate"))
            .arg("run")
            .args(no_key)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log).expect("the log can be written"))
            .spawn()
            .expect("the program starts");
        Self::of(child, log)
    }

    /// A node that was started in another way.
    pub fn of(child: Child, log: &Path) -> Self {
        Self { child, log: log.to_owned() }
    }

    /// What it has said since it was started.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).expect("the log is text")
    }

    /// Waits until it serves. Returns the address on which it listens.
    #[track_caller]
    pub fn wait_until_ready(&self) -> String {
        eventually("the node is ready", || {
            let said = self.said();
            let (_, after) = said.rsplit_once("is ready at ")?;
            Some(after.split_once(": ")?.0.to_owned())
        })
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child may be killed");
        self.child.wait().expect("a killed child ends");
    }

    /// SIGTERM. Returns the exit code, and how long the node took to end.
    #[track_caller]
    pub fn terminate(&mut self) -> (i32, Duration) {
        let asked = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("the node runs");
        (self.wait_for_exit(), asked.elapsed())
    }

    /// Waits for it to end by itself. Returns the exit code.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> i32 {
        let status = eventually("the node ends", || self.child.try_wait().expect("it is a child"));
        status.code().unwrap_or_else(|| panic!("the node ended by {status}: {}", self.said()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again and again until there is an answer.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "it never came true within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
