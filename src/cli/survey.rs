//! Asks nodes, and all that they name, how they are.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::args::ClientFlags;
use super::inquiry::Inquiry;
use super::strangers::Strangers;
use crate::daemon::random_u64;
use crate::types::ServerId;
use crate::wire::{Message, NodeStatus, Role, StatusRequest};

/// What nodes said of themselves.
#[derive(Debug, Default)]
pub struct Survey {
    /// Every node that was given or named, by its address.
    pub nodes: BTreeMap<SocketAddr, Surveyed>,
    /// Those among them that are of other clusters, as they say.
    pub strangers: Strangers,
    /// What is asked is sealed with a key.
    has_key: bool,
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
    match Inquiry::open(flags) {
        Ok(mut inquiry) => take_by(&mut inquiry, flags),
        Err(_) => Survey::of_given(flags),
    }
}

/// The same, by a client that may have further questions.
pub fn take_by(inquiry: &mut Inquiry, flags: &ClientFlags) -> Survey {
    let mut survey = Survey::of_given(flags);
    let nonce = random_u64();
    let mut question = inquiry.ask(Message::StatusRequest(StatusRequest { nonce }));
    while let Some((from, message)) = question.next_answer(&survey.silent()) {
        if let Message::Status(status) = message
            && status.nonce == nonce
            && survey.take_in(from, status)
        {
            question.ask_at_once();
        }
    }
    survey.strangers = inquiry.strangers().clone();
    survey
}

impl Survey {
    /// The servers that are given, none of which has answered.
    fn of_given(flags: &ClientFlags) -> Self {
        let nodes = flags.servers.iter().map(|server| (*server, Surveyed::default()));
        let has_key = flags.keys.is_some();
        Self { nodes: nodes.collect(), strangers: Strangers::default(), has_key }
    }

    fn silent(&self) -> Vec<SocketAddr> {
        let silent = self.nodes.iter().filter(|(_, node)| node.status.is_none());
        silent.map(|(address, _)| *address).collect()
    }

    /// Takes in an answer. Returns whether it names nodes that were not known.
    fn take_in(&mut self, from: SocketAddr, status: NodeStatus) -> bool {
        if !self.nodes.contains_key(&from) {
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

    /// Where those are that answered.
    pub fn answering(&self) -> Vec<SocketAddr> {
        let answering = self.nodes.iter().filter(|(_, node)| node.status.is_some());
        answering.map(|(address, _)| *address).collect()
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
            .filter(|(address, _)| self.strangers.cluster_at(**address).is_none())
            .map(|(address, node)| node.id.map_or(address.to_string(), |id| format!("node {id}")))
            .collect();
        let missing = match silent.as_slice() {
            [] => String::new(),
            [one] => format!(": {one} is silent"),
            [others @ .., last] => format!(": {} and {last} are silent", others.join(", ")),
        };
        if let Some(strangers) = self.strangers.sentence() {
            return format!("{answered} of {total} nodes answered{missing}; {strangers}");
        }
        if answered == 0 {
            // Nodes with keys are silent to whoever has none of them.
            let key = if self.has_key {
                "that they have the key of --key-file"
            } else {
                "--key-file, which was not given"
            };
            return format!(
                "0 of {total} nodes answered{missing}; see that they run, and check --server, \
                 --cluster and {key}"
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes that have keys are silent to whoever lacks them, so silence may come of that.
    #[test]
    fn where_nobody_answers_the_key_is_spoken_of() {
        let given = SocketAddr::from(([10, 0, 0, 1], 9717));
        for (has_key, expected) in [(true, "have the key of --key-file"), (false, "was not given")]
        {
            let nodes = BTreeMap::from([(given, Surveyed::default())]);
            let sentence = Survey { nodes, has_key, ..Survey::default() }.sentence();
            assert!(sentence.contains(expected), "{sentence}");
        }
    }
}
