//! The birth of a cluster: what each node must have said, and what none takes up.

use std::net::SocketAddr;
use std::time::Duration;

use quorate::configuration::Configuration;
use quorate::disk::GenesisState;
use quorate::types::{DirectoryId, GenesisId, NODES_MAX, ServerId, Term};
use quorate::wire::{GenesisHash, Header, Introduce, Message, Standing};

use super::leader::heartbeat;
use super::members::{FIRST, SECOND, THIRD, configuration, directory_of, ids};
use super::net::{Journal, Net};
use super::probe::Probe;
use super::said::{Sent, to_peer};

const FOURTH: ServerId = ServerId(4);
const OTHER: DirectoryId = DirectoryId(999);
/// How long a blank node listens before it takes part in a birth.
const LISTENS: Duration = Duration::from_secs(2);

/// The configuration, but for the directory of one node.
fn with_directory(node: ServerId, directory: DirectoryId) -> Configuration {
    let mut configuration = configuration(3);
    configuration.members.insert(node, directory);
    configuration
}

fn other_genesis() -> Configuration {
    Configuration { genesis: GenesisId(43), ..configuration(3) }
}

fn not_fresh(header: &mut Header) {
    header.echo = None;
}

fn of_a_cluster(header: &mut Header) {
    header.genesis = GenesisHash::of(GenesisId(42));
}

fn accepted(probe: &Probe) -> Option<GenesisId> {
    match &probe.state().genesis {
        GenesisState::Accepted(configuration) => Some(configuration.genesis),
        _ => None,
    }
}

/// A blank node of three, which has introduced itself and heard of no cluster.
fn blank(id: ServerId) -> Probe {
    Probe::founder(id, 3)
}

/// The disk of the node that began a cluster of one is lost. Its line names nobody of those who
/// came since.
#[test]
fn nobody_is_born_beside_a_cluster_that_speaks_to_it() {
    let mut probe = Probe::blank(FIRST, 1);
    let (mut said, until) = (Vec::new(), probe.now + LISTENS * 2);
    while probe.now < until {
        probe.hear_altered(SECOND, of_a_cluster, heartbeat(Term(2)));
        // They hear no leader either, and their lists are longer.
        for peer in [SECOND, THIRD] {
            let asks_around = introduction(Standing::Born(GenesisId(42)), list_of(3));
            probe.hear_altered(peer, of_a_cluster, asks_around);
        }
        said.extend(probe.wait_and_sync());
    }
    assert!(!probe.state().is_born());
    assert_eq!((accepted(&probe), probe.node().contradicted()), (None, None));
    assert!(to_peer(&said, SECOND).contains(&&introduction(Standing::Blank, list_of(1))));
    let joins = "the cluster is not born yet as far as this node knows, but node 2, which is not \
                 listed, belongs to one of this name, and is asked to tell of it; if that does not \
                 help, start this node with a --peer list of all nodes";
    assert_eq!(probe.node().waiting_for().as_deref(), Some(joins));

    let complete = Message::GenesisComplete(with_directory(FIRST, OTHER));
    probe.hear_altered(SECOND, of_a_cluster, complete);
    probe.sync();
    assert!(probe.state().is_born());
    assert_eq!(probe.state().configuration().genesis, GenesisId(42));
}

#[test]
fn a_cluster_is_born_when_each_of_its_nodes_has_listened_for_another() {
    let mut probe = Probe::blank(FIRST, 1);
    let started_at = probe.now;
    let listens = "the cluster is not born yet: this node listens for 2 s whether it is there \
                   already";
    assert_eq!(probe.node().waiting_for().as_deref(), Some(listens));
    while !probe.state().is_born() {
        // A node of no cluster, which this one does not list.
        probe.hear(SECOND, introduction(Standing::Blank, list_of(2)));
        probe.wait_and_sync();
        assert!(probe.now.since(started_at) <= LISTENS);
    }
    assert_eq!(probe.now.since(started_at), LISTENS);

    let mut probe = Probe::blank(SECOND, 3);
    probe.wait_and_sync();
    probe.hear(FIRST, Message::GenesisPropose(configuration(3)));
    assert_eq!(accepted(&probe), None);
}

