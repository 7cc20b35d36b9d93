//! The loop: it alone owns the node, and does nothing that could block.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};

use super::background_thread::{BackgroundThread, Report};
use super::clock::{Clock, WakeUp, thread_time};
use super::data_dir::DataDir;
use super::denial_log::DenialLog;
use super::disk_use::DiskUse;
use super::doubles::Doubles;
use super::error::RunError;
use super::journal_thread::JournalThread;
use super::key_file::random_secret;
use super::key_watch::KeyWatch;
use super::notices::Notices;
use super::scrubber::{ScrubLedger, Scrubber};
use super::sealed_port::{Arrival, SealedPort};
use super::signals::Signals;
use super::turn_watch::TurnWatch;
use super::udp_port::UdpPort;
use crate::disk::{Damage, GenesisState};
use crate::replica::{Batch, NodeConfig, Randomness, ReplicaNode};
use crate::seal::{Begun, Sealer};
use crate::time::Instant;
use crate::types::LogIndex;

const SOCKET: Token = Token(0);
const WAKE_UP: Token = Token(1);
const SIGNAL: Token = Token(2);
const SYNCED: Token = Token(3);
const HANG_UP: Token = Token(4);

/// How long one turn takes in datagrams: a flood must not keep the timers from firing.
const BURST_MAX: Duration = Duration::from_millis(2);

/// How many it takes at least, for that time may pass while the process does not run.
const BURST_MIN: usize = 8;

/// How many frames that were refused one turn looks at.
const REFUSALS_MAX: usize = 16;

/// How long a leader may take to hand over before it leaves anyway.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// A node with its socket, its journal and its clock.
#[derive(Debug)]
pub struct EventLoop {
    poll: Poll,
    events: Events,
    port: SealedPort,
    wake_up: WakeUp,
    signals: Signals,
    key_watch: KeyWatch,
    journal: JournalThread,
    background: BackgroundThread,
    disk_use: Arc<DiskUse>,
    ledger: Arc<ScrubLedger>,
    clock: Clock,
    turn_watch: TurnWatch,
    notices: Notices,
    denial_log: DenialLog,
    doubles: Doubles,
    node: ReplicaNode,
    frame: Vec<u8>,
    /// What of the journal is given up once the next batch is written.
    cut_after_batch: Option<LogIndex>,
    /// The process is to end, at this time at the latest.
    leave_by: Option<Instant>,
}

/// What the event loop is made of before there is a node: all that may be refused.
#[derive(Debug)]
pub struct Ground {
    poll: Poll,
    port: UdpPort,
    /// None: frames are not sealed.
    sealer: Option<Sealer>,
    wake_up: WakeUp,
    signals: Signals,
    key_watch: KeyWatch,
    waker: Arc<Waker>,
}

impl Ground {
    /// Takes the address, and whatever else the loop needs of the system. The keys, if there are
    /// any, are in the file.
    ///
    /// # Errors
    /// A usage error when the address is in use or not one of this machine.
    pub fn prepare(listen: SocketAddr, key_file: Option<PathBuf>) -> Result<Self, RunError> {
        let denied = |error| RunError::system("what an event loop needs", &error);
        let poll = Poll::new().map_err(denied)?;
        let port = UdpPort::bind(listen, poll.registry(), SOCKET)
            .map_err(|error| cannot_listen(listen, &error))?;
        let wake_up = WakeUp::register(poll.registry(), WAKE_UP).map_err(denied)?;
        let signals = Signals::to_end(poll.registry(), SIGNAL).map_err(denied)?;
        let waker = Arc::new(Waker::new(poll.registry(), SYNCED).map_err(denied)?);
        let to_wake = Arc::clone(&waker);
        let key_watch =
            KeyWatch::register(key_file, poll.registry(), HANG_UP, to_wake).map_err(denied)?;
        Ok(Self { poll, port, sealer: None, wake_up, signals, key_watch, waker })
    }

    /// Frames are sealed, by the keys of the file.
    pub fn seal_by(&mut self, sealer: Sealer) {
        self.sealer = Some(sealer);
    }

    /// The address that was taken: with a port even where none was asked for.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn local_address(&self) -> Result<SocketAddr, RunError> {
        self.port.local_address().map_err(|error| RunError::system("its own address", &error))
    }
}

fn cannot_listen(listen: SocketAddr, error: &io::Error) -> RunError {
    let why = match error.kind() {
        ErrorKind::AddrInUse => "another process uses the address; choose another port".into(),
        ErrorKind::AddrNotAvailable => "this machine does not have the address".into(),
        _ => error.to_string(),
    };
    RunError::usage(format!("cannot listen on {listen}: {why}"))
}

