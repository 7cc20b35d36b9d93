//! The cluster's birth, by unanimity of the listed blank nodes.
//!
//! All N listed nodes must be blank, have equal lists and have durably accepted the
//! same genesis; nobody votes before knowing it complete. An incomplete genesis is
//! superseded only by all N again. So whenever something was ever committed, a
//! majority of the members knows its genesis complete, and no second one can be born
//! while a single one of them is left.
//!
//! But those who came since are in nobody's list. Where all that a list names have lost their
//! disks, only the others know of the cluster: so each node listens before it takes part in a
//! birth, and takes part in none when it hears one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::effects::{Destination, Effects, Timer};
use super::state::ReplicaState;
use super::{ListedNode, NodeConfig};
use crate::configuration::Configuration;
use crate::disk::{GenesisState, Record};
use crate::time::Instant;
use crate::types::{DirectoryId, GenesisId, ServerId};
use crate::wire::{Introduce, Message, Standing};

/// How often a node that is not born introduces itself.
const INTERVAL: Duration = Duration::from_millis(50);
/// How long what another node said of itself counts.
pub const FRESH: Duration = Duration::from_secs(2);
/// How often a node introduces itself before it takes part in a birth, the first time at its
/// start: some 2 s, in which it runs. A leader speaks every 40 ms, and whoever had a session with
/// the node before seeks another within 400 ms, also when a few of these datagrams are lost.
pub const LISTENING_ROUNDS: u32 = 41;

/// A node's way into its cluster.
#[derive(Debug)]
pub struct Genesis {
    /// This node's list: each node's address as typed, empty when it was not.
    list: Vec<(ServerId, String)>,
    /// So many times more it introduces itself before it takes part in a birth.
    to_listen: u32,
    pub(super) heard: BTreeMap<ServerId, Heard>,
    /// As coordinator: who has durably accepted the genesis that this node proposes.
    pub(super) accepted_by: BTreeSet<ServerId>,
    /// That a genesis is complete is on its way to the disk.
    pub(super) completing: bool,
    /// As coordinator: the configuration's limits of these names.
    snapshot_bytes: u64,
    session_limit: u32,
}

/// What another node said of itself.
#[derive(Debug)]
pub(super) struct Heard {
    at: Instant,
    pub(super) directory: DirectoryId,
    pub(super) standing: Standing,
    /// Its list, where that contradicts this node's.
    pub(super) contradiction: Option<Vec<(ServerId, String)>>,
}

impl Genesis {
    /// The way of a node with this list.
    pub fn new(config: &NodeConfig) -> Self {
        let typed = |listed: &ListedNode| listed.typed.clone();
        let list = config.nodes.iter().map(|(id, listed)| (*id, typed(listed))).collect();
        Self {
            list,
            to_listen: config.listening_rounds,
            heard: BTreeMap::new(),
            accepted_by: BTreeSet::new(),
            completing: false,
            snapshot_bytes: config.snapshot_bytes,
            session_limit: config.session_limit,
        }
    }

    /// Introduces this node to the others, and moves the birth on if it coordinates it.
    pub fn on_timeout(&mut self, state: &ReplicaState, fx: &mut Effects) {
        let standing = match &state.genesis {
            GenesisState::Blank => Standing::Blank,
            GenesisState::Accepted(accepted) => Standing::Accepted(accepted.genesis),
            GenesisState::Complete(_) => return,
        };
        self.to_listen = self.to_listen.saturating_sub(1);
        for &peer in state.peers.keys() {
            fx.send(Destination::Peer(peer), self.introduce(standing));
        }
        fx.arm(Timer::Genesis, INTERVAL);
    }

    fn introduce(&self, standing: Standing) -> Message {
        Message::Introduce(Introduce { standing, list: self.list.clone() })
    }

    /// Takes in what another node says of itself. `fresh` says that it echoes a frame
    /// that this node sent lately: only then does it speak of the present.
    pub fn on_introduce(
        &mut self,
        from: ServerId,
        directory: DirectoryId,
        introduce: Introduce,
        fresh: bool,
        state: &ReplicaState,
        fx: &mut Effects,
    ) {
        if let GenesisState::Complete(genesis) = &state.genesis {
            let fits = match introduce.standing {
                Standing::Born(theirs) if theirs != genesis.genesis => return,
                Standing::Born(_) => true,
                _ => self.fits(&introduce.list, state.configuration()),
            };
            self.receive_late_comer(from, fits, genesis, state, fx);
            return;
        }
        // Who came since may have listed others, and is no part of a birth.
        if fresh && self.list.iter().any(|(listed, _)| *listed == from) {
            let contradicts = !agree(&self.list, &introduce.list);
            let contradiction = contradicts.then_some(introduce.list);
            let standing = introduce.standing;
            self.heard.insert(from, Heard { at: fx.now, directory, standing, contradiction });
        }
    }

