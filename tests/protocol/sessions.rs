//! Sessions: nobody's can end those of others.

use std::time::Duration;

use quorate::configuration::Configuration;
use quorate::operation::Outcome;
use quorate::types::{LogIndex, SessionId};
use quorate::wire::{Message, OpenSession, Request};

use super::members::configuration;
use super::probe::Probe;
use super::request::{put, request};
use super::said::replies;

/// How many sessions the table of these tests keeps.
const SESSIONS: u32 = 8;

#[test]
fn a_session_from_the_future_does_not_end_the_others() {
    let mut probe = few_sessions();
    let forged = SessionId { minted_at: LogIndex(u64::MAX), random: 1 };
    assert_eq!(write(&mut probe, forged), Outcome::Forgotten);
    for random in 0..3 * u64::from(SESSIONS) {
        let minted_at = probe.state().commit;
        assert_eq!(write(&mut probe, SessionId { minted_at, random }), Outcome::Written);
    }
}

#[test]
fn a_session_that_may_have_been_evicted_is_forgotten() {
    let mut probe = few_sessions();
    let first = SessionId { minted_at: probe.state().commit, random: 1 };
    assert_eq!(write(&mut probe, first), Outcome::Written);
    for random in 0..u64::from(SESSIONS) {
        let minted_at = probe.state().commit;
        assert_eq!(write(&mut probe, SessionId { minted_at, random }), Outcome::Written);
    }
    assert_eq!(write(&mut probe, first), Outcome::Forgotten);
    assert_eq!(write(&mut probe, SessionId { random: 2, ..first }), Outcome::Forgotten);
}

/// Requests name the time after which they are not to be executed.
#[test]
fn the_time_of_the_cluster_goes_on() {
    let mut probe = Probe::serving(1);
    let time = |probe: &mut Probe| {
        let session = SessionId { minted_at: probe.state().commit, random: probe.now.0 };
        assert_eq!(write(probe, session), Outcome::Written);
        probe.ask(1, Message::OpenSession(OpenSession { nonce: 1 }));
        let opened = probe.sync().into_iter().find_map(|sent| match sent.message {
            Message::SessionOpened(opened) => Some(opened.time.0),
            _ => None,
        });
        opened.expect("a session is opened")
    };
    let before = time(&mut probe);
    probe.pass(Duration::from_millis(30));
    assert_eq!(time(&mut probe), before + 30_000);
}

/// A cluster of one that keeps few sessions.
fn few_sessions() -> Probe {
    let configuration = Configuration { session_limit: SESSIONS, ..configuration(1) };
    let mut probe = Probe::born_with(configuration);
    probe.elect();
    probe
}

/// The session's only operation. Returns what comes of it.
#[track_caller]
fn write(probe: &mut Probe, session: SessionId) -> Outcome {
    let request = Request { one_shot: true, ..request(session, &put("key", "value")) };
    probe.ask(1, Message::Request(request));
    let said = probe.sync();
    let [settled] = replies(&said)[..] else { panic!("{said:?}") };
    settled.outcome.clone()
}
