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
use crate::types::{DirectoryId, LogIndex, PacketNumber};
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
/// Where no configuration stands. Who asks for a change of this one is told of the one in force,
/// unless all is so already, and nothing is changed.
const NONE_SEEN: LogIndex = LogIndex(0);

/// Asks the leader for the change, until it is committed or refused.
pub fn change_members(flags: &ClientFlags, change: MemberChange) -> Result<MemberReply, Failure> {
    let denied = |error| Failure::system("a socket", &error);
    let socket = ClientSocket::open(flags).map_err(denied)?;
    let mut call = Call {
        flags,
        socket,
        directory: DirectoryId(random_u64()),
        request: MemberRequest { nonce: random_u64(), seen: NONE_SEEN, change },
        give_up_at: Instant::now() + flags.timeout,
        answered: None,
        refused: None,
        in_doubt: false,
    };
    match call.run() {
        Ok(Some(Ok(reply))) => Ok(reply),
        Ok(Some(Err(denial))) if !call.in_doubt => Err(Failure::refused(denial.to_string())),
        Err(error) if !call.in_doubt => Err(denied(error)),
        _ => Err(call.socket.strangers().failure().unwrap_or_else(|| call.no_answer())),
    }
}

struct Call<'a> {
    flags: &'a ClientFlags,
    socket: ClientSocket,
    directory: DirectoryId,
    request: MemberRequest,
    give_up_at: Instant,
    /// Which asking the last answer is to.
    answered: Option<PacketNumber>,
    /// The last refusal.
    refused: Option<MemberReply>,
    /// The change may stand in the log, or come to: somebody was asked for it, and has not
    /// answered, or has led and may have ceased to after it took the change up. A refusal of
    /// another asking, by whichever leader, does not end that.
    in_doubt: bool,
}

/// What came back from the node that was asked.
enum Heard {
    Answer(MemberReply),
    Declined(Declined),
    Nothing,
}

impl Call<'_> {
    /// The leader's answer, or the right that is missing; or none that is certain. A change that
    /// is pending is waited for: the leader makes some by itself, which are over at once. After
    /// it, or any other, this one is still wanted, and asked for anew.
    fn run(&mut self) -> std::io::Result<Option<Result<MemberReply, Denial>>> {
        let mut others = self.flags.servers.iter().cycle().copied();
        let mut asked = self.flags.servers[0];
        let mut redirects = 0;
        while Instant::now() < self.give_up_at && self.socket.strangers().failure().is_none() {
            match self.ask(asked)? {
                // It has been replaced as leader, and does not know it yet.
                Heard::Answer(reply) if reply.index < self.request.seen => {
                    std::thread::sleep(PAUSE);
                }
                Heard::Answer(reply) if reply.outcome.is_so() => return Ok(Some(Ok(reply))),
                Heard::Answer(reply) => {
                    if self.is_refused_for_good(reply) {
                        break;
                    }
                    continue;
                }
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
        Ok(self.refused.clone().filter(|_| !self.in_doubt).map(Ok))
    }

    /// What the node answers. Whoever answers this very asking, and does not only say that it does
    /// not lead, has not taken it up. A change of what nobody has seen is never taken up.
    fn ask(&mut self, asked: SocketAddr) -> std::io::Result<Heard> {
        let was_in_doubt = self.in_doubt;
        self.in_doubt |= self.request.seen != NONE_SEEN;
        let packet = PacketNumber(random_u64() >> 2);
        self.send_to(asked, packet);
        let heard = self.hear_from(asked)?;
        let denied = |declined: &Declined| matches!(declined.reason, DeclineReason::Denied(_));
        let is_answered = match &heard {
            Heard::Answer(_) => true,
            Heard::Declined(declined) => denied(declined),
            Heard::Nothing => false,
        };
        if is_answered && self.answered == Some(packet) {
            self.in_doubt = was_in_doubt;
        }
        Ok(heard)
    }

    /// Takes note of a refusal. If only another change was in the way, the leader can be asked
    /// again, after a pause: for a change of what that has made of the members.
    fn is_refused_for_good(&mut self, reply: MemberReply) -> bool {
        let MemberReply { outcome, index, .. } = reply;
        let is_first_look = self.request.seen == NONE_SEEN;
        if outcome == MemberOutcome::Outdated {
            self.request = MemberRequest { nonce: random_u64(), seen: index, ..self.request };
            if is_first_look {
                return false;
            }
        }
        self.refused = Some(reply);
        let passes = [MemberOutcome::Pending, MemberOutcome::Outdated].contains(&outcome);
        if !passes || self.has_no_time_to_ask_again() {
            return true;
        }
        std::thread::sleep(PAUSE);
        false
    }

    /// Whether the answer to another asking, after a pause, would come too late. That asking would
    /// only make it unknown what came of the change.
    fn has_no_time_to_ask_again(&self) -> bool {
        Instant::now() + 2 * PAUSE > self.give_up_at
    }

    /// What is to be said when what came of the change is not known.
    fn no_answer(&self) -> Failure {
        let why = if self.refused.is_some() {
            "the change was refused once, but may have been taken up when it was asked for \
             another time: `quorate member list` shows it"
                .to_owned()
        } else {
            format!("no leader answered within {} s", self.flags.timeout.as_secs_f64())
        };
        Failure::no_answer(format!("{why}; {}", survey::take(self.flags).sentence()))
    }

    fn send_to(&mut self, asked: SocketAddr, packet: PacketNumber) {
        let header = Header::of_client(self.flags.cluster_hash(), self.directory, packet);
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

    fn read(&mut self, datagram: &Bytes) -> Option<Heard> {
        let frame = wire::decode(datagram).ok()?;
        if frame.header.cluster != self.flags.cluster_hash() {
            return None;
        }
        self.answered = frame.header.echo.map(|echo| echo.packet);
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
