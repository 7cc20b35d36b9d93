//! Directories that may lack what they have acknowledged. A node cannot yet get such
//! entries from the others, so it does not start.

use std::path::Path;

use super::error::RunError;
use crate::disk::{Examination, Harm};

/// Refuses the directory when something of its log is missing. Nothing is changed then.
///
/// # Errors
/// A disk error that says where it is damaged, and how far it may have reached.
pub fn refuse(path: &Path, found: &Examination) -> Result<(), RunError> {
    let recovered = &found.recovered;
    let reach = match recovered.doubt {
        None if recovered.aside.is_empty() => return Ok(()),
        Some(doubt) if doubt.upto.is_some() => {
            let (term, index) = doubt.upto.unwrap_or_default();
            format!("its log may have reached entry {index} of term {term}")
        }
        _ => "nobody knows how far its log may have reached".to_owned(),
    };
    let (_, last) = recovered.log_end();
    let flaw = found.flaws.iter().find(|flaw| flaw.harm != Harm::Nothing);
    let flaw = flaw.map_or(String::new(), |flaw| format!(" ({flaw})"));
    Err(RunError::disk(format!(
        "the directory {} cannot be used: it is damaged{flaw}, {reach}, and it can be read to \
         entry {last}; keep a copy, and start the node on an empty directory",
        path.display()
    )))
}
