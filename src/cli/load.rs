//! `quorate load`: lines of keys and values into the store.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use getopts::Options;
use indicatif::ProgressBar;
use serde_json::json;

use super::args::{ClientFlags, parse};
use super::driver::Driver;
use super::escape::parse_line;
use super::exit::{Exit, Failure, Outcome, Part};
use super::output::{note, print_line, progress_bar};
use super::survey;
use crate::client::{Answer, Ask, Event};
use crate::operation::Operation;
use crate::types::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

pub const HELP: &str = "\
Puts the lines of a file, or of standard input, into the store.

Usage: quorate load FILE|- [flags]

Each line is key<TAB>value, with backslash, tab, newline and return written as
\\\\ \\t \\n \\r: what 'quorate dump' prints. Many lines are on their way at once,
and of lines with one key the last may not win: dumps have each key once. A load
that broke off may be run again. It puts every line once more: each key gets a
new version, and what others have written to it meanwhile is overwritten.

Exit code 2: a line is malformed; those before it are loaded. Exit code 3: not
all lines were acknowledged, also after control-C; exit code 4: one was refused.
The sentence, and 'acknowledged' of --json, say how many were acknowledged.

Example: quorate load backup.tsv
";

/// How many lines are on their way at once.
const OUTSTANDING_MAX: usize = 256;
/// How many lines may be read before there is room for them on the way.
const READ_AHEAD_MAX: usize = 256;
/// No line is longer that says what may be stored: each byte may stand there as two. One that is
/// cut behind that is malformed too, or breaks a limit.
const LINE_BYTES_MAX: u64 = 2 * (KEY_BYTES_MAX + VALUE_BYTES_MAX) as u64 + 2;
/// How often is looked for a line that was not there yet.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A load under way.
struct Load {
    driver: Driver,
    lines: Receiver<io::Result<Vec<u8>>>,
    progress: ProgressBar,
    lines_read: u64,
    acknowledged: u64,
    /// How many lines are certainly not done: one, by which it ends, or none.
    refused: u64,
    ended: bool,
    interrupted: bool,
}

/// Runs `quorate load`.
pub fn run(words: &[String]) -> Outcome {
    let mut options = Options::new();
    ClientFlags::add_to(&mut options);
    let words = parse(options, words)?;
    let flags = ClientFlags::read(&words)?;
    let [path] = words.expect_operands(["FILE|-"])?;
    let (input, size) = open(&path)?;
    let mut load = Load {
        driver: Driver::new(&flags, 1, false, OUTSTANDING_MAX)?,
        lines: read_lines(input)?,
        progress: progress_bar(size),
        lines_read: 0,
        acknowledged: 0,
        refused: 0,
        ended: false,
        interrupted: false,
    };
    load.driver.catch_signals()?;
    let loaded = load.run();
    load.driver.close();
    load.progress.finish_and_clear();
    match loaded {
        Ok(()) => report(&flags, load.acknowledged),
        Err(mut failure) => {
            failure.part = Some(load.part());
            if failure.exit == Exit::NoAnswer && !load.interrupted {
                failure.sentence =
                    format!("{}; {}", failure.sentence, survey::take(&flags).sentence());
            }
            Err(failure)
        }
    }
}

fn report(flags: &ClientFlags, acknowledged: u64) -> Outcome {
    if flags.json {
        print_line(&json!({ "acknowledged": acknowledged }).to_string())?;
    } else {
        note(&format!("quorate: {acknowledged} lines acknowledged"));
    }
    Ok(Exit::Done)
}

type Input = Box<dyn BufRead + Send>;

fn open(path: &str) -> Result<(Input, Option<u64>), Failure> {
    if path == "-" {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let failed = |error| Failure::usage(format!("cannot read {path}: {error}"));
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(Failure::usage(format!(
            "{path} is a directory; expected a file of key<TAB>value lines, or - for standard input"
        )));
    }
    Ok((Box::new(BufReader::new(file)), Some(metadata.len())))
}

/// Reads on a thread of its own: a pipe that gives nothing must not hold up the lines
/// that are on their way.
fn read_lines(mut input: Input) -> Result<Receiver<io::Result<Vec<u8>>>, Failure> {
    let (read, lines) = sync_channel(READ_AHEAD_MAX);
    let read_all = move || {
        loop {
            let mut line = Vec::new();
            let mut bounded = Read::take(&mut input, LINE_BYTES_MAX + 1);
            let result = bounded.read_until(b'\n', &mut line).map(|_| line);
            let is_last = !matches!(&result, Ok(line) if !line.is_empty());
            if read.send(result).is_err() || is_last {
                return;
            }
        }
    };
    thread::Builder::new().spawn(read_all).map_err(|error| Failure::system("a thread", &error))?;
    Ok(lines)
}

