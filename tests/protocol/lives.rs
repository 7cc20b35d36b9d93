//! Directories that were rolled back or cloned: whose votes and acknowledgments count, and
//! what a node does whose own directory others know better.

use std::collections::BTreeMap;

use quorate::disk::{Doubt, GenesisState, LogEnd, Record, Recovered, Sighting};
use quorate::entry::Entry;
use quorate::types::{DirectoryId, Incarnation, LifeId, LogIndex, ServerId, Term};
use quorate::wire::{
    Header, Introduce, Message, RepairReply, Resume, Role, Sighted, Standing, Verdict, VoteReply,
    VoteRequest,
};

use super::leader::{heartbeat, noop_after, replicate};
use super::members::{FIRST, SECOND, THIRD, configuration, directory_of};
use super::probe::{Probe, blank};
use super::said::{acknowledged, to_peer};

const SECOND_START: (Incarnation, LifeId) = (Incarnation(2), LifeId(22));

/// What the node says of a life of the second one, whose directory holds this.
fn verdict(probe: &mut Probe, life: (Incarnation, LifeId), held: Resume) -> Verdict {
    probe.said_of_lives();
    probe.hear_from((SECOND, directory_of(SECOND), life), Message::Resume(held));
    probe.sync();
    let said = probe.said_of_lives();
    let verdicts = to_peer(&said, SECOND).into_iter().filter_map(|message| match message {
        Message::Sighted(sighted) if sighted.life == life.1 => Some(sighted.verdict),
        _ => None,
    });
    verdicts.last().expect("who says what it holds is answered")
}

fn held(term: u64, voted: bool, end: LogEnd) -> Resume {
    Resume { term: Term(term), voted, end: Some(end) }
}

const END: LogEnd = (Term(0), LogIndex(1));

/// A leader of term 1 whose first entry, at index 2, is on the second node's disk.
fn serving() -> Probe {
    let probe = Probe::serving(3);
    assert_eq!(probe.state().term, Term(1));
    probe
}

#[test]
fn a_directory_that_holds_all_that_was_seen_is_whole() {
    let same = held(1, true, (Term(1), LogIndex(2)));
    let longer = held(1, true, (Term(1), LogIndex(5)));
    // A leader of a later term has removed what stood there: that is no loss.
    let truncated = held(3, false, END);
    let unbounded = Resume { end: None, ..same };
    for held in [same, longer, truncated, unbounded] {
        assert_eq!(verdict(&mut serving(), SECOND_START, held), Verdict::Whole, "{held:?}");
    }
}

#[test]
fn a_directory_that_lacks_any_of_it_is_lost() {
    let older_term = held(0, false, END);
    let no_vote = held(1, false, (Term(1), LogIndex(2)));
    let no_entry = held(1, true, END);
    let bounded_below = held(1, true, (Term(1), LogIndex(1)));
    for held in [older_term, no_vote, no_entry, bounded_below] {
        assert_eq!(verdict(&mut serving(), SECOND_START, held), Verdict::Lost, "{held:?}");
    }
}

/// A node asks for votes whose log holds the genesis alone.
fn request_in(term: Term, pre_vote: bool) -> Message {
    let (last_term, last_index) = (Term(0), LogIndex(1));
    Message::VoteRequest(VoteRequest { term, pre_vote, transfer: false, last_term, last_index })
}

#[test]
fn a_candidate_has_voted_for_itself() {
    let mut probe = Probe::born(3);
    probe.hear(SECOND, request_in(Term(5), false));
    probe.sync();
    assert_eq!(verdict(&mut probe, SECOND_START, held(5, false, END)), Verdict::Lost);
}

/// It promises nothing.
#[test]
fn who_would_vote_has_not_voted() {
    let mut probe = Probe::born(3);
    let (term, pre_vote) = (Term(5), true);
    probe.hear(SECOND, request_in(term, pre_vote));
    let (granted, voter_term, lacks) = (true, Term(0), false);
    let vote = VoteReply { term, pre_vote, granted, voter_term, lacks };
    probe.hear(SECOND, Message::VoteReply(vote));
    probe.sync();
    assert_eq!(verdict(&mut probe, SECOND_START, held(0, false, END)), Verdict::Whole);
}

