//! One question that only the leader answers, asked until it does.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::args::ClientFlags;
use super::client_socket::ClientSocket;
use super::exit::Failure;
use super::survey;
use crate::access::Denial;
use crate::daemon::random_u64;
use crate::types::{DirectoryId, PacketNumber};
use crate::wire::{
    self, About, DeclineReason, Declined, Header, MemberChange, MemberOutcome, MemberReply,
    MemberRequest, Message,
};

/// How long an answer is waited for before another node is asked.
const PATIENCE: Duration = Duration::from_millis(400);
/// How long to wait after a node has declined and named no other.
const PAUSE: Duration = Duration::from_millis(50);
/// So often a node is believed that names another as the leader, before a pause.
const REDIRECTS_MAX: u32 = 2;

/// Asks the leader for the change, until it is committed or refused.
pub fn change_members(flags: &ClientFlags, change: MemberChange) -> Result<MemberReply, Failure> {
    let denied = |error| Failure::system("a socket", &error);
    let socket = ClientSocket::open(flags).map_err(denied)?;
    let request = MemberRequest { nonce: random_u64(), change };
    let give_up_at = Instant::now() + flags.timeout;
    let mut call = Call { flags, socket, request, give_up_at, pending: None, in_doubt: false };
    match call.run().map_err(denied)? {
        Some(Ok(reply)) => Ok(reply),
        Some(Err(denial)) => Err(Failure::refused(denial.to_string())),
        None => Err(call.socket.strangers().failure().unwrap_or_else(|| call.no_answer())),
    }
}

struct Call<'a> {
    flags: &'a ClientFlags,
    socket: ClientSocket,
    request: MemberRequest,
    give_up_at: Instant,
    /// The last that said that another change is pending.
    pending: Option<MemberReply>,
    /// The change may stand in the log: somebody was asked for it, and has not answered, or has
    /// led and may have ceased to after it took the change up.
    in_doubt: bool,
}

/// What came back from the node that was asked.
enum Heard {
    Answer(MemberReply),
    Declined(Declined),
    Nothing,
}

impl Call<'_> {
    /// The leader's answer, or the right that is missing; or none in time. A change that is
    /// pending is waited for: the leader makes some by itself, which are over at once.
    fn run(&mut self) -> std::io::Result<Option<Result<MemberReply, Denial>>> {
        let mut others = self.flags.servers.iter().cycle().copied();
        let mut asked = self.flags.servers[0];
        let mut redirects = 0;
        while Instant::now() < self.give_up_at && self.socket.strangers().failure().is_none() {
            self.send_to(asked);
            let heard = self.hear_from(asked)?;
            self.in_doubt |= match &heard {
                Heard::Answer(_) => false,
                Heard::Declined(_) => self.pending.is_some(),
                Heard::Nothing => true,
            };
            match heard {
                Heard::Answer(reply) if reply.outcome == MemberOutcome::Pending => {
                    self.pending = Some(reply);
                    if self.has_no_time_to_ask_again() {
                        break;
                    }
                    std::thread::sleep(PAUSE);
                    continue;
                }
                Heard::Answer(reply) => return Ok(Some(Ok(reply))),
                Heard::Declined(Declined { reason: DeclineReason::Denied(denial), .. }) => {
                    return Ok(Some(Err(denial)));
                }
                Heard::Declined(Declined { leader: Some((_, leader)), .. })
                    if redirects < REDIRECTS_MAX && leader != asked =>
                {
                    redirects += 1;
                    asked = leader;
                    continue;
                }
                Heard::Declined(_) => std::thread::sleep(PAUSE),
                Heard::Nothing => {}
            }
            redirects = 0;
            asked = others.next().unwrap_or(asked);
        }
        Ok(self.pending.clone().filter(|_| !self.in_doubt).map(Ok))
    }

    /// Whether the answer to another asking, after a pause, would come too late. That asking would
    /// only make it unknown what came of the change.
    fn has_no_time_to_ask_again(&self) -> bool {
        Instant::now() + 2 * PAUSE > self.give_up_at
    }

    /// What is to be said when what came of the change is not known.
    fn no_answer(&self) -> Failure {
        let why = if self.pending.is_some() {
            "another change was pending, and whether this one is made is not known: `quorate \
             member list` shows it"
                .to_owned()
        } else {
            format!("no leader answered within {} s", self.flags.timeout.as_secs_f64())
        };
        Failure::no_answer(format!("{why}; {}", survey::take(self.flags).sentence()))
    }

    fn send_to(&mut self, asked: SocketAddr) {
        let header = Header::of_client(
            self.flags.cluster_hash(),
            DirectoryId(self.request.nonce),
            PacketNumber(random_u64() >> 2),
        );
        let mut frame = Vec::new();
        wire::encode(&header, &Message::MemberRequest(self.request), &mut frame);
        // What does not leave is like what is lost: another node is asked.
        self.socket.send(frame, asked);
    }

    fn hear_from(&mut self, asked: SocketAddr) -> std::io::Result<Heard> {
        let until = self.give_up_at.min(Instant::now() + PATIENCE);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Heard::Nothing);
            }
            match self.socket.receive(left) {
                Ok(Some((from, frame))) if from == asked => {
                    let datagram = Bytes::copy_from_slice(frame);
                    if let Some(heard) = self.read(&datagram) {
                        return Ok(heard);
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused
                    ) =>
                {
                    return Ok(Heard::Nothing);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&self, datagram: &Bytes) -> Option<Heard> {
        let frame = wire::decode(datagram).ok()?;
        if frame.header.cluster != self.flags.cluster_hash() {
            return None;
        }
        match frame.message {
            Message::MemberReply(reply) if reply.nonce == self.request.nonce => {
                Some(Heard::Answer(reply))
            }
            Message::Declined(declined) if declined.about == About::Members(self.request.nonce) => {
                Some(Heard::Declined(declined))
            }
            _ => None,
        }
    }
}
