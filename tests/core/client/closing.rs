//! Sessions that are closed when nothing more is to come in them.

use std::ops::Range;
use std::time::Duration;

use quorate::client::{Answer, ClientConfig};
use quorate::operation::Outcome;
use quorate::types::{Sequence, SessionId};
use quorate::wire::{Message, Request};

use super::log::Log;
use super::stage::{SESSION, Sent, Stage, config, put};

#[test]
fn the_sequence_after_the_last_is_settled_and_said_to_be_the_last() {
    let mut stage = Stage::with_session(config(1));
    stage.client.close(stage.now);
    let (_, request) = stage.sent_request();
    let last = Sequence(2);
    assert_eq!((request.session, request.sequence, request.floor), (SESSION, last, last));
    assert!(request.settle && request.one_shot && request.bytes.is_empty(), "{request:?}");
    stage.settle(0, SESSION, last, Outcome::Forbidden);
    assert_eq!((stage.client.outstanding(), stage.client.next_deadline()), (0, None));
}

#[test]
fn where_no_session_was_opened_none_is_closed() {
    let mut stage = Stage::new(1);
    stage.client.close(stage.now);
    assert_eq!((stage.sent(), stage.client.outstanding()), (Vec::new(), 0));
    stage.execute(put("value"));
    stage.sent();
    stage.client.close(stage.now);
    assert_eq!((stage.sent(), stage.client.next_deadline()), (Vec::new(), None));
}

#[test]
fn what_is_under_way_is_given_up() {
    let mut stage = Stage::with_session(config(1));
    let ask = stage.execute(put("value"));
    let (_, request) = stage.sent_request();
    stage.client.close(stage.now);
    assert!(matches!(stage.end(), Some((ended, Answer::Unknown(_))) if ended == ask));
    for sent in stage.wait_to_the_end() {
        let Message::Request(later) = sent.message else { panic!("not a request: {sent:?}") };
        assert!(later.settle && later.floor > request.sequence, "{later:?}");
    }
}

#[test]
fn an_answer_is_waited_for_only_shortly() {
    let mut stage = Stage::with_session(config(2));
    let began = stage.now;
    stage.client.close(stage.now);
    let sent = stage.wait_to_the_end();
    assert!(sent.len() > 1, "{sent:?}");
    assert!(stage.now.since(began) <= Duration::from_millis(500), "{:?}", stage.now);
}

/// Takes what the client has sent, and answers.
fn serve(log: &mut Log, stage: &mut Stage) -> Vec<Request> {
    let sent = stage.sent().into_iter().map(|Sent { server: _, message }| message);
    let mut taken = Vec::new();
    for message in sent {
        let Message::Request(request) = message else { panic!("not a request: {message:?}") };
        let outcome = log.take(&request).outcome;
        stage.settle(0, request.session, request.sequence, outcome);
        taken.push(request);
    }
    taken
}

/// Whatever closes no session stays until it is the one that was not used for longest: a table
/// full of such has no room for two commands at once.
#[test]
fn commands_with_one_operation_find_room_among_sessions_that_were_closed() {
    let mut log = Log::with_sessions(4);
    for random in 0..4 {
        let session = SessionId { minted_at: log.end(), random };
        let mut load = Stage::new(1);
        load.execute(put("first"));
        load.open_session(session, 1_024);
        serve(&mut log, &mut load);
        load.execute(put("second"));
        serve(&mut log, &mut load);
        load.client.close(load.now);
        serve(&mut log, &mut load);
        assert_eq!(load.client.outstanding(), 0);
    }
    assert_eq!(run_at_once(&mut log, 7..10), vec![Outcome::Written; 3]);
}

/// Clients that are killed close no session, so these fill the table in time.
#[test]
fn commands_with_one_operation_find_room_among_sessions_that_never_were_closed() {
    let mut log = Log::with_sessions(64);
    for random in 0..64 {
        let mut killed = Stage::new(1);
        killed.execute(put("first"));
        killed.open_session(SessionId { minted_at: log.end(), random }, 1_024);
        serve(&mut log, &mut killed);
    }
    for first in [100, 200, 300] {
        assert_eq!(run_at_once(&mut log, first..first + 8), vec![Outcome::Written; 8]);
    }
}

/// What comes of commands with one operation that open their sessions at the same time, each
/// asked for twice.
fn run_at_once(log: &mut Log, randoms: Range<u64>) -> Vec<Outcome> {
    let minted_at = log.end();
    let mut requests = Vec::new();
    for random in randoms {
        let mut command = Stage::with(ClientConfig { one_shot: true, ..config(1) });
        command.execute(put("only"));
        command.open_session(SessionId { minted_at, random }, 1_024);
        requests.extend(serve(log, &mut command));
    }
    requests.iter().map(|request| log.take(request).outcome).collect()
}