/// Who says where its log ends has promised the term that it says so in, and only then.
#[test]
fn a_term_is_promised_with_the_end_of_a_log() {
    for (end, expected) in [(Some(END), Verdict::Lost), (None, Verdict::Whole)] {
        let mut probe = Probe::born(3);
        let (term, first, entries) = (Term(5), LogIndex(2), Vec::new());
        let reply = RepairReply { term, end, first, entries };
        probe.hear(SECOND, Message::RepairReply(reply));
        assert_eq!(verdict(&mut probe, SECOND_START, held(4, false, END)), expected);
    }
}

#[test]
fn a_leader_says_what_of_its_term_is_on_its_own_disk() {
    let mut probe = serving();
    let told = |probe: &mut Probe| loop {
        let said = probe.wait_and_sync();
        let durable = to_peer(&said, SECOND).into_iter().find_map(|message| match message {
            Message::Heartbeat(beat) => Some(beat.durable),
            _ => None,
        });
        if let Some(durable) = durable {
            return durable;
        }
    };
    assert_eq!(told(&mut probe), LogIndex(2));
}

/// A frame that nothing shows to be of the present begins no life.
#[test]
fn of_a_stranger_directory_nothing_is_seen_before_it_speaks_of_the_present() {
    let mut probe = serving();
    let stranger = |header: &mut Header| {
        header.directory = DirectoryId(999);
        header.echo = None;
    };
    let resume = Message::Resume(held(1, false, END));
    probe.hear_altered(SECOND, stranger, resume.clone());
    probe.sync();
    assert_eq!(verdicts(&mut probe), [Verdict::Unheard]);
    probe.hear_altered(SECOND, |header| header.directory = DirectoryId(999), resume);
    probe.sync();
    assert_eq!(verdicts(&mut probe), [Verdict::Whole]);
}

/// Entries of earlier terms may give way to those of another leader.
#[test]
fn an_acknowledgment_shows_only_what_is_of_its_term() {
    let mut probe = Probe::leading(3);
    probe.acknowledge(SECOND, LogIndex(1));
    probe.sync();
    assert_eq!(verdict(&mut probe, SECOND_START, held(1, true, END)), Verdict::Whole);
}

#[test]
fn who_says_what_it_holds_is_answered_once() {
    let mut probe = serving();
    let all = held(1, true, (Term(1), LogIndex(2)));
    probe.hear_from((SECOND, directory_of(SECOND), SECOND_START), Message::Resume(all));
    probe.sync();
    assert_eq!(verdicts(&mut probe), [Verdict::Whole]);
    assert_eq!(probe.state().dropped, BTreeMap::new());
}

/// The first frame of the next start has nothing that it could echo, and none of the past is
/// like it.
#[test]
fn the_next_start_is_known_by_its_first_frame() {
    let mut probe = serving();
    let all = held(1, true, (Term(1), LogIndex(2)));
    let next = |header: &mut Header| {
        (header.incarnation, header.life) = SECOND_START;
        header.echo = None;
    };
    probe.hear_altered(SECOND, next, Message::Resume(all));
    probe.sync();
    assert_eq!(verdicts(&mut probe), [Verdict::Whole]);
}

/// Else both would answer each other without end.
#[test]
fn two_that_have_seen_each_other_lose_fall_silent() {
    let mut probe = serving();
    lose_second(&mut probe);
    probe.said_of_lives();
    let own = probe.state().life();
    let told = Sighted {
        directory: own.directory,
        incarnation: Incarnation(9),
        life: own.id,
        verdict: Verdict::Lost,
        seen_incarnation: own.incarnation,
        seen_term: Term(1),
        seen_vote: true,
        seen_index: LogIndex(0),
    };
    probe.hear(SECOND, Message::Sighted(told));
    probe.sync();
    assert_eq!(verdicts(&mut probe), []);
}

/// What the second one was told of its lives since this was last asked.
fn verdicts(probe: &mut Probe) -> Vec<Verdict> {
    let said = probe.said_of_lives();
    let verdict = |message: &Message| match message {
        Message::Sighted(sighted) => Some(sighted.verdict),
        _ => None,
    };
    to_peer(&said, SECOND).into_iter().filter_map(verdict).collect()
}

#[test]
fn what_a_leader_has_on_its_own_disk_is_seen() {
    let mut probe = Probe::born(3);
    let Message::Heartbeat(beat) = heartbeat(Term(2)) else { unreachable!() };
    let beat = quorate::wire::Heartbeat { durable: LogIndex(4), ..beat };
    probe.hear(SECOND, Message::Heartbeat(beat));
    probe.sync();
    let lacking = held(2, true, (Term(2), LogIndex(3)));
    assert_eq!(verdict(&mut probe, SECOND_START, lacking), Verdict::Lost);
}

