//! Lines of keys and values: `key<TAB>value`, with what would break a line escaped.

/// Appends the bytes with backslash, tab, newline and return as `\\ \t \n \r`.
pub fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            _ => out.push(byte),
        }
    }
}

/// One line, with its newline.
pub fn line(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + value.len() + 2);
    escape(key, &mut out);
    out.push(b'\t');
    escape(value, &mut out);
    out.push(b'\n');
    out
}

/// The key and the value of a line without its newline.
///
/// # Errors
/// What is wrong with the line.
pub fn parse_line(line: &[u8]) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
    let tab = line.iter().position(|byte| *byte == b'\t').ok_or("it has no tab")?;
    let (key, value) = (&line[..tab], &line[tab + 1..]);
    if value.contains(&b'\t') {
        return Err("it has a second tab; a tab in a value is written \\t");
    }
    Ok((unescape(key)?, unescape(value)?))
}

fn unescape(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        if byte == b'\r' {
            return Err("it holds a return; a line ends in a newline alone, and a return in a \
                        value is written \\r");
        }
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'\\') => b'\\',
            Some(b't') => b'\t',
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            _ => return Err("a backslash stands before something else than \\, t, n or r"),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_a_line() {
        let all: Vec<u8> = (0..=255).collect();
        let line = line(&all, &all);
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
        let (key, value) = parse_line(&line[..line.len() - 1]).unwrap();
        assert_eq!((key, value), (all.clone(), all));
    }

    #[test]
    fn a_broken_line_is_refused() {
        assert!(parse_line(b"no tab").is_err());
        assert!(parse_line(b"two\ttabs\there").is_err());
        assert!(parse_line(b"bad\\x\tescape").is_err());
        assert!(parse_line(b"cut\tescape\\").is_err());
        assert!(parse_line(b"ends\tas elsewhere\r").is_err());
        assert_eq!(parse_line(b"empty\t").unwrap(), (b"empty".to_vec(), Vec::new()));
    }
}
