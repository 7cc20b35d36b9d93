//! What the system tells of a socket: how large its buffers are, and what did not fit into them.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use mio::net::UdpSocket;
use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt::RxqOvfl,
};
use rustix::net::sockopt;

/// How many bytes of datagrams a socket holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// Before they are read.
    pub receive: usize,
    /// Before they are sent.
    pub send: usize,
}

/// Asks for buffers of so many bytes, and says what was given. A process that may administer the
/// network gets what it asks for, any other what the system allows.
///
/// # Errors
/// The system does not tell.
pub fn ask_for_buffers(socket: &UdpSocket, bytes: usize) -> io::Result<Buffers> {
    sockopt::set_socket_recv_buffer_size_force(socket, bytes)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(socket, bytes))?;
    sockopt::set_socket_send_buffer_size_force(socket, bytes)
        .or_else(|_| sockopt::set_socket_send_buffer_size(socket, bytes))?;
    // What is read back is twice what was set: half of it is for the system's own needs.
    Ok(Buffers {
        receive: sockopt::socket_recv_buffer_size(socket)? / 2,
        send: sockopt::socket_send_buffer_size(socket)? / 2,
    })
}

/// Has the system tell with each datagram how many it has dropped. Returns whether it will.
pub fn ask_for_overflows(socket: &UdpSocket) -> bool {
    setsockopt(socket, RxqOvfl, &1).is_ok()
}

/// Room for what the system tells with a datagram.
pub fn control_buffer() -> Vec<u8> {
    cmsg_space!(u32)
}

/// A datagram that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// How many of its bytes were put into the buffer.
    pub length: usize,
    /// Where it comes from.
    pub source: SocketAddr,
    /// The lower half of how many the system has dropped; none: it does not tell, or dropped none.
    pub overflowed: Option<u32>,
}

/// Receives a datagram.
///
/// # Errors
/// There is none, or a former one could not be sent.
pub fn receive(socket: &UdpSocket, buffer: &mut [u8], control: &mut [u8]) -> io::Result<Received> {
    let parts = &mut [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), parts, Some(control), MsgFlags::empty())?;
    let source = message.address.as_ref().and_then(address).ok_or(io::ErrorKind::InvalidData)?;
    let overflowed = message.cmsgs()?.find_map(|told| match told {
        ControlMessageOwned::RxqOvfl(count) => Some(count),
        _ => None,
    });
    Ok(Received { length: message.bytes, source, overflowed })
}

/// The address, as the rest of the program knows it.
pub fn address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|address| SocketAddr::from(*address));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::from(*address)))
}
