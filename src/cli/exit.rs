//! How a command ends: the one place of exit codes.

use std::fmt;

use serde_json::json;

use crate::daemon::RunError;

/// What a script can tell from the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// A negative answer: the key is absent, the comparison failed, a check found a fault.
    Negative = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No answer in time, or an outcome that is not known.
    NoAnswer = 3,
    /// Refused.
    Refused = 4,
    /// A disk failed.
    Disk = 5,
}

/// A command that did not do what it was asked, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// One sentence: what was found, what was expected, what to do.
    pub sentence: String,
    /// What it has done all the same, of a command that does many things.
    pub part: Option<Part>,
}

/// How much of a command that does many things is done, and may yet come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// So many are certainly done.
    pub acknowledged: u64,
    /// So many others may be.
    pub unknown: u64,
}

/// What a command comes to.
pub type Outcome = Result<Exit, Failure>;

impl Failure {
    /// A command of which nothing was done.
    pub fn new(exit: Exit, sentence: String) -> Self {
        Self { exit, sentence, part: None }
    }

    /// The command line is wrong.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::new(Exit::Usage, sentence.into())
    }

    /// Nobody answered in time, or the outcome is not known.
    pub fn no_answer(sentence: impl Into<String>) -> Self {
        Self::new(Exit::NoAnswer, sentence.into())
    }

    /// Certainly not done.
    pub fn refused(sentence: impl Into<String>) -> Self {
        Self::new(Exit::Refused, sentence.into())
    }

    /// A file could not be read or written.
    pub fn file(what: &str, path: &str, error: &std::io::Error) -> Self {
        Self::new(Exit::Disk, format!("cannot {what} {path}: {error}"))
    }

    /// The system denied something that the command cannot do without.
    pub fn system(what: &str, error: &std::io::Error) -> Self {
        Self::refused(format!("the system denies {what}: {error}"))
    }

    /// The failure as `--json` shows it. It is "refused" only if certainly nothing is done.
    pub fn to_json(&self) -> serde_json::Value {
        let nothing = Part { acknowledged: 0, unknown: 0 };
        let is_done = self.part.is_some_and(|part| part != nothing);
        let outcome = if self.exit == Exit::NoAnswer || is_done { "unknown" } else { "refused" };
        let mut object = json!({ "error": self.sentence, "outcome": outcome });
        if let Some(part) = self.part {
            object["acknowledged"] = part.acknowledged.into();
        }
        object
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let exit = match error.exit_code() {
            2 => Exit::Usage,
            5 => Exit::Disk,
            _ => Exit::Refused,
        };
        Self::new(exit, error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_is_what_is_certainly_not_done() {
        let outcome = |exit, part: Option<(u64, u64)>| {
            let part = part.map(|(acknowledged, unknown)| Part { acknowledged, unknown });
            let shown = Failure { exit, sentence: "why".into(), part }.to_json();
            shown["outcome"].as_str().map(str::to_owned)
        };
        for exit in [Exit::Usage, Exit::Refused, Exit::Disk] {
            assert_eq!(outcome(exit, None).as_deref(), Some("refused"));
            assert_eq!(outcome(exit, Some((0, 0))).as_deref(), Some("refused"));
            assert_eq!(outcome(exit, Some((0, 7))).as_deref(), Some("unknown"));
            assert_eq!(outcome(exit, Some((7, 0))).as_deref(), Some("unknown"));
        }
        assert_eq!(outcome(Exit::NoAnswer, None).as_deref(), Some("unknown"));
    }
}
