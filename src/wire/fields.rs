//! Fields that several messages have in common, each written and read.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes};

use crate::codec::{self, Malformed, Reader};

pub use crate::codec::put_address;

/// Appends the number of elements that follow, in one byte.
pub fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u8(u8::try_from(count).unwrap_or(u8::MAX));
}

/// Takes a count of at most `most`, and as many elements. Nothing is allocated for
/// elements that are not there.
pub fn take_list<T>(
    reader: &mut Reader,
    most: usize,
    element: impl Fn(&mut Reader) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = usize::from(reader.u8()?);
    if count > most {
        return Err(Malformed);
    }
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(element(reader)?);
    }
    Ok(list)
}

/// Appends a byte that says whether a value follows, and the value.
pub fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl Fn(&mut Vec<u8>, T)) {
    out.put_u8(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

/// Takes a byte that says whether a value follows, and the value.
pub fn take_option<T>(
    reader: &mut Reader,
    value: impl Fn(&mut Reader) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    if reader.bool()? { value(reader).map(Some) } else { Ok(None) }
}

/// Appends bytes with their length in two.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &Bytes) {
    out.put_u16_le(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
    out.put_slice(bytes);
}

/// Takes a length in two bytes, at most `most`, and as many bytes.
pub fn take_bytes(reader: &mut Reader, most: usize) -> Result<Bytes, Malformed> {
    let length = usize::from(reader.u16()?);
    if length > most { Err(Malformed) } else { reader.bytes(length) }
}

/// Appends a text with its length in one byte, cut at a character if it is too long.
pub fn put_text(out: &mut Vec<u8>, text: &str, most: usize) {
    let mut end = text.len().min(most).min(255);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    put_count(out, end);
    out.put_slice(&text.as_bytes()[..end]);
}

/// Takes a length in one byte, at most `most`, and a text that long.
pub fn take_text(reader: &mut Reader, most: usize) -> Result<String, Malformed> {
    let length = usize::from(reader.u8()?);
    if length > most {
        return Err(Malformed);
    }
    String::from_utf8(reader.bytes(length)?.to_vec()).map_err(|_| Malformed)
}

/// Takes an address with its port.
pub fn take_address(reader: &mut Reader) -> Result<SocketAddr, Malformed> {
    let family = reader.u8()?;
    codec::take_address(family, reader)
}
