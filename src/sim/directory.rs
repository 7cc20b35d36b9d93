//! A directory whose power may fail: what was synced stays, and of the rest any part. Its
//! disk may be full, fail, lose what it has written, or put it in the wrong place.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::damage::Damage;
use crate::disk::{Directory, DiskError, META, SECTOR_BYTES};

/// Files in memory. Sectors are written whole or not at all, but in any order; names come
/// and go each for itself.
#[derive(Clone, Debug, Default)]
pub struct SimDirectory {
    files: BTreeMap<u64, File>,
    next_file: u64,
    /// What a process sees.
    names: BTreeMap<String, u64>,
    /// What is there after a loss of power, but for some of what was not synced.
    durable_names: BTreeMap<String, u64>,
    unsynced_names: Vec<Renaming>,
    /// The most bytes that all files may have; none: no bound.
    room: Option<u64>,
    /// What goes wrong next.
    trouble: Option<Trouble>,
    /// The file in which a write strayed that is not synced yet.
    straying: Option<u64>,
    /// What went wrong, and how often.
    mishaps: BTreeMap<&'static str, u64>,
}

/// What may go wrong with the next write or sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// One sector that is written gets to another place of its file, which `draw` tells, or
    /// nowhere; and yet the sync succeeds. Of the file `meta`, whose two copies back each
    /// other, one of that copy.
    Stray {
        /// What place it gets to; none: it is lost.
        draw: Option<usize>,
        /// The copy of `meta` that may be hit.
        meta_copy: usize,
    },
    /// A write fails half way.
    WriteFails,
    /// A sync fails.
    SyncFails {
        /// What was not synced is in no disk's way any more, and still read.
        forgets: bool,
    },
}

/// How far the copies of `meta` are from each other, and how long each is.
const META_COPY: usize = 4_096;
const META_COPY_BYTES: usize = 2_048;

#[derive(Clone, Debug, Default)]
struct File {
    content: Vec<u8>,
    durable: Vec<u8>,
    /// Pieces of at most one sector, in the order in which they were written.
    unsynced: Vec<(usize, Bytes)>,
}

#[derive(Clone, Debug)]
enum Renaming {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

/// How much of what was not synced outlives a loss of power.
#[derive(Clone, Copy, Debug)]
enum Remains {
    Nothing,
    All,
    /// Each piece or not.
    Some,
}

impl Remains {
    fn draw(random: &mut fastrand::Rng) -> Self {
        [Self::Nothing, Self::All, Self::Some, Self::Some][random.usize(..4)]
    }

    fn keeps(self, random: &mut fastrand::Rng) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Some => random.bool(),
        }
    }
}

impl SimDirectory {
    /// An empty directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// The power fails: of what was not synced, nothing, a part or all remains.
    pub fn lose_power(&mut self, random: &mut fastrand::Rng) {
        self.straying = None;
        let remains = Remains::draw(random);
        for renaming in std::mem::take(&mut self.unsynced_names) {
            if remains.keeps(random) {
                renaming.apply(&mut self.durable_names);
            }
        }
        self.names.clone_from(&self.durable_names);
        self.drop_nameless();
        for file in self.files.values_mut() {
            file.lose_power(random);
        }
    }

    /// What is left when nothing that was not synced remains.
    #[must_use]
    pub fn without_unsynced(&self) -> Self {
        let mut left = self.clone();
        left.unsynced_names.clear();
        left.names.clone_from(&left.durable_names);
        for file in left.files.values_mut() {
            file.unsynced.clear();
            file.content.clone_from(&file.durable);
        }
        left
    }

    /// What was not synced is in no disk's way any more, and is still read: so a page cache
    /// behaves after a sync that has failed.
    pub fn forget_unsynced(&mut self) {
        self.files.values_mut().for_each(|file| file.unsynced.clear());
    }

    /// Whoever reads the sector finds this from now on, at the latest after a loss of power:
    /// until then perhaps what is in the page cache. Returns whether that changes anything.
    pub fn damage(&mut self, name: &str, at: (usize, Damage), also_cached: bool) -> bool {
        let (sector, damage) = at;
        let Ok(file) = self.file_mut(name) else { return false };
        let changes = damage.apply(&mut file.durable, sector);
        if also_cached {
            damage.apply(&mut file.content, sector);
        }
        changes
    }

    /// From now on, all files together may have so many bytes.
    pub fn set_room(&mut self, room: Option<u64>) {
        self.room = room;
    }

    /// How many bytes there is room for; none: any number.
    pub fn free(&self) -> Option<u64> {
        Some(self.room?.saturating_sub(self.used()))
    }

    /// How many bytes all files have.
    pub fn used(&self) -> u64 {
        self.files.values().map(|file| file.content.len() as u64).sum()
    }

    /// Lets this go wrong next; none: nothing.
    pub fn set_trouble(&mut self, trouble: Option<Trouble>) {
        self.trouble = trouble;
    }

    /// Whether a write has strayed that is not synced yet.
    pub fn is_straying(&self) -> bool {
        self.straying.is_some()
    }

    /// Everything that was written is on the disk, where it should be.
    pub fn settle(&mut self) {
        self.unsynced_names.clear();
        self.durable_names.clone_from(&self.names);
        for file in self.files.values_mut() {
            file.unsynced.clear();
            file.durable.clone_from(&file.content);
        }
        self.straying = None;
    }

