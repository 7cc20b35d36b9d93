//! What a node has said.

use std::net::SocketAddr;

use quorate::operation::Settled;
use quorate::types::ServerId;
use quorate::wire::{Acknowledge, DeclineReason, Message, Page};

use super::members::address_of;

/// A frame that the node has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub to: SocketAddr,
    pub message: Message,
}

/// What was said to one node.
pub fn to_peer(said: &[Sent], peer: ServerId) -> Vec<&Message> {
    said.iter().filter(|sent| sent.to == address_of(peer)).map(|sent| &sent.message).collect()
}

/// What clients were told of their operations.
pub fn replies(said: &[Sent]) -> Vec<&Settled> {
    let reply = |sent| match sent {
        &Sent { message: Message::Reply(ref reply), .. } => Some(&reply.settled),
        _ => None,
    };
    said.iter().filter_map(reply).collect()
}

/// The pages that were sent to clients.
pub fn pages(said: &[Sent]) -> Vec<&Page> {
    let page = |sent| match sent {
        &Sent { message: Message::Page(ref page), .. } => Some(page),
        _ => None,
    };
    said.iter().filter_map(page).collect()
}

/// Whether a client was told that there is no room for it. Nothing is declined for another
/// reason.
pub fn is_busy(said: &[Sent]) -> bool {
    let busy = |sent: &Sent| {
        let Message::Declined(declined) = &sent.message else { return false };
        assert_eq!(declined.reason, DeclineReason::Busy);
        true
    };
    said.iter().any(busy)
}

/// The last acknowledgment that was sent.
pub fn acknowledged(said: &[Sent]) -> Option<&Acknowledge> {
    said.iter().rev().find_map(|sent| match &sent.message {
        Message::Acknowledge(acknowledge) => Some(acknowledge),
        _ => None,
    })
}
