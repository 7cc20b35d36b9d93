//! What a node says of itself, one example of each.

use quorate::types::{Incarnation, LogIndex, LossShare, ServerId};
use quorate::wire::{
    DenialCounts, DiskStatus, DropCause, Judgment, NodeStatus, PeerStatus, PeerTimeouts,
    PeerTraffic, PortStatus, Role, ScrubStatus, TimeoutBasis, Timeouts, Traffic, TurnTimes,
};

use super::samples::{GENESIS, TERM, address, directory};

pub fn status() -> NodeStatus {
    let peer = |node, round_trip| PeerStatus {
        id: ServerId(node),
        address: address(node),
        voter: true,
        listed: true,
        key: 7,
        heard_age: Some(12),
        round_trip,
        matched: LogIndex(1042),
        durable: LogIndex(1041),
        retransmitted: 3,
        falls_behind: node == 3,
    };
    NodeStatus {
        nonce: 0x0042,
        id: ServerId(2),
        cluster: "quorate".into(),
        genesis: Some(GENESIS),
        directory: directory(2),
        incarnation: Incarnation(7),
        role: Role::Leader,
        voter: true,
        sealed: true,
        term: TERM,
        leader_id: Some(ServerId(2)),
        last_index: LogIndex(1044),
        commit_index: LogIndex(1042),
        durable_index: LogIndex(1044),
        keys: 311,
        sessions: 4,
        uptime: 3_600_000_000,
        longest_turn: TurnTimes { wall: 123, cpu: 41 },
        dropped: vec![(DropCause::Checksum.code(), 2), (DropCause::Duplicate.code(), 41)],
        disk: DiskStatus {
            snapshot_index: LogIndex(1_000),
            free: Some(4_280_000_000),
            low: false,
            missing_from: None,
            fetching: None,
            scrub: ScrubStatus { passed_age: Some(61), damaged: 2, repaired: 1 },
        },
        peers: vec![peer(1, Some(480)), peer(3, None)],
    }
}

/// A leader whose second follower it does not know well yet.
pub fn timeouts() -> Timeouts {
    let known = PeerTimeouts {
        id: ServerId(1),
        round_trip: Some(20_400),
        variation: 1_300,
        losses: [LossShare(25), LossShare(13)],
        enough: true,
        congested: false,
        longest_silence: 131_000,
        judgment: Some(Judgment {
            rounds: 11,
            interval: 15_670,
            timeout: 262_000,
            basis: TimeoutBasis::Silence,
        }),
    };
    let unknown = PeerTimeouts {
        id: ServerId(3),
        round_trip: None,
        variation: 0,
        losses: [LossShare(0); 2],
        enough: false,
        longest_silence: 0,
        judgment: Some(Judgment {
            rounds: 5,
            interval: 40_000,
            timeout: 250_000,
            basis: TimeoutBasis::Unmeasured,
        }),
        ..known
    };
    Timeouts {
        nonce: 0x0043,
        id: ServerId(2),
        leader_id: Some(ServerId(2)),
        election_timeout: 262_000,
        pinned_timeout: None,
        pinned_interval: None,
        peers: vec![known, unknown],
    }
}

/// A node to which every tenth frame is lost, and that was once too slow to read.
pub fn traffic() -> Traffic {
    let lossy = PeerTraffic {
        id: ServerId(1),
        sent: 120_400,
        copies: 11_200,
        arrived: 99_021,
        lost: 10_980,
        doubled: 3,
        late: 7,
        losses: [LossShare(13), LossShare(25)],
    };
    Traffic {
        nonce: 0x0044,
        id: ServerId(2),
        port: PortStatus {
            overflowed: Some(17),
            refused: 4,
            unsent: 1,
            buffer_wanted: 4 << 20,
            receive_buffer: 212_992,
            send_buffer: 212_992,
        },
        repeated_answers: 2_051,
        denied: DenialCounts { read_only: 5, other_keys: 2, clients_key: 1 },
        peers: vec![lossy, PeerTraffic { id: ServerId(3), ..lossy }],
    }
}
