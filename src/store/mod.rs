//! The replicated state machine. (Interface; the implementation replaces this stub.)

/// The store, with a committed and a tentative root.
#[derive(Debug)]
pub struct Store {}
