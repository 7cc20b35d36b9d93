//! Who has no right to something gets it nowhere: of no node, by no kind of request, not in
//! pieces, and not late.

use quorate::access::{Access, Denial, Holder, Rights};
use quorate::operation::Operation;
use quorate::types::{LogIndex, ServerId};
use quorate::wire::{
    DeclineReason, DenialCounts, KeyRequest, KeyStanding, MemberChange, MemberRequest, Message,
    OpenSession, Query, Read, Request, StatusRequest, TrafficRequest,
};

use super::client;
use super::members::{SECOND, THIRD, address_of};
use super::probe::Probe;
use super::request::{
    compare_in_vain, delete, get, increment, list, pieces, put, request, session,
};
use super::said::{Sent, pages, replies};

/// The key of nodes, and those of three clients; nobody holds the last.
const NODES: u16 = 1;
const READER: u16 = 2;
const WRITER: u16 = 3;
const OF_APP: u16 = 4;
const NOBODY: u16 = 9;

fn access() -> Access {
    let client = |write, prefix: &str| {
        Holder::Client("a client".into(), Rights { write, prefix: prefix.into() })
    };
    Access::of([
        (NODES, Holder::Node),
        (READER, client(false, "")),
        (WRITER, client(true, "")),
        (OF_APP, client(true, "app/")),
    ])
}

/// A node that knows these clients.
fn with_rights(mut probe: Probe) -> Probe {
    probe.set_access(access());
    probe
}

/// Why the last request was denied, if it was.
fn denial(said: &[Sent]) -> Option<Denial> {
    match said.last().map(|sent| &sent.message) {
        Some(Message::Declined(declined)) => match declined.reason {
            DeclineReason::Denied(denial) => Some(denial),
            _ => None,
        },
        _ => None,
    }
}

/// What came of a request of who holds the key; each one comes from a client of its own.
fn ask(probe: &mut Probe, key: u16, message: &Message) -> Result<(), Denial> {
    probe.ask_by_key(key.into(), key, message);
    denial(&probe.sync()).map_or(Ok(()), Err)
}

fn operations(key: &str) -> [Operation; 4] {
    [put(key, "v"), delete(key), compare_in_vain(key), increment(key)]
}

/// The request of a session of its own, so that no other one answers it.
fn fresh(number: &mut u64, operation: &Operation) -> Request {
    *number += 1;
    request(session(*number), operation)
}

#[test]
fn a_leader_appends_only_what_the_asker_may_write() {
    let mut probe = with_rights(Probe::serving(1));
    let mut number = 0;
    let cases = [
        (NODES, "other", Ok(())),
        (READER, "app/x", Err(Denial::ReadOnly)),
        (WRITER, "other", Ok(())),
        (OF_APP, "app/x", Ok(())),
        (OF_APP, "app", Err(Denial::OtherKeys)),
        (OF_APP, "other", Err(Denial::OtherKeys)),
        (NOBODY, "app/x", Err(Denial::OtherKeys)),
    ];
    for (key, of, expected) in cases {
        for operation in operations(of) {
            let before = probe.state().log.last_index();
            let message = Message::Request(fresh(&mut number, &operation));
            assert_eq!(ask(&mut probe, key, &message), expected, "{key}: {operation:?}");
            let appended = probe.state().log.last_index().0 - before.0;
            assert_eq!(appended, u64::from(expected.is_ok()), "{key}: {operation:?}");
        }
    }
}

#[test]
fn a_long_operation_is_denied_when_all_of_it_is_known() {
    let mut probe = with_rights(Probe::serving(1));
    let before = probe.state().log.last_index();
    let long = pieces(session(1), &put("other", vec![b'x'; 3_000]));
    for piece in &long[..long.len() - 1] {
        assert_eq!(ask(&mut probe, OF_APP, &Message::Request(piece.clone())), Ok(()));
    }
    let last = Message::Request(long[long.len() - 1].clone());
    assert_eq!(ask(&mut probe, OF_APP, &last), Err(Denial::OtherKeys));
    // Who may write nothing is told before its pieces take up room.
    let first = Message::Request(long[0].clone());
    assert_eq!(ask(&mut probe, READER, &first), Err(Denial::ReadOnly));
    assert_eq!(probe.state().log.last_index(), before);
}

