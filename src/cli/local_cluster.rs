//! Three nodes as child processes, in a temporary directory that goes when they go.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::args::{ClientFlags, DEFAULT_CLUSTER};
use super::exit::{Exit, Failure};
use super::patience::Patience;
use super::{keygen, survey};
use crate::daemon::{random_u64, read_keys};
use crate::link::REDUNDANCY_MAX;
use crate::seal::KeyRing;
use crate::types::ServerId;

/// How many nodes there are.
pub const NODES: usize = 3;

/// How often other ports are tried when somebody took those that were free.
const PORT_ATTEMPTS: u32 = 5;
/// How long nodes may take to answer for the first time.
const START_MAX: Duration = Duration::from_secs(10);
/// How long one operation may take.
const OPERATION_MAX: Duration = Duration::from_secs(5);

/// The nodes. Dropping it kills them and removes all that they wrote.
#[derive(Debug)]
pub struct Cluster {
    directory: PathBuf,
    keys: Arc<KeyRing>,
    /// In the order of their ids, from 1.
    nodes: Vec<Node>,
    kept: bool,
}

#[derive(Debug)]
struct Node {
    id: ServerId,
    listen: SocketAddr,
    /// Where the others and the clients find it: `listen`, or what stands before it.
    address: SocketAddr,
    process: Option<Child>,
}

/// Every node's number.
pub fn ids() -> impl Iterator<Item = ServerId> {
    (1..).map(ServerId).take(NODES)
}

