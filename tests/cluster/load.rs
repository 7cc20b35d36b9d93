//! A load while nodes are killed and started again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fastrand::Rng;

use crate::cluster::{Cluster, IDS};
use crate::processes::quorate;

const LINES: usize = 5_000;
const KILLS_MIN: usize = 3;

#[test]
fn a_load_outlives_the_random_deaths_of_nodes() {
    let mut cluster = Cluster::start();
    let seed = Rng::new().u64(..);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let input = lines(&mut random);
    let servers = cluster.servers();
    let loaded = AtomicBool::new(false);
    let kills = thread::scope(|scope| {
        scope.spawn(|| {
            quorate(&servers, &["load", "-", "--timeout", "20"], &input).expect(0);
            loaded.store(true, Ordering::Relaxed);
        });
        let mut kills = 0;
        while !loaded.load(Ordering::Relaxed) || kills < KILLS_MIN {
            let id = IDS[random.usize(..IDS.len())];
            cluster.kill(id);
            cluster.start_node(id);
            cluster.node(id).wait_until_ready();
            kills += 1;
        }
        kills
    });
    println!("{kills} nodes were killed");
    assert!(kills >= KILLS_MIN);
    cluster.wait_until_well();
    for id in IDS {
        cluster.wait_for_dump(id, &input);
    }
}

/// Lines in the order of their keys.
fn lines(random: &mut Rng) -> Vec<u8> {
    let mut pairs = BTreeMap::new();
    while pairs.len() < LINES {
        let value: String = (0..random.usize(..200)).map(|_| random.alphanumeric()).collect();
        pairs.insert(format!("key-{:08x}", random.u32(..)), value);
    }
    let lines = pairs.iter().map(|(key, value)| format!("{key}\t{value}\n"));
    lines.collect::<String>().into_bytes()
}
