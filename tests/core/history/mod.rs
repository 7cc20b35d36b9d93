//! The history checker: planted faults are found by name, and every verdict on a small
//! history is that of trying all orders.

mod executed;
mod model;

use std::time::Instant;

use bytes::Bytes;
use executed::{Fate, Plan};
use proptest::prelude::*;
use proptest::sample::Index;
use quorate::history::{Kind, Operation, Output, Status, Verdict, check};

/// A history in which one operation follows the other, all on one key. Each line is an
/// operation and its answer; `?` stands for none and `!` for a refusal.
fn told(lines: &[(&str, &str)]) -> Vec<Operation> {
    let moments = (0..).step_by(10);
    moments.zip(lines).enumerate().map(|(place, (call, line))| one(place, call, *line)).collect()
}

fn one(place: usize, call: u64, (asked, answer): (&str, &str)) -> Operation {
    let words: Vec<&str> = asked.split(' ').collect();
    let bytes = |word: &str| Bytes::from(word.to_owned());
    let some = |word: &str| (word != "nothing").then(|| bytes(word));
    let (kind, out) = match words[..] {
        ["put", value] => (Kind::Put { value: bytes(value) }, Output::None),
        ["append", value] => (Kind::Append { value: bytes(value) }, Output::None),
        ["get"] => (Kind::Get, Output::Value(some(answer))),
        ["delete"] => (Kind::Delete, Output::Bool(answer == "yes")),
        ["cas", expected, value] => {
            let kind = Kind::CompareAndSwap { expected: some(expected), value: bytes(value) };
            (kind, Output::Bool(answer == "yes"))
        }
        ["incr", by] => {
            let by = by.parse().expect("a number");
            (Kind::Increment { by }, Output::Total(answer.parse().unwrap_or_default()))
        }
        _ => panic!("{asked} is no operation"),
    };
    let (status, ret) = match answer {
        "?" => (Status::Unknown, None),
        "!" => (Status::Fail, Some(call + 5)),
        _ => (Status::Ok, Some(call + 5)),
    };
    let out = if status == Status::Ok { out } else { Output::None };
    let key = Bytes::from_static(b"k");
    Operation { client: 1, kind, key, call, ret, status, out, index: None, line: place + 1 }
}

/// Asserts that the checker names the operation at this place, counted from 0.
#[track_caller]
fn assert_names(position: usize, history: &[Operation]) {
    match check(history) {
        Verdict::NotLinearizable { position: named, .. } => assert_eq!(named, position),
        verdict => panic!("{verdict:?}, but {position} fits nowhere"),
    }
}

#[track_caller]
fn assert_fits(history: &[Operation]) {
    assert_eq!(check(history), Verdict::Linearizable);
}

#[test]
fn a_stale_read_is_named() {
    assert_names(2, &told(&[("put a", "done"), ("put b", "done"), ("get", "a")]));
    assert_names(2, &told(&[("put a", "done"), ("get", "a"), ("get", "nothing")]));
}

/// The log's order explains the answers, and still contradicts the order of time.
#[test]
fn a_stale_read_that_names_an_old_index_is_named() {
    let mut history = told(&[("put a", "done"), ("put b", "done"), ("get", "a")]);
    for (operation, index) in history.iter_mut().zip([1, 2, 1]) {
        operation.index = Some(index);
    }
    assert_names(2, &history);
}

#[test]
fn a_lost_write_is_named_by_who_misses_it() {
    assert_names(1, &told(&[("put a", "done"), ("get", "nothing"), ("get", "nothing")]));
    assert_names(2, &told(&[("put a", "done"), ("append b", "done"), ("get", "a")]));
}

#[test]
fn a_value_that_nobody_wrote_is_named() {
    assert_names(1, &told(&[("put a", "done"), ("get", "b")]));
}

#[test]
fn a_doubled_increment_is_named() {
    assert_names(1, &told(&[("incr 10", "10"), ("incr 10", "30"), ("get", "30")]));
    assert_names(1, &told(&[("incr 10", "10"), ("get", "20")]));
    assert_names(2, &told(&[("incr 10", "10"), ("incr 10", "?"), ("incr 10", "40")]));
}

