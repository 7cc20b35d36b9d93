//! Files of keys: who may read them is looked at before they are read.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::error::RunError;
use crate::seal::{Cipher, KeyRing, LifeSecret, Secret};

/// Longer files are none of ours.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where the service manager puts credentials. It may let the service read them by way of
/// the group, and nobody else reaches that directory.
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

const FOR_OTHERS: u32 = 0o007;
const FOR_THE_GROUP: u32 = 0o070;

/// The keys in the file.
///
/// # Errors
/// It cannot be read, others can read it, or what it says is wrong.
pub fn read_keys(path: &Path) -> Result<Arc<KeyRing>, RunError> {
    parse(path, &read_text(path)?).map(Arc::new)
}

/// The keys that the text of the file lists.
///
/// # Errors
/// What it says is wrong.
pub fn parse(path: &Path, text: &str) -> Result<KeyRing, RunError> {
    let named = |why| RunError::usage(format!("key file {}: {why}", path.display()));
    KeyRing::parse(text).map_err(named)
}

/// The file's text.
///
/// # Errors
/// It cannot be read, or others can read it.
pub fn read_text(path: &Path) -> Result<Zeroizing<String>, RunError> {
    let shown = path.display();
    let failed = |error: io::Error| {
        let hint = match error.kind() {
            ErrorKind::NotFound => "; check the path, or `quorate keygen` makes one",
            ErrorKind::PermissionDenied => "; it must be the file of the user that this runs as",
            _ => "",
        };
        RunError::usage(format!("key file {shown}: {error}{hint}"))
    };
    let mut file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if about.is_dir() {
        return Err(failed(io::Error::other("it is a directory; a file with keys is expected")));
    }
    let denied = if is_credential(path) { FOR_OTHERS } else { FOR_OTHERS | FOR_THE_GROUP };
    if about.mode() & denied != 0 {
        return Err(RunError::usage(format!(
            "key file {shown}: others can read it, and could speak with its keys; \
             `chmod 600 {shown}`, and think of the keys as known"
        )));
    }
    if about.len() > FILE_BYTES_MAX {
        return Err(failed(io::Error::other("it is too long for a file of keys")));
    }
    // As long as it may be from the start: growing would leave copies behind.
    let room = usize::try_from(about.len()).unwrap_or(0) + 1;
    let mut text = Zeroizing::new(String::with_capacity(room));
    Read::take(&mut file, about.len()).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// The keys in the file of a node.
///
/// # Errors
/// Those of [`read_keys`], or there is none of nodes among them.
pub fn node_keys(path: &Path) -> Result<Arc<KeyRing>, RunError> {
    let keys = read_keys(path)?;
    if keys.is_for_nodes() {
        return Ok(keys);
    }
    let shown = path.display();
    Err(RunError::usage(format!("key file {shown}: it holds no key of nodes, only of clients")))
}

/// Whether the file itself is there, and not only a link or a path that leads by.
fn is_credential(path: &Path) -> bool {
    let Some(directory) = env::var_os(CREDENTIALS_VARIABLE) else { return false };
    match (fs::canonicalize(path), fs::canonicalize(directory)) {
        (Ok(path), Ok(directory)) => path.starts_with(directory),
        _ => false,
    }
}

/// Writes a file that only its owner can read, and nobody has made before.
///
/// # Errors
/// The system's.
pub fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The random bits of this life of the process.
pub fn life_secret() -> LifeSecret {
    LifeSecret::new(&random_secret())
}

/// Random bits of the system, enough for a key.
pub fn random_secret() -> Secret {
    let mut secret = Secret::default();
    rustix::rand::getrandom(&mut *secret, rustix::rand::GetRandomFlags::empty())
        .expect("the kernel gives so few random bytes whole, once it has started");
    secret
}

/// The cipher that this machine has instructions for.
pub fn fastest_cipher() -> Cipher {
    if has_aes() { Cipher::Aes } else { Cipher::ChaCha }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_a_file_for_its_owner_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        write_secret(&path, &format!("node 1 {}\n", "7".repeat(64))).unwrap();
        assert!(write_secret(&path, "again").is_err(), "nothing is written over");
        assert!(read_keys(&path).unwrap().is_for_nodes());
        for mode in [0o640, 0o604, 0o620, 0o610] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let sentence = read_keys(&path).unwrap_err().to_string();
            assert!(sentence.contains("others can read it"), "{sentence}");
        }
        let sentence = read_keys(directory.path()).unwrap_err().to_string();
        assert!(sentence.contains("it is a directory"), "{sentence}");
        let sentence = read_keys(&directory.path().join("none")).unwrap_err().to_string();
        assert!(sentence.contains("quorate keygen"), "{sentence}");
    }
}
