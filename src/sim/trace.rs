//! The last events of a run, for when it fails.

use std::collections::VecDeque;

use super::network::Endpoint;
use crate::time::Instant;
use crate::wire::Kind;

/// How many events are remembered.
const LENGTH: usize = 60;

/// The last events, oldest first. They are written out only when asked for.
#[derive(Debug, Default)]
pub struct Trace {
    events: VecDeque<(Instant, Event)>,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A frame of this kind went from one to the other.
    Frame(Kind, Endpoint, Endpoint),
    /// Something happened to a node.
    Node(usize, &'static str),
    /// A node said that it leads in a term.
    Leads(usize, u64),
}

impl Trace {
    /// Remembers the event.
    pub fn add(&mut self, now: Instant, event: Event) {
        if self.events.len() == LENGTH {
            self.events.pop_front();
        }
        self.events.push_back((now, event));
    }

    /// The events, a line each.
    pub fn lines(&self) -> Vec<String> {
        self.events
            .iter()
            .map(|(at, event)| format!("{:>12.6} s  {}", seconds(*at), event.show()))
            .collect()
    }
}

#[allow(clippy::cast_precision_loss, reason = "a time for people to read")]
fn seconds(at: Instant) -> f64 {
    at.0 as f64 / 1e6
}

impl Event {
    fn show(&self) -> String {
        match self {
            Self::Frame(kind, from, to) => {
                format!("{kind:?} from {} to {}", show(*from), show(*to))
            }
            Self::Node(place, what) => format!("node {}: {what}", place + 1),
            Self::Leads(place, term) => format!("node {} leads in term {term}", place + 1),
        }
    }
}

fn show(endpoint: Endpoint) -> String {
    match endpoint {
        Endpoint::Node(place) => format!("node {}", place + 1),
        Endpoint::Client(number) => format!("client {number}"),
    }
}
