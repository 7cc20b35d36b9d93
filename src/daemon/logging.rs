//! Log lines on standard error, which never hold up who writes them.
//!
//! A pipe that nobody reads blocks its writer. So lines go through a bounded queue to a
//! thread of their own; what does not fit is dropped and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use log::LevelFilter;
use simplelog::{ConfigBuilder, WriteLogger};

use super::privileges::drop_capabilities;

const LINES_MAX: usize = 1_024;

/// The way to standard error.
#[derive(Clone, Debug)]
pub struct StandardError {
    queue: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
    line: Vec<u8>,
}

enum Item {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
    GiveUp,
}

impl StandardError {
    /// Starts the thread that writes to `output`.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, lines) = sync_channel(LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let dropped_before = Arc::clone(&dropped);
        thread::Builder::new()
            .name("log".into())
            .spawn(move || write_lines(&lines, &dropped_before, output))?;
        Ok(Self { queue, dropped, line: Vec::new() })
    }

    /// Makes it the destination of the process's log. Later calls change nothing.
    pub fn log_here(&self) {
        let config = ConfigBuilder::new()
            .set_time_format_rfc3339()
            .set_thread_level(LevelFilter::Off)
            .set_target_level(LevelFilter::Off)
            .set_location_level(LevelFilter::Off)
            .build();
        if WriteLogger::init(LevelFilter::Info, config, self.clone()).is_err() {
            log::debug!("the log has a destination already");
        }
    }

    /// Says one line to the person who started the process.
    pub fn say(&self, sentence: &str) {
        self.queue_line(format!("quorate: {sentence}\n").into_bytes());
    }

    /// The thread needs no capabilities any more. To become another user takes them from all
    /// threads alike, so they must have them until then.
    pub fn give_up_capabilities(&self) {
        // With a queue so full it goes on with what it was given.
        self.queue.try_send(Item::GiveUp).ok();
    }

    /// Waits until all lines so far are written, but not for long.
    pub fn flush_briefly(&self) {
        let (done, written) = sync_channel(1);
        if self.queue.try_send(Item::Flush(done)).is_ok() {
            written.recv_timeout(Duration::from_millis(200)).ok();
        }
    }

    fn queue_line(&self, line: Vec<u8>) {
        if self.queue.try_send(Item::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        if self.line.ends_with(b"\n") {
            let line = std::mem::take(&mut self.line);
            self.queue_line(line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Nobody is left to be told when standard error itself fails: such lines are lost.
fn write_lines(items: &Receiver<Item>, dropped: &AtomicU64, mut output: impl Write) {
    for item in items {
        match item {
            Item::Line(line) => output.write_all(&line).ok(),
            Item::Flush(done) => done.try_send(()).ok(),
            Item::GiveUp => drop_capabilities().ok(),
        };
        let count = dropped.swap(0, Ordering::Relaxed);
        if count > 0 {
            writeln!(output, "quorate: {count} lines were dropped here: nobody read them").ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_blocked_reader_blocks_nobody_and_learns_what_it_missed() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let error = StandardError::start(writer).unwrap();
        let line = "x".repeat(1_000);
        for _ in 0..5_000 {
            error.say(&line);
        }
        // The thread may have told of some of them by now.
        let not_told = error.dropped.load(Ordering::Relaxed);
        drop(error);
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        let number = |line: &str| line.split(' ').nth(1)?.parse::<u64>().ok();
        let told = read.lines().filter(|line| line.contains("were dropped here"));
        let dropped: u64 = told.filter_map(number).sum::<u64>() + not_told;
        assert!(dropped > 2_000, "{dropped}");
        assert!(read.contains("lines were dropped here"));
    }
}