impl Cluster {
    /// A temporary directory, named after the command, and no node in it yet.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn new(command: &str) -> Result<Self, Failure> {
        let name = format!("quorate-{command}-{:08x}", random_u64() >> 32);
        let directory = env::temp_dir().join(name);
        DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(|error| Failure::file("make", &directory.display().to_string(), &error))?;
        let key_file = directory.join("key");
        keygen::write_node_key(&key_file)?;
        let keys = read_keys(&key_file)?;
        Ok(Self { directory, keys, nodes: Vec::new(), kept: false })
    }

    /// Starts all nodes, blank, and waits until each answers.
    ///
    /// # Errors
    /// A node ended or does not answer, or patience did.
    pub fn start(&mut self, patience: &Patience) -> Result<(), Failure> {
        self.start_behind(patience, |listening| Ok(listening.to_vec()))
    }

    /// The same, with something before each node: `front` is told where the nodes will
    /// listen, and says where they are to be found instead.
    ///
    /// # Errors
    /// Those of [`Self::start`], and those of `front`.
    pub fn start_behind(
        &mut self,
        patience: &Patience,
        mut front: impl FnMut(&[SocketAddr]) -> Result<Vec<SocketAddr>, Failure>,
    ) -> Result<(), Failure> {
        for _ in 0..PORT_ATTEMPTS {
            let listening = free_addresses()?;
            self.nodes = ids()
                .zip(listening.iter().zip(front(&listening)?))
                .map(|(id, (listen, address))| Node { id, listen: *listen, address, process: None })
                .collect();
            for id in ids() {
                self.start_node(id)?;
            }
            match self.await_answers(patience) {
                Err(failure) if failure.exit == Exit::Usage => self.remove_nodes()?,
                ended => return ended,
            }
        }
        Err(Failure::refused(format!("free ports were taken {PORT_ATTEMPTS} times in a row")))
    }

    /// A node whose port was taken meanwhile ends, with the exit code for usage.
    fn await_answers(&mut self, patience: &Patience) -> Result<(), Failure> {
        let flags = self.flags();
        let answered = patience.wait(START_MAX, || {
            let answers = survey::take(&flags).answers().count();
            self.check()?;
            Ok((answers == NODES).then_some(()))
        })?;
        answered.ok_or_else(|| {
            Failure::no_answer(format!("not all nodes answer; {}", survey::take(&flags).sentence()))
        })
    }

    /// Starts a node on its directory.
    ///
    /// # Errors
    /// The system denies a process or a log file.
    pub fn start_node(&mut self, id: ServerId) -> Result<(), Failure> {
        let program = env::current_exe()
            .map_err(|error| Failure::system("the way to this program", &error))?;
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.log_path(id))
            .map_err(|error| Failure::file("make", "a node's log", &error))?;
        let process = Command::new(program)
            .args(self.arguments(id))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // A control-C is meant for the command, which then sees to its nodes.
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::system("a process", &error))?;
        self.node_mut(id).process = Some(process);
        Ok(())
    }

    fn arguments(&self, id: ServerId) -> Vec<String> {
        let data_dir = self.directory.join(format!("node-{id}")).display().to_string();
        let key_file = self.directory.join("key").display().to_string();
        let mut arguments = vec!["run".into(), "--key-file".into(), key_file];
        arguments.extend(["--id".into(), id.to_string()]);
        arguments.extend(["--data-dir".into(), data_dir]);
        arguments.extend(["--listen".into(), self.node(id).listen.to_string()]);
        for node in &self.nodes {
            arguments.extend(["--peer".into(), format!("{}={}", node.id, node.address)]);
        }
        arguments
    }

    /// Ends a node as a power cut would: with SIGKILL.
    ///
    /// # Errors
    /// The system denies it.
    pub fn kill(&mut self, id: ServerId) -> Result<(), Failure> {
        let Some(mut process) = self.node_mut(id).process.take() else { return Ok(()) };
        process
            .kill()
            .and_then(|()| process.wait())
            .map_err(|error| Failure::system("the end of a process", &error))?;
        Ok(())
    }

    /// Whether all nodes that were started and not killed still run.
    ///
    /// # Errors
    /// Which one ended by itself, its exit code, and the last line of its log.
    pub fn check(&mut self) -> Result<(), Failure> {
        for node in &mut self.nodes {
            let ended = node.process.as_mut().map(Child::try_wait);
            if let Some(Ok(Some(status))) = ended {
                node.process = None;
                let id = node.id;
                return Err(ended_by_itself(id, status, &self.log_path(id)));
            }
        }
        Ok(())
    }

    /// The number of the node's process, while it runs.
    pub fn process_id(&self, id: ServerId) -> Option<u32> {
        self.nodes.iter().find(|node| node.id == id)?.process.as_ref().map(Child::id)
    }

    /// Where the node is found.
    pub fn address(&self, id: ServerId) -> SocketAddr {
        self.node(id).address
    }

    /// Where everything lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How to ask any of the nodes.
    pub fn flags(&self) -> ClientFlags {
        ClientFlags {
            servers: self.nodes.iter().map(|node| node.address).collect(),
            cluster: DEFAULT_CLUSTER.to_owned(),
            keys: Some(Arc::clone(&self.keys)),
            timeout: OPERATION_MAX,
            given_timeout: None,
            redundancy_max: REDUNDANCY_MAX,
            json: false,
        }
    }

    /// How to ask this node and no other.
    pub fn flags_of(&self, id: ServerId) -> ClientFlags {
        ClientFlags { servers: vec![self.address(id)], ..self.flags() }
    }

    /// Lets the nodes run on, and leaves all that they wrote where it is.
    pub fn keep(mut self) {
        self.kept = true;
    }

    fn remove_nodes(&mut self) -> Result<(), Failure> {
        self.kill_all();
        for id in ids() {
            let path = self.directory.join(format!("node-{id}"));
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Failure::file("remove", &path.display().to_string(), &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn kill_all(&mut self) {
        for process in self.nodes.iter_mut().filter_map(|node| node.process.as_mut()) {
            // One that has ended already needs no killing.
            process.kill().ok();
            process.wait().ok();
        }
        self.nodes.clear();
    }

    fn log_path(&self, id: ServerId) -> PathBuf {
        self.directory.join(format!("node-{id}.log"))
    }

    fn node(&self, id: ServerId) -> &Node {
        &self.nodes[usize::from(id.0) - 1]
    }

    fn node_mut(&mut self, id: ServerId) -> &mut Node {
        &mut self.nodes[usize::from(id.0) - 1]
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        self.kill_all();
        // What cannot be removed lies in the system's temporary directory.
        fs::remove_dir_all(&self.directory).ok();
    }
}

/// Loopback ports that nobody holds at the moment.
fn free_addresses() -> Result<Vec<SocketAddr>, Failure> {
    let denied = |error| Failure::system("a socket", &error);
    let sockets = ids()
        .map(|_| UdpSocket::bind("127.0.0.1:0"))
        .collect::<io::Result<Vec<_>>>()
        .map_err(denied)?;
    sockets.iter().map(UdpSocket::local_addr).collect::<io::Result<_>>().map_err(denied)
}

fn ended_by_itself(id: ServerId, status: ExitStatus, log: &Path) -> Failure {
    let exit = match status.code() {
        Some(2) => Exit::Usage,
        Some(5) => Exit::Disk,
        _ => Exit::Refused,
    };
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit code".to_owned(),
    };
    let text = fs::read_to_string(log).unwrap_or_default();
    let last = text.lines().last().unwrap_or("it logged nothing");
    Failure::new(exit, format!("node {id} ended by itself with {how}: {last}"))
}
