//! Damaged files that are kept while the directory is in doubt.
//!
//! A disk that does not return what it holds may do so later: storage that the nodes share
//! fails for a while, and comes back with every byte. So a start that has to do without a file
//! removes nothing that may be the only copy of what was acknowledged. It gives the file another
//! name, and each start that is still in doubt reads it once more. A snapshot that has become
//! readable takes its name again, for whatever a snapshot of the cluster holds is committed.
//! Entries go where their chains prove that they belong, as those do which other nodes send.
//!
//! The files are free when the end of the doubt is durable, or when they take the room that the
//! node needs for what it is sent. Somebody leads then or has been asked, and docs/guarantees.md:
//! "votes only for logs that cannot lack what it has lost".

use std::collections::BTreeMap;

use bytes::Bytes;

use super::SegmentSize;
use super::directory::{Directory, DiskError};
use super::image::Image;
use super::meta::Meta;
use super::names::{self, JOURNAL};
use super::record::LogRecord;
use super::scan::{Event, events_in};
use crate::entry::Entry;
use crate::types::{DirectoryId, LogIndex};

/// How much of a file is read at once, and how much once a part of it cannot be read.
const SLICE_BYTES: usize = 64 << 10;
const PAGE_BYTES: usize = 4_096;
/// What stands where a page cannot be read: of no sector, and of no snapshot.
const LOST: u8 = 0xff;
/// The most pages of one file that may be lost before the rest is not asked for.
const LOST_MAX: usize = 64;

/// Entries that files which were set aside hold, by index, the newest record last.
pub(super) type Candidates = BTreeMap<LogIndex, Vec<Entry>>;

/// Takes the file, which is damaged, out of the way: for good, unless there is any doubt.
pub(super) fn give_up(
    name: &str,
    meta: &Meta,
    directory: &mut dyn Directory,
) -> Result<(), DiskError> {
    if meta.doubt.is_none() {
        return directory.remove(name);
    }
    // Each start has a number of its own, so nothing that was set aside before is replaced.
    directory.rename(name, &names::set_aside(meta.incarnation, name))
}

/// The files that were set aside, the oldest first: the names that they have, and those that
/// they had.
pub(super) fn files(directory: &dyn Directory) -> Result<Vec<(String, String)>, DiskError> {
    let mut names = directory.names()?;
    names.sort();
    let with_former = |name: String| {
        let former = names::former_name(&name)?.to_owned();
        Some((name, former))
    };
    Ok(names.into_iter().filter_map(with_former).collect())
}

/// Removes all that was set aside. Returns whether there was anything.
///
/// # Errors
/// The disk's.
pub(super) fn free(directory: &mut dyn Directory) -> Result<bool, DiskError> {
    let files = files(directory)?;
    for (name, _) in &files {
        if let Err(error) = directory.remove(name)
            // Who writes snapshots may want room at the same time.
            && directory.names()?.contains(name)
        {
            return Err(error);
        }
    }
    if !files.is_empty() {
        directory.sync_names()?;
    }
    Ok(!files.is_empty())
}

/// The entries that can be read of the segments that were set aside.
pub(super) fn entries(
    files: &[(String, String)],
    meta: &Meta,
    directory: &dyn Directory,
) -> Candidates {
    let mut candidates = Candidates::new();
    let of = (meta.stamp, meta.segment_size);
    for (name, former) in files {
        let records = names::segment_number(JOURNAL, former)
            .and_then(|number| segment_events((number, name), of, directory))
            .unwrap_or_default();
        for event in records {
            if let Event::Record(_, LogRecord::Append(entry) | LogRecord::Aside(entry)) = event {
                candidates.entry(entry.index).or_default().push(entry);
            }
        }
    }
    candidates
}

fn segment_events(
    (number, name): (u32, &str),
    (stamp, size): (DirectoryId, SegmentSize),
    directory: &dyn Directory,
) -> Option<Vec<Event>> {
    let bytes = read_again(name, directory)?;
    Some(events_in(&Image::new(number, name.to_owned(), stamp, size, bytes)))
}

