//! Asks nodes, and all that they name, how they are.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::args::ClientFlags;
use super::client_socket::ClientSocket;
use crate::daemon::random_u64;
use crate::types::{DirectoryId, Incarnation, LifeId, LossShare, PacketNumber, ServerId};
use crate::wire::{self, GenesisHash, Header, Message, NodeStatus, Role, StatusRequest};

/// How long a silent node is waited for.
const PATIENCE: Duration = Duration::from_millis(800);
/// How often it is asked again meanwhile.
const INTERVAL: Duration = Duration::from_millis(150);

/// What nodes said of themselves.
#[derive(Debug, Default)]
pub struct Survey {
    /// Every node that was given or named, by its address.
    pub nodes: BTreeMap<SocketAddr, Surveyed>,
}

/// One node.
#[derive(Debug, Default)]
pub struct Surveyed {
    /// Its id, as it says or others say.
    pub id: Option<ServerId>,
    /// What it says of itself; none when it is silent.
    pub status: Option<NodeStatus>,
}

/// Asks the given servers, and every peer that these name.
pub fn take(flags: &ClientFlags) -> Survey {
    let mut survey = Survey::default();
    for server in &flags.servers {
        survey.nodes.entry(*server).or_default();
    }
    if let Ok(mut socket) = ClientSocket::open(flags) {
        ask_around(&mut survey, &mut socket, flags).ok();
    }
    survey
}

fn ask_around(
    survey: &mut Survey,
    socket: &mut ClientSocket,
    flags: &ClientFlags,
) -> std::io::Result<()> {
    let nonce = random_u64();
    let started = Instant::now();
    let mut next_round = started;
    while survey.nodes.values().any(|node| node.status.is_none()) {
        let now = Instant::now();
        if now >= started + PATIENCE {
            return Ok(());
        }
        if now >= next_round {
            ask_silent(survey, socket, flags, nonce);
            next_round = now + INTERVAL;
        }
        let wait = next_round.saturating_duration_since(Instant::now());
        match socket.receive(wait) {
            Ok(None) => {}
            Ok(Some((from, frame))) => {
                let datagram = Bytes::copy_from_slice(frame);
                if survey.take_in(from, &datagram, flags, nonce) {
                    next_round = Instant::now();
                }
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock
                        | ErrorKind::TimedOut
                        | ErrorKind::ConnectionRefused
                        | ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn ask_silent(survey: &Survey, socket: &mut ClientSocket, flags: &ClientFlags, nonce: u64) {
    let header = Header {
        cluster: flags.cluster_hash(),
        genesis: GenesisHash::default(),
        sender: ServerId::NONE,
        destination: ServerId::NONE,
        directory: DirectoryId(nonce),
        incarnation: Incarnation(0),
        life: LifeId(0),
        packet: PacketNumber(random_u64() >> 2),
        echo: None,
        loss: LossShare(0),
    };
    let mut frame = Vec::new();
    wire::encode(&header, &Message::StatusRequest(StatusRequest { nonce }), &mut frame);
    for (address, node) in &survey.nodes {
        if node.status.is_none() {
            // A node that cannot be reached is shown as silent.
            socket.send(frame.clone(), *address);
        }
    }
}

impl Survey {
    /// Takes in an answer. Returns whether it names nodes that were not known.
    fn take_in(
        &mut self,
        from: SocketAddr,
        datagram: &Bytes,
        flags: &ClientFlags,
        nonce: u64,
    ) -> bool {
        let Ok(frame) = wire::decode(datagram) else { return false };
        let Message::Status(status) = frame.message else { return false };
        let asked = self.nodes.contains_key(&from);
        if frame.header.cluster != flags.cluster_hash() || status.nonce != nonce || !asked {
            return false;
        }
        let known = self.nodes.len();
        for peer in &status.peers {
            let already = self.nodes.values().any(|node| node.id == Some(peer.id));
            let node = (!already || self.nodes.contains_key(&peer.address))
                .then(|| self.nodes.entry(peer.address).or_default());
            if let Some(node) = node {
                node.id = node.id.or(Some(peer.id));
            }
        }
        // The node may have been known by another address already.
        self.nodes.retain(|address, node| {
            *address == from || node.id != Some(status.id) || node.status.is_some()
        });
        self.nodes.insert(from, Surveyed { id: Some(status.id), status: Some(status) });
        self.nodes.len() > known
    }

    /// Those who answered.
    pub fn answers(&self) -> impl Iterator<Item = &NodeStatus> {
        self.nodes.values().filter_map(|node| node.status.as_ref())
    }

    /// The leader of the newest term, if it answered.
    pub fn leader(&self) -> Option<&NodeStatus> {
        self.answers().filter(|status| status.role == Role::Leader).max_by_key(|status| status.term)
    }

    /// Who answered and what is missing, as a sentence.
    pub fn sentence(&self) -> String {
        let total = self.nodes.len();
        let answered = self.answers().count();
        let silent: Vec<String> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.status.is_none())
            .map(|(address, node)| node.id.map_or(address.to_string(), |id| format!("node {id}")))
            .collect();
        let missing = match silent.as_slice() {
            [] => String::new(),
            [one] => format!(": {one} is silent"),
            [others @ .., last] => format!(": {} and {last} are silent", others.join(", ")),
        };
        if answered == 0 {
            return format!(
                "0 of {total} nodes answered{missing}; see that they run, and check --server and \
                 --cluster"
            );
        }
        let leader = match self.leader() {
            Some(leader) => format!("node {} leads", leader.id),
            None => "no leader".to_owned(),
        };
        let hint = self.hint();
        format!("{answered} of {total} nodes answered, {leader}{missing}{hint}")
    }

    /// What silence does not explain.
    fn hint(&self) -> String {
        if self.answers().all(|status| status.genesis.is_none()) {
            return "; the cluster is not born yet, which takes all of its nodes: see what they \
                    print"
                .to_owned();
        }
        let voteless: Vec<String> = self
            .answers()
            .filter(|status| !status.voter)
            .map(|status| format!("; node {} does not vote", status.id))
            .collect();
        voteless.concat()
    }
}
