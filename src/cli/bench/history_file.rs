//! The file that a bench writes its history to.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use crate::cli::exit::Failure;
use crate::history::Operation;
use crate::history::json_lines;
use crate::time::Instant;

/// The file that a bench writes its history to.
#[derive(Debug)]
pub struct HistoryFile {
    path: String,
    file: BufWriter<File>,
}

impl HistoryFile {
    /// A new file, or one that is overwritten, with a comment at its head.
    pub fn create(path: &str, comment: &str) -> Result<Self, Failure> {
        let failed = |error: &io::Error| Failure::file("write", path, error);
        let file = File::create(path).map_err(|error| failed(&error))?;
        let mut file = BufWriter::with_capacity(1 << 18, file);
        writeln!(file, "# {comment}").map_err(|error| failed(&error))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes one operation, soon.
    pub fn write(&mut self, operation: &Operation) -> Result<(), Failure> {
        writeln!(self.file, "{}", json_lines::format(operation))
            .map_err(|error| Failure::file("write", &self.path, &error))
    }

    /// Writes all that is not written yet.
    pub fn finish(&mut self) -> Result<(), Failure> {
        self.file.flush().map_err(|error| Failure::file("write", &self.path, &error))
    }
}

/// The clock of a history, in nanoseconds. It never shows the same time twice, so that
/// what one thread saw in order stands there in order.
#[derive(Debug, Default)]
pub struct Stamps {
    last: u64,
}

impl Stamps {
    /// The time now, or just after the last stamp.
    pub fn next(&mut self, now: Instant) -> u64 {
        self.last = (now.0 * 1_000).max(self.last + 1);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Kind, Output, Status};

    #[test]
    fn stamps_rise_and_stay_with_the_clock() {
        let mut stamps = Stamps::default();
        let shown: Vec<u64> =
            [5, 5, 5, 6].into_iter().map(|now| stamps.next(Instant(now))).collect();
        assert_eq!(shown, [5_000, 5_001, 5_002, 6_000]);
    }

    #[test]
    fn what_was_written_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("h.jsonl");
        let mut file = HistoryFile::create(path.to_str().unwrap(), "a comment").unwrap();
        let operation = Operation {
            client: 1,
            kind: Kind::Get,
            key: "k".into(),
            call: 5,
            ret: Some(6),
            status: Status::Ok,
            out: Output::Value(None),
            index: Some(3),
            line: 2,
        };
        file.write(&operation).unwrap();
        file.finish().unwrap();
        let text = std::fs::read(&path).unwrap();
        assert_eq!(json_lines::read(&text).unwrap(), [operation]);

        let failure = HistoryFile::create("/nowhere/h.jsonl", "").unwrap_err();
        assert!(failure.sentence.contains("/nowhere/h.jsonl"));
    }
}
