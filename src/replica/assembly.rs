//! Operations that are longer than one datagram, put together from their pieces.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use bytes::Bytes;

use super::shares::{Claimant, Shares};
use crate::operation::Invalid;
use crate::time::Instant;
use crate::types::{Digest, Sequence, SessionId};
use crate::wire::{DeclineReason, PIECE_BYTES, Request, RequestProgress};

/// The most operations that may be in pieces at once, and the most bytes of them.
const ASSEMBLIES_MAX: usize = 1_024;
const ASSEMBLY_BYTES_MAX: usize = 64 << 20;
/// How long an operation may stay incomplete without a new piece.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// The operations of which some pieces have arrived.
#[derive(Debug, Default)]
pub struct Assemblies {
    by_request: BTreeMap<(SessionId, Sequence), Assembly>,
    shares: Shares<ASSEMBLIES_MAX>,
    /// Each has as many bytes as it promises to be long.
    bytes: Shares<ASSEMBLY_BYTES_MAX>,
}

/// One operation of which some pieces have arrived.
#[derive(Debug)]
struct Assembly {
    claimant: Claimant,
    digest: Digest,
    length: usize,
    pieces: BTreeMap<u32, Bytes>,
    /// How many bytes the pieces have together.
    bytes: usize,
    /// All pieces before this one are there.
    next_piece: u32,
    touched: Instant,
}

impl Assemblies {
    /// Adds a piece. Returns which pieces have arrived, and the whole operation once all
    /// have.
    ///
    /// # Errors
    /// There is no room, or the piece is of another operation than those before it.
    pub fn add(
        &mut self,
        request: &Request,
        claimant: Claimant,
        now: Instant,
    ) -> Result<(RequestProgress, Option<Bytes>), DeclineReason> {
        let length = usize::try_from(request.length).unwrap_or(usize::MAX);
        let key = (request.session, request.sequence);
        let assembly = match self.by_request.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let fits =
                    self.shares.may_take(claimant, 1) && self.bytes.may_take(claimant, length);
                if !fits {
                    return Err(DeclineReason::Busy);
                }
                self.shares.take(claimant, 1);
                self.bytes.take(claimant, length);
                place.insert(Assembly::begin(claimant, request.digest, length, now))
            }
        };
        if assembly.digest != request.digest || assembly.length != length {
            return Err(DeclineReason::Invalid(Invalid::NotAnOperation));
        }
        assembly.add(request, now);
        let progress = assembly.progress(key);
        Ok((progress, self.take_whole(key)))
    }

    fn take_whole(&mut self, key: (SessionId, Sequence)) -> Option<Bytes> {
        if !self.by_request.get(&key)?.is_whole() {
            return None;
        }
        let assembly = self.by_request.remove(&key)?;
        self.shares.give_back(assembly.claimant, 1);
        self.bytes.give_back(assembly.claimant, assembly.length);
        Some(assembly.join())
    }

    /// Drops operations whose pieces have stopped coming.
    pub fn sweep(&mut self, now: Instant) {
        let Self { by_request, shares, bytes } = self;
        by_request.retain(|_, assembly| {
            let is_kept = now.since(assembly.touched) < IDLE_MAX;
            if !is_kept {
                shares.give_back(assembly.claimant, 1);
                bytes.give_back(assembly.claimant, assembly.length);
            }
            is_kept
        });
    }

    /// Whether nothing is in pieces.
    pub fn is_empty(&self) -> bool {
        self.by_request.is_empty()
    }
}

impl Assembly {
    fn begin(claimant: Claimant, digest: Digest, length: usize, now: Instant) -> Self {
        let pieces = BTreeMap::new();
        Self { claimant, digest, length, pieces, bytes: 0, next_piece: 0, touched: now }
    }

    fn add(&mut self, request: &Request, now: Instant) {
        if request.piece >= self.pieces_expected() || self.pieces.contains_key(&request.piece) {
            return;
        }
        let last = request.piece + 1 == self.pieces_expected();
        let expected = if last { (self.length - 1) % PIECE_BYTES + 1 } else { PIECE_BYTES };
        if request.bytes.len() != expected {
            return;
        }
        // What was there before keeps nothing alive.
        self.touched = now;
        self.pieces.insert(request.piece, Bytes::copy_from_slice(&request.bytes));
        while self.pieces.contains_key(&self.next_piece) {
            self.next_piece += 1;
        }
        self.bytes += request.bytes.len();
    }

    fn pieces_expected(&self) -> u32 {
        u32::try_from(self.length.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX)
    }

    fn progress(&self, (session, sequence): (SessionId, Sequence)) -> RequestProgress {
        let next_piece = self.next_piece;
        let beyond = (0..64)
            .filter(|bit| self.pieces.contains_key(&(next_piece + 1 + bit)))
            .fold(0, |bits, bit| bits | 1_u64 << bit);
        RequestProgress { session, sequence, next_piece, beyond }
    }