    /// What went wrong since this was asked last, and how often.
    pub fn take_mishaps(&mut self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.mishaps)
    }

    /// How many of these were errors, which whoever wrote has been told.
    pub fn errors(&self) -> u64 {
        ["failed writes", "failed syncs"].iter().filter_map(|kind| self.mishaps.get(kind)).sum()
    }

    /// What is known of the disk stays when other files are on it.
    pub fn inherit(&mut self, former: &mut Self) {
        self.mishaps = former.take_mishaps();
        self.room = former.room.map(|room| room.max(self.used()));
    }

    fn count(&mut self, mishap: &'static str) {
        *self.mishaps.entry(mishap).or_default() += 1;
    }

    /// Whether this write is the one that strays.
    fn strays(&self, name: &str, offset: usize) -> bool {
        let Some(Trouble::Stray { meta_copy, .. }) = self.trouble else { return false };
        name != META || offset / META_COPY == meta_copy
    }

    /// The sector that was written last will not be where it should once it is synced.
    fn let_stray(&mut self, name: &str) {
        let Some(Trouble::Stray { draw, .. }) = self.trouble.take() else { return };
        let Some(&number) = self.names.get(name) else { return };
        let Some(file) = self.files.get_mut(&number) else { return };
        let Some((offset, piece)) = file.unsynced.pop() else { return };
        let (from, length) = match name {
            META => (offset / META_COPY * META_COPY, META_COPY_BYTES),
            _ => (0, file.content.len()),
        };
        if let Some(draw) = draw {
            let sectors = (length / SECTOR_BYTES).max(1);
            let elsewhere = from + draw % sectors * SECTOR_BYTES;
            file.unsynced.push((elsewhere, piece));
        }
        self.straying = Some(number);
        self.count(if draw.is_some() { "misdirected writes" } else { "lost writes" });
    }

    fn file(&self, name: &str) -> Result<&File, DiskError> {
        let file = self.names.get(name).and_then(|number| self.files.get(number));
        file.ok_or_else(|| DiskError::Failed(format!("there is no {name}")))
    }

    fn file_mut(&mut self, name: &str) -> Result<&mut File, DiskError> {
        let file = self.names.get(name).and_then(|number| self.files.get_mut(number));
        file.ok_or_else(|| DiskError::Failed(format!("there is no {name}")))
    }

    fn apply(&mut self, renaming: Renaming) {
        renaming.apply(&mut self.names);
        self.unsynced_names.push(renaming);
    }

    fn drop_nameless(&mut self) {
        let named: Vec<u64> =
            self.names.values().chain(self.durable_names.values()).copied().collect();
        self.files.retain(|number, _| named.contains(number));
    }
}

impl Renaming {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Create(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl File {
    fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        put(&mut self.content, offset, bytes);
        let (mut offset, mut bytes) = (offset, bytes);
        while !bytes.is_empty() {
            let in_sector = SECTOR_BYTES - offset % SECTOR_BYTES;
            let (piece, rest) = bytes.split_at(in_sector.min(bytes.len()));
            self.unsynced.push((offset, Bytes::copy_from_slice(piece)));
            (offset, bytes) = (offset + piece.len(), rest);
        }
    }

    fn sync(&mut self) {
        for (offset, piece) in self.unsynced.drain(..) {
            put(&mut self.durable, offset, &piece);
        }
    }

    fn lose_power(&mut self, random: &mut fastrand::Rng) {
        let remains = Remains::draw(random);
        self.unsynced.retain(|_| remains.keeps(random));
        self.sync();
        self.content.clone_from(&self.durable);
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).expect("a simulated file is in memory")
}

impl Directory for SimDirectory {
    fn names(&self) -> Result<Vec<String>, DiskError> {
        Ok(self.names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> Result<Bytes, DiskError> {
        Ok(Bytes::copy_from_slice(&self.file(name)?.content))
    }

    fn reread(&self, name: &str, offset: u64, most: usize) -> Result<Bytes, DiskError> {
        let content = &self.file(name)?.content;
        let from = content.len().min(to_usize(offset));
        Ok(Bytes::copy_from_slice(&content[from..content.len().min(from + most)]))
    }

    fn create(&mut self, name: &str, length: u64) -> Result<(), DiskError> {
        if self.free().is_some_and(|free| free < length) {
            self.count("refused for want of space");
            return Err(DiskError::NoSpace);
        }
        let zeros = vec![0; to_usize(length)];
        let file = File { content: zeros.clone(), durable: zeros, unsynced: Vec::new() };
        self.files.insert(self.next_file, file);
        self.apply(Renaming::Create(name.to_owned(), self.next_file));
        self.next_file += 1;
        Ok(())
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let offset = to_usize(offset);
        if self.trouble == Some(Trouble::WriteFails) {
            self.trouble = None;
            self.count("failed writes");
            let written = bytes.len() / 2 / SECTOR_BYTES * SECTOR_BYTES;
            self.file_mut(name)?.write_at(offset, &bytes[..written]);
            return Err(DiskError::Failed(format!("{name}: a write failed")));
        }
        self.file_mut(name)?.write_at(offset, bytes);
        if self.strays(name, offset) {
            self.let_stray(name);
        }
        Ok(())
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        if let Some(Trouble::SyncFails { forgets }) = self.trouble {
            self.trouble = None;
            self.count("failed syncs");
            if forgets {
                self.forget_unsynced();
            }
            return Err(DiskError::Failed(format!("{name}: a sync failed")));
        }
        self.file_mut(name)?.sync();
        self.straying = self.straying.filter(|file| self.names.get(name) != Some(file));
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.file(from)?;
        self.apply(Renaming::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.file(name)?;
        self.apply(Renaming::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_names(&mut self) -> Result<(), DiskError> {
        self.unsynced_names.clear();
        self.durable_names.clone_from(&self.names);
        self.drop_nameless();
        Ok(())
    }
}
