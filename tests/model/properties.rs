//! What must hold in every state, and what must be so in some: a model in which nothing happens
//! fails as well.

use quorate::configuration::Configuration;
use quorate::disk::GenesisState;
use quorate::types::Term;
use quorate::wire::Role;
use stateright::Property;

use super::cluster::{Cluster, State, all};
use super::disk::Disk;
use super::past::{Broken, entries_up_to};

type Properties = Vec<Property<Cluster>>;

/// What holds of every cluster.
pub fn safety() -> Properties {
    vec![
        Property::always("one leader in a term", |_, state: &State| {
            is_unbroken(state, Broken::TwoLeaders)
        }),
        Property::always("one vote of a directory in a term", |_, state: &State| {
            is_unbroken(state, Broken::TwoVotes)
        }),
        Property::always("a vote that was said is durable", votes_are_durable),
        Property::always("what is said to be durable is", acknowledgments_are_durable),
        Property::always("no committed entry is replaced", |_, state: &State| {
            is_unbroken(state, Broken::Replaced)
        }),
        Property::always("a leader has all that was committed before", leaders_are_complete),
        Property::always("logs with one entry in common agree up to it", logs_match),
        Property::always("one cluster is born", one_birth),
    ]
}

pub fn birth() -> Properties {
    let born = |cluster: &Cluster, state: &State| {
        all(cluster.rules.size).all(|node| {
            matches!(cluster.local(state, node).disk.genesis, GenesisState::Complete(_))
        })
    };
    with(
        safety(),
        [
            Property::always("who is born was accepted by all members", births_are_accepted),
            Property::sometimes("all are born", born),
        ],
    )
}

pub fn election() -> Properties {
    with(safety(), [leads()])
}

pub fn elections() -> Properties {
    with(election(), [leads_again()])
}

/// The third node lacks what the others have of the first two terms.
pub fn catch_up() -> Properties {
    let of_first = Property::sometimes("it leads with what the first had", |cluster, state| {
        third_leads_with(Term(1), cluster, state)
    });
    let of_second = Property::sometimes("it leads with what the second had", |cluster, state| {
        third_leads_with(Term(2), cluster, state)
    });
    with(safety(), [of_first, of_second])
}

/// It has an entry of the third term, which is committed.
pub fn late_catch_up() -> Properties {
    let of_third = Property::sometimes("it leads with what is committed", |cluster, state| {
        third_leads_with(Term(3), cluster, state)
    });
    with(safety(), [of_third])
}

/// Whether the third node leads, and the entry that the terms differ in is of this one.
fn third_leads_with(term: Term, cluster: &Cluster, state: &State) -> bool {
    let local = cluster.local(state, 2);
    let leader = local.running.as_ref().filter(|node| node.role == Role::Leader);
    leader.is_some_and(|node| node.log.get(2).is_some_and(|(its, _)| *its == term))
}

pub fn readmission() -> Properties {
    let votes = |cluster: &Cluster, state: &State| {
        let local = cluster.local(state, 2);
        local.running.as_ref().is_some_and(|node| node.votes)
    };
    with(safety(), [Property::sometimes("the wiped node has a vote again", votes)])
}

/// Of logs, where nobody comes or goes.
pub fn replication() -> Properties {
    let durable = Property::always(
        "what a client was told is on the disks of a majority",
        acknowledged_are_durable,
    );
    with(safety(), [durable])
}

/// The same, of models in which a leader writes nothing but what begins its term.
pub fn successions() -> Properties {
    with(replication(), [leads_again()])
}

pub fn answers() -> Properties {
    let told = |_: &Cluster, state: &State| state.past.acknowledged.0 > 0;
    with(replication(), [Property::sometimes("a client is told", told)])
}

pub fn writes() -> Properties {
    let followed = |cluster: &Cluster, state: &State| {
        let told = state.past.acknowledged;
        let follows = |node| {
            let local = cluster.local(state, node);
            local.running.as_ref().is_some_and(|node| node.commit >= told)
        };
        told.0 > 0 && all(cluster.rules.size).all(follows)
    };
    let followed = Property::sometimes("all have committed what a client was told", followed);
    with(answers(), [followed])
}

fn with<const N: usize>(some: Properties, more: [Property<Cluster>; N]) -> Properties {
    some.into_iter().chain(more).collect()
}

fn leads() -> Property<Cluster> {
    Property::sometimes("one leads", |_, state: &State| !state.past.leaders.is_empty())
}

