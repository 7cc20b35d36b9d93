//! Keys, whose they are, and the text of the file that holds them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use zeroize::Zeroizing;

use crate::access::{Access, Holder, Rights};

/// The length of a key.
pub const KEY_BYTES: usize = 32;

/// A key's bytes. They are overwritten when they are dropped.
pub type Secret = Zeroizing<[u8; KEY_BYTES]>;

/// A key's number, from 1. It stands in the clear in each frame that the key seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u16);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A shared secret, and who is to hold it. Nothing prints its bytes.
#[derive(Clone)]
pub struct Key {
    /// Its number.
    pub id: KeyId,
    /// Who holds it.
    pub holder: Holder,
    secret: Secret,
}

impl Key {
    /// The key with these bytes.
    pub fn new(id: KeyId, holder: Holder, secret: Secret) -> Self {
        Self { id, holder, secret }
    }

    /// Its bytes, to derive others from.
    pub(super) fn secret(&self) -> &[u8; KEY_BYTES] {
        &self.secret
    }

    /// The line that stands for it in a key file: a secret.
    pub fn line(&self) -> Zeroizing<String> {
        let mut line = Zeroizing::new(String::with_capacity(256));
        match &self.holder {
            Holder::Node => line.push_str("node "),
            Holder::Client(name, _) => {
                line.push_str("client ");
                line.push_str(name);
                line.push(' ');
            }
        }
        line.push_str(&self.id.to_string());
        line.push(' ');
        for byte in self.secret.iter() {
            for digit in [byte >> 4, byte & 15] {
                line.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
            }
        }
        if let Holder::Client(_, rights) = &self.holder {
            line.push_str(if rights.write { " rw" } else { " r" });
            if !rights.prefix.is_empty() {
                line.push(' ');
                line.push_str(&rights.prefix);
            }
        }
        line.push('\n');
        line
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, {:?})", self.id, self.holder)
    }
}

/// The keys of one file.
#[derive(Clone, Debug)]
pub struct KeyRing {
    by_id: BTreeMap<KeyId, Key>,
    sending: KeyId,
}

impl KeyRing {
    /// The keys that the text of a key file lists.
    ///
    /// # Errors
    /// Which line is wrong, and how, or which keys are the same; never what a line says.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut by_id = BTreeMap::new();
        let (mut first_node, mut first) = (None, None);
        let mut names = BTreeSet::new();
        for (at, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.first().is_none_or(|word| word.starts_with('#')) {
                continue;
            }
            let wrong = |why: String| format!("line {}: {why}", at + 1);
            let key = parse_line(&words).map_err(|why| wrong(why.to_owned()))?;
            let id = key.id;
            first = first.or(Some(id));
            match &key.holder {
                Holder::Node => first_node = first_node.or(Some(id)),
                Holder::Client(name, _) if !names.insert(name.clone()) => {
                    return Err(wrong(format!("another line is of client {name} too")));
                }
                Holder::Client(..) => {}
            }
            if by_id.insert(id, key).is_some() {
                return Err(wrong(format!("another line has key id {id} too")));
            }
        }
        let sending = first_node.or(first).ok_or("it holds no key")?;
        let ring = Self { by_id, sending };
        ring.check_distinct()?;
        Ok(ring)
    }

    /// Checks that no two keys have one secret: who holds one would hold the other, with its
    /// rights.
    fn check_distinct(&self) -> Result<(), String> {
        let mut ids = BTreeMap::new();
        for key in self.iter() {
            if let Some(other) = ids.insert(key.secret(), key.id) {
                return Err(format!(
                    "keys {other} and {} are the same secret, so who holds one has the rights of \
                     both: remove one of the lines, and make another key with `quorate keygen`",
                    key.id
                ));
            }
        }
        Ok(())
    }

    /// The key that is used for what is said first: the first that nodes hold, or the first.
    pub fn sending(&self) -> &Key {
        &self.by_id[&self.sending]
    }

    /// Whether what is said first is sealed with a key that nodes hold.
    pub fn is_for_nodes(&self) -> bool {
        self.sending().holder == Holder::Node
    }

    /// The key with the number.
    pub fn get(&self, id: KeyId) -> Option<&Key> {
        self.by_id.get(&id)
    }

    /// A number that no key has yet: above all others, as long as there is one.
    pub fn free_id(&self) -> Option<KeyId> {
        let last = self.by_id.last_key_value().and_then(|(id, _)| id.0.checked_add(1));
        let mut all = last.into_iter().chain(1..=u16::MAX).map(KeyId);
        all.find(|id| !self.by_id.contains_key(id))
    }

    /// What the holders of these keys may do.
    pub fn access(&self) -> Access {
        Access::of(self.iter().map(|key| (key.id.0, key.holder.clone())))
    }

    /// All keys, by their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.by_id.values()
    }

    /// Checks that a node may go on with these keys. A key stays its holder's, with the same
    /// rights, also under another number: one node would deny for good what another has done.
    ///
    /// # Errors
    /// Which key is in the way.
    pub fn check_successor(&self, next: &Self) -> Result<(), String> {
        // How long it takes to compare secrets tells nothing to who has no hand in either file.
        let known: BTreeMap<_, &Key> = self.iter().map(|key| (key.secret(), key)).collect();
        for key in next.iter() {
            let Some(known) = known.get(key.secret()) else { continue };
            if known.holder != key.holder {
                let id = key.id;
                let former =
                    if known.id == id { String::new() } else { format!(" as {}", known.id) };
                return Err(format!(
                    "key {id} was somebody else's before{former}, or had other rights, and a key \
                     keeps its rights: make another with `quorate keygen --client`, and remove \
                     this one"
                ));
            }
        }
        Ok(())
    }

    /// Whether the other ring has this key just as this one has it.
    pub(super) fn shares(&self, other: &Self, id: KeyId) -> bool {
        match (self.get(id), other.get(id)) {
            (Some(one), Some(other)) => one.holder == other.holder && one.secret == other.secret,
            _ => false,
        }
    }
}

