//! What the network says of frames that nobody took: the system answers a frame to a port that
//! no process has by an ICMP message, which comes out of the error queue of the socket that sent
//! it, together with the frame.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use mio::net::UdpSocket;
use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt::Ipv4RecvErr,
    sockopt::Ipv6RecvErr,
};
use rustix::io::Errno;

use super::socket_options::address;

/// The most errors that are read for one that is a refusal.
const ERRORS_MAX: usize = 64;
/// What the system tells of an error, and the address of who has told it that.
const CONTROL_BYTES: usize = 64;

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
/// first on, were put into `frame`. Other errors are passed over: a way that is interrupted, or a
/// frame that does not fit into it, says nothing of the process at its end.
pub fn next_refused(socket: &UdpSocket, frame: &mut [u8]) -> Option<(SocketAddr, usize)> {
    let mut control = cmsg_space!([u8; CONTROL_BYTES]);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    for _ in 0..ERRORS_MAX {
        let parts = &mut [IoSliceMut::new(frame)];
        let failed =
            recvmsg::<SockaddrStorage>(socket.as_raw_fd(), parts, Some(&mut control), flags)
                .ok()?;
        let to = failed.address.as_ref().and_then(address);
        let is_refused = failed.cmsgs().is_ok_and(|mut told| told.any(|it| is_refusal(&it)));
        if let Some(to) = to.filter(|_| is_refused) {
            return Some((to, failed.bytes));
        }
    }
    None
}

/// Whether no process has the port. That is the only error that the host of the port tells.
fn is_refusal(told: &ControlMessageOwned) -> bool {
    let (ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _)) =
        told
    else {
        return false;
    };
    i32::try_from(error.ee_errno) == Ok(Errno::CONNREFUSED.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::libc::sock_extended_err;

    fn error(errno: Errno) -> sock_extended_err {
        sock_extended_err {
            ee_errno: errno.raw_os_error().unsigned_abs(),
            ee_origin: 2,
            ee_type: 3,
            ee_code: 0,
            ee_pad: 0,
            ee_info: 0,
            ee_data: 0,
        }
    }

    /// Routers tell errors too, also of a way that is there again at once.
    #[test]
    fn a_frame_is_refused_if_no_process_has_the_port() {
        let told = |errno| {
            let v4 = ControlMessageOwned::Ipv4RecvErr(error(errno), None);
            let v6 = ControlMessageOwned::Ipv6RecvErr(error(errno), None);
            [v4, v6].map(|it| is_refusal(&it))
        };
        assert_eq!(told(Errno::CONNREFUSED), [true; 2]);
        for other in [Errno::HOSTUNREACH, Errno::NETUNREACH, Errno::MSGSIZE, Errno::ACCESS] {
            assert_eq!(told(other), [false; 2], "{other:?}");
        }
        assert!(!is_refusal(&ControlMessageOwned::RxqOvfl(111)));
    }
}
