//! What the process gives up before it does anything else.

use std::io;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::set_no_new_privs;

/// From now on no program that the process might start has more rights than it has itself. And
/// nobody but root gets at its memory, where the keys are, not by a core file either. Threads that
/// are started later inherit that.
///
/// # Errors
/// The system does not know of it.
pub fn give_up() -> io::Result<()> {
    set_no_new_privs(true)?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(test)]
mod tests {
    use rustix::process::dumpable_behavior;
    use rustix::thread::no_new_privs;

    use super::*;

    #[test]
    fn what_is_given_up_is_gone() {
        give_up().unwrap();
        assert!(no_new_privs().unwrap());
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
