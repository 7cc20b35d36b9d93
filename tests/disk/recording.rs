//! A directory that remembers how it was before and after everything that was done to it.

use bytes::Bytes;
use quorate::disk::{Directory, DiskError};
use quorate::sim::SimDirectory;

/// The directory, and its copies since they were last taken.
pub struct Recording {
    pub directory: SimDirectory,
    pub copies: Vec<SimDirectory>,
}

impl Recording {
    pub fn of(directory: SimDirectory) -> Self {
        Self { copies: vec![directory.clone()], directory }
    }

    fn changed<T>(&mut self, result: T) -> T {
        self.copies.push(self.directory.clone());
        result
    }
}

impl Directory for Recording {
    fn names(&self) -> Result<Vec<String>, DiskError> {
        self.directory.names()
    }

    fn read(&self, name: &str) -> Result<Bytes, DiskError> {
        self.directory.read(name)
    }

    fn reread(&self, name: &str, offset: u64, most: usize) -> Result<Bytes, DiskError> {
        self.directory.reread(name, offset, most)
    }

    fn create(&mut self, name: &str, length: u64) -> Result<(), DiskError> {
        let result = self.directory.create(name, length);
        self.changed(result)
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let result = self.directory.write_at(name, offset, bytes);
        self.changed(result)
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        let result = self.directory.sync(name);
        self.changed(result)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let result = self.directory.rename(from, to);
        self.changed(result)
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        let result = self.directory.remove(name);
        self.changed(result)
    }

    fn sync_names(&mut self) -> Result<(), DiskError> {
        let result = self.directory.sync_names();
        self.changed(result)
    }
}
