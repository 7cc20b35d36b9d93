//! What has come of the frames that the other side has numbered.

use crate::time::Instant;
use crate::types::{LossShare, PacketNumber};

/// A frame that this many later ones have overtaken counts as lost, until one comes all the same.
const JUDGED_AFTER: u64 = 16;
/// The same on a way that few frames take, where so many would take too long to come. If frames
/// do come later than that, copies are sent for nothing until it is known by how much.
const JUDGED_AFTER_FEW: u64 = 4;
/// Of a frame further back nobody knows whether it has come.
const KNOWN_MAX: u64 = 63;
/// Who is further ahead than this has not lost so much: it has begun to count anew.
const LEAP_MIN: u64 = 1_024;
/// As many frames as that are taken to have arrived before the first.
const TRUSTED: u32 = 16;
/// The share of lost frames is the mean of so many, of which the newest count most.
const MEMORY: u32 = 96;

/// What has come of the other side's frames so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// They have arrived.
    pub arrived: u64,
    /// They were overtaken by so many that they count as lost, and have not come since.
    pub lost: u64,
    /// They came once more.
    pub doubled: u64,
    /// They came after later ones.
    pub late: u64,
}

/// Which frames of the other side have arrived, and how many have not.
#[derive(Clone, Debug)]
pub struct Hearing {
    newest: Option<(PacketNumber, Instant)>,
    /// Bit *i* stands for the packet `newest - i`.
    heard: u64,
    /// The lowest number that is missed if it does not come.
    first: PacketNumber,
    /// The next one to be judged, when so many have overtaken it.
    next: PacketNumber,
    judged_after: u64,
    judged: u32,
    /// In parts of 2^16.
    share: u32,
    counts: Heard,
}

impl Default for Hearing {
    fn default() -> Self {
        Self {
            newest: None,
            heard: 0,
            first: PacketNumber::default(),
            next: PacketNumber::default(),
            judged_after: JUDGED_AFTER,
            judged: 0,
            share: 0,
            counts: Heard::default(),
        }
    }
}

impl Hearing {
    /// What is heard of somebody who says something now and then, as a client does and those do
    /// that it asks.
    pub fn of_few() -> Self {
        Self { judged_after: JUDGED_AFTER_FEW, ..Self::default() }
    }

    /// Forgets which numbers were heard: the other side counts anew. The way is the same.
    pub fn restart(&mut self) {
        self.newest = None;
        self.heard = 0;
    }

    /// What has come of the frames so far.
    pub fn counts(&self) -> Heard {
        self.counts
    }

    /// A frame has come once more, and was turned away before its number was looked at.
    pub fn hear_again(&mut self) {
        self.counts.doubled += 1;
    }

    /// The highest number that was heard, and when.
    pub fn newest(&self) -> Option<(PacketNumber, Instant)> {
        self.newest
    }

    /// Takes note of a packet's arrival. Returns false when it is known to have arrived
    /// before.
    pub fn hear(&mut self, packet: PacketNumber, now: Instant) -> bool {
        let Some((newest, _)) = self.newest else { return self.begin(packet, now) };
        if packet > newest {
            return self.go_ahead(newest, packet, now);
        }
        self.look_back(newest, packet)
    }

    fn begin(&mut self, packet: PacketNumber, now: Instant) -> bool {
        self.newest = Some((packet, now));
        self.heard = 1;
        (self.first, self.next) = (packet, packet);
        self.counts.arrived += 1;
        true
    }

    /// Of what is too far back nobody knows whether it came before.
    fn look_back(&mut self, newest: PacketNumber, packet: PacketNumber) -> bool {
        let back = newest.0 - packet.0;
        let bit = u32::try_from(back).ok().and_then(|back| 1_u64.checked_shl(back));
        if bit.is_some_and(|bit| self.heard & bit != 0) {
            self.counts.doubled += 1;
            return false;
        }
        self.heard |= bit.unwrap_or(0);
        self.counts.arrived += 1;
        self.counts.late += 1;
        if bit.is_some() && (self.first..self.next).contains(&packet) {
            self.acquit(back);
        }
        true
    }

    /// A frame has come that counted as lost, for which as many others came too early: so far
    /// apart are the ways that frames take here, and from now on they are waited for.
    fn acquit(&mut self, back: u64) {
        self.counts.lost = self.counts.lost.saturating_sub(1);
        self.share = self.share.saturating_sub((1 << 16) / self.weight());
        self.judged_after = self.judged_after.max(back + 1).min(KNOWN_MAX);
    }

    fn go_ahead(&mut self, newest: PacketNumber, packet: PacketNumber, now: Instant) -> bool {
        if packet.0 - newest.0 >= LEAP_MIN {
            return self.begin(packet, now);
        }
        for number in newest.0 + 1..=packet.0 {
            self.heard <<= 1;
            // Numbers are what a stranger says: the first may be close to the largest there is.
            let overtaken_by = number - self.next.0;
            if overtaken_by >= self.judged_after {
                self.judge(self.heard & 1 << overtaken_by != 0);
                self.next = self.next.next();
            }
        }
        self.heard |= 1;
        self.newest = Some((packet, now));
        self.counts.arrived += 1;
        true
    }

    fn judge(&mut self, has_arrived: bool) {
        self.judged = (self.judged + 1).min(MEMORY - TRUSTED);
        self.counts.lost += u64::from(!has_arrived);
        let found = if has_arrived { 0 } else { 1 << 16 };
        let weight = self.weight();
        self.share = (self.share * (weight - 1) + found) / weight;
    }

    /// The share is the mean of so many.
    fn weight(&self) -> u32 {
        self.judged + TRUSTED
    }

