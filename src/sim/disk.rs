//! A disk that keeps what was synced, and of the rest what it likes.

use bytes::Bytes;

use crate::journal::{
    Damage, Identity, Record, Recovered, encode_batch, encode_header, encode_start, recover,
};
use crate::types::{DirectoryId, ServerId};

/// The name of every simulated cluster.
pub const CLUSTER: &str = "simulated";

/// One node's journal.
#[derive(Debug)]
pub struct Disk {
    directory: DirectoryId,
    bytes: Vec<u8>,
    /// How many of the bytes no loss of power takes away.
    synced: usize,
    next_batch: u64,
    forgetful: bool,
}

impl Disk {
    /// A blank directory.
    pub fn blank(id: ServerId, random: &mut fastrand::Rng, forgetful: bool) -> Self {
        let directory = DirectoryId(random.u64(1..));
        let bytes = encode_header(&Identity { cluster: CLUSTER.into(), id, directory });
        Self { directory, synced: bytes.len(), bytes, next_batch: 0, forgetful }
    }

    /// Starts the directory: reads it back, makes durable what is there and the new
    /// incarnation. Returns what the node goes on from.
    pub fn start(&mut self) -> Result<Recovered, Damage> {
        let recovery = recover(&Bytes::copy_from_slice(&self.bytes))?;
        self.cut(recovery.end);
        self.next_batch = recovery.next_batch;
        self.synced = self.bytes.len();
        let mut recovered = recovery.recovered;
        recovered.incarnation = recovered.incarnation.next();
        let (number, synced) = self.take_number();
        encode_start(number, synced, recovered.incarnation, &mut self.bytes);
        self.synced = self.bytes.len();
        Ok(recovered)
    }

    fn cut(&mut self, end: u64) {
        self.bytes.truncate(usize::try_from(end).expect("within the file"));
    }

    /// The directory.
    pub fn directory(&self) -> DirectoryId {
        self.directory
    }

    /// What would be found if the power failed now.
    pub fn durable(&self) -> Result<Recovered, Damage> {
        let recovery =
            recover(&Bytes::copy_from_slice(&self.bytes[..self.synced.min(self.bytes.len())]))?;
        Ok(recovery.recovered)
    }

    /// Writes a batch. It is not synced yet.
    pub fn write(&mut self, records: &[Record]) {
        let (number, synced) = self.take_number();
        encode_batch(number, synced, records, &mut self.bytes);
    }

    fn take_number(&mut self) -> (u64, u64) {
        let number = self.next_batch;
        self.next_batch += 1;
        (number, self.synced as u64)
    }

    /// Everything written is durable.
    pub fn sync(&mut self) {
        self.synced = self.bytes.len();
    }

    /// The power fails: of what was not synced, nothing, a part or all remains.
    pub fn lose_power(&mut self, random: &mut fastrand::Rng) {
        let mut least = self.synced;
        if self.forgetful {
            least = least.saturating_sub(least / 3).max(64.min(least));
        }
        let remains = match random.u8(..3) {
            0 => least,
            1 => random.usize(least..=self.bytes.len()),
            _ if self.forgetful => least,
            _ => self.bytes.len(),
        };
        self.bytes.truncate(remains);
    }
}