    /// A node that is not born yet, or one that hears no leader, meets one that is. It is
    /// told where those are that came by the log: one of them may be the leader, and nobody
    /// takes in a log from a node that it does not know.
    fn receive_late_comer(
        &self,
        from: ServerId,
        fits: bool,
        genesis: &Configuration,
        state: &ReplicaState,
        fx: &mut Effects,
    ) {
        let message = if fits {
            Message::GenesisComplete(genesis.telling_of(state.configuration()))
        } else {
            self.introduce(Standing::Born(genesis.genesis))
        };
        fx.send(Destination::Peer(from), message);
    }

    /// No leader is heard: there may be one that came by a part of the log that this node
    /// has not. Asks the others who there is.
    pub fn ask_around(&self, state: &ReplicaState, fx: &mut Effects) {
        let GenesisState::Complete(genesis) = &state.genesis else { return };
        for &peer in state.peers.keys() {
            let introduce = self.introduce(Standing::Born(genesis.genesis));
            fx.send(Destination::Peer(peer), introduce);
        }
    }

    /// Whether a late comer with this list can take part in the cluster as it is by now. It
    /// must know where the nodes are whose addresses the log does not tell, and may name no
    /// other than are there. But nodes may have come and gone since either list was typed.
    fn fits(&self, theirs: &[(ServerId, String)], present: &Configuration) -> bool {
        let listed = |list: &[(ServerId, String)], id: ServerId| {
            list.iter().find(|(listed, _)| *listed == id).map(|(_, typed)| typed.clone())
        };
        let told = |id: &ServerId| present.addresses.contains_key(id);
        let nodes = present.members.keys().chain(&present.learners);
        let lacks = nodes.filter(|id| !told(id)).any(|id| listed(theirs, *id).is_none());
        let contradicts = theirs.iter().any(|(id, theirs)| match listed(&self.list, *id) {
            None => !present.lists(*id),
            Some(ours) => !alike(&ours, theirs),
        });
        !lacks && !contradicts
    }

    /// As coordinator, which is the lowest listed node: proposes the birth once all
    /// others are known to be unborn and to have the same list.
    pub fn coordinate(&mut self, state: &mut ReplicaState, fx: &mut Effects) {
        if !self.may_found(state) || self.coordinator() != Some(state.server_id) {
            return;
        }
        let Some(members) = self.unborn_members(state, fx.now) else { return };
        match &state.genesis {
            GenesisState::Accepted(accepted) if accepted.members == members => {}
            _ => self.draw(members, state, fx),
        }
        self.propose(state, fx);
    }

    /// Whether this node may take part in a birth: as far as it has heard, there was none.
    fn may_found(&self, state: &ReplicaState) -> bool {
        !state.is_born() && !self.completing && self.to_listen == 0 && state.told.is_empty()
    }

    fn coordinator(&self) -> Option<ServerId> {
        self.list.first().map(|(id, _)| *id)
    }

    /// The directories of all listed nodes, if each was freshly heard to be unborn and
    /// none contradicts the list.
    fn unborn_members(
        &self,
        state: &ReplicaState,
        now: Instant,
    ) -> Option<BTreeMap<ServerId, DirectoryId>> {
        let mut members = BTreeMap::from([(state.server_id, state.identity.directory)]);
        for &peer in state.peers.keys() {
            let heard = self.heard.get(&peer).filter(|heard| now.since(heard.at) < FRESH)?;
            let unborn = !matches!(heard.standing, Standing::Born(_));
            if !unborn || heard.contradiction.is_some() {
                return None;
            }
            members.insert(peer, heard.directory);
        }
        Some(members)
    }

    fn draw(
        &mut self,
        members: BTreeMap<ServerId, DirectoryId>,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) {
        let genesis = GenesisId(fx.random.u64(1..));
        let configuration = Configuration {
            snapshot_bytes: self.snapshot_bytes,
            session_limit: self.session_limit,
            ..Configuration::at_genesis(genesis, members)
        };
        self.accepted_by.clear();
        accept(state.server_id, configuration, state, fx);
    }

    fn propose(&self, state: &ReplicaState, fx: &mut Effects) {
        let GenesisState::Accepted(configuration) = &state.genesis else { return };
        for &peer in state.peers.keys() {
            if !self.accepted_by.contains(&peer) {
                let propose = Message::GenesisPropose(configuration.clone());
                fx.promise(Destination::Peer(peer), propose);
            }
        }
        if !self.accepted_by.contains(&state.server_id) {
            // After a restart, too, this node's own acceptance counts once it is known
            // to be durable.
            fx.promise(Destination::Myself, Message::GenesisAccept(configuration.genesis));
        }
    }

