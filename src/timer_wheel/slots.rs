//! The slots of all levels, and how to find the first that holds timers.

use crate::time::Instant;

/// A digit of a deadline: it names one of 64 slots.
const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
/// Enough digits for any 64-bit number of microseconds.
const LEVELS: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;

/// All slots.
#[derive(Debug)]
pub struct Slots {
    levels: Vec<Level>,
}

#[derive(Clone, Debug)]
struct Level {
    /// Bit *i*: slot *i* holds timers.
    occupied: u64,
    slots: [Slot; SLOTS],
}

/// The ends of a list of timers, as places in the slab.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// The first timer; none when the slot is empty.
    pub first: Option<usize>,
    /// The last timer.
    pub last: Option<usize>,
    /// No timer of the slot is due before.
    pub earliest: Instant,
}

impl Slot {
    const EMPTY: Self = Self { first: None, last: None, earliest: Instant(u64::MAX) };
}

/// Where a slot is found.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its level.
    pub level: u32,
    slot: usize,
}

impl Place {
    /// Where a timer lies while the wheel stands at `position`. One that is overdue lies
    /// in the slot of the position itself.
    pub fn of(deadline: Instant, position: Instant) -> Self {
        let due = deadline.0.max(position.0);
        let differing = due ^ position.0;
        let level = differing.checked_ilog2().unwrap_or(0) / DIGIT_BITS;
        let digit = due >> (level * DIGIT_BITS) & (SLOTS as u64 - 1);
        Self { level, slot: usize::try_from(digit).expect("less than SLOTS") }
    }

    /// The first microsecond of the slot while the wheel stands at `position`: the
    /// position's higher digits, the slot's own, and zeros.
    pub fn begins_at(self, position: Instant) -> Instant {
        let shift = self.level * DIGIT_BITS;
        let higher = position.0 >> shift & !(SLOTS as u64 - 1);
        Instant((higher | self.slot as u64) << shift)
    }
}

impl Slots {
    /// The first slot that holds timers.
    pub fn first(&self) -> Option<Place> {
        let (number, level) = (0..).zip(&self.levels).find(|(_, level)| level.occupied != 0)?;
        Some(Place { level: number, slot: level.occupied.trailing_zeros() as usize })
    }

    /// The slot at the place.
    pub fn get(&self, place: Place) -> Slot {
        self.levels[place.level as usize].slots[place.slot]
    }

    /// Replaces the slot at the place.
    pub fn set(&mut self, place: Place, slot: Slot) {
        let level = &mut self.levels[place.level as usize];
        if slot.first.is_some() {
            level.occupied |= 1 << place.slot;
            level.slots[place.slot] = slot;
        } else {
            level.occupied &= !(1 << place.slot);
            level.slots[place.slot] = Slot::EMPTY;
        }
    }

    /// Empties the slot at the place. Returns what it was.
    pub fn take(&mut self, place: Place) -> Slot {
        let slot = self.get(place);
        self.set(place, Slot::EMPTY);
        slot
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self { levels: vec![Level { occupied: 0, slots: [Slot::EMPTY; SLOTS] }; LEVELS] }
    }
}
