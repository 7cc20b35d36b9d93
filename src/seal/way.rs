//! The way to one other side: its session, or how far it is on the way to one.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::handshake::Nonce;
use super::keys::KeyId;
use crate::time::Instant;
use crate::types::ServerId;

/// How many frames wait for a session. What is older is lost, as it might be anywhere.
const HELD_MAX: usize = 16;
/// How soon a `Hello` is said again that was not answered, and how late at most. It is said
/// only when there is something to send.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(400);
/// How long the same random bits are said.
const GREETING_LIFE: Duration = Duration::from_secs(5);
/// Whoever is sent frames and says nothing for so long may have lost the session. Each time
/// that a new one brings no answer either, twice as long is waited.
const SILENCE_MIN: Duration = Duration::from_millis(200);
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Where the other side is, and which node it is. A client does not tell nodes apart.
pub type WayId = (SocketAddr, ServerId);

/// The way to one other side.
#[derive(Debug)]
pub struct Way {
    /// The newest session: what is sent goes in it.
    pub session: Option<u32>,
    /// The one before. When both sides begin at once, each takes the other's session for the
    /// newest, so the other side may go on sending in this one for good.
    former: Option<u32>,
    /// There should be a newer one: the keys are others, or the cluster was born.
    pub renew: bool,
    greeting: Option<Greeting>,
    held: VecDeque<Vec<u8>>,
    /// Since when frames were sent and nothing came back.
    unanswered_since: Option<Instant>,
    silence: Duration,
}

/// A `Hello` that is not answered yet.
#[derive(Debug)]
struct Greeting {
    nonce: Nonce,
    key: KeyId,
    begun_at: Instant,
    said_at: Instant,
    pause: Duration,
}

impl Default for Way {
    fn default() -> Self {
        Self {
            session: None,
            former: None,
            renew: false,
            greeting: None,
            held: VecDeque::new(),
            unanswered_since: None,
            silence: SILENCE_MIN,
        }
    }
}

impl Way {
    /// Keeps the frame until there is a session.
    pub fn hold(&mut self, frame: &[u8]) {
        if self.held.len() == HELD_MAX {
            self.held.pop_front();
        }
        self.held.push_back(frame.to_vec());
    }

    /// What was kept.
    pub fn take_held(&mut self) -> VecDeque<Vec<u8>> {
        std::mem::take(&mut self.held)
    }

    /// A frame is sent. Returns whether another session should be sought, for this one seems
    /// to be lost, or is to be replaced.
    pub fn on_sent(&mut self, now: Instant) -> bool {
        let since = *self.unanswered_since.get_or_insert(now);
        if now.since(since) >= self.silence {
            self.unanswered_since = Some(now);
            self.silence = (2 * self.silence).min(SILENCE_MAX);
            self.renew = true;
        }
        self.renew
    }

    /// A frame has come.
    pub fn on_heard(&mut self) {
        self.unanswered_since = None;
        self.silence = SILENCE_MIN;
    }

    /// The random bits to greet with now by this key, unless that was done just before.
    pub fn greet(
        &mut self,
        now: Instant,
        key: KeyId,
        draw: impl FnOnce() -> Nonce,
    ) -> Option<Nonce> {
        let former_pause = match &mut self.greeting {
            Some(greeting) if now.since(greeting.said_at) < greeting.pause => return None,
            Some(greeting) if now.since(greeting.begun_at) < GREETING_LIFE => {
                greeting.said_at = now;
                greeting.pause = (2 * greeting.pause).min(PAUSE_MAX);
                return Some(greeting.nonce);
            }
            Some(greeting) => greeting.pause,
            None => PAUSE_MIN,
        };
        let (nonce, pause) = (draw(), former_pause);
        self.greeting = Some(Greeting { nonce, key, begun_at: now, said_at: now, pause });
        Some(nonce)
    }

    /// From now on this key is used. A greeting by another must not come to a session any more:
    /// that would pass for the newest, though one by this key is sought.
    pub fn use_key(&mut self, key: KeyId) {
        self.greeting.take_if(|greeting| greeting.key != key);
    }

    /// Whether the present greeting was by this key, with these random bits.
    pub fn has_greeted_with(&self, key: KeyId, nonce: &Nonce) -> bool {
        self.greeting.as_ref().is_some_and(|said| said.key == key && said.nonce == *nonce)
    }

    /// There is a new session. Returns the one that nobody goes on sending in.
    pub fn begin(&mut self, session: u32) -> Option<u32> {
        self.greeting = None;
        self.renew = false;
        self.unanswered_since = None;
        let former = self.session.replace(session)?;
        self.former.replace(former)
    }

    /// Whether there is nothing to remember.
    pub fn is_idle(&self) -> bool {
        self.session.is_none() && self.greeting.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same random bits are said ever more seldom, and others once they are five seconds
    /// old.
    #[test]
    fn a_greeting_is_said_again_for_five_seconds() {
        let (mut way, mut drawn) = (Way::default(), 0_u8);
        let mut said = Vec::new();
        for millis in 0..6_000 {
            let nonce = way.greet(Instant(millis * 1_000), KeyId(1), || {
                drawn += 1;
                [drawn; 32]
            });
            said.extend(nonce.map(|nonce| (millis, nonce[0])));
        }
        let of_first: Vec<u64> =
            said.iter().take_while(|(_, nonce)| *nonce == 1).map(|(millis, _)| *millis).collect();
        assert_eq!(of_first[..6], [0, 20, 60, 140, 300, 620]);
        assert!(of_first[5..].windows(2).all(|two| two[1] - two[0] == 400), "{of_first:?}");
        let next = said[of_first.len()];
        assert_eq!(next, (of_first.last().unwrap() + 400, 2));
        assert!((5_000..5_400).contains(&next.0));
    }

    #[test]
    fn a_greeting_of_five_seconds_is_said_no_more() {
        let mut way = Way::default();
        way.greet(Instant(0), KeyId(1), || [1; 32]);
        let life = u64::try_from(GREETING_LIFE.as_micros()).unwrap();
        let mut greet = |now| way.greet(Instant(now), KeyId(1), || [2; 32]);
        assert_eq!(greet(life - 500_000), Some([1; 32]));
        assert_eq!(greet(life), Some([2; 32]));
    }
}
