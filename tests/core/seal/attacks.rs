//! Somebody on the way who has no key: repeats, turns back, changes, invents.

use proptest::prelude::*;
use quorate::seal::{HANDSHAKE_BYTES, SEAL_BYTES};
use quorate::time::Instant;
use quorate::types::ServerId;
use quorate::wire::{DropCause, HEADER_BYTES};

use super::stage::{CLIENT, Sent, Side, acquainted, frame, readdressed, ring, talk};

const NOW: Instant = Instant(1_000);

#[test]
fn a_frame_arrives_as_it_was_sealed() {
    let (one, two, sent) = acquainted(&ring("node 1 %1"));
    assert_eq!(two.taken, [frame(ServerId(1), ServerId(2), 1)]);
    assert_eq!(one.taken, [frame(ServerId(2), ServerId(1), 1)]);
    let sealed = &sent[4].bytes;
    assert_eq!(sealed.len(), one.taken[0].len() + SEAL_BYTES);
    assert_ne!(
        sealed[HEADER_BYTES..HEADER_BYTES + 8],
        one.taken[0][HEADER_BYTES..],
        "in the clear"
    );
}

#[test]
fn what_was_said_once_is_taken_once() {
    let (mut one, mut two, sent) = acquainted(&ring("node 1 %1"));
    let causes: Vec<DropCause> = sent
        .iter()
        .map(|datagram| match datagram.to == one.address {
            true => one.refuses(NOW, datagram),
            // The first is answered as often as it comes, by as many bytes.
            false if datagram.bytes == sent[0].bytes => {
                let said = two.hear(NOW, datagram);
                assert_eq!(
                    said.iter().map(|sent| sent.bytes.len()).sum::<usize>(),
                    HANDSHAKE_BYTES
                );
                DropCause::Duplicate
            }
            false => two.refuses(NOW, datagram),
        })
        .collect();
    let of_frames = [DropCause::Replay; 2];
    assert_eq!(causes, [&[DropCause::Duplicate; 3][..], &of_frames].concat());
}

/// Whoever starts again knows nothing of what was said before, and takes none of it.
#[test]
fn what_was_said_in_a_former_life_opens_nothing() {
    let keys = ring("node 1 %1");
    let (_, _, recorded) = acquainted(&keys);
    for restarted in [[true, false], [false, true], [true, true]] {
        let (mut one, mut two, _) = acquainted(&keys);
        if restarted[0] {
            one = Side::start(1, &keys, 11);
        }
        if restarted[1] {
            two = Side::start(2, &keys, 12);
        }
        // Once as they come, and once when there are sessions of the new lives.
        for _ in 0..2 {
            for datagram in &recorded {
                let side = if datagram.to == one.address { &mut one } else { &mut two };
                if datagram.bytes[3] == 112 {
                    let said = side.hear(NOW, datagram);
                    assert!(said.len() == 1 && said[0].bytes.len() <= datagram.bytes.len());
                } else {
                    side.refuses(NOW, datagram);
                }
            }
            talk(NOW, &mut one, &mut two, 2);
        }
    }
}

#[test]
fn what_is_sent_back_to_its_sender_is_refused() {
    let (mut one, mut two, sent) = acquainted(&ring("node 1 %1"));
    for Sent { from, to, bytes } in sent {
        let side = if from == one.address { &mut one } else { &mut two };
        for source in [from, to] {
            side.refuses(NOW, &Sent { from: source, to: from, bytes: bytes.clone() });
        }
    }
}

#[test]
fn what_comes_from_another_address_is_refused() {
    let (_, mut two, sent) = acquainted(&ring("node 1 %1"));
    let elsewhere = "127.0.0.9:9001".parse().unwrap();
    let moved = |at: usize| Sent { from: elsewhere, ..sent[at].clone() };
    assert_eq!(two.refuses(NOW, &moved(2)), DropCause::Replay, "a Finish");
    assert_eq!(two.refuses(NOW, &moved(3)), DropCause::Address, "a frame");
}

/// wire-format.md: a `Hello` is for "the receiving node", or "in a client's `Hello` whichever
/// node receives it".
#[test]
fn a_greeting_is_for_the_node_that_it_names() {
    let keys = ring("node 1 %1");
    let mut two = Side::start(2, &keys, 2);
    let hello = |from: u16| {
        let mut from = Side::start(from, &keys, 1);
        from.send(NOW, (two.id, two.address), &frame(from.id, two.id, 1)).remove(0)
    };
    let (of_node, of_client) = (hello(1), hello(CLIENT.0));
    for (said, destination) in [(&of_node, 2), (&of_client, 2), (&of_client, 0)] {
        let answers = two.hear(NOW, &readdressed(said, ServerId(destination)));
        assert_eq!((answers.len(), answers[0].bytes[3]), (1, 113), "a Welcome");
    }
    for (said, destination) in [(&of_node, 3), (&of_node, 0), (&of_client, 3)] {
        let cause = two.refuses(NOW, &readdressed(said, ServerId(destination)));
        assert_eq!(cause, DropCause::Destination, "for {destination}");
    }
}

