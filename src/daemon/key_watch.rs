//! SIGHUP, and the key file that is read again because of it: on a thread of its own, since the
//! file may lie on a disk that stalls.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;

use mio::{Registry, Token, Waker};

use super::error::RunError;
use super::key_file::node_keys;
use super::signals::Signals;
use crate::seal::KeyRing;

/// What a reading came to.
type Reading = Result<Arc<KeyRing>, RunError>;

/// Waits for SIGHUP.
#[derive(Debug)]
pub struct KeyWatch {
    signals: Signals,
    /// None: the node has no keys.
    path: Option<PathBuf>,
    /// The reading that is under way.
    reading: Option<Receiver<Reading>>,
    /// There was another signal meanwhile, so what is read now may be of before.
    is_stale: bool,
    waker: Arc<Waker>,
}

impl KeyWatch {
    /// Takes over the signal, and registers it as `token`. The waker says that a reading is over.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub fn register(
        path: Option<PathBuf>,
        registry: &Registry,
        token: Token,
        waker: Arc<Waker>,
    ) -> io::Result<Self> {
        let signals = Signals::to_read_again(registry, token)?;
        Ok(Self { signals, path, reading: None, is_stale: false, waker })
    }

    /// The poll says that the signal may have come.
    pub fn set_readable(&mut self) {
        self.signals.set_readable();
    }

    /// Has the file read if a signal came. Returns what an earlier reading has come to.
    pub fn turn(&mut self) -> Option<Reading> {
        let is_asked = self.signals.take() > 0;
        let Some(reading) = &self.reading else {
            if is_asked {
                self.begin();
            }
            return None;
        };
        self.is_stale |= is_asked;
        let read = match reading.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err(RunError::refused("its thread ended")),
            Ok(read) => read,
        };
        self.reading = None;
        if std::mem::take(&mut self.is_stale) {
            self.begin();
            return None;
        }
        Some(read)
    }

    fn begin(&mut self) {
        let Some(path) = self.path.clone() else {
            log::info!("SIGHUP: this node has no key file that could be read again");
            return;
        };
        let (tell, reading) = channel();
        let waker = Arc::clone(&self.waker);
        let read = move || {
            // Should the loop be gone, then nobody waits for it.
            tell.send(node_keys(&path)).ok();
            waker.wake().ok();
        };
        match thread::Builder::new().name("keys".into()).spawn(read) {
            Ok(_) => self.reading = Some(reading),
            Err(error) => log::warn!("SIGHUP: the key file cannot be read again: {error}"),
        }
    }
}
