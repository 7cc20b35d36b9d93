//! From messages to frames.

use std::net::SocketAddr;

use super::effects::{ClientPath, Destination, Outgoing, Timer};
use super::{ReplicaNode, ReplicaState};
use crate::disk::GenesisState;
use crate::link::age_micros;
use crate::types::{ClusterHash, LossShare, PacketNumber, ServerId};
use crate::wire::{self, Echo, GenesisHash, Header};

impl ReplicaNode {
    /// Writes the next frame to send into `frame`, and says where to.
    pub fn poll_send(&mut self, frame: &mut Vec<u8>) -> Option<SocketAddr> {
        loop {
            let Outgoing { to, message } = self.next_to_send()?;
            let addressed = match to {
                Destination::Peer(peer) => self.header_to_peer(peer),
                Destination::Client(client) => Some(self.header_to_client(client)),
                Destination::Myself => None,
            };
            if let Some((address, header)) = addressed {
                wire::encode_to_fit(&header, &message, frame);
                self.count_bytes(to, &header, frame.len());
                return Some(address);
            }
        }
    }

    fn count_bytes(&mut self, to: Destination, header: &Header, bytes: usize) {
        if let Destination::Peer(peer) = to
            && let Some(peer) = self.state.peers.get_mut(&peer)
        {
            peer.delivery.on_sent(header.packet, bytes);
        }
    }

    /// What is said for the first time goes before what is said again.
    fn next_to_send(&mut self) -> Option<Outgoing> {
        let Self { state, effects: fx, later_answers, .. } = self;
        if let Some(first) = fx.pop_send() {
            later_answers.on_sent(&first, state, fx.now);
            return Some(first);
        }
        let copy = later_answers.pop_due(fx.now);
        match (&copy, later_answers.next_due()) {
            (None, Some(at)) => fx.arm(Timer::Answer, at.since(fx.now)),
            (Some(Outgoing { to: Destination::Peer(peer), .. }), _) => state.count_copies(*peer, 1),
            _ => {}
        }
        copy
    }

    fn header_to_peer(&mut self, to: ServerId) -> Option<(SocketAddr, Header)> {
        let now = self.effects.now;
        let peer = self.state.peers.get_mut(&to)?;
        let (packet, echo, address) = (peer.link.number(now), peer.link.echo(now), peer.address);
        let loss = peer.link.losses()[1];
        Some((address, Header { loss, ..header(&self.state, to, packet, echo) }))
    }

    fn header_to_client(&mut self, client: ClientPath) -> (SocketAddr, Header) {
        let (packet, loss) = self.callers.number(client.address);
        let age = age_micros(self.effects.now, client.heard_at);
        let echo = Some(Echo { packet: client.packet, age });
        let header = header(&self.state, ServerId::NONE, packet, echo);
        (client.address, Header { loss, ..header })
    }
}

fn header(
    state: &ReplicaState,
    destination: ServerId,
    packet: PacketNumber,
    echo: Option<Echo>,
) -> Header {
    let genesis = match &state.genesis {
        GenesisState::Complete(configuration) => GenesisHash::of(configuration.genesis),
        GenesisState::Blank | GenesisState::Accepted(_) => GenesisHash::default(),
    };
    Header {
        cluster: ClusterHash::of(&state.identity.cluster),
        genesis,
        sender: state.server_id,
        destination,
        directory: state.identity.directory,
        incarnation: state.incarnation,
        life: state.life,
        packet,
        echo,
        loss: LossShare(0),
    }
}