/// Though it has drawn the same random bits, as a clone of the memory of a machine has.
#[test]
fn what_answers_another_is_refused() {
    let keys = ring("node 1 %1");
    let (mut one, mut clone) = (Side::start(1, &keys, 1), Side::start(3, &keys, 1));
    let others = [Side::start(2, &keys, 2), Side::of_cluster("prod-b", 2, &keys, 2)];
    for (mut other, kind) in others.into_iter().zip([113, 115]) {
        let to = (other.id, other.address);
        let hello = one.send(NOW, to, &frame(one.id, other.id, 1)).remove(0);
        clone.send(NOW, to, &frame(clone.id, other.id, 1));
        let answer = other.hear(NOW, &hello).remove(0);
        assert_eq!(answer.bytes[3], kind);
        assert_eq!(clone.refuses(NOW, &answer), DropCause::Destination);
        one = Side::start(1, &keys, 1);
        clone = Side::start(3, &keys, 1);
    }
}

/// The header is in the clear, and each of its bytes is vouched for.
#[test]
fn a_changed_bit_is_noticed_wherever_it_is() {
    let keys = ring("node 1 %1");
    let (mut one, mut two, _) = acquainted(&keys);
    let fresh = one.send(NOW, (two.id, two.address), &frame(one.id, two.id, 2)).remove(0);
    for at in 0..fresh.bytes.len() {
        for bit in 0..8 {
            let mut changed = fresh.clone();
            changed.bytes[at] ^= 1 << bit;
            let cause = two.refuses(NOW, &changed);
            let expected: &[DropCause] = match at {
                0..2 => &[DropCause::Magic],
                2 => &[DropCause::Version],
                3 => &[DropCause::Seal, DropCause::Length],
                4..8 => &[DropCause::Cluster],
                12..14 => &[DropCause::Sender],
                52..54 => &[DropCause::Key],
                54..56 => &[DropCause::Length],
                56..60 => &[DropCause::Session],
                _ if at >= fresh.bytes.len() - 8 => &[DropCause::Seal, DropCause::Replay],
                _ => &[DropCause::Seal],
            };
            assert!(expected.contains(&cause), "byte {at}, bit {bit}: {cause:?}");
        }
    }
    two.hear(NOW, &fresh);
    assert_eq!(two.taken.len(), 2, "what is genuine is still taken");
}

#[test]
fn a_changed_handshake_leads_to_nothing() {
    let keys = ring("node 1 %1\nnode 2 %2");
    let (_, _, sent) = acquainted(&keys);
    for (step, said) in sent.iter().take(3).enumerate() {
        for at in 0..HANDSHAKE_BYTES * 8 {
            let (mut one, mut two) = (Side::start(1, &keys, 1), Side::start(2, &keys, 2));
            let hello = one.send(Instant(0), (two.id, two.address), &frame(one.id, two.id, 1));
            if step == 2 {
                let welcome = two.hear(Instant(0), &hello[0]);
                one.hear(Instant(0), &welcome[0]);
            }
            let mut changed = said.clone();
            changed.bytes[at / 8] ^= 1 << (at % 8);
            let side = if changed.to == one.address { &mut one } else { &mut two };
            side.refuses(Instant(0), &changed);
        }
    }
}

#[test]
fn what_is_cut_or_grown_is_refused() {
    let (mut one, mut two, _) = acquainted(&ring("node 1 %1"));
    let fresh = one.send(NOW, (two.id, two.address), &frame(one.id, two.id, 2)).remove(0);
    for length in 0..fresh.bytes.len() + 40 {
        let mut changed = fresh.clone();
        changed.bytes.resize(length, 0);
        // Also with a length field that is right.
        for fixed in [false, true] {
            if fixed && length >= HEADER_BYTES {
                let behind = u16::try_from(length - HEADER_BYTES).unwrap();
                changed.bytes[54..56].copy_from_slice(&behind.to_le_bytes());
            }
            if length != fresh.bytes.len() {
                two.refuses(NOW, &changed);
            }
        }
    }
}

