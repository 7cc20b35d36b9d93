//! A snapshot that this node fetches: which pieces are asked for, and what came.
//!
//! Blocks are asked for in groups of 64, several groups at a time. The other side sends them at
//! the pace of the way, in the order in which they were asked for: so what is missing when
//! something later has come is lost, and is asked for again. When nothing comes at all, all is.

use std::collections::BTreeMap;
use std::time::Duration;

use super::block::Block;
use crate::store::{Snapshot, SnapshotBuilder, State};
use crate::time::Instant;
use crate::types::ServerId;
use crate::wire::{SnapshotName, SnapshotPiece, SnapshotRequest};

/// How many pieces one request asks for at most.
const GROUP: u32 = 64;
/// How many blocks may be in pieces at once.
const BLOCKS_AHEAD: u32 = 64;
/// How long those may be in all, but for the next one.
const BYTES_AHEAD: u64 = 16 << 20;
/// The longest block: the longest item, a session with all of its answers or the longest
/// key and value, with room.
const LENGTH_MAX: u32 = 4 << 20;
/// Of so many pieces their sender learns at the latest that they have come: it may not know yet
/// how much the way carries.
const ECHOED: u32 = 8;
/// So many groups are asked for before any has come: their sender bounds what is under way.
const WINDOW_START: usize = 8;
/// The most groups on the way at once.
const WINDOW_MAX: usize = 32;

/// A snapshot that is being fetched.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) name: SnapshotName,
    /// From whom.
    pub(super) from: ServerId,
    builder: SnapshotBuilder,
    /// The next block that the builder takes.
    next: u32,
    /// Which block is the last, once that is known.
    last: Option<u32>,
    /// Blocks in pieces, from `next` on.
    blocks: BTreeMap<u32, Block>,
    /// Groups that were asked for, by block and first piece.
    asked: BTreeMap<Group, Asked>,
    /// How many there may be.
    window: usize,
    /// When the last piece that was missing came.
    pub(super) heard_at: Instant,
    /// How many have come since their sender was last told something.
    unechoed: u32,
    /// How many bytes have come.
    pub(super) bytes: u64,
}

/// The block and the first piece of a group.
type Group = (u32, u32);

/// When a group was asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Instant,
    /// When something came that is sent later than what is missing of it.
    overtaken_at: Option<Instant>,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Fetched {
    /// More is missing.
    Partly,
    /// This is the whole.
    Whole(Snapshot),
    /// The blocks make no snapshot: it must be fetched anew.
    Malformed,
}

impl Inbound {
    pub(super) fn new(name: SnapshotName, from: ServerId, now: Instant) -> Self {
        Self {
            name,
            from,
            builder: SnapshotBuilder::new(),
            next: 0,
            last: None,
            blocks: BTreeMap::new(),
            asked: BTreeMap::new(),
            window: WINDOW_START,
            heard_at: now,
            unechoed: 0,
            bytes: 0,
        }
    }

    /// The next requests to send, as far as the window goes.
    pub(super) fn ask(&mut self, now: Instant) -> Vec<SnapshotRequest> {
        let mut requests = Vec::new();
        for block in self.next..self.next.saturating_add(BLOCKS_AHEAD) {
            if self.last.is_some_and(|last| block > last) {
                break;
            }
            for first in self.groups_of(block) {
                if self.asked.len() >= self.window {
                    return requests;
                }
                let wanted = self.missing(block, first);
                if wanted != 0 && !self.asked.contains_key(&(block, first)) {
                    self.asked.insert((block, first), Asked::at(now));
                    self.unechoed = 0;
                    requests.push(SnapshotRequest { snapshot: self.name, block, first, wanted });
                }
            }
        }
        requests
    }

    /// A request for nothing, if so much has come since the last one that its sender should
    /// learn of it.
    pub(super) fn echo(&mut self) -> Option<SnapshotRequest> {
        if self.unechoed < ECHOED {
            return None;
        }
        self.unechoed = 0;
        Some(SnapshotRequest { snapshot: self.name, block: self.next, first: 0, wanted: 0 })
    }