#[test]
fn a_birth_that_is_under_way_ends_when_a_cluster_is_heard() {
    let mut probe = blank(SECOND);
    probe.hear_altered(FOURTH, of_a_cluster, heartbeat(Term(2)));
    probe.hear(FIRST, Message::GenesisPropose(configuration(3)));
    assert_eq!(accepted(&probe), None);

    let mut probe = blank(FIRST);
    introduce(&mut probe, Standing::Blank, list_of(3));
    let genesis = proposal(&probe.wait_and_sync()).expect("all have been heard").genesis;
    probe.hear_altered(FOURTH, of_a_cluster, heartbeat(Term(2)));
    for peer in [SECOND, THIRD] {
        probe.hear(peer, Message::GenesisAccept(genesis));
    }
    probe.sync();
    assert!(!probe.state().is_born());
}

#[test]
fn a_node_accepts_only_what_its_coordinator_proposes_to_this_very_directory() {
    let proposed = Message::GenesisPropose;
    let refuses = |from, configuration| {
        let mut probe = blank(SECOND);
        probe.hear(from, proposed(configuration));
        assert_eq!(accepted(&probe), None);
    };
    refuses(THIRD, configuration(3));
    refuses(FIRST, configuration(2));
    refuses(FIRST, configuration(4));
    refuses(FIRST, with_directory(FIRST, OTHER));
    refuses(FIRST, with_directory(SECOND, OTHER));

    let mut probe = blank(SECOND);
    probe.hear_altered(FIRST, not_fresh, proposed(configuration(3)));
    assert_eq!(accepted(&probe), None, "it may be a proposal of the past");
    probe.hear(FIRST, proposed(configuration(3)));
    assert_eq!(accepted(&probe), Some(GenesisId(42)));
    let said = probe.sync();
    assert!(to_peer(&said, FIRST).contains(&&Message::GenesisAccept(GenesisId(42))));
}

#[test]
fn another_genesis_takes_the_place_of_one_only_before_that_is_complete() {
    let mut probe = blank(SECOND);
    probe.hear(FIRST, Message::GenesisPropose(other_genesis()));
    probe.hear(FIRST, Message::GenesisPropose(configuration(3)));
    assert_eq!(accepted(&probe), Some(GenesisId(42)));
    probe.sync();
    probe.hear(FIRST, Message::GenesisComplete(configuration(3)));
    probe.hear(FIRST, Message::GenesisPropose(other_genesis()));
    assert_eq!(accepted(&probe), Some(GenesisId(42)), "that it is complete is on its way");
    probe.sync();
    probe.hear(FIRST, Message::GenesisPropose(other_genesis()));
    assert!(probe.state().is_born());
    assert_eq!(probe.state().configuration().genesis, GenesisId(42));
}

#[test]
fn a_member_is_born_only_of_what_it_has_accepted() {
    let born = |configuration: Configuration, alter: fn(&mut Header)| {
        let mut probe = blank(SECOND);
        probe.hear_altered(FIRST, alter, Message::GenesisComplete(configuration));
        probe.sync();
        probe.state().is_born()
    };
    assert!(!born(configuration(3), |_| {}));
    assert!(born(with_directory(SECOND, OTHER), |_| {}), "who is no member learns");
    assert!(!born(with_directory(SECOND, OTHER), not_fresh));
}

/// What the second and the third node say of themselves to the coordinator.
fn introduce(probe: &mut Probe, standing: Standing, list: Vec<(ServerId, String)>) {
    probe.hear(SECOND, introduction(Standing::Blank, list_of(3)));
    probe.hear(THIRD, introduction(standing, list));
}