    fn is_whole(&self) -> bool {
        self.bytes == self.length
    }

    fn join(self) -> Bytes {
        let mut whole = Vec::with_capacity(self.length);
        self.pieces.values().for_each(|piece| whole.extend_from_slice(piece));
        whole.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{LogIndex, LogTime};

    const NOW: Instant = Instant(1_000_000);
    const ONE: Claimant = Claimant::Key(1);
    const OTHER: Claimant = Claimant::Key(2);

    /// A piece of an operation that is so long, as full as it must be.
    fn piece(length: usize, piece: u32) -> Request {
        let begin = piece as usize * PIECE_BYTES;
        let bytes = length.saturating_sub(begin).min(PIECE_BYTES);
        Request {
            session: SessionId { minted_at: LogIndex(1), random: 1 },
            sequence: Sequence(1),
            floor: Sequence(1),
            not_after: LogTime(0),
            hops: 0,
            one_shot: false,
            settle: false,
            digest: Digest::of(b"operation"),
            length: u32::try_from(length).expect("short"),
            piece,
            bytes: vec![b'x'; bytes].into(),
        }
    }

    #[test]
    fn an_operation_is_whole_when_each_of_its_pieces_has_come() {
        let length = 4 * PIECE_BYTES + 1;
        let mut assemblies = Assemblies::default();
        let full = Request { bytes: vec![b'x'; PIECE_BYTES].into(), ..piece(length, 7) };
        let short = Request { bytes: vec![b'x'; 1].into(), ..piece(length, 3) };
        let added = [piece(length, 2), piece(length, 4), full, short, piece(length, 0)];
        let told = added.map(|piece| assemblies.add(&piece, ONE, NOW).expect("it fits"));
        assert_eq!(told.each_ref().map(|(progress, _)| progress.next_piece), [0, 0, 0, 0, 1]);
        let beyond = told.each_ref().map(|(progress, _)| progress.beyond);
        assert_eq!(beyond, [0b10, 0b1010, 0b1010, 0b1010, 0b101]);
        assert!(told.iter().all(|(_, whole)| whole.is_none()));

        for again in [0, 2] {
            assert_eq!(assemblies.add(&piece(length, again), ONE, NOW).expect("it fits").1, None);
        }
        assert_eq!(assemblies.add(&piece(length, 1), ONE, NOW).expect("it fits").1, None);
        let (_, whole) = assemblies.add(&piece(length, 3), ONE, NOW).expect("it fits");
        assert_eq!(whole.map(|whole| whole.len()), Some(length));
        assert_nothing_is_held(&assemblies);
    }

    #[test]
    fn who_promises_many_bytes_leaves_as_many_to_others() {
        let half = piece(ASSEMBLY_BYTES_MAX / 2, 0);
        let mut assemblies = Assemblies::default();
        assert!(assemblies.add(&half, ONE, NOW).is_ok());
        let again = |number, length| Request { sequence: Sequence(number), ..piece(length, 0) };
        assert_eq!(assemblies.add(&again(2, 1), ONE, NOW), Err(DeclineReason::Busy));
        let quarter = again(3, ASSEMBLY_BYTES_MAX / 4);
        assert!(assemblies.add(&quarter, OTHER, NOW).is_ok());
        assert!(assemblies.add(&half, ONE, NOW).is_ok(), "it has begun already");
    }

    #[test]
    fn who_begins_many_operations_leaves_as_many_to_others() {
        let mut assemblies = Assemblies::default();
        let mut begins = |number: usize, claimant| {
            let sequence = Sequence(u64::try_from(number).unwrap());
            let request = Request { sequence, ..piece(2 * PIECE_BYTES, 0) };
            assemblies.add(&request, claimant, NOW).is_ok()
        };
        let begun = (0..ASSEMBLIES_MAX).take_while(|number| begins(*number, ONE)).count();
        assert_eq!(begun, ASSEMBLIES_MAX / 2);
        assert!(begins(ASSEMBLIES_MAX, OTHER));
    }

    #[test]
    fn an_operation_is_dropped_when_its_pieces_stop_coming() {
        let mut assemblies = Assemblies::default();
        for (number, at) in [(0, NOW), (1, NOW + IDLE_MAX / 2)] {
            assert!(assemblies.add(&piece(3 * PIECE_BYTES, number), ONE, at).is_ok());
        }
        assemblies.sweep(NOW + IDLE_MAX);
        assert!(!assemblies.is_empty());
        let again = assemblies.add(&piece(3 * PIECE_BYTES, 1), ONE, NOW + IDLE_MAX);
        assert!(again.is_ok(), "but it is no new piece");
        assemblies.sweep(NOW + IDLE_MAX * 3 / 2);
        assert_nothing_is_held(&assemblies);
    }

    #[track_caller]
    fn assert_nothing_is_held(assemblies: &Assemblies) {
        assert!(assemblies.is_empty());
        assert!(assemblies.shares.is_whole() && assemblies.bytes.is_whole());
    }
}