    /// Whether so many frames were judged that the share can be relied on.
    pub fn is_judged(&self) -> bool {
        self.judged == MEMORY - TRUSTED
    }

    /// The share of the frames that are lost of late.
    pub fn loss(&self) -> LossShare {
        LossShare(u8::try_from((self.share + (1 << 7)) >> 8).unwrap_or(u8::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hearing_of(packets: impl Iterator<Item = u64>) -> Hearing {
        hear_all(Hearing::default(), packets)
    }

    fn hear_all(mut hearing: Hearing, packets: impl Iterator<Item = u64>) -> Hearing {
        packets.for_each(|packet| {
            hearing.hear(PacketNumber(packet), Instant(1));
        });
        hearing
    }

    #[test]
    fn a_packet_is_new_once() {
        let mut hearing = Hearing::default();
        let mut hear = |packet| hearing.hear(PacketNumber(packet), Instant(1));
        assert!(hear(10) && !hear(10));
        assert!(hear(12) && hear(11) && !hear(11));
        assert!(hear(500) && hear(13), "beyond the window nothing is refused");
    }

    #[test]
    fn what_does_not_come_is_lost_and_what_comes_late_is_not() {
        let hearing = hearing_of((1..=200).filter(|packet| packet % 10 != 0));
        assert!((20..=32).contains(&hearing.loss().0), "{:?}", hearing.loss());
        let hearing = hearing_of((1..=100).flat_map(|packet| [2 * packet + 1, 2 * packet]));
        assert_eq!(hearing.loss(), LossShare(0));
    }

    /// Where frames take several ways, some are faster than others.
    #[test]
    fn what_comes_late_again_and_again_is_not_lost() {
        for most in [10, 20, 40, 60] {
            let mut random = fastrand::Rng::with_seed(1);
            let places = (1..=2_000).map(|packet| (packet + random.u64(0..=most), packet));
            let mut places: Vec<_> = places.collect();
            places.sort_unstable();
            let packets: Vec<u64> = places.iter().map(|(_, packet)| *packet).collect();
            let (first, rest) = packets.split_at(1_000);
            for blank in [Hearing::default(), Hearing::of_few()] {
                let mut hearing = hear_all(blank, first.iter().copied());
                let mut highest = LossShare(0);
                for &packet in rest {
                    hearing.hear(PacketNumber(packet), Instant(1));
                    highest = highest.max(hearing.loss());
                }
                assert!(highest < LossShare(6), "up to {most} places late: {highest:?}");
                assert_eq!(hearing.loss(), LossShare(0), "up to {most} places late");
            }
        }
    }

    #[test]
    fn of_few_frames_a_loss_is_told_soon() {
        let told = |newest| {
            let packets = (1..=newest).filter(|packet| *packet != 3);
            hear_all(Hearing::of_few(), packets).loss() > LossShare(0)
        };
        assert_eq!([6, 7].map(told), [false, true]);
    }

    #[test]
    fn each_frame_is_counted_for_what_came_of_it() {
        let counts = |packets: &mut dyn Iterator<Item = u64>| hearing_of(packets).counts();
        let heard = |arrived, lost, doubled, late| Heard { arrived, lost, doubled, late };
        assert_eq!(counts(&mut (1..=100)), heard(100, 0, 0, 0));
        assert_eq!(counts(&mut (1..=100).filter(|packet| packet % 10 != 5)), heard(90, 8, 0, 0));
        assert_eq!(counts(&mut (1..=100).flat_map(|packet| [packet; 2])), heard(100, 0, 100, 0));
        let swapped = &mut (1..=50).flat_map(|packet| [2 * packet, 2 * packet - 1]);
        assert_eq!(counts(swapped), heard(100, 0, 0, 50));
        // What came after it counted as lost is lost no more; before the first nothing is.
        assert_eq!(counts(&mut (2..=40).filter(|packet| *packet != 5)), heard(38, 1, 0, 0));
        let late = &mut (2..=40).filter(|packet| *packet != 5).chain([5, 1, 5]);
        assert_eq!(counts(late), heard(40, 0, 1, 2));
        assert_eq!(counts(&mut (1..=200).chain([3])), heard(201, 0, 0, 1), "nobody knows");
        let late = &mut (2..=40).filter(|packet| *packet != 5).chain([5]);
        assert_eq!(counts(late), heard(39, 0, 0, 1));
        let soon = &mut (1..=40).filter(|packet| ![5, 38].contains(packet)).chain([38]);
        assert_eq!(counts(soon), heard(39, 1, 0, 1), "this one was not lost yet");
    }

    #[test]
    fn numbers_may_be_the_largest_there_are() {
        let hearing = hearing_of(u64::MAX - 5..=u64::MAX);
        assert_eq!(hearing.loss(), LossShare(0));
    }

    #[test]
    fn a_leap_is_a_new_count_and_a_restart_forgets_numbers() {
        let mut hearing = hearing_of((1..=50).chain(1_000_000..=1_000_050));
        assert_eq!(hearing.loss(), LossShare(0));
        hearing.restart();
        assert!(hearing.hear(PacketNumber(7), Instant(2)));
        assert_eq!(hearing.newest(), Some((PacketNumber(7), Instant(2))));
    }

    #[test]
    fn a_clean_way_is_forgiven_what_it_lost() {
        let hearing = hearing_of((1..=200).filter(|packet| packet % 3 != 0).chain(201..=1_000));
        assert_eq!(hearing.loss(), LossShare(0));
    }

    #[test]
    fn a_share_is_told_in_parts_of_256_to_the_nearest() {
        let told = |share| Hearing { share, ..Hearing::default() }.loss().0;
        assert_eq!([0, 127, 128, 383, 384].map(told), [0, 0, 1, 1, 2]);
    }
}
