//! Reads of a client that are not complete yet.

use super::pages::{Pages, Run};
use super::servers::ServerIndex;
use super::{Answer, AskId, Client, Event, Timer};
use crate::time::{Instant, micros};
use crate::types::LogIndex;
use crate::wire::{DeclineReason, Message, Page, Query, Read, ReadId};

/// After this many vain attempts a node that pinned a state is given up.
const ATTEMPTS_AT_PIN_MAX: u32 = 8;

/// A read that is not complete yet.
#[derive(Debug)]
pub(super) struct PendingRead {
    query: Query,
    stale: bool,
    /// When it was first sent: no answer is of a state from before that less the answer's age.
    asked_at: Instant,
    target: ServerIndex,
    attempts: u32,
    pin: Option<Pin>,
    pages: Pages,
}

/// The state that the pages come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pin {
    number: u64,
    index: LogIndex,
    age: Option<u64>,
}

impl PendingRead {
    pub(super) fn new(query: Query, stale: bool, target: ServerIndex, asked_at: Instant) -> Self {
        let pages = Pages::default();
        Self { query, stale, asked_at, target, attempts: 0, pin: None, pages }
    }

    fn begin_anew(&mut self, target: ServerIndex) {
        self.target = target;
        self.pin = None;
        self.pages.begin_anew();
    }

    /// Whether pages were handed out, which those of another state must not follow.
    fn has_begun(&self) -> bool {
        self.pages.next() > 0
    }

    fn message(&self, read: ReadId, run: Run) -> Message {
        Message::Read(Read {
            read,
            query: self.query.clone(),
            stale: self.stale,
            pin: self.pin.map_or(0, |pin| pin.number),
            arrived: self.pages.next(),
            page: run.first,
            count: run.count,
        })
    }
}

impl Client {
    /// Asks for the first pages, or for all that were asked for and have not come.
    pub(super) fn send_read(&mut self, id: AskId) {
        let read_id = ReadId { client: self.identity, number: id.0 };
        let Some(read) = self.reads.get_mut(&id) else { return };
        let missing = read.pages.missing();
        let (target, attempts, pin) = (read.target, read.attempts, read.pin);
        for run in missing {
            let message = read.message(read_id, run);
            if pin.is_none() {
                self.send_with_copies(id, target, message);
                break;
            }
            self.sends.push_back((target, message));
        }
        let patience = match pin {
            None => self.servers.patience(target, attempts),
            Some(_) => self.servers.patience_at_pin(target, attempts),
        };
        self.timers.arm(Timer::Retry(id), self.now + patience);
    }

    pub(super) fn on_page(&mut self, from: ServerIndex, page: Page) {
        if page.read.client != self.identity {
            return;
        }
        let id = AskId(page.read.number);
        let Some(read) = self.reads.get_mut(&id) else { return };
        let pin = Pin { number: page.pin, index: page.index, age: page.age };
        let of_this_answer = match read.pin {
            None => read.target == from || !read.stale,
            Some(known) => known == pin && read.target == from,
        };
        if !of_this_answer || !read.pages.wants(page.page) {
            return;
        }
        if read.pin.is_none() {
            (read.pin, read.target) = (Some(pin), from);
        }
        read.attempts = 0;
        let way = self.servers.round_trip(from);
        read.pages.take_in(page.page, page.bytes, page.last, way, self.now);
        self.timers.arm(Timer::GiveUp(id), self.now + self.config.timeout);
        if !self.hand_out_pages(id) {
            self.ask_for_more(id);
        }
    }

    /// Hands out the pages that are next. Returns whether the answer is complete.
    fn hand_out_pages(&mut self, id: AskId) -> bool {
        let Some(read) = self.reads.get_mut(&id) else { return true };
        while let Some((bytes, last)) = read.pages.pop() {
            self.events.push_back(Event::Bytes(id, bytes));
            if last {
                let pin = read.pin.expect("a page has arrived");
                let since = micros(self.now.since(read.asked_at));
                let age = pin.age.map(|age| age.saturating_add(since));
                self.release(id);
                self.finish(id, Answer::Read { index: pin.index, age });
                return true;
            }
        }
        false
    }

    /// Tells the node once that it may let go of what it has pinned. If that is lost, the node
    /// finds out by itself, later.
    fn release(&mut self, id: AskId) {
        let read_id = ReadId { client: self.identity, number: id.0 };
        let Some(read) = self.reads.get(&id) else { return };
        if read.pin.is_some_and(|pin| pin.number != 0) {
            let behind_the_last = Run { first: read.pages.next(), count: 1 };
            self.sends.push_back((read.target, read.message(read_id, behind_the_last)));
        }
    }

    /// Keeps pages on their way, and asks again for those that were overtaken.
    fn ask_for_more(&mut self, id: AskId) {
        let read_id = ReadId { client: self.identity, number: id.0 };
        let Some(read) = self.reads.get_mut(&id) else { return };
        for run in read.pages.due() {
            self.sends.push_back((read.target, read.message(read_id, run)));
        }
        let patience = self.servers.patience_at_pin(read.target, 0);
        self.timers.arm(Timer::Retry(id), self.now + patience);
    }

    pub(super) fn on_read_declined(&mut self, from: ServerIndex, id: AskId, reason: DeclineReason) {
        let pause = self.pause();
        let Some(read) = self.reads.get_mut(&id).filter(|read| read.target == from) else { return };
        match reason {
            DeclineReason::Invalid(invalid) => {
                self.finish(id, Answer::Refused(invalid.to_string()));
            }
            DeclineReason::Denied(denial) => {
                self.finish(id, Answer::Refused(denial.to_string()));
            }
            DeclineReason::PinGone if read.has_begun() => {
                let lost = "the node dropped the state that the answer came from; read again";
                self.finish(id, Answer::NoAnswer(lost.into()));
            }
            // A late answer to an earlier asking: pages of this answer were handed out, and
            // those of another state must not follow them.
            _ if read.has_begun() => {}
            _ => {
                let target = if read.stale { from } else { self.servers.after(from) };
                read.begin_anew(target);
                // That node was not silent: it was not asked yet.
                read.attempts = 0;
                self.timers.arm(Timer::Retry(id), self.now + pause);
            }
        }
    }

    /// Nothing has come for a while: the first times the frame is believed lost, then
    /// the node, unless pages of its answer were handed out already.
    pub(super) fn retry_read(&mut self, id: AskId) {
        let Some(read) = self.reads.get_mut(&id) else { return };
        read.attempts += 1;
        let bound = read.stale
            || read.has_begun()
            || (read.pin.is_some() && read.attempts < ATTEMPTS_AT_PIN_MAX);
        if !bound && read.attempts % self.servers.tries(read.target) == 0 {
            let target = self.servers.after(read.target);
            read.begin_anew(target);
        }
        self.send_read(id);
    }

    pub(super) fn give_up_read(&mut self, id: AskId) {
        let Some(read) = self.reads.get(&id) else { return };
        let waited = self.config.timeout.as_secs_f64();
        let address = self.servers.address(read.target);
        let sentence = if read.stale {
            format!(
                "no answer within {waited} s from {address}, which alone is asked, as the first; \
                 name another first"
            )
        } else {
            self.servers.forsake(read.target, self.now - self.config.timeout);
            format!("no answer within {waited} s, last asked {address}")
        };
        self.finish(id, Answer::NoAnswer(sentence));
    }
}
