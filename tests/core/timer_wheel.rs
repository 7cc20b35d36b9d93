//! The timer wheel agrees with a sorted map on what fires, when and in which order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use quorate::time::Instant;
use quorate::timer_wheel::TimerWheel;

/// How many timers there are: few, so that steps often meet the same one.
const KEYS: u8 = 12;

#[derive(Clone, Debug)]
enum Step {
    /// Arms the timer this far from now.
    Arm { key: u8, after: u64 },
    /// Arms the timer at a deadline that has passed by this much.
    ArmOverdue { key: u8, by: u64 },
    /// Arms the timer at one of the last moments that there are.
    ArmNearTheEnd { key: u8, before: u64 },
    /// Cancels it.
    Cancel { key: u8 },
    /// Lets time pass and takes out all that is due.
    Advance { by: u64 },
    /// Lets time pass and takes out one timer, if one is due.
    AdvanceForOne { by: u64 },
    /// Lets time pass to what the wheel says is next.
    AdvanceToNext,
}

/// A span of any magnitude: a slot's width of each level is as likely as any other.
fn span() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..200_u64,
        4 => (0..64_u32, any::<u64>()).prop_map(|(shift, word)| word >> shift),
        1 => (1..11_u32, 0..3_u64).prop_map(|(digit, extra)| (1 << (6 * digit)) - 1 + extra),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..KEYS, span()).prop_map(|(key, after)| Step::Arm { key, after }),
        2 => (0..KEYS, 0..40_u64).prop_map(|(key, after)| Step::Arm { key, after }),
        2 => (0..KEYS, 0..40_u64).prop_map(|(key, by)| Step::ArmOverdue { key, by }),
        1 => (0..KEYS, 0..3_u64).prop_map(|(key, before)| Step::ArmNearTheEnd { key, before }),
        3 => (0..KEYS).prop_map(|key| Step::Cancel { key }),
        2 => span().prop_map(|by| Step::Advance { by }),
        2 => (0..100_u64).prop_map(|by| Step::AdvanceForOne { by }),
        6 => Just(Step::AdvanceToNext),
    ]
}

/// Timers by deadline, and by when they were armed.
#[derive(Default)]
struct Twin {
    timers: BTreeMap<(Instant, u64), u8>,
    armed: u64,
}

impl Twin {
    fn arm(&mut self, key: u8, deadline: Instant) {
        self.cancel(key);
        self.armed += 1;
        self.timers.insert((deadline, self.armed), key);
    }

    fn cancel(&mut self, key: u8) {
        self.timers.retain(|_, armed| *armed != key);
    }

    fn is_armed(&self, key: u8) -> bool {
        self.timers.values().any(|armed| *armed == key)
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    fn pop_expired(&mut self, now: Instant) -> Option<(u8, Instant)> {
        let first = self.timers.first_entry()?;
        let (deadline, _) = *first.key();
        (deadline <= now).then(|| (first.remove(), deadline))
    }
}

/// Both, at one time.
struct Pair {
    now: Instant,
    wheel: TimerWheel<u8>,
    twin: Twin,
}

impl Pair {
    fn at(now: Instant) -> Self {
        Self { now, wheel: TimerWheel::new(now), twin: Twin::default() }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Arm { key, after } => self.arm(key, Instant(self.now.0.saturating_add(after))),
            Step::ArmOverdue { key, by } => self.arm(key, Instant(self.now.0.saturating_sub(by))),
            Step::ArmNearTheEnd { key, before } => self.arm(key, Instant(u64::MAX - before)),
            Step::Cancel { key } => {
                self.wheel.cancel(key);
                self.twin.cancel(key);
            }
            Step::Advance { by } => {
                self.now.0 = self.now.0.saturating_add(by);
                self.pop_all();
            }
            Step::AdvanceForOne { by } => {
                self.now.0 = self.now.0.saturating_add(by);
                self.pop();
            }
            Step::AdvanceToNext => {
                self.now = self.wheel.next_deadline().unwrap_or(self.now).max(self.now);
                self.pop_all();
            }
        }
    }

    fn arm(&mut self, key: u8, deadline: Instant) {
        self.wheel.arm(key, deadline);
        self.twin.arm(key, deadline);
    }

