//! Whoever holds a key of nodes and says to be a node that is known to be elsewhere: two processes
//! have one number, or an address is wrong. What it sends is dropped and counted under `address`;
//! the log names it once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::seal::Begun;
use crate::time::Instant;
use crate::types::ServerId;

/// How many are remembered, so that each is named once.
const DOUBLES_MAX: usize = 64;
/// How long one is remembered that begins no session any more.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Those that the log has named, and when each was last heard.
#[derive(Debug, Default)]
pub struct Doubles(BTreeMap<(SocketAddr, ServerId), Instant>);

impl Doubles {
    /// A session has begun with a node that is known at this other address.
    pub fn on_session(&mut self, now: Instant, begun: &Begun, known_at: SocketAddr) {
        if let Some(line) = self.next_line(now, begun, known_at) {
            log::warn!("{line}");
        }
    }

    fn next_line(&mut self, now: Instant, begun: &Begun, known_at: SocketAddr) -> Option<String> {
        let Begun { peer, address, .. } = *begun;
        self.0.retain(|_, heard_at| now.since(*heard_at) < FORGET_AFTER);
        let has_room = self.0.len() < DOUBLES_MAX;
        if let Some(heard_at) = self.0.get_mut(&(address, peer)) {
            *heard_at = now;
            return None;
        }
        has_room.then(|| {
            self.0.insert((address, peer), now);
            format!(
                "{address} says that it is node {peer}, which is at {known_at}, so it is not \
                 heard; give each node a number of its own, and correct --peer where it names \
                 another address"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::KeyId;

    #[test]
    fn each_is_named_once_and_their_number_is_bounded() {
        let mut doubles = Doubles::default();
        let known_at = SocketAddr::from(([10, 0, 0, 2], 9717));
        let mut heard = |seconds: u64, port: u16| {
            let address = SocketAddr::from(([10, 0, 0, 9], port));
            let begun = Begun { peer: ServerId(2), address, key: KeyId(1) };
            doubles.next_line(Instant(seconds * 1_000_000), &begun, known_at)
        };
        let line = heard(0, 1).unwrap();
        assert!(line.starts_with("10.0.0.9:1 says that it is node 2, which is at 10.0.0.2:9717, "));
        assert_eq!(heard(1, 1), None);
        let named = (2..200).filter(|port| heard(4, *port).is_some()).count();
        assert_eq!(named, DOUBLES_MAX - 1);
        assert_eq!(heard(500, 1), None);
        assert!(heard(1_200, 1).is_some(), "it was not heard for long");
    }
}