    /// Accepts a proposed genesis, if it comes freshly from the coordinator and lists
    /// this very directory and the nodes that this one lists.
    pub fn on_propose(
        &mut self,
        from: ServerId,
        directory: DirectoryId,
        configuration: Configuration,
        fresh: bool,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) {
        let same_nodes = self.list.iter().map(|(id, _)| id).eq(configuration.members.keys());
        let legitimate = fresh
            && self.coordinator() == Some(from)
            && same_nodes
            && configuration.is_voter(from, directory)
            && configuration.is_voter(state.server_id, state.identity.directory);
        if legitimate && self.may_found(state) {
            accept(from, configuration, state, fx);
        }
    }

    /// As coordinator: counts who has durably accepted. When all have, the cluster is born.
    pub fn on_accept(
        &mut self,
        from: ServerId,
        directory: DirectoryId,
        genesis: GenesisId,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) {
        let GenesisState::Accepted(accepted) = &state.genesis else { return };
        if accepted.genesis != genesis || !accepted.is_voter(from, directory) {
            return;
        }
        self.accepted_by.insert(from);
        let all = accepted.members.keys().all(|member| self.accepted_by.contains(member));
        if all && state.told.is_empty() {
            let accepted = accepted.clone();
            self.complete(accepted, fx);
        }
    }

    /// The genesis is complete. A member must have accepted it; a directory that is not
    /// a member learns, and the log will say what it is.
    pub fn on_complete(
        &mut self,
        told: Configuration,
        fresh: bool,
        state: &mut ReplicaState,
        fx: &mut Effects,
    ) {
        let configuration = Configuration::at_birth_of(&told);
        if fresh && matches!(&state.genesis, GenesisState::Complete(ours) if *ours == configuration)
        {
            state.be_told_of(told.addresses, fx);
        }
        let member = configuration.is_voter(state.server_id, state.identity.directory);
        let accepted = matches!(&state.genesis,
            GenesisState::Accepted(accepted) if *accepted == configuration);
        if state.is_born() || !fresh || (member && !accepted) {
            return;
        }
        self.complete(configuration, fx);
    }

    /// Makes durable that the genesis is complete. The node is born when that is done,
    /// and accepts no other meanwhile.
    fn complete(&mut self, configuration: Configuration, fx: &mut Effects) {
        if self.completing {
            return;
        }
        self.completing = true;
        fx.record(Record::GenesisComplete(configuration.clone()));
        fx.promise(Destination::Myself, Message::GenesisComplete(configuration));
    }

    /// Whom the birth waits for, as a sentence.
    pub fn waiting_for(&self, state: &ReplicaState, now: Instant) -> String {
        if let Some(contradiction) = self.contradiction(now) {
            return contradiction;
        }
        if let Some(node) = state.told.keys().next() {
            return format!(
                "the cluster is not born yet as far as this node knows, but node {node}, which is \
                 not listed, belongs to one of this name, and is asked to tell of it; if that does \
                 not help, start this node with a --peer list of all nodes"
            );
        }
        let silent: Vec<ServerId> = state
            .peers
            .keys()
            .filter(|peer| self.heard.get(peer).is_none_or(|heard| now.since(heard.at) >= FRESH))
            .copied()
            .collect();
        if silent.is_empty() && self.to_listen > 0 {
            return "the cluster is not born yet: this node listens for 2 s whether it is there \
                    already"
                .into();
        }
        if silent.is_empty() {
            return "the cluster is not born yet: the nodes are agreeing on its birth".into();
        }
        let (nodes, verb) = if silent.len() == 1 { ("node", "has") } else { ("nodes", "have") };
        format!(
            "the cluster is not born yet: it takes all {} listed nodes, and {nodes} {} {verb} not \
             answered",
            self.list.len(),
            super::status::enumerate(&silent),
        )
    }

    fn contradiction(&self, now: Instant) -> Option<String> {
        let (node, theirs) = self.contradictions(now).next()?;
        Some(format!(
            "node {node} lists other nodes than this one: it has {}, and here stands {}; \
             start all nodes with the same --peer list",
            show(theirs),
            show(&self.list),
        ))
    }

    fn contradictions(
        &self,
        now: Instant,
    ) -> impl Iterator<Item = (ServerId, &Vec<(ServerId, String)>)> {
        self.heard
            .iter()
            .filter(move |(_, heard)| now.since(heard.at) < FRESH)
            .filter_map(|(node, heard)| Some((*node, heard.contradiction.as_ref()?)))
    }

