//! A directory begins another cluster. Whenever the power fails meanwhile, it is what it was
//! or the new one, and neither is disturbed by what the other left there.

use std::collections::BTreeMap;

use quorate::configuration::Configuration;
use quorate::disk::{self, Directory, GenesisState, Identity, Record, Recovered};
use quorate::entry::{Entry, EntryKind};
use quorate::replica::last_state;
use quorate::sim::SimDirectory;
use quorate::store::Snapshot;
use quorate::types::{DirectoryId, GenesisId, LogTime, ServerId, Term};

use super::life::{Expected, configuration, identity, lived, long_life, segment_size, start};
use super::recording::Recording;

const LOSSES: u64 = 8;

fn new_identity() -> Identity {
    Identity { directory: DirectoryId(0xbeef), ..identity() }
}

fn birth() -> Configuration {
    configuration().reborn(GenesisId(10), ServerId(3), DirectoryId(0xbeef))
}

/// What the directory holds, as the beginning of the new cluster.
fn reborn(directory: &SimDirectory) -> Snapshot {
    let held = disk::examine(directory).expect("its identity can be read").recovered;
    let last = last_state(&held).expect("it belongs to a cluster");
    assert!(last.state().key_count() > 0 && last.index() == held.log_end().1);
    last.reborn(&birth().with_learner(ServerId(4)))
}

fn begin(directory: &mut dyn Directory, snapshot: &Snapshot) {
    disk::begin(directory, new_identity(), segment_size(), birth(), snapshot)
        .expect("a disk that works");
}

fn is_new(recovered: &Recovered, snapshot: &Snapshot) -> bool {
    let held = recovered.snapshot.as_ref().map(|held| held.state().checksum());
    recovered.identity == new_identity()
        && recovered.genesis == GenesisState::Complete(birth())
        && (recovered.term, recovered.voted_for, recovered.incarnation.0) == (Term(0), None, 1)
        && recovered.log_end() == (Term(0), snapshot.index())
        && recovered.commit == snapshot.index()
        && held == Some(snapshot.state().checksum())
}

/// Starts what a loss of power has left. Returns whether it is the new directory; otherwise it
/// is what it was.
fn start_is_new(copy: &SimDirectory, seed: u64, former: &Expected, snapshot: &Snapshot) -> bool {
    let mut directory = copy.clone();
    directory.lose_power(&mut fastrand::Rng::with_seed(seed));
    let (_, recovered) = start(&mut directory);
    assert_eq!(recovered.doubt, None);
    let again = disk::examine(&directory).expect("its identity can be read");
    assert!(again.flaws.is_empty(), "{:?}", again.flaws);
    let snapshots = directory.names().expect("a disk that works");
    let snapshots = snapshots.iter().filter(|name| name.starts_with("snapshot-"));
    assert_eq!(snapshots.count(), 1, "what does not count is removed");
    if is_new(&recovered, snapshot) {
        return true;
    }
    assert!(former.is_in(&recovered) && recovered.identity == identity(), "{recovered:?}");
    false
}

#[test]
fn it_can_be_interrupted_anywhere() {
    let (directory, former) = lived(&long_life());
    let snapshot = reborn(&directory);
    let mut recording = Recording::of(directory);
    begin(&mut recording, &snapshot);
    let (mut old, mut new, mut seed) = (0, 0, 0);
    for copy in &recording.copies {
        for _ in 0..LOSSES {
            seed += 1;
            let is_new = start_is_new(copy, seed, &former, &snapshot);
            *(if is_new { &mut new } else { &mut old }) += 1;
        }
    }
    assert!(old > 50 && new > 50, "{old} {new}");
    for seed in 0..LOSSES {
        assert!(start_is_new(&recording.directory, seed, &former, &snapshot), "it is durable");
    }
}

/// A segment that was to replace a damaged one, and a snapshot that is damaged itself, also
/// when there is no time to remove them.
#[test]
fn leftovers_of_the_former_cluster_do_not_count() {
    let (mut directory, _) = lived(&long_life());
    let snapshot = reborn(&directory);
    let found = disk::examine(&directory).expect("its identity can be read");
    let last = found.segments.last().expect("there is one").number;
    let segment = directory.read(&format!("journal-{last:016x}")).expect("a disk that works");
    let replacing = format!("rewritten-{:016x}", last + 1);
    for (name, content) in [
        (replacing.as_str(), segment.as_ref()),
        ("snapshot-00000000000fffff", b"quorates, but no more".as_ref()),
        ("spare-00000000000000f1", segment.as_ref()),
    ] {
        directory.create(name, 0).expect("room");
        directory.write_at(name, 0, content).expect("a disk that works");
        directory.sync(name).expect("a disk that works");
    }
    directory.sync_names().expect("a disk that works");
    let mut recording = Recording::of(directory);
    begin(&mut recording, &snapshot);
    let mut new = 0;
    for mut directory in recording.copies {
        let (_, recovered) = start(&mut directory);
        if recovered.identity == new_identity() {
            assert!(is_new(&recovered, &snapshot) && recovered.doubt.is_none(), "{recovered:?}");
            new += 1;
        }
    }
    assert!(new > 4, "{new}");
    let found = disk::examine(&recording.directory).expect("its identity can be read");
    assert!(found.flaws.is_empty(), "{:?}", found.flaws);
}

#[test]
fn what_the_new_cluster_writes_goes_on_from_the_snapshot() {
    let mut directory = SimDirectory::new();
    let (former, _) = lived(&long_life());
    let snapshot = reborn(&former);
    begin(&mut directory, &snapshot);
    let (mut journal, _) = start(&mut directory);
    let entry = Entry::chained(
        snapshot.chain(),
        snapshot.index().next(),
        Term(1),
        LogTime(9),
        EntryKind::Noop,
        <_>::default(),
    );
    let vote = Record::HardState { term: Term(1), voted_for: Some(ServerId(3)) };
    for records in [vec![vote], vec![Record::Append(entry.clone())]] {
        journal.write(&mut directory, &records).expect("a disk that works");
        journal.sync(&mut directory).expect("a disk that works");
    }
    let (_, recovered) = start(&mut directory);
    assert_eq!((recovered.entries, recovered.doubt), (vec![entry], None));
}

/// Until a restored directory is whole, it is an empty one or one that is refused.
#[test]
fn an_empty_directory_can_be_interrupted_anywhere() {
    let (former, _) = lived(&long_life());
    let snapshot = reborn(&former);
    let mut recording = Recording::of(SimDirectory::new());
    begin(&mut recording, &snapshot);
    let mut outcomes = BTreeMap::<&str, u32>::new();
    for (seed, copy) in (0..).zip(recording.copies.iter().flat_map(|copy| [copy; 8])) {
        let mut directory = copy.clone();
        directory.lose_power(&mut fastrand::Rng::with_seed(seed));
        let outcome = match disk::is_born(&directory) {
            Ok(false) => "empty",
            Ok(true) => {
                assert!(is_new(&start(&mut directory).1, &snapshot));
                "whole"
            }
            Err(_) => "refused",
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    assert!(outcomes.len() == 3 && outcomes.values().all(|count| *count > 8), "{outcomes:?}");
}
