//! Sessions that are closed when nothing more is to come in them.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::client::{Answer, ClientConfig};
use quorate::codec::Reader;
use quorate::configuration::Configuration;
use quorate::entry::{Entry, EntryKind};
use quorate::operation::{Command, LoggedRequest, Operation, Outcome};
use quorate::store::Store;
use quorate::types::{
    DirectoryId, GenesisId, LogIndex, LogTime, Sequence, ServerId, SessionId, Term,
};
use quorate::wire::{Message, Request};

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

/// A store that executes what clients send.
struct Log(Store);

impl Log {
    /// One that keeps so many sessions.
    fn of(session_limit: u32) -> Self {
        let members = BTreeMap::from([(ServerId(1), DirectoryId(1))]);
        let born = Configuration::at_genesis(GenesisId(1), members);
        Self(Store::at_genesis(Configuration { session_limit, ..born }))
    }

    fn end(&self) -> LogIndex {
        self.0.committed().index()
    }

    fn take(&mut self, request: &Request) -> Outcome {
        let mut bytes = Reader::new(request.bytes.clone());
        let command = if request.settle {
            Command::Settle
        } else {
            Command::Execute(Operation::decode(&mut bytes).expect("what a client sends"))
        };
        let logged = LoggedRequest {
            session: request.session,
            sequence: request.sequence,
            floor: request.floor,
            not_after: request.not_after,
            one_shot: request.one_shot,
            digest: request.digest,
            command,
        };
        let index = self.end().next();
        let payload = logged.encode().into();
        let entry = Entry::chained(0, index, Term(1), LogTime(1), EntryKind::Request, payload);
        let settled = self.0.execute(&entry, Some(&logged)).expect("it is a request");
        self.0.commit_to(index);
        settled.outcome
    }

    /// Takes what the client has sent, and answers.
    fn serve(&mut self, stage: &mut Stage) -> Vec<Request> {
        let sent = stage.sent().into_iter().map(|Sent { server: _, message }| message);
        let mut taken = Vec::new();
        for message in sent {
            let Message::Request(request) = message else { panic!("not a request: {message:?}") };
            let outcome = self.take(&request);
            stage.settle(0, request.session, request.sequence, outcome);
            taken.push(request);
        }
        taken
    }
}

/// Whatever closes no session stays until it is the one that was not used for longest: a table
/// full of such has no room for two commands at once.
#[test]
fn commands_with_one_operation_find_room_among_sessions_that_were_closed() {
    let mut log = Log::of(4);
    for random in 0..4 {
        let session = SessionId { minted_at: log.end(), random };
        let mut load = Stage::new(1);
        load.execute(put("first"));
        load.open_session(session, 1_024);
        log.serve(&mut load);
        load.execute(put("second"));
        log.serve(&mut load);
        load.client.close(load.now);
        log.serve(&mut load);
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
        commands.iter_mut().flat_map(|command| log.serve(command)).collect();
    let again: Vec<Outcome> = requests.iter().map(|request| log.take(request)).collect();
    assert_eq!(again, [Outcome::Written, Outcome::Written, Outcome::Written]);
}
