//! How long a node may be silent before it counts as gone, and how often it is spoken to.
//!
//! Both follow from what was measured of the way to it:
//!
//! - `interval = (50 ms + 6 × round trip) / lost`, between 5 and 40 ms,
//! - `timeout = 50 ms + round trip + 4 × variation + lost × interval`, or twice the longest
//!   silence of the last ten minutes that ended within half a second, whichever is more.
//!
//! `lost` is how many rounds must fail in a row to leave a chance below 1 in 100,000, when
//! both ways lose more than was measured. The 50 ms are for a process that does not run; if
//! it does not run for longer, the silences tell.

use std::time::Duration;

use super::RoundTrip;
use crate::time::Instant;
use crate::types::LossShare;
use crate::wire::TimeoutBasis;

/// How long a process is taken not to run, before it is seen not to for longer.
const STALL: Duration = Duration::from_millis(50);
/// So much later than another a frame may come that was not lost.
const VARIATIONS: u32 = 4;
/// A silence that ended may come again, and be so much longer.
const SILENCE_FACTOR: u32 = 2;
/// Over this time, and some round trips, what may be lost is spread.
const SPREAD: Duration = Duration::from_millis(50);
const SPREAD_ROUND_TRIPS: u32 = 6;
/// To speak more often costs more than it gains.
const INTERVAL_MIN: Duration = Duration::from_millis(5);
/// Nodes speak so often on the best of ways: what heartbeats tell must not be much older.
const INTERVAL_MAX: Duration = Duration::from_millis(40);
/// Who says that it speaks less often than this, or more often, is not believed. What is asked
/// for after so many intervals would be asked for in an endless loop if one were nothing.
pub const INTERVAL_MOST: Duration = Duration::from_secs(1);
/// See [`INTERVAL_MOST`].
pub const INTERVAL_LEAST: Duration = Duration::from_millis(1);
/// One follower takes a leader that lives for gone as rarely as this; to elect another takes
/// two of them at once.
const CHANCE: f64 = 1e-5;
/// The most rounds that are waited for.
const LOST_MAX: u32 = 64;
/// Two standard deviations of a share that was found in so many frames, and a little for a
/// way that has lost nothing yet.
const FRAMES_SEEN: f64 = 192.0;
const LOSS_UNSEEN: f64 = 0.02;
/// An election takes a few round trips, and the disks.
const SCATTER_MIN: Duration = Duration::from_millis(30);
/// Longer silences tell of no stall, but of a way that was cut or a process that was stopped.
/// Nothing is learned from them: to elect another leader takes less time than to wait for one
/// that is so often silent.
const SILENCE_MAX: Duration = Duration::from_millis(500);
/// How far back silences are remembered, in minutes.
const MINUTES: usize = 10;

/// What the command line pins, if it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pinned {
    /// The election timeout.
    pub timeout: Option<Duration>,
    /// The heartbeat interval.
    pub interval: Option<Duration>,
}

/// What is known of the way to a node.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// The round trip.
    pub round_trip: RoundTrip,
    /// The losses, there and back.
    pub losses: [LossShare; 2],
    /// There were frames enough to tell.
    pub enough: bool,
}

/// When a node counts as silent, and how often it is spoken to.
#[derive(Clone, Debug)]
pub struct Timing {
    pinned: Pinned,
    /// What holds until enough is known.
    unmeasured: Duration,
    /// Since when the node's silence is measured.
    heard_at: Option<Instant>,
    silences: Silences,
    /// How many rounds may fail in a row.
    lost: u32,
    /// How often the one speaks to the other, whichever of the two leads.
    interval: Duration,
    timeout: Duration,
    /// What has decided how long that is.
    basis: TimeoutBasis,
    scatter: Duration,
    /// As leader: when this side last spoke, and when last by a heartbeat.
    spoke_at: Instant,
    beat_at: Instant,
}

impl Timing {
    /// That of a way of which nothing is known, where the timeout is to be as long as this.
    pub fn new(pinned: Pinned, unmeasured: Duration) -> Self {
        Self {
            pinned,
            unmeasured,
            heard_at: None,
            silences: Silences::default(),
            lost: 0,
            interval: pinned.interval.unwrap_or(INTERVAL_MAX),
            timeout: pinned.timeout.unwrap_or(unmeasured),
            basis: match pinned.timeout {
                Some(_) => TimeoutBasis::Pinned,
                None => TimeoutBasis::Unmeasured,
            },
            scatter: pinned.timeout.unwrap_or(unmeasured),
            spoke_at: Instant::default(),
            beat_at: Instant::default(),
        }
    }

