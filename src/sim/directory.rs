//! A directory whose power may fail: what was synced stays, and of the rest any part.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::disk::{Directory, DiskError, SECTOR_BYTES};

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
}

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
        let zeros = vec![0; to_usize(length)];
        let file = File { content: zeros.clone(), durable: zeros, unsynced: Vec::new() };
        self.files.insert(self.next_file, file);
        self.apply(Renaming::Create(name.to_owned(), self.next_file));
        self.next_file += 1;
        Ok(())
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.file_mut(name)?.write_at(to_usize(offset), bytes);
        Ok(())
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        self.file_mut(name)?.sync();
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
