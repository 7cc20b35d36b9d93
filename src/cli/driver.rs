//! Clients with sockets and a clock: what turns their wishes into datagrams.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

use super::args::ClientFlags;
use super::exit::Failure;
use super::strangers::Strangers;
use crate::client::{Client, ClientConfig, Event};
use crate::daemon::{Clock, Signals, WakeUp, random_u64};
use crate::seal::Sealer;
use crate::time::Instant;

/// The largest datagram that may come in.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// By then every client has given up to close its session.
const CLOSING_MAX: Duration = Duration::from_secs(1);
/// What the poll calls the timer. The clients' sockets go by their places.
const WAKE_UP: Token = Token(usize::MAX);
/// What the poll calls the signals.
const SIGNALS: Token = Token(usize::MAX - 1);

/// Some clients, each with a socket of its own, on one thread.
#[derive(Debug)]
pub struct Driver {
    poll: Poll,
    events: Events,
    clock: Clock,
    wake_up: WakeUp,
    signals: Option<Signals>,
    members: Vec<Member>,
    /// The clients that something happened to: they may have something to send, and
    /// other deadlines. The others cost nothing in a turn.
    touched: Vec<usize>,
    /// When each client must be called again, with its place.
    deadlines: BTreeSet<(Instant, usize)>,
    strangers: Strangers,
    frame: Vec<u8>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Member {
    socket: UdpSocket,
    client: Client,
    sealer: Option<Box<Sealer>>,
    is_touched: bool,
    /// The deadline that is noted for it.
    deadline: Option<Instant>,
}

impl Member {
    fn take_in(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &mut [u8],
        strangers: &mut Strangers,
    ) {
        let length = match &mut self.sealer {
            None => datagram.len(),
            Some(sealer) => {
                let opened = sealer.open(now, from, datagram);
                strangers.note(sealer);
                self.send_handshakes();
                // What is not a node's answer is ignored: nobody here counts it.
                let Ok(Some(opened)) = opened else { return };
                opened.length
            }
        };
        self.client.on_datagram(now, from, &Bytes::copy_from_slice(&datagram[..length]));
    }

    fn send_handshakes(&mut self) {
        let Self { socket, sealer, .. } = self;
        let Some(sealer) = sealer else { return };
        while let Some((to, datagram)) = sealer.poll_send() {
            socket.send_to(&datagram, to).ok();
        }
    }
}

impl Driver {
    /// `count` clients of the cluster that the flags name.
    pub fn new(
        flags: &ClientFlags,
        count: usize,
        one_shot: bool,
        outstanding_max: usize,
    ) -> Result<Self, Failure> {
        let poll = Poll::new().map_err(|error| Failure::system("an event queue", &error))?;
        let wake_up = WakeUp::register(poll.registry(), WAKE_UP)
            .map_err(|error| Failure::system("a timer", &error))?;
        let mut driver = Self {
            poll,
            events: Events::with_capacity(1_024),
            clock: Clock::new(),
            wake_up,
            signals: None,
            touched: Vec::new(),
            deadlines: BTreeSet::new(),
            members: Vec::with_capacity(count),
            strangers: Strangers::new(flags),
            frame: Vec::new(),
            buffer: vec![0; DATAGRAM_BYTES_MAX],
        };
        let config = ClientConfig {
            cluster: flags.cluster_hash(),
            servers: flags.servers.clone(),
            timeout: flags.timeout,
            redundancy_max: flags.redundancy_max,
            one_shot,
            outstanding_max,
        };
        for place in 0..count {
            let client = Client::new(config.clone(), driver.clock.now(), random_u64());
            let socket = driver.open_socket(place, flags.servers[0])?;
            let sealer = flags.sealer().map(Box::new);
            let member = Member { socket, client, sealer, is_touched: false, deadline: None };
            driver.members.push(member);
        }
        Ok(driver)
    }