fn introduction(standing: Standing, list: Vec<(ServerId, String)>) -> Message {
    Message::Introduce(Introduce { standing, list })
}

fn list_of(nodes: usize) -> Vec<(ServerId, String)> {
    ids(nodes).map(|id| (id, String::new())).collect()
}

fn proposal(said: &[Sent]) -> Option<Configuration> {
    to_peer(said, SECOND).into_iter().find_map(|message| match message {
        Message::GenesisPropose(configuration) => Some(configuration.clone()),
        _ => None,
    })
}

#[test]
fn nothing_is_proposed_unless_all_are_unborn_and_have_the_same_list() {
    let proposes = |standing, list, pause: Duration| {
        let mut probe = blank(FIRST);
        introduce(&mut probe, standing, list);
        probe.pass(pause);
        proposal(&probe.wait_and_sync()).is_some()
    };
    let (now, late) = (Duration::ZERO, Duration::from_secs(2));
    let born = Standing::Born(GenesisId(1));
    let mut contrary = list_of(3);
    contrary[2].0 = ServerId(4);
    assert!(!proposes(born, list_of(3), now));
    assert!(!proposes(Standing::Blank, list_of(2), now));
    assert!(!proposes(Standing::Blank, contrary, now));
    assert!(!proposes(Standing::Blank, list_of(3), late), "they may be others by now");
    assert!(proposes(Standing::Blank, list_of(3), now));
    assert!(proposes(Standing::Accepted(GenesisId(1)), list_of(3), now));
}

#[test]
fn a_genesis_is_proposed_until_one_of_the_directories_is_another() {
    let mut probe = blank(FIRST);
    introduce(&mut probe, Standing::Blank, list_of(3));
    let first = proposal(&probe.wait_and_sync()).expect("all have been heard");
    assert_eq!(proposal(&probe.wait_and_sync()).as_ref(), Some(&first));

    let wiped = |header: &mut Header| header.directory = OTHER;
    probe.hear_altered(SECOND, wiped, introduction(Standing::Blank, list_of(3)));
    let next = proposal(&probe.wait_and_sync()).expect("all are heard");
    assert_ne!(next.genesis, first.genesis);
    assert_eq!(next.members[&SECOND], OTHER);
}

#[test]
fn only_the_coordinator_draws_a_genesis() {
    let mut probe = blank(SECOND);
    for peer in [FIRST, THIRD] {
        probe.hear(peer, introduction(Standing::Blank, list_of(3)));
    }
    probe.wait_and_sync();
    assert_eq!(accepted(&probe), None);
}

#[test]
fn no_genesis_is_drawn_when_one_is_about_to_be_complete() {
    let mut probe = blank(FIRST);
    introduce(&mut probe, Standing::Blank, list_of(3));
    let genesis = proposal(&probe.wait_and_sync()).expect("all have been heard").genesis;
    for peer in [SECOND, THIRD] {
        probe.hear(peer, Message::GenesisAccept(genesis));
    }
    probe.turn();
    let wiped = |header: &mut Header| header.directory = OTHER;
    probe.hear_altered(SECOND, wiped, introduction(Standing::Blank, list_of(3)));
    probe.wait();
    probe.turn();
    assert_eq!(accepted(&probe), Some(genesis));
}

#[test]
fn a_cluster_is_born_when_each_directory_has_accepted_its_very_genesis() {
    let born_with = |flip: u64, directory: DirectoryId| {
        let mut probe = blank(FIRST);
        introduce(&mut probe, Standing::Blank, list_of(3));
        let genesis = proposal(&probe.wait_and_sync()).expect("all have been heard").genesis;
        probe.hear(THIRD, Message::GenesisAccept(genesis));
        let accept = Message::GenesisAccept(GenesisId(genesis.0 ^ flip));
        probe.hear_altered(SECOND, |header| header.directory = directory, accept);
        probe.sync();
        probe.state().is_born()
    };
    assert!(!born_with(1, directory_of(SECOND)));
    assert!(!born_with(0, OTHER));
    assert!(born_with(0, directory_of(SECOND)));
}

