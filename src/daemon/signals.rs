//! SIGINT and SIGTERM, as something that the poll wakes up for.

use std::io::{self, Read};

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// The requests to end the process.
#[derive(Debug)]
pub struct Signals {
    pipe: UnixStream,
    /// The poll says that something is there.
    readable: bool,
}

impl Signals {
    /// Takes over both signals, and registers them as `token`.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub fn register(registry: &Registry, token: Token) -> io::Result<Self> {
        let (pipe, handler) = std::os::unix::net::UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        pipe::register(SIGTERM, handler.try_clone()?)?;
        pipe::register(SIGINT, handler)?;
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
        let mut signals = Signals::register(poll.registry(), Token(3)).unwrap();
        assert_eq!(signals.take(), 0);
        raise(SIGTERM).unwrap();
        raise(SIGINT).unwrap();
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
        assert!(events.iter().any(|event| event.token() == Token(3)));
        signals.set_readable();
        assert_eq!((signals.take(), signals.take()), (2, 0));
    }
}