    /// How long the node may be silent.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What has decided how long.
    pub fn basis(&self) -> TimeoutBasis {
        self.basis
    }

    /// Over how long a time those who miss the node stand for election one after another.
    pub fn scatter(&self) -> Duration {
        self.scatter
    }

    /// How often the leader speaks, at least.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// How many rounds may fail in a row.
    pub fn lost(&self) -> u32 {
        self.lost
    }

    /// The longest silence of the last ten minutes.
    pub fn longest_silence(&self) -> Duration {
        self.silences.longest()
    }

    /// From now on, or not any more, the node is expected to speak regularly.
    pub fn restart(&mut self) {
        self.heard_at = None;
    }

    /// The node, which is expected to, has spoken.
    pub fn hear(&mut self, now: Instant) {
        let silence = self.heard_at.replace(now).map(|before| now.since(before));
        if let Some(silence) = silence.filter(|silence| *silence <= SILENCE_MAX) {
            self.silences.note(silence, now);
        }
    }

    /// This side leads, and says something now.
    pub fn speak(&mut self, now: Instant) {
        self.spoke_at = now;
    }

    /// When the next heartbeat is due. Whoever was spoken to needs none as yet; but what only
    /// heartbeats tell must not grow old.
    pub fn next_beat(&self) -> Instant {
        let beat = self.beat_at + self.interval.max(INTERVAL_MAX);
        beat.min(self.spoke_at + self.interval)
    }

    /// This side leads, and sends a heartbeat now. How soon it speaks again follows from what
    /// is known.
    pub fn beat(&mut self, measured: &Measured, now: Instant) {
        (self.spoke_at, self.beat_at) = (now, now);
        self.lost = lost_in_a_row(measured.losses);
        self.interval = self.pinned.interval.unwrap_or_else(|| {
            let round_trip = measured.round_trip.smoothed().unwrap_or_default();
            let spread = (SPREAD + round_trip * SPREAD_ROUND_TRIPS) / self.lost;
            let most = self.pinned.timeout.map_or(INTERVAL_MAX, |timeout| timeout / 6);
            let interval = spread.clamp(INTERVAL_MIN, INTERVAL_MAX).min(most);
            // What is lost since there is too much is not made up for by more.
            let tuned = measured.enough && !measured.round_trip.is_congested();
            if tuned { interval } else { INTERVAL_MAX.min(most) }
        });
        self.bound_silence(measured);
    }

    /// The other side leads: it says that it speaks so often.
    pub fn listen(&mut self, interval: Duration, measured: &Measured) {
        self.lost = lost_in_a_row(measured.losses);
        self.interval = interval.clamp(INTERVAL_LEAST, INTERVAL_MOST);
        self.bound_silence(measured);
    }

    fn bound_silence(&mut self, measured: &Measured) {
        if self.pinned.timeout.is_some() {
            return;
        }
        let round_trip = measured.round_trip.smoothed().unwrap_or_default();
        let late = round_trip + measured.round_trip.variation() * VARIATIONS;
        let mut longest = (STALL + late + self.interval * self.lost, TimeoutBasis::Formula);
        let learned = self.silences.longest() * SILENCE_FACTOR;
        if learned > longest.0 {
            longest = (learned, TimeoutBasis::Silence);
        }
        if !measured.enough && self.unmeasured > longest.0 {
            longest = (self.unmeasured, TimeoutBasis::Unmeasured);
        }
        (self.timeout, self.basis) = longest;
        let scatter = (measured.round_trip.timeout() * 4).max(SCATTER_MIN);
        self.scatter = if measured.enough { scatter } else { self.timeout };
    }
}

/// The longest silence in each of the last minutes.
#[derive(Clone, Debug, Default)]
struct Silences {
    longest: [Duration; MINUTES],
    minute: u64,
}