/// Which keys there are, and whose; nothing of what is in them.
impl fmt::Display for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut nodes, mut clients) = (Vec::new(), Vec::new());
        for key in self.iter() {
            match &key.holder {
                Holder::Node => nodes.push(key.id.to_string()),
                Holder::Client(name, _) => clients.push(format!("{} of {name}", key.id)),
            }
        }
        write!(f, "keys of nodes: {}; {} is used", nodes.join(", "), self.sending)?;
        if clients.is_empty() { Ok(()) } else { write!(f, "; of clients: {}", clients.join(", ")) }
    }
}

fn parse_line(words: &[&str]) -> Result<Key, &'static str> {
    match words {
        ["node", id, secret] => Ok(Key::new(parse_id(id)?, Holder::Node, parse_secret(secret)?)),
        ["client", name, id, secret, rights, prefix @ ..] if prefix.len() <= 1 => {
            let write = match *rights {
                "r" => false,
                "rw" => true,
                _ => return Err("a client's rights are r or rw"),
            };
            let prefix = prefix.first().copied().unwrap_or_default().to_owned();
            let holder = Holder::Client((*name).to_owned(), Rights { write, prefix });
            Ok(Key::new(parse_id(id)?, holder, parse_secret(secret)?))
        }
        _ => Err("expected: node KEYID HEX, or: client NAME KEYID HEX r|rw [PREFIX]"),
    }
}

fn parse_id(text: &str) -> Result<KeyId, &'static str> {
    let id = text.parse().ok().filter(|id| *id > 0);
    id.map(KeyId).ok_or("a key id is a number from 1 to 65535")
}