impl EventLoop {
    /// Makes the node that goes on from what the directory held, of which so many bytes are
    /// read again in a second.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn new(
        ground: Ground,
        directory: DataDir,
        config: &NodeConfig,
        scrub_rate: u64,
        notices: Notices,
    ) -> Result<Self, RunError> {
        let Ground { poll, port, sealer, wake_up, signals, key_watch, waker } = ground;
        let port = SealedPort::new(port, sealer);
        let DataDir { lock, files, journal, recovered, path, disk_use, scrub } = directory;
        let ledger = Arc::<ScrubLedger>::default();
        let for_background = Arc::clone(&disk_use);
        let no_thread = |error| RunError::system("a thread", &error);
        let scrubber = Scrubber::new(&path, scrub, scrub_rate, Arc::clone(&ledger));
        let background =
            BackgroundThread::start(path, for_background, scrubber, Arc::clone(&waker))
                .map_err(no_thread)?;
        let (files, told) = (Box::new(files), Arc::clone(&ledger));
        let journal = JournalThread::start(files, journal, lock, told, waker).map_err(no_thread)?;
        let clock = Clock::new();
        let randomness = Randomness::Secret(random_secret());
        let node = ReplicaNode::new(config, recovered, clock.now(), &randomness);
        let (events, frame, leave_by) = (Events::with_capacity(16), Vec::new(), None);
        Ok(Self {
            poll,
            events,
            port,
            wake_up,
            signals,
            key_watch,
            journal,
            background,
            disk_use,
            ledger,
            clock,
            turn_watch: TurnWatch::default(),
            notices,
            denial_log: DenialLog::default(),
            doubles: Doubles::default(),
            node,
            frame,
            cut_after_batch: None,
            leave_by,
        })
    }

    /// Turns until the process is told to end.
    ///
    /// # Errors
    /// For which the node must not go on: the journal failed, or the others contradict
    /// its list.
    pub fn run(mut self) -> Result<(), RunError> {
        loop {
            let now = self.clock.now();
            self.turn_watch.begin(now, thread_time());
            self.change_keys();
            // 1. Datagrams before timers: a heartbeat that waited while this process did
            //    not run counts before the timer that missed it.
            self.receive_burst(now);
            self.take_refusals(now);
            self.node.on_timeout(now);
            // 2. What came in becomes one set of frames per node, and one batch; the
            //    frames are on their way before the own disk has the batch.
            self.finish_turn(now)?;
            // 3. Say what has changed, and see whether to go on. These follow all changes.
            self.report(now)?;
            if self.may_leave(now) {
                return Ok(());
            }
            // 4. Sleep until there is something to do.
            self.sleep(now)?;
        }
    }

    /// Takes over the keys that were read again. Those that must not be taken change nothing.
    fn change_keys(&mut self) {
        let Some(read) = self.key_watch.turn() else { return };
        let read = read.map_err(|error| error.to_string());
        match read.and_then(|keys| self.port.set_keys(&keys).map(|()| keys)) {
            Ok(keys) => {
                self.node.set_access(keys.access());
                log::info!("the key file was read again: it has {keys}");
            }
            Err(why) => log::warn!("the keys stay as they were: {why}"),
        }
    }

    fn receive_burst(&mut self, now: Instant) {
        let mut taken = 0;
        while taken < BURST_MIN || self.clock.now().since(now) < BURST_MAX {
            match self.port.receive(now, |address| self.node.state().node_at(address)) {
                None => return,
                Some(Arrival::Frame(source, key, frame)) => {
                    self.node.on_opened(now, source, key, &frame);
                }
                Some(Arrival::Dropped(source, cause)) => self.node.on_dropped(source, cause),
                Some(Arrival::Handshake(begun)) => {
                    if let Some(begun) = begun {
                        self.on_session(now, &begun);
                    }
                }
            }
            taken += 1;
        }
    }

    fn on_session(&mut self, now: Instant, begun: &Begun) {
        let known_at = self.node.state().peers.get(&begun.peer).map(|peer| peer.address);
        if let Some(known_at) = known_at.filter(|known| *known != begun.address) {
            self.doubles.on_session(now, begun, known_at);
            self.port.tell_double(now, begun);
        }
        self.node.on_session(begun.address, begun.peer, begun.key.0);
    }

    /// Of many at once some are enough: each says the same.
    fn take_refusals(&mut self, now: Instant) {
        for _ in 0..REFUSALS_MAX {
            let Some((to, frame)) = self.port.take_refused() else { return };
            self.node.on_refused(now, to, &frame);
        }
    }

    /// Each batch that is durable may give the node more to say.
    fn finish_turn(&mut self, now: Instant) -> Result<(), RunError> {
        loop {
            self.node.end_turn(now);
            self.send_all(now);
            if self.tend_snapshots(now)? {
                continue;
            }
            let Some(batch) = self.next_synced()? else { return Ok(()) };
            self.node.on_synced(now, batch);
        }
    }

    /// Hands on what is to be done beside the loop. Returns whether the node was told of
    /// something, which may give it more to say.
    fn tend_snapshots(&mut self, now: Instant) -> Result<bool, RunError> {
        self.node.on_room(self.disk_use.room());
        self.node.on_scrub(self.ledger.status());
        while let Some(retired) = self.node.take_retired() {
            self.background.free(retired);
        }
        let report = self.background.take_report()?;
        let is_told = report.is_some();
        match report {
            Some(Report::Written) => {
                let covered = self.node.on_snapshot_written(now);
                if covered.installed {
                    self.cut_after_batch = Some(covered.upto);
                } else {
                    self.journal.cut(covered.upto);
                }
            }
            Some(Report::NoSpace) => self.node.on_snapshot_refused(),
            Some(Report::Damaged(damage)) => self.mend(damage),
            None => {}
        }
        if let Some(snapshot) = self.node.take_snapshot() {
            self.background.write(snapshot);
        }
        Ok(is_told)
    }

    /// A snapshot will take the place of what is damaged. If there is one already that covers
    /// a damaged segment, the journal could not be cut before: that needs a synced batch in
    /// the segment behind. A snapshot that is damaged itself lets nothing be given up, and
    /// one that was installed does so once that is recorded.
    fn mend(&mut self, damage: Damage) {
        self.node.on_damage(&damage);
        let may_cut = !damage.snapshot && self.cut_after_batch.is_none();
        self.journal.mend(damage);
        if may_cut {
            self.journal.cut(self.node.state().snapshots.durable_index());
        }
    }

    fn send_all(&mut self, now: Instant) {
        if let GenesisState::Complete(configuration) = &self.node.state().genesis {
            self.port.set_genesis(configuration.genesis);
        }
        self.port.tend(now);
        while let Some(to) = self.node.poll_send(&mut self.frame) {
            self.port.send(now, to, &mut self.frame);
        }
    }

    /// A batch that is durable. Keeps the disk busy with one batch at a time, in order.
    fn next_synced(&mut self) -> Result<Option<Batch>, RunError> {
        let synced = self.journal.take_synced()?;
        if synced.is_some() || self.journal.is_busy() {
            return Ok(synced);
        }
        let Some(batch) = self.node.take_batch() else { return Ok(None) };
        if batch.records().is_empty() {
            return Ok(Some(batch));
        }
        self.journal.submit(batch);
        if let Some(upto) = self.cut_after_batch.take() {
            self.journal.cut(upto);
        }
        Ok(None)
    }

    fn report(&mut self, now: Instant) -> Result<(), RunError> {
        if let Some(sentence) = self.node.contradicted() {
            return Err(RunError::usage(sentence));
        }
        let state = self.node.state();
        let waiting_for = self.node.waiting_for();
        self.notices.update(now, waiting_for.as_deref(), state.leader_id, state.term);
        self.denial_log.update(now, &self.node.denials(), &state.access);
        Ok(())
    }

    /// The first signal lets a leader hand over; a second one does not wait for that.
    fn may_leave(&mut self, now: Instant) -> bool {
        let leave_by = match (self.leave_by, self.signals.take()) {
            (None, 0) => return false,
            (None, 1) => {
                self.node.hand_over(now);
                self.node.end_turn(now);
                self.send_all(now);
                now + LEAVE_WITHIN
            }
            (Some(leave_by), 0) => leave_by,
            (_, _) => now,
        };
        self.leave_by = Some(leave_by);
        leave_by <= now || self.node.may_stop()
    }

    fn sleep(&mut self, now: Instant) -> Result<(), RunError> {
        let failed = |error| RunError::system("the event loop its sleep", &error);
        let deadlines = [self.node.next_deadline(), self.notices.next_deadline(), self.leave_by];
        if let Some(deadline) = deadlines.into_iter().flatten().min() {
            self.wake_up.arm(deadline, now).map_err(failed)?;
        }
        let timeout = self.port.is_readable().then_some(Duration::ZERO);
        self.turn_watch.end(self.clock.now(), thread_time());
        self.node.on_turn_times(self.turn_watch.longest());
        self.node.on_port(self.port.status());
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(failed(error)),
            _ => {}
        }
        for event in &self.events {
            match event.token() {
                SOCKET => self.port.set_readable(),
                SIGNAL => self.signals.set_readable(),
                HANG_UP => self.key_watch.set_readable(),
                // To be awake is all that these ask for.
                _ => {}
            }
        }
        Ok(())
    }
}
