//! A scenario's text: prose, events, and what follows from each.

use std::fmt;

use super::Stage;
use super::command;
use super::difference::difference;

/// What stands before an event.
const EVENT: &str = "> ";
/// What stands before each line that follows from it.
const OUTCOME: &str = "  ";

/// The parts of a scenario, in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// A comment or an empty line.
    Prose(String),
    Event {
        line: usize,
        command: String,
        outcome: Vec<String>,
    },
}

impl Script {
    pub fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        for (at, text) in text.lines().enumerate() {
            let line = at + 1;
            if let Some(command) = text.strip_prefix(EVENT) {
                let (command, outcome) = (command.to_owned(), Vec::new());
                parts.push(Part::Event { line, command, outcome });
            } else if text.is_empty() || text.starts_with('#') {
                parts.push(Part::Prose(text.to_owned()));
            } else {
                let outcome = text.strip_prefix(OUTCOME);
                let (Some(Part::Event { outcome: lines, .. }), Some(outcome)) =
                    (parts.last_mut(), outcome)
                else {
                    panic!("line {line} is no prose, no event, and follows from none: {text}");
                };
                lines.push(outcome.to_owned());
            }
        }
        Self { parts }
    }

    /// The same prose and the same events, with what really follows.
    pub fn play(&self) -> Self {
        let mut stage = Stage::default();
        let play = |part: &Part| match part {
            Part::Prose(text) => Part::Prose(text.clone()),
            Part::Event { line, command, .. } => {
                command::perform(command, &mut stage)
                    .unwrap_or_else(|why| panic!("line {line}: > {command}: {why}"));
                let outcome = stage.take_said();
                Part::Event { line: *line, command: command.clone(), outcome }
            }
        };
        Self { parts: self.parts.iter().map(play).collect() }
    }

    /// Where another play of this script comes out differently.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let mut found = Vec::new();
        for (ours, theirs) in self.parts.iter().zip(&other.parts) {
            let Part::Event { line, command, outcome: told } = ours else { continue };
            let Part::Event { outcome: played, .. } = theirs else { continue };
            if told != played {
                found.push(format!("line {line}: {EVENT}{command}"));
                found.extend(difference(told, played));
            }
        }
        (!found.is_empty()).then(|| found.join("\n"))
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Prose(text) => writeln!(f, "{text}")?,
                Part::Event { command, outcome, .. } => {
                    writeln!(f, "{EVENT}{command}")?;
                    outcome.iter().try_for_each(|line| writeln!(f, "{OUTCOME}{line}"))?;
                }
            }
        }
        Ok(())
    }
}
