//! Asks nodes a question each, again and again, and collects what they answer.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::args::ClientFlags;
use super::client_socket::ClientSocket;
use super::strangers::Strangers;
use crate::daemon::random_u64;
use crate::types::{ClusterHash, DirectoryId, PacketNumber};
use crate::wire::{self, Header, Message};

/// How long a silent node is waited for, unless the command line says it.
const PATIENCE: Duration = Duration::from_millis(800);
/// How often it is asked again meanwhile.
const INTERVAL: Duration = Duration::from_millis(150);

/// A client that asks questions, one at a time.
#[derive(Debug)]
pub struct Inquiry {
    socket: ClientSocket,
    cluster: ClusterHash,
    process: DirectoryId,
    patience: Duration,
}

/// A question that is being asked.
#[derive(Debug)]
pub struct Question<'a> {
    inquiry: &'a mut Inquiry,
    message: Message,
    until: Instant,
    next_round: Instant,
}

impl Inquiry {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// The system denies a socket.
    pub fn open(flags: &ClientFlags) -> io::Result<Self> {
        Ok(Self {
            socket: ClientSocket::open(flags)?,
            cluster: flags.cluster_hash(),
            process: DirectoryId(random_u64()),
            patience: PATIENCE,
        })
    }

    /// One that waits as long as the command line says, if it does.
    ///
    /// # Errors
    /// The system denies a socket.
    pub fn open_patiently(flags: &ClientFlags) -> io::Result<Self> {
        let inquiry = Self::open(flags)?;
        Ok(Self { patience: flags.given_timeout.unwrap_or(PATIENCE), ..inquiry })
    }

    /// Begins to ask.
    pub fn ask(&mut self, message: Message) -> Question<'_> {
        let now = Instant::now();
        let until = now + self.patience;
        Question { inquiry: self, message, until, next_round: now }
    }

    /// What each of the nodes answers. Those that stay silent are left out.
    pub fn ask_each<T>(
        &mut self,
        nodes: &[SocketAddr],
        message: Message,
        read: impl Fn(Message) -> Option<T>,
    ) -> BTreeMap<SocketAddr, T> {
        let mut answers = BTreeMap::new();
        let mut question = self.ask(message);
        loop {
            let is_silent = |node: &SocketAddr| !answers.contains_key(node);
            let silent: Vec<SocketAddr> = nodes.iter().copied().filter(is_silent).collect();
            let Some((from, message)) = question.next_answer(&silent) else { return answers };
            if let Some(answer) = read(message).filter(|_| silent.contains(&from)) {
                answers.insert(from, answer);
            }
        }
    }

    /// The nodes of other clusters that have told who they are.
    pub fn strangers(&self) -> &Strangers {
        self.socket.strangers()
    }

    fn send(&mut self, message: &Message, to: &[SocketAddr]) {
        let header = Header::of_client(self.cluster, self.process, PacketNumber(random_u64() >> 2));
        let mut frame = Vec::new();
        wire::encode(&header, message, &mut frame);
        for node in to {
            // A node that cannot be reached is one that is silent.
            self.socket.send(frame.clone(), *node);
        }
    }

    /// What comes within this time; none: nothing that a node of the cluster says.
    fn receive(&mut self, wait: Duration) -> io::Result<Option<(SocketAddr, Message)>> {
        let Some((from, frame)) = self.socket.receive(wait)? else { return Ok(None) };
        let frame = wire::decode(&Bytes::copy_from_slice(frame)).ok();
        let frame = frame.filter(|frame| frame.header.cluster == self.cluster);
        Ok(frame.map(|frame| (from, frame.message)))
    }
}

impl Question<'_> {
    /// The next that a node says, while these are silent and not given up. It may be the answer
    /// to a question before.
    pub fn next_answer(&mut self, silent: &[SocketAddr]) -> Option<(SocketAddr, Message)> {
        while Instant::now() < self.until && self.may_answer(silent) {
            let now = Instant::now();
            if now >= self.next_round {
                self.inquiry.send(&self.message, silent);
                self.next_round = now + INTERVAL;
            }
            match self.inquiry.receive(self.next_round.saturating_duration_since(now)) {
                Ok(Some(answer)) => return Some(answer),
                Ok(None) => {}
                Err(error) if is_of_silence(&error) => {}
                Err(_) => return None,
            }
        }
        None
    }

    /// Whether one of these is not known to be of another cluster.
    fn may_answer(&self, silent: &[SocketAddr]) -> bool {
        let strangers = self.inquiry.strangers();
        silent.iter().any(|node| strangers.cluster_at(*node).is_none())
    }

    /// There are others to be asked.
    pub fn ask_at_once(&mut self) {
        self.next_round = Instant::now();
    }
}

fn is_of_silence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock
            | ErrorKind::TimedOut
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}
