//! What the sectors that can be read prove about those that cannot.
//!
//! docs/guarantees.md: "Damage is not taken for a torn write". No process begins a batch,
//! or writes a marker behind one, before the batch before, or that one, is synced. So one
//! batch at most is not proven synced, the newest. It is torn when whatever it lacks still
//! is what stood there before: then it was never whole on the disk, and never synced. But
//! where the sector behind it is damaged, or the file ends too early, it may have been proven.

use super::LogEnd;
use super::image::Image;
use super::sector::{Kind, Sector, Stamp};

/// A batch and where it stands: its segment by place in the row, and its sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Newest {
    pub batch: u64,
    pub image: usize,
    pub start: usize,
    pub end: usize,
    pub state: State,
}

/// How a batch turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Whole,
    /// Whatever it lacks was never written there: it never was synced.
    Torn,
    /// Something of it was written and is lost: it may have been synced.
    Damaged,
}

/// What is known of the journal's end.
#[derive(Debug)]
pub(super) struct Proof {
    /// The newest batch that certainly was synced.
    pub synced: u64,
    /// The newest batch of which a sector can be read.
    pub newest: Option<Newest>,
    /// Every readable stamp's batch, and the end of the log after it.
    ends: Vec<(u64, LogEnd)>,
}

impl Proof {
    pub fn of(images: &[Image]) -> Self {
        let (mut synced, mut newest) = (0, None::<(u64, usize, usize)>);
        let mut ends = Vec::new();
        for (image, at, stamp) in stamps(images) {
            synced = synced.max(stamp.synced());
            ends.push((stamp.batch, stamp.last));
            let is_newer = newest.is_none_or(|(batch, ..)| batch < stamp.batch);
            if stamp.kind == Kind::Batch && is_newer {
                newest = Some((stamp.batch, image, at));
            }
        }
        let newest = newest.map(|(_, image, at)| judge(&images[image], image, at, synced));
        Self { synced, newest, ends }
    }

    /// The newest batch that counts: a torn one does not.
    pub fn taken(&self) -> u64 {
        match self.newest {
            Some(Newest { state: State::Torn, batch, .. }) => self.synced.max(batch - 1),
            Some(Newest { batch, .. }) => self.synced.max(batch),
            None => self.synced,
        }
    }

    /// Where the log ended after the newest batch that counts. The next batch says at
    /// least as much, where that one cannot be read at all.
    pub fn log_end(&self) -> Option<LogEnd> {
        let taken = self.taken();
        if taken == 0 {
            return None;
        }
        let said = self.ends.iter().filter(|(batch, _)| *batch >= taken);
        said.min_by_key(|(batch, _)| *batch).map(|(_, last)| *last)
    }
}

fn stamps(images: &[Image]) -> impl Iterator<Item = (usize, usize, &Stamp)> {
    images.iter().enumerate().flat_map(|(number, image)| {
        image.sectors.iter().enumerate().filter_map(move |(at, sector)| match sector {
            Sector::Valid(stamp, _) => Some((number, at, stamp)),
            _ => None,
        })
    })
}

