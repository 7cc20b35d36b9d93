//! Whatever a node may say of itself.

use proptest::collection::vec;
use proptest::prelude::*;
use quorate::types::{Incarnation, LogIndex, LossShare, NODES_MAX, ServerId, Term};
use quorate::wire::{
    DenialCounts, DiskStatus, Judgment, KeyRequest, KeyStanding, NodeStatus, PeerStatus,
    PeerTimeouts, PeerTraffic, PortStatus, Role, ScrubStatus, TimeoutBasis, Timeouts, Traffic,
    TurnTimes,
};

use super::strategies::{address, directory, genesis, index, node};

pub fn status() -> impl Strategy<Value = NodeStatus> {
    let numbers = any::<[u64; 8]>();
    let role = prop::sample::select(vec![Role::Follower, Role::Candidate, Role::Leader]);
    let counted = vec(any::<(u8, u64)>(), 0..=255);
    (
        numbers,
        (node(), prop::option::of(node()), prop::option::of(genesis()), directory()),
        "[a-z]{1,32}",
        (role, any::<[bool; 2]>(), any::<[u32; 2]>(), any::<[u16; 2]>(), disk_status()),
        counted,
        vec(peer_status(), 0..=NODES_MAX),
    )
        .prop_map(
            |(numbers, (id, leader_id, genesis, directory), cluster, rest, dropped, peers)| {
                let (role, [voter, sealed], [incarnation, sessions], [wall, cpu], disk) = rest;
                NodeStatus {
                    nonce: numbers[0],
                    id,
                    cluster,
                    genesis,
                    directory,
                    incarnation: Incarnation(incarnation),
                    role,
                    voter,
                    sealed,
                    term: Term(numbers[1]),
                    leader_id,
                    last_index: LogIndex(numbers[2]),
                    commit_index: LogIndex(numbers[3]),
                    durable_index: LogIndex(numbers[4]),
                    keys: numbers[5],
                    sessions,
                    uptime: numbers[6],
                    longest_turn: TurnTimes { wall, cpu },
                    dropped,
                    disk,
                    peers,
                }
            },
        )
}

fn disk_status() -> impl Strategy<Value = DiskStatus> {
    let missing = prop::option::of(index());
    let fetching = prop::option::of((index(), any::<u64>()));
    let scrub = (any::<Option<u32>>(), any::<[u16; 2]>()).prop_map(|(passed_age, counts)| {
        let [damaged, repaired] = counts;
        ScrubStatus { passed_age, damaged, repaired }
    });
    (index(), any::<Option<u64>>(), any::<bool>(), missing, fetching, scrub).prop_map(
        |(snapshot_index, free, low, missing_from, fetching, scrub)| DiskStatus {
            snapshot_index,
            free,
            low,
            missing_from,
            fetching,
            scrub,
        },
    )
}

fn peer_status() -> impl Strategy<Value = PeerStatus> {
    let ages = (any::<Option<u32>>(), any::<Option<u32>>(), any::<u16>());
    (node(), address(), any::<[bool; 3]>(), ages, any::<([u64; 2], u32)>()).prop_map(
        |(
            id,
            address,
            [voter, learner, falls_behind],
            (heard_age, round_trip, key),
            (numbers, retransmitted),
        )| {
            PeerStatus {
                id,
                address,
                voter,
                listed: voter || learner,
                key,
                heard_age,
                round_trip,
                matched: LogIndex(numbers[0]),
                durable: LogIndex(numbers[1]),
                retransmitted,
                falls_behind,
            }
        },
    )
}

pub fn timeouts() -> impl Strategy<Value = Timeouts> {
    let pinned = any::<[Option<u32>; 2]>();
    let peers = vec(peer_timeouts(), 0..=NODES_MAX);
    (any::<u64>(), node(), prop::option::of(node()), any::<u32>(), pinned, peers).prop_map(
        |(nonce, id, leader_id, election_timeout, pinned, peers)| {
            let [pinned_timeout, pinned_interval] = pinned;
            Timeouts {
                nonce,
                id,
                leader_id,
                election_timeout,
                pinned_timeout,
                pinned_interval,
                peers,
            }
        },
    )
}

fn peer_timeouts() -> impl Strategy<Value = PeerTimeouts> {
    let times = any::<(Option<u32>, u32, u32)>();
    let judgment = prop::option::of(judgment());
    (node(), times, any::<[u8; 2]>(), any::<[bool; 2]>(), judgment).prop_map(
        |(id, (round_trip, variation, longest_silence), losses, [enough, congested], judgment)| {
            let losses = losses.map(LossShare);
            PeerTimeouts {
                id,
                round_trip,
                variation,
                losses,
                enough,
                congested,
                longest_silence,
                judgment,
            }
        },
    )
}

fn judgment() -> impl Strategy<Value = Judgment> {
    let basis = prop::sample::select(vec![
        TimeoutBasis::Unmeasured,
        TimeoutBasis::Formula,
        TimeoutBasis::Silence,
        TimeoutBasis::Pinned,
    ]);
    (any::<u8>(), any::<[u32; 2]>(), basis).prop_map(|(rounds, [interval, timeout], basis)| {
        Judgment { rounds, interval, timeout, basis }
    })
}

pub fn traffic() -> impl Strategy<Value = Traffic> {
    let port = (any::<Option<u64>>(), any::<[u64; 2]>(), any::<[u32; 3]>());
    let port = port.prop_map(|(overflowed, [refused, unsent], buffers)| PortStatus {
        overflowed,
        refused,
        unsent,
        buffer_wanted: buffers[0],
        receive_buffer: buffers[1],
        send_buffer: buffers[2],
    });
    (any::<[u64; 5]>(), node(), port, vec(peer_traffic(), 0..=NODES_MAX)).prop_map(
        |([nonce, repeated_answers, read_only, other_keys, clients_key], id, port, peers)| {
            let denied = DenialCounts { read_only, other_keys, clients_key };
            Traffic { nonce, id, port, repeated_answers, denied, peers }
        },
    )
}

fn peer_traffic() -> impl Strategy<Value = PeerTraffic> {
    (node(), any::<[u64; 6]>(), any::<[u8; 2]>()).prop_map(|(id, counts, losses)| PeerTraffic {
        id,
        sent: counts[0],
        copies: counts[1],
        arrived: counts[2],
        lost: counts[3],
        doubled: counts[4],
        late: counts[5],
        losses: losses.map(LossShare),
    })
}

pub fn key_request() -> impl Strategy<Value = KeyRequest> {
    any::<(u64, u16)>().prop_map(|(nonce, key)| KeyRequest { nonce, key })
}

pub fn standing() -> impl Strategy<Value = KeyStanding> {
    let peers = vec(any::<(u16, u16)>(), 0..=NODES_MAX);
    (any::<(u64, u16, u16)>(), any::<bool>(), peers).prop_map(|((nonce, id, key), taken, peers)| {
        let peers = peers.into_iter().map(|(peer, key)| (ServerId(peer), key)).collect();
        KeyStanding { nonce, id: ServerId(id), key, taken, peers }
    })
}
