//! Histories whose verdict is known, and the checker against a slow twin.

mod twin;

use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate::history::{self, Kind, Operation, Output, Status, Verdict, json_lines};

/// The committed history of this name, and its verdict.
fn check(name: &str) -> (Vec<Operation>, Verdict) {
    let path = format!("{}/tests/history/data/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(path).expect("it is committed");
    let operations = json_lines::read(&text).expect("it is well formed");
    let verdict = history::check(&operations);
    (operations, verdict)
}

#[test]
fn what_can_be_explained_is_linearizable() {
    assert_eq!(check("good").1, Verdict::Linearizable);
}

#[test]
fn a_planted_fault_is_found_and_its_operation_named() {
    for (name, line, states) in [
        ("lost-put", 5, vec![Some("2")]),
        ("stale-get", 6, vec![Some("2")]),
        ("two-winning-cas", 4, vec![Some("2")]),
        ("delete-of-nothing", 4, vec![None]),
        ("incr-twice", 3, vec![Some("10")]),
        ("unknown-twice", 5, vec![Some("2")]),
        ("unknown-too-early", 2, vec![None]),
        ("refused-put-seen", 3, vec![None]),
    ] {
        let (operations, verdict) = check(name);
        let Verdict::NotLinearizable { position, states: found } = verdict else {
            panic!("{name}: {verdict:?}")
        };
        let states: Vec<Option<Bytes>> =
            states.into_iter().map(|state| state.map(Bytes::from)).collect();
        assert_eq!((operations[position].line, found), (line, states), "{name}");
    }
}

#[test]
fn the_checker_and_its_slow_twin_agree() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut verdicts = [0, 0];
    for round in 0..30_000 {
        let operations = twin::draw_history(&mut random);
        let explained = twin::is_linearizable(&operations);
        let verdict = history::check(&operations);
        assert_eq!(verdict == Verdict::Linearizable, explained, "{round}: {operations:#?}");
        verdicts[usize::from(explained)] += 1;
    }
    assert!(verdicts.iter().all(|count| *count > 3_000), "{verdicts:?} are of one kind");
}

#[test]
fn ten_thousand_operations_take_well_under_a_second() {
    let operations = twin::run_clients(10_000, &mut fastrand::Rng::with_seed(2));
    let started = Instant::now();
    assert_eq!(history::check(&operations), Verdict::Linearizable);
    let took = started.elapsed();
    assert!(took < Duration::from_millis(500), "{took:?}");
    // The same with one answer that cannot be.
    let mut broken = operations;
    let position = broken.len() - 500;
    broken[position].kind = Kind::Get;
    broken[position].status = Status::Ok;
    broken[position].ret = Some(broken[position].call + 1);
    broken[position].out = Output::Value(Some("nobody's".into()));
    let Verdict::NotLinearizable { position: found, .. } = history::check(&broken) else {
        panic!("the fault is not found")
    };
    assert_eq!(found, position);
}
