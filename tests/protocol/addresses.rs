//! Frames that are not meant for this node of this cluster.

use quorate::types::{ClusterHash, GenesisId, LogIndex, ServerId, Term};
use quorate::wire::{DropCause, GenesisHash, Header, Message, Role, VoteRequest};

use super::leader::heartbeat;
use super::members::{SECOND, THIRD};
use super::probe::Probe;

/// What makes a header say that its frame is for somebody else.
type Alter = fn(&mut Header);

/// Each way, and as what the frame is dropped.
const OTHERS: [(DropCause, Alter); 3] = [
    (DropCause::Cluster, |header| header.cluster = ClusterHash::of("another")),
    (DropCause::Genesis, |header| header.genesis = GenesisHash::of(GenesisId(4_711))),
    (DropCause::Destination, |header| header.destination = THIRD),
];

/// What a follower may say to this leader. Each of them changes something.
fn messages(probe: &Probe) -> [Message; 3] {
    let (term, end) = (Term(9), LogIndex(99));
    let request =
        VoteRequest { term, pre_vote: false, transfer: true, last_index: end, last_term: term };
    let acknowledged = Message::Acknowledge(probe.acknowledgment(probe.state().log.last_index()));
    [acknowledged, Message::VoteRequest(request), heartbeat(term)]
}

fn seen(probe: &Probe) -> (Term, Role, LogIndex, Option<ServerId>) {
    let state = probe.state();
    (state.term, state.role, state.commit, state.voted_for)
}

#[test]
fn what_is_meant_for_others_changes_nothing() {
    for (cause, alter) in OTHERS {
        for place in 0..3 {
            let mut probe = Probe::leading(3);
            let before = seen(&probe);
            let message = messages(&probe)[place].clone();
            probe.hear_altered(SECOND, alter, message.clone());
            probe.turn();
            assert_eq!(seen(&probe), before, "{cause:?}: {message:?}");
            assert_eq!(probe.state().dropped.get(&cause), Some(&1), "{cause:?}: {message:?}");

            probe.hear_altered(SECOND, |_| {}, message.clone());
            probe.turn();
            assert_ne!(seen(&probe), before, "{message:?}");
        }
    }
}
