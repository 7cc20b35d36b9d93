//! How much a way carries, and how much may therefore be under way on it.
//!
//! After BBR (Cardwell et al., "BBR: Congestion-Based Congestion Control", ACM Queue 14-5,
//! 2016): what arrives within a round trip tells what the way carries, and what is lost by
//! chance tells nothing. Sending goes on at about that pace, and now and then a little
//! faster, to see whether more arrives. So the queue at the narrowest place stays short, and
//! whatever else passes there is not held up. Where somebody else keeps a queue there, as TCP
//! does, sending goes by loss as well, like TCP: who gives way to TCP gets nothing.
//!
//! Entries keep a window and a pace. Pieces of snapshots, which nobody acknowledges one by one,
//! keep the pace and, but beside somebody who keeps a queue, a wider window: by the echoes it is
//! known about how many are under way.

mod best;
mod contended;
mod credit;
mod rate;
mod rounds;
mod stage;

use std::time::Duration;

use super::RoundTrip;
use crate::time::Instant;
use crate::types::{LossShare, PacketNumber};
use crate::wire::FRAME_BYTES_MAX;
use best::Best;
use contended::Contended;
use credit::Credit;
use rate::{per_second, within};
use rounds::{EndedRound, Rounds};
use stage::{AFTER_DRAINING, DRAINS, PACES, Stage};

/// A shorter time measures how processes are scheduled, not what the way carries.
const ROUND_MIN: Duration = Duration::from_millis(5);
/// So many bytes are sent before anything was measured.
const BYTES_OF_START: u64 = 16 * FRAME_BYTES_MAX as u64;
/// So many may always be under way.
const BYTES_MIN: u64 = 4 * FRAME_BYTES_MAX as u64;
/// A queue of so long may always form: a busy scheduler makes one as well.
const QUEUE: Duration = Duration::from_millis(5);
/// One of so long is let drain.
const QUEUE_SEEN: Duration = Duration::from_micros(2_500);
const PACE_OF_DRAINING: u64 = 14;
/// Whoever gets something says so within this time and two round trips.
const PATIENCE: Duration = Duration::from_millis(50);
/// While that suffices, no more frames than this are under way: the buffers of sockets are
/// small.
const FRAMES_MAX: u64 = 96;
/// As long as the way is not known: 2 / ln 2, which doubles what is sent in each round trip.
const PACE_OF_START: u64 = 46;

/// What was measured of a way, and what it allows.
#[derive(Debug)]
pub struct Delivery {
    rounds: Rounds,
    best: Best,
    stage: Stage,
    /// Somebody else keeps a queue there.
    contended: Option<Contended>,
    /// The share that was lost when the last round ended.
    lost: LossShare,
    /// The shortest round trip of the last round.
    took: Duration,
    /// Frames waited on the way all through it.
    is_queued: bool,
    /// When the queue that is let drain is gone.
    drained_at: Instant,
    credit: Credit,
    /// In this turn something was held back.
    holds_back: bool,
}

impl Delivery {
    /// Nothing was sent yet.
    pub fn new(now: Instant) -> Self {
        Self {
            rounds: Rounds::new(now),
            best: Best::new(now),
            stage: Stage::START,
            contended: None,
            lost: LossShare(0),
            took: Duration::ZERO,
            is_queued: false,
            drained_at: now,
            credit: Credit::new(now, BYTES_OF_START),
            holds_back: false,
        }
    }

    /// The other side was silent: nothing is known of the way any more.
    pub fn start_over(&mut self) {
        (self.stage, self.contended) = (Stage::START, None);
        self.best.forget();
        self.rounds.note_idle();
    }

    /// A frame of so many bytes leaves.
    pub fn on_sent(&mut self, packet: PacketNumber, bytes: usize) {
        self.rounds.on_sent(packet, bytes);
    }

    /// The packet, one of the newest, has arrived at this time, while so much was lost on the
    /// way there.
    pub fn on_arrived(
        &mut self,
        packet: PacketNumber,
        at: Instant,
        loss: LossShare,
        round_trip: &RoundTrip,
    ) {
        self.rounds.on_arrived(packet, at, round_trip.latest());
        if let Some(round) = self.rounds.end(at, self.round_min()) {
            self.on_round(&round, loss);
        }
    }

