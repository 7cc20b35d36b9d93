//! The log of an honest cluster, which executes what clients send.

use quorate::codec::Reader;
use quorate::configuration::Configuration;
use quorate::entry::{Entry, EntryKind};
use quorate::operation::{Command, LoggedRequest, Operation, Settled};
use quorate::store::{State, Store};
use quorate::types::{LogIndex, LogTime, Term};
use quorate::wire::Request;

/// A log of which all is committed, executed.
pub struct Log(Store);

impl Log {
    /// One that keeps so many sessions.
    pub fn with_sessions(session_limit: u32) -> Self {
        Self(Store::at_genesis(Configuration { session_limit, ..Configuration::unborn() }))
    }

    pub fn end(&self) -> LogIndex {
        self.0.committed().index()
    }

    pub fn committed(&self) -> &State {
        self.0.committed()
    }

    pub fn take(&mut self, request: &Request) -> Settled {
        let logged = logged(request);
        let index = self.end().next();
        let payload = logged.encode().into();
        let entry = Entry::chained(0, index, Term(1), LogTime(1), EntryKind::Request, payload);
        let settled = self.0.execute(&entry, Some(&logged)).expect("it is a request");
        self.0.commit_to(index);
        settled
    }
}

/// The request as a leader appends it.
fn logged(request: &Request) -> LoggedRequest {
    let command = if request.settle {
        Command::Settle
    } else {
        let mut bytes = Reader::new(request.bytes.clone());
        Command::Execute(Operation::decode(&mut bytes).expect("what a client sends"))
    };
    LoggedRequest {
        session: request.session,
        sequence: request.sequence,
        floor: request.floor,
        not_after: request.not_after,
        one_shot: request.one_shot,
        digest: request.digest,
        command,
    }
}