#[test]
fn two_lives_of_one_start_are_a_loss() {
    let mut probe = serving();
    let twin = (Incarnation(1), LifeId(99));
    let all = held(9, true, (Term(9), LogIndex(9)));
    assert_eq!(verdict(&mut probe, twin, all), Verdict::Lost);

    // Each of them is told when it speaks, whatever it says.
    probe.said_of_lives();
    probe.acknowledge(SECOND, LogIndex(2));
    probe.sync();
    let said = probe.said_of_lives();
    let told = |message: &&Message| {
        matches!(message, Message::Sighted(Sighted { life: LifeId(1), verdict: Verdict::Lost, .. }))
    };
    assert!(to_peer(&said, SECOND).iter().any(told), "{said:?}");
}

/// The node itself has started anew, and knows the other from its disk alone.
#[test]
fn two_lives_of_one_start_are_a_loss_also_to_who_was_away() {
    let configuration = configuration(3);
    let seen = Sighting { incarnation: Incarnation(1), life: LifeId(1), ..Sighting::default() };
    let recovered = Recovered {
        genesis: GenesisState::Complete(configuration.clone()),
        commit: LogIndex(1),
        entries: vec![Entry::genesis(&configuration)],
        sightings: [((SECOND, directory_of(SECOND)), seen)].into(),
        ..blank(FIRST)
    };
    let mut probe = Probe::started_unheard(recovered, configuration);
    let twin = (SECOND, directory_of(SECOND), (Incarnation(1), LifeId(99)));
    probe.hear_from(twin, heartbeat(Term(1)));
    assert!(probe.state().sightings.is_lost(SECOND, directory_of(SECOND)));
}

/// Only the last entry of a term bounds what the next life must hold in that term.
#[test]
fn entries_of_earlier_terms_may_be_gone_at_the_next_start() {
    let third = (Incarnation(3), LifeId(33));
    for (term, expected) in [(1, Verdict::Whole), (3, Verdict::Lost)] {
        let mut probe = serving();
        let longer = held(3, true, (Term(term), LogIndex(5)));
        assert_eq!(verdict(&mut probe, SECOND_START, longer), Verdict::Whole);
        let shorter = held(3, true, (Term(term), LogIndex(3)));
        assert_eq!(verdict(&mut probe, third, shorter), expected);
    }
}

/// A frame of a former life says nothing of the present, and no life is lost for it.
#[test]
fn a_late_frame_of_a_former_life_harms_nobody() {
    let mut probe = serving();
    let all = held(1, true, (Term(1), LogIndex(2)));
    assert_eq!(verdict(&mut probe, SECOND_START, all), Verdict::Whole);
    let first = (Incarnation(1), LifeId(1));
    assert_eq!(verdict(&mut probe, first, held(0, false, END)), Verdict::Lost);
    assert_eq!(verdict(&mut probe, SECOND_START, all), Verdict::Whole);
}

/// A copy from before the birth knows no voters that it could ask: it only introduces itself.
#[test]
fn a_copy_that_only_introduces_itself_is_told_that_it_is_lost() {
    let mut probe = serving();
    let all = held(1, true, (Term(1), LogIndex(2)));
    assert_eq!(verdict(&mut probe, SECOND_START, all), Verdict::Whole);
    probe.said_of_lives();
    let copy = (Incarnation(1), LifeId(77));
    let introduce = Introduce { standing: Standing::Blank, list: Vec::new() };
    probe.hear_from((SECOND, directory_of(SECOND), copy), Message::Introduce(introduce));
    probe.sync();
    let said = probe.said_of_lives();
    let told = |message: &&Message| {
        matches!(message, Message::Sighted(Sighted { life, verdict: Verdict::Lost, .. })
            if *life == copy.1)
    };
    assert!(to_peer(&said, SECOND).iter().any(told), "{said:?}");
}

/// What is said in a life counts from when it is known what its directory held.
#[test]
fn who_has_not_said_what_it_holds_counts_for_nothing() {
    let mut probe = Probe::leading(3);
    let second = (SECOND, directory_of(SECOND), SECOND_START);
    let answer = Message::Acknowledge(probe.acknowledgment(LogIndex(2)));
    probe.hear_from(second, answer.clone());
    probe.sync();
    assert_eq!(probe.state().commit, LogIndex(1));
    let said = probe.said_of_lives();
    let asks = |message: &&Message| {
        matches!(message, Message::Sighted(Sighted { verdict: Verdict::Unheard, .. }))
    };
    assert!(to_peer(&said, SECOND).iter().any(asks), "{said:?}");

    let all = held(1, true, (Term(1), LogIndex(2)));
    assert_eq!(verdict(&mut probe, SECOND_START, all), Verdict::Whole);
    probe.hear_from(second, answer);
    probe.sync();
    assert_eq!(probe.state().commit, LogIndex(2));
}

