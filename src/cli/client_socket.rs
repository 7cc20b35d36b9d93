//! A client's socket that waits: for what asks a question at a time.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::args::ClientFlags;
use super::strangers::Strangers;
use crate::daemon::Clock;
use crate::seal::Sealer;

/// The largest datagram that may come in.
const DATAGRAM_BYTES_MAX: usize = 65_536;

/// A socket whose frames are sealed, if the flags name keys.
#[derive(Debug)]
pub struct ClientSocket {
    socket: UdpSocket,
    sealer: Option<Sealer>,
    strangers: Strangers,
    clock: Clock,
    buffer: Vec<u8>,
}

impl ClientSocket {
    /// A socket that fits the servers of the flags.
    pub fn open(flags: &ClientFlags) -> io::Result<Self> {
        let any = if flags.servers[0].is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        Ok(Self {
            socket: UdpSocket::bind(any)?,
            sealer: flags.sealer(),
            strangers: Strangers::new(flags),
            clock: Clock::new(),
            buffer: vec![0; DATAGRAM_BYTES_MAX],
        })
    }

    /// Sends the frame. What does not leave is like what is lost.
    pub fn send(&mut self, mut frame: Vec<u8>, to: SocketAddr) {
        let now = self.clock.now();
        let is_ready = self.sealer.as_mut().is_none_or(|sealer| sealer.seal(now, to, &mut frame));
        self.send_handshakes();
        if is_ready {
            self.socket.send_to(&frame, to).ok();
        }
    }

    /// The next frame that comes, and from where; none when another kind of datagram came.
    pub fn receive(&mut self, wait: Duration) -> io::Result<Option<(SocketAddr, &[u8])>> {
        self.socket.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        let (mut length, from) = self.socket.recv_from(&mut self.buffer)?;
        if let Some(sealer) = &mut self.sealer {
            // What is not a node's answer is ignored, but for who says that it is another's.
            let opened = sealer.open(self.clock.now(), from, &mut self.buffer[..length]);
            self.strangers.note(sealer);
            length = opened.ok().flatten().map_or(0, |opened| opened.length);
            self.send_handshakes();
        }
        Ok((length > 0).then(|| (from, &self.buffer[..length])))
    }

    /// The nodes of other clusters that have told who they are.
    pub fn strangers(&self) -> &Strangers {
        &self.strangers
    }

    fn send_handshakes(&mut self) {
        let Self { socket, sealer, .. } = self;
        let Some(sealer) = sealer else { return };
        while let Some((to, datagram)) = sealer.poll_send() {
            socket.send_to(&datagram, to).ok();
        }
    }
}
