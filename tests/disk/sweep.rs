//! A cluster of three, of which the directory of one is damaged, at each sector of each of
//! its files in each way; or those of two, at different places.
//!
//! One node, the laggard, was away when the last operations were acknowledged: they are on
//! the disks of the two others alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use quorate::disk::{self, Recovered};
use quorate::replica::ReplicaState;
use quorate::sim::{Damage, SimDirectory};
use quorate::types::{LogIndex, ServerId};

use super::cluster::{Cluster, blank, ids};
use super::damage::{damaged, files};

/// Whose directory is damaged; the only other one that holds all; and the laggard.
const DAMAGED: ServerId = ServerId(1);
const HOLDER: ServerId = ServerId(2);
const LAGGARD: ServerId = ServerId(3);

const SNAPSHOT_BYTES: u64 = 100_000;
/// Longer than any repair takes, and than it takes to find that there will be none.
const PATIENCE: Duration = Duration::from_secs(8);

/// What was acknowledged last of each key.
type Acknowledged = BTreeMap<String, (LogIndex, Bytes)>;

struct Stage {
    directories: BTreeMap<ServerId, SimDirectory>,
    acknowledged: Acknowledged,
}

/// A snapshot and some three segments behind it, and a laggard that lacks the end.
fn stage() -> Stage {
    let mut cluster = Cluster::new(SNAPSHOT_BYTES);
    for id in ids() {
        cluster.start(id, blank(id)).expect("a blank directory starts");
    }
    assert!(cluster.run_until(PATIENCE, Cluster::is_settled), "a cluster is born");
    let mut acknowledged = Acknowledged::new();
    let mut put = |cluster: &mut Cluster, number: u32| {
        let (key, value) = (format!("key-{}", number % 17), vec![b'v'; 700 + number as usize]);
        let version = cluster.put(&key, value.clone());
        acknowledged.insert(key, (version, value.into()));
    };
    (0..200).for_each(|number| put(&mut cluster, number));
    assert!(cluster.run_until(PATIENCE, Cluster::is_settled));
    let mut directories = BTreeMap::from([(LAGGARD, cluster.stop(LAGGARD))]);
    let led = |cluster: &Cluster| cluster.serving().is_some();
    assert!(cluster.run_until(PATIENCE, led), "two of three go on");
    (200..215).for_each(|number| put(&mut cluster, number));
    directories.extend([DAMAGED, HOLDER].map(|id| (id, cluster.stop(id))));
    let segments = files(&directories[&DAMAGED]);
    let is = |kind: &str| segments.iter().filter(|(name, _)| name.starts_with(kind)).count();
    assert!(is("snapshot-") == 1 && is("journal-") >= 3, "{segments:?}");
    Stage { directories, acknowledged }
}

fn holds_all(state: &ReplicaState, acknowledged: &Acknowledged) -> bool {
    let committed = state.store.committed();
    acknowledged.iter().all(|(key, last)| committed.get(key.as_bytes()).as_ref() == Some(last))
}

/// How the runs went.
#[derive(Debug, Default)]
struct Counts {
    tried: usize,
    /// The damage was none, or lay where nothing is.
    whole: usize,
    /// What was lost came back from others.
    repaired: usize,
    /// The node did not start.
    refused: usize,
    /// Nobody served while copies were missing.
    stopped: usize,
}

/// Something was served that lacks what was acknowledged, or a repair did not come about.
fn judge(cluster: &Cluster, stage: &Stage, must_settle: bool, what: &str) {
    if must_settle {
        assert!(cluster.is_settled(), "{what}: not repaired");
    }
    for state in cluster.states().filter(|_| cluster.is_settled()).chain(cluster.serving()) {
        let node = state.server_id;
        assert!(holds_all(state, &stage.acknowledged), "{what}: node {node} lacks what was said");
    }
}

/// Runs each fault of the sectors that are picked. `order` gives who starts at once and who
/// joins when the others have had their time.
fn sweep(stage: &Stage, step: usize, (at_once, late): (&[ServerId], &[ServerId])) -> Counts {
    let mut counts = Counts::default();
    let intact = &stage.directories[&DAMAGED];
    let sectors = files(intact)
        .into_iter()
        .flat_map(|(name, sectors)| (0..sectors).map(move |sector| (name.clone(), sector)));
    for (number, (name, sector)) in sectors.enumerate().filter(|(at, _)| at % step == 0) {
        // A coarse sweep takes the faults in turn.
        let faults =
            Damage::ALL.iter().cycle().skip(number / step).take(if step == 1 { 4 } else { 1 });
        for fault in faults {
            let Some(directory) = damaged(intact, &name, sector, *fault) else { continue };
            let what = format!("{name}, sector {sector} {fault:?}");
            counts.run(stage, &directory, (at_once, late), &what);
        }
    }
    counts
}

