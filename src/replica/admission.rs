//! Who may say something: from a frame's header to a sender that is known.

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::time::Duration;

use super::genesis;
use super::peer::Peer;
use super::sightings::Life;
use super::state::ReplicaState;
use crate::disk::GenesisState;
use crate::time::Instant;
use crate::types::{ClusterHash, DirectoryId, LogIndex, LossShare, ServerId};
use crate::wire::{DropCause, Echo, GenesisHash, Header, Message};

/// How many former directories of one node are remembered.
const RETIRED_MAX: usize = 64;

/// Who a frame comes from: a node that is listed, at its address and in its present life.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// The node.
    pub id: ServerId,
    /// Its data directory.
    pub directory: DirectoryId,
    /// Its life.
    pub life: Life,
    /// When the newest of this node's frames that the sender had heard was sent.
    pub echoed: Option<Instant>,
}

impl Sender {
    /// Whether the frame echoes one that this node sent lately, so that it speaks of the
    /// present.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.echoed.is_some_and(|at| now.since(at) < genesis::FRESH)
    }
}

/// Checks that the frame is meant for this node of this cluster.
///
/// # Errors
/// The cause for which it is dropped.
pub fn check_addressing(header: &Header, state: &ReplicaState) -> Result<(), DropCause> {
    if header.cluster != ClusterHash::of(&state.identity.cluster) {
        return Err(DropCause::Cluster);
    }
    // Only a client may ask whoever receives it. What a node says to nobody in particular
    // is an answer to a client: its packets are numbered apart, and to count them among
    // those for this node would make all later ones look old.
    let to_anyone = header.destination == ServerId::NONE && header.sender == ServerId::NONE;
    if header.destination != state.server_id && !to_anyone {
        return Err(DropCause::Destination);
    }
    match &state.genesis {
        GenesisState::Complete(configuration)
            if header.genesis != GenesisHash::default()
                && header.genesis != GenesisHash::of(configuration.genesis) =>
        {
            Err(DropCause::Genesis)
        }
        _ => Ok(()),
    }
}

/// Checks that the frame comes from a listed node as it lives at present, and takes note
/// of what its header says.
///
/// # Errors
/// The cause for which it is dropped.
pub fn admit(
    header: &Header,
    source: SocketAddr,
    message: &Message,
    state: &mut ReplicaState,
    now: Instant,
) -> Result<Sender, DropCause> {
    let last_index = state.log.last_index();
    let ReplicaState { peers, sightings, .. } = state;
    let peer = peers.get_mut(&header.sender).ok_or(DropCause::Sender)?;
    if peer.address != source {
        return Err(DropCause::Address);
    }
    let echoed = header.echo.and_then(|echo| take_echo(echo, header.loss, peer, now));
    let life = Life::of(header);
    let sender = Sender { id: life.node, directory: life.directory, life, echoed };
    if !sightings.meet(life, peer.life) {
        return Err(DropCause::Incarnation);
    }
    let is_silent = peer.heard_at.is_none_or(|at| now.since(at) >= genesis::FRESH);
    let is_another_life = match age_of(life, peer, is_silent)? {
        Age::Present => false,
        Age::New if sender.is_fresh(now) || peer.life.is_none() || is_next(life, peer) => {
            begin_life(life, peer, last_index, now);
            true
        }
        // Another directory, in a frame that may be of any age: it may only say who it
        // is. The answer lets it show that it speaks of the present.
        Age::New if matches!(message, Message::Introduce(_) | Message::Resume(_)) => {
            return Ok(sender);
        }
        Age::New => return Err(DropCause::Incarnation),
    };
    if !peer.link.hear(header.packet, header.loss, now) {
        return Err(DropCause::Duplicate);
    }
    peer.heard_at = Some(now);
    if is_another_life {
        state.reveal_all();
    }
    Ok(sender)
}

/// When the echoed frame was sent, if this life of this node has sent it of late.
fn take_echo(echo: Echo, loss: LossShare, peer: &mut Peer, now: Instant) -> Option<Instant> {
    let sent_at = peer.link.on_echo(echo, now)?;
    let arrived_at = now - Duration::from_micros(echo.age.into());
    peer.delivery.on_arrived(echo.packet, arrived_at, loss, peer.link.round_trip());
    Some(sent_at)
}

/// Whether a frame belongs to the life of a node that is known, or begins another.
enum Age {
    Present,
    New,
}

/// Frames of former lives are of the past: an acknowledgment from before a restart says
/// nothing of what survived it. `is_silent` when the present life has not been heard for so
/// long that none of its frames would be fresh.
fn age_of(life: Life, peer: &Peer, is_silent: bool) -> Result<Age, DropCause> {
    match peer.life {
        Some(present) if present.directory == life.directory => {
            match life.incarnation.cmp(&present.incarnation) {
                Ordering::Less => Err(DropCause::Incarnation),
                Ordering::Equal => Ok(Age::Present),
                Ordering::Greater => Ok(Age::New),
            }
        }
        // A node that was started on a wrong directory and then on its own again is as
        // welcome as one that lost its disk: a later start is not of the past.
        _ => match peer.retired.get(&life.directory) {
            Some(incarnation) if life.incarnation < *incarnation => Err(DropCause::Incarnation),
            // A late frame of the directory before may have been fresh enough to displace the
            // one that lives. That is the one which still speaks of the present when nothing
            // more comes of the other.
            Some(incarnation) if life.incarnation == *incarnation && !is_silent => {
                Err(DropCause::Incarnation)
            }
            _ => Ok(Age::New),
        },
    }
}

/// Whether the frame is of a later start of the same directory: no frame of the past is.
fn is_next(life: Life, peer: &Peer) -> bool {
    peer.directory() == Some(life.directory)
}

fn begin_life(life: Life, peer: &mut Peer, last_index: LogIndex, now: Instant) {
    if peer.directory() != Some(life.directory) {
        peer.directory_since = now;
    }
    if let Some(former) = peer.life.filter(|former| former.directory != life.directory) {
        if peer.retired.len() == RETIRED_MAX {
            peer.retired.pop_first();
        }
        peer.retired.insert(former.directory, former.incarnation);
    }
    peer.retired.remove(&life.directory);
    peer.life = Some(life);
    peer.has_answered = false;
    peer.link.restart_hearing();
    peer.progress.start_over(last_index.next(), peer.progress.contact);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{Pinned, Timing};
    use crate::types::{Incarnation, LifeId, PacketNumber};

    /// However often a node's disk is wiped.
    #[test]
    fn so_many_former_directories_of_a_node_are_remembered() {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let timing = Timing::new(Pinned::default(), genesis::FRESH);
        let mut peer = Peer::new(address, PacketNumber(1), timing, LogIndex(1), Instant(0));
        let most = u64::try_from(RETIRED_MAX).unwrap();
        for directory in 1..=most + 6 {
            let directory = DirectoryId(directory);
            let node = ServerId(2);
            let life = Life { node, directory, incarnation: Incarnation(1), id: LifeId(1) };
            begin_life(life, &mut peer, LogIndex(1), Instant(0));
        }
        assert_eq!(peer.directory(), Some(DirectoryId(most + 6)));
        let remembered: Vec<u64> = peer.retired.keys().map(|directory| directory.0).collect();
        assert_eq!(remembered, (6..most + 6).collect::<Vec<u64>>());
    }
}
