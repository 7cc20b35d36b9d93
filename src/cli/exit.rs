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
}

/// What a command comes to.
pub type Outcome = Result<Exit, Failure>;

impl Failure {
    /// The command line is wrong.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, sentence: sentence.into() }
    }

    /// Nobody answered in time, or the outcome is not known.
    pub fn no_answer(sentence: impl Into<String>) -> Self {
        Self { exit: Exit::NoAnswer, sentence: sentence.into() }
    }

    /// Certainly not done.
    pub fn refused(sentence: impl Into<String>) -> Self {
        Self { exit: Exit::Refused, sentence: sentence.into() }
    }

    /// A file could not be read or written.
    pub fn file(what: &str, path: &str, error: &std::io::Error) -> Self {
        Self { exit: Exit::Disk, sentence: format!("cannot {what} {path}: {error}") }
    }

    /// The system denied something that the command cannot do without.
    pub fn system(what: &str, error: &std::io::Error) -> Self {
        Self::refused(format!("the system denies {what}: {error}"))
    }

    /// The failure as `--json` shows it. Whatever is not certain is "unknown".
    pub fn to_json(&self) -> serde_json::Value {
        let outcome = if self.exit == Exit::NoAnswer { "unknown" } else { "refused" };
        json!({ "error": self.sentence, "outcome": outcome })
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let exit = match error.exit_code() {
            2 => Exit::Usage,
            5 => Exit::Disk,
            _ => Exit::Refused,
        };
        Self { exit, sentence: error.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}
