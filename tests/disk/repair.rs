//! The power fails while a damaged journal is written anew. Doubt stands, or nothing is
//! missing; and what could be read can be read again.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate::disk::{self, Directory, Doubt, Record, Recovered};
use quorate::sim::{Damage, SimDirectory};
use quorate::types::LogIndex;

use super::damage::{check, damaged, files, is_segment};
use super::life::{Expected, lived, long_life, start};
use super::recording::Recording;
use super::set_aside::{keeps, set_aside};

fn readable(recovered: &Recovered) -> BTreeSet<u64> {
    recovered.entries.iter().chain(&recovered.aside).map(|entry| entry.index.0).collect()
}

#[test]
fn writing_a_journal_anew_can_be_interrupted_anywhere() {
    let (intact, expected) = lived(&long_life());
    let (mut moments, mut seed) = (0, 0);
    for (name, sectors) in files(&intact) {
        for (at, sector) in (0..sectors).step_by(29).enumerate() {
            let fault = Damage::ALL[at % Damage::ALL.len()];
            let Some(directory) = damaged(&intact, &name, sector, fault) else { continue };
            let Ok(found) = disk::examine(&directory) else { continue };
            let damaged = directory.read(&name).expect("a file");
            let before = (damaged, found.recovered);
            let mut starting = Recording::of(directory);
            start(&mut starting);
            for copy in starting.copies {
                seed += 1;
                moments += 1;
                let what = format!("{name}, sector {sector}, {fault:?}, moment {moments}");
                check_next_start(&copy, seed, &before, &expected, &what);
            }
        }
    }
    assert!(moments > 400, "{moments}");
}

fn check_next_start(
    copy: &SimDirectory,
    seed: u64,
    (damaged, before): &(Bytes, Recovered),
    expected: &Expected,
    what: &str,
) {
    let mut directory = copy.clone();
    directory.lose_power(&mut fastrand::Rng::with_seed(seed));
    let (_, recovered) = start(&mut directory);
    let lost = expected.log.iter().map(|entry| entry.index.0);
    let lost: BTreeSet<u64> = lost.filter(|index| !readable(before).contains(index)).collect();
    check(&recovered, expected, &lost, what);
    assert_eq!(Doubt::join(before.doubt, recovered.doubt), recovered.doubt, "{what}");
    assert!(recovered.doubt.is_none() || keeps(damaged, &directory), "{what}");
}

/// The others have sent what was missing. It must be durable before the doubt ends, also
/// where both are recorded together.
#[test]
fn the_end_of_doubt_is_durable_last() {
    let (intact, expected) = lived(&long_life());
    let (name, _) = files(&intact).into_iter().rfind(is_segment).expect("a segment");
    let directory = damaged(&intact, &name, 3, Damage::ALL[0]).expect("it holds something");
    let mut repairing = Recording::of(directory);
    let (mut journal, recovered) = start(&mut repairing);
    assert!(recovered.doubt.is_some());
    repairing.copies.clear();
    let (_, LogIndex(end)) = recovered.log_end();
    let missing = &expected.log[usize::try_from(end).expect("a short log")..];
    let mut records: Vec<Record> = missing.iter().cloned().map(Record::Append).collect();
    records.push(Record::Doubt(None));
    journal.write(&mut repairing, &records).expect("a disk that works");
    journal.sync(&mut repairing).expect("a disk that works");
    let mut healed = 0;
    for (seed, copy) in (0..).zip(repairing.copies) {
        let mut directory = copy;
        directory.lose_power(&mut fastrand::Rng::with_seed(seed));
        let kept = set_aside(&directory).len();
        let (_, recovered) = start(&mut directory);
        let is_whole = recovered.log_end() == (expected.last().term, expected.last().index);
        assert!(is_whole || recovered.doubt.is_some(), "{:?}", recovered.log_end());
        assert!(kept > 0 || recovered.doubt.is_none(), "{:?}", recovered.doubt);
        assert!(set_aside(&directory).is_empty() == recovered.doubt.is_none());
        healed += u32::from(recovered.doubt.is_none());
    }
    assert!(healed > 0);
}
