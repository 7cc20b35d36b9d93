//! A cluster of three node processes.

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::on_path::OnPath;
use crate::processes::{Node, Ran, eventually, quorate};

/// The nodes' numbers.
pub const IDS: [usize; 3] = [1, 2, 3];

/// Held by whoever runs a cluster: two at once would disturb each other's timing.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Waits for its turn to run a cluster.
pub fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Three nodes, some of which may be dead. All are killed when this is dropped.
pub struct Cluster {
    nodes: [Option<Node>; 3],
    /// Where the nodes listen.
    pub addresses: [String; 3],
    pub directory: TempDir,
    /// The keys of who runs the cluster, of which each node has a copy; none: frames are not
    /// sealed.
    key_file: Option<String>,
    /// The addresses that the nodes know each other by; none: those at which they listen.
    known_by: Option<[String; 3]>,
    _alone: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Prepares three nodes with free ports, and starts none.
    pub fn prepare() -> Self {
        let alone = alone();
        let sockets = IDS.map(|_| UdpSocket::bind("127.0.0.1:0").expect("there is a free port"));
        let addresses = sockets.map(|socket| socket.local_addr().expect("it is bound").to_string());
        let directory = tempfile::tempdir().expect("there is room for a directory");
        let nodes = [None, None, None];
        Self { nodes, addresses, directory, key_file: None, known_by: None, _alone: alone }
    }

    /// The same, with a key.
    pub fn prepare_sealed() -> Self {
        let mut cluster = Self::prepare();
        cluster.give_key();
        cluster
    }

    /// Ends all nodes. Returns as many at the same addresses, with no data yet.
    pub fn succeeded(mut self) -> Self {
        self.nodes = [None, None, None];
        for id in IDS {
            fs::remove_dir_all(self.data_dir(id)).expect("the directory can be removed");
        }
        self
    }

    /// Starts three nodes, and waits until all are well.
    #[track_caller]
    pub fn start() -> Self {
        let mut cluster = Self::prepare();
        cluster.start_all();
        cluster.wait_until_well();
        cluster
    }

    /// The same, with a key.
    #[track_caller]
    pub fn start_sealed() -> Self {
        let mut cluster = Self::prepare();
        cluster.start_all_sealed();
        cluster
    }

    /// The same, with somebody between all nodes, through whom all that they say passes.
    #[track_caller]
    pub fn start_on_path() -> (Self, OnPath) {
        let mut cluster = Self::prepare();
        let path = OnPath::between(&cluster.addresses);
        cluster.known_by = Some(path.addresses.clone());
        cluster.start_all_sealed();
        (cluster, path)
    }

    #[track_caller]
    fn start_all_sealed(&mut self) {
        self.give_key();
        self.start_all();
        self.wait_until_well();
    }

    fn give_key(&mut self) {
        let key_file = self.file("key");
        quorate("", &["keygen", &key_file], b"").expect(0);
        for id in IDS {
            fs::copy(&key_file, self.node_key_file(id)).expect("a key file can be copied");
        }
        self.key_file = Some(key_file);
    }

    /// Starts every node, none of which is running.
    pub fn start_all(&mut self) {
        for id in IDS {
            self.start_node(id);
        }
    }

    /// Starts the node by the line that all have in common.
    pub fn start_node(&mut self, id: usize) {
        self.start_node_with(id, &self.list());
    }

    /// The list of peers that all have in common, as the flags give it.
    pub fn list(&self) -> Vec<String> {
        let known_by = self.known_by.as_ref().unwrap_or(&self.addresses);
        IDS.iter().zip(known_by).map(|(id, address)| format!("{id}={address}")).collect()
    }

    /// Starts the node with this list of peers.
    pub fn start_node_with(&mut self, id: usize, peers: &[String]) {
        self.start_node_flagged(id, peers, &[]);
    }

    /// Starts the node with this list of peers and these flags.
    pub fn start_node_flagged(&mut self, id: usize, peers: &[String], more: &[&str]) {
        let (id_word, data) = (id.to_string(), self.data_dir(id).display().to_string());
        let mut flags = vec!["--id", &id_word, "--data-dir", &data, "--listen", self.address(id)];
        flags.extend(peers.iter().flat_map(|peer| ["--peer", peer]));
        flags.extend(more);
        let key_file = self.node_key_file(id);
        if self.key_file.is_some() {
            flags.extend(["--key-file", &key_file]);
        }
        let node = Node::start(&flags, &self.directory.path().join(format!("log-{id}")));
        self.nodes[id - 1] = Some(node);
    }

    /// Kills the node.
    pub fn kill(&mut self, id: usize) {
        self.node(id).kill();
        self.nodes[id - 1] = None;
    }

