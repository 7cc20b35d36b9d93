//! Why a node ends, as a sentence and an exit code.

use std::fmt;
use std::io;

/// Why a node did not start, or had to stop.
#[derive(Debug)]
pub struct RunError {
    kind: Kind,
    sentence: String,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Usage,
    Refused,
    Disk,
}

impl RunError {
    /// The command line is wrong.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, sentence: sentence.into() }
    }

    /// The node may not or cannot run here.
    pub fn refused(sentence: impl Into<String>) -> Self {
        Self { kind: Kind::Refused, sentence: sentence.into() }
    }

    /// The disk holds no longer what it should, or does not take what it should.
    pub fn disk(sentence: impl Into<String>) -> Self {
        Self { kind: Kind::Disk, sentence: sentence.into() }
    }

    /// The operating system denied what the event loop cannot do without.
    pub(super) fn system(what: &str, error: &io::Error) -> Self {
        Self::refused(format!("the system denies {what}: {error}"))
    }

    /// The exit code that tells scripts what kind of error it is.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Usage => 2,
            Kind::Refused => 4,
            Kind::Disk => 5,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for RunError {}
