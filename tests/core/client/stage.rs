//! A client, and servers that say what a test tells them to.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quorate::client::{Answer, Ask, AskId, Client, ClientConfig, Event};
use quorate::link::REDUNDANCY_MAX;
use quorate::operation::{Operation, Outcome, Settled};
use quorate::time::{Instant, short_micros};
use quorate::types::{
    ClusterHash, DirectoryId, GenesisId, Incarnation, LifeId, LogIndex, LogTime, LossShare,
    PacketNumber, Sequence, ServerId, SessionId,
};
use quorate::wire::{
    self, About, DeclineReason, Declined, Echo, Frame, GenesisHash, Header, Message, OpenSession,
    Query, Reply, Request, SessionOpened,
};

/// How long the client of most tests may take for an operation.
pub const TIMEOUT: Duration = Duration::from_secs(4);
/// The session that servers open unless a test says otherwise.
pub const SESSION: SessionId = SessionId { minted_at: LogIndex(7), random: 70 };

/// The client and its surroundings.
pub struct Stage {
    pub now: Instant,
    pub client: Client,
    /// Servers say that so much of what the client sends them is lost.
    pub loss: LossShare,
    /// The client has said so of what they send it, in its newest frame.
    pub told_loss: LossShare,
    packet: PacketNumber,
    /// The client's newest frame, if servers echo what they hear.
    echo: Option<Echo>,
    echoes: bool,
}

/// A frame that the client has sent, and to which server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub server: usize,
    pub message: Message,
}

impl Stage {
    /// A client that knows the first `servers` servers.
    pub fn new(servers: usize) -> Self {
        Self::with(config(servers))
    }

    pub fn with(config: ClientConfig) -> Self {
        let now = Instant(1_000_000);
        Self {
            now,
            client: Client::new(config, now, 1),
            loss: LossShare(0),
            told_loss: LossShare(0),
            packet: PacketNumber(1),
            echo: None,
            echoes: false,
        }
    }

    /// A client that has a session, and knows that it was opened by server 0.
    pub fn with_session(config: ClientConfig) -> Self {
        let mut stage = Self::with(config);
        stage.execute(put("warm up"));
        stage.open_session(SESSION, 1_024);
        stage.sent();
        stage.settle(0, SESSION, Sequence(1), Outcome::Written);
        assert!(matches!(stage.end(), Some((AskId(1), Answer::Settled(_)))));
        stage
    }

    /// From now on a frame of a server tells how long a round trip takes.
    pub fn measure_round_trips(&mut self) {
        self.echoes = true;
    }

    pub fn execute(&mut self, operation: Operation) -> AskId {
        self.client.ask(self.now, Ask::Execute(operation))
    }

    pub fn read(&mut self, query: Query, stale: bool) -> AskId {
        self.client.ask(self.now, Ask::Read { query, stale })
    }

    /// The frames that the client wants sent now.
    pub fn sent(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        let mut bytes = Vec::new();
        while let Some(to) = self.client.poll_send(&mut bytes) {
            let frame = wire::decode(&bytes.clone().into()).expect("what a client sends");
            assert_eq!(frame.header.sender, ServerId::NONE);
            let server = usize::from(to.port() - 9_000);
            self.told_loss = frame.header.loss;
            self.echo = self.echoes.then_some(Echo { packet: frame.header.packet, age: 0 });
            sent.push(Sent { server, message: frame.message });
        }
        sent
    }