    fn open_socket(&self, place: usize, server: SocketAddr) -> Result<UdpSocket, Failure> {
        let any = match server.ip() {
            IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        let denied = |error| Failure::system("a socket", &error);
        let mut socket = UdpSocket::bind(SocketAddr::new(any, 0)).map_err(denied)?;
        self.poll
            .registry()
            .register(&mut socket, Token(place), Interest::READABLE)
            .map_err(denied)?;
        Ok(socket)
    }

    /// What the clock shows.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Takes over ctrl-C, which no longer ends the process.
    pub fn catch_signals(&mut self) -> Result<(), Failure> {
        let signals = Signals::to_end(self.poll.registry(), SIGNALS)
            .map_err(|error| Failure::system("signals", &error))?;
        self.signals = Some(signals);
        Ok(())
    }

    /// How often the process was asked to end since this was asked last.
    pub fn take_signals(&mut self) -> usize {
        self.signals.as_mut().map_or(0, Signals::take)
    }

    /// The client at the place.
    pub fn client(&mut self, place: usize) -> &mut Client {
        self.touch(place);
        &mut self.members[place].client
    }

    /// The next event of the client at the place.
    pub fn poll_event(&mut self, place: usize) -> Option<Event> {
        self.members[place].client.poll_event()
    }

    /// Gives up all that is under way, and tells the cluster that no client's session has more
    /// to come. That is known soon, or does not matter.
    pub fn close(&mut self) {
        let now = self.clock.now();
        for place in 0..self.members.len() {
            self.client(place).close(now);
        }
        while self.members.iter().any(|member| member.client.outstanding() > 0) {
            if self.take_signals() > 0 || self.turn(now + CLOSING_MAX).is_err() {
                return;
            }
        }
    }

    /// The nodes of other clusters that have told who they are.
    pub fn strangers(&self) -> &Strangers {
        &self.strangers
    }

    /// Sends what the clients want sent, waits for something to happen until `until` at
    /// the latest, and takes it in.
    pub fn turn(&mut self, until: Instant) -> Result<(), Failure> {
        self.send();
        self.wait(until)?;
        let ready: Vec<Token> = self.events.iter().map(mio::event::Event::token).collect();
        for token in ready {
            match (token, &mut self.signals) {
                (WAKE_UP, _) => {}
                (SIGNALS, Some(signals)) => signals.set_readable(),
                (Token(place), _) => self.receive_all(place),
            }
        }
        self.time_out();
        Ok(())
    }

    /// Sends what the clients want sent, without waiting for anything.
    pub fn send(&mut self) {
        while let Some(place) = self.touched.pop() {
            self.members[place].is_touched = false;
            self.send_all(place);
            self.note_deadline(place);
        }
    }

    fn touch(&mut self, place: usize) {
        if !std::mem::replace(&mut self.members[place].is_touched, true) {
            self.touched.push(place);
        }
    }

    fn send_all(&mut self, place: usize) {
        let now = self.clock.now();
        let Self { members, frame, .. } = self;
        let member = &mut members[place];
        while let Some(to) = member.client.poll_send(frame) {
            let sealer = member.sealer.as_mut();
            let is_ready = sealer.is_none_or(|sealer| sealer.seal(now, to, frame));
            member.send_handshakes();
            if is_ready {
                // What does not leave is like what is lost: it is sent again.
                member.socket.send_to(frame, to).ok();
            }
        }
    }

    fn note_deadline(&mut self, place: usize) {
        let member = &mut self.members[place];
        let deadline = member.client.next_deadline();
        if deadline == member.deadline {
            return;
        }
        if let Some(noted) = member.deadline {
            self.deadlines.remove(&(noted, place));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, place));
        }
        member.deadline = deadline;
    }

    fn wait(&mut self, until: Instant) -> Result<(), Failure> {
        let now = self.clock.now();
        let first = self.deadlines.first().map_or(until, |(deadline, _)| until.min(*deadline));
        self.wake_up.arm(first, now).map_err(|error| Failure::system("a timer", &error))?;
        match self.poll.poll(&mut self.events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                Err(Failure::system("waiting for datagrams", &error))
            }
            _ => Ok(()),
        }
    }

    fn receive_all(&mut self, place: usize) {
        self.touch(place);
        let Self { members, clock, strangers, buffer, .. } = self;
        let member = &mut members[place];
        loop {
            match member.socket.recv_from(buffer) {
                Ok((length, from)) => {
                    member.take_in(clock.now(), from, &mut buffer[..length], strangers);
                }
                // A port that nobody listens on is told of here; others may answer.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(_) => return,
            }
        }
    }

    fn time_out(&mut self) {
        let now = self.clock.now();
        let due: Vec<usize> = self
            .deadlines
            .iter()
            .take_while(|(deadline, _)| *deadline <= now)
            .map(|(_, place)| *place)
            .collect();
        for place in due {
            self.members[place].client.on_timeout(now);
            self.touch(place);
        }
    }
}
