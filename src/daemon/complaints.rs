//! The log's word of datagrams that are dropped before they are opened: what points at a mistake or
//! at an attack, and seldom enough that no flood fills the log. `status` counts all.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::seal::KeyId;
use crate::time::Instant;
use crate::types::ServerId;
use crate::wire::DropCause;

/// How long one line is enough.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// A datagram that was dropped.
#[derive(Clone, Copy, Debug)]
pub struct Dropped {
    /// From where it came, as it says.
    pub source: SocketAddr,
    /// The node that is known to be there.
    pub node: Option<ServerId>,
    /// The key that it names; zero: it is not sealed.
    pub key: KeyId,
    /// Why it was dropped.
    pub cause: DropCause,
}

/// What the log was told so far. What seems to come from a node is told apart from all else: a
/// flood from elsewhere must not hide that two nodes do not understand each other.
#[derive(Debug, Default)]
pub struct Complaints(BTreeMap<(Option<ServerId>, DropCause), Told>);

#[derive(Debug)]
struct Told {
    told_at: Instant,
    /// When there was last something to tell.
    dropped_at: Instant,
}

impl Complaints {
    /// Tells the log of what was dropped, if there is something to tell.
    pub fn on_dropped(&mut self, now: Instant, dropped: &Dropped) {
        let Some(line) = self.next_line(now, dropped) else { return };
        if is_mistake(dropped.cause) {
            log::warn!("{line}");
        } else {
            log::info!("{line}");
        }
    }

    fn next_line(&mut self, now: Instant, dropped: &Dropped) -> Option<String> {
        let what = what(dropped)?;
        let of = (dropped.node, dropped.cause);
        if let Some(told) = self.0.get_mut(&of) {
            let since = if is_mistake(dropped.cause) { told.told_at } else { told.dropped_at };
            told.dropped_at = now;
            if now.since(since) < REPEAT_AFTER {
                return None;
            }
        }
        self.0.insert(of, Told { told_at: now, dropped_at: now });
        let Dropped { source, node, cause, .. } = dropped;
        let node = node.map_or(String::new(), |node| format!(" (node {node})"));
        Some(format!("what {source}{node} sends is dropped: it {what} ({})", cause.name()))
    }
}

/// Somebody has to correct it, so it is said again for as long as it goes on. The rest comes of
/// restarts and of networks that repeat too: it is said when it begins, and again once there was
/// none for as long.
fn is_mistake(cause: DropCause) -> bool {
    !matches!(cause, DropCause::Replay | DropCause::Session)
}

fn what(dropped: &Dropped) -> Option<String> {
    let key = dropped.key;
    Some(match dropped.cause {
        DropCause::Key if key == KeyId(0) => "is not sealed".to_owned(),
        DropCause::Key => format!("is sealed with key {key}, which this node does not have"),
        DropCause::Seal => {
            format!("is sealed with another key {key} than this node's, or was changed")
        }
        DropCause::Cluster => "is of a cluster of another name".to_owned(),
        DropCause::Genesis => "is of another cluster of this name".to_owned(),
        DropCause::Destination => "is meant for another node".to_owned(),
        DropCause::Sender => format!("names a sender that key {key} does not speak for there"),
        DropCause::Address => "is of a session that began at another address".to_owned(),
        DropCause::Replay => "has come before, or is of the past".to_owned(),
        DropCause::Session => {
            "is of a session that this node does not know, or has no room for".to_owned()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A datagram of that node, or of a stranger at an address of its own.
    fn dropped(node: Option<u16>, key: u16, cause: DropCause) -> Dropped {
        let port = 9_000 + node.unwrap_or(99);
        let source = SocketAddr::from(([10, 0, 0, 1], port));
        Dropped { source, node: node.map(ServerId), key: KeyId(key), cause }
    }

    fn seconds(complaints: &mut Complaints, dropped: &Dropped, at: &[u64]) -> Vec<u64> {
        let is_told =
            |second: &&u64| complaints.next_line(Instant(**second * 1_000_000), dropped).is_some();
        at.iter().filter(is_told).copied().collect()
    }

    #[test]
    fn the_line_says_who_and_by_which_key() {
        let line = |dropped| Complaints::default().next_line(Instant(0), &dropped);
        let expected = "what 10.0.0.1:9002 (node 2) sends is dropped: it is sealed with key 7, \
                        which this node does not have (key)";
        assert_eq!(line(dropped(Some(2), 7, DropCause::Key)).as_deref(), Some(expected));
        let expected = "what 10.0.0.1:9099 sends is dropped: it is not sealed (key)";
        assert_eq!(line(dropped(None, 0, DropCause::Key)).as_deref(), Some(expected));
        let expected = "what 10.0.0.1:9002 (node 2) sends is dropped: it is sealed with another \
                        key 7 than this node's, or was changed (seal)";
        assert_eq!(line(dropped(Some(2), 7, DropCause::Seal)).as_deref(), Some(expected));
        assert_eq!(line(dropped(Some(2), 7, DropCause::Duplicate)), None);
    }

    /// Whoever floods a node from anywhere takes one line a minute for itself, and no other's.
    #[test]
    fn each_node_has_a_line_of_its_own() {
        let mut complaints = Complaints::default();
        let all: Vec<u64> = (0..150).collect();
        for who in [None, Some(2), Some(3)] {
            let told = seconds(&mut complaints, &dropped(who, 7, DropCause::Key), &all);
            assert_eq!(told, [0, 60, 120], "{who:?}");
        }
    }

    /// A replay is told when it begins, however long it goes on.
    #[test]
    fn what_is_nobodys_mistake_is_told_when_it_begins() {
        let at: Vec<u64> = (0..150).chain([208, 267, 327, 329]).collect();
        for cause in [DropCause::Replay, DropCause::Session] {
            let told = seconds(&mut Complaints::default(), &dropped(Some(2), 7, cause), &at);
            assert_eq!(told, [0, 327], "{cause:?}");
        }
    }
}