    /// Requests for what is lost: it was overtaken before this time, or nothing has come since the
    /// other. Silence makes the window small.
    pub(super) fn ask_again(
        &mut self,
        overtaken_before: Instant,
        silent_since: Instant,
        now: Instant,
    ) -> Vec<SnapshotRequest> {
        let is_lost = |asked: &Asked| {
            asked.overtaken_at.is_some_and(|at| at <= overtaken_before)
                || asked.at.max(self.heard_at) <= silent_since
        };
        if self.heard_at <= silent_since {
            self.window = 1;
        }
        let lost = self.asked.iter().filter(|(_, asked)| is_lost(asked));
        let lost: Vec<Group> = lost.map(|(group, _)| *group).take(self.window).collect();
        let mut requests = Vec::new();
        for (block, first) in lost {
            self.asked.insert((block, first), Asked::at(now));
            self.unechoed = 0;
            let wanted = self.missing(block, first);
            requests.push(SnapshotRequest { snapshot: self.name, block, first, wanted });
        }
        requests
    }

    /// When something will count as lost that has not come by then: how long it may take from
    /// being overtaken, and from the last that was heard.
    pub(super) fn lost_at(&self, reordering: Duration, timeout: Duration) -> Option<Instant> {
        let of = |asked: &Asked| match asked.overtaken_at {
            Some(at) => at + reordering,
            None => asked.at.max(self.heard_at) + timeout,
        };
        self.asked.values().map(of).min()
    }

    /// Another node has the same snapshot, and sends the rest.
    pub(super) fn go_on_from(&mut self, from: ServerId) {
        self.from = from;
        self.asked.clear();
        self.window = 1;
    }

    /// What there is so far, to free it.
    pub(super) fn into_state(self) -> Option<State> {
        self.builder.into_state()
    }

    fn groups_of(&self, block: u32) -> impl Iterator<Item = u32> + use<> {
        let count = self.blocks.get(&block).map_or(1, Block::count);
        (0..count).step_by(GROUP as usize)
    }

    /// Which pieces of the group are missing, as bits.
    fn missing(&self, block: u32, first: u32) -> u64 {
        let Some(pieces) = self.blocks.get(&block) else { return u64::MAX };
        let group = first..pieces.count().min(first + GROUP);
        let missing = group.filter(|piece| !pieces.pieces.contains_key(piece));
        missing.fold(0, |bits, piece| bits | 1 << (piece - first))
    }

    /// Takes in a piece.
    pub(super) fn on_piece(&mut self, piece: &SnapshotPiece, now: Instant) {
        let (block, number) = (piece.block, piece.piece);
        if !self.is_expected(piece) || !self.add(piece) {
            return;
        }
        self.heard_at = now;
        self.unechoed += 1;
        let group = (block, number / GROUP * GROUP);
        let Some(asked) = self.asked.get(&group).copied() else { return };
        let missing = self.missing(group.0, group.1);
        if missing == 0 {
            self.asked.remove(&group);
            self.window = (self.window + 1).min(WINDOW_MAX);
        } else if missing >> (number - group.1) == 0 {
            self.overtake(group, now);
        }
        let earlier = self.asked.iter().filter(|(_, other)| other.at < asked.at);
        let earlier: Vec<Group> = earlier.map(|(group, _)| *group).collect();
        for group in earlier {
            self.overtake(group, now);
        }
    }

    fn overtake(&mut self, group: Group, now: Instant) {
        if let Some(asked) = self.asked.get_mut(&group) {
            asked.overtaken_at.get_or_insert(now);
        }
    }

    /// Whether a block is whole that the builder takes next.
    pub(super) fn has_block(&self) -> bool {
        self.blocks.get(&self.next).is_some_and(Block::is_whole)
    }

