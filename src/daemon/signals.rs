//! Signals, as something that the poll wakes up for.

use std::io::{self, Read};
use std::sync::Arc;

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::low_level::pipe;

/// Some signals that all ask for the same.
#[derive(Debug)]
pub struct Signals {
    pipe: UnixStream,
    /// The poll says that something is there.
    readable: bool,
}

/// Lets a write beyond the longest file that the process may have (`ulimit -f`) fail like any
/// other, and not end the process without a word.
///
/// # Errors
/// The system denies a signal handler.
pub fn survive_long_files() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::default()).map(|_| ())
}

impl Signals {
    /// Takes over the signals that ask to end the process, and registers them as `token`.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub fn to_end(registry: &Registry, token: Token) -> io::Result<Self> {
        Self::register(&[SIGTERM, SIGINT], registry, token)
    }

    /// The same for the one that asks to read files again.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub fn to_read_again(registry: &Registry, token: Token) -> io::Result<Self> {
        Self::register(&[SIGHUP], registry, token)
    }

    fn register(signals: &[i32], registry: &Registry, token: Token) -> io::Result<Self> {
        let (pipe, handler) = std::os::unix::net::UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        for signal in signals {
            pipe::register(*signal, handler.try_clone()?)?;
        }
        let mut pipe = UnixStream::from_std(pipe);
        registry.register(&mut pipe, token, Interest::READABLE)?;
        Ok(Self { pipe, readable: false })
    }

    /// The poll says that something is there.
    pub fn set_readable(&mut self) {
        self.readable = true;
    }

    /// How many signals came since this was asked last.
    pub fn take(&mut self) -> usize {
        if !std::mem::take(&mut self.readable) {
            return 0;
        }
        let mut bytes = [0; 64];
        self.pipe.read(&mut bytes).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};
    use signal_hook::low_level::raise;
    use std::time::Duration;

    #[test]
    fn each_signal_is_counted_once() {
        let mut poll = Poll::new().unwrap();
        let mut signals = Signals::to_end(poll.registry(), Token(3)).unwrap();
        let mut others = Signals::to_read_again(poll.registry(), Token(4)).unwrap();
        assert_eq!(signals.take(), 0);
        raise(SIGTERM).unwrap();
        raise(SIGINT).unwrap();
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
        assert!(events.iter().any(|event| event.token() == Token(3)));
        signals.set_readable();
        assert_eq!((signals.take(), signals.take()), (2, 0));
        others.set_readable();
        assert_eq!(others.take(), 0);
    }
}
