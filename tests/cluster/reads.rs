//! Any node answers reads.

use crate::cluster::{Cluster, IDS};
use crate::processes::eventually;

#[test]
fn a_read_sees_every_acknowledged_write_whoever_is_asked() {
    let cluster = Cluster::start();
    for round in 1..=10 {
        let value = round.to_string();
        let writer = IDS[round % 3];
        cluster.ask(writer, &["put", "k", &value]).expect(0);
        for id in IDS {
            assert_eq!(cluster.ask(id, &["get", "k"]).expect(0).text(), value, "node {id}");
        }
    }
}

#[test]
fn a_stale_read_says_its_index_and_its_age_and_needs_nobody_else() {
    let mut cluster = Cluster::start();
    let written = cluster.run(&["put", "k", "v", "--json"]).expect(0).json();
    let index = written["index"].as_u64().expect("the index is a number");
    for id in IDS {
        eventually(&format!("node {id} knows of the commit"), || {
            let ran = cluster.ask(id, &["get", "k", "--stale"]);
            let (_, said) = ran.err.split_once("stale: the state at index ")?;
            let (at, age) = said.split_once(", at most ")?;
            assert!(age.ends_with(" s old\n"), "{}", ran.err);
            (at.parse::<u64>().is_ok_and(|at| at >= index) && ran.text() == "v").then_some(())
        });
    }
    let left = cluster.follower();
    for id in IDS.into_iter().filter(|id| *id != left) {
        cluster.kill(id);
    }
    assert_eq!(cluster.ask(left, &["get", "k", "--stale"]).expect(0).text(), "v");
    cluster.ask(left, &["get", "k", "--timeout", "0.5"]).expect(3);
}

#[test]
fn the_longest_value_is_replicated_and_read_from_each_node() {
    let cluster = Cluster::start();
    let value: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    for id in IDS {
        let key = format!("from-{id}");
        crate::processes::quorate(cluster.address(id), &["put", &key, "-"], &value).expect(0);
        for asked in IDS {
            assert!(cluster.ask(asked, &["get", &key]).expect(0).out == value, "node {asked}");
        }
    }
    for id in IDS {
        eventually(&format!("node {id} holds it itself"), || {
            (cluster.ask(id, &["get", "from-3", "--stale"]).out == value).then_some(())
        });
    }
}