#[test]
fn the_vote_of_a_lost_directory_does_not_count() {
    let mut probe = Probe::born(3);
    let twin = (Incarnation(1), LifeId(99));
    verdict(&mut probe, twin, held(9, true, END));
    for _ in 0..8 {
        let said = probe.wait_and_sync();
        let to_second: Vec<_> =
            said.into_iter().filter(|sent| sent.to == super::members::address_of(SECOND)).collect();
        probe.grant(&to_second);
        probe.sync();
    }
    assert_ne!(probe.state().role, Role::Leader);
    probe.elect();
}

/// Another life of the second one's first start is heard, while the disk is busy.
fn lose_second(probe: &mut Probe) {
    let twin = (SECOND, directory_of(SECOND), (Incarnation(1), LifeId(99)));
    probe.hear_from(twin, Message::Resume(held(9, true, END)));
    assert!(probe.state().sightings.is_lost(SECOND, directory_of(SECOND)));
    probe.turn();
}

/// What it has said before may be what it has forgotten.
#[test]
fn what_was_acknowledged_in_a_directory_that_is_lost_does_not_count() {
    let mut probe = serving();
    probe.ask_to_put(1);
    probe.turn();
    let batch = probe.write();
    probe.acknowledge(SECOND, LogIndex(3));
    probe.turn();
    lose_second(&mut probe);
    probe.synced(batch);
    probe.turn();
    assert_eq!(probe.state().commit, LogIndex(2), "on one disk of those that count");
    probe.acknowledge(THIRD, LogIndex(3));
    probe.turn();
    assert_eq!(probe.state().commit, LogIndex(3));
}

#[test]
fn a_vote_that_was_granted_in_a_directory_that_is_lost_does_not_count() {
    let mut probe = Probe::born(5);
    while probe.state().term == Term(0) {
        let asked = probe.wait_and_sync();
        probe.grant(&asked);
    }
    probe.sync();
    let vote = VoteReply {
        term: Term(1),
        pre_vote: false,
        granted: true,
        voter_term: Term(1),
        lacks: false,
    };
    probe.hear(SECOND, Message::VoteReply(vote));
    lose_second(&mut probe);
    probe.hear(THIRD, Message::VoteReply(vote));
    assert_eq!(probe.state().role, Role::Candidate, "two of five are left");
    probe.hear(ServerId(4), Message::VoteReply(vote));
    assert_eq!(probe.state().role, Role::Leader);
}

#[test]
fn what_was_seen_is_written_with_the_next_batch() {
    let mut probe = serving();
    probe.acknowledge(THIRD, LogIndex(2));
    probe.turn();
    assert!(probe.has_nothing_to_write(), "not for its own sake");
    probe.ask_to_put(1);
    probe.turn();
    let batch = probe.write();
    let durable_of_third = |record: &Record| match record {
        Record::Sighted(THIRD, _, seen) => Some(seen.expect("it is kept").durable),
        _ => None,
    };
    let durable: Vec<LogIndex> = batch.records().iter().filter_map(durable_of_third).collect();
    assert_eq!(durable, [LogIndex(2)]);
}

/// The first of three, of which nobody has heard yet what its directory holds.
pub fn starting(doubt: Option<Doubt>) -> Probe {
    let configuration = configuration(3);
    let recovered = Recovered {
        genesis: GenesisState::Complete(configuration.clone()),
        term: Term(4),
        commit: LogIndex(1),
        entries: vec![Entry::genesis(&configuration)],
        doubt,
        ..blank(FIRST)
    };
    Probe::started_unheard(recovered, configuration)
}

fn asks_for_vote(probe: &mut Probe, term: u64) -> Vec<bool> {
    let (term, last_term, last_index) = (Term(term), Term(9), LogIndex(9));
    let request = VoteRequest { term, pre_vote: false, transfer: false, last_term, last_index };
    probe.hear_from(
        (SECOND, directory_of(SECOND), (Incarnation(1), LifeId(1))),
        Message::VoteRequest(request),
    );
    let said = probe.sync();
    let granted = |message: &Message| match message {
        Message::VoteReply(VoteReply { granted, .. }) => Some(*granted),
        _ => None,
    };
    to_peer(&said, SECOND).into_iter().filter_map(granted).collect()
}