#[test]
fn whoever_lacks_the_key_is_not_answered() {
    let keys = ring("node 1 %1");
    let mut two = Side::start(2, &keys, 2);
    let hello = |mut from: Side| {
        from.send(NOW, (ServerId(2), two.address), &frame(from.id, ServerId(2), 1)).remove(0)
    };
    let same_number = hello(Side::start(1, &ring("node 1 %2"), 1));
    let other_number = hello(Side::start(1, &ring("node 2 %1"), 1));
    let other_cluster = hello(Side::of_cluster("prod-b", 1, &keys, 1));
    let mut disguised = other_cluster;
    disguised.bytes[4..8].copy_from_slice(&same_number.bytes[4..8]);
    let plain = frame(ServerId(1), ServerId(2), 1);
    let plain = Sent { bytes: plain, ..same_number.clone() };
    let cases = [
        (same_number, DropCause::Seal),
        (other_number, DropCause::Key),
        (disguised, DropCause::Seal),
        (plain, DropCause::Key),
    ];
    for (datagram, expected) in cases {
        assert_eq!(two.refuses(NOW, &datagram), expected);
    }
}

/// Frames of one text, through repeated, lost and late handshakes and new lives: were two of
/// them sealed by one key with one number, they would be the same.
#[test]
fn no_two_frames_are_sealed_alike() {
    let keys = ring("node 1 %1");
    let mut random = fastrand::Rng::with_seed(6);
    let mut lives = 0_u8;
    let mut begin = |id: u16| {
        lives += 1;
        Side::start(id, &keys, lives)
    };
    let mut sides = [begin(1), begin(2)];
    let mut recorded: Vec<Sent> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for turn in 0..20_000_u64 {
        let now = Instant(turn * 3_000);
        let who = random.usize(..2);
        let other = ServerId(if who == 0 { 2 } else { 1 });
        let id = ServerId(3 - other.0);
        let said = match random.usize(..100) {
            0 if turn % 7 == 0 => {
                sides[who] = begin(id.0);
                Vec::new()
            }
            0..30 => {
                let to = (other, super::stage::address(other));
                sides[who].send(now, to, &frame(id, other, 1))
            }
            _ if recorded.is_empty() => Vec::new(),
            // Of late, or of any time.
            chosen => {
                let reach = if chosen < 90 { recorded.len().min(8) } else { recorded.len() };
                let datagram = recorded[recorded.len() - 1 - random.usize(..reach)].clone();
                let to = usize::from(datagram.to.port() == 9_002);
                sides[to].hear(now, &datagram)
            }
        };
        for datagram in &said {
            let is_sealed = datagram.bytes.len() != HANDSHAKE_BYTES;
            assert!(!is_sealed || seen.insert(datagram.bytes[HEADER_BYTES..].to_vec()), "{turn}");
        }
        recorded.extend(said);
    }
    assert!(lives > 20 && seen.len() > 3_000, "{lives} lives, {} frames", seen.len());
    assert!(sides.iter().all(|side| side.taken.len() > 100));
}

proptest! {
    #[test]
    fn no_bytes_are_answered_by_more(bytes in prop::collection::vec(any::<u8>(), 0..300),
                                     kind in 100_u8..120, length in any::<bool>()) {
        let keys = ring("node 1 %1");
        let mut bytes = bytes;
        if let Some(start) = bytes.first_chunk_mut::<8>() {
            let hash = quorate::types::ClusterHash::of("quorate").0.to_le_bytes();
            *start = [b'Q', b'R', 1, kind, hash[0], hash[1], hash[2], hash[3]];
        }
        if length {
            bytes.resize(HANDSHAKE_BYTES, 1);
        }
        let mut two = Side::start(2, &keys, 2);
        let from = Side::start(CLIENT.0, &keys, 1).address;
        two.refuses(NOW, &Sent { from, to: two.address, bytes });
    }
}

/// What nobody has taken comes back from the network, quoted whole or in part.
#[test]
fn what_comes_back_is_told_from_what_was_never_sent() {
    let (mut one, two, sent) = acquainted(&ring("node 1 %1"));
    let of_one = sent.iter().rfind(|datagram| datagram.from == one.address).unwrap();
    let of_two = sent.iter().rfind(|datagram| datagram.from == two.address).unwrap();
    let mut reopen = |to, bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let length = one.sealer.reopen(to, &mut bytes)?;
        Some(bytes[..length].to_vec())
    };
    for _ in 0..2 {
        let whole = reopen(two.address, &of_one.bytes);
        assert_eq!(whole, Some(frame(ServerId(1), ServerId(2), 1)));
    }
    assert_eq!(reopen(one.address, &of_one.bytes), None, "it was sent elsewhere");
    assert_eq!(reopen(two.address, &of_two.bytes), None, "the other side has sealed it");
    for kept in 0..of_one.bytes.len() {
        assert_eq!(reopen(two.address, &of_one.bytes[..kept]), None, "not whole");
        let mut changed = of_one.bytes.clone();
        changed[kept] ^= 1;
        assert_eq!(reopen(two.address, &changed), None, "byte {kept} was changed");
    }
}