/// What a born node of three says to a stranger that introduces itself.
fn answer(standing: Standing, list: Vec<(ServerId, String)>) -> Option<Message> {
    let mut probe = Probe::born(3);
    probe.hear(THIRD, introduction(standing, list));
    let said = probe.sync();
    let is_answer =
        |message: &&Message| matches!(message, Message::GenesisComplete(_) | Message::Introduce(_));
    to_peer(&said, THIRD).into_iter().find(is_answer).cloned()
}

#[test]
fn who_can_take_part_is_told_of_the_birth() {
    let complete = Some(Message::GenesisComplete(configuration(3)));
    let others = Some(introduction(Standing::Born(GenesisId(42)), list_of(3)));
    let mut contrary = list_of(3);
    contrary.push((ServerId(9), String::new()));
    assert_eq!(answer(Standing::Blank, list_of(3)), complete);
    assert_eq!(answer(Standing::Blank, list_of(2)), others, "it lacks an address");
    assert_eq!(answer(Standing::Blank, contrary), others, "it names one that is not there");
    assert_eq!(answer(Standing::Born(GenesisId(42)), list_of(2)), complete);
    assert_eq!(answer(Standing::Born(GenesisId(1)), list_of(3)), None, "it is of another birth");
}

#[test]
fn where_late_comers_are_is_taken_from_what_is_fresh_and_of_this_birth() {
    let address = SocketAddr::from(([10, 0, 0, 4], 9_004));
    let told = |genesis, alter: fn(&mut Header)| {
        let mut probe = Probe::born(3);
        probe.hear(SECOND, introduction(Standing::Born(GenesisId(42)), list_of(3)));
        probe.sync();
        let mut told = Configuration { genesis: GenesisId(genesis), ..configuration(3) };
        told.addresses.insert(ServerId(4), address);
        told.learners.insert(ServerId(4));
        probe.hear_altered(SECOND, alter, Message::GenesisComplete(told));
        probe.sync();
        probe.state().peers.get(&ServerId(4)).map(|peer| peer.address)
    };
    assert_eq!(told(42, |_| {}), Some(address));
    assert_eq!(told(42, not_fresh), None);
    assert_eq!(told(43, |_| {}), None);
}

#[test]
fn those_who_came_by_the_log_are_told_of_as_far_as_there_is_room() {
    let address_of = |id: u16| (ServerId(id), SocketAddr::from(([10, 0, 0, 9], id)));
    let told = |nodes: usize, came: [u16; 2]| {
        let genesis = configuration(nodes);
        let addresses = came.map(address_of).into();
        let told = genesis.telling_of(&Configuration { addresses, ..genesis.clone() });
        assert_eq!(told.members, genesis.members);
        (told.addresses.into_keys().collect::<Vec<_>>(), told.learners.into_iter().collect())
    };
    let (second, fourth, last) = (ServerId(2), ServerId(4), ServerId(16));
    assert_eq!(told(3, [2, 4]), (vec![second, fourth], vec![fourth]));
    assert_eq!(told(NODES_MAX - 1, [2, 16]), (vec![second, last], vec![last]));
    assert_eq!(told(NODES_MAX, [2, 16]), (vec![second], vec![]), "a list has no room for more");
}

/// All apply the same limits: those of the node that began the birth.
#[test]
fn a_cluster_is_born_with_the_limits_of_its_coordinator() {
    let mut net = Net::new(3);
    net.configure(|config| (config.snapshot_bytes, config.session_limit) = (12_345, 67));
    for id in ids(3) {
        net.start(id, Journal::blank(id, directory_of(id)));
    }
    net.run(LISTENS * 2);
    for id in ids(3) {
        let limits = net.state(id).configuration();
        assert_eq!((limits.snapshot_bytes, limits.session_limit), (12_345, 67));
    }
}
