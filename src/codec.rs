//! Reading and writing fixed-width little-endian fields.
//!
//! Writers append to a `Vec<u8>` through `bytes::BufMut`. The [`Reader`] is total: it
//! never panics, and it hands out slices of what is there, never of what is promised.

use std::net::{IpAddr, SocketAddr};

use bytes::{Buf, BufMut, Bytes};

/// The bytes do not say what they should: too few, too many, or a value without meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Takes fields off the front of a byte string.
#[derive(Debug)]
pub struct Reader {
    rest: Bytes,
}

macro_rules! field {
    ($name:ident, $type:ty, $take:ident) => {
        /// The next little-endian field of this width.
        ///
        /// # Errors
        /// [`Malformed`] when fewer bytes are left.
        pub fn $name(&mut self) -> Result<$type, Malformed> {
            if self.rest.len() < size_of::<$type>() {
                return Err(Malformed);
            }
            Ok(self.rest.$take())
        }
    };
}

impl Reader {
    /// Reads `bytes` from their start.
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    field!(u8, u8, get_u8);
    field!(u16, u16, get_u16_le);
    field!(u32, u32, get_u32_le);
    field!(u64, u64, get_u64_le);
    field!(i64, i64, get_i64_le);

    /// A boolean: 0 or 1.
    ///
    /// # Errors
    /// [`Malformed`] for any other value, or none.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    /// The next `length` bytes, sharing the memory of what is read.
    ///
    /// # Errors
    /// [`Malformed`] when fewer bytes are left.
    pub fn bytes(&mut self, length: usize) -> Result<Bytes, Malformed> {
        if self.rest.len() < length {
            return Err(Malformed);
        }
        Ok(self.rest.split_to(length))
    }

    /// All bytes that are left.
    pub fn remaining(&mut self) -> Bytes {
        std::mem::take(&mut self.rest)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`Malformed`] when bytes are left over.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// Appends a byte that names the family of the address, the address and the port.
pub fn put_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => {
            out.put_u8(4);
            out.put_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.put_u8(6);
            out.put_slice(&ip.octets());
        }
    }
    out.put_u16_le(address.port());
}

/// Takes the rest of an address, whose family was read.
///
/// # Errors
/// [`Malformed`] for a family that there is not, and when fewer bytes are left.
pub fn take_address(family: u8, reader: &mut Reader) -> Result<SocketAddr, Malformed> {
    let ip = match family {
        4 => IpAddr::from(take_octets::<4>(reader)?),
        6 => IpAddr::from(take_octets::<16>(reader)?),
        _ => return Err(Malformed),
    };
    Ok(SocketAddr::new(ip, reader.u16()?))
}

fn take_octets<const N: usize>(reader: &mut Reader) -> Result<[u8; N], Malformed> {
    <[u8; N]>::try_from(&reader.bytes(N)?[..]).map_err(|_| Malformed)
}
