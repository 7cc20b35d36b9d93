//! Where frames between nodes have died: what `quorate status` shows of it.
//!
//! A way leads from one node to another. What was sent there the one knows, and what came of it
//! the other.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::exit::Failure;
use super::inquiry::Inquiry;
use super::output::{print_line, print_table};
use super::survey::Survey;
use crate::daemon::random_u64;
use crate::types::{LossShare, ServerId};
use crate::wire::{
    DenialCounts, Message, NodeStatus, PeerTraffic, PortStatus, Traffic, TrafficRequest,
};

/// What nodes have counted, by their ids.
#[derive(Debug)]
pub struct Counted(BTreeMap<ServerId, Traffic>);

/// One way, as both its ends know it.
struct Way<'a> {
    from: ServerId,
    to: ServerId,
    /// What the one has sent, and how much of that again since it was lost.
    sent: &'a PeerTraffic,
    resent: u32,
    /// What the other has heard; none where that does not say.
    heard: Option<&'a PeerTraffic>,
}

/// Asks all who have answered the survey.
pub fn ask(inquiry: &mut Inquiry, survey: &Survey) -> Counted {
    let nonce = random_u64();
    let request = Message::TrafficRequest(TrafficRequest { nonce });
    let answers = inquiry.ask_each(&survey.answering(), request, |message| match message {
        Message::Traffic(traffic) if traffic.nonce == nonce => Some(traffic),
        _ => None,
    });
    Counted(answers.into_values().map(|traffic| (traffic.id, traffic)).collect())
}

impl Counted {
    /// What one node says of its way to another.
    fn of(&self, from: ServerId, to: ServerId) -> Option<&PeerTraffic> {
        self.0.get(&from)?.peers.iter().find(|peer| peer.id == to)
    }

    fn way<'a>(&'a self, from: &NodeStatus, to: ServerId) -> Option<Way<'a>> {
        let peer = from.peers.iter().find(|peer| peer.id == to)?;
        let sent = self.of(from.id, to)?;
        let heard = self.of(to, from.id);
        Some(Way { from: from.id, to, sent, resent: peer.retransmitted, heard })
    }

    /// The ways from one node that answered to another.
    fn ways<'a>(&'a self, survey: &Survey) -> Vec<Way<'a>> {
        let ways = survey
            .answers()
            .flat_map(|from| from.peers.iter().filter_map(move |peer| self.way(from, peer.id)));
        let mut ways: Vec<Way> = ways.collect();
        ways.sort_by_key(|way| (way.from, way.to));
        ways
    }
}

/// What stands above the columns.
const HEADS: [&str; 9] =
    ["from", "to", "sent", "arrived", "lost", "resent", "copies", "doubled", "late"];

/// Prints the ways on which not all went well, and where datagrams died at a node.
pub fn print(counted: &Counted, survey: &Survey) -> Result<(), Failure> {
    let ways = counted.ways(survey);
    let (well, ill): (Vec<Way>, Vec<Way>) = ways.into_iter().partition(Way::is_well);
    if !ill.is_empty() {
        let mut rows = vec![HEADS.map(str::to_owned).to_vec()];
        rows.extend(ill.iter().map(Way::row));
        print_table(&rows, &[])?;
    }
    if !well.is_empty() {
        let others = if ill.is_empty() { "" } else { "other " };
        let sent: u64 = well.iter().map(|way| way.sent.sent).sum();
        print_line(&format!("between {others}nodes: {sent} frames, none lost, none sent again"))?;
    }
    counted.0.values().flat_map(port_lines).try_for_each(|line| print_line(&line))
}

impl Way<'_> {
    fn is_well(&self) -> bool {
        let heard = self.heard.map_or(0, |heard| heard.lost + heard.doubled + heard.late);
        heard + self.sent.copies + u64::from(self.resent) == 0
    }

    fn row(&self) -> Vec<String> {
        let heard = |of: fn(&PeerTraffic) -> u64| {
            self.heard.map_or_else(|| "-".to_owned(), |heard| of(heard).to_string())
        };
        let share = share(self.loss()) * 100.0;
        vec![
            self.from.to_string(),
            self.to.to_string(),
            self.sent.sent.to_string(),
            heard(|heard| heard.arrived),
            format!("{} ({share:.0}%)", heard(|heard| heard.lost)),
            self.resent.to_string(),
            self.sent.copies.to_string(),
            heard(|heard| heard.doubled),
            heard(|heard| heard.late),
        ]
    }

    /// The share that is lost of late, as the other end has measured it.
    fn loss(&self) -> LossShare {
        self.heard.map_or(self.sent.losses[0], |heard| heard.losses[1])
    }
}