#[test]
fn an_increment_that_was_lost_is_named() {
    assert_names(1, &told(&[("incr 10", "10"), ("incr 10", "10")]));
}

#[test]
fn a_comparison_that_should_have_failed_is_named() {
    assert_names(1, &told(&[("put a", "done"), ("cas b c", "yes")]));
    assert_names(1, &told(&[("put a", "done"), ("cas nothing c", "yes")]));
    assert_names(0, &told(&[("cas a b", "yes"), ("get", "b")]));
}

#[test]
fn a_comparison_that_should_not_have_failed_is_named() {
    assert_names(1, &told(&[("put a", "done"), ("cas a b", "no")]));
    assert_names(0, &told(&[("cas nothing b", "no")]));
}

#[test]
fn a_removal_that_answers_wrong_is_named() {
    assert_names(0, &told(&[("delete", "yes")]));
    assert_names(1, &told(&[("put a", "done"), ("delete", "no")]));
    assert_names(2, &told(&[("put a", "done"), ("delete", "yes"), ("delete", "yes")]));
}

#[test]
fn a_removal_undone_is_named() {
    assert_names(2, &told(&[("put a", "done"), ("delete", "yes"), ("get", "a")]));
}

#[test]
fn an_unknown_write_may_take_effect_at_once_later_or_never() {
    let history = |first, second, third| {
        told(&[("put a", "done"), ("put b", "?"), ("get", first), ("get", second), ("get", third)])
    };
    assert_fits(&history("b", "b", "b"));
    assert_fits(&history("a", "a", "b"));
    assert_fits(&history("a", "a", "a"));
    assert_names(3, &history("b", "a", "a"));
    assert_names(4, &history("a", "b", "a"));
}

#[test]
fn an_unknown_increment_counts_once_or_not() {
    assert_fits(&told(&[("incr 1", "1"), ("incr 5", "?"), ("incr 1", "2"), ("get", "7")]));
    assert_fits(&told(&[("incr 1", "1"), ("incr 5", "?"), ("incr 1", "2"), ("get", "2")]));
    assert_names(2, &told(&[("incr 5", "?"), ("get", "5"), ("get", "10")]));
}

#[test]
fn an_unknown_write_before_its_call_is_named() {
    let mut history = told(&[("get", "a"), ("put a", "?")]);
    assert_names(0, &history);
    history[1].call = 3;
    assert_fits(&history);
}

#[test]
fn a_refused_write_that_took_effect_is_named_by_who_saw_it() {
    assert_fits(&told(&[("put a", "done"), ("put b", "!"), ("get", "a")]));
    assert_names(2, &told(&[("put a", "done"), ("put b", "!"), ("get", "b")]));
    assert_names(2, &told(&[("incr 1", "1"), ("incr 1", "!"), ("get", "2")]));
}

/// A put that changes nothing in one place may be what explains a read in another.
#[test]
fn a_put_of_the_same_value_may_come_later() {
    let mut history =
        told(&[("put a", "done"), ("put a", "done"), ("put b", "done"), ("get", "a")]);
    assert_names(3, &history);
    history[1].ret = Some(100);
    assert_fits(&history);
}

/// Two reads at once must not see two writes in different orders.
#[test]
fn a_new_value_followed_by_the_old_one_is_named() {
    let mut history = told(&[("put a", "done"), ("put b", "done"), ("get", "b"), ("get", "a")]);
    history[1].ret = Some(100);
    assert_names(3, &history);
    history[3].call = 16;
    assert_fits(&history);
}

#[test]
fn a_fault_on_one_key_is_found_among_others() {
    let mut history = told(&[("put a", "done"), ("get", "nothing")]);
    let mut others = told(&[("put a", "done"), ("get", "a"), ("delete", "yes")]);
    for operation in &mut others {
        operation.key = Bytes::from_static(b"a");
    }
    others.append(&mut history);
    assert_names(4, &others);
}

/// An answer that is not the one given.
fn altered(out: &Output) -> Output {
    match out {
        Output::None => Output::None,
        Output::Value(Some(_)) => Output::Value(None),
        Output::Value(None) => Output::Value(Some(Bytes::from_static(b"a"))),
        Output::Bool(answer) => Output::Bool(!answer),
        Output::Total(total) => Output::Total(total + 1),
    }
}