    /// A round takes at least a round trip, and one that drains a queue as long as that takes.
    fn round_min(&self) -> Duration {
        let least = ROUND_MIN.max(self.best.round_trip());
        let drains = matches!(self.stage, Stage::Cruise(DRAINS)) && self.is_queued;
        least + if drains { self.draining() } else { Duration::ZERO }
    }

    /// How long the queue of the last round takes to drain at a quarter of the pace.
    fn draining(&self) -> Duration {
        self.waited(self.took) * 4 / 3
    }

    fn on_round(&mut self, round: &EndedRound, loss: LossShare) {
        self.best.note(round, loss);
        self.is_queued = self.waited(round.round_trip) > QUEUE_SEEN;
        self.took = round.round_trip;
        if !round.was_idle {
            self.go_on(round, loss);
            self.drained_at = round.at + self.draining();
        }
        self.lost = loss;
    }

    /// A round in which as much was sent as is allowed has ended.
    fn go_on(&mut self, round: &EndedRound, loss: LossShare) {
        let queued = self.waited(round.round_trip) > QUEUE;
        if matches!(self.stage, Stage::Cruise(AFTER_DRAINING)) {
            // What was sent after this sender's own queue had drained is back now.
            let begun = || Contended::beginning_with(self.window(), round.at);
            self.contended = queued.then(|| self.contended.unwrap_or_else(begun));
        }
        let (loses_more, most) = (loss > self.lost, self.window_max());
        self.contended =
            self.contended.map(|window| window.after_round(loses_more, most, round.at));
        self.stage = self.stage.after_round(self.best.carries(), queued);
    }

    /// How long a frame waited on the way that took so long.
    fn waited(&self, round_trip: Duration) -> Duration {
        round_trip.saturating_sub(self.best.round_trip())
    }

    /// Whether more may be under way than so many frames of so many bytes in all.
    pub fn has_room(&mut self, frames: usize, bytes: u64) -> bool {
        let window = self.window();
        let frames_max = FRAMES_MAX.max(window / FRAME_BYTES_MAX as u64);
        let has_room = bytes < window && (frames as u64) < frames_max;
        self.holds_back |= !has_room;
        has_room
    }

    /// When nothing was heard for long, all that is under way counts as lost.
    pub fn give_up_what_is_silent(&mut self, now: Instant) {
        if self.lost_at() <= now {
            self.rounds.give_up(now);
        }
    }

    /// Until when nothing more may be sent of what nobody acknowledges piece by piece, unless
    /// something is heard, if so many bytes of it are about to leave; none: more may be sent. No
    /// more than a window runs ahead of what has arrived: a way may carry far less than it did.
    /// On a way that is known and nobody else's it is the widest one, since echoes come late and
    /// by turns.
    pub fn waits_until(&mut self, leaving: u64) -> Option<Instant> {
        let is_known = !matches!(self.stage, Stage::Start { .. });
        let is_alone = is_known && self.contended.is_none();
        let window = if is_alone { self.window_max() } else { self.window() };
        if self.rounds.under_way() + leaving < window {
            return None;
        }
        self.holds_back = true;
        Some(self.lost_at())
    }

    fn lost_at(&self) -> Instant {
        self.rounds.settled_at() + 2 * self.took + PATIENCE
    }

    /// How many bytes may be under way.
    fn window(&self) -> u64 {
        let (of_way, queue) = (self.of_way(), self.of_queue());
        let window = match self.stage {
            Stage::Start { .. } => (3 * of_way + queue).max(BYTES_OF_START),
            Stage::Drain | Stage::Cruise(DRAINS) => of_way + queue,
            Stage::Cruise(_) => self.contended.map_or(of_way * 5 / 4 + queue, Contended::window),
        };
        window.clamp(BYTES_MIN, self.window_max())
    }

    fn window_max(&self) -> u64 {
        (3 * self.of_way() + self.of_queue()).max(FRAMES_MAX * FRAME_BYTES_MAX as u64)
    }

    /// How many bytes are under way at any time if there is no queue.
    fn of_way(&self) -> u64 {
        within(self.best.carries(), self.best.round_trip())
    }

    fn of_queue(&self) -> u64 {
        within(self.best.carries(), QUEUE)
    }

