//! Clients that write without rest, and the record of what was acknowledged to them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::cli::args::ClientFlags;
use crate::cli::driver::Driver;
use crate::cli::exit::Failure;
use crate::client::{Answer, Ask, Event};
use crate::operation::Operation;

/// How many clients write at once.
pub const CLIENTS: usize = 8;
/// What the keys begin with that the clients write.
pub const KEY_PREFIX: &str = "demo/";

/// How long the thread may sleep before it looks whether it is to stop.
const SLEEP_MAX: Duration = Duration::from_millis(20);

/// Clients that write on a thread of their own, each one key after the other.
#[derive(Debug)]
pub struct Traffic {
    started: Instant,
    stop: Arc<AtomicBool>,
    record: Arc<Mutex<Record>>,
    thread: Option<JoinHandle<Result<(), Failure>>>,
}

impl Traffic {
    /// Begins to write.
    ///
    /// # Errors
    /// The system denies a socket.
    pub fn start(flags: &ClientFlags) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let started = Instant::now();
        let record = Arc::new(Mutex::new(Record::new(started)));
        let clients = Clients {
            driver: Driver::new(flags, CLIENTS, false, 1)?,
            writes: [0; CLIENTS],
            stop: Arc::clone(&stop),
            record: Arc::clone(&record),
        };
        let thread = Some(thread::spawn(move || clients.run()));
        Ok(Self { started, stop, record, thread })
    }

    /// The time on the record's clock.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// What was acknowledged so far.
    pub fn record(&self) -> Record {
        lock(&self.record).clone()
    }

    /// Writes nothing new, and waits for the answers that are due.
    ///
    /// # Errors
    /// What the system denied the clients meanwhile.
    pub fn stop(mut self) -> Result<Record, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map_or(Ok(Ok(())), JoinHandle::join);
        ended.map_err(|_| Failure::refused("the clients' thread panicked"))??;
        Ok(self.record())
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread has.
struct Clients {
    driver: Driver,
    /// How many writes each client has begun; the last of them may be outstanding.
    writes: [u32; CLIENTS],
    stop: Arc<AtomicBool>,
    record: Arc<Mutex<Record>>,
}

impl Clients {
    fn run(mut self) -> Result<(), Failure> {
        loop {
            let stopping = self.stop.load(Ordering::Relaxed);
            (0..CLIENTS).for_each(|client| self.take_answers(client));
            let idle = |client: &usize| self.driver.client(*client).outstanding() == 0;
            let idle: Vec<usize> = (0..CLIENTS).filter(idle).collect();
            if stopping && idle.len() == CLIENTS {
                self.driver.close();
                return Ok(());
            }
            if !stopping {
                for client in idle {
                    self.write(client);
                }
            }
            let until = self.driver.now() + SLEEP_MAX;
            self.driver.turn(until)?;
        }
    }

    fn write(&mut self, client: usize) {
        self.writes[client] += 1;
        let (key, value) = pair(client, self.writes[client]);
        let now = self.driver.now();
        self.driver.client(client).ask(now, Ask::Execute(Operation::Put { key, value }));
    }

    fn take_answers(&mut self, client: usize) {
        while let Some(event) = self.driver.poll_event(client) {
            let Event::Done(_, answer) = event else { continue };
            let mut record = lock(&self.record);
            match answer {
                Answer::Settled(_) => record.acknowledge(client, self.writes[client]),
                _ => record.unacknowledged += 1,
            }
        }
    }
}

/// The key and the value of a client's *n*th write.
fn pair(client: usize, write: u32) -> (Bytes, Bytes) {
    let key = format!("{KEY_PREFIX}client-{client}/{write:07}");
    let value = format!("write {write} of client {client}");
    (key.into(), value.into())
}

