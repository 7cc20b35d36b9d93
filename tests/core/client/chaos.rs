//! A client and an honest cluster on a network that loses, doubles and delays: what the
//! client is told of each operation is what became of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use proptest::prelude::*;
use quorate::client::{Answer, Ask, AskId, Client, ClientConfig, Event};
use quorate::configuration::SESSION_LIMIT;
use quorate::operation::{Operation, Outcome, Settled};
use quorate::time::{Instant, micros};
use quorate::types::{LogTime, PacketNumber, ServerId, SessionId};
use quorate::wire::{
    self, About, DeclineReason, Declined, Frame, Message, Reply, Request, SessionOpened,
};

use super::log::Log;
use super::stage::{address, config, header};

const SERVERS: usize = 3;

/// Servers that share one log, of which one leads at a time.
struct Cluster {
    log: Log,
    leader: Option<usize>,
    minted: u64,
}

impl Cluster {
    fn answer(&mut self, server: usize, message: Message) -> Option<Message> {
        match message {
            Message::OpenSession(open) => {
                self.minted += 1;
                let minted_at = self.log.end();
                let session = SessionId { minted_at, random: self.minted };
                let time = LogTime(0);
                let opened = SessionOpened { nonce: open.nonce, session, window: 8, time };
                Some(Message::SessionOpened(opened))
            }
            Message::Request(request) if self.leader == Some(server) => {
                let settled = self.log.take(&request);
                let Request { session, sequence, .. } = request;
                Some(Message::Reply(Reply { session, sequence, settled }))
            }
            Message::Request(request) => {
                let about = About::Request(request.session, request.sequence);
                let leader = self.leader.map(|leader| (ServerId(1), address(leader)));
                let reason = leader.map_or(DeclineReason::NoLeader, |_| DeclineReason::NotLeader);
                Some(Message::Declined(Declined { about, reason, leader }))
            }
            _ => None,
        }
    }
}

/// How bad things are.
#[derive(Clone, Debug)]
struct Weather {
    lost_percent: u8,
    doubled_percent: u8,
    /// One frame in ten takes up to this long, in milliseconds; the others up to 5.
    delay_max: u64,
    /// The chance, of 100, that a frame's arrival finds another leader, or none.
    unrest_percent: u8,
}

fn weather() -> impl Strategy<Value = Weather> {
    (0..60_u8, 0..30_u8, 6..8_000_u64, 0..30_u8).prop_map(
        |(lost_percent, doubled_percent, delay_max, unrest_percent)| Weather {
            lost_percent,
            doubled_percent,
            delay_max,
            unrest_percent,
        },
    )
}

enum Arrival {
    AtServer(usize, Message),
    AtClient(SocketAddr, Bytes),
}

struct World {
    now: Instant,
    random: fastrand::Rng,
    weather: Weather,
    client: Client,
    cluster: Cluster,
    arrivals: BTreeMap<(Instant, u64), Arrival>,
    packets: u64,
    answers: BTreeMap<AskId, (Instant, Answer)>,
}

impl World {
    fn new(weather: Weather, seed: u64) -> Self {
        let now = Instant(1);
        let leader = Some(0);
        let config = ClientConfig { outstanding_max: 4, ..config(SERVERS) };
        Self {
            now,
            random: fastrand::Rng::with_seed(seed),
            weather,
            client: Client::new(config, now, seed),
            cluster: Cluster { log: Log::with_sessions(SESSION_LIMIT), leader, minted: 0 },
            arrivals: BTreeMap::new(),
            packets: 0,
            answers: BTreeMap::new(),
        }
    }

    /// Asks for increments, each of a key of its own, until all are answered and the
    /// last frame has arrived. Returns when each was asked.
    fn run(&mut self, count: usize) -> BTreeMap<AskId, Instant> {
        let mut asked = BTreeMap::new();
        while asked.len() < count || self.client.outstanding() > 0 {
            if asked.len() < count && self.random.u8(0..4) == 0 {
                let key = key(AskId(asked.len() as u64 + 1));
                let ask = Ask::Execute(Operation::Increment { key, by: 1 });
                asked.insert(self.client.ask(self.now, ask), self.now);
            }
            self.step();
        }
        while !self.arrivals.is_empty() {
            self.step();
        }
        asked
    }