impl Silences {
    fn note(&mut self, silence: Duration, now: Instant) {
        let minute = now.0 / 60_000_000;
        let passed = minute.saturating_sub(self.minute).min(MINUTES as u64);
        self.minute = self.minute.max(minute);
        for _ in 0..passed {
            self.longest.rotate_right(1);
            self.longest[0] = Duration::ZERO;
        }
        self.longest[0] = self.longest[0].max(silence);
    }

    fn longest(&self) -> Duration {
        self.longest.into_iter().max().unwrap_or_default()
    }
}

/// The formula, as a person reads it.
pub fn formula() -> [String; 4] {
    let [stall, spread, least, most] =
        [STALL, SPREAD, INTERVAL_MIN, INTERVAL_MAX].map(|time| time.as_millis());
    [
        format!("timeout = {stall} ms + round trip + {VARIATIONS} x variation + rounds x interval"),
        format!("timeout = {SILENCE_FACTOR} x longest silence, if that is more"),
        format!(
            "interval = ({spread} ms + {SPREAD_ROUND_TRIPS} x round trip) / rounds, from {least} \
             to {most} ms"
        ),
        format!("rounds: the fewest that fail in a row at most once in {:.0} times", 1.0 / CHANCE),
    ]
}

/// How many rounds must fail in a row to leave less than the accepted chance. A frame of the
/// leader is contact if it follows a round that was heard and answered.
fn lost_in_a_row(losses: [LossShare; 2]) -> u32 {
    let [there, back] = losses.map(at_most);
    let answered = (1.0 - there) * (1.0 - back);
    let lost = there.max(back);
    // How likely it is that no round was answered yet, and that nothing came after one that was.
    let (mut unanswered, mut unheard) = (1.0, 0.0);
    for rounds in 1..LOST_MAX {
        unheard = lost * unheard + answered * unanswered;
        unanswered *= 1.0 - answered;
        if unheard + unanswered <= CHANCE {
            return rounds;
        }
    }
    LOST_MAX
}