fn leads_again() -> Property<Cluster> {
    Property::sometimes("one leads in a second term", |_, state: &State| {
        state.past.leaders.len() >= 2
    })
}

fn is_unbroken(state: &State, how: Broken) -> bool {
    state.past.broken != Some(how)
}

fn votes_are_durable(cluster: &Cluster, state: &State) -> bool {
    all(cluster.rules.size).all(|node| {
        let local = cluster.local(state, node);
        let disk = &local.disk;
        let said = state.past.votes.get(&disk.directory).copied();
        let led = local.running.as_ref().filter(|node| node.role == Role::Leader);
        let led = led.map(|node| (node.term, disk.id));
        said.into_iter().chain(led).all(|(term, candidate)| {
            disk.term > term || (disk.term, disk.voted_for) == (term, Some(candidate))
        })
    })
}

/// Until the directory knows of a later term, in which another leader may have removed entries.
fn acknowledgments_are_durable(cluster: &Cluster, state: &State) -> bool {
    all(cluster.rules.size).all(|node| {
        let disk = &cluster.local(state, node).disk;
        let said = state.past.durable.get(&disk.directory);
        said.is_none_or(|(term, index)| disk.term > *term || disk.last_index() >= *index)
    })
}

fn leaders_are_complete(cluster: &Cluster, state: &State) -> bool {
    all(cluster.rules.size).all(|node| {
        let local = cluster.local(state, node);
        let Some(leader) = local.running.as_ref().filter(|node| node.role == Role::Leader) else {
            return true;
        };
        state.past.committed.iter().enumerate().all(|(at, (term, chain))| {
            *term >= leader.term || leader.log.get(at).is_some_and(|(_, its)| its == chain)
        })
    })
}

fn logs_match(cluster: &Cluster, state: &State) -> bool {
    let logs: Vec<Vec<(Term, u32)>> = all(cluster.rules.size)
        .flat_map(|node| {
            let local = cluster.local(state, node);
            let on_disk = local.disk.entries.iter().map(|entry| (entry.term, entry.chain));
            let in_memory = local.running.as_ref().map(|node| node.log.clone());
            in_memory.into_iter().chain([on_disk.collect()])
        })
        .collect();
    let agree = |(one, other): (&(Term, u32), &(Term, u32))| one.0 != other.0 || one == other;
    let mut pairs = logs
        .iter()
        .enumerate()
        .flat_map(|(at, log)| logs[at + 1..].iter().map(move |other| log.iter().zip(other)));
    pairs.all(|mut entries| entries.all(agree))
}

fn one_birth(cluster: &Cluster, state: &State) -> bool {
    let mut born =
        all(cluster.rules.size).filter_map(|node| match &cluster.local(state, node).disk.genesis {
            GenesisState::Complete(complete) => Some(complete.genesis),
            GenesisState::Blank | GenesisState::Accepted(_) => None,
        });
    let first = born.next();
    born.all(|other| Some(other) == first)
}

/// Unless a member has another disk now.
fn births_are_accepted(cluster: &Cluster, state: &State) -> bool {
    let disks: Vec<_> =
        all(cluster.rules.size).map(|node| cluster.local(state, node).disk.clone()).collect();
    let has_accepted = |disk: &Disk, birth: &Configuration| match &disk.genesis {
        GenesisState::Accepted(its) | GenesisState::Complete(its) => its.genesis == birth.genesis,
        GenesisState::Blank => false,
    };
    let mut births = disks.iter().filter_map(|disk| match &disk.genesis {
        GenesisState::Complete(birth) => Some(birth),
        GenesisState::Blank | GenesisState::Accepted(_) => None,
    });
    births.all(|birth| {
        let mut members = disks.iter().filter(|disk| birth.is_voter(disk.id, disk.directory));
        members.all(|member| has_accepted(member, birth))
    })
}

fn acknowledged_are_durable(cluster: &Cluster, state: &State) -> bool {
    let entries = entries_up_to(state.past.acknowledged);
    let Some(at) = entries.checked_sub(1) else { return true };
    let Some((_, chain)) = state.past.committed.get(at) else { return false };
    let holds = |node: &usize| {
        let local = cluster.local(state, *node);
        local.disk.entries.get(at).is_some_and(|entry| entry.chain == *chain)
    };
    all(cluster.rules.size).filter(|node| holds(node)).count() > cluster.rules.size / 2
}