impl Load {
    fn run(&mut self) -> Result<(), Failure> {
        loop {
            while !self.ended && self.driver.client(0).outstanding() < OUTSTANDING_MAX {
                match self.lines.try_recv() {
                    Ok(line) => self.take_line(line)?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => self.ended = true,
                }
            }
            if self.ended && self.driver.client(0).outstanding() == 0 {
                return self.take_events();
            }
            let until = self.driver.now() + LOOK_INTERVAL;
            self.driver.turn(until)?;
            self.take_events()?;
            if let Some(failure) = self.driver.strangers().failure() {
                return Err(self.broken_off(failure.exit, &failure.sentence));
            }
            if self.driver.take_signals() > 0 {
                self.interrupted = true;
                return Err(self.broken_off(Exit::NoAnswer, "it was interrupted; run it again"));
            }
        }
    }

    fn take_line(&mut self, line: io::Result<Vec<u8>>) -> Result<(), Failure> {
        let line = match line {
            Ok(line) => line,
            Err(error) => return Err(self.end_by(Failure::file("read", "the input", &error))),
        };
        if line.is_empty() {
            self.ended = true;
            return Ok(());
        }
        self.lines_read += 1;
        self.progress.inc(line.len() as u64);
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let (key, value) = match parse_line(text) {
            Ok(parsed) => parsed,
            Err(why) => return Err(self.malformed(why)),
        };
        let operation = Operation::Put { key: key.into(), value: Bytes::from(value) };
        if let Err(invalid) = operation.check() {
            return Err(self.malformed(&invalid.to_string()));
        }
        let now = self.driver.now();
        self.driver.client(0).ask(now, Ask::Execute(operation));
        Ok(())
    }

    fn malformed(&mut self, why: &str) -> Failure {
        self.refused += 1;
        let line = self.lines_read;
        self.end_by(Failure::usage(format!("line {line} is not key<TAB>value: {why}")))
    }

    /// The lines before the one where it ends are brought to an end.
    fn end_by(&mut self, failure: Failure) -> Failure {
        self.ended = true;
        if let Err(failure) = self.run() {
            return failure;
        }
        let Failure { exit, sentence, .. } = failure;
        let before = self.acknowledged;
        Failure::new(exit, format!("{sentence}; the {before} lines before it are acknowledged"))
    }

    /// What is done of all lines that were read.
    fn part(&self) -> Part {
        let Self { acknowledged, refused, lines_read, .. } = *self;
        Part { acknowledged, unknown: lines_read.saturating_sub(acknowledged + refused) }
    }

    fn broken_off(&self, exit: Exit, why: &str) -> Failure {
        let sentence = format!(
            "{} of the first {} lines acknowledged, then {why}",
            self.acknowledged, self.lines_read
        );
        Failure::new(exit, sentence)
    }

    fn take_events(&mut self) -> Result<(), Failure> {
        while let Some(event) = self.driver.poll_event(0) {
            let Event::Done(_, answer) = event else { continue };
            match answer {
                Answer::Settled(_) | Answer::Read { .. } => self.acknowledged += 1,
                // What is refused once is refused again: the reason says what to do.
                Answer::Refused(why) => {
                    self.refused += 1;
                    return Err(self.broken_off(Exit::Refused, &why));
                }
                Answer::Unknown(why) | Answer::NoAnswer(why) => {
                    let why = format!("{why}; run it again");
                    return Err(self.broken_off(Exit::NoAnswer, &why));
                }
            }
        }
        self.progress.set_message(format!("{} lines", self.acknowledged));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::escape;
    use super::*;

    /// What never ends must not be read until memory does.
    #[test]
    fn no_more_of_a_line_is_read_than_may_be_stored() {
        let endless = Read::take(io::repeat(b'x'), 4 * LINE_BYTES_MAX);
        let lines = read_lines(Box::new(BufReader::new(endless))).unwrap();
        let line = lines.recv().unwrap().unwrap();
        assert_eq!(line.len() as u64, LINE_BYTES_MAX + 1);
    }

    #[test]
    fn the_longest_key_and_value_fit_on_a_line() {
        let (key, value) = (vec![b'\n'; KEY_BYTES_MAX], vec![b'\t'; VALUE_BYTES_MAX]);
        let line = escape::line(&key, &value);
        assert_eq!(line.len() as u64, LINE_BYTES_MAX);
        let lines = read_lines(Box::new(io::Cursor::new(line.clone()))).unwrap();
        assert_eq!(lines.recv().unwrap().unwrap(), line);
    }
}
