//! What the process gives up: some before it does anything else, the rest once it has its socket.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use nix::unistd::{Uid, User, initgroups, setgid, setuid};
use rustix::process::{DumpableBehavior, geteuid, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs,
};

use super::error::RunError;

/// From now on no program that the process might start has more rights than it has itself. And
/// nobody but root gets at its memory, where the keys are, not by a core file either. Threads that
/// are started later inherit that.
///
/// # Errors
/// The system does not know of it.
pub fn give_up() -> io::Result<()> {
    set_no_new_privs(true)?;
    hide_memory()
}

/// Nobody but root gets at the memory.
fn hide_memory() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// This thread, and those that it starts, have no capabilities any more; if it is root's, none but
/// to use files whoever owns them, since the node's may be somebody else's.
///
/// # Errors
/// The system denies it.
pub fn drop_capabilities() -> io::Result<()> {
    let kept = if geteuid().is_root() {
        CapabilitySet::DAC_OVERRIDE & capabilities(None)?.permitted
    } else {
        CapabilitySet::empty()
    };
    let inheritable = CapabilitySet::empty();
    Ok(set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })?)
}

/// Whether the process is root's.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// The user that a node becomes which root has started.
#[derive(Debug)]
pub struct Account(User);

impl Account {
    /// The account of this name, if the process can become its user.
    ///
    /// # Errors
    /// A usage error: there is none, it is root's, or the process is not.
    pub fn find(name: &str) -> Result<Self, RunError> {
        let wrong = |why: String| RunError::usage(format!("--user {name}: {why}"));
        let found = User::from_name(name).map_err(|error| wrong(error.to_string()))?;
        let Some(user) = found else {
            return Err(wrong(
                "this machine has no such user; `useradd --system` makes one".into(),
            ));
        };
        let own = Uid::effective();
        if user.uid.is_root() {
            return Err(wrong("a user that is not root is expected".into()));
        }
        if own != user.uid && !own.is_root() {
            return Err(wrong(format!(
                "only root can become another user, and this is started by user {own}; start it \
                 as root, or as {name}"
            )));
        }
        Ok(Self(user))
    }

    /// Makes the directory, if it is missing, by `make`, and gives it to the user; one that is
    /// there must be the user's.
    ///
    /// # Errors
    /// Refused when it is somebody else's, or a disk error.
    pub fn provide(
        &self,
        path: &Path,
        make: impl FnOnce() -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        let Self(user) = self;
        let shown = path.display();
        let denied = |error| RunError::disk(format!("cannot make or use {shown}: {error}"));
        if let Ok(about) = fs::metadata(path) {
            return if about.uid() == user.uid.as_raw() {
                Ok(())
            } else {
                let (name, owner) = (&user.name, about.uid());
                Err(RunError::refused(format!(
                    "the directory {shown} is user {owner}'s, and the node is to be user {name}; \
                     `chown -R {name} {shown}`, or name another"
                )))
            };
        }
        let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let made: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
        make()?;
        let (uid, gid) = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
        made.iter().try_for_each(|path| chown(path, uid, gid)).map_err(denied)
    }

    /// The process is this user from now on, in its groups and no others, and cannot be root again.
    /// The library does it for all threads, also those that are not ours; the system takes all
    /// capabilities away with it. The memory stays hidden.
    ///
    /// # Errors
    /// The system denies it.
    pub fn step_into(&self) -> Result<(), RunError> {
        let Self(user) = self;
        if Uid::effective() == user.uid {
            return Ok(());
        }
        let denied = |error: nix::Error| {
            RunError::system(&format!("to become user {}", user.name), &error.into())
        };
        let name = CString::new(user.name.as_str()).map_err(|_| denied(nix::Error::EINVAL))?;
        initgroups(&name, user.gid).map_err(denied)?;
        setgid(user.gid).map_err(denied)?;
        setuid(user.uid).map_err(denied)?;
        if setuid(Uid::from_raw(0)).is_ok() {
            return Err(denied(nix::Error::EPERM));
        }
        // Whoever becomes another user has this set anew by the system, as its administrator wants.
        hide_memory().map_err(|error| RunError::system("to give up rights", &error))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use rustix::process::dumpable_behavior;
    use rustix::thread::no_new_privs;

    use super::*;

    #[test]
    fn what_is_given_up_is_gone() {
        give_up().unwrap();
        assert!(no_new_privs().unwrap());
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }

    /// On a thread of its own: the other tests keep theirs.
    #[test]
    fn capabilities_are_gone_but_for_what_files_of_others_take() {
        let left = thread::spawn(|| {
            drop_capabilities().unwrap();
            capabilities(None).unwrap()
        });
        let left = left.join().unwrap();
        let most = if is_root() { CapabilitySet::DAC_OVERRIDE } else { CapabilitySet::empty() };
        assert!(most.contains(left.permitted) && most.contains(left.effective), "{left:?}");
        assert!(left.inheritable.is_empty());
    }

    #[test]
    fn whom_the_process_cannot_become_is_refused() {
        for (name, expected) in
            [("nobody-of-this-name", "has no such user"), ("root", "that is not root")]
        {
            let sentence = Account::find(name).unwrap_err().to_string();
            assert!(sentence.contains(expected), "{sentence}");
        }
    }
}