#[test]
fn to_settle_is_to_write() {
    let mut probe = with_rights(Probe::serving(1));
    let settle = |number| {
        let request = request(session(number), &put("app/x", "v"));
        Message::Request(Request { settle: true, length: 0, bytes: "".into(), ..request })
    };
    assert_eq!(ask(&mut probe, READER, &settle(1)), Err(Denial::ReadOnly));
    assert_eq!(ask(&mut probe, OF_APP, &settle(1)), Ok(()));
    assert_eq!(ask(&mut probe, OF_APP, &settle(2)), Ok(()));
}

/// A list must not begin before the keys that its asker may read, nor a get lie beside them.
#[test]
fn reads_stay_within_the_prefix_whoever_is_asked() {
    let leader = with_rights(Probe::serving(1));
    let follower = with_rights(Probe::born(3));
    for mut probe in [leader, follower] {
        let mut number = 0;
        let mut ask_for = |key, query: &Query, stale| {
            number += 1;
            let mut read = Read { query: query.clone(), stale, ..get("") };
            read.read.number = number;
            ask(&mut probe, key, &Message::Read(read))
        };
        for stale in [false, true] {
            for query in [get("app/x").query, list("app/").query, list("app/x").query] {
                for key in [NODES, READER, WRITER, OF_APP] {
                    assert_eq!(ask_for(key, &query, stale), Ok(()), "{key}: {query:?}");
                }
            }
            for query in [get("app").query, list("").query, list("app").query, list("b").query] {
                for key in [NODES, READER, WRITER] {
                    assert_eq!(ask_for(key, &query, stale), Ok(()), "{key}: {query:?}");
                }
                let denied = Err(Denial::OtherKeys);
                assert_eq!(ask_for(OF_APP, &query, stale), denied, "{query:?}");
                assert_eq!(ask_for(NOBODY, &query, stale), denied, "{query:?}");
            }
        }
    }
}

/// Whoever knows the numbers of a read still does not get the pages of somebody else.
#[test]
fn nobody_goes_on_with_the_answer_of_another() {
    let mut probe = with_rights(Probe::serving(1));
    let mut all = Vec::new();
    for piece in pieces(session(1), &put("secret", vec![b's'; 3_000])) {
        probe.ask_by_key(1, WRITER, &Message::Request(piece));
        all.extend(probe.sync());
    }
    assert_eq!(replies(&all).len(), 1);
    let first = Read { count: 1, ..get("secret") };
    probe.ask_by_key(1, WRITER, &Message::Read(first.clone()));
    let said = probe.sync();
    let pin = pages(&said)[0].pin;
    assert_ne!(pin, 0);
    let further = Read { pin, page: 1, query: get("app/x").query, ..first.clone() };
    let begun = Read { query: get("app/x").query, ..first };
    for read in [further.clone(), begun] {
        probe.ask_by_key(2, OF_APP, &Message::Read(read));
        assert_eq!(pages(&probe.sync()), Vec::<&_>::new());
    }
    probe.ask_by_key(1, WRITER, &Message::Read(further));
    assert_eq!(pages(&probe.sync()).len(), 1);
}

/// A read waits until the leader is known to lead. A key that is taken back meanwhile gets no
/// answer, even if it is somebody else's by then.
#[test]
fn a_read_is_checked_again_when_it_is_answered() {
    let mut probe = with_rights(Probe::serving(3));
    probe.ask_by_key(1, READER, &Message::Read(get("app/x")));
    probe.turn();
    probe.set_access(Access::of([(NODES, Holder::Node)]));
    probe.acknowledge(SECOND, LogIndex(2));
    let said = probe.turn();
    assert_eq!(pages(&said), Vec::<&_>::new());
    let answer = said.iter().find(|sent| sent.to == client::address(1));
    assert_eq!(
        denial(answer.map(std::slice::from_ref).unwrap_or_default()),
        Some(Denial::OtherKeys)
    );
}