/// What was acknowledged, and when, counted from the record's beginning.
#[derive(Clone, Debug)]
pub struct Record {
    started: Instant,
    /// In the order of time.
    acknowledged: Vec<Acknowledged>,
    /// Writes that were given up: refused, or of unknown outcome.
    pub unacknowledged: usize,
}

#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    at: Duration,
    client: usize,
    write: u32,
}

impl Record {
    fn new(started: Instant) -> Self {
        Self { started, acknowledged: Vec::new(), unacknowledged: 0 }
    }

    fn acknowledge(&mut self, client: usize, write: u32) {
        self.acknowledged.push(Acknowledged { at: self.started.elapsed(), client, write });
    }

    /// How many writes were acknowledged.
    pub fn len(&self) -> usize {
        self.acknowledged.len()
    }

    /// How many were acknowledged after that time.
    pub fn count_after(&self, time: Duration) -> usize {
        self.acknowledged.len() - self.acknowledged.partition_point(|write| write.at <= time)
    }

    /// The keys and values that were acknowledged.
    pub fn pairs(&self) -> impl Iterator<Item = (Bytes, Bytes)> {
        self.acknowledged.iter().map(|write| pair(write.client, write.write))
    }

    /// How many writes were acknowledged in each of `columns` stretches of `width`, the
    /// first of which begins at `from`.
    pub fn counts(&self, from: Duration, width: Duration, columns: usize) -> Vec<usize> {
        let place = |time: Duration| self.acknowledged.partition_point(|write| write.at < time);
        let edges: Vec<usize> = (0..).map(|n| place(from + width * n)).take(columns + 1).collect();
        edges.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// The longest time without an acknowledgment that ended after `from`, or that still
    /// goes on at `until`.
    pub fn longest_pause(&self, from: Duration, until: Duration) -> Duration {
        let next = self.acknowledged.partition_point(|write| write.at <= from);
        let last = next.checked_sub(1).map_or(Duration::ZERO, |place| self.acknowledged[place].at);
        let times = self.acknowledged[next..].iter().map(|write| write.at.min(until));
        let mut longest = Duration::ZERO;
        let mut before = last;
        for time in times.chain([until]) {
            longest = longest.max(time.saturating_sub(before));
            before = time;
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn record(times: &[u64]) -> Record {
        let acknowledged =
            |(write, time): (u32, &u64)| Acknowledged { at: ms(*time), client: 1, write };
        Record {
            acknowledged: (1..).zip(times).map(acknowledged).collect(),
            ..Record::new(Instant::now())
        }
    }

    #[test]
    fn the_pause_is_the_longest_gap_that_ends_after_the_kill() {
        let record = record(&[10, 400, 420, 500, 800, 810, 900]);
        assert_eq!(record.longest_pause(ms(510), ms(1_000)), ms(300), "from the last before");
        assert_eq!(record.longest_pause(ms(100), ms(1_000)), ms(390), "it spans the kill");
        assert_eq!(record.longest_pause(ms(805), ms(1_000)), ms(100), "it still goes on");
        assert_eq!(record.longest_pause(ms(950), ms(2_000)), ms(1_100), "none after the kill");
        assert_eq!(Record::new(Instant::now()).longest_pause(ms(5), ms(30)), ms(30), "none at all");
    }

    #[test]
    fn writes_are_counted_in_the_stretch_that_they_fall_in() {
        let record = record(&[99, 100, 149, 150, 299, 300]);
        assert_eq!(record.counts(ms(100), ms(50), 4), [2, 1, 0, 1]);
        assert_eq!(record.count_after(ms(150)), 2);
    }

    #[test]
    fn every_write_has_a_key_of_its_own() {
        let pairs: Vec<_> = record(&[1, 2]).pairs().collect();
        let [(first, value), (second, _)] = pairs.as_slice() else { panic!("two pairs") };
        assert_ne!(first, second);
        assert!(first.starts_with(KEY_PREFIX.as_bytes()));
        assert_eq!(*value, "write 1 of client 1");
    }
}
