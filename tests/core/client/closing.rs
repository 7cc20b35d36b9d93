//! Sessions that are closed when nothing more is to come in them.

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
    let minted_at = log.end();
    let one_shot = |random| {
        let mut stage = Stage::with(ClientConfig { one_shot: true, ..config(1) });
        stage.execute(put("only"));
        stage.open_session(SessionId { minted_at, random }, 1_024);
        stage
    };
    let mut commands = [7, 8, 9].map(one_shot);
    let requests: Vec<Request> =
        commands.iter_mut().flat_map(|command| serve(&mut log, command)).collect();
    let again: Vec<Outcome> = requests.iter().map(|request| log.take(request).outcome).collect();
    assert_eq!(again, [Outcome::Written, Outcome::Written, Outcome::Written]);
}
