//! How the files of a data directory are called.

use crate::types::{Incarnation, LogIndex};

/// The node's identity and promises.
pub const META: &str = "meta";
pub(super) const META_AT_BIRTH: &str = "meta.new";
/// A segment that has no name of its own yet.
pub(super) const SEGMENT_AT_BIRTH: &str = "journal.new";
/// A snapshot that is being written.
pub const SNAPSHOT_AT_BIRTH: &str = "snapshot.new";

/// A segment of the journal.
pub(super) const JOURNAL: &str = "journal-";
/// A segment that is to replace a damaged journal.
pub(super) const REWRITTEN: &str = "rewritten-";
/// A segment that is done with, kept to be used again.
pub(super) const SPARE: &str = "spare-";
const SNAPSHOT: &str = "snapshot-";
/// A damaged file that is kept while the directory is in doubt.
const SET_ASIDE: &str = "aside-";

/// The name of a segment.
pub(super) fn segment(prefix: &str, number: u32) -> String {
    format!("{prefix}{number:016x}")
}

/// The number of the segment that is called so; none: it is no such segment.
pub(super) fn segment_number(prefix: &str, name: &str) -> Option<u32> {
    u32::try_from(numbered(prefix, name)?).ok()
}

/// The name of the snapshot at this index.
pub(super) fn snapshot(index: LogIndex) -> String {
    format!("{SNAPSHOT}{:016x}", index.0)
}

/// The index of the snapshot that is called so; none: it is no snapshot.
pub(super) fn snapshot_index(name: &str) -> Option<LogIndex> {
    numbered(SNAPSHOT, name).map(LogIndex)
}

/// The name of a file that was called so until the start of this number set it aside.
pub(super) fn set_aside(start: Incarnation, name: &str) -> String {
    format!("{SET_ASIDE}{:016x}-{name}", start.0)
}

/// How the file was called before it was set aside; none: it was not.
pub(super) fn former_name(name: &str) -> Option<&str> {
    let (start, former) = name.strip_prefix(SET_ASIDE)?.split_once('-')?;
    let is_a_file = [JOURNAL, SNAPSHOT].iter().any(|of| numbered(of, former).is_some());
    (is_a_file && numbered("", start).is_some()).then_some(former)
}

/// Whether a file of this name was set aside.
pub fn is_set_aside(name: &str) -> bool {
    former_name(name).is_some()
}

fn numbered(prefix: &str, name: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    let canonical = digits.len() == 16
        && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if canonical { u64::from_str_radix(digits, 16).ok() } else { None }
}

/// Whether a file of this name is a node's.
pub fn is_owned(name: &str) -> bool {
    [META, META_AT_BIRTH, SEGMENT_AT_BIRTH, SNAPSHOT_AT_BIRTH].contains(&name)
        || [JOURNAL, REWRITTEN, SPARE, SNAPSHOT].iter().any(|of| numbered(of, name).is_some())
        || is_set_aside(name)
}

/// Whether a file of this name is a leftover of something that was not finished, or only
/// kept to save work: nothing is lost with it.
pub(super) fn is_scratch(name: &str) -> bool {
    [META_AT_BIRTH, SEGMENT_AT_BIRTH, SNAPSHOT_AT_BIRTH].contains(&name)
        || numbered(SPARE, name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_quite_called_so_is_no_segment() {
        assert_eq!(segment_number(JOURNAL, "journal-000000000000000f"), Some(15));
        let others = [
            "journal-f",
            "journal-0000000000000000f",
            "journal-000000000000000F",
            "journal-+00000000000000f",
            "journal-000000000000000g",
            "spare-000000000000000f",
        ];
        for name in others {
            assert_eq!(segment_number(JOURNAL, name), None, "{name}");
        }
        assert!(is_owned("spare-000000000000000f") && !is_owned("journal-f") && !is_owned("lock"));
    }

    #[test]
    fn a_file_that_is_set_aside_keeps_its_former_name_in_the_new_one() {
        let former = "snapshot-000000000000000f";
        let name = set_aside(Incarnation(18), former);
        assert_eq!(name, "aside-0000000000000012-snapshot-000000000000000f");
        assert_eq!(former_name(&name), Some(former));
        assert!(is_owned(&name) && snapshot_index(&name).is_none() && !is_scratch(&name));
        let others = [
            "aside-12-snapshot-000000000000000f",
            "aside-0000000000000012-spare-000000000000000f",
            "aside-0000000000000012-meta",
            "aside-0000000000000012",
            former,
        ];
        for name in others {
            assert_eq!(former_name(name), None, "{name}");
        }
    }
}