/// What did not get through the node's own socket, and how large that is if it is too small.
fn port_lines(traffic: &Traffic) -> Vec<String> {
    let (id, port) = (traffic.id, traffic.port);
    let overflowed = port.overflowed.filter(|count| *count > 0).map(|count| {
        format!("node {id} was too slow to read: its system has dropped {count} datagrams")
    });
    let refused = (port.refused > 0).then(|| {
        format!("node {id} was too fast to send: its system has refused {}", port.refused)
    });
    let unsent = (port.unsent > 0).then(|| {
        format!("node {id} could not send {} for other reasons: see its log", port.unsent)
    });
    let smallest = port.receive_buffer.min(port.send_buffer);
    let buffers = (smallest < port.buffer_wanted).then(|| {
        let [given, wanted] = [smallest, port.buffer_wanted].map(|bytes| bytes >> 10);
        format!("node {id} has {given} of {wanted} KiB of socket buffer: raise net.core.*mem_max")
    });
    [overflowed, refused, unsent, buffers].into_iter().flatten().collect()
}

/// What came of datagrams at the node's socket.
pub fn socket_to_json(counted: &Counted, node: ServerId) -> Value {
    let Some(traffic) = counted.0.get(&node) else { return Value::Null };
    let PortStatus { overflowed, refused, unsent, .. } = traffic.port;
    json!({
        "dropped_by_system": overflowed,
        "refused_by_system": refused,
        "unsent": unsent,
        "repeated_answers": traffic.repeated_answers,
        "buffer_wanted": traffic.port.buffer_wanted,
        "receive_buffer": traffic.port.receive_buffer,
        "send_buffer": traffic.port.send_buffer,
    })
}

/// What the node has denied clients, by the right that was missing.
pub fn denied_to_json(counted: &Counted, node: ServerId) -> Value {
    let Some(traffic) = counted.0.get(&node) else { return Value::Null };
    let DenialCounts { read_only, other_keys, clients_key } = traffic.denied;
    json!({ "read_only": read_only, "other_keys": other_keys, "clients_key": clients_key })
}

/// The same as a line, for each node that has denied anything.
pub fn print_denials(counted: &Counted) -> Result<(), Failure> {
    for (node, traffic) in &counted.0 {
        let DenialCounts { read_only, other_keys, clients_key } = traffic.denied;
        let counts =
            [(read_only, "read only"), (other_keys, "other keys"), (clients_key, "client's key")];
        let denied = counts.iter().filter(|(count, _)| *count > 0);
        let denied: Vec<String> = denied.map(|(count, why)| format!("{count} {why}")).collect();
        if !denied.is_empty() {
            print_line(&format!("node {node} denied for want of rights: {}", denied.join(", ")))?;
        }
    }
    Ok(())
}

/// What came of the frames on the way to a peer, and of those on the way from it.
pub fn ways_to_json(counted: &Counted, node: ServerId, peer: ServerId) -> Value {
    let Some(own) = counted.of(node, peer) else { return Value::Null };
    let there = counted.of(peer, node);
    json!({
        "to": {
            "sent": own.sent,
            "copies": own.copies,
            "arrived": there.map(|there| there.arrived),
            "lost": there.map(|there| there.lost),
            "doubled": there.map(|there| there.doubled),
            "late": there.map(|there| there.late),
            "loss": share(own.losses[0]),
        },
        "from": {
            "arrived": own.arrived,
            "lost": own.lost,
            "doubled": own.doubled,
            "late": own.late,
            "loss": share(own.losses[1]),
        },
    })
}

/// A part of one.
pub fn share(loss: LossShare) -> f64 {
    f64::from(loss.0) / 256.0
}