/// What is lost at most, as far as the measure can be trusted.
fn at_most(measured: LossShare) -> f64 {
    let share = f64::from(measured.0) / 256.0;
    let deviation = (share * (1.0 - share) / FRAMES_SEEN).sqrt();
    (share + 2.0 * deviation + LOSS_UNSEEN).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNMEASURED: Duration = Duration::from_millis(250);

    fn measured(round_trip: Duration, percent: u32) -> Measured {
        let mut estimate = RoundTrip::default();
        (0..100).for_each(|_| estimate.sample(round_trip));
        let loss = LossShare(u8::try_from(percent * 256 / 100).unwrap());
        Measured { round_trip: estimate, losses: [loss; 2], enough: true }
    }

    /// The interval and the timeout in milliseconds.
    fn tuned(round_trip: u64, percent: u32) -> (u128, u128) {
        let mut timing = Timing::new(Pinned::default(), UNMEASURED);
        timing.beat(&measured(Duration::from_millis(round_trip), percent), Instant(0));
        (timing.interval().as_millis(), timing.timeout().as_millis())
    }

    #[test]
    fn both_follow_from_what_is_measured() {
        let lost = |percent| lost_in_a_row(measured(UNMEASURED, percent).losses);
        assert_eq!([0, 5, 10, 20, 30, 50, 90].map(lost), [5, 9, 11, 18, 27, 64, 64]);
        let tuned = |round_trip| [0, 10, 30].map(|percent| tuned(round_trip, percent));
        assert_eq!(tuned(1), [(11, 107), (5, 106), (5, 186)]);
        assert_eq!(tuned(20), [(34, 240), (15, 239), (6, 239)]);
        assert_eq!(tuned(200), [(40, 450), (40, 690), (40, 1_330)]);
    }

    #[test]
    fn what_is_pinned_stays() {
        let pin = |millis| Some(Duration::from_millis(millis));
        let mut timing = Timing::new(Pinned { timeout: pin(900), interval: pin(100) }, UNMEASURED);
        timing.beat(&measured(Duration::from_millis(20), 30), Instant(0));
        assert_eq!((Some(timing.timeout()), Some(timing.interval())), (pin(900), pin(100)));
        let mut timing = Timing::new(Pinned { timeout: pin(60), interval: None }, UNMEASURED);
        timing.beat(&measured(Duration::from_millis(20), 0), Instant(0));
        assert_eq!((Some(timing.timeout()), Some(timing.interval())), (pin(60), pin(10)));
    }

    #[test]
    fn what_is_said_is_believed_within_bounds() {
        let mut timing = Timing::new(Pinned::default(), UNMEASURED);
        for (said, believed) in [(0, 1), (1, 1), (7, 7), (1_000, 1_000), (60_000, 1_000)] {
            let measured = measured(Duration::from_millis(1), 0);
            timing.listen(Duration::from_millis(said), &measured);
            assert_eq!(timing.interval(), Duration::from_millis(believed));
        }
    }

    #[test]
    fn nothing_is_short_before_enough_is_known() {
        let mut timing = Timing::new(Pinned::default(), UNMEASURED);
        assert_eq!((timing.timeout(), timing.interval()), (UNMEASURED, INTERVAL_MAX));
        let measured = Measured { enough: false, ..measured(Duration::from_millis(1), 0) };
        timing.beat(&measured, Instant(0));
        assert_eq!(timing.interval(), INTERVAL_MAX);
        assert!(timing.timeout() >= UNMEASURED);
        let mut timing = Timing::new(Pinned::default(), UNMEASURED * 2);
        timing.beat(&measured, Instant(0));
        assert_eq!((timing.timeout(), timing.basis()), (UNMEASURED * 2, TimeoutBasis::Unmeasured));
    }

    #[test]
    fn a_silence_is_learned_and_forgotten_in_ten_minutes() {
        let measured = measured(Duration::from_millis(1), 0);
        let mut timing = Timing::new(Pinned::default(), UNMEASURED);
        let mut hear_at = |millis: u64| {
            timing.hear(Instant(millis * 1_000));
            timing.listen(Duration::from_millis(10), &measured);
            timing.timeout().as_millis()
        };
        assert_eq!([hear_at(10), hear_at(20), hear_at(220)], [101, 101, 400]);
        let timeouts: Vec<_> = (23..=60_100).map(|hundredth| hear_at(hundredth * 10)).collect();
        let forgotten = timeouts.iter().position(|timeout| *timeout == 101);
        assert_eq!(forgotten, Some(60_000 - 23), "the minute in which it was silent is over");
    }

    /// Whoever was cut off for a while must not wait the longer for a leader thereafter.
    #[test]
    fn a_silence_that_is_longer_than_any_stall_is_not_learned() {
        let mut timing = Timing::new(Pinned::default(), UNMEASURED);
        for millis in [0, 10, 511, 60_000] {
            timing.hear(Instant(millis * 1_000));
        }
        assert_eq!(timing.longest_silence(), 10 * MILLISECOND);
        timing.hear(Instant(60_500_000));
        assert_eq!(timing.longest_silence(), SILENCE_MAX);
    }

    #[test]
    fn who_was_spoken_to_needs_no_heartbeat_as_yet() {
        let mut timing = Timing::new(Pinned::default(), UNMEASURED);
        let at = |millis: u64| Instant(millis * 1_000);
        timing.beat(&measured(Duration::ZERO, 0), at(100));
        assert_eq!(timing.next_beat(), at(110));
        timing.speak(at(104));
        assert_eq!(timing.next_beat(), at(114));
        timing.speak(at(134));
        assert_eq!(timing.next_beat(), at(140), "what only heartbeats tell must not grow old");
    }

    #[test]
    fn what_is_late_and_what_an_election_takes_follow_from_the_round_trip() {
        let mut round_trip = RoundTrip::default();
        round_trip.sample(Duration::from_millis(200));
        let measured = Measured { round_trip, losses: [LossShare(0); 2], enough: true };
        let mut timing = Timing::new(Pinned::default(), UNMEASURED);
        timing.listen(Duration::from_millis(10), &measured);
        let expected = STALL + 200 * MILLISECOND + 4 * (100 * MILLISECOND) + 5 * (10 * MILLISECOND);
        assert_eq!(timing.timeout(), expected);
        assert_eq!(timing.scatter(), 4 * (600 * MILLISECOND));
    }

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// It had no reason to speak.
    #[test]
    fn the_time_before_a_node_is_expected_to_speak_is_no_silence() {
        let mut timing = Timing::new(Pinned::default(), UNMEASURED);
        timing.hear(Instant(0));
        timing.restart();
        timing.hear(Instant(400_000));
        assert_eq!(timing.longest_silence(), Duration::ZERO);
    }
}
