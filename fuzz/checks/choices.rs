//! Choices read from the input, byte by byte.

use bytes::Bytes;

/// The input that is left. When it is used up every choice is zero.
pub struct Choices<'a> {
    left: &'a [u8],
}

impl<'a> Choices<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Self { left: input }
    }

    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, left)) = self.left.split_first() else { return 0 };
        self.left = left;
        *first
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Less than `bound`, which is at most 256.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound.max(1)
    }

    pub fn pair(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// Mostly a little more or less than `value`, at times anything.
    pub fn near(&mut self, value: u64) -> u64 {
        match self.byte() {
            away @ 0..=8 => value.saturating_add(away.into()),
            away @ 9..=16 => value.saturating_sub(u64::from(away) - 8),
            away @ 17..=127 => value.saturating_add(u64::from(away) * 64),
            small @ 128..=191 => u64::from(small) - 128,
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    /// So many bytes, or as many as are left.
    pub fn bytes(&mut self, count: usize) -> Bytes {
        let (taken, left) = self.left.split_at(count.min(self.left.len()));
        self.left = left;
        Bytes::copy_from_slice(taken)
    }
}
