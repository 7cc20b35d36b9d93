//! Model checking: the daemon's own node, in every state that small bounds allow.
//!
//! A model is a few nodes, what may happen to them, and how often; [`models`] has all of them.
//! Each test prints how many states there are, and what holds in all of them.

#[allow(dead_code, reason = "others need more of it")]
#[path = "../clients/mod.rs"]
mod clients;
mod actions;
mod client;
mod cluster;
mod disk;
mod frames;
mod locals;
mod models;
mod node;
mod past;
mod properties;

use std::time::Instant;

use actions::Action;
use cluster::Cluster;
use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// Goes through all states, and tells how many there are, and what was held against them.
fn check(cluster: Cluster) {
    let begun = Instant::now();
    let checker = cluster.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let model = checker.model();
    println!(
        "{}: {} states, depth {}, {:.1} s, of {} states of single nodes",
        model.rules.name,
        checker.unique_state_count(),
        checker.max_depth(),
        begun.elapsed().as_secs_f64(),
        model.locals.count(),
    );
    for property in model.properties() {
        println!("  {:?}: {}", property.expectation, property.name);
        let is_broken = property.expectation == Expectation::Always;
        if let Some(path) = checker.discovery(property.name).filter(|_| is_broken) {
            path.into_actions().iter().for_each(|action| println!("    {}", tell(model, action)));
            panic!("{}: it is not so that {}", model.rules.name, property.name);
        }
    }
    checker.assert_properties();
    let begun = Instant::now();
    let steps = model.locals.compare_ways();
    println!("  {steps} steps taken twice, {:.1} s", begun.elapsed().as_secs_f64());
}

fn tell(model: &Cluster, action: &Action) -> String {
    match action {
        Action::Deliver(frame) => {
            let frame = model.locals.frames.get(*frame);
            format!("{:?} hears from {:?}: {:?}", frame.to, frame.from.node, frame.message)
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn pre_votes() {
    check(models::pre_votes(2));
}

#[test]
fn votes() {
    check(models::votes(2));
}

#[test]
fn votes_and_crashes() {
    check(models::votes_and_crashes(1, vec![1]));
}

#[test]
fn constrained_partition() {
    check(models::constrained_partition(3));
}

#[test]
fn late_catch_up() {
    check(models::late_catch_up(5));
}

#[test]
fn birth() {
    check(models::birth());
}

#[test]
fn birth_and_crashes() {
    check(models::birth_and_crashes(vec![0, 1]));
}

#[test]
fn readmission() {
    check(models::readmission());
}

#[test]
fn readmission_in_an_election() {
    check(models::readmission_in_an_election());
}

#[test]
fn replication() {
    check(models::replication(2, 1));
}

#[test]
fn replication_in_three_terms() {
    check(models::replication(3, 0));
}

#[test]
fn replication_and_crashes() {
    check(models::replication_and_crashes(1, 1, vec![0, 1]));
}

#[test]
#[ignore = "larger bounds: minutes"]
fn larger_bounds() {
    check(models::votes(3));
    check(models::constrained_partition(4));
    check(models::votes_and_crashes(2, vec![1]));
    check(models::replication(2, 2));
    check(models::replication_and_crashes(1, 2, vec![1]));
    check(models::readmission_and_crashes(vec![2]));
}
