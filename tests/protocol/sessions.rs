//! Sessions: nobody's can end those of others.

use std::time::Duration;

use quorate::configuration::Configuration;
use quorate::entry::Entry;
use quorate::operation::Outcome;
use quorate::types::{LogIndex, SessionId, Term};
use quorate::wire::{DeclineReason, Heartbeat, Message, OpenSession, Request, SessionOpened};

use super::leader::{heartbeat_that_commits, noop_after, replicate};
use super::members::{SECOND, configuration};
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
        open(probe).expect("a session is opened").time.0
    };
    let before = time(&mut probe);
    probe.pass(Duration::from_millis(30));
    assert_eq!(time(&mut probe), before + 30_000);
}

/// Its sessions would be taken for ones that were evicted, and nobody could tell their clients
/// whether what they asked for was done.
#[test]
fn a_node_that_may_be_behind_mints_no_session() {
    let mut probe = Probe::born(3);
    let genesis = Entry::genesis(probe.state().configuration());
    let entry = noop_after(&genesis, Term(1));
    assert_eq!(open(&mut probe), Err(DeclineReason::NoLeader), "it has heard no leader");
    probe.hear(SECOND, tells(LogIndex(2), None));
    probe.sync();
    probe.hear(SECOND, tells(LogIndex(2), Some(1_000)));
    assert_eq!(open(&mut probe), Err(DeclineReason::NoLeader), "it lacks what is committed");
    probe.hear(SECOND, replicate(Term(1), &genesis, &entry, LogIndex(2)));
    probe.hear(SECOND, tells(LogIndex(2), Some(1_000)));
    let minted_at = open(&mut probe).map(|opened| opened.session.minted_at);
    assert_eq!(minted_at, Ok(LogIndex(2)));
}

#[test]
fn a_node_that_has_lost_touch_mints_no_session() {
    let mut probe = Probe::born(3);
    for age in [None, Some(500_000)] {
        probe.hear(SECOND, tells(LogIndex(1), age));
        probe.sync();
    }
    probe.pass(Duration::from_millis(1_500));
    assert!(open(&mut probe).is_ok());
    probe.pass(Duration::from_millis(1));
    assert_eq!(open(&mut probe), Err(DeclineReason::NoLeader));
}

/// Its clients lose no time by an election: they are served with its first commit.
#[test]
fn a_leader_mints_sessions_from_its_first_commit_on() {
    let mut probe = Probe::leading(3);
    assert_eq!(open(&mut probe), Err(DeclineReason::NoLeader));
    probe.hear(SECOND, Message::Acknowledge(probe.acknowledgment(LogIndex(1))));
    assert_eq!(open(&mut probe), Err(DeclineReason::NoLeader), "nothing of its term is committed");
    probe.acknowledge(SECOND, LogIndex(2));
    probe.sync();
    assert!(open(&mut probe).is_ok());
    assert!(open(&mut Probe::serving(1)).is_ok());
    probe.pass(Duration::from_secs(3));
    assert_eq!(open(&mut probe), Err(DeclineReason::NoLeader), "it has heard nobody since");
}

/// What the leader says: what is committed, and since when at least it leads.
fn tells(commit: LogIndex, confirmed_age: Option<u32>) -> Message {
    let Message::Heartbeat(beat) = heartbeat_that_commits(Term(1), commit) else {
        unreachable!("it is one")
    };
    Message::Heartbeat(Heartbeat { confirmed_age, ..beat })
}

/// Asks for a session.
#[track_caller]
fn open(probe: &mut Probe) -> Result<SessionOpened, DeclineReason> {
    probe.ask(1, Message::OpenSession(OpenSession { nonce: 1 }));
    let said = probe.sync();
    let answer = said.iter().find_map(|sent| match &sent.message {
        Message::SessionOpened(opened) => Some(Ok(*opened)),
        Message::Declined(declined) => Some(Err(declined.reason)),
        _ => None,
    });
    answer.unwrap_or_else(|| panic!("no answer: {said:?}"))
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