    fn is_expected(&self, piece: &SnapshotPiece) -> bool {
        piece.snapshot == self.name
            && (self.next..self.next.saturating_add(BLOCKS_AHEAD)).contains(&piece.block)
            && (1..=LENGTH_MAX).contains(&piece.length)
            && self.has_room(piece)
    }

    /// Whether the block of this piece fits beside the others.
    fn has_room(&self, piece: &SnapshotPiece) -> bool {
        let begun = self.blocks.values().map(|block| u64::from(block.length)).sum::<u64>();
        piece.block == self.next
            || self.blocks.contains_key(&piece.block)
            || begun + u64::from(piece.length) <= BYTES_AHEAD
    }

    /// Returns whether the piece was missing.
    fn add(&mut self, piece: &SnapshotPiece) -> bool {
        if piece.last {
            self.last = Some(piece.block);
            // What was asked for beyond does not exist, and must not fill the window.
            self.asked.retain(|(block, _), _| *block <= piece.block);
        }
        let begin = || Block::new(piece.length, piece.checksum);
        let added = self.blocks.entry(piece.block).or_insert_with(begin).add(piece);
        self.bytes += if added { piece.bytes.len() as u64 } else { 0 };
        added
    }

    /// Hands the builder the next block, if that is whole. A turn does so once: it takes time.
    pub(super) fn build(&mut self) -> Fetched {
        if !self.has_block() {
            return Fetched::Partly;
        }
        let Some(block) = self.blocks.remove(&self.next).and_then(Block::join) else {
            // One of its pieces was of another block: all are asked for again.
            let next = self.next;
            self.asked.retain(|(block, _), _| *block != next);
            return Fetched::Partly;
        };
        if self.builder.add(block).is_err() {
            return Fetched::Malformed;
        }
        if self.last == Some(self.next) {
            let whole = std::mem::take(&mut self.builder).finish();
            return whole.map_or(Fetched::Malformed, Fetched::Whole);
        }
        self.next += 1;
        Fetched::Partly
    }
}

