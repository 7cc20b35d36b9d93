//! The one place that reads a clock, and the timer that wakes the loop.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

use crate::time::{Instant, micros};

/// The monotonic clock, counted from its making.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// A clock that shows zero.
    pub fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }

    /// What the clock shows.
    pub fn now(&self) -> Instant {
        Instant(micros(self.start.elapsed()))
    }
}

/// How long this thread has run on a processor.
pub fn thread_time() -> Duration {
    let run = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(run).unwrap_or_default()
}

/// Wakes the poll at a deadline. The poll's own timeout is rounded up to whole
/// milliseconds, which is longer than a round trip in one room.
#[derive(Debug)]
pub struct WakeUp {
    fd: OwnedFd,
    armed: Option<Instant>,
}

impl WakeUp {
    /// A timer that is not armed, registered as `token`.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub fn register(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { fd, armed: None })
    }

    /// Wakes the poll at `deadline` at the latest. A wake-up that is armed for an earlier
    /// time stays: that spares a system call each time that a deadline is put off.
    ///
    /// # Errors
    /// The system does not arm the timer.
    pub fn arm(&mut self, deadline: Instant, now: Instant) -> io::Result<()> {
        if self.armed.is_some_and(|armed| armed > now && armed <= deadline) {
            return Ok(());
        }
        // Zero would disarm the timer.
        let after = deadline.since(now).max(Duration::from_nanos(1));
        let it_value = Timespec::try_from(after).map_err(|_| rustix::io::Errno::INVAL)?;
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec { it_interval, it_value };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &spec)?;
        self.armed = Some(deadline);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};

    #[test]
    fn the_poll_wakes_at_the_deadline_and_not_a_millisecond_later() {
        let clock = Clock::new();
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(8);
        let mut wake_up = WakeUp::register(poll.registry(), Token(7)).unwrap();
        let lateness = (0..20).map(|_| {
            let deadline = clock.now() + Duration::from_micros(300);
            wake_up.arm(deadline, clock.now()).unwrap();
            // Neither a later deadline nor a repeated one may put the wake-up off.
            wake_up.arm(deadline + Duration::from_secs(60), clock.now()).unwrap();
            poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
            assert!(events.iter().any(|event| event.token() == Token(7)));
            assert!(clock.now() >= deadline);
            clock.now().since(deadline)
        });
        // The machine may be busy, but not each time.
        assert!(lateness.min().is_some_and(|best| best < Duration::from_micros(600)));
    }

    #[test]
    fn a_deadline_that_has_passed_wakes_at_once() {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(8);
        let mut wake_up = WakeUp::register(poll.registry(), Token(7)).unwrap();
        for now in [Instant(9), Instant(9), Instant(10)] {
            wake_up.arm(Instant(5), now).unwrap();
            poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
            assert!(!events.is_empty());
        }
    }
}
