//! The socket.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;

use super::refusals;
use super::socket_options::{self, Buffers, Received};
use crate::wire::PortStatus;

/// Longer datagrams than this are no frames: the rest is cut off, and the frame's length
/// is then wrong.
const DATAGRAM_BYTES_MAX: usize = 2_048;

/// A burst of clients must fit into the socket's buffers while the loop does one turn.
const BUFFER_BYTES: usize = 4 << 20;

/// A UDP socket that never blocks, and never fails: what cannot be sent is lost, as it
/// might be anywhere on the way.
#[derive(Debug)]
pub struct UdpPort {
    socket: UdpSocket,
    /// Something may be there to be read. The poll tells so only once, so a burst that is
    /// left before the socket is empty must be remembered.
    readable: bool,
    /// Frames may have been refused.
    refused: bool,
    scratch: Box<[u8; DATAGRAM_BYTES_MAX]>,
    control: Vec<u8>,
    status: PortStatus,
    last_error: Option<ErrorKind>,
}

impl UdpPort {
    /// Binds `address`, and registers the socket as `token`.
    ///
    /// # Errors
    /// The address is in use, or not one of this machine.
    pub fn bind(address: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut socket = UdpSocket::bind(address)?;
        let buffers = ask_for_buffers(&socket);
        let tells = socket_options::ask_for_overflows(&socket);
        if let Err(error) = refusals::ask_for_refusals(&socket) {
            log::warn!("a node that dies is noticed by its silence alone: {error}");
        }
        registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(Self {
            socket,
            readable: true,
            refused: false,
            scratch: Box::new([0; DATAGRAM_BYTES_MAX]),
            control: socket_options::control_buffer(),
            status: PortStatus {
                overflowed: tells.then_some(0),
                buffer_wanted: short(BUFFER_BYTES),
                receive_buffer: short(buffers.receive),
                send_buffer: short(buffers.send),
                ..PortStatus::default()
            },
            last_error: None,
        })
    }

    /// The address that the socket has.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// What came of datagrams here so far.
    pub fn status(&self) -> PortStatus {
        self.status
    }

    /// The poll says that something is there.
    pub fn set_readable(&mut self) {
        self.readable = true;
    }

    /// Whether something may be left to be read.
    pub fn is_readable(&self) -> bool {
        self.readable
    }

    /// The next datagram, if there is one. It lies here until the next one is received.
    pub fn receive(&mut self) -> Option<(SocketAddr, &mut [u8])> {
        let Self { socket, scratch, control, .. } = self;
        match socket_options::receive(socket, &mut scratch[..], control) {
            Ok(Received { length, source, overflowed }) => {
                self.status.count_overflows(overflowed);
                Some((source, &mut self.scratch[..length]))
            }
            Err(error) => {
                // Any other error was that of an earlier send, and is told only once.
                self.readable = error.kind() != ErrorKind::WouldBlock;
                self.refused |= self.readable;
                None
            }
        }
    }

    /// A datagram that was sent to this address, and that nobody took there, as far as it is
    /// quoted. There may be such only after sending or receiving has failed.
    pub fn take_refused(&mut self) -> Option<(SocketAddr, &mut [u8])> {
        if !self.refused {
            return None;
        }
        let refused = refusals::next_refused(&self.socket, &mut self.scratch[..]);
        self.refused = refused.is_some();
        refused.map(|(to, length)| (to, &mut self.scratch[..length]))
    }

    /// Sends the frame, or loses it.
    pub fn send(&mut self, to: SocketAddr, frame: &[u8]) {
        let mut sent = self.socket.send_to(frame, to);
        if sent.as_ref().is_err_and(|error| is_of_earlier_frame(error.kind())) {
            self.refused = true;
            sent = self.socket.send_to(frame, to);
        }
        let Err(error) = sent else { return };
        if is_of_full_queue(&error) {
            self.status.refused += 1;
            return;
        }
        self.status.unsent += 1;
        // An outage would repeat itself in every line.
        let kind = error.kind();
        if self.last_error != Some(kind) {
            self.last_error = Some(kind);
            let unsent = self.status.unsent;
            log::warn!("a frame to {to} could not be sent: {error} ({unsent} lost so far)");
        }
    }
}

/// Whether the socket tells of a frame that was sent before: this one was not sent yet.
fn is_of_earlier_frame(kind: ErrorKind) -> bool {
    use ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(kind, ConnectionRefused | HostUnreachable | NetworkUnreachable)
}

impl PortStatus {
    /// The system says the lower half of how many datagrams it has dropped, if any.
    fn count_overflows(&mut self, told: Option<u32>) {
        let (Some(counted), Some(told)) = (self.overflowed, told) else { return };
        let lower_half = u32::try_from(counted & u64::from(u32::MAX)).unwrap_or(0);
        self.overflowed = Some(counted + u64::from(told.wrapping_sub(lower_half)));
    }
}

/// Whether the frame did not fit into the buffer, or the queue, before it.
fn is_of_full_queue(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
        || error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error())
}

fn ask_for_buffers(socket: &UdpSocket) -> Buffers {
    let wanted = BUFFER_BYTES;
    match socket_options::ask_for_buffers(socket, wanted) {
        Ok(given) => {
            if given.receive.min(given.send) < wanted {
                log::warn!(
                    "the system gives the socket {} KiB to receive and {} KiB to send instead of \
                     {}: bursts are lost earlier; raise net.core.rmem_max and net.core.wmem_max to \
                     {wanted}",
                    given.receive >> 10,
                    given.send >> 10,
                    wanted >> 10
                );
            }
            given
        }
        Err(error) => {
            log::warn!("the socket keeps its small buffers: {error}");
            Buffers { receive: 0, send: 0 }
        }
    }
}

