//! Files that a start has done without are kept while there is any doubt, and read again.

use std::time::Duration;

use bytes::Bytes;
use quorate::disk::{self, Directory, DiskError, Record};
use quorate::replica::ReplicaState;
use quorate::sim::{Damage, SimDirectory};
use quorate::types::{LogIndex, ServerId};

use super::cluster::{Cluster, blank, ids};
use super::damage::{damaged, files, is_segment};
use super::layout::newest_records;
use super::life::{Author, Expected, lived, long_life, snapshot_at, start};

/// The names of the files that are set aside.
pub fn set_aside(directory: &dyn Directory) -> Vec<String> {
    let names = directory.names().expect("names").into_iter();
    names.filter(|name| disk::is_set_aside(name)).collect()
}

/// Whether each segment and each snapshot of the former directory is in this one, under whatever
/// name.
pub fn keeps_all_of(former: &SimDirectory, directory: &dyn Directory) -> bool {
    let names = files(former).into_iter().map(|(name, _)| name);
    let mut counting = names.filter(|name| name.contains('-') && !disk::is_set_aside(name));
    counting.all(|name| keeps(&former.read(&name).expect("a file"), directory))
}

/// Whether there is a file with this content.
pub fn keeps(content: &Bytes, directory: &dyn Directory) -> bool {
    let names = directory.names().expect("names");
    names.iter().any(|name| directory.read(name).expect("a file") == *content)
}

/// The name of the newest file of this kind.
fn newest(directory: &SimDirectory, kind: &str) -> String {
    let names = directory.names().expect("names").into_iter();
    names.filter(|name| name.starts_with(kind)).max().expect("there is one")
}

/// What was set aside can be read again: as it was in the intact directory.
fn the_error_passes(directory: &mut SimDirectory, intact: &SimDirectory) {
    for name in set_aside(directory) {
        let (_, former) = name.split_at("aside-0123456789abcdef-".len());
        let content = intact.read(former).expect("a file");
        directory.write_at(&name, 0, &content).expect("a disk that works");
        directory.sync(&name).expect("a disk that works");
    }
}

/// A directory that has lost a sector in the middle of its log, when it has been started.
fn in_doubt() -> (SimDirectory, Expected) {
    let (intact, expected) = lived(&long_life());
    let (name, _) = files(&intact).into_iter().rfind(is_segment).expect("a segment");
    let mut directory = damaged(&intact, &name, 3, Damage::Flipped).expect("it holds something");
    let (_, recovered) = start(&mut directory);
    assert!(recovered.doubt.is_some() && !set_aside(&directory).is_empty());
    (directory, expected)
}

/// Storage that all nodes share returns a page less of each of their snapshots, and each start
/// does without. Then it returns all again.
#[test]
fn a_cluster_whose_nodes_could_not_read_their_snapshots_has_all_of_them_again() {
    const PATIENCE: Duration = Duration::from_secs(8);
    let mut cluster = Cluster::new(100_000);
    ids().for_each(|id| cluster.start(id, blank(id)).expect("a blank directory starts"));
    assert!(cluster.run_until(PATIENCE, Cluster::is_settled), "a cluster is born");
    let keys: Vec<String> = (0..215).map(|number| format!("key-{number}")).collect();
    for key in &keys {
        let _: LogIndex = cluster.put(key, vec![b'v'; 700]);
    }
    assert!(cluster.run_until(PATIENCE, Cluster::is_settled));
    let intact: Vec<(ServerId, SimDirectory)> = ids().map(|id| (id, cluster.stop(id))).collect();

    for (id, intact) in &intact {
        let snapshot = newest(intact, "snapshot-");
        let damaged = damaged(intact, &snapshot, 9, Damage::Zeroed).expect("it is there");
        cluster.start(*id, damaged).expect("one snapshot less is no reason to end");
    }
    assert!(!cluster.run_until(PATIENCE, |cluster| cluster.serving().is_some()), "all is lost");

    for (id, intact) in &intact {
        let mut directory = cluster.stop(*id);
        the_error_passes(&mut directory, intact);
        cluster.start(*id, directory).expect("one snapshot less is no reason to end");
    }
    assert!(cluster.run_until(PATIENCE, Cluster::is_settled), "nothing is lost");
    let has = |key: &String, state: &ReplicaState| state.store.committed().get(key.as_bytes());
    assert!(cluster.states().all(|state| keys.iter().all(|key| has(key, state).is_some())));
    assert!(ids().all(|id| set_aside(cluster.directory(id)).is_empty()), "and all is free");
}

