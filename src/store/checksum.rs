//! The sum by which the states of nodes are compared.

/// A running sum over byte strings: FNV-1a, with each string's length.
#[derive(Debug)]
pub struct Checksum(u64);

impl Default for Checksum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Checksum {
    /// Takes in one byte string.
    pub fn add(&mut self, bytes: &[u8]) {
        for &byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The sum of all that was taken in.
    pub fn sum(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(strings: &[&[u8]]) -> u64 {
        let mut checksum = Checksum::default();
        for bytes in strings {
            checksum.add(bytes);
        }
        checksum.sum()
    }

    #[test]
    fn it_is_fnv_1a_over_lengths_and_bytes() {
        assert_eq!(sum(&[b"quorate", b""]), 0x1288_9799_8666_f093);
        assert_ne!(sum(&[b"ab", b"c"]), sum(&[b"a", b"bc"]));
    }
}
