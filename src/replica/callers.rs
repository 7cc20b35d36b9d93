//! The clients that were heard lately: how frames fare on the way from and to each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::link::Hearing;
use crate::time::Instant;
use crate::types::{DirectoryId, LossShare, PacketNumber};
use crate::wire::Header;

/// The most clients that are remembered at once. Frames of and to the others measure nothing.
const CALLERS_MAX: usize = 4_096;
/// A client that was not heard for so long makes room for another.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// How often room is sought at most: it takes a look at all of them.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// What those who are not remembered are sent is numbered so far apart that nobody takes what
/// lies between for lost.
const LEAP: u64 = 1 << 20;

/// The clients that were heard lately.
#[derive(Debug)]
pub struct Callers {
    known: BTreeMap<SocketAddr, Caller>,
    /// Where the numbers of the next client's packets begin.
    next_packet: PacketNumber,
    swept_at: Option<Instant>,
}

/// A client, as long as it is remembered.
#[derive(Debug)]
struct Caller {
    process: DirectoryId,
    hearing: Hearing,
    next_packet: PacketNumber,
    heard_at: Instant,
}

impl Callers {
    /// Nobody was heard yet. The number of the first packet must be random.
    pub fn new(first_packet: PacketNumber) -> Self {
        Self { known: BTreeMap::new(), next_packet: first_packet, swept_at: None }
    }

    /// Takes note of a client's frame.
    pub fn hear(&mut self, source: SocketAddr, header: &Header, now: Instant) {
        if !self.known.contains_key(&source) && !self.make_room(now) {
            return;
        }
        let next_packet = &mut self.next_packet;
        let caller = self.known.entry(source).or_insert_with(|| {
            next_packet.0 += LEAP;
            Caller {
                process: header.directory,
                hearing: Hearing::of_few(),
                next_packet: *next_packet,
                heard_at: now,
            }
        });
        if caller.process != header.directory {
            caller.process = header.directory;
            caller.hearing.restart();
        }
        caller.heard_at = now;
        caller.hearing.hear(header.packet, now);
    }

    /// Whether there is room for one more.
    fn make_room(&mut self, now: Instant) -> bool {
        let is_due = self.swept_at.is_none_or(|at| now.since(at) >= SWEEP_INTERVAL);
        if self.known.len() >= CALLERS_MAX && is_due {
            self.swept_at = Some(now);
            self.known.retain(|_, caller| now.since(caller.heard_at) < IDLE_MAX);
        }
        self.known.len() < CALLERS_MAX
    }

    /// The number of a frame that leaves to a client now, and the loss that it tells of.
    pub fn number(&mut self, to: SocketAddr) -> (PacketNumber, LossShare) {
        match self.known.get_mut(&to) {
            Some(caller) => {
                caller.next_packet = caller.next_packet.next();
                (caller.next_packet, caller.hearing.loss())
            }
            None => {
                self.next_packet.0 += LEAP;
                (self.next_packet, LossShare(0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ClusterHash;

    fn header(process: u64, packet: u64) -> Header {
        Header::of_client(ClusterHash::of("test"), DirectoryId(process), PacketNumber(packet))
    }

    fn address(number: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], number))
    }

    #[test]
    fn each_client_has_numbers_and_a_loss_of_its_own() {
        let mut callers = Callers::new(PacketNumber(1));
        for packet in 1..=100 {
            callers.hear(address(1), &header(1, packet), Instant(packet));
            callers.hear(address(2), &header(2, packet * 2), Instant(packet));
        }
        let (first, clean) = callers.number(address(1));
        let (second, lossy) = callers.number(address(2));
        assert_eq!((callers.number(address(1)).0, clean), (first.next(), LossShare(0)));
        assert_eq!(callers.number(address(2)).0, second.next());
        assert!(lossy.0 > 90, "{lossy:?}");
        assert!(first.0.abs_diff(second.0) >= LEAP);
    }

    #[test]
    fn another_process_at_the_same_address_counts_anew() {
        let mut callers = Callers::new(PacketNumber(1));
        callers.hear(address(1), &header(1, 900), Instant(1));
        for packet in 1_000..1_040 {
            callers.hear(address(1), &header(2, packet), Instant(2));
        }
        assert_eq!(callers.number(address(1)).1, LossShare(0));
    }

    #[test]
    fn who_was_silent_goes_on_with_its_numbers_while_there_is_room() {
        let mut callers = Callers::new(PacketNumber(1));
        callers.hear(address(1), &header(1, 5), Instant(1));
        let before = callers.number(address(1)).0;
        callers.hear(address(2), &header(2, 5), Instant(1) + IDLE_MAX);
        assert_eq!(callers.number(address(1)).0, before.next());
    }

    #[test]
    fn memory_is_bounded_and_idle_clients_make_room() {
        let mut callers = Callers::new(PacketNumber(1));
        let crowd = u16::try_from(CALLERS_MAX).unwrap();
        for number in 0..=crowd {
            callers.hear(address(number), &header(1, 5), Instant(1));
        }
        assert_eq!(callers.known.len(), CALLERS_MAX);
        let strangers = [callers.number(address(crowd)).0, callers.number(address(crowd)).0];
        assert!(strangers[1].0 - strangers[0].0 >= LEAP);
        let later = Instant(1) + IDLE_MAX;
        callers.hear(address(crowd), &header(1, 6), later);
        assert_eq!(callers.known.len(), 1);
    }
}
