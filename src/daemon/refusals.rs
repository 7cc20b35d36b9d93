//! What the network says of frames that nobody took: the system answers a frame to a port that
//! no process has by an ICMP message, which comes out of the error queue of the socket that sent
//! it, together with the frame.
//!
//! This is the only module with unsafe code: no library that is used here sets the option.
#![allow(unsafe_code, reason = "setsockopt with an option that rustix does not know")]

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use mio::net::UdpSocket;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, recvmsg};

/// Has the system keep such messages for the socket.
///
/// # Errors
/// The system does not know the option.
pub fn ask_for_refusals(socket: &UdpSocket) -> io::Result<()> {
    let (level, option) = if socket.local_addr()?.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_RECVERR)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    };
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open as long as `socket` is borrowed, and the system reads
    // `length` bytes at a pointer to as many.
    let set = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), length)
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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
