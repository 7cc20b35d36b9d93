//! Who may do what.
//!
//! Whoever asks is known by the key that sealed what it says. A table tells whose key that is,
//! and what its holder may do. What a key gives a right to never changes, so a denial follows
//! from the request and the key alone: what was denied once was not done, and never will be.

use std::collections::BTreeMap;
use std::fmt;

use crate::operation::{Command, LoggedRequest};

/// Who holds a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The nodes, and the people who run them.
    Node,
    /// One client, by its name.
    Client(String, Rights),
}

/// What a client may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Whether it may write, or only read.
    pub write: bool,
    /// What each key that it reads or writes begins with.
    pub prefix: String,
}

/// The right that is missing for what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// The client may only read.
    ReadOnly,
    /// The client has no right to this key, or not to all keys that may begin so.
    OtherKeys,
    /// Only who holds a key of nodes may change the members.
    ClientsKey,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnly => {
                "not done: this client's key has the right to read, and none to write; ask who \
                 runs the cluster for a key with --rights rw"
            }
            Self::OtherKeys => {
                "not done: this client's key has rights to the keys of a prefix, and what was \
                 asked goes beyond it; stay within the prefix, or ask who runs the cluster for a \
                 key with more rights"
            }
            Self::ClientsKey => {
                "not done: members are changed by who holds a key of nodes, and this is a \
                 client's; use the key file of a node"
            }
        })
    }
}

/// What was denied for want of rights since the node was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Denials {
    /// To write, by who may only read.
    pub read_only: u64,
    /// Keys, to who has no right to them.
    pub other_keys: u64,
    /// To change the members, by clients.
    pub clients_key: u64,
    /// By which key the last was asked, and what was missing.
    pub last: Option<(u16, Denial)>,
}

impl Denials {
    /// Who holds the key was denied something.
    pub fn count(&mut self, holder_of: u16, denial: Denial) {
        let count = match denial {
            Denial::ReadOnly => &mut self.read_only,
            Denial::OtherKeys => &mut self.other_keys,
            Denial::ClientsKey => &mut self.clients_key,
        };
        *count += 1;
        self.last = Some((holder_of, denial));
    }

    /// How many these are.
    pub fn total(&self) -> u64 {
        self.read_only + self.other_keys + self.clients_key
    }
}

/// Who holds which key, by the keys' numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// None: frames are not sealed, nobody is known, and everybody may do all.
    holders: Option<BTreeMap<u16, Holder>>,
}

impl Access {
    /// Everybody who has one of these keys may do what its holder may, and nobody else anything.
    pub fn of(holders: impl IntoIterator<Item = (u16, Holder)>) -> Self {
        Self { holders: Some(holders.into_iter().collect()) }
    }

    /// Whether those who ask are known.
    pub fn is_sealed(&self) -> bool {
        self.holders.is_some()
    }

    /// Whether anybody holds a key of this number.
    pub fn holds(&self, key: u16) -> bool {
        self.holders.as_ref().is_some_and(|holders| holders.contains_key(&key))
    }

    /// The client whose key it is, by its name.
    pub fn client(&self, holder_of: u16) -> Option<&str> {
        match self.holders.as_ref()?.get(&holder_of)? {
            Holder::Node => None,
            Holder::Client(name, _) => Some(name),
        }
    }

    /// Whether who holds the key may read all keys that begin with this.
    ///
    /// # Errors
    /// The right that is missing.
    pub fn check_read(&self, holder_of: u16, prefix: &[u8]) -> Result<(), Denial> {
        match self.limits(holder_of)? {
            Some(rights) if !prefix.starts_with(rights.prefix.as_bytes()) => Err(Denial::OtherKeys),
            _ => Ok(()),
        }
    }

    /// Whether who holds the key may write any key at all.
    ///
    /// # Errors
    /// The right that is missing.
    pub fn check_writer(&self, holder_of: u16) -> Result<(), Denial> {
        match self.limits(holder_of)? {
            Some(rights) if !rights.write => Err(Denial::ReadOnly),
            _ => Ok(()),
        }
    }

    /// Whether the request of who holds the key may be appended to the log. To settle is to
    /// write, since it forbids an operation, and to write no key.
    ///
    /// # Errors
    /// The right that is missing.
    pub fn check_request(&self, holder_of: u16, request: &LoggedRequest) -> Result<(), Denial> {
        self.check_writer(holder_of)?;
        match &request.command {
            Command::Execute(operation) => self.check_read(holder_of, operation.key()),
            Command::Settle => Ok(()),
        }
    }

    /// Whether who holds the key may change the members.
    ///
    /// # Errors
    /// The right that is missing.
    pub fn check_operator(&self, holder_of: u16) -> Result<(), Denial> {
        match self.limits(holder_of) {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => Err(Denial::ClientsKey),
        }
    }

    /// What limits who holds the key; none: nothing does. Who holds no key of the table, or
    /// not any more, has the rights to no key.
    fn limits(&self, holder_of: u16) -> Result<Option<&Rights>, Denial> {
        let Some(holders) = &self.holders else { return Ok(None) };
        match holders.get(&holder_of) {
            Some(Holder::Node) => Ok(None),
            Some(Holder::Client(_, rights)) => Ok(Some(rights)),
            None => Err(Denial::OtherKeys),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(write: bool, prefix: &str) -> Holder {
        Holder::Client("ann".into(), Rights { write, prefix: prefix.into() })
    }

    #[test]
    fn rights_reach_as_far_as_the_prefix() {
        let access = Access::of([
            (1, Holder::Node),
            (2, client(true, "")),
            (3, client(false, "app/")),
            (4, client(true, "app/")),
        ]);
        assert!(access.is_sealed());
        let inside = ["app/", "app/x", "app/\u{e9}"];
        let outside = ["", "a", "app", "apq", "b/app/", "App/x"];
        for prefix in inside {
            assert!(
                (1..=4).all(|key| access.check_read(key, prefix.as_bytes()).is_ok()),
                "{prefix}"
            );
        }
        for prefix in outside {
            assert!(
                (1..=2).all(|key| access.check_read(key, prefix.as_bytes()).is_ok()),
                "{prefix}"
            );
            for key in [3, 4, 5] {
                let denied = access.check_read(key, prefix.as_bytes());
                assert_eq!(denied, Err(Denial::OtherKeys), "{key}: {prefix}");
            }
        }
        let writers: Vec<_> = (1..=5).map(|key| access.check_writer(key).err()).collect();
        assert_eq!(
            writers,
            [None, None, Some(Denial::ReadOnly), None, Some(Denial::OtherKeys)],
            "nobody holds the last one"
        );
        let operators: Vec<_> = (1..=5).map(|key| access.check_operator(key).is_ok()).collect();
        assert_eq!(operators, [true, false, false, false, false]);
    }

    #[test]
    fn each_denial_says_what_to_do() {
        let cases = [
            (Denial::ReadOnly, "a key with --rights rw"),
            (Denial::OtherKeys, "stay within the prefix"),
            (Denial::ClientsKey, "use the key file of a node"),
        ];
        for (denial, advice) in cases {
            assert!(denial.to_string().contains(advice), "{denial}");
        }
    }

    #[test]
    fn without_a_seal_everybody_may_do_all() {
        let access = Access::default();
        assert!(access.check_read(0, b"").is_ok() && access.check_operator(0).is_ok());
        assert!(access.check_writer(0).is_ok() && !access.is_sealed());
        assert!(
            Access::of([]).check_read(0, b"a").is_err(),
            "with one, a frame without is nobody's"
        );
    }
}