/// How the newest batch is, of which the sector `at` can be read.
fn judge(image: &Image, place: usize, at: usize, synced: u64) -> Newest {
    let Sector::Valid(stamp, _) = &image.sectors[at] else { unreachable!("it can be read") };
    let start = at.saturating_sub(stamp.part as usize);
    let end = image.sectors.len().min(start + stamp.parts as usize);
    let is_part = |sector: &Sector| {
        matches!(sector, Sector::Valid(part, _)
        if part.kind == Kind::Batch && part.batch == stamp.batch)
    };
    // The marker behind the batch before stands where this one begins, until it is written.
    let is_unwritten = |sector: &Sector| match sector {
        Sector::Blank | Sector::Older => true,
        Sector::Valid(marker, _) => marker.kind == Kind::Synced && marker.batch + 1 == stamp.batch,
        Sector::Missing | Sector::Damaged => false,
    };
    let sectors = &image.sectors[start..end];
    // What proved it synced stood behind it, and may be lost as well.
    let is_proof_lost = matches!(image.sectors.last(), Some(Sector::Missing))
        || matches!(image.sectors.get(end), Some(Sector::Damaged));
    let may_be_torn = stamp.batch > synced && !is_proof_lost;
    let state = if sectors.iter().all(is_part) {
        State::Whole
    } else if may_be_torn && sectors.iter().all(|one| is_part(one) || is_unwritten(one)) {
        State::Torn
    } else {
        State::Damaged
    };
    Newest { batch: stamp.batch, image: place, start, end, state }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Sector::{Blank, Damaged, Missing, Older};
    use super::*;

    fn part(batch: u64, part: u32, parts: u32) -> Sector {
        let kind = Kind::Batch;
        let last = LogEnd::default();
        Sector::Valid(Stamp { kind, batch, part, parts, last, first: None }, Bytes::new())
    }

    fn marker(kind: Kind, batch: u64) -> Sector {
        Sector::Valid(Stamp::marker(kind, batch, LogEnd::default()), Bytes::new())
    }

    fn proof(sectors: Vec<Sector>) -> Proof {
        let (name, bytes) = (String::new(), Bytes::new());
        Proof::of(&[Image { number: 1, name, exists: true, bytes, sectors }])
    }

    /// How batch 5 is, which takes three sectors behind the only one of batch 4.
    fn state(batch: [Sector; 3], behind: Sector) -> State {
        let mut sectors = vec![part(4, 0, 1)];
        sectors.extend(batch);
        sectors.extend([behind, Blank]);
        let newest = proof(sectors).newest.expect("a sector can be read");
        assert_eq!((newest.batch, newest.start, newest.end), (5, 1, 4));
        newest.state
    }

    /// docs/disk-format.md: "Those that are not are blank or older, or the first is still the
    /// marker of S: they never were written".
    #[test]
    fn a_batch_is_torn_when_all_that_it_lacks_was_never_written() {
        let torn = [
            [marker(Kind::Synced, 4), part(5, 1, 3), part(5, 2, 3)],
            [Blank, Older, part(5, 2, 3)],
            [part(5, 0, 3), part(5, 1, 3), Blank],
        ];
        for batch in torn {
            assert_eq!(state(batch.clone(), Blank), State::Torn, "{batch:?}");
            let synced = state(batch.clone(), marker(Kind::Synced, 5));
            assert_eq!(synced, State::Damaged, "its marker proves it: {batch:?}");
            assert_eq!(state(batch.clone(), Damaged), State::Damaged, "so may this: {batch:?}");
        }
    }

    #[test]
    fn a_batch_is_damaged_when_anything_else_stands_in_it() {
        let others =
            [Damaged, Missing, marker(Kind::Synced, 3), marker(Kind::Continued, 4), part(4, 1, 2)];
        for other in others {
            let batch = [other.clone(), part(5, 1, 3), part(5, 2, 3)];
            assert_eq!(state(batch, Blank), State::Damaged, "{other:?}");
        }
        let whole = [part(5, 0, 3), part(5, 1, 3), part(5, 2, 3)];
        assert_eq!(state(whole, Damaged), State::Whole);
    }

    #[test]
    fn a_marker_proves_a_batch_of_which_nothing_is_left() {
        let found = proof(vec![part(4, 0, 1), Damaged, marker(Kind::Synced, 5), Blank]);
        assert_eq!((found.synced, found.taken()), (5, 5));
        assert_eq!(found.newest.map(|newest| newest.batch), Some(4));
    }

    /// A torn batch of three sectors was cut, and its number used again. Then the disk returns
    /// what one of them once held.
    #[test]
    fn what_is_left_of_a_batch_that_was_cut_is_not_the_newest() {
        let again = [part(4, 0, 1), part(5, 0, 1), marker(Kind::Synced, 5)];
        let found = proof([&again[..], &[part(5, 2, 3)]].concat());
        let newest = found.newest.expect("a sector can be read");
        assert_eq!((newest.start, newest.end, newest.state), (1, 2, State::Whole));
    }
}
