//! One line more or less in a file of keys. A new file takes the place of the old one, so whoever
//! reads it meanwhile finds one or the other, whole.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::error::RunError;
use super::file_directory::sync_names;
use super::key_file::{parse, read_keys, read_text};
use crate::seal::{Key, KeyId, KeyRing};

/// A change of a key file. Until it is finished, nothing has changed, and nobody else begins
/// another one.
#[derive(Debug)]
pub struct KeyChange {
    /// The file, and not a link to it.
    path: PathBuf,
    beside: Beside,
    text: Zeroizing<String>,
    keys: KeyRing,
}

/// The new file before it has its name. It is removed if it does not come to that.
#[derive(Debug)]
struct Beside {
    path: PathBuf,
    file: File,
    /// The directory, locked for as long as the file has not its name: the system takes the lock
    /// back from whoever is killed, so what that left behind is in nobody's way.
    _lock: File,
}

/// A key file that is changed, and may not be after a loss of power.
#[derive(Debug)]
#[must_use]
pub struct Changed {
    path: PathBuf,
}

impl KeyChange {
    /// Begins to change the file.
    ///
    /// # Errors
    /// It is no file of keys that its owner alone can read, or somebody else changes it.
    pub fn begin(path: &Path) -> Result<Self, RunError> {
        // Nothing is made beside what is no file of keys.
        read_keys(path)?;
        let path = fs::canonicalize(path).map_err(|error| failed(path, &error))?;
        let beside = Beside::create(&path)?;
        // Whoever was here before has finished by now.
        let text = read_text(&path)?;
        let keys = parse(&path, &text)?;
        Ok(Self { path, beside, text, keys })
    }

    /// The keys that are in the file.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// Adds the key, so far in memory.
    ///
    /// # Errors
    /// Refused when its number or its holder's name is taken.
    pub fn add(&mut self, key: &Key) -> Result<(), RunError> {
        let line = key.line();
        let gap = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { "\n" };
        // As long as it will be from the start: growing would leave copies behind.
        let length = self.text.len() + gap.len() + line.len();
        let mut text = Zeroizing::new(String::with_capacity(length));
        for part in [&self.text, gap, &line] {
            text.push_str(part);
        }
        self.take(text)
    }

    /// Removes the key, so far in memory.
    ///
    /// # Errors
    /// Refused when no key would be left.
    pub fn remove(&mut self, id: KeyId) -> Result<(), RunError> {
        let is_its = |line: &&str| KeyRing::parse(line).is_ok_and(|ring| ring.get(id).is_some());
        let mut text = Zeroizing::new(String::with_capacity(self.text.len()));
        for line in self.text.split_inclusive('\n').filter(|line| !is_its(line)) {
            text.push_str(line);
        }
        self.take(text)
    }

    fn take(&mut self, text: Zeroizing<String>) -> Result<(), RunError> {
        let refused = |why| RunError::refused(format!("{}: {why}", self.path.display()));
        self.keys = KeyRing::parse(&text).map_err(refused)?;
        self.text = text;
        Ok(())
    }

    /// The file is as it was changed, with the mode and the owner that it had, and stays so if the
    /// power is lost.
    ///
    /// # Errors
    /// Those of [`Self::replace`] and [`Changed::sync`].
    pub fn finish(self) -> Result<(), RunError> {
        self.replace()?.sync()
    }

    /// The file is as it was changed, for whoever reads it from now on.
    ///
    /// # Errors
    /// The disk's. Then the file is what it was.
    pub fn replace(mut self) -> Result<Changed, RunError> {
        self.write().map_err(|error| failed(&self.path, &error))?;
        Ok(Changed { path: self.path })
    }

    fn write(&mut self) -> io::Result<()> {
        let former = fs::metadata(&self.path)?;
        let file = &mut self.beside.file;
        file.set_permissions(Permissions::from_mode(former.mode()))?;
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (former.uid(), former.gid()) {
            fchown(&*file, Some(former.uid()), Some(former.gid()))?;
        }
        file.write_all(self.text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&self.beside.path, &self.path)
    }
}

impl Changed {
    /// The file stays as it is now, also if the power is lost.
    ///
    /// # Errors
    /// The disk's. The file has changed all the same.
    pub fn sync(self) -> Result<(), RunError> {
        let shown = self.path.display();
        sync_names(self.path.parent().unwrap_or(Path::new("/"))).map_err(|error| {
            RunError::disk(format!(
                "{shown} is changed, and a loss of power may undo that, for its directory cannot \
                 be synced: {error}"
            ))
        })
    }
}