fn parse_secret(text: &str) -> Result<Secret, &'static str> {
    let expected = "a key is 64 hexadecimal digits";
    if text.len() != 2 * KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(expected);
    }
    let mut secret = Secret::default();
    for (byte, at) in secret.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| expected)?;
    }
    if *secret == [0; KEY_BYTES] {
        return Err("a key of zeros is none");
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    #[test]
    fn the_first_key_of_nodes_is_used_and_all_are_known() {
        let (one, two, three) = (hex('1'), hex('2'), hex('3'));
        let text = format!("# keys\n\nclient ann 7 {one} r a/\nnode 5 {two}\nnode 6 {three}\n");
        let ring = KeyRing::parse(&text).unwrap();
        assert_eq!(ring.sending().id, KeyId(5));
        let rights = Rights { write: false, prefix: "a/".into() };
        assert_eq!(ring.get(KeyId(7)).unwrap().holder, Holder::Client("ann".into(), rights));
        let lines: String = ring.iter().map(|key| key.line().to_string()).collect();
        let again = KeyRing::parse(&lines).unwrap();
        assert!(ring.iter().all(|key| again.shares(&ring, key.id)));
        let shown = format!("{:?}", ring.sending());
        assert_eq!(shown, "Key(5, Node)", "a key is never printed");
        assert_eq!(ring.to_string(), "keys of nodes: 5, 6; 5 is used; of clients: 7 of ann");
    }

    #[test]
    fn the_free_number_is_above_all_others_or_else_the_lowest() {
        let free = |ids: &[u16]| {
            let lines = ids.iter().zip(['1', '2']);
            let lines = lines.map(|(id, digit)| format!("node {id} {}\n", hex(digit)));
            KeyRing::parse(&lines.collect::<String>()).unwrap().free_id()
        };
        assert_eq!(free(&[5, 2]), Some(KeyId(6)));
        assert_eq!(free(&[1, u16::MAX]), Some(KeyId(2)));
    }

    #[test]
    fn holders_have_the_rights_of_their_keys() {
        let of_client = format!("client ann 7 {} r\n", hex('1'));
        let ring = KeyRing::parse(&of_client).unwrap();
        assert!(!ring.is_for_nodes());
        assert!(ring.access().check_operator(7).is_err(), "it is no operator");
        let ring = KeyRing::parse(&format!("{of_client}node 5 {}\n", hex('2'))).unwrap();
        assert!(ring.is_for_nodes());
        assert!(ring.access().check_operator(5).is_ok());
    }

    #[test]
    fn a_key_is_shared_if_secret_and_holder_are_the_same() {
        let (one, two) = (hex('1'), hex('2'));
        let ring = |line: String| KeyRing::parse(&line).unwrap();
        let here = ring(format!("node 5 {one}"));
        let others =
            [format!("node 5 {two}"), format!("client ann 5 {one} r"), format!("node 6 {one}")];
        assert!(here.shares(&here, KeyId(5)));
        assert!(others.into_iter().all(|other| !here.shares(&ring(other), KeyId(5))));
    }

    /// One node would deny for good what another has done.
    #[test]
    fn a_key_stays_its_holders_with_the_same_rights() {
        let (one, two, three) = (hex('1'), hex('2'), hex('3'));
        let ring =
            |client: &str| KeyRing::parse(&format!("node 5 {two}\n{client}")).expect("a key file");
        let before = ring(&format!("client ann 7 {one} r a/\n"));
        let refused = [
            format!("client ann 7 {one} rw a/\n"),
            format!("client ann 7 {one} r b/\n"),
            format!("client bob 7 {one} r a/\n"),
            format!("client ann 8 {one} rw\n"),
            format!("node 8 {one}\n"),
        ];
        for client in refused {
            assert!(before.check_successor(&ring(&client)).is_err(), "{client}");
        }
        let fine = [
            String::new(),
            format!("client ann 7 {one} r a/\nclient bob 8 {three} rw\n"),
            format!("client bob 7 {three} rw\n"),
            format!("client ann 8 {one} r a/\n"),
        ];
        for client in fine {
            assert_eq!(before.check_successor(&ring(&client)), Ok(()), "{client}");
        }
    }

    #[test]
    fn a_wrong_line_is_named_and_never_shown() {
        let key = hex('a');
        let cases = [
            (String::new(), "it holds no key"),
            (format!("node 0 {key}"), "line 1: a key id"),
            (format!("\nnode 1 {}", &key[1..]), "line 2: a key is 64"),
            (format!("node 1 {}", hex('0')), "zeros"),
            (format!("client ann 1 {key} w"), "r or rw"),
            (format!("client ann 1 {key} r a b"), "expected: node KEYID HEX"),
            (format!("node 1 {key}\nnode 1 {key}"), "line 2: another line has key id 1"),
            (format!("client ann 1 {key} r\nclient ann 2 {key} rw"), "line 2: another line is of"),
            (format!("node 3 {key}\nclient ann 2 {key} r"), "keys 2 and 3 are the same secret"),
            (
                format!("client ann 7 {key} r a/\nclient bob 8 {key} rw"),
                "keys 7 and 8 are the same",
            ),
        ];
        for (text, expected) in cases {
            let sentence = KeyRing::parse(&text).unwrap_err();
            assert!(sentence.contains(expected) && !sentence.contains("aaa"), "{sentence}");
        }
    }
}