impl Counts {
    fn run(
        &mut self,
        stage: &Stage,
        directory: &SimDirectory,
        (at_once, late): (&[ServerId], &[ServerId]),
        what: &str,
    ) {
        self.tried += 1;
        let found = disk::examine(directory);
        let was_damaged = found.is_ok_and(|found| found.recovered.doubt.is_some());
        let mut cluster = Cluster::new(SNAPSHOT_BYTES);
        let mut all_start = true;
        let mut start = |cluster: &mut Cluster, id: ServerId| {
            let directory = if id == DAMAGED { directory } else { &stage.directories[&id] };
            all_start &= cluster.start(id, directory.clone()).is_ok();
        };
        for id in at_once {
            start(&mut cluster, *id);
        }
        cluster.run_until(PATIENCE, Cluster::is_settled);
        judge(&cluster, stage, late.is_empty(), what);
        if !late.is_empty() && cluster.serving().is_none() {
            self.stopped += 1;
        }
        for id in late {
            start(&mut cluster, *id);
        }
        cluster.run_until(PATIENCE, Cluster::is_settled);
        judge(&cluster, stage, true, what);
        match (all_start, was_damaged) {
            (false, _) => self.refused += 1,
            (true, true) => self.repaired += 1,
            (true, false) => self.whole += 1,
        }
    }
}

/// Every sector, with all faults; `SWEEP=N` takes every N-th, with one.
fn step() -> usize {
    std::env::var("SWEEP").ok().and_then(|step| step.parse().ok()).unwrap_or(1)
}

#[test]
fn a_damaged_node_is_repaired_by_the_others() {
    let counts = sweep(&stage(), step(), (&[DAMAGED, HOLDER, LAGGARD], &[]));
    println!("all three start: {counts:?}");
    assert!(counts.repaired > 0 && counts.whole > 0 && counts.stopped == 0, "{counts:?}");
}

#[test]
fn without_the_only_other_holder_nothing_is_served_that_lacks_the_end() {
    let counts = sweep(&stage(), step(), (&[DAMAGED, LAGGARD], &[HOLDER]));
    println!("the only other holder is down: {counts:?}");
    assert!(counts.repaired > 0 && counts.stopped > 0, "{counts:?}");
}

#[test]
fn a_laggard_that_was_there_first_does_not_lead_without_the_end() {
    let counts = sweep(&stage(), step(), (&[LAGGARD], &[DAMAGED, HOLDER]));
    println!("the laggard is there first: {counts:?}");
    assert!(counts.repaired > 0, "{counts:?}");
}

fn readable(recovered: &Recovered) -> BTreeSet<u64> {
    let covered = recovered.snapshot.as_ref().map_or(0, |snapshot| snapshot.index().0);
    let entries = recovered.entries.iter().chain(&recovered.aside);
    (1..=covered).chain(entries.map(|entry| entry.index.0)).collect()
}

/// Two of three are damaged. When what one of them lost can be read at another, the cluster
/// comes back; when it cannot, nobody serves.
#[test]
fn two_damaged_nodes_repair_each_other() {
    let stage = stage();
    let mut random = fastrand::Rng::with_seed(9);
    let mut counts = Counts::default();
    let samples = 1_400 / step();
    while counts.tried < samples {
        let mut draw = |id: ServerId| {
            let intact = &stage.directories[&id];
            let files = files(intact);
            let (name, sectors) = &files[random.usize(..files.len())];
            let fault = [Damage::Zeroed, Damage::Flipped, Damage::Misplaced][random.usize(..3)];
            damaged(intact, name, random.usize(..*sectors), fault)
        };
        let (Some(one), Some(other)) = (draw(DAMAGED), draw(HOLDER)) else { continue };
        counts.run_both(&stage, one, other);
    }
    println!("two are damaged: {counts:?}");
    assert!(counts.repaired > 0, "{counts:?}");
}

impl Counts {
    fn run_both(&mut self, stage: &Stage, one: SimDirectory, other: SimDirectory) {
        self.tried += 1;
        let laggard = stage.directories[&LAGGARD].clone();
        let found = [&one, &other, &laggard].map(|directory| {
            disk::examine(directory).expect("one copy of meta is intact").recovered
        });
        let was_damaged = found.iter().any(|found| found.doubt.is_some());
        let last = stage.acknowledged.values().map(|(version, _)| version.0).max();
        let of_any: BTreeSet<u64> = found.iter().flat_map(readable).collect();
        let is_whole = (1..=last.unwrap_or(0)).all(|index| of_any.contains(&index));
        let mut cluster = Cluster::new(SNAPSHOT_BYTES);
        for (id, directory) in [(DAMAGED, one), (HOLDER, other), (LAGGARD, laggard)] {
            cluster.start(id, directory).expect("one copy of meta is intact");
        }
        cluster.run_until(PATIENCE, Cluster::is_settled);
        judge(&cluster, stage, is_whole, &format!("sample {}", self.tried));
        match (cluster.is_settled(), was_damaged) {
            (true, true) => self.repaired += 1,
            (true, false) => self.whole += 1,
            (false, _) => self.stopped += 1,
        }
    }
}
