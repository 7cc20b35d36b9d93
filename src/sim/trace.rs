//! The last events of a run, for when it fails.

use std::collections::VecDeque;

use super::network::Endpoint;
use crate::time::Instant;
use crate::wire::Kind;

/// How many events are remembered.
const LENGTH: usize = 60;

/// The last events, or all of them, oldest first. They are written out only when asked for.
#[derive(Debug)]
pub struct Trace {
    events: VecDeque<(Instant, Event)>,
    is_whole: bool,
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
    /// One that remembers everything, or else the last.
    pub fn new(is_whole: bool) -> Self {
        Self { events: VecDeque::new(), is_whole }
    }

    /// Remembers the event.
    pub fn add(&mut self, now: Instant, event: Event) {
        if self.events.len() == LENGTH && !self.is_whole {
            self.events.pop_front();
        }
        self.events.push_back((now, event));
    }

    /// The events, a line each. A whole trace tells also what the clients saw.
    pub fn lines(&self, seen: impl FnOnce() -> Vec<(Instant, String)>) -> Vec<String> {
        let shown = self.events.iter().map(|(at, event)| (*at, event.show()));
        let mut lines: Vec<(Instant, String)> = shown.collect();
        if self.is_whole {
            lines.extend(seen());
            lines.sort_by_key(|(at, _)| *at);
        }
        lines.iter().map(|(at, line)| format!("{:>12.6} s  {line}", seconds(*at))).collect()
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
