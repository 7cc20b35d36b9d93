//! A directory in doubt: some of what it held cannot be read, and may have been
//! acknowledged.
//!
//! docs/guarantees.md: "A node whose disk is damaged does not stand for election, and votes
//! only for logs that cannot lack what it has lost". What it may have acknowledged ends at
//! a known end of a log, or no bound is known; then it does not vote at all.
//!
//! The doubt ends in one of these ways:
//! - The log has come to the bound again. Of two logs with last entries of one term the
//!   longer one holds the shorter one (log matching). And a log that ends in a later term
//!   holds all that was committed in earlier ones (leader completeness), and its entries
//!   of those terms come before that end.
//! - A leader that was elected without this directory's vote since the damage has sent all
//!   up to an entry that it committed in its own term. What this directory ever helped to
//!   commit is among that: the leader has it, since the majority that elected it and the
//!   one that committed it share another directory, or this leader committed it itself.

use std::collections::BTreeMap;

use crate::disk::{Doubt, LogEnd};
use crate::entry::Entry;
use crate::types::{LogIndex, Term};

use super::log::Log;

/// What a directory may have acknowledged and cannot read, and what it can read beyond.
#[derive(Debug, Default)]
pub struct InDoubt {
    doubt: Option<Doubt>,
    /// The directory's term when this life began.
    found_in: Term,
    /// Entries behind the first that is missing.
    aside: BTreeMap<LogIndex, Entry>,
}

impl InDoubt {
    /// What a start has found.
    pub fn recovered(doubt: Option<Doubt>, found_in: Term, aside: Vec<Entry>) -> Self {
        let aside = aside.into_iter().map(|entry| (entry.index, entry)).collect();
        Self { doubt, found_in, aside }
    }

    /// Whether this is the term in which the directory was found to be in doubt: whatever it
    /// has lost it had said by then.
    pub fn found_in(&self, term: Term) -> bool {
        self.found_in == term
    }

    /// Whether there is any doubt.
    pub fn is_there(&self) -> bool {
        self.doubt.is_some()
    }

    /// Whether a log that ends here cannot lack anything that this directory may have
    /// acknowledged.
    pub fn is_covered_by(&self, end: LogEnd) -> bool {
        match self.doubt {
            None => true,
            Some(Doubt { upto }) => upto.is_some_and(|bound| end >= bound),
        }
    }

    /// Whether it is known where the doubt ends, or there is none.
    pub fn has_bound(&self) -> bool {
        self.doubt.is_none_or(|doubt| doubt.upto.is_some())
    }

    /// The end of what may have been acknowledged; none: there is no doubt, or no bound.
    pub fn bound(&self) -> Option<LogEnd> {
        self.doubt.and_then(|doubt| doubt.upto)
    }

    /// The entry at the index that could be read, although one before it could not.
    pub fn aside(&self, index: LogIndex) -> Option<&Entry> {
        self.aside.get(&index)
    }

    /// Up to which index entries are missing behind the end of the log: as far as any
    /// could be read, or else as far as any may have been acknowledged.
    pub fn missing_to(&self) -> Option<LogIndex> {
        let before_aside = self.aside.keys().next().map(|index| index.previous());
        before_aside.or(self.bound().map(|(_, index)| index))
    }

    /// Takes the entry that goes on from the log, if it could be read. Those at or below the
    /// log's end are of no use any more.
    pub fn take_next(&mut self, log: &Log) -> Option<Entry> {
        while self.aside.first_key_value().is_some_and(|(index, _)| *index <= log.last_index()) {
            self.aside.pop_first();
        }
        self.has_next(log).then(|| self.aside.pop_first())?.map(|(_, entry)| entry)
    }

    /// Whether the first entry that was laid aside goes on from the log.
    pub fn has_next(&self, log: &Log) -> bool {
        self.aside.first_key_value().is_some_and(|(index, next)| {
            *index == log.last_index().next() && next.chain_after(log.last_chain()) == next.chain
        })
    }

    /// What fills the gap, as its chain has proven.
    pub fn fill(&mut self, entries: BTreeMap<LogIndex, Entry>) {
        self.aside.extend(entries);
    }

    /// Lowers the bound: what lies above cannot have been committed.
    pub fn lower_to(&mut self, bound: LogEnd) -> Option<Doubt> {
        let doubt = self.doubt.as_mut()?;
        let lowered = doubt.upto.map_or(bound, |upto| upto.min(bound));
        (doubt.upto != Some(lowered)).then(|| {
            doubt.upto = Some(lowered);
            *doubt
        })
    }

    /// There is no doubt any more.
    pub fn end(&mut self) {
        *self = Self::default();
    }
}