    /// The only frame that the client wants sent now.
    #[track_caller]
    pub fn sent_one(&mut self) -> Sent {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    /// The only frame that the client wants sent now, which is a request.
    #[track_caller]
    pub fn sent_request(&mut self) -> (usize, Request) {
        match self.sent_one() {
            Sent { server, message: Message::Request(request) } => (server, request),
            other => panic!("not a request: {other:?}"),
        }
    }

    /// Lets time pass until the client has something to send, or to say. Returns what
    /// it sends, and how long that took.
    pub fn wait(&mut self) -> (Vec<Sent>, Duration) {
        let began = self.now;
        loop {
            let Some(next) = self.client.next_deadline() else {
                return (Vec::new(), Duration::ZERO);
            };
            self.now = self.now.max(next);
            self.client.on_timeout(self.now);
            let sent = self.sent();
            if !sent.is_empty() || self.client.outstanding() == 0 {
                return (sent, self.now.since(began));
            }
        }
    }

    /// Lets the client run out of time. Returns everything that it sends until then.
    pub fn wait_to_the_end(&mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        while self.client.outstanding() > 0 {
            all.extend(self.wait().0);
        }
        all
    }

    /// A server says something.
    pub fn say(&mut self, server: usize, message: Message) {
        self.packet = self.packet.next();
        let Self { packet, echo, loss, .. } = *self;
        let header = Header { echo, loss, ..header(server, packet) };
        self.deliver(address(server), &Frame { header, message });
    }

    /// Servers have kept the client's newest frame for so long before they answer.
    pub fn keep_for(&mut self, time: Duration) {
        self.echo = self.echo.map(|echo| Echo { age: short_micros(time), ..echo });
    }

    /// What a server says is lost.
    pub fn lose_one(&mut self) {
        self.packet = self.packet.next();
    }

    /// A frame arrives.
    pub fn deliver(&mut self, source: SocketAddr, frame: &Frame) {
        let mut bytes = Vec::new();
        wire::encode(&frame.header, &frame.message, &mut bytes);
        self.client.on_datagram(self.now, source, &bytes.into());
    }

    /// The server that was asked for a session opens this one.
    #[track_caller]
    pub fn open_session(&mut self, session: SessionId, window: u32) {
        let Sent { server, message: Message::OpenSession(OpenSession { nonce }) } = self.sent_one()
        else {
            panic!("no session was asked for")
        };
        let opened = SessionOpened { nonce, session, window, time: LogTime(1) };
        self.say(server, Message::SessionOpened(opened));
    }

    /// The server tells the outcome of an operation.
    pub fn settle(
        &mut self,
        server: usize,
        session: SessionId,
        sequence: Sequence,
        outcome: Outcome,
    ) {
        let settled = Settled { index: LogIndex(100 + sequence.0), outcome };
        self.say(server, Message::Reply(Reply { session, sequence, settled }));
    }

    /// The server does not take what this is about, and names that leader.
    pub fn decline(
        &mut self,
        server: usize,
        about: About,
        reason: DeclineReason,
        leader: Option<usize>,
    ) {
        let leader = leader.map(|leader| (id(leader), address(leader)));
        self.say(server, Message::Declined(Declined { about, reason, leader }));
    }

    /// The next event, which must be the end of an ask, if there is one.
    #[track_caller]
    pub fn end(&mut self) -> Option<(AskId, Answer)> {
        match self.client.poll_event()? {
            Event::Done(ask, answer) => Some((ask, answer)),
            Event::Bytes(..) => panic!("bytes of a read where it should have ended"),
        }
    }
}

pub fn config(servers: usize) -> ClientConfig {
    ClientConfig {
        cluster: ClusterHash::of("test"),
        servers: (0..servers).map(address).collect(),
        timeout: TIMEOUT,
        redundancy_max: REDUNDANCY_MAX,
        one_shot: false,
        outstanding_max: 64,
    }
}

pub fn address(server: usize) -> SocketAddr {
    let port = 9_000 + u16::try_from(server).expect("a few servers");
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn id(server: usize) -> ServerId {
    ServerId(u16::try_from(server + 1).expect("a few servers"))
}

/// The header of a frame to the client.
pub fn header(server: usize, packet: PacketNumber) -> Header {
    Header {
        cluster: ClusterHash::of("test"),
        genesis: GenesisHash::of(GenesisId(5)),
        sender: id(server),
        destination: ServerId::NONE,
        directory: DirectoryId(server as u64 + 1),
        incarnation: Incarnation(1),
        life: LifeId(1),
        packet,
        echo: None,
        loss: LossShare(0),
    }
}

pub fn put(value: &str) -> Operation {
    Operation::Put { key: Bytes::from_static(b"key"), value: Bytes::from(value.to_owned()) }
}
