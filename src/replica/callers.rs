//! The clients that were heard lately: how frames fare on the way from and to each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::effects::ClientPath;
use super::shares::{Claimant, Shares};
use crate::link::Hearing;
use crate::time::Instant;
use crate::types::{DirectoryId, LossShare, PacketNumber};

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
    shares: Shares<CALLERS_MAX>,
    /// Where the numbers of the next client's packets begin.
    next_packet: PacketNumber,
    swept_at: Option<Instant>,
}

/// A client, as long as it is remembered.
#[derive(Debug)]
struct Caller {
    claimant: Claimant,
    process: DirectoryId,
    hearing: Hearing,
    next_packet: PacketNumber,
    heard_at: Instant,
}

impl Callers {
    /// Nobody was heard yet. The number of the first packet must be random.
    pub fn new(first_packet: PacketNumber) -> Self {
        let (known, shares) = (BTreeMap::new(), Shares::default());
        Self { known, shares, next_packet: first_packet, swept_at: None }
    }

    /// Takes note of the frame of a client, which is this process.
    pub fn hear(&mut self, client: &ClientPath, process: DirectoryId) {
        let (claimant, now) = (client.claimant(), client.heard_at);
        if !self.known.contains_key(&client.address) && !self.make_room(claimant, now) {
            return;
        }
        let Self { known, shares, next_packet, .. } = self;
        let caller = known.entry(client.address).or_insert_with(|| {
            shares.take(claimant, 1);
            next_packet.0 += LEAP;
            let (hearing, next_packet) = (Hearing::of_few(), *next_packet);
            Caller { claimant, process, hearing, next_packet, heard_at: now }
        });
        if caller.process != process {
            caller.process = process;
            caller.hearing.restart();
        }
        caller.heard_at = now;
        caller.hearing.hear(client.packet, now);
    }

    /// Whether there is room for one more of this claimant.
    fn make_room(&mut self, claimant: Claimant, now: Instant) -> bool {
        let is_due = self.swept_at.is_none_or(|at| now.since(at) >= SWEEP_INTERVAL);
        if !self.shares.may_take(claimant, 1) && is_due {
            self.swept_at = Some(now);
            self.forget_idle(now);
        }
        self.shares.may_take(claimant, 1)
    }

    fn forget_idle(&mut self, now: Instant) {
        let Self { known, shares, .. } = self;
        known.retain(|_, caller| {
            let is_kept = now.since(caller.heard_at) < IDLE_MAX;
            if !is_kept {
                shares.give_back(caller.claimant, 1);
            }
            is_kept
        });
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

    /// What a client sends from there.
    fn hear(callers: &mut Callers, number: u16, process: u64, packet: u64, now: Instant) {
        hear_by_key(callers, (number, 0), process, packet, now);
    }

    fn hear_by_key(
        callers: &mut Callers,
        (number, key): (u16, u16),
        process: u64,
        packet: u64,
        heard_at: Instant,
    ) {
        let (address, packet, loss) = (address(number), PacketNumber(packet), LossShare(0));
        let client = ClientPath { address, key, packet, heard_at, loss };
        callers.hear(&client, DirectoryId(process));
    }

    fn address(number: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], number))
    }

    #[test]
    fn each_client_has_numbers_and_a_loss_of_its_own() {
        let mut callers = Callers::new(PacketNumber(1));
        for packet in 1..=100 {
            hear(&mut callers, 1, 1, packet, Instant(packet));
            hear(&mut callers, 2, 2, packet * 2, Instant(packet));
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
        hear(&mut callers, 1, 1, 900, Instant(1));
        for packet in 1_000..1_040 {
            hear(&mut callers, 1, 2, packet, Instant(2));
        }
        assert_eq!(callers.number(address(1)).1, LossShare(0));
    }

    #[test]
    fn who_was_silent_goes_on_with_its_numbers_while_there_is_room() {
        let mut callers = Callers::new(PacketNumber(1));
        hear(&mut callers, 1, 1, 5, Instant(1));
        let before = callers.number(address(1)).0;
        hear(&mut callers, 2, 2, 5, Instant(1) + IDLE_MAX);
        assert_eq!(callers.number(address(1)).0, before.next());
    }

    #[test]
    fn memory_is_bounded_and_idle_clients_make_room() {
        let mut callers = Callers::new(PacketNumber(1));
        let crowd = u16::try_from(CALLERS_MAX).unwrap();
        for number in 0..=crowd {
            hear_by_key(&mut callers, (number, number + 1), 1, 5, Instant(1));
        }
        assert_eq!(callers.known.len(), CALLERS_MAX);
        let strangers = [callers.number(address(crowd)).0, callers.number(address(crowd)).0];
        assert!(strangers[1].0 - strangers[0].0 >= LEAP);
        let later = Instant(1) + IDLE_MAX;
        hear(&mut callers, crowd, 1, 6, later);
        assert_eq!(callers.known.len(), 1);
    }

    #[test]
    fn one_key_leaves_room_for_others() {
        let mut callers = Callers::new(PacketNumber(1));
        let crowd = u16::try_from(CALLERS_MAX).unwrap();
        for number in 1..=crowd {
            hear_by_key(&mut callers, (number, 1), 1, 5, Instant(1));
        }
        assert_eq!(callers.known.len(), CALLERS_MAX / 2);
        hear_by_key(&mut callers, (crowd + 1, 2), 1, 5, Instant(1));
        assert!(callers.known.contains_key(&address(crowd + 1)));
    }
}