fn short(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};
    use rustix::net::sockopt;
    use std::time::Duration;

    fn port(poll: &Poll) -> UdpPort {
        let any = "127.0.0.1:0".parse().unwrap();
        UdpPort::bind(any, poll.registry(), Token(0)).unwrap()
    }

    #[test]
    fn a_burst_that_is_left_early_is_remembered() {
        let mut poll = Poll::new().unwrap();
        let (mut here, mut there) = (port(&poll), port(&Poll::new().unwrap()));
        assert!(here.receive().is_none());
        assert!(!here.is_readable());

        let to = here.local_address().unwrap();
        for frame in [b"one".as_slice(), &[7; 3_000], b""] {
            there.send(to, frame);
        }
        poll.poll(&mut Events::with_capacity(8), Some(Duration::from_secs(5))).unwrap();
        here.set_readable();

        let (source, first) = here.receive().unwrap();
        assert_eq!((source, &*first), (there.local_address().unwrap(), b"one".as_slice()));
        assert!(here.is_readable());
        assert_eq!(here.receive().unwrap().1.len(), DATAGRAM_BYTES_MAX);
        assert!(here.receive().unwrap().1.is_empty());
        assert!(here.receive().is_none());
        assert!(!here.is_readable());
    }

    #[test]
    fn what_cannot_be_sent_is_lost_and_counted() {
        let mut port = port(&Poll::new().unwrap());
        let to = port.local_address().unwrap();
        port.send(to, &vec![0; 70_000]);
        port.send("[::1]:9".parse().unwrap(), b"wrong family");
        assert_eq!((port.status.unsent, port.status.refused), (2, 0));
        port.send(to, b"still works");
        assert_eq!((port.status.unsent, port.status.refused), (2, 0));
    }

    /// The buffer is made so small that it holds a few datagrams; the system knows how many more
    /// there were.
    #[test]
    fn what_the_system_drops_is_counted() {
        let mut poll = Poll::new().unwrap();
        let (mut here, mut there) = (port(&poll), port(&Poll::new().unwrap()));
        assert_eq!(here.status().overflowed, Some(0));
        sockopt::set_socket_recv_buffer_size(&here.socket, 1).unwrap();
        let to = here.local_address().unwrap();
        let (mut received, mut sent) = (0, 0);
        // With each datagram comes what was dropped before it was.
        while here.status().overflowed == Some(0) || sent % 50 != 0 {
            there.send(to, &[7; 1_000]);
            sent += 1;
            if sent % 50 == 0 {
                poll.poll(&mut Events::with_capacity(8), Some(Duration::from_secs(5))).unwrap();
                here.set_readable();
                while here.is_readable() {
                    received += u64::from(here.receive().is_some());
                }
            }
            assert!(sent < 1_000, "{:?}", here.status());
        }
        there.send(to, b"the last");
        poll.poll(&mut Events::with_capacity(8), Some(Duration::from_secs(5))).unwrap();
        assert_eq!(here.receive().unwrap().1, b"the last");
        assert_eq!(here.status().overflowed, Some(sent - received), "{sent} were sent");
    }

    #[test]
    fn the_systems_count_goes_on_beyond_its_half() {
        let mut status = PortStatus { overflowed: Some(0), ..PortStatus::default() };
        for (told, counted) in [(Some(5), 5), (None, 5), (Some(u32::MAX), 0xffff_ffff)] {
            status.count_overflows(told);
            assert_eq!(status.overflowed, Some(counted));
        }
        status.count_overflows(Some(3));
        assert_eq!(status.overflowed, Some(0x1_0000_0003));
    }

    #[test]
    fn buffers_are_read_back() {
        let status = port(&Poll::new().unwrap()).status();
        assert_eq!(status.buffer_wanted, 4 << 20);
        assert!(status.receive_buffer > 0 && status.receive_buffer <= 4 << 20, "{status:?}");
        assert!(status.send_buffer > 0 && status.send_buffer <= 4 << 20, "{status:?}");
    }

    #[test]
    fn a_frame_that_nobody_takes_comes_back_and_costs_no_other() {
        let mut here = port(&Poll::new().unwrap());
        let mut there = port(&Poll::new().unwrap());
        let nobody = {
            let gone = port(&Poll::new().unwrap());
            gone.local_address().unwrap()
        };
        for frame in [b"one".as_slice(), b"two"] {
            here.send(nobody, frame);
            here.send(there.local_address().unwrap(), b"for another");
        }
        assert!(here.receive().is_none());
        for expected in [b"one".as_slice(), b"two"] {
            let (to, refused) = here.take_refused().expect("it was refused");
            assert_eq!((to, &*refused), (nobody, expected));
        }
        assert!(here.take_refused().is_none());
        let arrived = (0..3).filter(|_| there.receive().is_some()).count();
        assert_eq!((arrived, here.status.unsent), (2, 0));
    }

    /// The system tells of it in the same place, but the process there may well live.
    #[test]
    fn a_frame_that_does_not_come_as_far_is_not_refused() {
        let mut here = port(&Poll::new().unwrap());
        let there = port(&Poll::new().unwrap());
        let nobody = {
            let gone = port(&Poll::new().unwrap());
            gone.local_address().unwrap()
        };
        // It has room in a datagram of UDP, and none in a packet of IP.
        here.send(there.local_address().unwrap(), &vec![0; 65_520]);
        here.send(nobody, b"one");
        assert!(here.receive().is_none());
        let (to, refused) = here.take_refused().expect("it was refused");
        assert_eq!((to, &*refused), (nobody, b"one".as_slice()));
        assert!(here.take_refused().is_none());
    }
}
