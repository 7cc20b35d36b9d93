//! What nodes have said. A frame is never taken off the network: that it may be lost, repeated,
//! overtaken, or come after a restart, is that it may be delivered never, or at any time.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, RwLock};

use quorate::replica::Life;
use quorate::types::{ClusterHash, LossShare, PacketNumber, ServerId};
use quorate::wire::{self, GenesisHash, Header, Message};

use super::disk::CLUSTER;

/// What a node says, but for what changes each time that it says the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub from: Life,
    pub to: ServerId,
    /// The life of the receiver that the sender has heard, where that makes a difference.
    pub hears: Option<Life>,
    pub genesis: GenesisHash,
    pub message: Message,
}

impl Frame {
    /// Its bytes, if it is the sender's frame of this number.
    pub fn encode(&self, packet: PacketNumber, echo: Option<wire::Echo>) -> Vec<u8> {
        let header = Header {
            cluster: ClusterHash::of(CLUSTER),
            genesis: self.genesis,
            sender: self.from.node,
            destination: self.to,
            directory: self.from.directory,
            incarnation: self.from.incarnation,
            life: self.from.id,
            packet,
            echo,
            loss: LossShare(0),
        };
        let mut bytes = Vec::new();
        wire::encode(&header, &self.message, &mut bytes);
        bytes
    }
}

impl Hash for Frame {
    fn hash<H: Hasher>(&self, into: &mut H) {
        (self.hears, self.encode(PacketNumber(1), None)).hash(into);
    }
}

/// A frame's place among all that were ever said.
pub type FrameId = u16;

/// All different frames that were ever said, in any run of the cluster.
#[derive(Default)]
pub struct Frames {
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    all: Vec<Arc<Frame>>,
    ids: HashMap<Arc<Frame>, FrameId>,
}

impl Frames {
    pub fn get(&self, id: FrameId) -> Arc<Frame> {
        self.known.read().expect("nobody panics with it").all[usize::from(id)].clone()
    }

    pub fn id_of(&self, frame: Frame) -> FrameId {
        let mut known = self.known.write().expect("nobody panics with it");
        if let Some(id) = known.ids.get(&frame) {
            return *id;
        }
        let id = FrameId::try_from(known.all.len()).expect("a small model");
        let frame = Arc::new(frame);
        known.all.push(frame.clone());
        known.ids.insert(frame, id);
        id
    }
}
