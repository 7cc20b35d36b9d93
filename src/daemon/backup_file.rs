//! A backup as a file: a snapshot with its checksums, under a name that somebody chose.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::error::RunError;
use super::file_directory::sync_names;
use super::random_u64;
use crate::disk::{decode_snapshot, encode_snapshot, is_snapshot};
use crate::store::Snapshot;

/// Sees that there is no such file yet.
///
/// # Errors
/// Refused when there is one.
pub fn check_absent(path: &Path) -> Result<(), RunError> {
    match path.symlink_metadata() {
        Err(_) => Ok(()),
        Ok(_) => Err(exists(path)),
    }
}

/// Writes the file beside its place, and gives it its name once it is on the disk: a file of
/// that name is whole. Returns its length in bytes.
///
/// # Errors
/// Refused when there is a file of that name; otherwise the disk's.
pub fn write_backup(path: &Path, snapshot: &Snapshot) -> Result<u64, RunError> {
    let beside = beside(path);
    let written = write_synced(&beside, snapshot).and_then(|bytes| {
        name(&beside, path)?;
        Ok(bytes)
    });
    if written.is_err() {
        // It may not have been made at all.
        fs::remove_file(&beside).ok();
    }
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => RunError::disk(format!("cannot write {}: {error}", path.display())),
    })
}

/// Reads a backup, and checks every checksum in it.
///
/// # Errors
/// Refused when the file is no backup; a disk error when it is damaged or cannot be read.
pub fn read_backup(path: &Path) -> Result<Snapshot, RunError> {
    let shown = path.display();
    let file = fs::read(path)
        .map(Bytes::from)
        .map_err(|error| RunError::disk(format!("cannot read {shown}: {error}")))?;
    decode_snapshot(&file).map_err(|_| {
        if is_snapshot(&file) {
            RunError::disk(format!(
                "{shown} is not whole, or not as it was written, or of another version; nothing of \
                 it is used: take another backup"
            ))
        } else {
            RunError::refused(format!("{shown} is no backup; name a file of `quorate backup`"))
        }
    })
}

fn exists(path: &Path) -> RunError {
    RunError::refused(format!("{} exists already; name a new file", path.display()))
}

/// Where the file stands until it is whole. Another backup of the same name has another place.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}.new", random_u64()));
    path.with_file_name(name)
}

fn write_synced(path: &Path, snapshot: &Snapshot) -> io::Result<u64> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut out = BufWriter::new(file);
    let mut bytes = 0;
    for piece in encode_snapshot(snapshot) {
        out.write_all(&piece)?;
        bytes += piece.len() as u64;
    }
    out.into_inner()?.sync_all()?;
    Ok(bytes)
}

/// Never takes the name from a file that has it.
fn name(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems, on a network mostly, cannot look and rename in one step.
        Err(Errno::INVAL) if to.symlink_metadata().is_err() => fs::rename(from, to)?,
        renamed => renamed?,
    }
    let above = to.parent().filter(|above| !above.as_os_str().is_empty());
    sync_names(above.unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Configuration;
    use crate::store::State;
    use crate::types::{DirectoryId, GenesisId, LogIndex, ServerId};

    fn backup(keys: u8) -> Snapshot {
        let none = Configuration::unborn();
        let configuration = none.reborn(GenesisId(7), ServerId(1), DirectoryId(8));
        let value = Bytes::from_static(b"value");
        let keys =
            (0..keys).map(|key| (Bytes::from(vec![key]), LogIndex(key.into()), value.clone()));
        Snapshot::backup(&State::of_keys(LogIndex(300), configuration, keys))
    }

    #[test]
    fn a_file_is_written_whole_or_not_at_all_and_replaces_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("backup");
        let bytes = write_backup(&path, &backup(9)).unwrap();
        assert_eq!(bytes, path.metadata().unwrap().len());
        let whole = fs::read(&path).unwrap();
        let refused = write_backup(&path, &backup(8)).unwrap_err();
        assert_eq!((refused.exit_code(), fs::read(&path).unwrap()), (4, whole));
        let names = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(names, 1, "nothing is left beside it");
        let lost = write_backup(&directory.path().join("no/where"), &backup(1)).unwrap_err();
        assert_eq!(lost.exit_code(), 5);
    }

    #[test]
    fn no_byte_of_a_file_may_change_or_be_missing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("backup");
        write_backup(&path, &backup(3)).unwrap();
        let read = read_backup(&path).unwrap();
        assert_eq!(read.state().checksum(), backup(3).state().checksum());
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut spoilt = whole.clone();
            spoilt[at] ^= 1;
            fs::write(&path, &spoilt).unwrap();
            let code = read_backup(&path).unwrap_err().exit_code();
            assert_eq!(code, if at < 8 { 4 } else { 5 }, "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(read_backup(&path).is_err(), "{at} bytes");
        }
    }
}
