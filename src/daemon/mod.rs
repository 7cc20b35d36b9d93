//! The node as a process: sockets, files, threads and the clock.
//!
//! Everything that touches the system is here; nothing below imports it. One thread, the
//! loop, owns the node. Two more may block in its place: one writes the journal, one
//! writes the log.

mod error;
mod event_loop;
mod clock;
mod turn_watch;
mod refusals;
mod udp_port;
mod key_file;
mod key_change;
mod key_watch;
mod complaints;
mod sealed_port;
mod signals;
mod socket_options;
mod data_dir;
mod file_directory;
mod bad_pages;
mod inspect;
mod backup_file;
mod founding;
mod journal_thread;
mod background_thread;
mod disk_use;
mod scrubber;
mod peer_list;
mod privileges;
mod notices;
mod denial_log;
mod doubles;
mod logging;

pub use backup_file::{check_absent, read_backup, write_backup};
pub use clock::{Clock, WakeUp};
pub use error::RunError;
pub use founding::{Founder, rescue, restore};
pub use inspect::{Inspection, inspect};
pub use key_change::{Changed, KeyChange};
pub use key_file::{fastest_cipher, life_secret, random_secret, read_keys, write_secret};
pub use signals::Signals;

use std::path::{Path, PathBuf};
use std::time::Duration;

use data_dir::DataDir;
use event_loop::{EventLoop, Ground};
use key_file::node_keys;
use logging::StandardError;
use notices::Notices;
use privileges::Account;

use crate::disk::SegmentSize;
use crate::link::Pinned;
use crate::replica::NodeConfig;
use crate::seal::{Sealer, SealerConfig};
use crate::types::ServerId;

/// What the command line says of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunConfig {
    /// The node.
    pub id: ServerId,
    /// Where it keeps what it must not forget; made when missing.
    pub data_dir: PathBuf,
    /// The address to listen on, as typed.
    pub listen: String,
    /// The nodes of the cluster as typed: id and address. It may name this one.
    pub peers: Vec<(ServerId, String)>,
    /// The cluster's name.
    pub cluster: String,
    /// The file with the keys that seal the frames; none: they are not sealed.
    pub key_file: Option<PathBuf>,
    /// Who a node that root has started becomes once it has its socket; none: it stays who it is.
    pub user: Option<String>,
    /// How long the journal's segments are to be, if the directory is made now.
    pub segment_size: Option<SegmentSize>,
    /// The most bytes that the directory may take.
    pub disk_max: u64,
    /// How many bytes of log, at least, lie between two snapshots, if the cluster is born now.
    pub snapshot_bytes: u64,
    /// How many bytes of its files a node reads again in a second, to find damage.
    pub scrub_rate: u64,
    /// How long a leader's oldest entry may wait for its disk.
    pub disk_stall: Duration,
    /// How often a frame may be sent before anything is known of its loss.
    pub redundancy_max: u8,
    /// What of the election timeout and the heartbeat interval does not follow from what is
    /// measured.
    pub pinned: Pinned,
}

/// Runs a node in the foreground, until it is told to end.
///
/// # Errors
/// Why the node did not start, or had to stop.
pub fn run(config: RunConfig) -> Result<(), RunError> {
    privileges::give_up().map_err(|error| RunError::system("to give up rights", &error))?;
    let standard_error = StandardError::start(std::io::stderr())
        .map_err(|error| RunError::system("a thread", &error))?;
    standard_error.log_here();
    signals::survive_long_files().map_err(|error| RunError::system("a handler", &error))?;
    let ended = run_node(config, standard_error.clone());
    standard_error.flush_briefly();
    ended
}

fn run_node(config: RunConfig, standard_error: StandardError) -> Result<(), RunError> {
    let RunConfig { id, data_dir, listen, peers, cluster, key_file, .. } = config;
    let listen = peer_list::resolve_listen(&listen)?;
    let account = config.user.as_deref().map(Account::find).transpose()?;
    let mut ground = Ground::prepare(listen, key_file.clone())?;
    become_ordinary(account.as_ref(), &data_dir)?;
    standard_error.give_up_capabilities();
    let keys = key_file.as_deref().map(node_keys).transpose()?;
    let access = keys.as_ref().map(|keys| keys.access()).unwrap_or_default();
    if let Some(keys) = keys {
        let config = SealerConfig { own: id, cluster: cluster.clone(), cipher: fastest_cipher() };
        ground.seal_by(Sealer::new(config, keys, life_secret()));
    }
    let listen = ground.local_address()?;
    let nodes = peer_list::resolve_peers(id, listen, &peers)?;
    let directory = DataDir::open(&data_dir, id, &cluster, config.segment_size, config.disk_max)?;
    if let Some((_, configuration)) = directory.recovered.configuration() {
        peer_list::check_members(&nodes, &configuration)?;
    }
    if privileges::is_root() {
        log::warn!("the node runs as root; --user NAME lets it be another user");
    }
    let name = format!("node {id} of cluster {cluster}");
    let notices = Notices::new(standard_error, name, listen, access.is_sealed());
    let RunConfig { disk_stall, snapshot_bytes, scrub_rate, redundancy_max, pinned, .. } = config;
    let told = NodeConfig::new(nodes);
    let config = NodeConfig { pinned, disk_stall, snapshot_bytes, redundancy_max, access, ..told };
    EventLoop::new(ground, directory, &config, scrub_rate, notices)?.run()
}

/// The socket is there: no more rights are needed than to the node's own files. They are opened as
/// who uses them later, so that what cannot work then does not work now.
fn become_ordinary(account: Option<&Account>, data_dir: &Path) -> Result<(), RunError> {
    if let Some(account) = account {
        account.provide(data_dir, || data_dir::make(data_dir))?;
        account.step_into()?;
    }
    let denied = |error| RunError::system("to give up capabilities", &error);
    privileges::drop_capabilities().map_err(denied)
}

/// Random bits of the system.
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .expect("the kernel gives eight random bytes whole, once it has started");
    u64::from_le_bytes(bytes)
}
