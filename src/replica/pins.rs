//! Long answers, page by page: the state that an answer is read from is pinned until its
//! client has all pages, so that pages of two states never come together.
//!
//! A client says once that it has all. If that is lost, the answer only looks unfinished: it
//! makes room for another before one does whose last page was never sent.

use std::collections::BTreeMap;
use std::time::Duration;

use super::effects::{ClientPath, Destination, Effects};
use crate::store::{Answer, State};
use crate::time::Instant;
use crate::types::LogIndex;
use crate::wire::{DeclineReason, Message, PAGES_MAX, Page, Read, ReadId};

/// The most answers that are pinned at once.
const PINS_MAX: usize = 64;
/// How long an answer is pinned without being asked for.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// How long without being asked for, where others want its place, once all pages were sent.
/// A client that lacks one of them asks again before, several times.
const ENDED_IDLE_MAX: Duration = Duration::from_secs(2);
/// The most further pages of one turn: a burst of small reads must not hold the loop.
/// Clients ask again for what does not come.
const PAGES_PER_TURN_MAX: u32 = 512;

/// The answers that are pinned.
#[derive(Debug, Default)]
pub struct Pins {
    by_read: BTreeMap<ReadId, Pin>,
    /// How many of their pages this turn has sent.
    pages_sent: u32,
}

/// A state from which further pages will be asked for.
#[derive(Debug)]
struct Pin {
    number: u64,
    /// The key of who asked: nobody else goes on with the answer.
    asker: u16,
    answer: Answer,
    index: LogIndex,
    age: Option<u64>,
    touched: Instant,
}

impl Pins {
    /// Answers from the state, which is pinned if one page does not hold the answer.
    ///
    /// # Errors
    /// Busy: too many answers are pinned. Or somebody else's is, by the same number.
    pub fn answer(
        &mut self,
        read: &Read,
        client: ClientPath,
        age: Option<u64>,
        state: &State,
        fx: &mut Effects,
    ) -> Result<(), DeclineReason> {
        if let Some(pin) = self.by_read.get_mut(&read.read) {
            if pin.asker != client.key {
                return Err(DeclineReason::PinGone);
            }
            // The same read was asked for twice: it keeps the state of its first answer.
            pin.send_pages(read, client, &mut self.pages_sent, fx);
            return Ok(());
        }
        let mut answer = Answer::new(state.clone(), read.query.clone());
        let index = state.index();
        let Some((bytes, last)) = answer.page(0) else { return Ok(()) };
        if last {
            let page = Page { read: read.read, pin: 0, page: 0, last, index, age, bytes };
            fx.send(Destination::Client(client), Message::Page(page));
            return Ok(());
        }
        self.make_room(fx)?;
        // No pin has the number zero.
        let number = fx.unguessable().max(1);
        let mut pin = Pin { number, asker: client.key, answer, index, age, touched: fx.now };
        pin.send_pages(read, client, &mut self.pages_sent, fx);
        self.by_read.insert(read.read, pin);
        fx.keep_sweeping();
        Ok(())
    }

    /// Sends further pages of an answer, or drops it when its client has all.
    ///
    /// # Errors
    /// The pin is gone, or never was.
    pub fn send_further_pages(
        &mut self,
        read: &Read,
        client: ClientPath,
        fx: &mut Effects,
    ) -> Result<(), DeclineReason> {
        let is_its = |pin: &&mut Pin| pin.number == read.pin && pin.asker == client.key;
        let pin = self.by_read.get_mut(&read.read).filter(is_its);
        let pin = pin.ok_or(DeclineReason::PinGone)?;
        if pin.answer.ends_before(read.arrived) {
            self.drop(read.read, fx);
        } else {
            pin.send_pages(read, client, &mut self.pages_sent, fx);
        }
        Ok(())
    }

    /// Ends a turn: the next one may send as many pages.
    pub fn end_turn(&mut self) {
        self.pages_sent = 0;
    }

    /// Drops what clients have not come back for.
    pub fn drop_idle(&mut self, fx: &mut Effects) {
        let is_idle = |pin: &Pin| fx.now.since(pin.touched) >= IDLE_MAX;
        let idle = self.by_read.iter().filter(|(_, pin)| is_idle(pin));
        let idle: Vec<ReadId> = idle.map(|(read, _)| *read).collect();
        for read in idle {
            self.drop(read, fx);
        }
    }

    /// Makes room for one more, if need be at the cost of the answer whose client has most
    /// probably got all of it.
    fn make_room(&mut self, fx: &mut Effects) -> Result<(), DeclineReason> {
        self.drop_idle(fx);
        if self.by_read.len() < PINS_MAX {
            return Ok(());
        }
        let has_all =
            |pin: &Pin| pin.answer.has_ended() && fx.now.since(pin.touched) >= ENDED_IDLE_MAX;
        let done = self.by_read.iter().filter(|(_, pin)| has_all(pin));
        let oldest = done.min_by_key(|(_, pin)| pin.touched).map(|(read, _)| *read);
        self.drop(oldest.ok_or(DeclineReason::Busy)?, fx);
        Ok(())
    }

    fn drop(&mut self, read: ReadId, fx: &mut Effects) {
        if let Some(pin) = self.by_read.remove(&read) {
            fx.retire(pin.answer.into_state());
        }
    }

    /// Whether nothing is pinned.
    pub fn is_empty(&self) -> bool {
        self.by_read.is_empty()
    }
}

impl Pin {
    fn send_pages(
        &mut self,
        read: &Read,
        client: ClientPath,
        pages_sent: &mut u32,
        fx: &mut Effects,
    ) {
        self.touched = fx.now;
        self.answer.release_before(read.arrived);
        let beyond = read.page.saturating_add(read.count.min(PAGES_MAX).into());
        for page in read.page..beyond {
            if *pages_sent == PAGES_PER_TURN_MAX {
                return;
            }
            let Some((bytes, last)) = self.answer.page(page) else { return };
            *pages_sent += 1;
            let message = Message::Page(Page {
                read: read.read,
                pin: self.number,
                page,
                last,
                index: self.index,
                age: self.age,
                bytes,
            });
            fx.send(Destination::Client(client), message);
            if last {
                return;
            }
        }
    }
}
