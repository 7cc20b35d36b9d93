//! What may become of a sector that a disk has kept for long.

use crate::disk::SECTOR_BYTES;

/// Damage that is done to a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// It holds zeros.
    Zeroed,
    /// One of its bits has flipped.
    Flipped,
    /// What belongs to another sector of the file stands there.
    Misplaced,
    /// The file ends before it.
    Cut,
}

impl Damage {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Zeroed, Self::Flipped, Self::Misplaced, Self::Cut];

    /// Does this to the sector of the file. Returns whether that changes anything.
    pub fn apply(self, file: &mut Vec<u8>, sector: usize) -> bool {
        let from = sector * SECTOR_BYTES;
        let to = file.len().min(from + SECTOR_BYTES);
        if from >= to {
            return false;
        }
        let before = file[from..to].to_vec();
        match self {
            Self::Zeroed => file[from..to].fill(0),
            Self::Flipped => file[from + (sector * 37) % (to - from)] ^= 1 << (sector % 8),
            Self::Misplaced => {
                let sectors = (file.len() / SECTOR_BYTES).max(1);
                let other = ((sector + 1 + sector % 5) % sectors) * SECTOR_BYTES;
                file.copy_within(other..other + to - from, from);
            }
            Self::Cut => file.truncate(from),
        }
        file.get(from..to) != Some(&before[..])
    }
}