#[test]
fn members_are_changed_by_who_holds_a_key_of_nodes() {
    let mut probe = with_rights(Probe::serving(1));
    let add = MemberChange::Add { node: ServerId(4), address: address_of(ServerId(4)) };
    let remove = MemberChange::Remove { node: ServerId(4) };
    for (change, is_for_all) in [(MemberChange::None, true), (remove, false), (add, false)] {
        for key in [READER, WRITER, OF_APP, NOBODY, NODES] {
            let may = is_for_all || key == NODES;
            let seen = probe.state().configuration_index();
            let asked = Message::MemberRequest(MemberRequest { nonce: key.into(), seen, change });
            let expected = if may { Ok(()) } else { Err(Denial::ClientsKey) };
            assert_eq!(ask(&mut probe, key, &asked), expected, "{key}: {change:?}");
        }
    }
    assert!(probe.state().configuration().lists(ServerId(4)));
}

/// They show nothing of the keys, and change nothing.
#[test]
fn sessions_and_status_are_for_whoever_has_a_key() {
    let mut probe = with_rights(Probe::serving(1));
    for key in [NODES, READER, WRITER, OF_APP] {
        let open = Message::OpenSession(OpenSession { nonce: 1 });
        assert_eq!(ask(&mut probe, key, &open), Ok(()));
        let status = Message::StatusRequest(StatusRequest { nonce: 1 });
        assert_eq!(ask(&mut probe, key, &status), Ok(()));
    }
}

/// Each is counted once, by the right that was missing.
#[test]
fn what_is_denied_is_counted() {
    let mut probe = with_rights(Probe::serving(1));
    let mut number = 0;
    let mut put_by = |probe: &mut Probe, key, of| {
        ask(probe, key, &Message::Request(fresh(&mut number, &put(of, "v")))).is_err()
    };
    assert!(put_by(&mut probe, READER, "app/x") && put_by(&mut probe, READER, "other"));
    assert!(put_by(&mut probe, OF_APP, "other") && !put_by(&mut probe, OF_APP, "app/x"));
    assert!(ask(&mut probe, OF_APP, &Message::Read(get("other"))).is_err());
    let change = MemberChange::Remove { node: ServerId(4) };
    let remove = Message::MemberRequest(MemberRequest { nonce: 1, seen: LogIndex(1), change });
    for _ in 0..4 {
        assert!(ask(&mut probe, WRITER, &remove).is_err());
    }
    probe.ask_by_key(1, READER, &Message::TrafficRequest(TrafficRequest { nonce: 1 }));
    let said = probe.sync();
    let Some(Message::Traffic(traffic)) = said.last().map(|sent| &sent.message) else {
        panic!("it is answered: {said:?}");
    };
    let expected = DenialCounts { read_only: 2, other_keys: 2, clients_key: 4 };
    assert_eq!(traffic.denied, expected);
}

/// A node tells which keys it takes, and by which its sessions are.
#[test]
fn a_node_says_how_a_key_stands() {
    let mut probe = with_rights(Probe::serving(3));
    probe.begin_session(SECOND, address_of(SECOND), NODES);
    // Somebody else claims to be the third.
    probe.begin_session(THIRD, address_of(SECOND), NODES);
    for (key, taken) in [(NODES, true), (OF_APP, true), (NOBODY, false)] {
        probe.ask_by_key(1, READER, &Message::KeyRequest(KeyRequest { nonce: 5, key }));
        let said = probe.sync();
        let peers = vec![(SECOND, NODES), (THIRD, 0)];
        let expected = KeyStanding { nonce: 5, id: ServerId(1), key, taken, peers };
        let answer = said.iter().find(|sent| sent.to == client::address(1));
        let answer = answer.map(|sent| &sent.message);
        assert_eq!(answer, Some(&Message::KeyStanding(expected)));
    }
}
