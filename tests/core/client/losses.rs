//! What a client makes of losses: how soon it asks again, and whom.

use std::time::Duration;

use quorate::client::{Answer, ClientConfig};
use quorate::operation::Outcome;
use quorate::types::{LossShare, Sequence};
use quorate::wire::{About, DeclineReason};

use super::stage::{SESSION, Stage, config, put};

const MILLISECOND: Duration = Duration::from_millis(1);

/// Lets the operation be asked for again so often. Returns the longest wait for that.
fn ask_again(stage: &mut Stage, times: usize) -> Duration {
    let waits = (0..times).map(|_| stage.wait().1);
    waits.max().expect("it is asked for again at least once")
}

/// Right after the second asking it is answered, so the first one was lost: the answer takes no
/// longer than the client knows.
#[test]
fn a_client_does_not_take_loss_for_slowness() {
    let mut stage = Stage::new(1);
    stage.measure_round_trips();
    stage.execute(put("value"));
    stage.now = stage.now + MILLISECOND;
    stage.open_session(SESSION, 1_024);
    for sequence in 1..=4 {
        stage.sent();
        ask_again(&mut stage, 1);
        stage.now = stage.now + MILLISECOND;
        settle(&mut stage, Sequence(sequence));
        stage.execute(put("next"));
    }
    stage.sent();
    let waited = ask_again(&mut stage, 1);
    assert!(waited <= 100 * MILLISECOND, "waited {waited:?}");
}

/// Somewhat later than two round trips, which is how long operations take here, it is answered.
#[test]
fn a_client_does_not_take_loss_for_slowness_where_all_links_are_alike() {
    let mut stage = Stage::new(1);
    stage.measure_round_trips();
    stage.execute(put("value"));
    stage.now = stage.now + 20 * MILLISECOND;
    stage.open_session(SESSION, 1_024);
    for sequence in 1..=4 {
        stage.sent();
        ask_again(&mut stage, 1);
        stage.now = stage.now + 41 * MILLISECOND;
        stage.keep_for(21 * MILLISECOND);
        settle(&mut stage, Sequence(sequence));
        stage.execute(put("next"));
    }
    stage.sent();
    let waited = ask_again(&mut stage, 1);
    assert!(waited <= 100 * MILLISECOND, "waited {waited:?}");
}

/// A client that knows three servers, and the ways to the first of them, which lose a little.
fn on_lossy_ways() -> (Stage, Sequence) {
    let mut stage = Stage::with_session(config(3));
    stage.loss = LossShare(10);
    for sequence in 2..=110 {
        answer_after(&mut stage, 0, Sequence(sequence));
    }
    (stage, Sequence(111))
}

/// An operation is answered by the first server when it was asked for again so often.
fn answer_after(stage: &mut Stage, times: usize, sequence: Sequence) {
    stage.execute(put("value"));
    stage.sent();
    (0..times).for_each(|_| drop(stage.wait()));
    settle(stage, sequence);
}

fn settle(stage: &mut Stage, sequence: Sequence) {
    stage.settle(0, SESSION, sequence, Outcome::Written);
    assert!(matches!(stage.end(), Some((_, Answer::Settled(_)))));
}

/// Others are asked when something was lost, and there something may be lost as well.
#[test]
fn what_is_known_of_one_node_holds_for_those_that_were_hardly_ever_asked() {
    let (mut stage, mut sequence) = on_lossy_ways();
    for _ in 0..4 {
        answer_after(&mut stage, 1, sequence);
        sequence = sequence.next();
    }
    stage.execute(put("value"));
    stage.sent();
    let waited = ask_again(&mut stage, 6);
    assert!(waited <= 100 * MILLISECOND, "waited {waited:?}");
}

#[test]
fn where_something_is_lost_silence_tells_little_of_a_node() {
    let (mut stage, _) = on_lossy_ways();
    stage.execute(put("value"));
    let (_, request) = stage.sent_request();
    let about = About::Request(request.session, request.sequence);
    let (mut servers, mut waits) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let (sent, waited) = stage.wait();
        servers.push(sent.iter().map(|sent| sent.server).collect());
        waits.push(waited.as_millis());
        stage.decline(2, about, DeclineReason::NotLeader, Some(0));
        assert_eq!(stage.sent(), [], "that one is being asked");
    }
    let expected: [&[usize]; 5] = [&[0], &[0], &[0, 1, 2], &[1, 0, 2], &[1, 0, 2]];
    assert_eq!((servers, waits), (expected.map(Vec::from).to_vec(), vec![50, 50, 50, 50, 100]));
}

/// A client whose second server was never heard, and from whose first one something was lost, or
/// nothing.
fn tells_a_new_server(lost: usize) -> LossShare {
    let mut stage = Stage::with_session(config(2));
    (0..lost).for_each(|_| stage.lose_one());
    for sequence in 2..=6 {
        answer_after(&mut stage, 0, Sequence(sequence));
    }
    stage.execute(put("value"));
    let (_, request) = stage.sent_request();
    let about = About::Request(request.session, request.sequence);
    stage.decline(0, about, DeclineReason::NotLeader, Some(1));
    stage.sent_request();
    stage.told_loss
}

#[test]
fn a_server_is_told_what_others_have_lost_to_send_copies_from_the_first() {
    assert_eq!(tells_a_new_server(0), LossShare(0));
    assert!(tells_a_new_server(1) > LossShare(0));
}

#[test]
fn a_request_is_sent_no_more_often_than_the_client_was_told() {
    for redundancy_max in 1..=4 {
        let mut stage = Stage::with_session(ClientConfig { redundancy_max, ..config(1) });
        stage.loss = LossShare(200);
        answer_after(&mut stage, 0, Sequence(2));
        stage.execute(put("value"));
        assert_eq!(stage.sent().len(), usize::from(redundancy_max));
    }
}