    /// Why a node must not go on: more of the nodes that are heard contradict its list
    /// than have the same, itself included.
    pub fn contradicted(&self, now: Instant) -> Option<String> {
        let fresh = self.heard.values().filter(|heard| now.since(heard.at) < FRESH).count();
        let contradictions = self.contradictions(now).count();
        let agreeing = 1 + fresh - contradictions;
        if contradictions > agreeing { self.contradiction(now) } else { None }
    }
}

/// Accepts the genesis durably, and says so then.
fn accept(
    coordinator: ServerId,
    configuration: Configuration,
    state: &mut ReplicaState,
    fx: &mut Effects,
) {
    let message = Message::GenesisAccept(configuration.genesis);
    let accepted = GenesisState::Accepted(configuration.clone());
    if state.genesis != accepted {
        state.genesis = accepted;
        fx.record(Record::GenesisAccepted(configuration));
    }
    if coordinator != state.server_id {
        fx.promise(Destination::Peer(coordinator), message);
    }
}

/// Whether two lists name the same nodes, at the same addresses as far as both were typed.
fn agree(ours: &[(ServerId, String)], theirs: &[(ServerId, String)]) -> bool {
    ours.len() == theirs.len()
        && ours
            .iter()
            .zip(theirs)
            .all(|((our_id, ours), (their_id, theirs))| our_id == their_id && alike(ours, theirs))
}

/// Whether two addresses are the same, as far as both were typed.
fn alike(ours: &str, theirs: &str) -> bool {
    ours.is_empty() || theirs.is_empty() || ours == theirs
}

/// What was typed at another node came over the network, and must not end a line of the log.
fn show(list: &[(ServerId, String)]) -> String {
    let show_one = |(id, typed): &(ServerId, String)| {
        if typed.is_empty() { format!("{id}") } else { format!("{id}={}", typed.escape_debug()) }
    };
    list.iter().map(show_one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    fn list(typed: [&str; 3]) -> Vec<(ServerId, String)> {
        (1..).map(ServerId).zip(typed.map(String::from)).collect()
    }

    /// The first of three, which has heard the second and the third so long ago, each with
    /// this list where it contradicts.
    fn genesis(heard: [(Duration, Option<[&str; 3]>); 2]) -> (Genesis, Instant) {
        let now = Instant(10_000_000);
        let mut genesis = Genesis::new(&NodeConfig::new(BTreeMap::new()));
        genesis.list = list(["a:1", "", ""]);
        for (id, (age, contradiction)) in (2..).map(ServerId).zip(heard) {
            let contradiction = contradiction.map(list);
            let (directory, standing) = (DirectoryId(1), Standing::Blank);
            let heard = Heard { at: now - age, directory, standing, contradiction };
            genesis.heard.insert(id, heard);
        }
        (genesis, now)
    }

    #[test]
    fn addresses_are_compared_as_far_as_both_were_typed() {
        let ours = list(["a:1", "", "c:3"]);
        assert!(agree(&ours, &list(["a:1", "b:2", ""])));
        assert!(!agree(&ours, &list(["a:1", "b:2", "c:4"])));
        assert!(!agree(&ours, &ours[..2]));
    }

    #[test]
    fn a_node_gives_up_when_more_contradict_it_than_agree() {
        let (now, other) = (Duration::ZERO, Some(["a:9", "", "c:3"]));
        let gives_up = |heard| {
            let (genesis, now) = genesis(heard);
            genesis.contradicted(now).is_some()
        };
        assert!(gives_up([(now, other), (now, other)]));
        assert!(!gives_up([(now, other), (now, None)]));
        assert!(!gives_up([(now, other), (FRESH, other)]), "one against one");
        assert!(!gives_up([(FRESH, None), (FRESH, other)]));
    }

    #[test]
    fn what_another_node_lists_stays_on_its_line() {
        assert_eq!(show(&list(["a:1\n", "\u{1b}[2J", ""])), "1=a:1\\n 2=\\u{1b}[2J 3");
    }

    #[test]
    fn both_lists_are_shown() {
        let (genesis, now) =
            genesis([(Duration::ZERO, Some(["a:9", "", "c:3"])), (Duration::ZERO, None)]);
        let expected = "node 2 lists other nodes than this one: it has 1=a:9 2 3=c:3, and here \
                        stands 1=a:1 2 3; start all nodes with the same --peer list";
        assert_eq!(genesis.contradiction(now).as_deref(), Some(expected));
    }
}