#[test]
fn a_node_promises_nothing_before_it_has_asked() {
    let mut probe = starting(None);
    probe.time_out();
    probe.sync();
    let resume = Message::Resume(held(4, false, END));
    let said = probe.said_of_lives();
    for peer in [SECOND, THIRD] {
        assert_eq!(to_peer(&said, peer), [&resume]);
    }
    assert_eq!(asks_for_vote(&mut probe, 9), [false]);

    let first = Entry::genesis(&configuration(3));
    let entry = noop_after(&first, Term(10));
    let life = (SECOND, directory_of(SECOND), (Incarnation(1), LifeId(1)));
    probe.hear_from(life, replicate(Term(10), &first, &entry, LogIndex(1)));
    let said = probe.sync();
    let durable = acknowledged(&said).map(|acknowledge| acknowledge.durable);
    assert_eq!(durable, Some(LogIndex(0)));

    probe.answer_resume(SECOND, Verdict::Whole);
    probe.answer_resume(THIRD, Verdict::Whole);
    let said = probe.sync();
    let durable = acknowledged(&said).map(|acknowledge| acknowledge.durable);
    assert_eq!(durable, Some(LogIndex(2)), "the leader is told when the asking ends");
}

#[test]
fn who_does_not_answer_is_waited_for_an_election_timeout() {
    let mut probe = starting(None);
    probe.time_out();
    probe.answer_resume(SECOND, Verdict::Whole);
    probe.pass(quorate::replica::ELECTION_TIMEOUT * 9 / 10);
    probe.time_out();
    assert_eq!(asks_for_vote(&mut probe, 9), [false]);
    probe.pass(quorate::replica::ELECTION_TIMEOUT / 5);
    probe.time_out();
    assert_eq!(asks_for_vote(&mut probe, 9), [true]);
}

/// What it has lost for certain it has not forgotten.
#[test]
fn a_damaged_node_says_how_far_it_may_have_come() {
    let bound = (Term(3), LogIndex(8));
    for (upto, end) in [(Some(bound), Some(bound)), (None, None)] {
        let mut probe = starting(Some(Doubt { upto }));
        probe.time_out();
        probe.sync();
        let resume = Message::Resume(Resume { term: Term(4), voted: false, end });
        assert!(to_peer(&probe.said_of_lives(), SECOND).contains(&&resume));
    }
}

#[test]
fn a_node_whose_directory_is_lost_goes_on_as_another_without_a_vote() {
    let mut probe = serving();
    let former = probe.state().identity.directory;
    probe.answer_resume(SECOND, Verdict::Lost);
    assert_eq!(probe.state().role, Role::Follower);
    probe.turn();
    assert_eq!(probe.state().identity.directory, former, "it is not durable yet");
    let batch = probe.write();
    let reborn = batch.records().iter().find_map(|record| match record {
        Record::Reborn(directory) => Some(*directory),
        _ => None,
    });
    assert!(asks_for_vote(&mut probe, 9).iter().all(|granted| !granted));
    probe.synced(batch);
    assert_eq!(Some(probe.state().identity.directory), reborn);
    assert!(!probe.state().is_voter());
    for _ in 0..20 {
        let said = probe.wait_and_sync();
        assert!(!said.iter().any(|sent| matches!(sent.message, Message::VoteRequest(_))));
    }
}

/// What is said of a former life, or of the directory before, is of the past.
#[test]
fn a_verdict_is_heeded_only_if_it_is_of_this_very_life() {
    let mut probe = serving();
    let own = probe.state().life();
    let sighted = Sighted {
        directory: own.directory,
        incarnation: own.incarnation,
        life: own.id,
        verdict: Verdict::Lost,
        seen_incarnation: own.incarnation,
        seen_term: Term(1),
        seen_vote: true,
        seen_index: LogIndex(0),
    };
    let others = [
        Sighted { directory: DirectoryId(1), ..sighted },
        Sighted { incarnation: Incarnation(9), ..sighted },
        Sighted { life: LifeId(9), ..sighted },
    ];
    for other in others {
        probe.hear(SECOND, Message::Sighted(other));
        probe.sync();
        assert_eq!(probe.state().role, Role::Leader, "{other:?}");
    }
    probe.hear(SECOND, Message::Sighted(sighted));
    assert_eq!(probe.state().role, Role::Follower);
}