    /// Goes on to the next thing that happens.
    fn step(&mut self) {
        self.send();
        let arrival = self.arrivals.first_key_value().map(|((at, _), _)| *at);
        let next = [arrival, self.client.next_deadline()].into_iter().flatten().min();
        let Some(next) = next else { return };
        self.now = self.now.max(next);
        if arrival == Some(next) {
            self.arrive();
        }
        self.client.on_timeout(self.now);
        self.send();
        while let Some(event) = self.client.poll_event() {
            let Event::Done(ask, answer) = event else { panic!("nothing is read: {event:?}") };
            let earlier = self.answers.insert(ask, (self.now, answer));
            assert_eq!(earlier, None, "{ask:?} was answered twice");
        }
    }

    fn send(&mut self) {
        let mut bytes = Vec::new();
        while let Some(to) = self.client.poll_send(&mut bytes) {
            let frame = wire::decode(&bytes.clone().into()).expect("what a client sends");
            let server = usize::from(to.port() - 9_000);
            for _ in 0..self.copies() {
                self.post(Arrival::AtServer(server, frame.message.clone()));
            }
        }
    }

    fn copies(&mut self) -> usize {
        if self.random.u8(0..100) < self.weather.lost_percent {
            return 0;
        }
        1 + usize::from(self.random.u8(0..100) < self.weather.doubled_percent)
    }

    fn post(&mut self, arrival: Arrival) {
        let slow = self.random.u8(0..10) == 0;
        let delay = self.random.u64(100..if slow { 1_000 * self.weather.delay_max } else { 5_000 });
        self.packets += 1;
        self.arrivals.insert((Instant(self.now.0 + delay), self.packets), arrival);
    }

    fn arrive(&mut self) {
        let Some((_, arrival)) = self.arrivals.pop_first() else { return };
        match arrival {
            Arrival::AtClient(source, bytes) => {
                self.client.on_datagram(self.now, source, &bytes);
            }
            Arrival::AtServer(server, message) => {
                if self.random.u8(0..100) < self.weather.unrest_percent {
                    let leader = self.random.usize(..=SERVERS);
                    self.cluster.leader = (leader < SERVERS).then_some(leader);
                }
                if let Some(answer) = self.cluster.answer(server, message) {
                    self.post_answer(server, answer);
                }
            }
        }
    }

    fn post_answer(&mut self, server: usize, message: Message) {
        let frame = Frame { header: header(server, PacketNumber(self.packets)), message };
        let mut bytes = Vec::new();
        wire::encode(&frame.header, &frame.message, &mut bytes);
        for _ in 0..self.copies() {
            self.post(Arrival::AtClient(address(server), bytes.clone().into()));
        }
    }
}

fn key(ask: AskId) -> Bytes {
    format!("key {}", ask.0).into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_the_client_is_told_is_what_became_of_it(
        weather in weather(),
        count in 1..20_usize,
        seed in any::<u64>(),
    ) {
        let mut world = World::new(weather, seed);
        let asked = world.run(count);
        prop_assert_eq!(world.answers.len(), asked.len());
        let limit = micros(config(SERVERS).timeout);
        for (ask, (at, answer)) in &world.answers {
            prop_assert!(at.0 - asked[ask].0 <= limit, "{:?} took too long", ask);
            let found = world.cluster.log.committed().get(&key(*ask));
            let found = found.map(|(version, value)| (version, value.to_vec()));
            let done = found.is_some();
            if let Some((_, value)) = &found {
                prop_assert_eq!(&value[..], b"1", "{:?} took effect more than once", ask);
            }
            match answer {
                Answer::Settled(Settled { index, outcome }) => {
                    prop_assert_eq!(outcome, &Outcome::Incremented { total: 1 });
                    prop_assert_eq!(found.map(|(version, _)| version), Some(*index));
                }
                Answer::Refused(_) | Answer::NoAnswer(_) => prop_assert!(!done, "{:?}", answer),
                Answer::Unknown(_) => {}
                Answer::Read { .. } => prop_assert!(false, "nothing was read"),
            }
        }
    }
}

/// Two frames in ten are lost, and nobody has to hear of it.
#[test]
fn loss_alone_leaves_nothing_unsettled() {
    for seed in 0..50 {
        let weather =
            Weather { lost_percent: 20, doubled_percent: 10, delay_max: 100, unrest_percent: 0 };
        let mut world = World::new(weather, seed);
        let asked = world.run(20);
        for ask in asked.keys() {
            let (_, answer) = &world.answers[ask];
            assert!(matches!(answer, Answer::Settled(_)), "seed {seed}, {ask:?}: {answer:?}");
        }
    }
}