    /// The node, which is running.
    pub fn node(&mut self, id: usize) -> &mut Node {
        self.nodes[id - 1].as_mut().expect("the node was started")
    }

    /// How much memory the node has.
    pub fn resident_kib(&mut self, id: usize) -> u64 {
        let path = format!("/proc/{}/status", self.node(id).child.id());
        let status = std::fs::read_to_string(path).expect("the node runs");
        let (_, after) = status.split_once("VmRSS:").expect("the system counts memory");
        let number = after.split_whitespace().next();
        number.and_then(|kib| kib.parse().ok()).expect("it is a number of KiB")
    }

    /// Where the node listens.
    pub fn address(&self, id: usize) -> &str {
        &self.addresses[id - 1]
    }

    /// Where the node keeps its data.
    pub fn data_dir(&self, id: usize) -> PathBuf {
        self.directory.path().join(format!("data-{id}"))
    }

    /// The addresses of all, as the variable lists them.
    pub fn servers(&self) -> String {
        self.addresses.join(",")
    }

    /// Runs a client command that knows all nodes.
    pub fn run(&self, words: &[&str]) -> Ran {
        quorate(&self.servers(), &[words, &self.key_flags()].concat(), b"")
    }

    /// Runs a client command that knows only this node.
    pub fn ask(&self, id: usize, words: &[&str]) -> Ran {
        quorate(self.address(id), &[words, &self.key_flags()].concat(), b"")
    }

    /// Runs a client command that knows all nodes, and has the keys of this file.
    pub fn run_as(&self, key_file: &str, words: &[&str]) -> Ran {
        quorate(&self.servers(), &[words, &["--key-file", key_file]].concat(), b"")
    }

    /// The path of a file beside the nodes' directories.
    pub fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn node_key_file(&self, id: usize) -> String {
        self.file(&format!("key-{id}"))
    }

    /// Gives the node these keys and SIGHUP, and waits until it has read them. Returns what it
    /// says to that.
    #[track_caller]
    pub fn give_keys(&mut self, id: usize, text: &str) -> String {
        fs::write(self.node_key_file(id), text).expect("a key file can be written");
        let node = self.node(id);
        let before = node.said().len();
        kill_process(Pid::from_child(&node.child), Signal::HUP).expect("the node runs");
        eventually("the keys are read again", || {
            let said = node.said();
            let mut lines =
                said[before..].split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let is_it =
                |line: &&str| ["key file was", "keys stay"].iter().any(|part| line.contains(part));
            lines.find(is_it).map(str::to_owned)
        })
    }

    fn key_flags(&self) -> Vec<&str> {
        self.key_file.iter().flat_map(|file| ["--key-file", file]).collect()
    }

    /// What `status` says of the node.
    pub fn status_of(&self, id: usize) -> Value {
        let nodes = self.run(&["status", "--json"]).json()["nodes"].take();
        let mut nodes = nodes.as_array().expect("it is a list").clone().into_iter();
        let is_it = |node: &Value| node["address"] == self.address(id);
        nodes.find(is_it).expect("every node is shown")
    }

    /// What the node has said since it was started.
    pub fn said(&self, id: usize) -> String {
        self.nodes[id - 1].as_ref().expect("the node was started").said()
    }

    /// Waits until every node votes and follows one leader.
    #[track_caller]
    pub fn wait_until_well(&self) {
        eventually("all is well", || (self.run(&["status"]).code == 0).then_some(()));
    }

    /// Waits until a majority follows one leader. Returns its id.
    #[track_caller]
    pub fn leader(&self) -> usize {
        eventually("a majority follows one leader", || {
            let shown = self.run(&["status", "--json"]).json();
            let nodes = shown["nodes"].as_array()?;
            let leads = |id: &usize| {
                let follows = |node: &&Value| node["leader_id"] == *id;
                let is_it = |node: &Value| node["id"] == *id && node["role"] == "leader";
                nodes.iter().any(is_it) && nodes.iter().filter(follows).count() >= 2
            };
            IDS.into_iter().find(leads)
        })
    }

    /// A node that does not lead.
    #[track_caller]
    pub fn follower(&self) -> usize {
        self.leader() % IDS.len() + 1
    }

    /// Waits until the node's own committed state, dumped, is this.
    #[track_caller]
    pub fn wait_for_dump(&self, id: usize, expected: &[u8]) {
        eventually(&format!("node {id} holds all that is expected"), || {
            let dumped = self.ask(id, &["dump", "--stale"]);
            (dumped.code == 0 && dumped.out == expected).then_some(())
        });
    }
}