/// `quorate backup` and `quorate rescue` count what can be read again, also where nobody knows
/// how far the log went, so that no vote of the directory could make a leader.
#[test]
fn what_can_be_read_again_goes_on_from_the_log_before_the_node_is_started() {
    let (intact, expected) = lived(&long_life());
    let (name, sectors) = newest_records(&intact)[&expected.last().index.0].clone();
    let first = *sectors.first().expect("it stands somewhere");
    let mut directory = damaged(&intact, &name, first, Damage::Cut).expect("it holds something");
    let (_, recovered) = start(&mut directory);
    assert_eq!(recovered.doubt, Some(disk::Doubt { upto: None }));
    assert!(recovered.log_end().1 < expected.last().index);
    the_error_passes(&mut directory, &intact);
    let mut found = disk::examine(&directory).expect("its identity can be read");
    found.recovered.rejoin();
    assert_eq!(found.recovered.log_end().1, expected.last().index);
    assert!(found.recovered.aside.is_empty());
    assert_eq!(found.set_aside, set_aside(&directory));
}

#[test]
fn what_was_set_aside_is_not_replaced_by_what_is_set_aside_later() {
    let (intact, _) = lived(&long_life());
    let name = newest(&intact, "snapshot-");
    let mut directory = damaged(&intact, &name, 0, Damage::Flipped).expect("it is there");
    start(&mut directory);
    let first = set_aside(&directory);
    // It was fetched again, and is damaged once more.
    let fetched = damaged(&intact, &name, 1, Damage::Flipped).expect("it is there");
    directory.create(&name, 0).expect("room");
    directory.write_at(&name, 0, &fetched.read(&name).expect("a file")).expect("a working disk");
    start(&mut directory);
    let both = set_aside(&directory);
    assert!(first.iter().all(|name| both.contains(name)), "{first:?}, {both:?}");
    assert_eq!(both.iter().filter(|set_aside| set_aside.ends_with(&name)).count(), 2, "{both:?}");
}

/// A node in doubt that needs room is being sent something: it is no use to wait for room that
/// only the end of the doubt would make.
#[test]
fn what_is_set_aside_is_given_up_for_what_a_running_node_has_to_write() {
    let (mut directory, expected) = in_doubt();
    let (mut journal, _) = start(&mut directory);
    directory.set_room(Some(directory.used()));
    let mut for_snapshot = directory.clone();
    let snapshot = snapshot_at(expected.snapshot, &expected.log);
    disk::write_snapshot(&mut for_snapshot, &snapshot).expect("room is made");
    assert!(set_aside(&for_snapshot).is_empty());

    let entries = expected.log.iter().take(90).cloned();
    let more: Vec<Record> = entries.map(Record::Append).collect();
    journal.write(&mut directory, &more).expect("room is made");
    assert!(set_aside(&directory).is_empty());
}

#[test]
fn a_start_gives_up_nothing_for_want_of_room() {
    let (mut directory, ..) = in_doubt();
    let name = newest(&directory, "journal-");
    let kept = set_aside(&directory);
    directory = damaged(&directory, &name, 1, Damage::Flipped).expect("it holds something");
    directory.set_room(Some(directory.used()));
    let found = disk::examine(&directory).expect("its identity can be read");
    assert_eq!(found.start(&mut directory).err(), Some(DiskError::NoSpace));
    assert_eq!(set_aside(&directory), kept);
    directory.set_room(None);
    start(&mut directory);
    assert!(set_aside(&directory).len() > kept.len());
}

/// Without any doubt nothing is missing.
#[test]
fn what_no_acknowledgment_can_lack_is_not_kept() {
    let mut author = Author::born(1);
    author.vote(1);
    author.entries(30, 900);
    let (intact, expected) = lived(&author);
    let mut with_snapshot = intact.clone();
    let index = expected.last().index;
    let snapshot = snapshot_at(index, &expected.log);
    disk::write_snapshot(&mut with_snapshot, &snapshot).expect("room");
    let name = newest(&intact, "journal-");
    let mut directory = damaged(&with_snapshot, &name, 4, Damage::Flipped).expect("a batch");
    let (_, recovered) = start(&mut directory);
    assert_eq!((recovered.doubt, recovered.log_end().1), (None, index));
    assert!(index > LogIndex(1) && set_aside(&directory).is_empty());
}
