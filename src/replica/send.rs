//! From messages to frames.

use std::net::SocketAddr;

use super::effects::{ClientPath, Destination, Outgoing};
use super::{ReplicaNode, ReplicaState};
use crate::disk::GenesisState;
use crate::link::age_micros;
use crate::types::{ClusterHash, PacketNumber, ServerId};
use crate::wire::{self, Echo, GenesisHash, Header};

impl ReplicaNode {
    /// Writes the next frame to send into `frame`, and says where to.
    pub fn poll_send(&mut self, frame: &mut Vec<u8>) -> Option<SocketAddr> {
        loop {
            let Outgoing { to, message } = self.effects.pop_send()?;
            let addressed = match to {
                Destination::Peer(peer) => self.header_to_peer(peer),
                Destination::Client(client) => Some(self.header_to_client(client)),
                Destination::Myself => None,
            };
            if let Some((address, header)) = addressed {
                wire::encode(&header, &message, frame);
                return Some(address);
            }
        }
    }

    fn header_to_peer(&mut self, to: ServerId) -> Option<(SocketAddr, Header)> {
        let now = self.effects.now;
        let peer = self.state.peers.get_mut(&to)?;
        let (packet, echo, address) = (peer.link.number(now), peer.link.echo(now), peer.address);
        Some((address, header(&self.state, to, packet, echo)))
    }

    fn header_to_client(&mut self, client: ClientPath) -> (SocketAddr, Header) {
        self.client_packet = self.client_packet.next();
        let age = age_micros(self.effects.now, client.heard_at);
        let echo = Some(Echo { packet: client.packet, age });
        (client.address, header(&self.state, ServerId::NONE, self.client_packet, echo))
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
    }
}
