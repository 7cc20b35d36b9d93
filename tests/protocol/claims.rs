//! Who takes all that it can get of what a node holds for clients leaves as much to others.

use std::time::Duration;

use quorate::access::{Access, Holder, Rights};
use quorate::types::Sequence;
use quorate::wire::{Message, Page, Read, ReadId, Request};

use super::probe::Probe;
use super::request::{get, pieces, put, request, session};
use super::said::{is_busy, pages, replies};

/// Half of what there is for all: the bounds, in answers, in pages and in clients, and in
/// operations of 1 MiB.
const PINS_OF_ONE: u32 = 32;
const PAGES_OF_ONE_IN_A_TURN: usize = 256;
const CLIENTS_OF_ONE: u32 = 32_768;
const LONG_OPERATIONS_OF_ONE: u32 = 32;

/// A node that has much to do for one, who is at many places or has many ports, and for another.
struct Crowded {
    probe: Probe,
    is_sealed: bool,
}

impl Crowded {
    /// Nodes that know their clients by keys, and by addresses.
    fn both(probe: impl Fn() -> Probe) -> [Self; 2] {
        [true, false].map(|is_sealed| {
            let mut probe = probe();
            if is_sealed {
                let client = |write| {
                    let prefix = "low/".into();
                    Holder::Client(format!("writes: {write}"), Rights { write, prefix })
                };
                probe.set_access(Access::of([(1, client(true)), (2, client(true))]));
            }
            Self { probe, is_sealed }
        })
    }

    /// The one asks, from so many places.
    fn greedy(&mut self, place: u32, message: &Message) {
        if self.is_sealed {
            self.probe.ask_by_key(place, 1, message);
        } else {
            self.probe.ask(place << 24 | 1, message.clone());
        }
    }

    fn other(&mut self, message: &Message) {
        self.probe.ask_by_key(1_000_000, if self.is_sealed { 2 } else { 0 }, message);
    }

    /// The other writes a value of five pages.
    fn write_long_value(&mut self) {
        let mut said = Vec::new();
        for piece in pieces(session(u64::MAX), &put("low/key", vec![7; 5_000])) {
            self.other(&Message::Request(piece));
            said.extend(self.probe.sync());
        }
        assert_eq!(replies(&said).len(), 1, "{said:?}");
    }

    /// How often the one asks until the node has no more room for it.
    fn room_for(&mut self, message: impl Fn(u32) -> (u32, Message)) -> u32 {
        for number in 0.. {
            let (place, message) = message(number);
            self.greedy(place, &message);
            if is_busy(&self.probe.turn()) {
                return number;
            }
        }
        unreachable!("something is bounded")
    }
}

fn read(number: u32, count: u16) -> Message {
    let read = ReadId { client: 5, number: number.into() };
    Message::Read(Read { read, count, stale: true, ..get("low/key") })
}

#[test]
fn pinned_answers() {
    for mut node in Crowded::both(|| Probe::serving(1)) {
        node.write_long_value();
        let held = node.room_for(|number| (number % 200, read(number, 1)));
        assert_eq!(held, PINS_OF_ONE, "sealed: {}", node.is_sealed);
        node.other(&read(1_000_000, 64));
        assert_eq!(pages(&node.probe.turn()).len(), 5);
    }
}

/// Nor does one that has its share take the places of others whose answers were sent in whole.
#[test]
fn who_has_pinned_answers_makes_room_among_them() {
    for mut node in Crowded::both(|| Probe::serving(1)) {
        node.write_long_value();
        node.other(&read(1_000_000, 64));
        let pin = pages(&node.probe.turn())[0].pin;
        assert_eq!(node.room_for(|number| (number % 200, read(number, 1))), PINS_OF_ONE);
        node.probe.pass(Duration::from_secs(3));
        node.greedy(1, &read(2_000_000, 1));
        assert!(is_busy(&node.probe.turn()));
        let Message::Read(further) = read(1_000_000, 1) else { unreachable!("it is one") };
        node.other(&Message::Read(Read { pin, page: 4, ..further }));
        assert_eq!(pages(&node.probe.turn()).len(), 1);
    }
}

#[test]
fn pages_of_a_turn() {
    for mut node in Crowded::both(|| Probe::serving(1)) {
        node.write_long_value();
        for number in 0..1_000 {
            node.greedy(number % 200, &read(1, 64));
        }
        node.other(&read(1_000_000, 64));
        let said = node.probe.turn();
        let of_one = |page: &&&Page| page.read.number == 1;
        assert_eq!(pages(&said).iter().filter(of_one).count(), PAGES_OF_ONE_IN_A_TURN);
        assert_eq!(pages(&said).len(), PAGES_OF_ONE_IN_A_TURN + 5);
    }
}

#[test]
fn operations_in_pieces() {
    for mut node in Crowded::both(|| Probe::serving(1)) {
        let long = pieces(session(1), &put("low/key", vec![7; 1 << 20])).remove(0);
        let begun = node.room_for(|number| {
            let session = session(number.into());
            (number % 200, Message::Request(Request { session, ..long.clone() }))
        });
        assert_eq!(begun, LONG_OPERATIONS_OF_ONE, "sealed: {}", node.is_sealed);
        node.write_long_value();
    }
}

/// The disk stands still.
#[test]
fn requests_that_wait() {
    for mut node in Crowded::both(|| Probe::serving(1)) {
        let request = request(session(1), &put("low/key", ""));
        let waiting = node.room_for(|number| {
            let sequence = Sequence(u64::from(number / 200) + 1);
            (number % 200, Message::Request(Request { sequence, ..request.clone() }))
        });
        assert_eq!(waiting, CLIENTS_OF_ONE, "sealed: {}", node.is_sealed);
        node.other(&Message::Request(request));
        assert!(!is_busy(&node.probe.turn()));
    }
}

/// The followers are silent.
#[test]
fn reads_that_wait() {
    for mut node in Crowded::both(|| Probe::serving(3)) {
        let waits = |number| {
            let read = ReadId { client: 5, number: u64::from(number) };
            Message::Read(Read { read, ..get("low/key") })
        };
        let waiting = node.room_for(|number| (number % 200, waits(number)));
        assert_eq!(waiting, CLIENTS_OF_ONE, "sealed: {}", node.is_sealed);
        node.other(&waits(1_000_000));
        assert!(!is_busy(&node.probe.turn()));
    }
}
