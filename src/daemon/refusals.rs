//! What the network says of frames that nobody took: the system answers a frame to a port that
//! no process has by an ICMP message, which comes out of the error queue of the socket that sent
//! it, together with the frame.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsFd;

use mio::net::UdpSocket;
use nix::sys::socket::{setsockopt, sockopt::Ipv4RecvErr, sockopt::Ipv6RecvErr};
use rustix::net::{RecvAncillaryBuffer, RecvFlags, recvmsg};

/// Has the system keep such messages for the socket.
///
/// # Errors
/// The system does not know the option.
pub fn ask_for_refusals(socket: &UdpSocket) -> io::Result<()> {
    if socket.local_addr()?.is_ipv4() {
        setsockopt(socket, Ipv4RecvErr, &true)?;
    } else {
        setsockopt(socket, Ipv6RecvErr, &true)?;
    }
    Ok(())
}

/// The next frame that was refused: where it was sent, and how many of its bytes, from the
/// first on, were put into `frame`.
pub fn next_refused(socket: &UdpSocket, frame: &mut [u8]) -> Option<(SocketAddr, usize)> {
    let mut nothing = RecvAncillaryBuffer::default();
    let flags = RecvFlags::ERRQUEUE | RecvFlags::DONTWAIT;
    let parts = &mut [IoSliceMut::new(frame)];
    let refused = recvmsg(socket.as_fd(), parts, &mut nothing, flags).ok()?;
    let to = SocketAddr::try_from(refused.address?).ok()?;
    Some((to, refused.bytes))
}