fn plans(clients: u64, most: usize) -> impl Strategy<Value = Vec<Plan>> {
    prop::collection::vec(executed::plan(clients), 1..=most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// Most of these fit no order, some do.
    #[test]
    fn agrees_with_brute_force_on_altered_histories(
        plans in plans(3, 6),
        alterations in prop::collection::vec(0..4_u8, 6),
    ) {
        let mut history = executed::happen(&plans);
        for (operation, alteration) in history.iter_mut().zip(alterations) {
            if alteration == 0 && operation.status == Status::Ok {
                operation.out = altered(&operation.out);
            }
        }
        let is_linearizable = model::is_linearizable(&history);
        let verdict = check(&history);
        prop_assert_eq!(verdict == Verdict::Linearizable, is_linearizable, "by the log's order");
        let verdict = check(&executed::without_indexes(history.clone()));
        prop_assert_eq!(verdict == Verdict::Linearizable, is_linearizable, "by search");
        if let Verdict::NotLinearizable { position, .. } = verdict {
            prop_assert_eq!(history[position].status, Status::Ok, "only an answer can be wrong");
        } else {
            prop_assert_eq!(verdict, Verdict::Linearizable, "small enough to decide");
        }
    }

    #[test]
    fn what_happened_is_linearizable(plans in plans(5, 60)) {
        let history = executed::happen(&plans);
        prop_assert_eq!(check(&history), Verdict::Linearizable);
        prop_assert_eq!(check(&executed::without_indexes(history)), Verdict::Linearizable);
    }

    /// Where nothing overlaps and all is known there is one order, so the wrong answer
    /// itself is named.
    #[test]
    fn one_wrong_answer_is_named(mut plans in plans(1, 40), which in any::<Index>()) {
        for plan in &mut plans {
            plan.fate = Fate::Answered;
        }
        let mut history = executed::happen(&plans);
        let telling: Vec<usize> =
            (0..history.len()).filter(|&at| history[at].out != Output::None).collect();
        prop_assume!(!telling.is_empty());
        let position = *which.get(&telling);
        history[position].out = altered(&history[position].out);
        assert_names(position, &history);
    }
}

/// Ten thousand operations of sixteen clients on ten keys, one in fifty unknown. Shown
/// with `--nocapture`: how long the verdict takes.
#[test]
fn a_long_history_is_decided() {
    let mut random = fastrand::Rng::with_seed(1);
    let plans: Vec<Plan> = (0..10_000).map(|number| long_plan(&mut random, number)).collect();
    let mut history = executed::without_indexes(executed::happen(&plans));
    let started = Instant::now();
    assert_fits(&history);
    println!("10,000 operations that fit: {:?}", started.elapsed());
    let position = history.iter().rposition(|operation| {
        matches!(operation.out, Output::Value(Some(_)) if operation.status == Status::Ok)
    });
    let position = position.expect("somebody reads");
    history[position].out = Output::Value(Some(Bytes::from_static(b"never written")));
    let started = Instant::now();
    assert_names(position, &history);
    println!("10,000 operations, one of which fits nowhere: {:?}", started.elapsed());
}

/// The mix of a benchmark: values are unique, numbers have keys of their own.
fn long_plan(random: &mut fastrand::Rng, number: u64) -> Plan {
    let value = || Bytes::from(format!("value {number}"));
    let key = random.u8(0..8);
    let (key, kind) = match random.u8(0..20) {
        0..10 => (format!("k{key}"), Kind::Get),
        10..16 => (format!("k{key}"), Kind::Put { value: value() }),
        16 => (format!("k{key}"), Kind::CompareAndSwap { expected: None, value: value() }),
        17 => (format!("k{key}"), Kind::Delete),
        _ => (format!("n{}", key % 2), Kind::Increment { by: 1 }),
    };
    let fate = match random.u8(0..100) {
        0 => Fate::Lost,
        1 => Fate::Unanswered { later: random.u64(0..1_000) },
        _ => Fate::Answered,
    };
    Plan {
        client: number % 16,
        key: key.into(),
        kind,
        pause: random.u64(0..20),
        effect_after: random.u64(0..50),
        return_after: random.u64(0..50),
        fate,
    }
}
