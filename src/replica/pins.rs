//! Long answers, page by page: the state that an answer is read from is pinned until its
//! client has all pages, so that pages of two states never come together.
//!
//! A client says once that it has all. If that is lost, the answer only looks unfinished: it
//! makes room for another before one does whose last page was never sent.

use std::collections::BTreeMap;
use std::time::Duration;

use super::effects::{ClientPath, Destination, Effects};
use super::shares::{Claimant, Shares};
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
const PAGES_PER_TURN_MAX: usize = 512;

/// The pages that a turn may still send.
type Budget = Shares<PAGES_PER_TURN_MAX>;

/// The answers that are pinned.
#[derive(Debug, Default)]
pub struct Pins {
    by_read: BTreeMap<ReadId, Pin>,
    shares: Shares<PINS_MAX>,
    /// Of this turn.
    budget: Budget,
}

/// A state from which further pages will be asked for.
#[derive(Debug)]
struct Pin {
    number: u64,
    /// The key of who asked: nobody else goes on with the answer.
    asker: u16,
    claimant: Claimant,
    answer: Answer,
    index: LogIndex,
    age: Option<u64>,
    touched: Instant,
}

impl Pins {
    /// Answers from the state, which is pinned if one page does not hold the answer.
    ///
    /// # Errors
    /// Busy: too many answers are pinned, or too many for this client. Or somebody else's is,
    /// by the same number.
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
            pin.send_pages(read, client, &mut self.budget, fx);
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
        let claimant = client.claimant();
        self.make_room(claimant, fx)?;
        self.shares.take(claimant, 1);
        // No pin has the number zero.
        let number = fx.unguessable().max(1);
        let (asker, touched) = (client.key, fx.now);
        let mut pin = Pin { number, asker, claimant, answer, index, age, touched };
        pin.send_pages(read, client, &mut self.budget, fx);
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
            pin.send_pages(read, client, &mut self.budget, fx);
        }
        Ok(())
    }

    /// Ends a turn: the next one may send as many pages.
    pub fn end_turn(&mut self) {
        self.budget = Budget::default();
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

    /// Makes room for one more, if need be at the cost of answers whose clients have most
    /// probably got all of them.
    fn make_room(&mut self, claimant: Claimant, fx: &mut Effects) -> Result<(), DeclineReason> {
        self.drop_idle(fx);
        while !self.shares.may_take(claimant, 1) {
            let oldest = self.oldest_ended(claimant, fx.now).ok_or(DeclineReason::Busy)?;
            self.drop(oldest, fx);
        }
        Ok(())
    }

    /// The answer that may make room for one of this claimant. Who has some already makes
    /// room among its own.
    fn oldest_ended(&self, claimant: Claimant, now: Instant) -> Option<ReadId> {
        let has_some = self.shares.held_by(claimant) > 0;
        let is_of_its_own = |pin: &Pin| pin.claimant == claimant || !has_some;
        let has_all =
            |pin: &Pin| pin.answer.has_ended() && now.since(pin.touched) >= ENDED_IDLE_MAX;
        let done = self.by_read.iter().filter(|(_, pin)| is_of_its_own(pin) && has_all(pin));
        done.min_by_key(|(_, pin)| pin.touched).map(|(read, _)| *read)
    }

    fn drop(&mut self, read: ReadId, fx: &mut Effects) {
        if let Some(pin) = self.by_read.remove(&read) {
            self.shares.give_back(pin.claimant, 1);
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
        budget: &mut Budget,
        fx: &mut Effects,
    ) {
        self.touched = fx.now;
        self.answer.release_before(read.arrived);
        let beyond = read.page.saturating_add(read.count.min(PAGES_MAX).into());
        for page in read.page..beyond {
            if !budget.may_take(self.claimant, 1) {
                return;
            }
            let Some((bytes, last)) = self.answer.page(page) else { return };
            budget.take(self.claimant, 1);
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