impl Asked {
    fn at(now: Instant) -> Self {
        Self { at: now, overtaken_at: None }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::block::tests::pieces_of;
    use super::*;
    use crate::configuration::Configuration;
    use crate::types::{DirectoryId, GenesisId, LogIndex, Term};
    use crate::wire::PIECE_BYTES;

    const NAME: SnapshotName = SnapshotName { index: LogIndex(9), term: Term(1), chain: 0 };

    fn last_block(block: u32) -> SnapshotPiece {
        let bytes = Bytes::from_static(b"end");
        let (length, checksum) = (3, crc32fast::hash(&bytes));
        SnapshotPiece { snapshot: NAME, block, last: true, length, checksum, piece: 0, bytes }
    }

    /// Blocks are asked for before it is known which is the last. Those beyond never come,
    /// and must not keep others from being asked for.
    #[test]
    fn what_does_not_exist_is_waited_for_no_longer() {
        let now = Instant(1_000);
        let mut inbound = Inbound::new(NAME, ServerId(2), now);
        inbound.window = WINDOW_MAX;
        let asked: Vec<u32> = inbound.ask(now).iter().map(|request| request.block).collect();
        assert_eq!(asked, (0..32).collect::<Vec<_>>());
        inbound.on_piece(&last_block(1), now);
        let waited_for: Vec<(u32, u32)> = inbound.asked.keys().copied().collect();
        assert_eq!(waited_for, [(0, 0)]);
    }

    /// Of two blocks of three pieces, so many pieces come, each a millisecond later.
    fn hear(inbound: &mut Inbound, pieces: &[(u32, u32)]) {
        let bytes = Bytes::from(vec![7; 3 * PIECE_BYTES]);
        let length = u32::try_from(bytes.len()).expect("a short block");
        let checksum = crc32fast::hash(&bytes);
        for &(block, piece) in pieces {
            let from = piece as usize * PIECE_BYTES;
            let bytes = bytes.slice(from..from + PIECE_BYTES);
            let last = false;
            let piece =
                SnapshotPiece { snapshot: NAME, block, last, length, checksum, piece, bytes };
            inbound.on_piece(&piece, inbound.heard_at + MILLISECOND);
        }
    }

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// Block 0 was asked for, and block 1 later.
    fn asked_for_two() -> Inbound {
        let now = Instant(1_000_000);
        let mut inbound = Inbound::new(NAME, ServerId(2), now);
        inbound.window = 1;
        assert_eq!(inbound.ask(now).len(), 1);
        inbound.window = 2;
        assert_eq!(inbound.ask(now + MILLISECOND).len(), 1);
        inbound
    }

    /// Which blocks are asked for again, with the bits, when all that was overtaken counts.
    fn lost(inbound: &mut Inbound) -> Vec<(u32, u64)> {
        let now = inbound.heard_at;
        let requests = inbound.ask_again(now, now - 100 * MILLISECOND, now + MILLISECOND);
        requests.iter().map(|request| (request.block, request.wanted)).collect()
    }

    #[test]
    fn what_was_overtaken_is_asked_for_again_and_nothing_else() {
        let mut inbound = asked_for_two();
        hear(&mut inbound, &[(0, 0)]);
        assert_eq!(lost(&mut inbound), [], "the others are on their way");
        hear(&mut inbound, &[(0, 2)]);
        assert_eq!(lost(&mut inbound), [(0, 0b010)], "by the last of the same group");
        hear(&mut inbound, &[(1, 0)]);
        assert_eq!(lost(&mut inbound), [], "it was asked for after the other group");
        let mut inbound = asked_for_two();
        hear(&mut inbound, &[(0, 1), (1, 0)]);
        assert_eq!(lost(&mut inbound), [(0, 0b101)], "by a later group");
    }

    #[test]
    fn when_nothing_comes_all_is_asked_for_again_one_by_one() {
        let mut inbound = asked_for_two();
        hear(&mut inbound, &[(0, 0)]);
        let silent_since = inbound.heard_at;
        let now = silent_since + 50 * MILLISECOND;
        assert_eq!(inbound.lost_at(MILLISECOND, 50 * MILLISECOND), Some(now));
        let requests = inbound.ask_again(now - MILLISECOND, silent_since, now);
        assert_eq!(requests.len(), 1);
        assert_eq!((requests[0].block, requests[0].wanted), (0, 0b110));
    }

    #[test]
    fn long_blocks_ahead_of_the_next_one_find_no_room() {
        let mut inbound = asked_for_two();
        let begin = |block| {
            let bytes = Bytes::from(vec![7; PIECE_BYTES]);
            let (length, last) = (LENGTH_MAX, false);
            SnapshotPiece { snapshot: NAME, block, last, length, checksum: 1, piece: 0, bytes }
        };
        (1..9).for_each(|block| inbound.on_piece(&begin(block), Instant(2_000_000)));
        assert_eq!(inbound.blocks.len(), 4);
        inbound.on_piece(&begin(0), Instant(2_000_000));
        assert_eq!(inbound.blocks.len(), 5, "the next one always does");
    }

    #[test]
    fn nothing_is_asked_for_behind_the_last_block() {
        let now = Instant(1_000);
        let mut inbound = Inbound::new(NAME, ServerId(2), now);
        inbound.window = WINDOW_MAX;
        let two_pieces = vec![7; PIECE_BYTES + 1].into();
        inbound.on_piece(&pieces_of(NAME, 2, &two_pieces, true)[0], now);
        let asked = inbound.ask(now);
        let asked: Vec<(u32, u64)> =
            asked.iter().map(|asked| (asked.block, asked.wanted)).collect();
        assert_eq!(asked, [(0, u64::MAX), (1, u64::MAX), (2, 0b10)]);
    }

    /// A block of 66 pieces is asked for in two groups. Each that has come lets one more be
    /// asked for.
    #[test]
    fn a_long_block_is_fetched_in_groups_of_64_pieces() {
        let now = Instant(1_000);
        let mut inbound = Inbound::new(NAME, ServerId(2), now);
        let pieces = pieces_of(NAME, 0, &vec![7; 66 * PIECE_BYTES].into(), false);
        inbound.window = 1;
        assert_eq!(inbound.ask(now).len(), 1, "how long it is, is not known yet");
        inbound.on_piece(&pieces[0], now);
        inbound.window = 2;
        let asked: Vec<SnapshotRequest> = inbound.ask(now);
        let asked: Vec<(u32, u64)> =
            asked.iter().map(|asked| (asked.first, asked.wanted)).collect();
        assert_eq!(asked, [(64, 0b11)]);
        inbound.on_piece(&pieces[64], now);
        assert!(inbound.asked.contains_key(&(0, 64)));
        inbound.on_piece(&pieces[65], now);
        assert!(!inbound.asked.contains_key(&(0, 64)));
        assert_eq!((inbound.window, inbound.bytes), (3, 3 * PIECE_BYTES as u64));
    }

    /// Of two blocks, each with a key.
    fn snapshot() -> Snapshot {
        let members = [(ServerId(1), DirectoryId(1))].into();
        let configuration = Configuration::at_genesis(GenesisId(1), members);
        let pairs = ["a", "b"].map(|key| (key.into(), LogIndex(1), vec![7; 60 << 10].into()));
        let state = State::of_keys(NAME.index, configuration, pairs);
        Snapshot::new(state, NAME.term, NAME.chain)
    }

    #[test]
    fn blocks_are_put_together_in_their_order() {
        let snapshot = snapshot();
        let blocks: Vec<Bytes> = snapshot.blocks().collect();
        assert!(blocks.len() >= 2);
        let mut inbound = Inbound::new(NAME, ServerId(2), Instant(1_000));
        for (number, block) in (0..).zip(&blocks) {
            assert!(matches!(inbound.build(), Fetched::Partly), "block {number} has not come");
            assert_eq!(inbound.next, number);
            let is_last = number as usize + 1 == blocks.len();
            for piece in pieces_of(NAME, number, block, is_last) {
                inbound.on_piece(&piece, Instant(2_000));
            }
            if is_last {
                let Fetched::Whole(fetched) = inbound.build() else { panic!("it is whole") };
                assert_eq!(fetched.state().checksum(), snapshot.state().checksum());
                return;
            }
            assert!(matches!(inbound.build(), Fetched::Partly));
        }
    }

    #[test]
    fn what_was_begun_and_is_given_up_can_be_freed() {
        let first = snapshot().blocks().next().unwrap();
        let mut inbound = Inbound::new(NAME, ServerId(2), Instant(1_000));
        for piece in pieces_of(NAME, 0, &first, false) {
            inbound.on_piece(&piece, Instant(2_000));
        }
        assert!(matches!(inbound.build(), Fetched::Partly));
        assert_eq!(inbound.into_state().map(|state| state.key_count()), Some(1));
    }

    /// One of its pieces was damaged in a way that no checksum of a frame shows.
    #[test]
    fn a_block_that_is_not_what_its_checksum_says_is_asked_for_again() {
        let mut inbound = asked_for_two();
        for mut piece in pieces_of(NAME, 0, &vec![7; 2 * PIECE_BYTES].into(), false) {
            piece.checksum ^= 1;
            inbound.on_piece(&piece, Instant(2_000_000));
        }
        assert!(inbound.has_block());
        assert!(matches!(inbound.build(), Fetched::Partly));
        assert!(!inbound.has_block());
        let asked: Vec<u32> =
            inbound.ask(Instant(2_000_000)).iter().map(|request| request.block).collect();
        assert_eq!(asked, [0, 2], "block 1 is on its way");
    }
}