/// All that the disk returns of the file by now; none: it lacks too much.
pub(super) fn read_again(name: &str, directory: &dyn Directory) -> Option<Bytes> {
    let (mut bytes, mut lost, mut most) = (Vec::new(), 0, SLICE_BYTES);
    loop {
        match directory.reread(name, bytes.len() as u64, most) {
            Ok(slice) => {
                bytes.extend_from_slice(&slice);
                if slice.len() < most {
                    return Some(bytes.into());
                }
            }
            Err(_) if most > PAGE_BYTES => most = PAGE_BYTES,
            Err(_) if lost < LOST_MAX => {
                lost += 1;
                bytes.resize(bytes.len() + PAGE_BYTES, LOST);
            }
            Err(_) => return None,
        }
    }
}

/// Adds what the candidates prove to be missing among these entries above a log that ends with
/// this index and chain value.
pub(super) fn complete(
    aside: &mut Vec<Entry>,
    (last, chain): (LogIndex, u32),
    candidates: &Candidates,
) {
    let mut known: BTreeMap<LogIndex, Entry> = BTreeMap::new();
    known.extend(std::mem::take(aside).into_iter().map(|entry| (entry.index, entry)));
    add_above(&mut known, (last, chain), candidates);
    add_between(&mut known, last, candidates);
    *aside = known.into_values().collect();
}

/// What goes on from the last of the entries, or from the log.
fn add_above(
    known: &mut BTreeMap<LogIndex, Entry>,
    end_of_log: (LogIndex, u32),
    candidates: &Candidates,
) {
    let newest = known.last_key_value().map(|(index, entry)| (*index, entry.chain));
    let (mut last, mut chain) = newest.unwrap_or(end_of_log);
    let next = |last: LogIndex, chain| {
        let goes_on = |entry: &&Entry| entry.chain_after(chain) == entry.chain;
        candidates.get(&last.next())?.iter().rev().find(goes_on)
    };
    while let Some(entry) = next(last, chain) {
        known.insert(entry.index, entry.clone());
        (last, chain) = (entry.index, entry.chain);
    }
}

/// What those above go on from, down to the log.
fn add_between(known: &mut BTreeMap<LogIndex, Entry>, last: LogIndex, candidates: &Candidates) {
    let mut above = known.last_key_value().map(|(_, entry)| entry.clone());
    while let Some(entry) = above {
        let before = entry.index.previous();
        if before > last && !known.contains_key(&before) {
            let leads_here = |one: &&Entry| entry.chain_after(one.chain) == entry.chain;
            let found = candidates.get(&before).and_then(|all| all.iter().find(leads_here));
            known.extend(found.map(|found| (before, found.clone())));
        }
        above = known.range(..entry.index).next_back().map(|(_, entry)| entry.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::EntryKind;
    use crate::types::{LogTime, Term};

    /// Entries 1 to 9, each of which goes on from the one before it.
    fn log(term: u64) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for index in 1..10 {
            let chain = entries.last().map_or(0, |entry| entry.chain);
            let (index, term, kind) = (LogIndex(index), Term(term), EntryKind::Configuration);
            entries.push(Entry::chained(chain, index, term, LogTime(0), kind, Bytes::new()));
        }
        entries
    }

    fn candidates(entries: impl IntoIterator<Item = Entry>) -> Candidates {
        let mut candidates = Candidates::new();
        for entry in entries {
            candidates.entry(entry.index).or_default().push(entry);
        }
        candidates
    }

    #[test]
    fn gaps_are_filled_with_what_the_chain_proves_and_with_nothing_else() {
        let (own, other) = (log(1), log(2));
        let end = (LogIndex(2), own[1].chain);
        let all = candidates(own.iter().chain(&other).cloned());
        let mut aside = vec![own[4].clone(), own[6].clone()];
        complete(&mut aside, end, &all);
        assert_eq!(aside, own[2..]);

        let mut aside = vec![own[4].clone()];
        complete(&mut aside, end, &candidates(other.clone()));
        assert_eq!(aside, own[4..5]);

        let mut aside = Vec::new();
        complete(&mut aside, end, &all);
        assert_eq!(aside, own[2..], "nothing is known above the log");

        let mut aside = vec![own[6].clone()];
        complete(&mut aside, end, &candidates([own[5].clone(), own[3].clone()]));
        assert_eq!(aside, own[5..7], "what leads to it, and no further");
    }
}