    /// Whether the pace allows that something is sent now.
    pub fn may_send(&mut self, now: Instant) -> bool {
        let pace = self.pace(now);
        let most = match self.stage {
            Stage::Start { .. } => BYTES_OF_START,
            Stage::Drain | Stage::Cruise(_) => within(pace, QUEUE).max(BYTES_MIN),
        };
        self.credit.gain(pace, most, now);
        self.holds_back |= !self.credit.is_left();
        self.credit.is_left()
    }

    /// When something may be sent again, if nothing may be now.
    pub fn may_send_at(&self) -> Instant {
        self.credit.is_left_at(self.pace(self.credit.at()))
    }

    /// So many bytes that keep the pace will leave.
    pub fn spend(&mut self, bytes: u64) {
        self.credit.spend(bytes);
    }

    /// A turn ends. If nothing was held back in it, there was less to send than is allowed.
    pub fn end_turn(&mut self) {
        if !self.holds_back {
            self.rounds.note_idle();
        }
        self.holds_back = false;
    }

    /// Bytes a second.
    fn pace(&self, now: Instant) -> u64 {
        let carries = self.best.carries();
        let pace = match self.stage {
            Stage::Start { .. } => {
                let round_trip = self.took.max(Duration::from_millis(1));
                let pace = if self.is_queued { PACE_OF_DRAINING } else { PACE_OF_START };
                carries.max(per_second(BYTES_OF_START, round_trip)) * pace / 16
            }
            Stage::Drain => carries,
            // A little more than the window lets through in a round trip as long as they are now.
            Stage::Cruise(round) if self.contended.is_some() && round != DRAINS => {
                per_second(self.window(), self.took) * PACES[0] / 16
            }
            Stage::Cruise(DRAINS) if self.is_queued && now < self.drained_at => carries / 4,
            Stage::Cruise(DRAINS) if self.is_queued => carries,
            Stage::Cruise(_) if self.is_queued => carries * PACE_OF_DRAINING / 16,
            Stage::Cruise(round) => carries * PACES[round] / 16,
        };
        pace.max(BYTES_MIN)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A way that carries a million bytes a second in round trips of 20 ms, over which as much
    /// is sent as is allowed.
    struct Way {
        now: Instant,
        delivery: Delivery,
        round_trip: RoundTrip,
        /// When the last frame in the queue will have left it.
        free_at: Instant,
        in_flight: VecDeque<Frame>,
        packet: PacketNumber,
        random: fastrand::Rng,
    }

    struct Frame {
        packet: PacketNumber,
        sent_at: Instant,
        /// When its echo is back.
        back_at: Instant,
        is_lost: bool,
    }

    const FRAME: usize = 1_000;
    const TIME_OF_FRAME: Duration = Duration::from_millis(1);
    const ROUND_TRIP: Duration = Duration::from_millis(20);

    impl Way {
        fn new() -> Self {
            let now = Instant(1_000_000);
            Self {
                now,
                delivery: Delivery::new(now),
                round_trip: RoundTrip::default(),
                free_at: now,
                in_flight: VecDeque::new(),
                packet: PacketNumber(0),
                random: fastrand::Rng::with_seed(1),
            }
        }

        /// So many milliseconds pass, while so much is lost. Returns how many frames arrived,
        /// and how long the queue was at most.
        fn pass(&mut self, millis: u64, loss: LossShare) -> (u64, Duration) {
            let (end, mut arrived) = (self.now + Duration::from_millis(millis), 0);
            let mut longest = Duration::ZERO;
            while self.now < end {
                self.now = self.now + Duration::from_micros(100);
                arrived += self.hear(loss);
                let on_way = |way: &Self| (way.in_flight.len(), way.in_flight.len() * FRAME);
                while let (frames, bytes) = on_way(self)
                    && self.delivery.has_room(frames, bytes as u64)
                    && self.delivery.may_send(self.now)
                {
                    self.send(loss);
                }
                self.delivery.end_turn();
                longest = longest.max(self.free_at.since(self.now));
            }
            (arrived, longest)
        }

        fn send(&mut self, loss: LossShare) {
            self.packet = self.packet.next();
            self.delivery.spend(FRAME as u64);
            self.delivery.on_sent(self.packet, FRAME);
            self.free_at = self.free_at.max(self.now) + TIME_OF_FRAME;
            let back_at = self.free_at + ROUND_TRIP;
            let is_lost = self.random.u8(..) < loss.0;
            let (packet, sent_at) = (self.packet, self.now);
            self.in_flight.push_back(Frame { packet, sent_at, back_at, is_lost });
        }

        fn hear(&mut self, loss: LossShare) -> u64 {
            let mut arrived = 0;
            while let Some(frame) = self.in_flight.pop_front_if(|frame| frame.back_at <= self.now) {
                if !frame.is_lost {
                    arrived += 1;
                    self.round_trip.sample(self.now.since(frame.sent_at));
                    let at = self.now - ROUND_TRIP / 2;
                    self.delivery.on_arrived(frame.packet, at, loss, &self.round_trip);
                }
            }
            arrived
        }
    }

    #[test]
    fn a_way_is_used_and_has_a_short_queue() {
        let mut way = Way::new();
        let (arrived, _) = way.pass(1_000, LossShare(0));
        assert!(arrived > 800, "it is known after a few round trips: {arrived}");
        let (arrived, longest) = way.pass(10_000, LossShare(0));
        assert!(arrived > 9_300, "{arrived}");
        assert!(longest < 2 * QUEUE + ROUND_TRIP / 4, "{longest:?}");
    }

    #[test]
    fn what_is_lost_by_chance_makes_nobody_slower() {
        let mut way = Way::new();
        way.pass(1_000, LossShare(77));
        let (arrived, longest) = way.pass(10_000, LossShare(77));
        assert!(arrived > 9_300 * 7 / 10, "{arrived}");
        assert!(longest < 2 * QUEUE + ROUND_TRIP / 4, "{longest:?}");
    }

    #[test]
    fn what_is_lost_since_too_much_is_sent_was_not_carried() {
        let mut way = Way::new();
        way.pass(1_000, LossShare(0));
        let bytes = |lost| way.delivery.best.without_crowded_out(1_024, LossShare(lost));
        assert_eq!([bytes(0), bytes(64)], [1_024, 768]);
    }

    /// Whoever has nothing to send is not known to be slow by that.
    #[test]
    fn little_that_is_sent_proves_nothing_but_that() {
        let mut way = Way::new();
        way.pass(1_000, LossShare(0));
        let carries = way.delivery.best.carries();
        for _ in 0..200 {
            way.send(LossShare(0));
            way.delivery.end_turn();
            way.now = way.now + Duration::from_millis(100);
            way.hear(LossShare(0));
        }
        assert_eq!(way.delivery.best.carries(), carries);
    }

    #[test]
    fn the_pace_says_when_it_allows_more() {
        let mut way = Way::new();
        way.pass(1_000, LossShare(0));
        while way.delivery.may_send(way.now) {
            way.delivery.spend(FRAME as u64);
        }
        let at = way.delivery.may_send_at();
        assert!(at > way.now && !way.delivery.may_send(at - Duration::from_micros(50)));
        assert!(way.delivery.may_send(at));
    }

    #[test]
    fn beside_others_who_keep_a_queue_loss_counts() {
        let mut way = Way::new();
        way.pass(2_000, LossShare(0));
        let mut window_after = |loss| {
            // All of a round trip long, whoever else sends keeps a queue of 50 ms.
            for _ in 0..400 {
                way.free_at = way.free_at.max(way.now + Duration::from_millis(50));
                way.pass(1, LossShare(loss));
            }
            way.delivery.contended.map(Contended::window)
        };
        let before = window_after(0).expect("somebody keeps a queue");
        let more = window_after(0).expect("somebody keeps a queue");
        assert!(more > before, "{more} {before}");
        let less = window_after(9).expect("somebody keeps a queue");
        assert!(less < more, "{less} {more}");
        assert!(way.pass(2_000, LossShare(0)).0 > 0 && way.delivery.contended.is_none());
    }

    /// Of a way that carries 16 million bytes a second in round trips of 20 ms, which took 40
    /// of late.
    fn known(stage: Stage, is_queued: bool, contended: Option<u64>) -> Delivery {
        let mut delivery = Delivery::new(Instant(0));
        delivery.best.note(&ended(16_000_000, ROUND_TRIP), LossShare(0));
        let took = 2 * ROUND_TRIP;
        let contended = contended.map(|window| Contended::beginning_with(window, Instant(0)));
        Delivery { stage, contended, took, is_queued, drained_at: Instant(1), ..delivery }
    }

    /// A round of a second that has brought so much.
    fn ended(bytes: u64, round_trip: Duration) -> EndedRound {
        let (at, took) = (Instant(1_000_000), Duration::from_secs(1));
        EndedRound { at, took, bytes, round_trip, was_idle: false }
    }

    #[test]
    fn each_stage_has_its_window_and_its_pace() {
        let cases = [
            (Stage::START, false, None, 1_040_000, 46_000_000),
            (Stage::START, true, None, 1_040_000, 14_000_000),
            (Stage::Drain, true, None, 400_000, 16_000_000),
            (Stage::Cruise(0), false, None, 480_000, 20_000_000),
            (Stage::Cruise(DRAINS), false, None, 400_000, 12_000_000),
            (Stage::Cruise(DRAINS), true, None, 400_000, 4_000_000),
            (Stage::Cruise(3), false, None, 480_000, 16_000_000),
            (Stage::Cruise(3), true, None, 480_000, 14_000_000),
            (Stage::Cruise(3), true, Some(640_000), 640_000, 20_000_000),
            (Stage::Cruise(DRAINS), true, Some(640_000), 400_000, 4_000_000),
            (Stage::Cruise(3), true, Some(9_000_000), 1_040_000, 32_500_000),
        ];
        for (stage, is_queued, contended, window, pace) in cases {
            let mut delivery = known(stage, is_queued, contended);
            let found = (delivery.window(), delivery.pace(Instant(0)));
            assert_eq!(found, (window, pace), "{stage:?} {is_queued} {contended:?}");
            delivery.start_over();
            let unknown = (BYTES_OF_START, if is_queued { 420_000 } else { 1_380_000 });
            assert_eq!((delivery.window(), delivery.pace(Instant(0))), unknown);
        }
    }

    #[test]
    fn who_has_let_a_queue_drain_goes_on_at_the_full_pace() {
        let delivery = known(Stage::Cruise(DRAINS), true, None);
        let paces = [0, 1].map(|at| delivery.pace(Instant(at)));
        assert_eq!(paces, [4_000_000, 16_000_000]);
    }

    #[test]
    fn as_many_frames_and_bytes_are_under_way_as_the_window_is_long() {
        let mut delivery = known(Stage::Cruise(3), false, None);
        let mut has_room = |frames, bytes| delivery.has_room(frames, bytes);
        assert!(has_room(399, 0) && !has_room(400, 0), "of 1,200 bytes each");
        assert!(has_room(0, 479_999) && !has_room(0, 480_000));
    }

    #[test]
    fn a_round_that_drains_a_queue_is_as_long_as_that_takes() {
        let least = |is_queued| known(Stage::Cruise(DRAINS), is_queued, None).round_min();
        let queued = ROUND_TRIP;
        assert_eq!([least(false), least(true)], [ROUND_TRIP, ROUND_TRIP + queued * 4 / 3]);
    }

    #[test]
    fn a_queue_is_what_takes_longer_than_it_may() {
        let mut delivery = known(Stage::Cruise(3), false, None);
        let mut is_seen = |round_trip| {
            delivery.on_round(&ended(0, round_trip), LossShare(0));
            delivery.is_queued
        };
        let just = ROUND_TRIP + QUEUE_SEEN;
        assert!(!is_seen(just) && is_seen(just + Duration::from_micros(1)));
        let contended = |shortest| {
            let mut delivery = known(Stage::Cruise(AFTER_DRAINING), false, None);
            delivery.go_on(&ended(0, shortest), LossShare(0));
            delivery.contended.is_some()
        };
        let just = ROUND_TRIP + QUEUE;
        assert!(!contended(just) && contended(just + Duration::from_micros(1)));
    }

    #[test]
    fn more_than_before_must_be_lost_to_make_a_window_smaller() {
        let mut delivery = known(Stage::Cruise(3), false, Some(100_000));
        let mut window = |loss| {
            delivery.go_on(&ended(0, ROUND_TRIP), LossShare(loss));
            delivery.lost = LossShare(loss);
            delivery.contended.map(Contended::window)
        };
        let windows = [window(9), window(9), window(9)];
        assert_eq!(windows, [70_000, 71_200, 72_400].map(Some));
    }

    #[test]
    fn beside_others_what_nobody_acknowledges_keeps_their_window_too() {
        let waits = |contended| {
            let mut delivery = known(Stage::Cruise(3), false, contended);
            delivery.waits_until(640_000).is_some()
        };
        assert!(!waits(None) && waits(Some(640_000)) && !waits(Some(640_001)));
    }
}