    fn pop_all(&mut self) {
        while self.pop() {}
    }

    fn pop(&mut self) -> bool {
        let popped = self.wheel.pop_expired(self.now);
        assert_eq!(popped, self.twin.pop_expired(self.now), "at {:?}", self.now);
        popped.is_some()
    }

    fn compare(&self) {
        for key in 0..KEYS {
            assert_eq!(self.wheel.is_armed(key), self.twin.is_armed(key), "timer {key}");
        }
        let (wheel, twin) = (self.wheel.next_deadline(), self.twin.next_deadline());
        assert_eq!(wheel.is_some(), twin.is_some());
        assert!(wheel <= twin, "would sleep until {wheel:?} and miss {twin:?}");
    }

    /// Sleeps for as long as the wheel says until nothing is armed. Each timer moves
    /// down at most ten levels, so there is a limit to how often one wakes.
    fn run_to_the_end(&mut self) {
        let limit = 11 * usize::from(KEYS);
        for _ in 0..=limit {
            let Some(next) = self.wheel.next_deadline() else { return };
            self.now = self.now.max(next);
            self.pop_all();
            self.compare();
        }
        panic!("woken more than {limit} times for {KEYS} timers");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn agrees_with_a_sorted_map(
        start in prop_oneof![Just(0), any::<u64>(), Just(u64::MAX - 100)],
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut pair = Pair::at(Instant(start));
        for step in &steps {
            pair.take(step);
            pair.compare();
        }
        pair.run_to_the_end();
    }

    /// What nobody cancels is known to the microsecond.
    #[test]
    fn the_next_deadline_is_exact_unless_timers_were_cancelled(
        start in any::<u32>(),
        timers in prop::collection::vec(span(), 1..20),
        naps in prop::collection::vec(span(), 0..20),
    ) {
        let mut wheel = TimerWheel::new(Instant(start.into()));
        let mut twin = BTreeSet::new();
        for (key, after) in timers.iter().enumerate() {
            let deadline = Instant(u64::from(start).saturating_add(*after));
            wheel.arm(key, deadline);
            twin.insert((deadline, key));
        }
        let mut now = Instant(start.into());
        for nap in naps {
            now.0 = now.0.saturating_add(nap);
            while let Some((key, deadline)) = wheel.pop_expired(now) {
                twin.remove(&(deadline, key));
            }
            let next = twin.first().map(|(deadline, _)| *deadline);
            prop_assert_eq!(wheel.next_deadline(), next);
        }
    }
}

#[test]
fn timers_of_one_deadline_fire_in_the_order_of_their_arming() {
    let mut wheel = TimerWheel::new(Instant(0));
    let deadline = Instant(1_000_000);
    wheel.arm("first armed, armed anew last", deadline);
    wheel.arm("armed from afar", deadline);
    assert_eq!(wheel.pop_expired(Instant(999_000)), None);
    wheel.arm("armed from near", deadline);
    assert_eq!(wheel.pop_expired(Instant(999_999)), None);
    wheel.arm("armed at the last moment", deadline);
    wheel.arm("first armed, armed anew last", deadline);
    let mut fired = Vec::new();
    while let Some((key, at)) = wheel.pop_expired(deadline) {
        assert_eq!(at, deadline);
        fired.push(key);
    }
    let expected = [
        "armed from afar",
        "armed from near",
        "armed at the last moment",
        "first armed, armed anew last",
    ];
    assert_eq!(fired, expected);
    assert_eq!(wheel.next_deadline(), None);
}

#[test]
fn a_clock_that_stands_behind_the_wheel_fires_nothing_early() {
    let mut wheel = TimerWheel::new(Instant(0));
    assert_eq!(wheel.pop_expired(Instant(500)), None);
    wheel.arm('a', Instant(400));
    wheel.arm('b', Instant(300));
    assert_eq!(wheel.pop_expired(Instant(299)), None);
    assert_eq!(wheel.pop_expired(Instant(300)), Some(('b', Instant(300))));
    assert_eq!(wheel.pop_expired(Instant(399)), None);
    assert_eq!(wheel.pop_expired(Instant(400)), Some(('a', Instant(400))));
}