impl Beside {
    fn create(path: &Path) -> Result<Self, RunError> {
        let lock = lock_above(path)?;
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let beside = PathBuf::from(name);
        // Who holds the lock finds only what somebody has left who was killed. It is removed and
        // not written to, for it may be open elsewhere, or be a link.
        let created = remove_left(&beside).and_then(|()| {
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)
        });
        match created {
            Ok(file) => Ok(Self { path: beside, file, _lock: lock }),
            Err(error) => Err(failed(&beside, &error)),
        }
    }
}

fn lock_above(path: &Path) -> Result<File, RunError> {
    let above = path.parent().unwrap_or(Path::new("/"));
    let directory = File::open(above).map_err(|error| failed(path, &error))?;
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(directory),
        Err(Errno::WOULDBLOCK) => Err(RunError::refused(format!(
            "somebody else changes the keys in {} at this moment; try again",
            above.display()
        ))),
        Err(error) => Err(failed(path, &error.into())),
    }
}

fn remove_left(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // It has got its name, or is of no use.
        fs::remove_file(&self.path).ok();
    }
}

fn failed(path: &Path, error: &io::Error) -> RunError {
    RunError::disk(format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Holder, Rights};
    use crate::daemon::{random_secret, write_secret};

    fn client(name: &str, id: u16) -> Key {
        let rights = Rights { write: true, prefix: "app/".into() };
        Key::new(KeyId(id), Holder::Client(name.into(), rights), random_secret())
    }

    #[test]
    fn a_line_is_added_and_the_rest_stays_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let former = format!("# of our cluster\nnode 1 {}", "7".repeat(64));
        write_secret(&path, &former).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();

        let mut adding = KeyChange::begin(&path).unwrap();
        let sentence = KeyChange::begin(&path).unwrap_err().to_string();
        assert!(sentence.contains("somebody else changes the keys"), "{sentence}");
        let ann = client("ann", 2);
        adding.add(&ann).unwrap();
        for (taken, expected) in [(client("ann", 3), "client ann"), (client("bob", 1), "key id 1")]
        {
            let sentence = adding.add(&taken).unwrap_err().to_string();
            assert!(sentence.contains(expected), "{sentence}");
        }
        adding.finish().unwrap();

        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{former}\n{}", *ann.line()));
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o400);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
        assert_eq!(read_keys(&path).unwrap().iter().count(), 2);

        let mut change = KeyChange::begin(&path).unwrap();
        change.remove(KeyId(2)).unwrap();
        let sentence = KeyChange::remove(&mut change, KeyId(1)).unwrap_err().to_string();
        assert!(sentence.contains("it holds no key"), "{sentence}");
        change.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{former}\n"));
    }

    /// Whoever is killed leaves the new file behind, of which nobody knows how far it was written.
    #[test]
    fn what_somebody_has_left_is_in_nobodys_way() {
        let directory = tempfile::tempdir().unwrap();
        let (path, left) = (directory.path().join("key"), directory.path().join("key.new"));
        write_secret(&path, &format!("node 1 {}\n", "7".repeat(64))).unwrap();
        fs::write(&left, "node 1 77").unwrap();
        let mut reader = File::open(&left).unwrap();
        let mut adding = KeyChange::begin(&path).unwrap();
        adding.add(&client("ann", 2)).unwrap();
        adding.finish().unwrap();
        assert_eq!(read_keys(&path).unwrap().iter().count(), 2);
        assert!(!left.exists());
        let seen = io::read_to_string(&mut reader).unwrap();
        assert_eq!(seen, "node 1 77", "who has the former one open sees no key");
    }

    /// Whoever has a key that is taken must not lose it because its line may be lost as well.
    #[test]
    fn what_cannot_be_synced_is_changed_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let (above, moved) = (directory.path().join("above"), directory.path().join("moved"));
        fs::create_dir(&above).unwrap();
        write_secret(&above.join("key"), &format!("node 1 {}\n", "7".repeat(64))).unwrap();
        let mut adding = KeyChange::begin(&above.join("key")).unwrap();
        adding.add(&client("ann", 2)).unwrap();
        let changed = adding.replace().unwrap();
        fs::rename(&above, &moved).unwrap();
        let sentence = changed.sync().unwrap_err().to_string();
        assert!(sentence.contains("is changed, and a loss of power may undo that"), "{sentence}");
        assert_eq!(read_keys(&moved.join("key")).unwrap().iter().count(), 2);
    }

    #[test]
    fn what_is_not_finished_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let former = format!("node 1 {}\n", "7".repeat(64));
        write_secret(&path, &former).unwrap();
        let mut adding = KeyChange::begin(&path).unwrap();
        adding.add(&client("ann", 2)).unwrap();
        drop(adding);
        assert_eq!(fs::read_to_string(&path).unwrap(), former);
        assert!(KeyChange::begin(&path).is_ok(), "another may begin");
    }
}
