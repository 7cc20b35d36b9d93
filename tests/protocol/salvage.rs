//! What `quorate rescue` makes a new cluster of.

use quorate::disk::{GenesisState, Recovered};
use quorate::entry::{Entry, EntryKind};
use quorate::operation::{Command, LoggedRequest};
use quorate::replica::last_state;
use quorate::types::{Digest, LogIndex, LogTime, Sequence, Term};

use super::leader::noop_after;
use super::members::{FIRST, configuration};
use super::probe::blank;
use super::request::{put, session};

/// docs/guarantees.md: "Entries that are not known to be committed count, for they may have
/// been acknowledged".
#[test]
fn the_whole_log_is_saved_however_little_is_known_to_be_committed() {
    let genesis = Entry::genesis(&configuration(3));
    let noop = noop_after(&genesis, Term(1));
    let request = LoggedRequest {
        session: session(1),
        sequence: Sequence(1),
        floor: Sequence(1),
        not_after: LogTime(0),
        one_shot: false,
        digest: Digest(0),
        command: Command::Execute(put("key", "value")),
    };
    let (index, kind) = (LogIndex(3), EntryKind::Request);
    let put = Entry::chained(noop.chain, index, Term(2), LogTime(1), kind, request.encode().into());
    let recovered = Recovered {
        genesis: GenesisState::Complete(configuration(3)),
        commit: LogIndex(1),
        entries: vec![genesis, noop, put.clone()],
        ..blank(FIRST)
    };
    let saved = last_state(&recovered).expect("it belongs to a cluster");
    assert_eq!((saved.index(), saved.term(), saved.chain()), (index, Term(2), put.chain));
    let value = saved.state().get(b"key").map(|(_, value)| value);
    assert_eq!(value.as_deref(), Some(&b"value"[..]));
    assert_eq!(last_state(&blank(FIRST)), None, "this one belongs to none");
}
