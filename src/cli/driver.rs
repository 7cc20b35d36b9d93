//! Clients with sockets and a clock: what turns their wishes into datagrams.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

use super::args::ClientFlags;
use super::exit::Failure;
use crate::client::{Client, ClientConfig, Event};
use crate::daemon::{Clock, random_u64};
use crate::time::Instant;

/// The largest datagram that may come in.
const DATAGRAM_BYTES_MAX: usize = 65_536;

/// Some clients, each with a socket of its own, on one thread.
#[derive(Debug)]
pub struct Driver {
    poll: Poll,
    events: Events,
    clock: Clock,
    members: Vec<Member>,
    frame: Vec<u8>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Member {
    socket: UdpSocket,
    client: Client,
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
        let mut driver = Self {
            poll,
            events: Events::with_capacity(1_024),
            clock: Clock::new(),
            members: Vec::with_capacity(count),
            frame: Vec::new(),
            buffer: vec![0; DATAGRAM_BYTES_MAX],
        };
        let config = ClientConfig {
            cluster: flags.cluster_hash(),
            servers: flags.servers.clone(),
            timeout: flags.timeout,
            one_shot,
            outstanding_max,
        };
        for place in 0..count {
            let client = Client::new(config.clone(), driver.clock.now(), random_u64());
            let socket = driver.open_socket(place, flags.servers[0])?;
            driver.members.push(Member { socket, client });
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

    /// The client at the place.
    pub fn client(&mut self, place: usize) -> &mut Client {
        &mut self.members[place].client
    }

    /// Sends what the clients want sent, waits for something to happen until `until` at
    /// the latest, and takes it in.
    pub fn turn(&mut self, until: Instant) -> Result<(), Failure> {
        (0..self.members.len()).for_each(|place| self.send_all(place));
        let now = self.clock.now();
        let deadlines = self.members.iter().filter_map(|member| member.client.next_deadline());
        let deadline = deadlines.min().map_or(until, |first| first.min(until));
        if let Err(error) = self.poll.poll(&mut self.events, Some(round_up(deadline.since(now))))
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(Failure::system("waiting for datagrams", &error));
        }
        let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
        ready.into_iter().for_each(|place| self.receive_all(place));
        let now = self.clock.now();
        for member in &mut self.members {
            if member.client.next_deadline().is_some_and(|deadline| deadline <= now) {
                member.client.on_timeout(now);
            }
        }
        Ok(())
    }

    fn send_all(&mut self, place: usize) {
        let member = &mut self.members[place];
        while let Some(to) = member.client.poll_send(&mut self.frame) {
            // What does not leave is like what is lost: it is sent again.
            member.socket.send_to(&self.frame, to).ok();
        }
    }

    fn receive_all(&mut self, place: usize) {
        let member = &mut self.members[place];
        loop {
            match member.socket.recv_from(&mut self.buffer) {
                Ok((length, from)) => {
                    let datagram = Bytes::copy_from_slice(&self.buffer[..length]);
                    member.client.on_datagram(self.clock.now(), from, &datagram);
                }
                // A port that nobody listens on is told of here; others may answer.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(_) => return,
            }
        }
    }

    /// The next event of the client at the place.
    pub fn poll_event(&mut self, place: usize) -> Option<Event> {
        self.members[place].client.poll_event()
    }
}

/// The poll counts in milliseconds; what is due in less is waited for that long.
fn round_up(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX))
}
